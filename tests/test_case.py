"""The case folder: written whole or not at all, and what it gives back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cli_case import CARD, make_case, make_empty_case
from hydragraph.bipartite import account_node, identifier_node
from hydragraph.case import MANIFEST, Case, open_case, refuse_to_replace, write_case
from hydragraph.errors import CaseExists, HydragraphError, NotACase, UnknownName
from hydragraph.schema import OUTPUT

EMPTY = {name: table.empty() for name, table in OUTPUT.items()}
FILES = {MANIFEST, *(f"{name}.parquet" for name in OUTPUT)}


def write(out: Path, **more: Any) -> Case:
    more.setdefault("manifest", lambda: {"version": "0", "settings": {}, "stages": []})
    return write_case(out, more.pop("tables", EMPTY), more.pop("manifest"), **more)


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


class Broken(Exception):
    pass


def broken(*_: Any) -> Any:
    raise Broken


class Stopped(BaseException):
    """As KeyboardInterrupt: no Exception."""


def stopped(*_: Any) -> Any:
    raise Stopped


# --- whole or not at all


def test_a_case_has_all_its_files_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    case = write(tmp_path / "deep" / "case")
    assert {p.name for p in case.path.iterdir()} == FILES
    assert [p.name for p in case.path.parent.iterdir()] == ["case"]
    for name, table in OUTPUT.items():
        assert pl.read_parquet(case.path / f"{name}.parquet").schema == table.schema


def test_finish_sees_the_case_before_it_is_in_its_place_and_what_it_adds_is_kept(tmp_path: Path) -> None:
    seen: list[tuple[int, bool]] = []

    def finish(case: Case) -> None:
        seen.append((case.accounts.height, (tmp_path / "case").exists()))
        (case.path / "report.html").write_text("<p>report</p>")

    case = write(tmp_path / "case", finish=finish)
    assert seen == [(0, False)]
    assert {p.name for p in case.path.iterdir()} == {*FILES, "report.html"}


def test_the_manifest_is_asked_last(tmp_path: Path) -> None:
    stages: list[str] = []
    case = write(
        tmp_path / "case", manifest=lambda: {"stages": list(stages)}, finish=lambda case: stages.append("report")
    )
    assert json.loads((case.path / MANIFEST).read_text("utf-8")) == {"stages": ["report"]}
    assert case.manifest == {"stages": ["report"]}


FAILURES: dict[str, dict[str, Any]] = {
    "finish": {"finish": broken},
    "manifest": {"manifest": broken},
    "interrupt": {"finish": stopped},
    "unwritable manifest": {"manifest": lambda: {"stages": object()}},
    "a missing table": {"tables": {n: t for n, t in EMPTY.items() if n != "ties"}},
    "a missing column": {"tables": EMPTY | {"ties": EMPTY["ties"].drop("bits")}},
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_leaves_nothing(tmp_path: Path, failure: str) -> None:
    with pytest.raises((Broken, Stopped, TypeError, KeyError, pl.exceptions.PolarsError)):
        write(tmp_path / "case", **FAILURES[failure])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_leaves_an_old_case_as_it_was(tmp_path: Path, failure: str) -> None:
    make_case(tmp_path / "case")
    before = content(tmp_path)
    with pytest.raises((Broken, Stopped, TypeError, KeyError, pl.exceptions.PolarsError)):
        write(tmp_path / "case", force=True, **FAILURES[failure])
    assert content(tmp_path) == before


def test_a_new_case_that_cannot_take_its_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_case(tmp_path / "case")
    before = content(tmp_path)
    real: Callable[..., Path] = Path.replace

    def replace(self: Path, target: Path) -> Path:
        # the second move of two: the new case to the place of the old
        if target == tmp_path / "case" and (self / "new").exists():
            raise OSError("the disk is gone")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr("hydragraph.unfinished._exchange", lambda new, old: False)  # as where folders cannot
    with pytest.raises(OSError, match="the disk is gone"):
        write(tmp_path / "case", force=True, finish=lambda case: (case.path / "new").touch())
    assert content(tmp_path) == before


def test_a_case_replaces_a_case_whole_when_forced(tmp_path: Path) -> None:
    old = make_case(tmp_path / "case")
    (old.path / "notes.txt").write_text("mine")
    case = write(tmp_path / "case", force=True)
    assert case.accounts.is_empty()
    assert {p.name for p in case.path.iterdir()} == FILES
    assert [p.name for p in tmp_path.iterdir()] == ["case"]


def test_tables_are_conformed_on_the_way_out(tmp_path: Path) -> None:
    # other column order, narrower type, unsorted
    ties = pl.DataFrame({
        "kinds": ["x", "x"], "shared": pl.Series([1, 2], dtype=pl.UInt8), "bits": [2.0, 1.0], "synchrony_bits": [0, 1],
        "account_b": ["d", "b"], "account_a": ["c", "a"],
    })  # fmt: skip
    case = write(tmp_path / "case", tables=EMPTY | {"ties": ties})
    assert case.ties.schema == OUTPUT["ties"].schema
    assert case.ties.rows() == [("a", "b", 1.0, 2, "x", 1.0), ("c", "d", 2.0, 1, "x", 0.0)]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_case_may_be_read_by_whom_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        case = write(tmp_path / "case")
    finally:
        os.umask(before)
    assert case.path.stat().st_mode & 0o777 == 0o750


# --- what may be replaced


def test_a_free_place_and_an_empty_folder_may_be_used(tmp_path: Path) -> None:
    refuse_to_replace(tmp_path / "none", force=False)
    (tmp_path / "empty").mkdir()
    refuse_to_replace(tmp_path / "empty", force=False)
    assert write(tmp_path / "empty").clusters.is_empty()


def test_a_case_is_replaced_only_when_forced(tmp_path: Path) -> None:
    make_empty_case(tmp_path / "case")
    refuse_to_replace(tmp_path / "case", force=True)
    with pytest.raises(CaseExists, match="replace it with --force"):
        refuse_to_replace(tmp_path / "case", force=False)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "made",
    [
        lambda p: p.write_text("a file"),
        lambda p: (p.mkdir(), (p / "photo.jpg").touch()),
        lambda p: (p.mkdir(), (p / ".hidden").touch()),
        lambda p: (p.mkdir(), (p / MANIFEST).mkdir()),
    ],
    ids=["file", "folder", "folder with a hidden file", "folder called like a manifest"],
)
def test_what_is_no_case_is_never_replaced(tmp_path: Path, made: Callable[[Path], Any], force: bool) -> None:
    made(tmp_path / "taken")
    before = content(tmp_path)
    with pytest.raises(CaseExists, match="is not a case"):
        write(tmp_path / "taken", force=force)
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    "files",
    [
        {MANIFEST: b'{"manifest_version": 3, "version": "1.0"}', "background.js": b"the work of a year"},
        {MANIFEST: b'{"rows": 2}', "accounts.parquet": b"PAR1 of a source", "links.parquet": b"PAR1 of a source"},
    ],
    ids=["extension of a browser", "source with a manifest"],
)
def test_a_manifest_of_another_program_makes_no_case(tmp_path: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(CaseExists, match="is not a case"):
        write(tmp_path, force=True)
    assert content(tmp_path) == files


@pytest.mark.parametrize("out", [".", "../here", "./"])
def test_the_current_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(CaseExists, match="the output folder is the current folder"):
        write(Path(out))
    assert [p.name for p in tmp_path.rglob("*")] == ["here"]


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_a_link(tmp_path: Path, there: bool) -> None:
    (tmp_path / "disk").mkdir()
    if there:
        make_case(tmp_path / "disk" / "real")
    (tmp_path / "case").symlink_to(tmp_path / "disk" / "real")
    case = write(tmp_path / "case", force=True)
    assert case.accounts.is_empty()
    assert (tmp_path / "case").is_symlink()
    assert {p.name for p in (tmp_path / "disk" / "real").iterdir()} == FILES
    assert [p.name for p in (tmp_path / "disk").iterdir()] == ["real"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["case", "disk"]


def test_a_damaged_case_may_be_replaced(tmp_path: Path) -> None:
    case = make_empty_case(tmp_path / "case")
    (case.path / "ties.parquet").unlink()
    assert write(tmp_path / "case", force=True).ties.is_empty()


# --- opening


def test_what_was_written_is_opened(tmp_path: Path) -> None:
    make_case(tmp_path / "case")
    case = open_case(str(tmp_path / "case"))
    assert [case.table(n).schema for n in OUTPUT] == [t.schema for t in OUTPUT.values()]
    assert case.table("ties") is case.ties
    for name in OUTPUT:
        assert getattr(case, name) is case.table(name)
    assert case.accounts["account_id"].to_list() == ["ann", "bob", "cy", "dee", "eve"]
    assert case == open_case(tmp_path / "case")


def test_an_unknown_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="no table called 'edges'; a case has accounts, clusters"):
        make_empty_case(tmp_path / "case").table("edges")


def test_a_folder_that_is_no_case_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / MANIFEST).write_text("not json")
    (tmp_path / "file").touch()
    for name in ("none", "empty", "text", "file"):
        with pytest.raises(NotACase, match=r"not a case: the folder has no readable manifest\.json"):
            open_case(tmp_path / name)


def test_a_case_that_lacks_files_names_them(tmp_path: Path) -> None:
    case = make_case(tmp_path / "case")
    (case.path / "ties.parquet").unlink()
    (case.path / "links.parquet").unlink()
    with pytest.raises(
        NotACase, match=r"^an incomplete case, or .*: links\.parquet is missing; ties\.parquet is missing; analyse"
    ):
        open_case(case.path)


def test_a_damaged_table_is_told_when_it_is_read(tmp_path: Path) -> None:
    make_case(tmp_path / "case")
    (tmp_path / "case" / "ties.parquet").write_bytes(b"PAR1 damaged")
    words = pl.DataFrame({name: ["a"] for name in OUTPUT["links"].names})  # in columns of numbers and times, too
    words.write_parquet(tmp_path / "case" / "links.parquet")
    case = open_case(tmp_path / "case")
    for name in ("ties", "links"):
        with pytest.raises(NotACase, match=rf"{name}\.parquet cannot be read as a case table"):
            case.table(name)


def test_a_case_of_an_older_version_says_what_to_do(tmp_path: Path) -> None:
    case = make_case(tmp_path / "case")
    for name, columns in (("clusters", ["stability", "cut_ties"]), ("lineage", ["probability"])):
        case.table(name).drop(columns).write_parquet(case.path / f"{name}.parquet")
    with pytest.raises(NotACase) as caught:
        open_case(case.path)
    assert str(caught.value) == (
        "an incomplete case, or one of an older version: clusters.parquet lacks cut_ties, stability;"
        " lineage.parquet lacks probability; analyse the source again"
    )


def test_a_case_written_with_fewer_settings_is_opened_after_a_move(tmp_path: Path) -> None:
    make_case(tmp_path / "case")
    shutil.move(tmp_path / "case", tmp_path / "moved")
    assert open_case(tmp_path / "moved").clusters.height == 2


# --- clusters and accounts


def test_a_cluster_by_its_id_or_an_unambiguous_beginning(tmp_path: Path) -> None:
    case = make_case(tmp_path / "case")
    assert case.cluster("c-one").id == case.cluster("c-o").id == "c-one"
    for wrong, said in (("c-", "2 clusters begin with"), ("d", "no cluster has"), ("", "no cluster has")):
        with pytest.raises(UnknownName, match=said):
            case.cluster(wrong)


def test_an_id_that_begins_another_is_found_itself(tmp_path: Path) -> None:
    clusters = pl.DataFrame(
        [{"cluster_id": c, "assessment": "review", "explanation": "x", "size": 2} for c in ("c1", "c12")],
        schema=OUTPUT["clusters"].schema,
    )
    case = write(tmp_path / "case", tables=EMPTY | {"clusters": clusters})
    assert case.cluster("c1").id == "c1"
    assert case.cluster("c12").id == "c12"


def test_a_cluster_holds_what_is_its_own(tmp_path: Path) -> None:
    cluster = make_case(tmp_path / "case").cluster("c-one")
    assert (cluster.assessment, cluster.explanation) == ("coordinated", "Two accounts share a card.")
    assert cluster.accounts["account_id"].to_list() == ["ann", "bob"]
    assert cluster.links["account_id"].unique(maintain_order=True).to_list() == ["ann", "bob"]
    assert cluster.links.columns == OUTPUT["links"].names
    assert cluster.ties.rows() == [("ann", "bob", 24.0, 2, "payment", 3.0)]
    assert cluster.signals["signal"].to_list() == ["payment_reuse"]
    assert cluster.holding.startswith(
        "At 21.0 bits it falls into two single accounts, which one tie holds together. Were"
    )
    assert {name: cluster.row[name] for name in ("cut_accounts", "cut_others", "cut_ties", "stability")} == {
        "cut_accounts": 1, "cut_others": 1, "cut_ties": 1, "stability": 0.8,
    }  # fmt: skip
    # both share both; the card is worth more
    assert cluster.identifiers.rows() == [
        ("payment", CARD, 2, 2, 15.0),
        ("ip_range", "203.0.113.0/24", 2, 4, 6.0),
    ]
    assert cluster.lineage.schema == OUTPUT["lineage"].schema
    assert cluster.takedown.schema == OUTPUT["takedown"].schema


def test_an_account_holds_what_is_its_own(tmp_path: Path) -> None:
    case = make_case(tmp_path / "case")
    ann, bob, eve = (case.account(a) for a in ("ann", "bob", "eve"))
    assert ann.id == "ann"
    assert ann.cluster == bob.cluster == case.cluster("c-one")
    assert ann.ties.rows(named=True) == [
        {"other": "bob", "bits": 24.0, "shared": 2, "kinds": "payment", "synchrony_bits": 3.0}
    ]
    assert bob.ties["other"].to_list() == ["ann"]
    assert bob.links["kind"].to_list() == ["ip_range", "payment"]
    assert eve.cluster is None
    assert eve.links.is_empty()
    assert eve.ties.is_empty()
    with pytest.raises(UnknownName, match="no account has this id; the case holds 5 accounts"):
        case.account("mallory")


def test_the_graph_holds_the_members_and_what_they_share(tmp_path: Path) -> None:
    case = make_case(tmp_path / "case")
    whole, one = case.graph(), case.graph("c-o")
    members = {account_node(a) for a in ("ann", "bob", "cy", "dee")}
    card, home = identifier_node("payment", CARD), identifier_node("ip_range", "203.0.113.0/24")
    assert dict(whole.nodes(data="bipartite")) == dict.fromkeys(members, 0) | {card: 1, home: 1}
    assert set(one) == {account_node("ann"), account_node("bob"), card, home}
    edge = one.edges[account_node("ann"), card]
    assert (edge["bits"], edge["weight"], edge["count"]) == (15.0, 15.0, 1)
    assert one.nodes[home]["accounts"] == 4
    assert all(isinstance(v, (str, int, float)) for *_, data in one.edges(data=True) for v in data.values())


# --- what is shown


def test_representations_say_how_many_and_name_nobody(tmp_path: Path) -> None:
    case = make_case(tmp_path / "case", first="ann@example.org")
    ann = case.account("ann@example.org")
    said = [repr(case), repr(case.cluster("c-one")), repr(ann), repr(case.account("eve"))]
    assert said == [
        "<Case 5 accounts, 1 coordinated, 1 explained>",
        "<Cluster c-one coordinated, 2 accounts, score 0.90>",
        "<Account in cluster c-one, 2 links>",
        "<Account in cluster none, 0 links>",
    ]
    assert repr(make_empty_case(tmp_path / "none")) == "<Case 0 accounts, no clusters>"


def test_errors_name_nobody(tmp_path: Path) -> None:
    case = make_case(tmp_path / "case")
    for ask in (case.account, case.cluster, case.graph):
        with pytest.raises(HydragraphError) as caught:
            ask("mallory@example.org")
        assert "mallory" not in str(caught.value)


def test_what_a_killed_run_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f".hydragraph-building-case-{dead.pid}-abc"
    left.mkdir()
    (left / "links.parquet").write_bytes(b"half")
    busy = tmp_path / f".hydragraph-building-case-{os.getppid()}-abc"
    busy.mkdir()
    other = tmp_path / f".hydragraph-building-case2-{dead.pid}-abc"
    other.mkdir()
    write_case(tmp_path / "case", {name: table.empty() for name, table in OUTPUT.items()}, dict)
    assert not left.exists()
    assert busy.exists()
    assert other.exists()
