"""Blocks that no pair shows: a wide pool of ranges, and work that begins in waves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from hand import graph_of, strangers
from hydragraph.activity import MOST_BITS, Activity
from hydragraph.bipartite import BipartiteGraph
from hydragraph.blocks import SMALLEST_BLOCK, find_blocks
from hydragraph.chance import blocks_by_chance, compare
from hydragraph.communities import Clusters, find_clusters
from hydragraph.evidence import Evidence, weigh
from hydragraph.settings import Settings
from hydragraph.ties import Ties, find_ties
from written import clusters_of

DAY = 288
"""Slots of five minutes a day."""
START = 20_000 * DAY
QUARTER = 3


def activity(*calendars: list[int]) -> Activity:
    """One request of each account at each of its slots."""
    account = np.repeat(np.arange(len(calendars)), [len(c) for c in calendars])
    slot = np.concatenate([np.sort(np.array(c, np.int64)) for c in calendars])
    return Activity(account, slot, np.ones(len(slot), np.int64), len(calendars))


def moments(rng: np.random.Generator, number: int) -> list[int]:
    """Beginnings of quarters within thirty days, none within two hours of another."""
    return [START + 24 * int(s) for s in rng.choice(30 * DAY // 24, number, replace=False)]


# --- keeping step


def test_the_bits_of_keeping_step_are_what_the_formula_says() -> None:
    # a and b begin together at noon of one day of three; c begins alone on another day
    noon = START + DAY // 2
    calendar = activity([noon], [noon], [noon + DAY + 60], [noon + 2 * DAY])
    bits = calendar.keeps_step(np.array([0, 0, 0, -1]))
    together = np.log2((1 + (1 + 0.1) / (1 / 3 + 0.1)) / 2)  # one other; usual: one other at noon in three days
    alone = np.log2((1 + 0.1 / 0.1) / 2)
    assert bits.tolist() == pytest.approx([together, together, alone, 0], abs=0.001)


def test_who_begins_with_the_waves_keeps_step_and_who_keeps_a_timetable_does_not() -> None:
    rng = np.random.default_rng(1)
    waves = moments(rng, 12)
    ring = [waves] * 6
    nightly = [[START + d * DAY + 36 for d in range(30)]] * 6
    own = [moments(rng, 12) for _ in range(6)]
    calendar = activity(*ring, *nightly, *own)
    bits = calendar.keeps_step(np.repeat([0, 1, 2], 6))
    assert (bits[:6] == MOST_BITS).all()
    assert (bits[6:12] < 1).all()
    assert (bits[12:] < 4).all()


def test_common_waves_are_quarters_in_which_both_begin() -> None:
    at = [START + h * 12 for h in range(0, 240, 6)]
    calendar = activity(at[:3], at[1:4], [*at[2:3], *at[5:7]], at[:3])
    a, b = calendar.common_waves(np.array([0, 0, 0, 1]), 2)
    assert list(zip(a.tolist(), b.tolist(), strict=True)) == [(0, 1)]
    a, b = calendar.common_waves(np.array([0, 0, 0, 1]), 1)
    assert list(zip(a.tolist(), b.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 2)]
    assert [x.tolist() for x in calendar.common_waves(np.full(4, -1), 1)] == [[], []]


# --- blocks


def pool_of(rng: np.random.Generator, accounts: list[str], ranges: list[str]) -> dict[tuple[str, str], list[str]]:
    """Each account uses ten of the ranges."""
    uses: dict[tuple[str, str], list[str]] = {("ip_range", r): [] for r in ranges}
    for account in accounts:
        for r in rng.choice(ranges, 10, replace=False).tolist():
            uses["ip_range", r].append(account)
    return uses


def world(seed: int) -> tuple[BipartiteGraph, dict[str, list[str]], NDArray[np.int64], Activity]:
    """Two rings of 20 behind one provider's 60 ranges, 20 other customers of it, and 500 people with one range each."""
    rng = np.random.default_rng(seed)
    groups = {g: [f"{g}{i:02d}" for i in range(20)] for g in ("p", "q", "customer")}
    crowd, behind = strangers(500), [a for group in groups.values() for a in group]
    uses = pool_of(rng, behind, [f"198.51.{r}.0/24" for r in range(60)])
    uses |= {("ip_range", f"10.{s[-5:]}"): [s] for s in crowd}
    uses |= {("payment", f"own-{a}"): [a] for a in [*crowd, *behind]}
    graph = graph_of(uses)
    waves = {g: moments(rng, 12) for g in ("p", "q")}
    calendars = []
    for name in graph.accounts["account_id"]:
        joined = waves.get(name[0] if name[1:].isdigit() else "", [])
        chosen = [joined[i] for i in rng.choice(12, 8, replace=False)] if joined else []
        calendars.append(chosen + moments(rng, 4))
    return graph, groups, np.full(graph.accounts.height, -1, np.int64), activity(*calendars)


def named(graph: BipartiteGraph, label: NDArray[np.int64]) -> list[set[str]]:
    names = graph.accounts["account_id"].to_list()
    return sorted(({names[i] for i in np.flatnonzero(label == c)} for c in np.unique(label[label >= 0])), key=min)


@pytest.mark.parametrize("seed", range(3))
def test_two_rings_behind_one_provider_are_two_blocks_and_its_other_customers_none(seed: int) -> None:
    graph, groups, label, calendar = world(seed)
    found, bits = find_blocks(graph, label, calendar, 5)
    first, second = named(graph, found)
    assert first <= set(groups["p"])
    assert second <= set(groups["q"])
    assert min(len(first), len(second)) >= 12  # the others are attached later
    assert ((bits > 0) == (found >= 0)).all()


def test_without_waves_a_pool_is_no_block() -> None:
    graph, _, label, calendar = world(0)
    rng = np.random.default_rng(7)
    own = activity(*(moments(rng, 12) for _ in range(graph.accounts.height)))
    for times in (own, activity(*([] for _ in range(graph.accounts.height)))):
        found, bits = find_blocks(graph, label, times, 5)
        assert (found == -1).all()
        assert not bits.any()
    assert find_blocks(graph, label, calendar, 5)[0].max() == 1


def test_a_block_takes_small_cores_whole_and_leaves_large_ones_alone() -> None:
    graph, groups, label, calendar = world(0)
    names = graph.accounts["account_id"].to_list()
    label[[names.index(a) for a in groups["q"]]] = 0
    alone, _ = find_blocks(graph, label, calendar, SMALLEST_BLOCK)
    assert {names[i] for i in np.flatnonzero(alone == 0)} == set(groups["q"])
    block = np.flatnonzero(alone == 1)
    assert {names[i] for i in block} <= set(groups["p"])
    # a member that lives together with a stranger brings him
    label[[block[0], names.index("stranger-00000")]] = 1
    found, bits = find_blocks(graph, label, calendar, SMALLEST_BLOCK)
    assert {names[i] for i in np.flatnonzero(found == 2)} == {*(names[i] for i in block), "stranger-00000"}
    assert bits[names.index("stranger-00000")] == 0


def test_a_source_without_ranges_has_no_pools() -> None:
    graph = graph_of({("payment", "c"): ["a", "b"]})
    found, _ = find_blocks(graph, np.array([-1, -1]), activity([START], [START]), 5)
    assert found.tolist() == [-1, -1]


# --- blocks by chance


def analysed(graph: BipartiteGraph, calendar: Activity) -> tuple[Evidence, Ties, Clusters]:
    evidence = weigh(graph, Settings())
    ties = find_ties(graph, evidence, calendar)
    return evidence, ties, find_clusters(graph, evidence, ties, calendar)


def test_no_block_is_found_once_the_moments_of_its_members_are_destroyed() -> None:
    graph, groups, _, calendar = world(0)
    evidence, ties, clusters = analysed(graph, calendar)
    first, second = named(graph, clusters.label)
    assert first <= set(groups["p"])
    assert second <= set(groups["q"])
    block, found = blocks_by_chance(graph, evidence, clusters, ties, calendar, Settings())
    assert block.tolist() == [True, True]
    assert (found.size.tolist(), found.strength.tolist()) == ([], [])
    assert compare(clusters, found, block, found).beyond.tolist() == [1, 1]


def test_blocks_by_chance_are_searched_and_measured_like_real_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, _, _, calendar = world(0)
    evidence, ties, clusters = analysed(graph, calendar)
    # nobody is moved, and so chance gives what is there
    monkeypatch.setattr(Activity, "shifted", lambda self, of, seed: self)
    block, found = blocks_by_chance(graph, evidence, clusters, ties, calendar, Settings())
    assert found.size.tolist() == np.bincount(clusters.label[clusters.core]).tolist()
    assert found.strength.tolist() == pytest.approx(clusters.strength.tolist(), abs=0.001)
    # as many as there are: one of two is not explained by it
    assert compare(clusters, found, block, found).beyond.tolist() == [1 / 2, 1 / 2]


def test_where_ties_or_nothing_hold_the_clusters_no_block_is_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("hydragraph.chance.find_blocks", never)
    graph = graph_of({("payment", "card"): ["a", "b"], **{("payment", f"own-{s}"): [s] for s in strangers(50)}})
    calendar = activity(*([START] for _ in range(graph.accounts.height)))
    evidence, ties, clusters = analysed(graph, calendar)
    assert named(graph, clusters.label) == [{"a", "b"}]
    block, found = blocks_by_chance(graph, evidence, clusters, ties, calendar, Settings())
    assert (block.tolist(), found.size.tolist()) == ([False], [])
    # a group (groups.py) is held by no tie either, but is no block
    label = np.where(np.arange(graph.accounts.height) > 1, 0, -1)
    block, found = blocks_by_chance(graph, evidence, clusters_of(label, bits=0.0), ties, calendar, Settings())
    assert (block.tolist(), found.size.tolist()) == ([False], [])


def test_members_of_a_cluster_that_ties_hold_are_in_no_block_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, groups, _, calendar = world(0)
    evidence, _, clusters = analysed(graph, calendar)
    names = graph.accounts["account_id"].to_list()
    # as if a card tied one member of ring p to a stranger, and the customers were a group
    pair = np.array([np.flatnonzero((clusters.label >= 0) & np.isin(names, groups["p"]))[0], len(names) - 1])
    label = np.where(clusters.label >= 0, clusters.label + 1, -1)
    label[pair] = 0
    label[np.isin(names, groups["customer"])] = 3
    held = clusters_of(label)
    held = replace(held, strength=np.where(np.arange(4) == 3, 0.0, held.strength))
    one, nought = np.ones(1, np.int64), np.zeros(1)
    tie = Ties(pair[:1], pair[1:], np.array([5.0]), shared=one, kinds=one, synchrony=nought, pairs_formed=1)
    searched: list[Activity] = []

    def spied(graph: BipartiteGraph, cores: NDArray[np.int64], times: Activity, large: int) -> object:
        searched.append(times)
        return find_blocks(graph, cores, times, large)

    monkeypatch.setattr("hydragraph.chance.find_blocks", spied)
    block, found = blocks_by_chance(graph, evidence, held, tie, calendar, Settings())
    assert block.tolist() == [False, True, True, False]
    assert found.size.tolist() == []
    assert set(range(len(names))) - set(searched[0].account.tolist()) == set(pair.tolist())
