"""Exports read back: the same graph in every format, whatever the values are."""

from __future__ import annotations

import datetime as dt
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import networkx as nx
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hydragraph.bipartite import account_node, identifier_node
from hydragraph.case import Case, write_case
from hydragraph.errors import CaseExists, UnknownName
from hydragraph.exports import FORMATS, Format, export
from hydragraph.exports.content import EDGE, NODE, Content, content_of
from hydragraph.exports.fit import finite, iso_times, restore_csv, restore_visible, safe_csv, visible
from hydragraph.schema import OUTPUT, REVIEW_STATES

NOON = dt.datetime(2026, 2, 1, 12, tzinfo=dt.UTC)
LATER = dt.datetime(2026, 2, 1, 12, 0, 0, 250, tzinfo=dt.UTC)
GRAPHS = ("graphml", "gexf", "json")
FOLDERS = ("parquet", "csv")
FILES = tuple(name for name in FORMATS if name not in FOLDERS)
HOSTILE = [
    "</node><node id='x'>",
    "]]><![CDATA[",
    "&amp; &#0; \"'",
    "=1+1",
    "'=1+1",
    "\x00",
    "\x1b]52;c;aGk=\x07",
    "a\r\nb",
    "\\u0000",
    "\ufffe\uffff",
    " \t ",
    "",
    "＝cmd",
    "../../x",
    "😀\u202e\u2028",
]


def table(name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    columns = OUTPUT[name]
    full = [{c: row.get(c) for c in columns.names} for row in rows]
    return pl.DataFrame(full, schema=columns.schema)


def case_of(folder: Path, clusters: dict[str, list[str]], links: list[tuple[str, str, str]], **state: str) -> Case:
    """A case of clusters (id: accounts), links (account, kind, value), review states, and one account beside."""
    accounts = [
        {"account_id": a, "cluster_id": c, "assessment": "review", "membership": "core", "bits": 21.5}
        | {"created_at": NOON, "first_seen": LATER, "events": 3, "tokens": 10}
        for c, members in clusters.items()
        for a in members
    ]
    rows = {
        "accounts": [*accounts, {"account_id": "a lone account", "events": 1}],
        "clusters": [
            {"cluster_id": c, "assessment": "review", "explanation": "They share a card.", "score": 0.5}
            | {"size": len(m), "review_state": state.get(c.replace("-", "_"), "unreviewed")}
            for c, m in clusters.items()
        ],
        "links": [
            {"account_id": a, "kind": k, "value": v, "count": 2, "first_seen": NOON, "bits": 15.5, "accounts": 7}
            for a, k, v in links
        ],
    }
    tables = {name: table(name, rows.get(name, [])) for name in OUTPUT}
    return write_case(folder, tables, lambda: {"version": "0"}, force=True)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """Two clusters: a1 and a2 share a card, a2 has a device of its own; b1 and b2 share an address range."""
    links = [("a1", "payment", "card"), ("a2", "payment", "card"), ("a2", "device", "d")]
    links += [("b1", "ip_range", "192.0.2.0/24"), ("b2", "ip_range", "192.0.2.0/24")]
    return case_of(tmp_path / "case", {"c-one": ["a1", "a2"], "c-two": ["b1", "b2"]}, links, c_two="confirmed")


def read(format: str, path: Path) -> nx.Graph[str]:
    """A graph file as networkx reads it, without what GEXF adds of its own."""
    if format == "json":
        return nx.node_link_graph(json.loads(path.read_text("utf-8")), edges="edges")
    if format == "graphml":
        return nx.read_graphml(path)
    graph = nx.read_gexf(path)
    for _, _, values in graph.edges(data=True):
        del values["id"]
    return graph


def contents(path: Path) -> dict[str, bytes]:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def expected(case: Case, states: dict[str, str]) -> nx.Graph[str]:
    graph = case.graph()
    for _, values in graph.nodes(data=True):
        if values["kind"] == "account":
            values["review_state"] = states[values["cluster_id"]]
    return graph


@pytest.mark.parametrize("format", GRAPHS)
def test_a_graph_file_holds_the_graph_of_the_case(case: Case, tmp_path: Path, format: str) -> None:
    graph = read(format, export(case, format, tmp_path / "out"))

    assert set(graph) == {
        "account:a1", "account:a2", "account:b1", "account:b2",
        "identifier:payment:card", "identifier:device:d", "identifier:ip_range:192.0.2.0/24",
    }  # fmt: skip
    assert graph.number_of_edges() == 5
    assert graph.nodes["account:a1"]["created_at"] == "2026-02-01T12:00:00+00:00"
    assert graph.nodes["account:a1"]["first_seen"] == "2026-02-01T12:00:00.000250+00:00"
    assert graph.nodes["account:a1"]["review_state"] == "unreviewed"
    assert graph.nodes["account:b1"]["review_state"] == "confirmed"
    assert graph["account:a1"]["identifier:payment:card"]["weight"] == 15.5
    assert "closed_at" not in graph.nodes["account:a1"]
    wanted = expected(case, {"c-one": "unreviewed", "c-two": "confirmed"})
    assert dict(graph.nodes(data=True)) == dict(wanted.nodes(data=True))
    assert nx.utils.edges_equal(graph.edges(data=True), wanted.edges(data=True))


def test_parquet_holds_exact_values_and_types(case: Case, tmp_path: Path) -> None:
    out = export(case, "parquet", tmp_path / "out")
    nodes, edges = pl.read_parquet(out / "nodes.parquet"), pl.read_parquet(out / "edges.parquet")

    assert nodes["id"].to_list() == [
        "account:a1", "account:a2", "account:b1", "account:b2",
        "identifier:device:d", "identifier:ip_range:192.0.2.0/24", "identifier:payment:card",
    ]  # fmt: skip
    assert nodes.columns[:7] == ["id", "bipartite", "kind", "label", "value", "accounts", "review_state"]
    assert nodes.columns[7:] == OUTPUT["accounts"].names
    assert nodes.select(OUTPUT["accounts"].names).schema == OUTPUT["accounts"].schema
    assert nodes["review_state"].to_list() == ["unreviewed"] * 2 + ["confirmed"] * 2 + [None] * 3
    assert nodes["first_seen"][0] == LATER
    assert edges.columns == ["source", "target", "count", "first_seen", "last_seen", "bits", "weight"]
    assert edges.select("source", "target").rows()[1:3] == [
        ("account:a2", "identifier:device:d"),
        ("account:a2", "identifier:payment:card"),
    ]


def test_csv_is_the_same_as_text(case: Case, tmp_path: Path) -> None:
    out = export(case, "csv", tmp_path / "out")
    nodes, edges = content_of(case).nodes, content_of(case).edges

    assert (out / "edges.csv").read_text("utf-8").splitlines()[:2] == [
        "source,target,count,first_seen,last_seen,bits,weight",
        "account:a1,identifier:payment:card,2,2026-02-01T12:00:00+00:00,,15.5,15.5",
    ]
    assert pl.read_csv(out / "edges.csv", schema_overrides=iso_times(edges).schema).equals(iso_times(edges))
    assert pl.read_csv(out / "nodes.csv", schema_overrides=iso_times(nodes).schema).equals(iso_times(nodes))


@pytest.mark.parametrize("format", FORMATS)
def test_one_cluster_holds_its_members_and_nothing_else(case: Case, tmp_path: Path, format: str) -> None:
    out = export(case, format, tmp_path / "out", cluster="c-tw")

    held = b"".join(contents(out).values())
    assert re.search(rb"\bb1\b", held)
    assert not re.search(rb"\ba1\b", held)
    assert b"confirmed" in held


@pytest.mark.parametrize("format", FORMATS)
def test_accounts_outside_every_cluster_stay_out(case: Case, tmp_path: Path, format: str) -> None:
    out = export(case, format, tmp_path / "out")

    assert b"lone" not in b"".join(contents(out).values())


@pytest.mark.parametrize("format", FORMATS)
def test_a_case_without_clusters_gives_an_empty_export(tmp_path: Path, format: str) -> None:
    out = export(case_of(tmp_path / "case", {}, []), format, tmp_path / "out")

    if format in GRAPHS:
        assert read(format, out).number_of_nodes() == 0
    elif format in FOLDERS:
        files = [pl.read_parquet(f) if f.suffix == ".parquet" else pl.read_csv(f) for f in sorted(out.iterdir())]
        assert [f.height for f in files] == [0, 0]
        assert [len(f.columns) for f in files] == [7, 7 + len(OUTPUT["accounts"].names)]
    else:
        assert not re.search("account:|user-account|datetime", out.read_text("utf-8"))


def test_an_account_without_a_decision_is_unreviewed(tmp_path: Path) -> None:
    case = case_of(tmp_path / "case", {"c": ["a"]}, [("a", "device", "d")])
    case.clusters  # noqa: B018  read, then taken away
    case._held["clusters"] = case.clusters.with_columns(review_state=pl.lit(None, pl.String))

    nodes = content_of(case).nodes

    assert nodes["review_state"].to_list() == [REVIEW_STATES[0], None]


@pytest.mark.parametrize("format", FORMATS)
def test_the_order_of_rows_changes_no_byte(case: Case, tmp_path: Path, format: str) -> None:
    first = contents(export(case, format, tmp_path / "first"))
    mixed = {name: case.table(name).sample(fraction=1, shuffle=True, seed=3) for name in OUTPUT}
    other = write_case(tmp_path / "mixed", mixed, lambda: {"version": "0"})

    assert other.accounts["account_id"].to_list() != case.accounts["account_id"].to_list()
    assert contents(export(other, format, tmp_path / "second")) == first


def test_no_attribute_has_a_name_that_formats_use_for_structure(case: Case) -> None:
    nodes, edges = content_of(case).nodes, content_of(case).edges

    reserved = {"id", "source", "target", "key", "start", "end", "type", "viz", "pid", "parents", "spells", "slices"}
    assert not (set(nodes.columns) - set(NODE)) & reserved
    assert not (set(edges.columns) - set(EDGE)) & reserved


# What cannot be written


def test_an_unknown_format_is_refused_with_the_known_ones(case: Case, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="graphml, gexf, json, parquet, csv, cypher, stix, timesketch"):
        export(case, "xlsx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_cluster_is_refused_before_anything_is_made(case: Case, tmp_path: Path) -> None:
    with pytest.raises(UnknownName):
        export(case, "csv", tmp_path / "new" / "out", cluster="c-none")
    assert not (tmp_path / "new").exists()


def broken(content: Content, path: Path) -> None:
    """A format that fails half way, as a full disk does."""
    (path / "nodes.csv" if path.is_dir() else path).write_text("half")
    raise OSError("no space left")


@pytest.mark.parametrize("files", [(), ("nodes.csv",)])
def test_a_failure_leaves_nothing(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: tuple[str, ...]
) -> None:
    monkeypatch.setitem(FORMATS, "broken", Format(broken, "", files))
    (tmp_path / "there").mkdir()

    with pytest.raises(OSError, match="no space"):
        export(case, "broken", tmp_path / "there" / "out")

    assert list((tmp_path / "there").iterdir()) == []


@pytest.mark.parametrize(("format", "files"), [("json", ()), ("csv", ("nodes.csv", "edges.csv"))])
def test_a_failure_leaves_the_old_export_as_it_was(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, files: tuple[str, ...]
) -> None:
    monkeypatch.setitem(FORMATS, "broken", Format(broken, "", files))
    out = export(case, format, tmp_path / "there" / "out")
    before = contents(out)

    with pytest.raises(OSError, match="no space"):
        export(case, "broken", out, force=True)

    assert contents(out) == before
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_is_replaced_only_with_force(case: Case, tmp_path: Path, format: str) -> None:
    out = export(case, format, tmp_path / "there" / "out", cluster="c-one")
    before = contents(out)

    with pytest.raises(CaseExists, match="--force"):
        export(case, format, out, cluster="c-two")
    assert contents(out) == before

    export(case, format, out, cluster="c-two", force=True)
    assert contents(out) != before
    assert contents(out) == contents(export(case, format, tmp_path / "fresh", cluster="c-two"))
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("format", FOLDERS)
def test_a_folder_with_other_files_is_never_replaced(case: Case, tmp_path: Path, format: str) -> None:
    with pytest.raises(CaseExists, match="other files"):
        export(case, format, case.path, force=True)
    assert (case.path / "manifest.json").is_file()


@pytest.mark.parametrize("format", FOLDERS)
def test_an_empty_folder_may_be_used(case: Case, tmp_path: Path, format: str) -> None:
    (tmp_path / "out").mkdir()

    assert set(contents(export(case, format, tmp_path / "out"))) == set(FORMATS[format].files)


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_never_takes_the_place_of_a_folder_nor_a_folder_of_a_file(
    case: Case, tmp_path: Path, format: str
) -> None:
    out = tmp_path / "out"
    if format in FILES:
        out.mkdir()
    else:
        out.write_text("mine")

    with pytest.raises(CaseExists):
        export(case, format, out, force=True)
    assert out.is_dir() == (format in FILES)


def test_an_export_has_the_permissions_of_an_ordinary_file(case: Case, tmp_path: Path) -> None:
    (tmp_path / "ordinary").touch()
    (tmp_path / "folder").mkdir()

    assert export(case, "json", tmp_path / "out").stat().st_mode == (tmp_path / "ordinary").stat().st_mode
    assert export(case, "csv", tmp_path / "tables").stat().st_mode == (tmp_path / "folder").stat().st_mode


# Hostile values

any_text = st.text(st.characters(exclude_categories=()), max_size=12)  # lone surrogates too
file_text = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=12))  # what a polars column can hold


@given(any_text)
@example("\\u0000")
@example("\\\\u005c")
@example("\\\ud800")
def test_visible_text_is_fit_for_xml_and_can_be_turned_back(text: str) -> None:
    shown = visible(text)

    assert restore_visible(shown) == text
    assert not any(ord(c) < 32 and c not in "\t\n" for c in shown)
    assert not any(0xD800 <= ord(c) <= 0xDFFF or c in "\ufffe\uffff" for c in shown)
    if text.isascii() and text.isprintable() and "\\" not in text:
        assert shown == text


@pytest.mark.parametrize(
    ("text", "shown"), [("a\x00b", "a\\u0000b"), ("\ud800", "\\ud800"), ("C:\\users", "C:\\u005cusers"), ("ü\n", "ü\n")]
)
def test_visible_by_example(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        *((f"{start}x", f"'{start}x") for start in "=+-@\t\r\n\x00＝＋－＠"),
        ("=", "'="),
        ("'=1", "''=1"),
        *((f"{before}=1", f"'{before}=1") for before in (" ", "\u00a0", "\u200b", "\ufeff", "\u202e", " ' ")),
        (" a=1", " a=1"),
        ("'quoted'", "'quoted'"),
        ("a=1", "a=1"),
        ("", ""),
        (None, None),
    ],
)
def test_safe_csv_by_example(text: str | None, safe: str | None) -> None:
    frame = pl.DataFrame({"text": [text], "number": [-1.5]}, schema={"text": pl.String, "number": pl.Float64})

    assert safe_csv(frame).rows() == [(safe, -1.5)]


@given(st.lists(st.none() | file_text | st.text("'=+-@\t\r\n\x00＝a \u200b", max_size=4)))
def test_safe_csv_can_be_turned_back(values: list[str | None]) -> None:
    frame = pl.DataFrame({"text": values}, schema={"text": pl.String})
    safe = safe_csv(frame)

    assert restore_csv(safe).equals(frame)
    assert not any(v and v.lstrip(" \u200b\ufeff")[:1] in tuple("=+-@\t\r\n\x00＝＋－＠") for v in safe["text"])


def test_numbers_that_are_not_finite_become_missing() -> None:
    frame = pl.DataFrame({"x": [1.5, float("nan"), float("inf"), float("-inf"), None], "n": [1, 2, 3, 4, 5]})

    assert finite(frame).rows() == [(1.5, 1), (None, 2), (None, 3), (None, 4), (None, 5)]


hostile_case = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@hostile_case
@given(
    st.lists(file_text, unique=True, min_size=1, max_size=4), st.lists(file_text, unique=True, min_size=1, max_size=4)
)
@example(HOSTILE, HOSTILE)
def test_every_graph_format_reads_back_with_hostile_values(accounts: list[str], values: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        links = [(a, "device", v) for a in accounts for v in values]
        case = case_of(Path(folder) / "case", {"c": accounts}, links)
        for format in GRAPHS:
            graph = read(format, export(case, format, Path(folder) / format))

            assert {restore_visible(n) for n in graph} == {
                *map(account_node, accounts),
                *(identifier_node("device", v) for v in values),
            }
            assert graph.number_of_edges() == len(links)
            for node, held in graph.nodes(data=True):
                original = held["account_id"] if held["bipartite"] == 0 else held["value"]
                assert held["label"] == original
                assert restore_visible(node).endswith(restore_visible(original))


@hostile_case
@given(
    st.lists(file_text, unique=True, min_size=1, max_size=4), st.lists(file_text, unique=True, min_size=1, max_size=4)
)
@example(HOSTILE, HOSTILE)
def test_tables_read_back_with_hostile_values(accounts: list[str], values: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        links = [(a, "device", v) for a in accounts for v in values]
        case = case_of(Path(folder) / "case", {"c": accounts}, links)
        frames = (content_of(case).nodes, content_of(case).edges)
        tables = export(case, "parquet", Path(folder) / "parquet")
        texts = export(case, "csv", Path(folder) / "csv")
        for name, frame in zip(("nodes", "edges"), frames, strict=True):
            assert pl.read_parquet(tables / f"{name}.parquet").equals(frame)
            as_text = iso_times(frame)
            read = pl.read_csv(texts / f"{name}.csv", schema_overrides=as_text.schema)
            assert restore_csv(read).equals(as_text)


def test_a_cell_that_looks_like_a_formula_is_text_in_the_file(tmp_path: Path) -> None:
    case = case_of(tmp_path / "case", {"c": ["=HYPERLINK(1)"]}, [("=HYPERLINK(1)", "device", "@SUM(A1)")])

    lines = (export(case, "csv", tmp_path / "out") / "nodes.csv").read_text("utf-8").splitlines()

    assert lines[1].startswith("account:=HYPERLINK(1),0,account,'=HYPERLINK(1),")
    assert lines[2].startswith("identifier:device:@SUM(A1),1,device,'@SUM(A1),'@SUM(A1),")


def test_a_link_in_the_place_is_replaced_itself_and_not_followed(case: Case, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "out").symlink_to(tmp_path / "mine")

    export(case, "json", tmp_path / "out", force=True)

    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / "out").is_symlink()
