"""Cores that are one: the same profile, a thread and the same time, or nothing but their moments."""

from __future__ import annotations

from math import e, log2

import numpy as np
import pytest
from numpy.typing import NDArray

from hand import EVERYBODY, people, world
from hydragraph import joining
from hydragraph.activity import SLOT_MINUTES, Activity
from hydragraph.bipartite import BipartiteGraph
from hydragraph.joining import MERGE_MARGIN, SMALL_CORE, join_in_waves, merge_cores, rejoin


def merged(graph: BipartiteGraph, label: NDArray[np.int64], activity: Activity | None = None) -> list[set[str]]:
    """The groups that merging leaves, in order of their first member."""
    return groups(graph, merge_cores(graph, label, activity))


def groups(graph: BipartiteGraph, label: NDArray[np.int64]) -> list[set[str]]:
    names = graph.accounts["account_id"].to_list()
    found = [{names[i] for i in np.flatnonzero(label == c)} for c in np.unique(label[label >= 0])]
    return sorted(found, key=min)


# --- merging


def drawn_from(n_a: int, s_a: int, n_b: int, s_b: int, p: float) -> float:
    """Bits for "B is drawn from A's group", written down once more; p: how often an account like B's uses it anyway."""
    q = (n_a + p) / (s_a + 1)
    return n_b * log2(q / p) - s_b * (q - p) * log2(e)


def alike(n_a: int, s_a: int, n_b: int, s_b: int, links: int, *, elsewhere: int = 1, a: float, b: float) -> float:
    """The smaller of the bits both ways for a template, of `links` to templates; a member of the one core sends `a` of them
    on average, of the other `b`."""
    return min(
        drawn_from(n_a, s_a, n_b, s_b, elsewhere * b / links), drawn_from(n_b, s_b, n_a, s_a, elsewhere * a / links)
    )


def test_two_fragments_with_the_same_narrow_templates_are_one() -> None:
    a, b = people("a", 6), people("b", 6)
    # each template alone: 6 of 6 here and there, nobody elsewhere, and everybody else has one of his own: tens of bits
    assert 5 * alike(6, 6, 6, 6, EVERYBODY + 5 * 12, a=6, b=6) > 5 * MERGE_MARGIN
    graph, label = world({("template", f"t{i}"): [*a, *b] for i in range(5)}, a, b, own="template")
    assert merged(graph, label) == [{*a, *b}]


def test_fragments_merge_along_a_chain_and_others_stay() -> None:
    a, b, c, other = (people(x, 5) for x in "abcx")
    uses = {("template", f"ab{i}"): [*a, *b] for i in range(3)} | {("template", f"bc{i}"): [*b, *c] for i in range(3)}
    uses |= {("template", "x"): other}
    graph, label = world(uses, a, b, c, other)
    assert merged(graph, label) == [{*a, *b, *c}, set(other)]


def test_the_first_merge_can_make_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c = people("a", 6), people("b", 6), people("c", 12)
    uses = {("template", f"ab{i}"): [*a, *b] for i in range(5)} | {("template", "u"): [*a[:2], *b[:2], *c[:6]]}
    graph, label = world(uses, a, b, c, own="template")
    # links to templates: one of their own each, five for all of a and b, and u; a member of a or b sends six and a third
    links = EVERYBODY + 5 * 12 + 10
    many, few = 6 + 2 / 6, 1 + 6 / 12
    # c fits the whole better than either half; log2 of the pairs of three cores is asked first, of two cores then
    half = alike(2, 6, 6, 12, links, elsewhere=2, a=many, b=few) - 2 * log2(3)
    whole = alike(4, 12, 6, 12, links, a=many, b=few) - 2 * log2(2)
    assert half < whole
    monkeypatch.setattr(joining, "MERGE_MARGIN", whole - 0.01)
    assert merged(graph, label) == [{*a, *b, *c}]
    monkeypatch.setattr(joining, "MERGE_MARGIN", whole + 0.01)
    assert merged(graph, label) == [{*a, *b}, set(c)]


def test_two_cores_behind_one_providers_ranges_stay_two() -> None:
    # the strongest case for a merger, were ranges telling: everyone of both uses all ten, and nobody else does
    a, b = people("a", 20), people("b", 20)
    ranges = {("ip_range", f"198.51.{i}.0/24"): [*a, *b] for i in range(10)}
    own = {("template", f"{x[0]}-{i}"): x for x in (a, b) for i in range(3)}
    graph, label = world({**ranges, **own}, a, b)
    assert merged(graph, label) == [set(a), set(b)]
    # nor when they work, each in its own time
    activity = waves(graph, label, np.random.default_rng(1), np.random.default_rng(2))
    assert merged(graph, label, activity) == [set(a), set(b)]


def waves(graph: BipartiteGraph, label: NDArray[np.int64], *clocks: np.random.Generator) -> Activity:
    """Every member of core c sends one request at each of 60 moments within 30 days, drawn by the core's clock."""
    per_day = 24 * 60 // SLOT_MINUTES
    first = 20_000 * per_day
    account, slot = [], []
    for core, clock in enumerate(clocks):
        moments = first + clock.choice(30 * per_day, 60, replace=False)
        for member in np.flatnonzero(label == core).tolist():
            account += [member] * len(moments)
            slot += moments.tolist()
    order = np.lexsort((slot, account))
    return Activity(
        np.array(account)[order], np.array(slot)[order], np.ones(len(order), np.int64), graph.accounts.height
    )


def test_two_cores_behind_one_providers_ranges_that_keep_the_same_time_are_one() -> None:
    a, b = people("a", 20), people("b", 20)
    assert len(a) > SMALL_CORE
    graph, label = world({("ip_range", f"198.51.{i}.0/24"): [*a, *b] for i in range(10)}, a, b)
    in_step = waves(graph, label, np.random.default_rng(1), np.random.default_rng(1))
    assert merged(graph, label, in_step) == [{*a, *b}]
    # time alone joins nobody
    graph, label = world({}, a, b)
    assert merged(graph, label, in_step) == [set(a), set(b)]


def test_what_two_cores_avoid_does_not_make_them_alike() -> None:
    # both keep the same time, and three of forty come by a range that nearly everybody else uses
    a, b, crowd = people("a", 40), people("b", 40), people("crowd", 940)
    graph, label = world({("ip_range", "198.51.100.0/24"): [*a[:3], *b[:3], *crowd]}, a, b, own="ip_range")
    p = 940 * (1 + 3 / 40) / (EVERYBODY + 946)
    assert drawn_from(3, 40, 3, 40, p) > MERGE_MARGIN + 2
    assert (3 + p) / 41 < p
    in_step = waves(graph, label, np.random.default_rng(1), np.random.default_rng(1))
    assert merged(graph, label, in_step) == [set(a), set(b)]


def test_two_cores_on_one_thread_are_one_when_they_keep_step_and_not_otherwise() -> None:
    a, b, small = people("a", 12), people("b", 12), people("c", SMALL_CORE)
    graph, label = world({("payment", "thread"): [a[0], b[0], small[0]]}, a, b, small)
    names = graph.accounts["account_id"].to_list()
    ends = np.array([names.index(x) for x in (a[0], a[0])]), np.array([names.index(x) for x in (b[0], small[0])])
    same = waves(graph, label, *(np.random.default_rng(1) for _ in range(3)))
    assert groups(graph, rejoin(label, *ends, same)) == [{*a, *b}, set(small)]
    own = waves(graph, label, *(np.random.default_rng(seed) for seed in (1, 2, 3)))
    assert groups(graph, rejoin(label, *ends, own)) == [set(a), set(b), set(small)]
    # who has been let go has a tie still, and is in no core
    left = np.where(np.arange(len(label)) == names.index(b[1]), -1, label)
    outside = np.array([names.index(a[0])]), np.array([names.index(b[1])])
    assert rejoin(left, *outside, same).tolist() == left.tolist()


def test_small_cores_that_share_only_their_moments_are_one() -> None:
    # three pairs, each on a card of its own; two of them always begin together, at twenty odd moments in forty days
    rng = np.random.default_rng(5)
    moments = [d * 288 + int(rng.integers(0, 288)) for d in range(0, 40, 2)]
    others = [slot + 288 for slot in moments]  # the same hours, a day later
    calendars = [moments, moments, moments, moments, others, others]
    rows = sorted((i, slot) for i, slots in enumerate(calendars) for slot in slots)
    account, slot = (np.array([r[k] for r in rows], np.int64) for k in (0, 1))
    label = join_in_waves(np.array([0, 0, 1, 1, 2, 2]), Activity(account, slot, np.ones(len(rows), np.int64), 6))
    assert label.tolist() == [0, 0, 0, 0, 1, 1]


def test_larger_cores_are_not_joined_by_their_moments_alone() -> None:
    rng = np.random.default_rng(5)
    moments = [d * 288 + int(rng.integers(0, 288)) for d in range(0, 40, 2)]
    for size, joined in ((SMALL_CORE, True), (SMALL_CORE + 1, False)):
        accounts = 2 * size
        times = Activity(
            np.repeat(np.arange(accounts), 20), np.tile(moments, accounts), np.ones(20 * accounts, np.int64), accounts
        )
        label = join_in_waves(np.repeat([0, 1], size), times)
        assert (len(set(label.tolist())) == 1) == joined


def test_an_office_in_which_few_ring_members_log_in_stays_apart() -> None:
    ring, office = people("r", 40), people("o", 30)
    p = 1 / EVERYBODY
    # the office looks drawn from the ring's group, and the ring does not look drawn from the office's
    assert drawn_from(3, 40, 30, 30, p) > 100 > 0 > drawn_from(30, 30, 3, 40, p)
    uses = {("template", f"tool{i}"): [*office, *ring[:3]] for i in range(5)}
    uses |= {("template", f"script{i}"): ring for i in range(5)}
    graph, label = world(uses, ring, office)
    assert merged(graph, label) == [set(office), set(ring)]


def test_an_office_in_which_the_whole_ring_logs_in_is_the_rings() -> None:
    ring, office = people("r", 40), people("o", 30)
    graph, label = world({("template", f"tool{i}"): [*office, *ring] for i in range(5)}, ring, office)
    assert merged(graph, label) == [{*office, *ring}]


@pytest.mark.parametrize(
    ("n_a", "s_a", "n_b", "s_b", "elsewhere", "more"),
    [
        (4, 4, 4, 4, 0, 0),
        (5, 8, 4, 4, 0, 0),
        (4, 4, 3, 9, 6, 0),
        (8, 8, 2, 3, 9, 0),
        (4, 4, 4, 4, 0, 5),
        (4, 4, 3, 9, 6, 2),
    ],
)
def test_the_bits_of_a_merger_are_what_the_formula_says(
    monkeypatch: pytest.MonkeyPatch, n_a: int, s_a: int, n_b: int, s_b: int, elsewhere: int, more: int
) -> None:
    # everybody sends a template of his own, those of b `more` each on top
    a, b = people("a", s_a), people("b", s_b)
    uses = {("template", "t"): [*a[:n_a], *b[:n_b], *people("elsewhere", elsewhere)]}
    uses |= {("template", f"more-{x}-{i}"): [x] for x in b for i in range(more)}
    graph, label = world(uses, a, b, own="template")
    links = EVERYBODY + n_a + n_b + elsewhere + s_b * more
    breadth_a, breadth_b = 1 + n_a / s_a, 1 + n_b / s_b + more
    # used by at least one elsewhere, or nothing could be said with logarithms
    bits = alike(n_a, s_a, n_b, s_b, links, elsewhere=max(elsewhere, 1), a=breadth_a, b=breadth_b)
    assert bits > 0
    asked = 2 * log2(2)  # two cores
    monkeypatch.setattr(joining, "MERGE_MARGIN", bits - asked - 0.001)
    assert merged(graph, label) == [{*a, *b}]
    monkeypatch.setattr(joining, "MERGE_MARGIN", bits - asked + 0.001)
    assert merged(graph, label) == [set(a), set(b)]


def test_the_bits_of_several_identifiers_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = people("a", 4), people("b", 4)
    graph, label = world({("template", f"t{i}"): [*a, *b] for i in range(3)}, a, b, own="template")
    bits = 3 * alike(4, 4, 4, 4, EVERYBODY + 3 * 8, a=4, b=4)
    monkeypatch.setattr(joining, "MERGE_MARGIN", bits - 2 - 0.01)
    assert merged(graph, label) == [{*a, *b}]
    monkeypatch.setattr(joining, "MERGE_MARGIN", bits - 2 + 0.01)
    assert merged(graph, label) == [set(a), set(b)]


def test_what_speaks_against_a_merger_is_not_held_against_it(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = people("a", 10), people("b", 40)
    # all of a and two of b: b does not look drawn from a, and the template counts for nothing
    uses = {("template", "t"): [*a, *b], ("template", "u"): [*a, *b[:2]]}
    graph, label = world(uses, a, b, own="template")
    links = EVERYBODY + 50 + 12
    assert alike(10, 10, 2, 40, links, a=3, b=2 + 2 / 40) < 0
    bits = alike(10, 10, 40, 40, links, a=3, b=2 + 2 / 40)
    monkeypatch.setattr(joining, "MERGE_MARGIN", bits - 2 - 0.01)
    assert merged(graph, label) == [{*a, *b}]
    monkeypatch.setattr(joining, "MERGE_MARGIN", bits - 2 + 0.01)
    assert merged(graph, label) == [set(a), set(b)]


def test_popular_templates_that_heavy_users_send_merge_nothing() -> None:
    # thirty templates that the members of two cores send all of, and everybody in a crowd one: 21 users of 41 are in none
    a, b, crowd = people("a", 10), people("b", 10), people("crowd", 630)
    popular = {("template", f"t{i:02d}"): [*a, *b, *crowd[i::30]] for i in range(30)}
    graph, label = world(popular, a, b)
    assert (graph.degree[graph.kind_code == graph.kinds.index("template")] == 41).all()
    assert merged(graph, label) == [set(a), set(b)]
    # with one user less outside half of the users of each are in the cores
    popular = {v: [u for u in users if u not in crowd[:30]] for v, users in popular.items()}
    graph, label = world(popular, a, b)
    assert merged(graph, label) == [{*a, *b}]


def test_what_accounts_as_broad_would_have_in_common_anyway_merges_nothing() -> None:
    # four templates that all of two cores send, and twenty others: half of the users are in the cores
    a, b = people("a", 10), people("b", 10)
    uses = {("template", f"t{i}"): [*a, *b, *people("crowd", 20)] for i in range(4)}
    graph, label = world(uses, a, b, own="template")
    links = EVERYBODY + 4 * 40
    assert 4 * alike(10, 10, 10, 10, links, elsewhere=20, a=5, b=5) > MERGE_MARGIN + 2
    assert merged(graph, label) == [{*a, *b}]
    # the same among accounts that send a thousand more each: of all links to templates each has one in twenty
    uses |= {("template", f"more-{x}-{i}"): [x] for x in [*a, *b] for i in range(1000)}
    graph, label = world(uses, a, b, own="template")
    links += 20 * 1000
    assert 4 * alike(10, 10, 10, 10, links, elsewhere=20, a=1005, b=1005) < 2
    assert merged(graph, label) == [set(a), set(b)]


def test_an_identifier_that_one_account_of_a_core_uses_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = people("a", 4), people("b", 4)
    uses = {("template", f"t{i}"): [*a, b[0]] for i in range(9)}
    graph, label = world(uses, a, b)
    monkeypatch.setattr(joining, "MERGE_MARGIN", -1e9)
    assert merged(graph, label) == [set(a), set(b)]


def test_one_core_or_none_stays_as_it_is() -> None:
    a = people("a", 4)
    graph, label = world({("template", "t"): a}, a)
    assert merged(graph, label) == [set(a)]
    assert merged(graph, np.full(EVERYBODY, -1, np.int64)) == []
