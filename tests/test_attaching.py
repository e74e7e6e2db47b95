"""Accounts with weaker evidence, attached to the cluster their identifiers and their times point to."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
from numpy.typing import NDArray

from hand import EVERYBODY, by_value, people, world
from hydragraph import joining
from hydragraph.activity import Activity
from hydragraph.bipartite import BipartiteGraph
from hydragraph.evidence import weigh
from hydragraph.joining import ATTACH_NET, ATTACH_NET_ALONE, IN_TIME, SMALL_CORE, attach
from hydragraph.settings import Settings

CORE = people("m", 8)


def attached(
    graph: BipartiteGraph, label: NDArray[np.int64], activity: Activity | None = None
) -> dict[str, tuple[int, float]]:
    """Cluster and bits of the accounts that attaching adds or moves."""
    found, gained = attach(graph, weigh(graph, Settings()), label, activity)
    assert not gained[found == label].any()
    names = graph.accounts["account_id"].to_list()
    return {names[i]: (int(found[i]), float(gained[i])) for i in np.flatnonzero(found != label)}


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
