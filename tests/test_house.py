"""The rules of the house: layers, sizes, names, packaging. The checkers are tried on small trees that break them."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import hydragraph

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "graphs" / "hydragraph"
COMMANDS = ROOT / "cli" / "hydragraph_cli"

ORDER = (
    "errors", "toml_files", "unfinished", "memory", "runs", "tails", "settings", "schema", "naming", "card_numbers",
    "pseudonyms", "addresses", "identifiers", "known", "loaders", "editors",
    "bipartite", "coding", "links", "activity", "hours", "limits", "meshes", "evidence", "ties", "grouping", "constraints",
    "joining", "blocks", "communities", "stability", "chance", "signals", "assess", "groups", "lineage", "takedown",
    "hiding", "explain", "decisions", "cards", "stored", "case", "revealing", "tracking", "review", "watching", "report",
    "exports", "worlds", "engines", "tables", "pipeline", "quality",
)  # fmt: skip
"""The way of the data. A module or package imports only from those before it; inside a package imports are free."""

EXCEPTIONS = {("case", "report"): "Cluster.plot(): a picture at hand where the cluster is"}
"""Imports against the way of the data that are wanted, with the reason. Only inside a function."""

LIBRARY_NEVER = {"click", "rich", "hydragraph_cli"}
COMMANDS_ANYWHERE = {"click", "hydragraph", "hydragraph_cli"}
COMMANDS_LATE = {"polars", "rich"}  # inside a function: `--help` must not wait for them
DRAWERS = {"util", "utils", "common", "misc", "helper", "helpers"}
LONGEST = 500


# Layers


def imports(tree: ast.Module, package: tuple[str, ...]) -> Iterator[tuple[int, str, bool, bool]]:
    """Each import: line, full dotted name, whether it stands inside a function, whether under TYPE_CHECKING.

    package: the package the module stands in, to resolve relative imports. `from a import b` gives `a.b`.
    """

    def walk(node: ast.AST, late: bool, typing: bool) -> Iterator[tuple[int, str, bool, bool]]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, late, typing
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            for alias in node.names:
                yield node.lineno, ".".join([*base, *([node.module] if node.module else []), alias.name]), late, typing
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for child in node.body:
                yield from walk(child, late, True)
            for child in node.orelse:
                yield from walk(child, late, typing)
        else:
            late = late or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            for child in ast.iter_child_nodes(node):
                yield from walk(child, late, typing)

    yield from walk(tree, False, False)


def sources(folder: Path) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(folder.rglob("*.py")):
        yield path, ast.parse(path.read_text("utf-8"), filename=path.name)


def layer_breaks(library: Path) -> list[str]:
    """What in the library folder breaks the layers, a sentence each."""
    found = []
    for path, tree in sources(library):
        inside = path.relative_to(library).with_suffix("").parts
        where = inside[0]
        if where == "__init__":
            position = len(ORDER)
        elif where in ORDER:
            position = ORDER.index(where)
        else:
            found.append(f"{path.name}: module {where!r} has no place on the way of the data; give it one in ORDER")
            continue
        for line, name, late, typing in imports(tree, (library.name, *inside[:-1])):
            place = f"{'/'.join(inside)}.py:{line}"
            top, *rest = name.split(".")
            if top in LIBRARY_NEVER:
                found.append(f"{place} imports {top}, which belongs to the command line")
            if top != library.name or (where == "__init__" and typing) or rest == ["__version__"]:
                continue
            target = rest[0] if rest else ""
            if target == where or (late and (where, target) in EXCEPTIONS):
                continue
            if target not in ORDER:
                found.append(f"{place} imports {name}: import from the module that defines it")
            elif ORDER.index(target) >= position:
                found.append(f"{place} imports {target}, which comes later on the way of the data")
    return found


def command_breaks(commands: Path) -> list[str]:
    """What in the command line's folder imports more than the library, click, and late polars and rich."""
    found = []
    for path, tree in sources(commands):
        package = (commands.name, *path.relative_to(commands).parts[:-1])
        for line, name, late, typing in imports(tree, package):
            top = name.split(".")[0]
            if top in COMMANDS_ANYWHERE or top in sys.stdlib_module_names:
                continue
            if top not in COMMANDS_LATE:
                found.append(f"{path.name}:{line} imports {top}: that is the library's work")
            elif not late and not typing:
                found.append(f"{path.name}:{line} imports {top} at start-up: import it in the function that needs it")
    return found


def tree_of(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    return folder


def test_library_keeps_its_layers() -> None:
    assert layer_breaks(LIBRARY) == []


def test_every_exception_from_the_layers_is_still_needed() -> None:
    used = {
        (path.relative_to(LIBRARY).with_suffix("").parts[0], name.split(".")[1])
        for path, tree in sources(LIBRARY)
        for _, name, late, typing in imports(tree, ("hydragraph",))
        if late and not typing and name.startswith("hydragraph.")
    }
    assert set(EXCEPTIONS) <= used


def test_command_line_imports_only_the_library() -> None:
    assert command_breaks(COMMANDS) == []


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("links.py", "from hydragraph.evidence import weigh", "links.py:1 imports evidence, which comes later"),
        ("links.py", "def f():\n    from hydragraph.case import Case", "links.py:2 imports case, which comes later"),
        ("links.py", "import hydragraph.pipeline as p", "links.py:1 imports pipeline, which comes later"),
        ("links.py", "from hydragraph import evidence", "links.py:1 imports evidence, which comes later"),
        ("links.py", "from .evidence import weigh", "links.py:1 imports evidence, which comes later"),
        ("links.py", "try:\n    import hydragraph.ties\nexcept ImportError:\n    pass", "links.py:2 imports ties"),
        ("links.py", "from hydragraph import analyze", "import from the module that defines it"),
        ("links.py", "import hydragraph", "import from the module that defines it"),
        ("links.py", "if TYPE_CHECKING:\n    from hydragraph.case import Case", "links.py:2 imports case"),
        ("loaders/files.py", "from ..links import build", "loaders/files.py:1 imports links, which comes later"),
        ("loaders/deep/x.py", "from ...links import build", "loaders/deep/x.py:1 imports links, which comes later"),
        ("case.py", "from hydragraph.report import write_report", "case.py:1 imports report, which comes later"),
        ("case.py", "def f():\n    import click", "case.py:2 imports click"),
        ("report/page.py", "from rich.console import Console", "report/page.py:1 imports rich"),
        ("schema.py", "from hydragraph_cli.output import View", "schema.py:1 imports hydragraph_cli"),
        ("drawer.py", "", "no place on the way of the data"),
    ],
)
def test_the_layer_check_finds(tmp_path: Path, file: str, text: str, said: str) -> None:
    found = layer_breaks(tree_of(tmp_path / "hydragraph", {file: text}))

    assert len(found) == 1
    assert said in found[0]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("links.py", "import polars\nfrom hydragraph.schema import INPUT\nfrom hydragraph import __version__"),
        ("loaders/files.py", "from hydragraph.loaders.rows import Rows\nfrom .rows import Rows"),
        ("loaders/files.py", "from ..schema import INPUT\nfrom .. import identifiers"),
        ("__init__.py", "if TYPE_CHECKING:\n    from hydragraph import case"),
        ("__init__.py", "from hydragraph.exports import export"),
        ("case.py", "def plot():\n    from hydragraph.report.figures import cluster_figure"),
    ],
)
def test_the_layer_check_allows(tmp_path: Path, file: str, text: str) -> None:
    assert layer_breaks(tree_of(tmp_path / "hydragraph", {file: text})) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import networkx", "that is the library's work"),
        ("def f():\n    from scipy import sparse", "that is the library's work"),
        ("import polars as pl", "at start-up"),
        ("from rich.table import Table", "at start-up"),
    ],
)
def test_the_command_check_finds(tmp_path: Path, text: str, said: str) -> None:
    found = command_breaks(tree_of(tmp_path / "hydragraph_cli", {"commands/show.py": text}))

    assert len(found) == 1
    assert said in found[0]


def test_the_command_check_allows(tmp_path: Path) -> None:
    text = "import json\nimport click\nimport hydragraph as hg\nfrom ..talk import Talk\ndef f():\n    import polars"

    assert command_breaks(tree_of(tmp_path / "hydragraph_cli", {"commands/show.py": text})) == []


# Names and sizes


def written() -> list[Path]:
    """Files people write and read: code, tests and templates."""
    folders = (ROOT / name for name in ("graphs", "cli", "tests", "benchmarks"))
    return [p for folder in folders for p in sorted(folder.rglob("*")) if p.suffix in {".py", ".html", ".js", ".css"}]


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    lengths = {str(p.relative_to(ROOT)): len(p.read_text("utf-8").splitlines()) for p in written()}

    assert len(lengths) > 20
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_no_drawer_without_a_meaning() -> None:
    named = {part for p in written() for part in p.relative_to(ROOT).with_suffix("").parts}

    assert "export" in named
    assert {n for n in named if n.lower().strip("_") in DRAWERS} == set()


# The public names


def test_public_names_resolve() -> None:
    assert list(hydragraph.__all__) == sorted(hydragraph.__all__)
    assert set(hydragraph.__all__) == {*hydragraph._HOME, "__version__"}
    assert dir(hydragraph) == sorted(hydragraph.__all__)
    for name, module in hydragraph._HOME.items():
        assert getattr(hydragraph, name) is getattr(importlib.import_module(f"hydragraph.{module}"), name)


def run_python(code: str) -> list[str]:
    """Words printed by `code` in a process of its own, where nothing is imported yet."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "graphs"), str(ROOT / "cli")])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_public_name_is_not_hidden_by_a_module_of_the_same_name() -> None:
    """A module named like a public function would replace it in the package as soon as somebody imports the module."""
    names = sorted(set(hydragraph._HOME) & {path.stem for path in LIBRARY.iterdir()})
    code = "import hydragraph as hg\n" + "".join(
        f"import hydragraph.{name}\nif not callable(hg.{name}): print({name!r})\n" for name in names
    )

    assert run_python(code) == []


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'analyse_everything'"):
        hydragraph.analyse_everything  # noqa: B018


def test_type_checkers_see_the_public_names_where_they_are() -> None:
    tree = ast.parse((LIBRARY / "__init__.py").read_text("utf-8"))
    seen = {name.rpartition(".")[::2] for _, name, _, _ in imports(tree, ("hydragraph",)) if name.startswith("hydra")}

    assert seen == {(f"hydragraph.{module}", name) for name, module in hydragraph._HOME.items()}


@pytest.mark.parametrize("module", ["hydragraph", "hydragraph.settings", "hydragraph.exports", "hydragraph_cli.main"])
def test_start_up_imports_nothing_heavy(module: str) -> None:
    heavy = {"polars", "numpy", "scipy", "networkx", "matplotlib", "pydantic", "jinja2", "rich"}

    assert run_python(f"import sys, {module}; print(*sorted({heavy!r} & set(sys.modules)))") == []


# Packaging


@pytest.mark.parametrize(
    ("file", "extra"), [("constraints.txt", "dev"), ("constraints-spark.txt", "spark"), ("constraints-sail.txt", "")]
)
def test_every_dependency_is_pinned_to_the_tested_version(file: str, extra: str) -> None:
    lines = (ROOT / file).read_text("utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"].get(extra, [])]

    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", pin) for pin in pins)
    pinned = {re.sub(r"[-_.]+", "-", pin.partition("==")[0]).lower() for pin in pins}
    assert len(pinned) == len(pins)
    assert {re.split(r"[<>=\[; ]", w)[0].lower() for w in wanted} <= pinned
    assert not any("://" in line or line.startswith("-") for line in lines)


def test_ci_runs_what_the_readme_says() -> None:
    script = ROOT / ".ci" / "run"

    assert os.access(script, os.X_OK)
    assert script.read_text("utf-8").rstrip().endswith("exec make test")
