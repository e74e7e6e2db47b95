"""What joins a core: other cores with the same profile, and accounts with weaker evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import e, log2

import numpy as np
import pytest
from numpy.typing import NDArray

from hand import graph_of, strangers
from hydragraph import joining
from hydragraph.activity import SLOT_MINUTES, Activity
from hydragraph.bipartite import BipartiteGraph
from hydragraph.evidence import weigh
from hydragraph.joining import (
    ATTACH_NET,
    ATTACH_NET_ALONE,
    IN_TIME,
    MERGE_MARGIN,
    SMALL_CORE,
    attach,
    join_in_waves,
    merge_cores,
    rejoin,
)
from hydragraph.settings import Settings

Uses = Mapping[tuple[str, str], Iterable[str]]
EVERYBODY = 1024
"""Accounts of the source: log2 of it is 10."""


def people(name: str, number: int) -> list[str]:
    return [f"{name}{i:02d}" for i in range(number)]


def world(
    uses: Uses, *cores: list[str], everybody: int = EVERYBODY, own: str = "payment"
) -> tuple[BipartiteGraph, NDArray[np.int64]]:
    """A graph of `everybody` accounts, each with a card (or another kind) of its own, and the cores as labels."""
    named = sorted({a for users in uses.values() for a in users} | {a for core in cores for a in core})
    everyone = named + strangers(everybody - len(named))
    graph = graph_of({**uses, **{(own, f"own-{a}"): [a] for a in everyone}})
    label = np.full(everybody, -1, np.int64)
    names = graph.accounts["account_id"].to_list()
    for number, core in enumerate(cores):
        label[[names.index(a) for a in core]] = number
    return graph, label


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


# --- attaching


def by_value(graph: BipartiteGraph, figures: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(graph.identifiers["value"], figures.tolist(), strict=True))


def attached(
    graph: BipartiteGraph, label: NDArray[np.int64], activity: Activity | None = None
) -> dict[str, tuple[int, float]]:
    """Cluster and bits of the accounts that attaching adds or moves."""
    found, gained = attach(graph, weigh(graph, Settings()), label, activity)
    assert not gained[found == label].any()
    names = graph.accounts["account_id"].to_list()
    return {names[i]: (int(found[i]), float(gained[i])) for i in np.flatnonzero(found != label)}


CORE = people("m", 8)


@pytest.fixture
def anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any odds will do."""
    monkeypatch.setattr(joining, "ATTACH_NET", -100.0)
    monkeypatch.setattr(joining, "ATTACH_NET_ALONE", -100.0)


def asked(monkeypatch: pytest.MonkeyPatch, *, of_two: float = 1000.0, alone: float = 1000.0) -> None:
    """Log2 odds asked where two kinds agree, and where one speaks alone."""
    monkeypatch.setattr(joining, "ATTACH_NET", of_two)
    monkeypatch.setattr(joining, "ATTACH_NET_ALONE", alone)


def test_a_template_and_a_range_attach_by_the_bits_of_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, label = world({("template", "t"): [*CORE, "x"], ("ip_range", "198.51.100.0/24"): [*CORE, "x"]}, CORE)
    # each: nine users, eight of the core: log2(8 / 2) = 2, and the prior is log2(8 / 1024) = -7, so worth 9
    net = 9 + 9 - 7
    assert net > ATTACH_NET
    assert attached(graph, label) == {"x": (0, net + 10)}
    asked(monkeypatch, of_two=net)
    assert list(attached(graph, label)) == ["x"]
    asked(monkeypatch, of_two=net + 0.001)
    assert attached(graph, label) == {}


def test_identifiers_of_one_kind_alone_must_be_worth_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ATTACH_NET_ALONE > ATTACH_NET
    graph, label = world({("template", "t"): [*CORE, "x"], ("template", "u"): [*CORE, "x"]}, CORE)
    further = by_value(graph, weigh(graph, Settings()).further)["u"]
    net = 9 + further - 7
    asked(monkeypatch, of_two=-100, alone=net - 0.002)
    assert list(attached(graph, label)) == ["x"]
    asked(monkeypatch, of_two=-100, alone=net + 0.002)
    assert attached(graph, label) == {}


@pytest.mark.parametrize(("users", "agree"), [(256, True), (293, False)])
def test_a_second_kind_agrees_from_two_bits(monkeypatch: pytest.MonkeyPatch, users: int, agree: bool) -> None:
    # 32 of the core: a prior of log2(32 / 1024) = -5. The range: log2(32 / (users - 31)) + 5
    core = people("c", 32)
    around = people("other", users - 33)
    graph, label = world(
        {("template", "t"): [*core, "x"], ("ip_range", "198.51.100.0/24"): [*core, *around, "x"]}, core
    )
    bits = log2(32 / (users - 31)) + 5
    assert (bits >= 2) == agree
    asked(monkeypatch, of_two=-100)
    assert set(attached(graph, label)) == ({"x"} if agree else set())
    asked(monkeypatch, of_two=-100, alone=-100)
    assert attached(graph, label) == {"x": (0, pytest.approx(9 + bits - 5 + 10, abs=0.002))}


def test_time_agrees_like_a_second_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, label = world({("template", "t"): [*CORE, "x", "y"], ("template", "u"): [*CORE, "x", "y"]}, CORE)
    names = graph.accounts["account_id"].to_list()
    rng = np.random.default_rng(3)
    begins = [20_000 * 288 + d * 288 + int(rng.integers(0, 288)) for d in range(30)]
    account = np.repeat(sorted(names.index(m) for m in [*CORE, "x", "y"]), 30)
    slot = np.where(account == names.index("y"), np.tile(begins, 10) + 288 // 2, np.tile(begins, 10))
    times = Activity(account, slot, np.ones(len(account), np.int64), len(names))
    x, y = times.joins_in(label, np.array([names.index("x"), names.index("y")]), np.array([0, 0]))
    assert x >= IN_TIME > y
    asked(monkeypatch, of_two=-100)
    assert attached(graph, label) == {}
    net = attached(graph, label, times)
    assert list(net) == ["x"]
    asked(monkeypatch, of_two=-100, alone=-100)
    # its bits are added, and what others do at other times is not held against identifiers that tell
    without = attached(graph, label)
    both = attached(graph, label, times)
    assert both["x"][1] == pytest.approx(without["x"][1] + x, abs=0.002)
    assert both["y"][1] == without["y"][1]


@pytest.mark.usefixtures("anything")
def test_one_identifier_attaches_nobody_whatever_it_is_worth() -> None:
    graph, label = world({("template", "t"): [*CORE, "x"], ("ip_range", "198.51.100.0/24"): [*CORE, "y"]}, CORE)
    assert attached(graph, label) == {}


def test_what_nobody_outside_uses_attaches_nobody() -> None:
    graph, label = world({("template", "t"): CORE, ("ip_range", "198.51.100.0/24"): CORE}, CORE)
    assert attached(graph, label) == {}


def test_circumstantial_identifiers_alone_count_where_the_cluster_holds_most_users() -> None:
    most = {("ip_range", "198.51.100.0/24"): [*CORE, "x"], ("tls", "handshake"): [*CORE, "x"]}
    graph, label = world(most, CORE)
    assert attached(graph, label) == {"x": (0, 9 + 9 - 7 + 10)}


@pytest.mark.usefixtures("anything")
@pytest.mark.parametrize("wide", ["ip_range", "tls"])
def test_circumstantial_identifiers_of_which_it_holds_a_minority_do_not(wide: str) -> None:
    # eight of seventeen users: a further user is more likely one of the others
    uses = {("ip_range", "198.51.100.0/24"): [*CORE, "x"], ("tls", "handshake"): [*CORE, "x"]}
    uses = {k: users + people("other", 8) if k[0] == wide else users for k, users in uses.items()}
    graph, label = world(uses, CORE)
    assert attached(graph, label) == {}


def test_a_telling_identifier_lets_a_range_of_many_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    uses = {("template", "t"): [*CORE, "x"], ("ip_range", "198.51.100.0/24"): [*CORE, "x", *people("other", 8)]}
    graph, label = world(uses, CORE)
    # the range: log2(8 / (17 - 8 + 1)) + 7
    net = 9 + (log2(8 / 10) + 7) - 7
    monkeypatch.setattr(joining, "ATTACH_NET", net - 0.001)
    found = attached(graph, label)
    assert list(found) == ["x"]
    assert found["x"] == (0, pytest.approx(net + 10, abs=0.001))


@pytest.mark.usefixtures("anything")
@pytest.mark.parametrize(("others", "tells"), [(16, True), (17, False)])
def test_a_template_of_which_the_cluster_holds_less_than_three_in_ten_is_circumstantial(
    others: int, tells: bool
) -> None:
    # eight of the core, x and the others: odds of 8 to 18, and of 8 to 19 which are less than 0.3 to 0.7
    assert (8 / (others + 2) >= 0.3 / 0.7) == tells
    crowd = people("other", others)
    graph, label = world({("template", v): [*CORE, *crowd, "x"] for v in "tu"}, CORE)
    assert ("x" in attached(graph, label)) == tells


@pytest.mark.usefixtures("anything")
def test_further_identifiers_of_a_kind_count_at_most_what_is_left_of_them() -> None:
    graph, label = world({("template", "t"): [*CORE, "x"], ("template", "u"): [*CORE, "x"]}, CORE)
    further = by_value(graph, weigh(graph, Settings()).further)["u"]
    assert further < 9
    found = attached(graph, label)
    assert found["x"] == (0, pytest.approx(9 + further - 7 + 10, abs=0.002))


@pytest.mark.usefixtures("anything")
def test_a_cluster_that_holds_less_than_a_twentieth_says_nothing() -> None:
    crowd = people("crowd", 153)  # 8 of 161
    graph, label = world({("template", "t"): [*CORE, *crowd], ("template", "u"): [*CORE, *crowd]}, CORE)
    assert attached(graph, label) == {}


def test_of_two_clusters_the_one_with_more_evidence_takes_the_account() -> None:
    a, b = people("a", 8), people("b", 8)
    uses = {
        ("template", "ta"): [*a, "x"], ("ip_range", "198.51.100.0/24"): [*a, "x"],
        ("template", "tb"): [*b, "x"], ("ip_range", "203.0.113.0/24"): [*b, "x"], ("tls", "hb"): [*b, "x"],
    }  # fmt: skip
    graph, label = world(uses, a, b)
    assert attached(graph, label)["x"][0] == 1
    graph, label = world(uses, b, a)
    assert attached(graph, label)["x"][0] == 0


def test_a_small_core_is_attached_whole() -> None:
    small = people("s", SMALL_CORE)
    # no member shares both identifiers with the core; together they do: nine users, as if the small core were one
    uses = {("template", "t"): [*CORE, small[0]], ("ip_range", "198.51.100.0/24"): [*CORE, small[1]]}
    graph, label = world(uses, CORE, small)
    assert attached(graph, label) == dict.fromkeys(small, (0, 9 + 9 - 7 + 10))
    larger = [*small, "s-more"]
    graph, label = world(uses, CORE, larger)
    assert attached(graph, label) == {}


def test_nothing_is_attached_to_nothing() -> None:
    graph, _ = world({("template", "t"): CORE})
    nobody = np.full(EVERYBODY, -1, np.int64)
    assert attached(graph, nobody) == {}
