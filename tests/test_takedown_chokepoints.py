"""Chokepoints: small clusters taken apart by hand, then by trying every set of identifiers."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hydragraph.takedown import Chokepoints, chokepoints, cut_cluster

Uses = Mapping[str, Iterable[object]]


def cut(uses: Uses, outside: Mapping[str, int] | None = None, bits: Mapping[str, float] | None = None) -> Chokepoints:
    """The chokepoints of a cluster. uses: 'kind:value' (or a value, then a payment) -> members; outside: other users."""
    return cut_cluster(links_of(uses, outside, bits))


def links_of(
    uses: Uses, outside: Mapping[str, int] | None = None, bits: Mapping[str, float] | None = None
) -> pl.DataFrame:
    rows = []
    for name, users in uses.items():
        kind, _, value = name.rpartition(":")
        members = sorted({str(a) for a in users})
        number = len(members) + (outside or {}).get(name, 0)
        rows += [(a, kind or "payment", value, number, (bits or {}).get(name, 10.0)) for a in members]
    return pl.DataFrame(rows, schema=["account_id", "kind", "value", "accounts", "bits"], orient="row")


def names(found: Chokepoints) -> list[str]:
    return found.identifiers["value"].to_list()


# Worked out by hand


def test_two_triangles_joined_by_one_range() -> None:
    """abc and def each share three cards in pairs; c and d share a range."""
    found = cut({"ab": "ab", "bc": "bc", "ca": "ca", "de": "de", "ef": "ef", "fd": "fd", "ip_range:r": "cd"})

    assert (names(found), found.parts, found.least) == (["r"], (3, 3), 1)
    assert found.exact
    assert found.sentence() == "Without the address range r it falls into two parts of 3 and 3 accounts."


def test_three_parts_of_sizes_worked_out() -> None:
    """One range that all of three groups use, each of which has a card of its own; 41 + 12 + 9 = 62 members, so that a
    part counts from 7 on."""
    groups = {"x": range(41), "y": range(100, 112), "z": range(200, 209)}
    found = cut({**groups, "ip_range:198.51.100.0/24": [a for users in groups.values() for a in users]})

    assert (names(found), found.parts, found.smallest) == (["198.51.100.0/24"], (41, 12, 9), 7)
    assert found.sentence() == (
        "Without the address range 198.51.100.0/24 it falls into three parts of 41, 12 and 9 accounts."
    )
    assert found.sentence(lambda kind, value: "…").startswith("Without the address range … it")


def test_who_hangs_on_the_chokepoint_alone_is_a_part_of_one() -> None:
    found = cut({"one": "abc", "two": "def", "device:hub": "adxy"})

    assert (names(found), found.parts) == (["hub"], (3, 3, 1, 1))
    assert found.sentence() == (
        "Without the device hub it falls into two parts of 3 and 3 accounts, and 2 accounts alone."
    )


def test_of_two_chokepoints_the_one_that_halves_is_taken() -> None:
    """A path of cards: a-b-c-d-e-f-g. Cutting cd leaves abc and defg, of which the larger is smaller than any other's
    but de, which leaves abcd and efg: of two alike the first in the alphabet."""
    found = cut({"ab": "ab", "bc": "bc", "cd": "cd", "de": "de", "ef": "ef", "fg": "fg"})

    assert (names(found), found.parts) == (["cd"], (4, 3))


def test_a_ring_takes_two() -> None:
    """A circle of eight cards: two must go; opposite ones halve it, and 0-1 with 4-5 come first."""
    found = cut({f"{i}-{(i + 1) % 8}": [i, (i + 1) % 8] for i in range(8)})

    assert (sorted(names(found)), found.parts, found.least) == (["0-1", "4-5"], (4, 4), 2)
    assert found.exact


@pytest.mark.parametrize("number", [3, 4, 5])
def test_groups_joined_by_several_ranges(number: int) -> None:
    """Two groups of 7, each with cards for every pair, joined by ranges between different members: all ranges must go,
    for by Menger's theorem they are so many disjoint ways across."""
    uses = {f"{g}{a}{b}": [f"{g}{a}", f"{g}{b}"] for g in "xy" for a in range(7) for b in range(a)}
    found = cut(uses | {f"ip_range:r{i}": [f"x{i}", f"y{i}"] for i in range(number)})

    assert (sorted(names(found)), found.parts, found.least) == ([f"r{i}" for i in range(number)], (7, 7), number)


def test_a_large_cluster_says_what_is_proved() -> None:
    """Two groups of 30 with a card for each pair, joined by three ranges: too much to try every pair of identifiers."""
    uses = {f"{g}{a:02}{b:02}": [f"{g}{a}", f"{g}{b}"] for g in "xy" for a in range(30) for b in range(a)}
    found = cut(uses | {f"ip_range:r{i}": [f"x{i}", f"y{i}"] for i in range(3)})

    assert (sorted(names(found)), found.parts, found.least) == (["r0", "r1", "r2"], (30, 30), 2)
    assert not found.exact
    assert found.sentence().endswith("30 and 30 accounts. No fewer than two could do it.")


def test_many_identifiers_are_no_chokepoint() -> None:
    """Two groups of 8 with a card for each pair, joined by seven ranges."""
    uses = {f"{g}{a}{b}": [f"{g}{a}", f"{g}{b}"] for g in "xy" for a in range(8) for b in range(a)}
    found = cut(uses | {f"ip_range:r{i}": [f"x{i}", f"y{i}"] for i in range(7)})

    assert found.sentence() == (
        "Nothing small holds it together: without 7 identifiers, the address range r0, the address range r1 and the address"
        " range r2 among them, it falls into two parts of 8 and 8 accounts."
    )


def test_identifiers_of_others_hold_nothing() -> None:
    """r is used by four strangers, t is worth nothing, k by one member only: the two cards stand apart already."""
    found = cut(
        {"one": "abc", "two": "def", "ip_range:r": "cde", "tls:t": "abcdef", "key": "a"},
        {"ip_range:r": 4},
        {"tls:t": 0.0},
    )

    assert (names(found), found.parts, found.least) == ([], (3, 3), 0)
    assert found.sentence().startswith("Identifiers of its own hold it in two parts of 3 and 3 accounts; between")


def test_what_everybody_shares_is_no_chokepoint_as_long_as_something_else_holds() -> None:
    found = cut({"one": "abcd", "two": "abcd"})

    assert not found.found
    assert found.sentence() == (
        "No chokepoint was found: take out any two of its own identifiers, and no part of 2 accounts or more comes off."
    )


def test_a_cluster_that_shares_nothing_of_its_own() -> None:
    found = cut({"tls:t": "ab", "key": "a"}, {"tls:t": 100})

    assert (found.parts, found.sentence()) == ((), "No chokepoint: the members share no identifier of their own.")


def test_beyond_the_limit_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chokepoints, "_WALKED_LINKS", 3)
    found = cut({"ab": "ab", "bc": "bc", "cd": "cd"})

    assert (found.found, found.least, found.sentence()) == (
        False, 1, "No chokepoint was looked for: the cluster is too large.",
    )  # fmt: skip


# What must hold


@st.composite
def clusters(draw: st.DrawFn) -> dict[str, list[int]]:
    sets = draw(st.lists(st.sets(st.integers(0, 9), min_size=2, max_size=4), min_size=1, max_size=9))
    return {f"v{i}": sorted(users) for i, users in enumerate(sets)}


def parts_without(uses: Mapping[str, list[int]], gone: Iterable[str]) -> tuple[int, ...]:
    left = {a for users in uses.values() for a in users}
    sets = [set(users) for name, users in uses.items() if name not in gone]
    sizes = []
    while left:
        part = {left.pop()}
        while more := {a for s in sets if s & part for a in s & left}:
            part |= more
            left -= more
        sizes.append(len(part))
    return tuple(sorted(sizes, reverse=True))


@given(clusters(), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_no_smaller_cut_exists(uses: dict[str, list[int]], rng: random.Random) -> None:
    found = cut(uses)
    fewest = next(
        (
            size
            for size in range(len(uses))
            for gone in combinations(uses, size)
            if (parts := parts_without(uses, gone))[1:] and parts[1] >= 2
        ),
        None,
    )

    assert found.parts == parts_without(uses, names(found))
    assert found.found == (fewest is not None)
    if fewest is not None:
        assert found.identifiers.height == found.least == fewest
    shuffled = links_of(uses).sample(fraction=1.0, shuffle=True, seed=rng.randrange(1000))
    assert cut_cluster(shuffled).identifiers.equals(found.identifiers)


@given(st.integers(0, 1000))
@settings(max_examples=25)
def test_what_is_said_of_larger_clusters_is_so(seed: int) -> None:
    rng = np.random.default_rng(seed)
    uses = {f"v{i}": sorted({int(a) for a in rng.integers(0, 30, 3)} | {int(i % 30)}) for i in range(35)}
    uses = {name: users for name, users in uses.items() if len(users) > 1}
    found = cut(uses)

    assert found.parts == parts_without(uses, names(found))
    assert not found.found or found.identifiers.height >= found.least
    for gone in (g for size in range(min(found.least, 3)) for g in combinations(uses, size)):
        parts = parts_without(uses, gone)
        assert len(parts) < 2 or parts[1] < found.smallest
