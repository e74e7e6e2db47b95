"""Blocks that no pair shows: a wide pool of ranges, and work that begins in waves."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hand import graph_of, strangers
from hydragraph.activity import MOST_BITS, Activity
from hydragraph.bipartite import BipartiteGraph
from hydragraph.blocks import SMALLEST_BLOCK, find_blocks

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
