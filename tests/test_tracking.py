"""Clusters across runs: matching, the ledger, carried ids, and what changed between two cases."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import hydragraph as hg
from case_contract import breaks
from hydragraph.schema import EVENTS, OUTPUT
from hydragraph.tracking import carried_ids, ledger_table, match_clusters
from hydragraph_cli.main import cli
from written import source_of

Parts = Mapping[str, str]
"""Clusters by id, each with its members as the letters of a word."""


def frame(parts: Parts, seed: int | None = None) -> pl.DataFrame:
    rows = [(member, cluster) for cluster, members in parts.items() for member in members]
    if seed is not None:
        random.Random(seed).shuffle(rows)
    return pl.DataFrame(rows, schema={"account_id": pl.String, "cluster_id": pl.String}, orient="row")


def ledger(old: Parts, new: Parts) -> list[tuple[object, ...]]:
    before, after = frame(old), frame(new)
    return ledger_table(before, after, match_clusters(before, after)).rows()


# --- by hand: cluster, previous, event, before, after, common


@pytest.mark.parametrize(
    ("old", "new", "rows"),
    [
        ({"A": "abc"}, {"X": "abc"}, [("X", "A", "kept", 3, 3, 3)]),
        ({"A": "abc"}, {"X": "abd"}, [("X", "A", "kept", 3, 3, 2)]),
        ({"A": "abc"}, {"X": "abcdefghijkl"}, [("X", "A", "grew", 3, 12, 3)]),
        ({"A": "abcdef"}, {"X": "ab"}, [("X", "A", "shrank", 6, 2, 2)]),
        ({"A": "abc"}, {}, [(None, "A", "gone", 3, 0, 0)]),
        ({}, {"X": "abc"}, [("X", None, "appeared", 0, 3, 0)]),
        # the larger part keeps the id
        ({"A": "abcde"}, {"X": "abc", "Y": "de"}, [("X", "A", "shrank", 5, 3, 3), ("Y", "A", "split", 5, 2, 2)]),
        # of two equal parts the one whose first account sorts first
        ({"A": "abcd"}, {"X": "cd", "Y": "ab"}, [("X", "A", "split", 4, 2, 2), ("Y", "A", "shrank", 4, 2, 2)]),
        # the larger of two that merge gives its id
        ({"A": "ab", "B": "cde"}, {"X": "abcde"}, [("X", "B", "grew", 3, 5, 3), ("X", "A", "merged", 2, 5, 2)]),
        # of four equal parts none holds a third: the id ends, and all four come from it
        (
            {"A": "abcdefgh"},
            {"W": "ab", "X": "cd", "Y": "ef", "Z": "gh"},
            [(None, "A", "gone", 8, 0, 0), *((c, "A", "split", 8, 2, 2) for c in "WXYZ")],
        ),
        # one account of four that joined others is no heir, though it alone is still in a cluster
        ({"A": "abcd"}, {"X": "awxyz"}, [(None, "A", "gone", 4, 0, 0), ("X", None, "appeared", 0, 5, 0)]),
        # A gives most of its members to X, but X has more from B: A goes to Y, with which it shares fewer
        (
            {"A": "abcde", "B": "fghi"},
            {"X": "abcfghi", "Y": "de"},
            [("X", "B", "grew", 4, 7, 4), ("Y", "A", "shrank", 5, 2, 2)],
        ),
    ],
)  # fmt: skip
def test_what_became_of_clusters(old: Parts, new: Parts, rows: list[tuple[object, ...]]) -> None:
    key = [tuple("" if v is None else str(v) for v in row) for row in rows]
    assert [row for _, row in sorted(zip(key, rows, strict=True), key=lambda p: p[0])] == sorted(
        ledger(old, new), key=lambda row: tuple("" if v is None else str(v) for v in row)
    )


def test_a_new_cluster_gets_no_id_of_the_old_case() -> None:
    # the ids are made from members: A was named when it was abc, grew, and now falls apart into its old and new half
    old, new = frame({"A": "abcdefgh"}), frame({"A": "abc", "X": "defgh"})
    assert match_clusters(old, new) == {"X": "A"}
    first, second = carried_ids(["A", "X"], {"X": "A"}, {"A"})
    assert second == "A"
    assert first not in ("A", "X")
    assert carried_ids(["A", "X"], {"X": "A"}, {"A"}) == [first, "A"]


# --- properties


def partitions(names: str) -> st.SearchStrategy[dict[str, str]]:
    """Up to twelve accounts in up to five clusters, each account in one or in none."""
    where = st.lists(st.sampled_from([*names, None]), min_size=12, max_size=12)

    def grouped(labels: list[str | None]) -> dict[str, str]:
        found: dict[str, str] = {}
        for member, label in zip("abcdefghijkl", labels, strict=True):
            if label is not None:
                found[label] = found.get(label, "") + member
        return found

    return where.map(grouped)


@given(partitions("ABCDE"), partitions("VWXYZ"), st.integers(0, 99))
def test_every_cluster_has_one_fate(old: dict[str, str], new: dict[str, str], seed: int) -> None:
    before, after = frame(old), frame(new)
    matched = match_clusters(before, after)
    assert len(set(matched.values())) == len(matched)
    table = ledger_table(before, after, matched)
    come = table.filter(~pl.col("event").is_in(["merged", "gone"]))
    went = table.filter(~pl.col("event").is_in(["split", "appeared"]))
    assert sorted(come["cluster_id"]) == sorted(new)
    assert sorted(went["previous_id"]) == sorted(old)
    for row in table.iter_rows(named=True):
        mine, theirs = set(new.get(row["cluster_id"], "")), set(old.get(row["previous_id"], ""))
        assert (row["accounts_before"], row["accounts_after"]) == (len(theirs), len(mine))
        assert row["common"] == len(mine & theirs)
    # neither the order of rows nor the names matter
    mixed = frame(old, seed), frame(new, seed)
    assert ledger_table(*mixed, match_clusters(*mixed)).equals(table)
    renamed = frame({cluster.translate(str.maketrans("VWXYZ", "ZYXWV")): m for cluster, m in new.items()})
    assert {c.translate(str.maketrans("VWXYZ", "ZYXWV")): p for c, p in matched.items()} == match_clusters(
        before, renamed
    )
    # ids that were carried match themselves
    ids = carried_ids(sorted(new), matched, set(old))
    carried = frame(dict(zip(ids, (new[c] for c in sorted(new)), strict=True)))
    assert len(set(ids)) == len(new)
    assert match_clusters(before, carried) == {p: p for p in matched.values()}


@given(partitions("ABCDE"))
def test_the_same_clusters_are_kept(old: dict[str, str]) -> None:
    same = frame(old)
    assert match_clusters(same, same) == {c: c for c in old}
    assert set(ledger_table(same, same, match_clusters(same, same))["event"]) <= {"kept"}


# --- whole runs


def cards(**held: str) -> str:
    """A links table: each word is a card that these accounts (letters) use, each with a device of a pair as well."""
    rows = [
        f"{a},payment,{card}\n{a},device,d-{card}\n{a},phone,p-{card}" for card, users in held.items() for a in users
    ]
    return "\n".join(["account_id,kind,value", *rows, *(f"s{i},device,own-{i}" for i in range(300))])


def analysed(folder: Path, name: str, previous: hg.Case | None = None, **held: str) -> hg.Case:
    return hg.analyze(source_of(folder / f"{name}-source", links=cards(**held)), folder / name, previous=previous)


def ids_of(case: hg.Case) -> dict[str, str]:
    """The id of each cluster by its members."""
    members = case.accounts.drop_nulls("cluster_id").sort("account_id")
    return {"".join(m): c for c, m in members.group_by("cluster_id", maintain_order=True).agg("account_id").iter_rows()}


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> tuple[hg.Case, hg.Case]:
    folder = tmp_path_factory.mktemp("weeks")
    first = analysed(folder, "first", one="abc", two="def", three="ghi", four="jklm")
    second = analysed(folder, "second", first, one="abcxy", two="de", three="ghi", five="uvw")
    return first, second


def test_ids_are_carried_over(weeks: tuple[hg.Case, hg.Case]) -> None:
    first, second = (ids_of(case) for case in weeks)
    assert set(first) == {"abc", "def", "ghi", "jklm"}
    assert set(second) == {"abcxy", "de", "ghi", "uvw"}
    assert (second["abcxy"], second["de"], second["ghi"]) == (first["abc"], first["def"], first["ghi"])
    assert second["uvw"] not in first.values()
    assert set(weeks[1].signals["cluster_id"]) | set(weeks[1].takedown["cluster_id"]) <= set(second.values())


def test_the_ledger_says_what_happened(weeks: tuple[hg.Case, hg.Case]) -> None:
    first, second = (ids_of(case) for case in weeks)
    assert weeks[0].ledger.equals(OUTPUT["ledger"].empty())
    events = {row[2]: (row[0], row[1], *row[3:]) for row in weeks[1].ledger.iter_rows()}
    assert events == {
        "grew": (first["abc"], first["abc"], 3, 5, 3),
        "shrank": (first["def"], first["def"], 3, 2, 2),
        "kept": (first["ghi"], first["ghi"], 3, 3, 3),
        "gone": (None, first["jklm"], 4, 0, 0),
        "appeared": (second["uvw"], None, 0, 3, 0),
    }


def test_diff_tells_the_same_as_the_ledger(weeks: tuple[hg.Case, hg.Case]) -> None:
    found = hg.diff(*weeks)
    assert OUTPUT["ledger"].conform(found.changes).equals(weeks[1].ledger)
    assert list(found.counts) == list(EVENTS)
    assert [e for e in EVENTS if found.counts[e]] == ["appeared", "grew", "shrank", "gone", "kept"]
    assert found.changes["event"].to_list() == ["appeared", "grew", "shrank", "gone", "kept"]
    assert found.sentence.startswith("Of 4 clusters before and 4 now: 1 appeared, 1 grew, 1 shrank, 1 gone, 1 as large")
    assert found.changes["previous_assessment"].null_count() == found.changes["assessment"].null_count() == 1


def test_a_cluster_that_is_only_judged_otherwise_is_a_change(tmp_path: Path) -> None:
    first = analysed(tmp_path, "first", one="abc", two="def", three="ghi")
    second = analysed(tmp_path, "second", first, one="abc", two="def", three="ghij")
    ids = ids_of(second)
    assert hg.diff(first, second).changed["event"].to_list() == ["grew"]
    hg.decide(second, ids["def"], "innocent", by="ann")
    changed = hg.diff(first, second).changed
    assert changed.select("event", "cluster_id", "previous_review_state", "review_state").rows() == [
        ("grew", ids["ghij"], "unreviewed", "unreviewed"),
        ("kept", ids["def"], "unreviewed", "innocent"),
    ]
    clusters = second.clusters.with_columns(
        assessment=pl.when(cluster_id=ids["abc"]).then(pl.lit("review")).otherwise("assessment")
    )
    clusters.write_parquet(second.path / "clusters.parquet")
    found = hg.diff(first, hg.open_case(second.path))
    assert first.cluster(ids["abc"]).assessment != "review"
    assert sorted(found.changed.filter(event="kept")["cluster_id"]) == sorted([ids["abc"], ids["def"]])
    assert found.changes["event"].to_list() == ["grew", "kept", "kept"]
    assert "2 as large as before, 2 of these judged otherwise" in found.sentence
    third = analysed(tmp_path, "third", second, one="abc", two="def", three="ghij")
    same = hg.diff(third, third)
    assert same.changed.is_empty()
    assert "judged otherwise" not in same.sentence


def test_of_those_kept_the_ones_judged_otherwise_come_first(tmp_path: Path) -> None:
    first = analysed(tmp_path, "first", one="abcde", two="fg")
    second = analysed(tmp_path, "second", first, one="abcde", two="fg")
    assert hg.diff(first, second).changes["accounts_after"].to_list() == [5, 2]
    hg.decide(second, ids_of(second)["fg"], "confirmed", by="ann")
    assert hg.diff(first, second).changes["accounts_after"].to_list() == [2, 5]
    printed = CliRunner().invoke(cli, ["diff", str(first.path), str(second.path)]).stdout
    assert "Changes (1)" in printed
    assert "decided before" in printed
    assert (
        "decided" not in CliRunner().invoke(cli, ["diff", str(first.path), str(first.path), "--event", "kept"]).stdout
    )


def test_the_manifest_says_which_case_came_before(tmp_path: Path) -> None:
    first = analysed(tmp_path, "first", one="abc")
    second = analysed(tmp_path, "second", first, one="abc")
    assert first.manifest["previous"] is None
    told = second.manifest["previous"]
    assert told["digest"] == f"sha256:{hashlib.sha256((first.path / 'manifest.json').read_bytes()).hexdigest()}"
    assert (told["version"], told["settings"]) == (hg.__version__, first.manifest["settings"])
    assert str(tmp_path) not in (second.path / "manifest.json").read_text()
    # the case that is replaced may be the one before
    again = hg.analyze(tmp_path / "second-source", second.path, previous=second, force=True)
    assert again.manifest["previous"]["digest"] != told["digest"]


def test_the_same_previous_case_gives_the_same_bytes(weeks: tuple[hg.Case, hg.Case], tmp_path: Path) -> None:
    again = analysed(tmp_path, "again", weeks[0], one="yxcba", two="ed", three="ihg", five="wvu")
    for name in OUTPUT:
        assert (again.path / f"{name}.parquet").read_bytes() == (weeks[1].path / f"{name}.parquet").read_bytes()


def test_a_case_may_be_its_own_previous_one(tmp_path: Path) -> None:
    first = ids_of(analysed(tmp_path, "case", one="abc"))
    source = source_of(tmp_path / "later", links=cards(one="abcd"))
    second = hg.analyze(source, tmp_path / "case", previous=tmp_path / "case", force=True)
    assert ids_of(second) == {"abcd": first["abc"]}


def test_a_previous_case_that_is_none_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(hg.NotACase, match="previous: not a case"):
        hg.analyze(tmp_path / "nothing", tmp_path / "case", previous=tmp_path / "neither")


def test_of_two_folders_it_is_said_which_is_no_case(tmp_path: Path) -> None:
    case = analysed(tmp_path, "case", one="abc")
    (tmp_path / "none").mkdir()
    for old, new, which in (("case", "none", "NEW"), ("none", "case", "OLD")):
        done = CliRunner().invoke(cli, ["diff", str(tmp_path / old), str(tmp_path / new)], prog_name="hydragraph")
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr.startswith(f"hydragraph: {which}: not a case")
    assert case.path.is_dir()


VALUES = {
    "api_keys": [["api_key_id"]],
    "payments": [["instrument_id"]],
    "links": [["kind", "value"]],
    "events": [["api_key_id"], ["ip"], ["template_hash"]],
}
"""What an account is linked to in each table: columns that go together."""


def rewired(table: pl.DataFrame, columns: list[str], share: float, *, fresh: bool) -> pl.DataFrame:
    """`table` in which this share of the links, account and value, lead elsewhere: to a value nobody had before (fresh),
    or to the value of another link."""
    links = table.select("account_id", *columns).drop_nulls().unique().sort("account_id", *columns)
    chance = random.Random(",".join(columns))
    moved = sorted(chance.sample(range(links.height), round(share * links.height)))
    to = [chance.randrange(links.height) for _ in moved]
    new = links[moved].with_columns(links[to].select(pl.col(c).alias(f"new_{c}") for c in columns))
    if fresh:
        numbers = range(len(moved))
        values = [f"172.{16 + i // 250}.{i % 250}.9" if columns == ["ip"] else f"new-{i}" for i in numbers]
        new = new.with_columns(pl.Series(f"new_{columns[-1]}", values, dtype=pl.String))
    joined = table.join(new, on=["account_id", *columns], how="left", maintain_order="left")
    return joined.with_columns(pl.col(f"new_{c}").fill_null(pl.col(c)).alias(c) for c in columns).select(table.columns)


@pytest.mark.parametrize(("fresh", "least"), [(True, 0.95), (False, 0.9)])
def test_most_clusters_keep_their_id_when_links_change(tmp_path: Path, fresh: bool, least: float) -> None:
    """1.5 % of all links change. Where they lead to strangers' cards and keys, clusters merge and all but one id ends."""
    hg.simulate(tmp_path / "world", accounts=3000, seed=5)
    first = hg.analyze(tmp_path / "world", tmp_path / "first")
    (tmp_path / "later").mkdir()
    for file in sorted((tmp_path / "world").glob("*.parquet")):
        table = pl.read_parquet(file)
        for columns in VALUES.get(file.stem, []):
            table = rewired(table, columns, 0.015, fresh=fresh)
        if file.stem != "truth":
            table.write_parquet(tmp_path / "later" / file.name)
    second = hg.analyze(tmp_path / "later", tmp_path / "second", previous=first)
    assert breaks_but_ids(second) == []
    kept = first.clusters.join(second.clusters, on="cluster_id", how="semi")
    assert first.clusters.height > 100
    assert kept.height >= least * first.clusters.height
    ended = set(second.ledger.filter(pl.col("event").is_in(["merged", "gone"]))["previous_id"])
    assert ended == set(first.clusters["cluster_id"]) - set(kept["cluster_id"])


def breaks_but_ids(case: hg.Case) -> list[str]:
    return [said for said in breaks(case.path) if not said.endswith("its id is not that of its members")]
