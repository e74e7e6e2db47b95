"""Who replaced whom: graphs worked out by hand, properties of any graph, and worlds with known answers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hydragraph as hg
from hand import graph_of
from hydragraph.activity import Activity
from hydragraph.bipartite import BipartiteGraph
from hydragraph.communities import Clusters
from hydragraph.lineage import Lineage, Regrowth, find_lineage, lineage_table
from hydragraph.lineage.pairs import candidates, lives, surviving_kinds, used_by_members, what_is_shared
from hydragraph.lineage.rota import same_place
from hydragraph.schema import OUTPUT, TIME
from hydragraph.worlds import simulate
from quality_case import case_of
from written import clusters_of

Life = tuple[float, float | None, str | None]
"""First activity and closing in hours, and the reason."""

START = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
NONE = np.zeros(0, np.int64)


def idle(graph: BipartiteGraph) -> Activity:
    """No request at all."""
    return Activity(NONE, NONE, NONE, graph.accounts.height)


def living(graph: BipartiteGraph, lived: Mapping[str, Life]) -> BipartiteGraph:
    """`graph` whose accounts begin and end as given."""
    names = graph.accounts["account_id"].to_list()

    def at(hours: float | None) -> dt.datetime | None:
        return None if hours is None else START + dt.timedelta(hours=hours)

    accounts = graph.accounts.with_columns(
        first_seen=pl.Series([at(lived[n][0]) for n in names], dtype=TIME),
        closed_at=pl.Series([at(lived[n][1]) for n in names], dtype=TIME),
        close_reason=pl.Series([lived[n][2] for n in names], dtype=pl.String),
    )
    return BipartiteGraph(accounts, graph.identifiers, graph.links)


def one_cluster(graph: BipartiteGraph, outside: Sequence[str] = ()) -> Clusters:
    """All accounts in one cluster but those outside."""
    inside = ~graph.accounts["account_id"].is_in(list(outside)).to_numpy()
    label = np.where(inside, 0, -1)
    return clusters_of(label, bits=0.0)


def named(graph: BipartiteGraph, found: Lineage) -> set[tuple[str, str]]:
    """Parent and child by name."""
    names = graph.accounts["account_id"]
    return set(zip(names.gather(found.parent), names.gather(found.child), strict=True))


RING = {f"old-{i}": (0.0, 100.0 + 40 * i, "banned") for i in range(6)}
"""Six accounts closed 40 hours apart ..."""
AFTER = {f"new-{i}": (104.0 + 40 * i, None, None) for i in range(6)}
"""... each followed by another account after four hours."""


def ring(**changed: Life) -> BipartiteGraph:
    """Twelve accounts with one template: nothing but time tells who replaced whom."""
    lived: dict[str, Life] = {**RING, **AFTER, **{k.replace("_", "-"): v for k, v in changed.items()}}
    return living(graph_of({("template", "t"): lived}), lived)


# by hand


def test_a_steady_delay_names_every_parent() -> None:
    graph = ring()
    found = find_lineage(graph, one_cluster(graph).label, idle(graph))
    assert named(graph, found) == {(f"old-{i}", f"new-{i}") for i in range(6)}
    assert found.gap.tolist() == [4 * 3_600_000_000] * 6
    assert (found.probability > 0.5).all()
    assert found.parent.tolist() == sorted(found.parent.tolist())


@pytest.mark.parametrize("delay", [0.1, 1.0, 24.0, 24.0 * 5])
def test_the_delay_is_estimated(delay: float) -> None:
    # one closing every tenth delay would leave it open; here one comes every tenfold delay
    lived: dict[str, Life] = {}
    for i in range(12):
        end = 50 + 10 * delay * i
        lived |= {f"old-{i:02}": (0.0, end, "banned"), f"new-{i:02}": (end + delay, None, None)}
    graph = living(graph_of({("template", "t"): lived}), lived)
    found = find_lineage(graph, one_cluster(graph).label, idle(graph))
    assert named(graph, found) == {(f"old-{i:02}", f"new-{i:02}") for i in range(12)}


@pytest.mark.parametrize("reason", ["banned", "unpaid", None, " Banned "])
def test_any_closing_but_the_holders_own_may_be_replaced(reason: str | None) -> None:
    graph = ring(old_3=(0.0, 220.0, reason))
    assert ("old-3", "new-3") in named(graph, find_lineage(graph, one_cluster(graph).label, idle(graph)))


@pytest.mark.parametrize("reason", ["voluntary", " Voluntary"])
def test_who_left_by_own_will_is_not_replaced(reason: str) -> None:
    graph = ring(old_3=(0.0, 220.0, reason))
    assert "old-3" not in {a for a, _ in named(graph, find_lineage(graph, one_cluster(graph).label, idle(graph)))}


def test_a_child_begins_after_its_parents_end_and_within_thirty_days() -> None:
    early, late = ring(new_5=(299.9, None, None)), ring(new_5=(300.0 + 24 * 30 + 0.1, None, None))
    for graph in (early, late):
        found = named(graph, find_lineage(graph, one_cluster(graph).label, idle(graph)))
        assert "old-5" not in {a for a, _ in found}


def test_without_any_activity_an_account_begins_with_its_opening() -> None:
    graph = ring()
    moved = graph.accounts.with_columns(created_at="first_seen", first_seen=pl.lit(None, TIME))
    bare = BipartiteGraph(moved, graph.identifiers, graph.links)
    found = find_lineage(bare, one_cluster(bare).label, idle(bare))
    assert named(bare, found) == {(f"old-{i}", f"new-{i}") for i in range(6)}


def test_who_was_closed_before_anything_is_known_took_no_place() -> None:
    # six accounts send requests only after their ban, as those of others begin: each after its own, and after other bans
    lived: dict[str, Life] = {**RING, **AFTER}
    lived |= {f"late-{i}": (110.0 + 40 * i, 90.0 + 40 * i, "banned") for i in range(6)}
    graph = living(graph_of({("template", "t"): lived}), lived)
    found = named(graph, find_lineage(graph, one_cluster(graph).label, idle(graph)))
    assert len(found) == 6
    assert {child for _, child in found} == set(AFTER)


def test_an_identifier_of_two_tells_whose_place_was_taken() -> None:
    # two accounts are closed at one moment, two begin after it: time cannot tell them apart, the cards can
    lived: dict[str, Life] = {**RING, **AFTER}
    lived |= {"twin-a": (0.0, 400.0, "banned"), "twin-b": (0.0, 400.0, "banned")}
    lived |= {"heir-a": (404.0, None, None), "heir-b": (404.1, None, None)}
    cards = {f"card-{i}": {f"old-{i}", f"new-{i}"} for i in range(6)}
    cards |= {"card-a": {"twin-a", "heir-b"}, "card-b": {"twin-b", "heir-a"}}
    graph = living(
        graph_of({("template", "t"): set(lived), **{("payment", c): users for c, users in cards.items()}}), lived
    )
    found = find_lineage(graph, one_cluster(graph).label, idle(graph))
    pairs = named(graph, found)
    assert {("twin-a", "heir-b"), ("twin-b", "heir-a")} <= pairs
    table = lineage_table(graph, one_cluster(graph).label, found, ["c1"])
    assert set(table["survived"]) == {"payment,template"}
    assert table["cluster_id"].unique().to_list() == ["c1"]
    assert table.schema == OUTPUT["lineage"].schema
    # each heir has another candidate, which is worse
    assert (table.filter(pl.col("child").str.starts_with("heir"))["margin"] > 0).all()


def test_what_the_whole_ring_uses_says_nothing_about_who_was_replaced() -> None:
    # q = (n - 1.5) / (s - 1): 12 of 12 use the template, 1 / q = 11 / 10.5; a card of two gives 11 / 0.5
    lived: dict[str, Life] = {**RING, **AFTER}
    graph = living(graph_of({("template", "t"): lived, ("payment", "c"): {"old-0", "new-0"}}), lived)
    known = lives(graph, np.zeros(12, np.int64))
    used = used_by_members(graph, known)
    pairs = candidates(known, used)
    shared = what_is_shared(used, known.label, pairs)
    names = graph.accounts["account_id"]
    ratio = {
        (names[int(pairs.a[p])], names[int(pairs.b[p])], graph.kinds[k]): r
        for p, k, r in zip(shared.at.tolist(), shared.kind.tolist(), shared.ratio.tolist(), strict=True)
    }
    assert ratio["old-0", "new-0", "payment"] == pytest.approx(11 / 0.5)
    assert ratio["old-0", "new-0", "template"] == pytest.approx(11 / 10.5)
    assert ratio["old-0", "new-1", "template"] == pytest.approx(11 / 10.5)
    assert ("old-0", "new-1", "payment") not in ratio


def test_what_a_parent_used_only_after_its_closing_is_left_out() -> None:
    lived: dict[str, Life] = {**RING, **AFTER}
    graph = living(graph_of({("template", "t"): lived, ("payment", "c"): {"old-0", "new-0"}}), lived)
    later = pl.lit(START + dt.timedelta(hours=101)).cast(TIME)
    old = graph.accounts["account_id"].index_of("old-0")
    late = graph.links.with_columns(first_seen=pl.when(pl.col("account") == old).then(later))
    changed = BipartiteGraph(graph.accounts, graph.identifiers, late)
    known = lives(changed, np.zeros(12, np.int64))
    used = used_by_members(changed, known)
    assert old not in used.account.tolist()
    assert len(used_by_members(graph, known).account) == len(used.account) + 2


def test_only_the_clusters_own_identifiers_survive() -> None:
    # `wide` has 2 of 6 users inside, `own` 2 of 4
    outside = [f"out-{i}" for i in range(4)]
    uses = {("payment", "own"): {"old", "new", "out-0", "out-1"}, ("tls", "wide"): {"old", "new", *outside}}
    lived: dict[str, Life] = {"old": (0.0, 10.0, "banned"), "new": (11.0, None, None)}
    graph = living(graph_of(uses), lived | dict.fromkeys(outside, (0.0, None, None)))
    known = lives(graph, one_cluster(graph, outside).label)
    names = graph.accounts["account_id"].to_list()
    a, b = np.array([names.index("old")]), np.array([names.index("new")])
    found = surviving_kinds(graph, used_by_members(graph, known), a, b)
    assert found.tolist() == [1 << graph.kinds.index("payment")]


def test_accounts_outside_clusters_take_no_part() -> None:
    graph = ring()
    found = find_lineage(graph, one_cluster(graph, ["old-0", "new-1"]).label, idle(graph))
    assert not {"old-0", "new-1"} & {name for pair in named(graph, found) for name in pair}


@pytest.mark.parametrize("closed", [False, True])
def test_nothing_to_name(closed: bool) -> None:
    lived: dict[str, Life] = {"a": (0.0, 5.0 if closed else None, "banned"), "b": (0.0, None, None)}
    graph = living(graph_of({("payment", "c"): lived}), lived)
    found = find_lineage(graph, one_cluster(graph).label, idle(graph))
    assert len(found.parent) == 0
    assert lineage_table(graph, one_cluster(graph).label, found, ["c1"]).equals(OUTPUT["lineage"].empty())


def test_places_in_the_rota() -> None:
    # five rounds with A, then five with B in its place, a turn every three hours
    order = "pAqrs" * 5 + "pBqrs" * 5
    names = sorted(set(order))
    account = np.array([names.index(c) for c in order])
    slot = np.arange(len(order)) * 36
    by_account = np.lexsort((slot, account))
    activity = Activity(account[by_account], slot[by_account], np.ones(len(order), np.int64), len(names))
    a, b, q = (names.index(c) for c in "ABq")
    at, level = same_place(activity, np.zeros(len(names), np.int64), np.array([a, a]), np.array([b, q]))
    # A and B: p right before (5 * 5 pairs of turns), q right after (5 * 5), s two before (4 * 5, none before the first
    # turn), r two after (5 * 5): s = 95. Five accounts work when A ends, so t = 95 / 5 = 19; log2(96 / 20) = 2.3
    # A and q have nobody in common at the same place: s = 0; q was beside A 5 times, r 10, p 10 and s 10 times, so
    # t = (5 * 5 + 5 * 10 + 4 * 10 + 5 * 10) / 5 = 33; log2(1 / 34) = -5.1
    assert at.tolist() == [0, 1]
    assert level.tolist() == [3, 0]


# properties


@st.composite
def rings(draw: st.DrawFn) -> tuple[BipartiteGraph, Clusters]:
    """Up to 14 accounts in up to three clusters with any lives and cards."""
    number = draw(st.integers(2, 14))
    names = [f"a{i:02}" for i in range(number)]
    hours = st.integers(0, 900)
    lived: dict[str, Life] = {}
    for name in names:
        begin, end = draw(hours), draw(st.one_of(st.none(), hours))
        lived[name] = (
            float(begin),
            None if end is None else float(end),
            draw(st.sampled_from(["banned", "voluntary"])),
        )
    uses = {
        (kind, f"v{i}"): users
        for i in range(draw(st.integers(1, 6)))
        for kind in [draw(st.sampled_from(["payment", "device"]))]
        if (users := draw(st.sets(st.sampled_from(names), min_size=1)))
    }
    graph = living(graph_of(uses, also=names), lived)
    label = np.array([draw(st.integers(-1, 2)) for _ in names])
    _, inverse = np.unique(label, return_inverse=True)
    dense = np.where(label < 0, -1, inverse - int((label < 0).any()))
    return graph, clusters_of(dense, bits=0.0)


@given(rings())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_forest_in_time_inside_clusters(drawn: tuple[BipartiteGraph, Clusters]) -> None:
    graph, clusters = drawn
    found = find_lineage(graph, clusters.label, idle(graph))
    end = graph.accounts["closed_at"].cast(pl.Int64).to_numpy()
    begin = graph.accounts["first_seen"].cast(pl.Int64).to_numpy()
    assert len(set(found.parent.tolist())) == len(found.parent)
    assert len(set(found.child.tolist())) == len(found.child)
    assert (begin[found.child] > end[found.parent]).all()
    before = dict(zip(found.child.tolist(), found.parent.tolist(), strict=True))
    for account in before:
        seen = {account}
        while account in before:
            account = before[account]
            assert account not in seen
            seen.add(account)
    assert (found.gap == begin[found.child] - end[found.parent]).all()
    assert (clusters.label[found.child] == clusters.label[found.parent]).all()
    assert (clusters.label[found.parent] >= 0).all()
    reasons = graph.accounts["close_reason"].gather(found.parent).to_list()
    assert "voluntary" not in reasons
    assert ((found.probability >= 0.25) & (found.probability <= 1)).all()
    assert np.isfinite(found.bits).all()


# worlds


@pytest.fixture(scope="module")
def handed_on(tmp_path_factory: pytest.TempPathFactory) -> tuple[hg.Case, pl.DataFrame]:
    """A world in which half of the successors go on with the card, device, phone and proxy, and its case."""
    folder = tmp_path_factory.mktemp("lineage")
    made = simulate(folder / "world", accounts=4000, seed=21, scenario="few_at_a_time", hand_on=0.5)
    return hg.analyze(folder / "world", folder / "case"), made.truth


def test_parents_in_a_world(handed_on: tuple[hg.Case, pl.DataFrame]) -> None:
    case, truth = handed_on
    rows = case.lineage.join(truth, left_on="child", right_on="account_id", suffix="_true").filter(label=1)
    ring_of = truth.select(parent="account_id", ring_of_parent="cluster")
    rows = rows.join(ring_of, on="parent")
    assert rows.height > 40
    assert (rows["parent"] == rows["parent_true"]).mean() > 0.8
    assert (rows["cluster"] == rows["ring_of_parent"]).mean() > 0.98
    assert rows.height > 0.8 * truth["parent"].count()


def test_row_order_changes_nothing(handed_on: tuple[hg.Case, pl.DataFrame], tmp_path: Path) -> None:
    case, _ = handed_on
    world, other = case.path.parent / "world", tmp_path / "world"
    other.mkdir()
    for table in ("accounts", "api_keys", "payments", "links", "events"):
        pl.read_parquet(world / f"{table}.parquet").reverse().write_parquet(other / f"{table}.parquet")
    (other / "ranges.parquet").write_bytes((world / "ranges.parquet").read_bytes())
    assert hg.analyze(other, tmp_path / "case").lineage.equals(case.lineage)


def test_the_delay_of_the_world_is_found(handed_on: tuple[hg.Case, pl.DataFrame]) -> None:
    case, _ = handed_on
    median = case.regrowth().summary["median"]
    assert median is not None
    assert 2 < median < 5  # the tactic replaces within 3 hours


# regrowth


def regrown(
    closings: Sequence[tuple[str, float | None, str | None]], pairs: Mapping[str, tuple[str, float]]
) -> Regrowth:
    """Members of cluster c, first seen at hour 0 (new-*: at hour 130), and replacements (parent: child, hours)."""
    members = pl.DataFrame(
        {
            "account_id": [name for name, _, _ in closings],
            "cluster_id": "c",
            "assessment": "coordinated",
            "first_seen": [START + dt.timedelta(hours=130 if n.startswith("new") else 0) for n, _, _ in closings],
            "created_at": [START - dt.timedelta(hours=1)] * len(closings),
            "last_seen": START + dt.timedelta(days=40),
            "closed_at": [None if h is None else START + dt.timedelta(hours=h) for _, h, _ in closings],
            "close_reason": [reason for _, _, reason in closings],
        },
        schema_overrides={
            "first_seen": TIME,
            "created_at": TIME,
            "last_seen": TIME,
            "closed_at": TIME,
            "close_reason": pl.String,
        },
    )  # fmt: skip
    lineage = OUTPUT["lineage"].conform(
        pl.DataFrame(
            [
                ("c", p, c, 9.0, h * 3600, 0.9, None, "device,payment" if h < 3 else "payment")
                for p, (c, h) in pairs.items()
            ],
            schema=OUTPUT["lineage"].schema,
            orient="row",
        )
    )
    uses = [
        ("old-1", "card"),
        ("new-1", "card"),
        ("old-2", "card"),
        ("new-2", "card"),
        ("old-1", "wide"),
        ("new-1", "wide"),
    ]
    links = pl.DataFrame(
        [(a, "payment", v, 2.0, 4 if v == "card" else 5) for a, v in uses],
        schema=["account_id", "kind", "value", "bits", "accounts"],
        orient="row",
    )
    return Regrowth(members, lineage, links)


CLOSINGS = [("old-1", 100.0, "banned"), ("old-2", 111.0, "banned"), ("old-3", 124.0, "banned"),
            ("old-4", 124.5, "unpaid"), ("left", 112.0, "voluntary"), ("open", None, None),
            ("new-1", None, None), ("new-2", None, None)]  # fmt: skip
PAIRS = {"old-1": ("new-1", 30.0), "old-2": ("new-2", 2.0)}


def test_closings_and_quartiles() -> None:
    found = regrown(CLOSINGS, PAIRS)
    assert found.summary == {
        "clusters": 1, "waves": 2, "closed": 4, "replaced": 2, "share": 0.5,
        "quarter": 9.0, "median": 16.0, "three_quarters": 23.0,
    }  # fmt: skip
    assert found.clusters.select("cluster_id", "size", "closed", "replaced").rows() == [("c", 8, 4, 2)]
    assert found.sentence == (
        "4 accounts closed; a successor can be named for 2 of them, half of these within 16 hours (a quarter within 9"
        " hours, three quarters within 23 hours). What both used most often: payment instrument (2), device (1)."
    )


def test_waves() -> None:
    # hours 100 and 111 are one wave; 124 comes 13 hours later and makes another with 124.5
    rows = regrown(CLOSINGS, PAIRS).waves
    shown = rows.select("wave", "open_before", "closed", "replaced", "median", "open_after").rows()
    # before the first wave the six accounts of hour 0 are open; a week after it `open`, new-1 and new-2
    assert shown == [(1, 6, 2, 2, 16.0, 3), (2, 3, 2, 0, None, 3)]
    assert rows["start"].to_list() == [START + dt.timedelta(hours=h) for h in (100, 124)]
    # were nothing known of the new ones but that they were opened before
    found = regrown(CLOSINGS, PAIRS)
    new = pl.col("account_id").str.starts_with("new")
    silent = found.members.with_columns(first_seen=pl.when(~new).then("first_seen"))
    assert replace(found, members=silent).waves["open_before"].to_list() == [8, 5]
    assert rows["end"].to_list() == [START + dt.timedelta(hours=h) for h in (111, 124.5)]


def test_a_cluster_that_did_not_come_back_has_nobody_a_week_later() -> None:
    # both members are closed after 10 hours; what is known of others reaches to day 40, or to day 7 and no week further
    case = case_of({"k": ("coordinated", 1.0, ["a", "b"])}, ["other"])
    for days, after in ((40, 0), (7, None)):
        outside = pl.col("account_id") == "other"
        case._held["accounts"] = case.accounts.with_columns(
            first_seen=pl.lit(START, TIME),
            last_seen=pl.when(outside)
            .then(pl.lit(START + dt.timedelta(days=days), TIME))
            .otherwise(pl.lit(START, TIME)),
            closed_at=pl.when(~outside).then(pl.lit(START + dt.timedelta(hours=10), TIME)),
        )
        for found in (case.regrowth(), case.cluster("k").regrowth):
            assert found.waves.select("open_before", "closed", "open_after").rows() == [(2, 2, after)]


def test_survivors() -> None:
    # `wide` has 2 members among 5 users and is not the cluster's own
    found = regrown(CLOSINGS, PAIRS)
    assert found.survivors.rows() == [("payment", "card", 2, 4, 4, 2.0)]
    assert found.kinds.rows() == [("payment", 2, 1.0), ("device", 1, 0.5)]


@pytest.mark.parametrize(
    ("closings", "pairs", "said"),
    [
        ([("open", None, None)], {}, "No account was closed."),
        ([("old", 5.0, "banned")], {}, "1 account closed; for none of them a successor can be named."),
        (
            [("old", 5.0, None)],
            {"old": ("new", 0.5)},
            "1 account closed; a successor can be named for it, 30 minutes later. What both used most often: device (1),"
            " payment instrument (1).",
        ),
    ],
)
def test_sentences(
    closings: list[tuple[str, float | None, str | None]], pairs: dict[str, tuple[str, float]], said: str
) -> None:
    found = regrown(closings, pairs)
    assert found.sentence == said
    assert repr(found) == f"<Regrowth: {said}>"
