"""Notebooks: they run, say nothing wrong, can be opened as notebooks, and what they show is short, escaped and masked."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jupytext
import nbformat
import polars as pl
import pytest

import hydragraph as hg
from cli_case import CARD, EVIL, make_case, make_empty_case
from docs_made import ROOT
from hydragraph.bipartite import BipartiteGraph
from hydragraph.cards import LISTED, printable
from hydragraph.case import Cluster

NOTEBOOKS = ("first_look", "why_a_cluster", "graph_work")


# Short, escaped, no identifiers


class Page(HTMLParser):
    """The tags of a piece of HTML and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture
def case(tmp_path: Path) -> hg.Case:
    return make_case(tmp_path / "case", first="ann", note="Two <b>accounts</b> & a \x1b[31mcard\u202e.")


def test_the_card_of_a_case_lists_its_clusters(case: hg.Case) -> None:
    page = Page(case._repr_html_())

    assert page.words == [
        "Case 5 accounts, 1 coordinated, 1 explained",
        "cluster", "assessment", "score", "accounts", "closed", "bits", "decided",
        "c-one", "coordinated", "0.9", "2", "0", "21", "unreviewed",
        "c-two", "explained", "-", "2", "0", "6", "unreviewed",
    ]  # fmt: skip


def test_the_card_of_a_case_is_cut(case: hg.Case) -> None:
    many = case.clusters.head(1).select(pl.all().repeat_by(LISTED + 3).explode())
    case._held["clusters"] = many
    page = Page(case._repr_html_())

    assert page.tags.count("tr") == LISTED + 1
    assert page.words[-2:] == ["3 more in ", "case.clusters"]


def test_the_card_of_a_cluster_says_why_and_what_speaks_against_it(case: hg.Case) -> None:
    page = Page(case.cluster("c-one")._repr_html_())
    note = "Two <b>accounts</b> & a \\x1b[31mcard\\u202e."

    assert page.words[:3] == ["Cluster c-one coordinated, 2 accounts, score 0.90", note, f"Against: {note}"]
    assert page.words[-4:] == ["payment_reuse", "1", "0.1", "1e-09"]
    assert set(page.tags) == {"p", "b", "table", "thead", "tbody", "tr", "th", "td"}
    assert page.attributes == []


def test_an_empty_case_has_a_card(tmp_path: Path) -> None:
    page = Page(make_empty_case(tmp_path / "case")._repr_html_())

    assert page.words[0] == "Case 0 accounts, no clusters"
    assert page.tags.count("tr") == 1


def every_view(case: hg.Case) -> dict[str, Any]:
    """Whatever a notebook may show of a case, but frames: they are the data itself."""
    one = case.cluster("c-one")
    graph = BipartiteGraph(case.accounts.select("account_id"), case.links.select("kind", "value"), case.links)
    return {
        "case": case, "cluster": one, "account": case.account(case.accounts["account_id"][0]), "plan": one.plan(),
        "chokepoints": one.chokepoints, "regrowth": one.regrowth, "paths": case.evidence_path("bob", "cy"),
        "suggestions": case.expand(["bob"]), "difference": hg.diff(case, case), "settings": case.settings,
        "graph": graph,
    }  # fmt: skip


def test_no_view_shows_an_identifier_or_an_account(tmp_path: Path) -> None:
    case = make_case(tmp_path / "case", first="acct-secret")
    for name, view in every_view(case).items():
        for shown in (repr(view), *([view._repr_html_()] if hasattr(view, "_repr_html_") else [])):
            assert shown, name
            assert len(shown) < 3_000, name
            assert " object at " not in shown, name
            assert not [word for word in ("acct-secret", CARD, "203.0.113", "bob") if word in shown], name


def test_tables_in_a_dataclass_are_counted_not_printed(case: hg.Case) -> None:
    views = every_view(case)

    assert repr(views["graph"]) == "<BipartiteGraph 5 accounts, 6 identifiers, 6 links>"
    assert repr(views["difference"]) == f"<Difference: {views['difference'].sentence}>"


def test_no_view_acts_on_a_terminal_or_page(tmp_path: Path) -> None:
    case = make_case(tmp_path / "case", first=EVIL, note=f"<script>{EVIL}</script>")
    worse = case.clusters.with_columns(
        cluster_id=case.clusters["cluster_id"] + "<i>\x1b[31m\u202e", assessment=pl.lit("<u>\x9b")
    )
    views = {**every_view(case), "worse": Cluster(case, MappingProxyType(worse.row(0, named=True)))}
    case._held["clusters"] = worse
    for name, view in {**views, "worse case": case}.items():
        html = view._repr_html_() if hasattr(view, "_repr_html_") else ""
        assert printable(repr(view)) == repr(view), name
        assert printable(html) == html, name
        assert not set(Page(html).tags) & {"script", "i", "u"}, name


def test_a_cluster_without_a_score_has_a_repr(case: hg.Case) -> None:
    row = {**case.cluster("c-one").row, "score": None}

    assert repr(Cluster(case, row)) == "<Cluster c-one coordinated, 2 accounts, score ->"


# The notebooks


def source(name: str) -> Path:
    return ROOT / "notebooks" / f"{name}.py"


def test_there_are_no_others() -> None:
    assert {path.stem for path in (ROOT / "notebooks").glob("*.py")} == set(NOTEBOOKS)


def test_they_are_part_of_the_source_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

    assert "notebooks" in project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_one(name: str) -> None:
    """jupytext makes a valid notebook of it, which begins with words, and makes the source again of that."""
    text = source(name).read_text("utf-8")
    notebook = jupytext.reads(text, fmt="py:percent")
    nbformat.validate(notebook)
    kinds = [cell.cell_type for cell in notebook.cells]

    assert kinds[0] == "markdown"
    assert kinds.count("code") >= 5
    assert kinds.count("markdown") >= kinds.count("code") / 2
    assert not any(cell.source.strip() == "" for cell in notebook.cells)
    again = jupytext.writes(notebook, fmt="py:percent")
    assert again.split("# %%", 1)[1] == text.split("# %%", 1)[1]
    assert ast.get_docstring(ast.parse(text)) is None  # words stand in cells


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the notebooks run, one after the other, with one demo."""
    return tmp_path_factory.mktemp("notebooks")


RUN = """
import ast, sys
import jupytext
names = {"__name__": "__main__"}
for cell in jupytext.read(sys.argv[1]).cells:
    if cell.cell_type != "code":
        continue
    tree = ast.parse(cell.source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
        if value is not None:
            print(value if not hasattr(value, "_repr_html_") else value._repr_html_())
"""
"""Runs the cells of a notebook and prints what each would show."""


@pytest.mark.slow
@pytest.mark.xdist_group("notebooks")
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs(name: str, folder: Path) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(source(name))], cwd=folder, env=env, capture_output=True, text=True, timeout=600
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr == ""
    assert len(done.stdout) > 500
    assert re.findall(r"\b(?:acct|key|pm|dev)_[0-9a-f]{8,}", done.stdout) == []  # nobody's id in what is shown
    assert source(name).read_text("utf-8").count("assert ") >= 3
