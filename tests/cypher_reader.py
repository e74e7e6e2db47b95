"""A strict reader of the Cypher that exports write: a script as statements, run on a graph in memory.

Two readers of strings are in the world: Neo4j turns `\\uXXXX` into the character first and looks for quotes afterwards
(`early`), openCypher turns it while it reads the string. A script must mean the same to both.
"""

from __future__ import annotations

import re
from typing import Any

import networkx as nx

_ESCAPES = {"\\": "\\", "'": "'", '"': '"', "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_TOKEN = re.compile(
    r"""(?P<space>[ \n]+)
      | (?P<string>'(?:[^'\\\n\r]|\\[\\'"bfnrt]|\\u[0-9a-fA-F]{4})*')
      | (?P<number>-?[0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?)
      | (?P<name>[A-Za-z_][A-Za-z_0-9]*)
      | (?P<mark>[][{}():,;=.>-])""",
    re.VERBOSE,
)
_CONSTRAINT = "CONSTRAINT {} IF NOT EXISTS FOR ( n : {} ) REQUIRE n . id IS UNIQUE ;"
_NODES = "MERGE ( n : {} { id : row . id } ) SET n = row ;"
_EDGES = (
    "MATCH ( a : Account { id : row . source } ) , ( i : Identifier { id : row . target } )"
    " MERGE ( a ) - [ u : USED ] - > ( i ) SET u = row . properties ;"
)


class RefusedCypher(ValueError):
    """The script is not in the small language."""


def string_of(written: str, *, early: bool = False) -> str:
    """The text that a string in quotes stands for."""
    reader = _Reader(written, early=early)
    text = reader.value()
    if reader.tokens or not isinstance(text, str):
        raise RefusedCypher("not one string")
    return text


def graph_of_script(script: str, *, early: bool = False) -> nx.Graph[str]:
    """The graph in an empty database after the script: nodes by their property `id`, with all properties."""
    if re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", script):
        raise RefusedCypher("a control character")
    graph: nx.Graph[str] = nx.Graph()
    unique: set[str] = set()
    reader = _Reader(script, early=early)
    while reader.tokens:
        if reader.is_next("CREATE"):
            unique.add(reader.expect(_CONSTRAINT)[1])
            continue
        reader.expect("UNWIND")
        rows = reader.value()
        reader.expect("AS row")
        if reader.is_next("MERGE", keep=True):
            (label,) = reader.expect(_NODES)
            if label not in unique:
                raise RefusedCypher("nodes before their constraint")
            graph.add_nodes_from((row["id"], row) for row in rows)
        else:
            reader.expect(_EDGES)
            found = (row for row in rows if row["source"] in graph and row["target"] in graph)  # as MATCH does
            graph.add_edges_from((row["source"], row["target"], row["properties"]) for row in found)
    return graph


class _Reader:
    """The tokens that are left, the next one last: (kind, content)."""

    def __init__(self, script: str, *, early: bool) -> None:
        text = _unicode_first(script) if early else script
        self.tokens: list[tuple[str, Any]] = []
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise RefusedCypher(f"nothing that can stand at {position}")
            position = match.end()
            if match.lastgroup == "string":
                self.tokens.append(("value", _unescaped(match[0][1:-1])))
            elif match.lastgroup == "number":
                self.tokens.append(("value", float(match[0]) if re.search("[.e]", match[0]) else int(match[0])))
            elif match.lastgroup != "space":
                self.tokens.append(("word", match[0]))
        self.tokens.reverse()

    def is_next(self, word: str, *, keep: bool = False) -> bool:
        """Whether this word comes next; it is passed then."""
        found = bool(self.tokens) and self.tokens[-1] == ("word", word)
        if found and not keep:
            self.tokens.pop()
        return found

    def expect(self, words: str) -> list[str]:
        """Pass these words, and return what stands in place of each {}."""
        names = []
        for word in words.split():
            kind, content = self.tokens.pop() if self.tokens else ("end", "")
            if kind != "word" or (word != "{}" and content != word):
                raise RefusedCypher(f"{content!r} where {word} was expected")
            names += [content] * (word == "{}")
        return names

    def value(self) -> Any:
        """A text, a number, a list or a map."""
        if self.is_next("["):
            return self._until("]", self.value)
        if self.is_next("{"):
            pairs = self._until("}", lambda: (*self.expect("{} :"), self.value()))
            if len(dict(pairs)) < len(pairs):
                raise RefusedCypher("a key twice")
            return dict(pairs)
        kind, content = self.tokens.pop() if self.tokens else ("end", "")
        if kind != "value":
            raise RefusedCypher(f"{content!r} is no value")
        return content

    def _until(self, end: str, one: Any) -> list[Any]:
        found = [one()]
        while not self.is_next(end):
            self.expect(",")
            found.append(one())
        return found


def _unescaped(text: str) -> str:
    return re.sub(r"\\(?:u(.{4})|(.))", lambda m: chr(int(m[1], 16)) if m[1] else _ESCAPES[m[2]], text)


def _unicode_first(text: str) -> str:
    """Every `\\uXXXX` whose backslash is not itself escaped as the character, wherever it stands."""
    return re.sub(r"\\u+([0-9a-fA-F]{4})|\\.", lambda m: chr(int(m[1], 16)) if m[1] else m[0], text, flags=re.DOTALL)
