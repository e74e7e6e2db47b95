"""The parts of the documentation that are made from the code: one function a part, `make docs` puts them in place.

A part stands between `<!-- made: name argument -->` and `<!-- /made -->`.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner

from hydragraph import assess, schema, settings
from hydragraph.addresses import BAD_PORT, BAD_PREFIX, LEADING_ZERO, SEVERAL
from hydragraph.identifiers import KINDS, UNKNOWN_CHANCE_BITS, mask_value
from hydragraph.loaders import card_columns, columns, files, lines
from hydragraph.signals import SIGNALS
from hydragraph.worlds import innocent, scenarios
from hydragraph_cli import main

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "graphs" / "hydragraph"
COMMANDS = ROOT / "cli" / "hydragraph_cli"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A markdown table."""
    lined = [list(head), ["---"] * len(head), *([str(cell).replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |".replace("|  |", "| |") for row in lined)


def code(words: Sequence[str]) -> str:
    """Words as code, comma separated."""
    return ", ".join(f"`{word}`" for word in words)


def percent(share: float) -> str:
    """A share as it is written in sentences: 2.5 %."""
    return f"{100 * share:.3g} %"


def first_sentence(text: str | None) -> str:
    """The first paragraph of a docstring as one line, without the full stop."""
    return " ".join((text or "").strip().split("\n\n")[0].split()).removesuffix(".")


# What goes in


def inputs() -> str:
    """Every input table with its columns."""
    parts = []
    for t in schema.INPUT.values():
        rows = [(f"**{c.name}**" if c.required else c.name, c.type, c.meaning) for c in t.columns]
        parts.append(f"`{t.name}`: {t.meaning}.\n\n{table(('column', 'type', 'meaning'), rows)}")
    return "\n\n".join(parts)


def formats() -> str:
    """Formats and the suffixes by which they are known."""
    titles = {"parquet": "Parquet", "csv": "CSV", "ndjson": "NDJSON", "ipc": "Arrow IPC"}
    rows = []
    for form, title in titles.items():
        packed = f", also with {code(files.PACKED)} behind it" if form in ("csv", "ndjson") else ""
        rows.append((title, code([s for s, f in files.FORMATS.items() if f == form]) + packed))
    return table(("format", "files that end in"), rows)


def kinds() -> str:
    """The registry of kinds."""
    rows = []
    for kind in KINDS.values():
        whole = mask_value(kind.name, "abcdefghijklmnopqrst") == "abcdefghijklmnopqrst"
        shown = "whole" if whole else "partly hidden"
        rows.append((f"`{kind.name}`", kind.title, f"{kind.chance_bits:g}", shown, kind.aliases.replace(" ", ", ")))
    rows.append(("any other", "its own name", f"{UNKNOWN_CHANCE_BITS:g}", "partly hidden", ""))
    return table(("kind", "what it is", "bits taken off", "in reports", "also called"), rows)


def refused() -> str:
    """Words that are never evidence."""
    return code(sorted(schema.REFUSED_WORDS)) + "."


def passed() -> str:
    """What carries such a word and says nothing about people."""
    things = code(sorted(schema.NAMED_THINGS))
    others = code(sorted(schema.NOT_PEOPLE - {f"{thing}_name" for thing in schema.NAMED_THINGS}))
    return f"- `name` right behind one of these: {things}.\n- {others}."


def reasons() -> str:
    """Why a row is rejected, in the words of rejects.parquet."""
    of_values = (
        columns.NO_VALUE, columns.NOT_TIME, columns.FAR_TIME, columns.NOT_COUNT, columns.NOT_ADDRESS, LEADING_ZERO,
        SEVERAL, BAD_PREFIX, BAD_PORT, columns.DECIMAL, columns.NOT_PLAIN, columns.WRONG_TYPE, columns.NOT_UTF8,
        columns.NUL, columns.TOO_LONG, columns.LONG_KIND, card_columns.CARD,
    )  # fmt: skip
    rows = [("a value", reason) for reason in of_values] + [("the whole row", r) for r in lines.ROW_FAULTS]
    return table(("what cannot be read", "reason given"), rows)


def knobs() -> str:
    """Every setting."""
    rows = []
    for name, f in settings.Settings.__dataclass_fields__.items():
        low, high = f.metadata["low"], f.metadata["high"]
        rows.append((f"`{name}`", f.default, f"{low} to {high}", f.metadata["meaning"]))
    return table(("setting", "default", "bounds", "meaning"), rows)


def file(path: str) -> str:
    """A file of the repository, fenced."""
    text = (ROOT / path).read_text("utf-8").rstrip("\n")
    return f"```{Path(path).suffix.removeprefix('.')}\n{text}\n```"


# What comes out


def outputs() -> str:
    """Every table of a case with its columns."""
    parts = []
    for t in schema.OUTPUT.values():
        rows = [(c.name, c.type, c.meaning) for c in t.columns]
        parts.append(
            f"## {t.name}.parquet\n\nA row is {_row(t.meaning)}.\n\n{table(('column', 'type', 'meaning'), rows)}"
        )
    return "\n\n".join(parts)


def _row(meaning: str) -> str:
    return meaning.replace("every account read", "an account read, in a cluster or not")


def signal(name: str) -> str:
    """One signal: definition, the sentence it gives, its look-alike."""
    s = SIGNALS[name]
    said = s.suggests.format(value="*value*", baseline="*baseline*")
    return f"### {s.title}\n\n`{name}`. {s.definition}\n\nIt says: {said}\n\nLooks the same: {s.look_alike}"


def hypotheses() -> str:
    """The hypotheses between which a cluster is assessed."""
    rows = [(f"`{h.name}`", h.title.removesuffix(","), f"{h.prior:g}") for h in (assess.COORDINATED, *assess.INNOCENT)]
    return table(("hypothesis", "in words", "share before any signal"), rows)


# The house


def every_command() -> Iterator[tuple[str, click.Command]]:
    """Each command, and each of those below a command, with its whole name."""
    for name, home in main.COMMANDS.items():
        command = importlib.import_module(home).command
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", command.commands[inner]) for inner in sorted(command.commands))


def understand(name: str, words: list[str]) -> None:
    """Parse the words after a command's name as the command line does; click.UsageError for what it does not know.

    Below the whole command line, for click remembers in a command the help options of the first context it was in.
    """
    parent = click.Context(main.cli, info_name="hydragraph", **main.cli.context_settings)
    dict(every_command())[name].make_context(name, words, parent=parent)


def commands() -> str:
    """Every command with its short help."""
    rows = []
    for name in main.COMMANDS:
        command = importlib.import_module(main.COMMANDS[name]).command
        rows.append((f"`hydragraph {name}`", command.get_short_help_str(200).removesuffix(".")))
    return table(("command", "what it does"), rows)


def helps() -> str:
    """The help of every command, as it is printed in 80 columns."""
    pages = [("hydragraph", []), *((f"hydragraph {name}", name.split()) for name, _ in every_command())]
    shown = [(name, CliRunner().invoke(main.cli, [*words, "--help"]).stdout) for name, words in pages]
    return "\n\n".join(f"### {name}\n\n```text\n{text.rstrip()}\n```" for name, text in shown)


def docstring(path: Path) -> str:
    """The docstring of a module, without importing it."""
    return ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""


def library() -> str:
    """Every module of the library, in the order of the data's way."""
    from test_house import ORDER

    names = sorted(
        {p.relative_to(LIBRARY).with_suffix("").parts[0] for p in LIBRARY.rglob("*.py")} - {"__init__"},
        key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name),
    )
    return "\n".join(["- `__init__.py`: the public names, loaded at first use", *_modules(LIBRARY, names)])


def command_line() -> str:
    """Every module of the command line."""
    names = sorted(p.stem for p in COMMANDS.glob("*.py") if p.stem != "__init__")
    return "\n".join([f"- `__init__.py`: {first_sentence(docstring(COMMANDS / '__init__.py'))}",
                      *_modules(COMMANDS, [*names, "commands"])])  # fmt: skip


def _modules(folder: Path, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        if (folder / f"{name}.py").is_file():
            yield f"- `{name}.py`: {first_sentence(docstring(folder / f'{name}.py'))}"
            continue
        yield f"- `{name}/`: {first_sentence(docstring(folder / name / '__init__.py'))}"
        for path in sorted((folder / name).rglob("*.py")):
            if path.stem != "__init__":
                yield f"  - `{name}/{path.relative_to(folder / name)}`: {first_sentence(docstring(path))}"


# The method


def constants(module: str) -> str:
    """The plain numbers that a module declares, with the docstring below each or the words of CONSTANTS."""
    body = ast.parse((LIBRARY / f"{module.replace('.', '/')}.py").read_text("utf-8")).body
    names = importlib.import_module(f"hydragraph.{module}")
    rows = []
    for node, below in zip(body, [*body[1:], None], strict=True):
        if not (
            isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper()
        ):
            continue
        value = getattr(names, node.targets[0].id)
        words = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
        if isinstance(value, (int, float, tuple)):
            meaning = " ".join(str(words).split()) or CONSTANTS.get(f"{module}.{node.targets[0].id}", "")
            if meaning:
                rows.append((f"`{node.targets[0].id}`", number(value), meaning))
    return table(("constant", "value", "meaning"), rows)


def words(name: str) -> str:
    """The docstring of a function or class, `module.name`, as it stands in the code."""
    return f"```text\n{inspect.getdoc(named(name))}\n```"


def methods(name: str) -> str:
    """The docstrings of the public methods of a class, `module.Class`; one-line ones are left out."""
    documented = {n: inspect.getdoc(m) or "" for n, m in vars(named(name)).items() if not n.startswith("_")}
    return "\n\n".join(f"```text\n{n}\n\n{text}\n```" for n, text in documented.items() if "\n\n" in text)


def named(name: str) -> Any:
    """What `module.name` or `module.Class.name` stands for in the library."""
    module, *attributes = name.split(".")
    return functools.reduce(getattr, attributes, importlib.import_module(f"hydragraph.{module}"))


def number(value: Any) -> str:
    """A constant as text: 2,000,000, 0.5 and (15, 60)."""
    if isinstance(value, tuple):
        return f"({', '.join(map(number, value))})"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


CONSTANTS = {
    "identifiers.CIRCUMSTANTIAL_BITS": "Kinds with at least these chance_bits support a tie and never make one.",
    "evidence._SAMPLED_IDENTIFIERS": "Identifiers of one kind and level that the calibration looks at, at most.",
    "evidence._SAMPLED_PAIRS": "Pairs of users of each of them, at most.",
    "evidence._FEWEST_PAIRS": "Pairs looked at in a class of few identifiers, if there are so many.",
    "evidence._ENOUGH_PAIRS": "Pairs that must have been looked at before the prior moves at all.",
    "evidence._CORROBORATING_ACCOUNTS": "An identifier of another kind corroborates only if no more accounts use it.",
    "evidence._SENSITIVITY": "Share of pairs under one controller that are expected to be corroborated.",
    "evidence._LARGEST_SHIFT": "Bits by which the calibration moves the prior, at most.",
    "evidence._CORROBORATING_CLASS": "Share of the pairs of a class from which its identifiers are weighed one by one.",
    "evidence._FEWEST_USERS": "An identifier that fewer accounts use is not weighed by its own users.",
    "evidence._USUAL_WEIGHS": "Pairs that the rate of its class counts for in that of an identifier.",
    "evidence._SUREST": "Share of pairs that belong together, at most.",
    "meshes._RARELY_SHARED_BITS": "Kinds with at most these chance_bits are rarely shared by strangers.",
    "meshes._FEWEST_WOVEN": "Accounts that use an identifier of a mesh, at least.",
    "meshes._WOVEN_ACCOUNTS": "Share of its users that share a second one with another of them, at least.",
    "meshes._WOVEN_PAIRS": "Share of the pairs of its users that share a second one, at most: more is one fact, not two.",
    "meshes._LINKED_ACCOUNTS": "Share of the users with another rare identifier from which an identifier is linked.",
    "ties._SMALLEST_BUDGET": "Pairs formed at most, however few accounts there are.",
    "ties._WIDEST_PAIRED": "An identifier that more accounts use forms no pairs of its own.",
    "ties._WORTH_A_LOOK": "Bits short of the threshold at which a pair is still looked at for wide identifiers.",
    "ties._CHUNK": "Pairs handled at a time; memory only, no effect on the result.",
    "ties._CLOSEST": "Bits that closeness in time adds, at most.",
    "ties._MILLI": "Bits are summed in whole thousandths, so that the order of a sum changes nothing.",
    "communities._THREAD_ACCOUNTS": "Accounts on which two parts may hang and still be split.",
    "communities._THREAD_SHARE": "The same as a share of the smaller part.",
    "communities._COHESIVE_DEGREE": "Mean ties a member that make a part cohesive.",
    "communities._BOUND_SHARE": "A part of which a larger share of accounts is tied to the other parts together is no part.",
    "communities._SMALLEST_SPLIT": "Accounts a core must have to be split.",
    "communities._DENSE": "Share of tied pairs from which a core cannot be two.",
    "communities._MILLI": "Bits are compared and summed in whole thousandths, so that the order of a sum changes nothing.",
    "joining._SPEAKS_FOR_CORE": "Share of a core that must use an identifier for it to speak for the core.",
    "joining._MOSTLY": "Share of an identifier's users that cores for which it speaks must hold to be merged by it.",
    "joining._CORES_PAIRED": "Largest cores of an identifier that are compared with all its others.",
    "joining._HELD": "Share of an identifier's users that a cluster must hold for it to speak.",
    "joining._TELLS": "Share of an identifier's users, one more counted in, that a cluster must hold for it to tell.",
    "joining._A_KIND": "Bits that the best identifier of a kind must bring for the kind to agree.",
    "joining._MILLI": "Bits are summed in whole thousandths, so that the order of a sum changes nothing.",
    "activity._ONE_BURST": "Bits that one burst brings in keeping step or joining in, at most.",
    "activity._FEWEST_DAYS": "Days to shift below which nothing is said about groups in step.",
    "activity._WIDEST_WAVE": "A quarter of an hour in which more accounts (or groups) begin is no wave of anybody.",
    "blocks._WIDEST": "A range that more broad accounts use joins no pool.",
    "blocks._ROUNDS": "Rounds of leaving, at most.",
    "blocks._COMMON_WAVES": "Waves two members have in common to be of one block.",
    "blocks._SMALLEST_PART": "Members a part must have to be joined with another.",
    "chance._PAIRS_EACH": "Pairs formed per account of the shuffled graph.",
    "assess._ROUNDS": "Rounds of expectation-maximisation.",
    "assess.COORDINATED_AT": "Score from which a cluster is called coordinated, if it is large enough.",
    "assess.REVIEW_AT": "Score from which a person should look.",
    "assess.SMALLEST_LEAD": "Accounts a coordinated cluster has at least.",
    "assess._REASONS": "Sentences an explanation has at most.",
}
"""Words for constants that have no docstring of their own; a docstring goes first."""


# Worlds


def tactics() -> str:
    """How rings work."""
    rows = [(f"`{t.name}`", t.meaning, percent(t.share)) for t in scenarios.TACTICS.values()]
    return table(("tactic", "what the ring does", "accounts in `mixed`"), rows)


def scenario_list() -> str:
    """Scenarios that are not one tactic alone."""
    several = [s for s in scenarios.SCENARIOS.values() if s.name not in scenarios.TACTICS]
    return table(("scenario", "what lives in it"), [(f"`{s.name}`", s.meaning) for s in several])


def innocents() -> str:
    """Innocent people and groups."""
    rows = [
        (f"`{name}`", first_sentence(innocent.BUILDERS[name].__doc__), percent(share))
        for name, share in scenarios.INNOCENTS.items()
    ]
    return table(("kind", "who they are and what they share", "innocent accounts"), rows)


PARTS: dict[str, Callable[..., str]] = {
    "inputs": inputs, "formats": formats, "kinds": kinds, "refused": refused, "passed": passed,
    "reasons": reasons, "settings": knobs,
    "file": file, "outputs": outputs, "signal": signal, "hypotheses": hypotheses, "commands": commands, "help": helps,
    "library": library, "command-line": command_line, "constants": constants,
    "docstring": words,
    "methods": methods, "tactics": tactics,
    "scenarios": scenario_list, "innocents": innocents,
}  # fmt: skip
