"""Cypher: a script that loads the graph into Neo4j 5 (`cypher-shell -f ring.cypher`).

Accounts are nodes `:Account`, identifiers nodes `:Identifier`, edges relationships `:USED` from account to identifier;
their properties are the attributes of `hydragraph.exports.content`, times as ISO 8601 text. A missing value has no
property. Text is exact: quotes, backslashes and control characters are escaped. Loading a script again, or one of a later
case, updates what is there: nodes are found by `id`, for which the script makes a constraint. 1,000 rows a statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from hydragraph.exports.content import Content

_ROWS = 1_000
_CONSTRAINT = "CREATE CONSTRAINT hydragraph_{name} IF NOT EXISTS FOR (n:{label}) REQUIRE n.id IS UNIQUE;\n"
_NODES = "MERGE (n:{label} {{id: row.id}})\nSET n = row;\n"
_EDGES = (
    "MATCH (a:Account {id: row.source}), (i:Identifier {id: row.target})\n"
    "MERGE (a)-[u:USED]->(i)\nSET u = row.properties;\n"
)
# Besides quotes and backslashes: what could end a line or a string for some reader, or hides. Neo4j turns \uXXXX into the
# character before it looks for quotes, so no character that means something to the language is ever written that way.
_ESCAPED = re.compile("['\"\\\\\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffe\uffff]")
_SHORT = {"'": "\\'", '"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}


def write(content: Content, path: Path) -> None:
    """Write nodes and edges to the file `path`; row by row."""
    from hydragraph.exports.fit import iso_times

    nodes, edges = iso_times(content.nodes), iso_times(content.edges)
    with path.open("w", encoding="utf-8", newline="\n") as out:
        for value, label in enumerate(("Account", "Identifier")):
            out.write(_CONSTRAINT.format(name=label.lower(), label=label))
            mine = nodes.filter(bipartite=value)
            out.writelines(_statements((_map(row) for row in _given(mine)), mine.height, _NODES.format(label=label)))
        out.writelines(_statements((_edge(row) for row in _given(edges)), edges.height, _EDGES))


def literal(value: str | int | float) -> str:
    """A value as Cypher writes it: text in single quotes, whole numbers, decimal numbers. Surrogates cannot be written."""
    if isinstance(value, str):
        return f"'{_ESCAPED.sub(_escape, value)}'"
    return repr(value).replace("e+", "e")


def _escape(found: re.Match[str]) -> str:
    return _SHORT.get(found[0]) or f"\\u{ord(found[0]):04x}"


def _given(frame: pl.DataFrame) -> Iterator[dict[str, Any]]:
    for row in frame.iter_rows(named=True):
        yield {name: value for name, value in row.items() if value is not None}


def _map(row: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{name}: {literal(value)}" for name, value in row.items()) + "}"


def _edge(row: dict[str, Any]) -> str:
    source, target = literal(row.pop("source")), literal(row.pop("target"))
    return f"{{source: {source}, target: {target}, properties: {_map(row)}}}"


def _statements(rows: Iterator[str], number: int, action: str) -> Iterator[str]:
    """Statements that do `action` with each of the rows."""
    for place, row in enumerate(rows):
        first, last = place % _ROWS == 0, place % _ROWS == _ROWS - 1 or place == number - 1
        yield f"{'UNWIND [' if first else ''}\n{row}{'' if last else ','}"
        if last:
            yield f"\n] AS row\n{action}"
