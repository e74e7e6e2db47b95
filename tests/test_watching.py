"""Newer tables held against a case: who comes near, who joins which cluster, whose place was taken."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hydragraph as hg
from hand import graph_of
from hydragraph.case import Case
from hydragraph.evidence import KNOWN_SHARED_BITS, TOGETHER_BITS, weigh
from hydragraph.identifiers import kind as kind_of
from hydragraph.links import read_links
from hydragraph.loaders import open_source
from hydragraph.schema import ASSESSMENTS, OUTPUT
from hydragraph.settings import Settings
from hydragraph.ties import Ties
from hydragraph.watching.joins import _by_ties, join
from hydragraph.watching.newer import Newer, carried, newer
from test_tracking import cards, ids_of
from written import source_of

LINKS = "account_id,kind,value\n"


def links(*rows: str) -> str:
    """A links table from `account kind value` lines."""
    return LINKS + "\n".join(",".join(row.split()) for row in rows)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Clusters abcdef and ghi, each with a card, a device and a phone in common; 300 strangers s0, s1, ... with a device."""
    folder = tmp_path_factory.mktemp("case")
    return hg.analyze(source_of(folder / "source", links=cards(one="abcdef", two="ghi")), folder / "case")


def watched(case: Case, folder: Path, *rows: str, assessments: Iterable[str] = ASSESSMENTS) -> hg.Watched:
    return hg.watch(case, source_of(folder / "newer", links=links(*rows)), assessments=tuple(assessments))


def attached(found: hg.Watched) -> set[tuple[str, str]]:
    return set(found.attached.select("account_id", "cluster_id").rows())


# --- who attaches, by hand


def test_new_accounts_join_the_cluster_whose_things_they_use(case: Case, tmp_path: Path) -> None:
    found = watched(
        case, tmp_path,
        "new1 payment one", "new1 device d-one",  # of the first cluster
        "s7 phone p-two", "s7 device d-two",  # a stranger that the case knows turns to the second
        "a payment fresh", "new2 payment fresh",  # a member goes on with a new card, with somebody new
        "new3 device mine", "new1 device mine",  # shares nothing with a member, but with one that attaches
        "new4 payment other", "new5 payment other",  # two that only have each other
        "new6 device alone", "s8 device s8-too",
    )  # fmt: skip
    ids = ids_of(case)
    one, two = ids["abcdef"], ids["ghi"]
    assert attached(found) == {("new1", one), ("s7", two), ("new2", one), ("new3", one)}
    assert dict(found.attached.select("account_id", "new").rows()) == {
        "new1": True, "new2": True, "new3": True, "s7": False,
    }  # fmt: skip
    assert found.counts == {
        "clusters": 2, "accounts": 9, "new": 6, "attached_new": 3, "unattached": 3, "attached_known": 1, "regrown": 0,
    }  # fmt: skip
    assert found.sentence == (
        "9 accounts in the newer tables, 6 of them new. Of the new ones 3 attach to 2 of 2 watched clusters, 3 to none. 1"
        " more attach that the case knows outside of clusters."
    )
    assert set(found.attached["membership"]) == {"core"}
    assert (found.attached["bits"] > 8).all()


def test_what_speaks_for_an_account(case: Case, tmp_path: Path) -> None:
    found = watched(
        case, tmp_path, "new1 payment one", "new1 device d-one", "new2 device d-one", "new1 phone own", "new2 phone own"
    )
    rows = found.identifiers.select("account_id", "kind", "value", "members", "others", "accounts").rows()
    # the card: six members and new1; the device: both beside the six; their own phone: the two of them
    assert sorted(rows) == [
        ("new1", "device", "d-one", 6, 1, 8),
        ("new1", "payment", "one", 6, 0, 7),
        ("new1", "phone", "own", 0, 1, 2),
        ("new2", "device", "d-one", 6, 1, 8),
        ("new2", "phone", "own", 0, 1, 2),
    ]
    said = dict(found.attached.select("account_id", "because").rows())
    assert said == {
        "new1": "shares 1 payment instrument, 1 device and 1 phone number", "new2": "shares 1 device and 1 phone number",
    }  # fmt: skip
    bits = found.identifiers.group_by("account_id", maintain_order=True).agg("bits")["bits"].to_list()
    assert all(x >= y for listed in bits for x, y in pairwise(listed))


def test_which_clusters_are_watched(case: Case, tmp_path: Path) -> None:
    ids = ids_of(case)
    copy = hg.open_case(copied(case, tmp_path / "copy"))
    words = dict(case.clusters.select("cluster_id", "assessment").rows())
    rows = ("new1 payment one", "new1 device d-one", "new2 payment two", "new2 device d-two")
    assert set(words.values()) == {"explained"}  # too little for a lead
    assert watched(copy, tmp_path, *rows, assessments=["coordinated"]).counts["clusters"] == 0
    hg.decide(copy, ids["abcdef"], "confirmed", by="ann")
    found = watched(copy, tmp_path, *rows, assessments=["coordinated", "review"])
    assert attached(found) == {("new1", ids["abcdef"])}
    assert found.attached["assessment"].to_list() == ["explained"]
    hg.decide(copy, ids["abcdef"], "innocent", by="ann")
    assert attached(watched(copy, tmp_path, *rows)) == {("new2", ids["ghi"])}
    cleared = copy.clusters.with_columns(hypothesis=pl.lit("cleared"), review_state=pl.lit("unreviewed"))
    cleared.write_parquet(copy.path / "clusters.parquet")
    (copy.path / "decisions.ndjson").unlink()
    assert watched(hg.open_case(copy.path), tmp_path, *rows).counts["clusters"] == 0


def test_only_the_clusters_asked_for_are_watched(case: Case, tmp_path: Path) -> None:
    """However they are assessed or decided about; who belongs to another one is not drawn over."""
    copy = hg.open_case(copied(case, tmp_path / "copy"))
    ids = ids_of(copy)
    hg.decide(copy, ids["ghi"], "innocent", by="ann")
    rows = ("new1 payment one", "new1 device d-one", "new2 payment two", "new2 device d-two")
    source = source_of(tmp_path / "newer", links=links(*rows))
    for asked, found in ((["abcdef"], {"new1"}), (["ghi"], {"new2"}), (["abcdef", "ghi"], {"new1", "new2"})):
        seen = hg.watch(copy, source, clusters=[ids[members] for members in asked])
        assert seen.counts["clusters"] == len(asked)
        assert {account for account, _ in attached(seen)} == found
    with pytest.raises(hg.UnknownName):
        hg.watch(copy, source, clusters=["c-nine"])


def copied(case: Case, to: Path) -> Path:
    import shutil

    return Path(shutil.copytree(case.path, to))


def test_whoever_belongs_to_a_cluster_that_is_not_watched_is_not_drawn_over(case: Case, tmp_path: Path) -> None:
    """new1 is of the second cluster, with one device of the first: it joins the second, watched or not."""
    copy = hg.open_case(copied(case, tmp_path / "copy"))
    ids = ids_of(copy)
    hg.decide(copy, ids["ghi"], "innocent", by="ann")
    rows = ("new1 payment two", "new1 device d-two", "new1 phone p-two", "new1 device d-one")
    found = watched(copy, tmp_path, *rows)
    assert found.counts["clusters"] == 1
    assert found.attached.is_empty()
    assert found.identifiers.is_empty()
    assert found.sentence == "1 account in the newer tables, 1 of them new. None attaches to 1 watched cluster."


def test_nothing_to_watch_and_nobody_near(tmp_path: Path) -> None:
    lonely = hg.analyze(source_of(tmp_path / "source", links=cards()), tmp_path / "case")
    for found in (watched(lonely, tmp_path, "new1 device d-one"), watched(lonely, tmp_path, "s1 device own-1")):
        assert found.attached.is_empty()
        assert found.identifiers.is_empty()
        assert found.regrown.is_empty()
    assert found.attached.columns == [
        "cluster_id", "assessment", "account_id", "new", "membership", "bits", "synchrony_bits", "because",
        "created_at", "first_seen", "closed_at",
    ]  # fmt: skip
    assert found.regrown.columns == [*OUTPUT["lineage"].names, "closed_at"]


def test_a_case_without_calibration_is_refused(case: Case, tmp_path: Path) -> None:
    bare = Case(path=case.path, manifest={k: v for k, v in case.manifest.items() if k != "calibration"})
    with pytest.raises(hg.NotACase, match="calibration"):
        watched(bare, tmp_path, "new1 payment one")


def test_the_case_stays_as_it_was(case: Case, tmp_path: Path) -> None:
    before = {p.name: p.read_bytes() for p in case.path.iterdir()}
    watched(case, tmp_path, "new1 payment one", "new1 device d-one")
    assert {p.name: p.read_bytes() for p in case.path.iterdir()} == before


# --- the graph of both


def put_together(case: Case, folder: Path, watch: Iterable[str], *rows: str) -> Newer:
    settings = Settings()
    source = open_source(source_of(folder / "newer", links=links(*rows)), settings=settings)
    graph, requests, *_ = read_links(source, settings)
    return newer(case, list(watch), graph, requests)


def users(found: Newer) -> dict[str, tuple[set[str], int]]:
    """Accounts here that use each value, and how many use it in all."""
    graph = found.graph
    named = graph.links.select(
        account=graph.accounts["account_id"].gather(graph.links["account"]),
        value=graph.identifiers["value"].gather(graph.links["identifier"]),
    )
    held = {v: set(a) for v, a in named.group_by("value").agg("account").iter_rows()}
    return {v: (held.get(v, set()), int(d)) for v, d in zip(graph.identifiers["value"], graph.degree, strict=True)}


def test_who_comes_near_and_how_many_use_what(tmp_path: Path) -> None:
    """The range is used by three members of ten users; the others are strangers s0 to s6, in no cluster."""
    of_range = "\n".join(f"{a},ip_range,203.0.113.0/24" for a in ["a", "b", "c", *(f"s{i}" for i in range(7))])
    text = cards(one="abcdef", two="ghi") + "\n" + of_range
    case = hg.analyze(source_of(tmp_path / "source", links=text), tmp_path / "case")
    ids = ids_of(case)
    found = put_together(
        case, tmp_path, [ids["abcdef"]],
        "near1 payment one",  # of a telling kind
        "near2 ip_range 203.0.113.9", "near2 tls t1", "a tls t1",  # two of any kind
        "far1 ip_range 203.0.113.8",  # one address
        "far2 payment two",  # of a cluster that is not watched
        "near3 device x", "near1 device x",  # by way of somebody near
        "s0 ip_range 203.0.113.7", "near4 payment one", "near4 phone p-two",
        "near4 phone p-new", "g phone p-new", "h phone no",
    )  # fmt: skip
    names = found.graph.accounts["account_id"].to_list()
    assert names == sorted([*"abcdefghi", "near1", "near2", "near3", "near4"])
    assert [found.ids[i] if i >= 0 else None for i in found.label] == [
        *[ids["abcdef"]] * 6, *[ids["ghi"]] * 3, *[None] * 4,
    ]  # fmt: skip
    held = users(found)
    # seven known strangers, one of whom uses it again, and far1 besides a, b, c and near2
    assert held["203.0.113.0/24"] == ({"a", "b", "c", "near2"}, 12)
    # near4 uses it: what the members of the other cluster share with it is there
    assert held["p-two"] == ({"g", "h", "i", "near4"}, 4)
    assert held["p-new"] == ({"g", "near4"}, 2)
    assert not {"two", "no"} & set(held)
    assert held["one"] == ({*"abcdef", "near1", "near4"}, 8)


def test_links_of_both_are_added_up(tmp_path: Path) -> None:
    first = LINKS.strip() + ",count,first_seen,last_seen\n"
    then = "\n".join(f"{a},payment,one,5,2026-01-01,2026-01-03\n{a},device,d,1,2026-01-01,2026-01-01" for a in "abc")
    crowd = "\n".join(f"s{i},device,own-{i},1,," for i in range(300))
    case = hg.analyze(source_of(tmp_path / "source", links=f"{first}{then}\n{crowd}"), tmp_path / "case")
    later = source_of(
        tmp_path / "newer", links=f"{first}a,payment,one,2,2026-01-02,2026-02-01\nnew,payment,one,1,2026-02-01,"
    )
    graph, requests, *_ = read_links(open_source(later), Settings())
    found = newer(case, case.clusters["cluster_id"].to_list(), graph, requests)
    row = found.graph.accounts["account_id"].to_list().index("a")
    value = found.graph.identifiers["value"].to_list().index("one")
    link = found.graph.links.filter(account=row, identifier=value).row(0, named=True)
    assert (link["count"], link["first_seen"].day, link["last_seen"].month) == (7, 1, 2)


@pytest.mark.parametrize(("again", "fresh", "degree"), [(0, 0, 10), (3, 0, 10), (9, 0, 13), (0, 5, 15), (3, 5, 15)])
def test_others_are_not_counted_twice(tmp_path: Path, again: int, fresh: int, degree: int) -> None:
    """Ten accounts of the case use the card, four of them members. Of the strangers that use it later, `again` known ones
    may have been among the other six; `fresh` ones cannot."""
    rows = [f"{a},payment,wide" for a in [*"abcd", *(f"s{i}" for i in range(6))]]
    text = cards(one="abcd") + "\n" + "\n".join(rows)
    case = hg.analyze(source_of(tmp_path / "source", links=text), tmp_path / "case")
    members = ids_of(case)
    if "abcd" not in members:  # the card drew strangers in: then the figures above do not hold
        pytest.skip("the cluster is another one")
    later = [f"s{100 + i} payment wide" for i in range(again)] + [f"n{i} payment wide" for i in range(fresh)]
    found = put_together(case, tmp_path, [members["abcd"]], *later, "new payment one")
    here, total = users(found)["wide"]
    assert total == degree
    assert len(here) == 4 + again + fresh  # a card tells: all of them come near


# --- weighed as the case was


def test_worth_is_carried_from_the_case() -> None:
    """d: known in the case with 10 bits and 4 accounts, and 8 accounts by now. e: not known. f: nothing in the case."""
    graph = graph_of(
        {("device", "d"): [f"a{i}" for i in range(8)], ("device", "e"): ["a1", "a2"], ("device", "f"): ["a1", "a3"]}
    )
    classes = [{"kind": "device", "level": 1, "identifiers": 9, "pairs": 99, "corroborated": 9, "again": 24,
                "prior_logit": 4.0, "logit": 2.5}]  # fmt: skip
    then = pl.DataFrame({"identifier": [0, 2], "bits": [10.0, 0.0], "accounts": [4, 2]})
    found = carried(weigh(graph, Settings()), graph, {"prior_bits": 9.0, "classes": classes}, then, fresh=512)
    assert found.prior == 10.0  # 512 accounts then, 512 fresh ones
    assert found.logit.tolist() == [10 - 9 - 1.0, 2.5, -np.inf]
    assert found.bits.tolist() == [10.0, 12.5, 0.0]
    # pairs that shared another: 24.5 of 100; a class of width 8 is not known
    assert found.further.tolist() == [0.0, round(float(-np.log2(24.5 / 100)), 3), 0.0]


def test_a_class_the_case_never_saw_keeps_the_prior_of_its_kind() -> None:
    graph = graph_of({("device", "d"): ["a", "b", "c"], ("ip_range", "192.0.2.0/24"): ["a", "b"]})
    graph = type(graph)(graph.accounts, graph.identifiers.with_columns(known=pl.Series([None, "vpn"])), graph.links)
    then = pl.DataFrame(schema={"identifier": pl.Int64, "bits": pl.Float64, "accounts": pl.Int64})
    found = carried(weigh(graph, Settings()), graph, {"prior_bits": 20.0, "classes": []}, then, fresh=0)
    device = TOGETHER_BITS - kind_of("device").chance_bits - np.log2(3 / 2)
    vpn = TOGETHER_BITS - kind_of("ip_range").chance_bits - KNOWN_SHARED_BITS
    assert found.logit.tolist() == pytest.approx([device, vpn], abs=1e-3)


# --- where the strongest path leads


def ties(*rows: tuple[int, int, float]) -> Ties:
    a, b, net = (np.array(column) for column in zip(*sorted(rows), strict=True))
    none = np.zeros(len(a), np.int64)
    return Ties(a, b, net, none, none, np.zeros(len(a)), 0)


def test_an_account_goes_where_the_weakest_tie_is_strongest() -> None:
    """0 and 1 are the clusters 0 and 1. 2 is tied to the first by 3 bits; to the second by way of 3, with 5 and 4 bits."""
    known = np.array([0, 1, -1, -1, -1, -1, -1])
    found = _by_ties(known, 2, ties((0, 2, 3.0), (2, 3, 5.0), (1, 3, 4.0), (5, 6, 9.0)), np.full(len(known), -1))
    # 4 has no tie; 5 and 6 only each other
    assert found.tolist() == [0, 1, 1, 1, -1, 2, 2]


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        # 3 must be with 0, and 4, which no tie holds, with 2, who stays with 3; 5 and 6 must be together: a new core
        ([0, -1, 1, 0, 1, 2, 2], [0, 1, 0, 0, 0, 2, 2]),
        # with one member of each of two clusters: the first; 5 with 0 whatever its tie to 6
        ([0, 0, -1, 0, -1, 0, -1], [0, 1, 0, 0, -1, 0, 0]),
        # 2 and 1 are tied weakest and must be together: 2 and 3 stay there
        ([-1, 0, 0, -1, -1, -1, -1], [0, 1, 1, 1, -1, -1, -1]),
    ],
)
def test_who_must_be_together_goes_as_one(groups: list[int], expected: list[int]) -> None:
    known = np.array([0, 1, -1, -1, -1, -1, -1])
    rows = [(0, 2, 3.0), (1, 2, 0.5), (2, 3, 5.0), (1, 3, 4.0)]
    rows += [] if groups[5] == groups[6] else [(5, 6, 9.0)]
    assert _by_ties(known, 2, ties(*rows), np.array(groups)).tolist() == expected


def test_a_weak_tie_beside_what_must_be_takes_nothing_away() -> None:
    rows = ties((0, 2, 0.5), (1, 2, 9.0))
    assert _by_ties(np.array([0, 1, -1]), 2, rows, np.array([0, -1, 0])).tolist() == [0, 1, 0]


@st.composite
def tied(draw: st.DrawFn) -> tuple[list[int], list[tuple[int, int, float]]]:
    known = draw(st.lists(st.sampled_from([-1, -1, 0, 1, 2]), min_size=2, max_size=9))
    pairs = [(a, b) for b in range(len(known)) for a in range(b) if min(known[a], known[b]) < 0]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, min_size=1)) if pairs else []
    strength = draw(st.permutations(range(1, len(chosen) + 1)))
    return known, [(a, b, float(s)) for (a, b), s in zip(chosen, strength, strict=True)]


@given(tied())
def test_strongest_paths_against_a_slow_search(drawn: tuple[list[int], list[tuple[int, int, float]]]) -> None:
    """All strengths differ. Of two paths that with the stronger weakest tie counts; if it is the same, the next weakest."""
    known, rows = drawn
    if not rows:
        return
    found = _by_ties(np.array(known), 3, ties(*rows), np.full(len(known), -1)).tolist()
    for account, label in enumerate(known):
        if label >= 0:
            assert found[account] == label
            continue
        best = max(paths(known, rows, account), default=None)
        if best is None:
            assert found[account] == -1 or found[account] >= 3
        else:
            assert found[account] == best[1]


def paths(known: list[int], rows: list[tuple[int, int, float]], start: int) -> Iterator[tuple[list[float], int]]:
    """Every path from an account to a cluster: its strengths, the least first, and the cluster. Clusters are ends."""
    ways: list[tuple[list[int], list[float]]] = [([start], [])]
    while ways:
        way, strengths = ways.pop()
        for a, b, s in rows:
            for x, y in ((a, b), (b, a)):
                if x == way[-1] and y not in way:
                    if known[y] >= 0:
                        yield sorted([*strengths, s]), known[y]
                    else:
                        ways.append(([*way, y], [*strengths, s]))


def test_whom_ties_hold_stays_when_its_small_cluster_would_be_attached_whole(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = ids_of(case)
    large = sorted(ids.values()).index(ids["abcdef"])

    def to_the_large_one(
        graph: object, evidence: object, label: np.ndarray, activity: object
    ) -> tuple[np.ndarray, np.ndarray]:
        return np.full(len(label), large), np.full(len(label), 30.0)

    monkeypatch.setattr("hydragraph.watching.joins.attach", to_the_large_one)
    found = join(
        put_together(case, tmp_path, ids.values(), "new1 payment two", "new2 tls x", "a tls x", "new2 tls y", "b tls y")
    )
    assert found.label[-2:].tolist() == [1 - large, large]
    assert found.core[-2:].tolist() == [True, False]
    assert found.bits[-1] == 30.0
    assert found.label[:9].tolist() == [large] * 6 + [1 - large] * 3


# --- whole worlds


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Case, hg.Watched]:
    """A world of which the case knows the first 42 days; the newer tables hold the rest."""
    folder = tmp_path_factory.mktemp("world")
    hg.simulate(folder / "then", accounts=5000, seed=11, until=42)
    hg.simulate(folder / "since", accounts=5000, seed=11, since=42)
    case = hg.analyze(folder / "then", folder / "case")
    return folder, case, hg.watch(case, folder / "since")


def rings_of(case: Case, truth: pl.DataFrame) -> pl.DataFrame:
    """The ring that most members of each cluster belong to."""
    members = case.accounts.drop_nulls("cluster_id").join(truth.select("account_id", ring="cluster"), on="account_id")
    return members.group_by("cluster_id").agg(pl.col("ring").mode().sort().first())


def test_new_members_of_rings_attach_to_their_ring(replayed: tuple[Path, Case, hg.Watched]) -> None:
    folder, case, found = replayed
    truth = pl.read_parquet(folder / "since" / "truth.parquet")
    rows = found.attached.join(truth, on="account_id").join(rings_of(case, truth), on="cluster_id")
    # colleagues who join an office that is in review are no ring's
    rows = rows.filter(pl.col("cluster").is_not_null() | pl.col("ring").is_not_null())
    right = rows.filter(pl.col("cluster") == pl.col("ring"))
    assert right.height > 15
    assert right.height >= 0.9 * rows.height
    leads = case.clusters.filter(pl.col("assessment") != "explained")
    rings = rings_of(case, truth).join(leads, on="cluster_id", how="semi")["ring"].drop_nulls()
    active = pl.read_parquet(folder / "since" / "events.parquet")["account_id"].unique()
    fresh = truth.filter(pl.col("account_id").is_in(active.implode()) & pl.col("cluster").is_in(rings.implode()))
    fresh = fresh.join(case.accounts, on="account_id", how="anti")
    assert fresh.height > 10
    assert fresh.join(right, on="account_id", how="semi").height >= 0.7 * fresh.height


def test_successors_are_new_and_their_parents_closed(replayed: tuple[Path, Case, hg.Watched]) -> None:
    _, case, found = replayed
    rows = found.regrown
    assert rows.height == found.counts["regrown"] > 3
    assert rows["child"].is_in(found.attached["account_id"].implode()).all()
    assert rows["child"].is_unique().all()
    assert rows["parent"].is_unique().all()
    clusters = dict(found.attached.select("account_id", "cluster_id").rows())
    assert [clusters[c] for c in rows["child"]] == rows["cluster_id"].to_list()
    begun = dict(found.attached.select("account_id", "first_seen").rows())
    gaps = [begun[c] - end for c, end in rows.select("child", "closed_at").iter_rows()]
    assert [g / dt.timedelta(seconds=1) for g in gaps] == pytest.approx(rows["gap_seconds"].to_list())
    assert min(gaps) > dt.timedelta(0)
    # closings that only the newer tables tell are among them
    known = case.accounts.filter(pl.col("closed_at").is_not_null())["account_id"]
    assert 0 < rows["parent"].is_in(known.implode()).sum() < rows.height
    assert found.sentence.count("closed account") == 1


def test_the_order_of_rows_changes_nothing(replayed: tuple[Path, Case, hg.Watched], tmp_path: Path) -> None:
    folder, case, found = replayed
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for file in sorted((folder / "since").glob("*.parquet")):
        pl.read_parquet(file).sample(fraction=1.0, shuffle=True, seed=3).write_parquet(mixed / file.name)
    again = hg.watch(case, mixed)
    for name in ("attached", "identifiers", "regrown"):
        assert getattr(again, name).equals(getattr(found, name)), name
    assert again.counts == found.counts


def test_most_attach_where_the_next_analysis_puts_them(replayed: tuple[Path, Case, hg.Watched], tmp_path: Path) -> None:
    _folder, case, found = replayed
    hg.simulate(tmp_path / "whole", accounts=5000, seed=11)
    later = hg.analyze(tmp_path / "whole", tmp_path / "case", previous=case)
    both = found.attached.join(later.accounts.select("account_id", now="cluster_id"), on="account_id", how="left")
    assert (both["now"] == both["cluster_id"]).sum() >= 0.8 * both.height
