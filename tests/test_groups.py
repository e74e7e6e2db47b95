"""Groups: rings that leave only common exits or templates, on graphs a reader can hold in the head."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hand import graph_of, strangers
from hydragraph import groups
from hydragraph.activity import Activity
from hydragraph.bipartite import BipartiteGraph
from hydragraph.chance import ByChance
from hydragraph.communities import Clusters, Cut, renumber
from hydragraph.constraints import Pairs
from hydragraph.evidence import weigh
from hydragraph.groups import HOSTS, SMALLEST_GROUP, find_groups, guests, strongholds
from hydragraph.settings import Settings

RANGE = "ip_range"


def people(name: str, number: int) -> list[str]:
    return [f"{name}{i}" for i in range(number)]


def held(graph: BipartiteGraph, free: set[str] | None = None) -> list[set[str]]:
    """The members of each stronghold, in order of their first."""
    names = graph.accounts["account_id"].to_list()
    able = np.array([free is None or n in free for n in names])
    label = strongholds(graph, able)
    return sorted(({names[i] for i in np.flatnonzero(label == c)} for c in np.unique(label[label >= 0])), key=min)


def test_six_who_work_from_one_range_hold_it_and_five_do_not() -> None:
    six, five = people("a", 6), people("b", 5)
    graph = graph_of({(RANGE, "10.0.0.0/24"): six, (RANGE, "10.0.1.0/24"): five})
    assert held(graph) == [set(six)]


def test_who_does_less_than_half_of_its_work_there_does_not_belong() -> None:
    six = people("a", 6)
    uses = {(RANGE, "hub"): [*six, "guest", "half"], (RANGE, "home"): ["guest"], (RANGE, "flat"): ["half"]}
    often = {("guest", "hub"): 2, ("guest", "home"): 3, ("half", "hub"): 2, ("half", "flat"): 2}
    assert held(graph_of(uses, often=often)) == [{*six, "half"}]


def test_ranges_whose_users_are_the_same_are_one_stronghold() -> None:
    # every account spreads its work over four ranges: a quarter in each, all of it in the four together
    six = people("a", 6)
    assert held(graph_of({(RANGE, f"exit{i}"): six for i in range(4)})) == [set(six)]


@pytest.mark.parametrize(("common", "strongholds_found"), [(6, 1), (5, 2)])
def test_two_ranges_are_one_stronghold_from_a_cosine_of_a_half(common: int, strongholds_found: int) -> None:
    # twelve users each: common / 12 is the cosine
    first, both, second = people("a", 12 - common), people("b", common), people("c", 12 - common)
    uses = {(RANGE, "v"): first + both, (RANGE, "w"): second + both}
    assert len(held(graph_of(uses, often={(b, "w"): 9 for b in both}))) == strongholds_found


def test_common_templates_hold_like_ranges_and_telling_kinds_do_not() -> None:
    six, other = people("a", 6), people("b", 6)
    assert held(graph_of({("template", "t"): six, ("payment", "card"): other})) == [set(six)]


def test_only_free_accounts_count() -> None:
    six = people("a", 6)
    assert held(graph_of({(RANGE, "hub"): six}), free=set(six[:5])) == []
    assert SMALLEST_GROUP == 6


def no_clusters(graph: BipartiteGraph, label: list[int] | None = None) -> Clusters:
    found = np.full(graph.accounts.height, -1, np.int64) if label is None else np.array(label)
    count = int(found.max(initial=-1)) + 1
    ones, none = np.ones(count, np.int64), np.full(count, 20.0)
    return Clusters(found, found >= 0, np.where(found >= 0, 20.0, 0.0), none, none, Cut(ones, ones, ones))


def silent(graph: BipartiteGraph) -> Activity:
    none = np.zeros(0, np.int64)
    return Activity(none, none, none, graph.accounts.height)


def scored(monkeypatch: pytest.MonkeyPatch, found: list[float], dealt: list[float]) -> None:
    """What the groups score as they are, and when their accounts are dealt out anew."""
    answers = iter([found, dealt])
    monkeypatch.setattr(groups, "_scores", lambda *_: (np.array(next(answers)), np.full(3, 1 / 3)))


def three_hubs() -> BipartiteGraph:
    return graph_of({(RANGE, hub): people(hub, 6) for hub in ("a", "b", "c")})


def test_a_group_that_looks_coordinated_becomes_a_cluster_and_the_others_none(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = three_hubs()
    scored(monkeypatch, [0.0, 0.9, 0.2], [0.0, 0.0, 0.0])
    found = find_groups(graph, weigh(graph, Settings()), no_clusters(graph), silent(graph), Settings())
    assert found.clusters.label.tolist() == [-1] * 6 + [0] * 6 + [-1] * 6
    assert found.clusters.loose.tolist() == [True]
    assert found.clusters.core.tolist() == [False] * 6 + [True] * 6 + [False] * 6
    assert (found.expected.tolist(), found.beyond.tolist()) == ([0.0], [1.0])


def test_what_accounts_dealt_out_at_random_score_as_well_is_held_against_a_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = three_hubs()
    # two groups score 0.9 or more; dealt out at random one does: 2 of 3 are beyond chance
    scored(monkeypatch, [0.9, 0.95, 0.0], [0.92, 0.1, 0.0])
    found = find_groups(graph, weigh(graph, Settings()), no_clusters(graph), silent(graph), Settings())
    assert found.expected.tolist() == [1.0, 0.0]
    assert found.beyond.tolist() == pytest.approx([2 / 3, 1.0])


def test_clusters_keep_what_they_are_and_groups_get_numbers_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = three_hubs()
    # the accounts of hub b are a cluster already, too large to be looked at
    clusters = no_clusters(graph, [-1] * 6 + [0] * 6 + [-1] * 6)
    scored(monkeypatch, [0.8, 0.9], [0.0, 0.0])
    found = find_groups(graph, weigh(graph, Settings()), clusters, silent(graph), Settings())
    assert found.clusters.label.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert found.clusters.label.tolist() == renumber(found.clusters.label).tolist()
    assert found.clusters.loose.tolist() == [True, False, True]
    assert found.clusters.breaks.tolist() == [0.0, 20.0, 0.0]
    assert found.clusters.bits.tolist() == [0.0] * 6 + [20.0] * 6 + [0.0] * 6
    assert found.clusters.cut.ties.tolist() == [0, 1, 0]
    among = found.among(ByChance(np.array([7.0, 8.0, 9.0]), np.array([0.5, 0.6, 0.7])))
    assert among.expected.tolist() == [0.0, 8.0, 0.0]
    assert among.beyond.tolist() == [1.0, 0.6, 1.0]


@pytest.mark.parametrize(("beside", "goes"), [(["x"], True), (["x", "y"], False)])
def test_a_small_cluster_goes_to_a_group_whole_or_stays(
    beside: list[str], goes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # b0 of the hub is in a small cluster with accounts that work elsewhere
    graph = graph_of({(RANGE, "b"): people("b", 7), (RANGE, "other"): ["x", "y"]})
    names = graph.accounts["account_id"].to_list()
    clusters = no_clusters(graph, [0 if n in ("b0", *beside) else -1 for n in names])
    scored(monkeypatch, [0.9], [0.0])
    found = find_groups(graph, weigh(graph, Settings()), clusters, silent(graph), Settings()).clusters
    label = dict(zip(names, found.label.tolist(), strict=True))
    assert {label[n] == label["b1"] for n in ("b0", *beside)} == {goes}
    assert found.breaks.tolist() == ([0.0] if goes else [20.0, 0.0])


def ring_and_guests(hosts: int = HOSTS, strangers_there: int = 0) -> tuple[BipartiteGraph, Clusters]:
    """A cluster a whose members use two exits, six guests g who do so half of the time, and six neighbours n of one exit."""
    ring, visitors, neighbours, more = (
        people(name, k) for name, k in (("a", hosts), ("g", 6), ("n", 6), ("z", strangers_there))
    )
    uses = {(RANGE, "v"): [*ring, *visitors, *neighbours, *more], (RANGE, "w"): [*ring, *visitors, *more]}
    uses |= {(RANGE, f"home of {g}"): [g] for g in [*visitors, *more]}
    often = {(g, f"home of {g}"): 2 for g in visitors} | {(z, f"home of {z}"): 9 for z in more}
    graph = graph_of(uses, often=often)
    names = graph.accounts["account_id"].to_list()
    return graph, no_clusters(graph, [0 if n[0] == "a" else -1 for n in names])


def guests_of(graph: BipartiteGraph, clusters: Clusters) -> set[str]:
    of, _ = guests(graph, clusters.label, clusters.label < 0)
    assert set(of.tolist()) <= {-1, 0}
    return {graph.accounts["account_id"][i] for i in np.flatnonzero(of == 0).tolist()}


def test_guests_work_at_several_places_of_a_cluster_and_neighbours_at_one() -> None:
    assert guests_of(*ring_and_guests()) == set(people("g", 6))


def test_a_cluster_is_host_where_eight_of_its_members_and_a_fifth_of_the_users_are() -> None:
    assert HOSTS == 8
    assert guests_of(*ring_and_guests(hosts=7)) == set()
    # with 20 strangers the members are 8 of the 40 users of v; with 21 they are host at w alone, which is one place
    assert guests_of(*ring_and_guests(strangers_there=20)) == set(people("g", 6))
    assert guests_of(*ring_and_guests(strangers_there=21)) == set()


@pytest.mark.parametrize(
    ("ring", "there", "at_home", "lot"),
    [(18, 4, 1, groups.ONE), (17, 4, 1, None), (18, 3, 1, None), (18, 4, 0, None)],
)
def test_at_one_place_they_are_guests_if_it_is_the_clusters_and_not_their_only_one(
    ring: int, there: int, at_home: int, lot: int | None
) -> None:
    # 18 of 24 users are three quarters; 4 of 5 requests are four fifths
    members, visitors = people("a", ring), people("g", 6)
    uses = {(RANGE, "v"): [*members, *visitors]}
    uses |= {(RANGE, f"home of {g}"): [g] for g in visitors if at_home}
    graph = graph_of(uses, often={(g, "v"): there for g in visitors})
    label = np.array([0] * ring + [-1] * 6)
    of, lots = guests(graph, label, label < 0)
    assert of.tolist() == [-1] * ring + [-1 if lot is None else 0] * 6
    assert lot is None or set(lots[ring:].tolist()) == {lot}


def test_five_guests_are_too_few() -> None:
    graph, clusters = ring_and_guests()
    names = graph.accounts["account_id"].to_list()
    free = np.array([n[0] != "a" and n != "g0" for n in names])
    assert set(guests(graph, clusters.label, free)[0].tolist()) == {-1}


def test_templates_make_hosts_and_guests_like_ranges() -> None:
    ring, visitors = people("a", HOSTS), people("g", 6)
    uses = {("template", t): [*ring, *visitors] for t in ("t", "u")} | {(RANGE, f"of {g}"): [g] for g in visitors}
    graph = graph_of(uses)
    assert guests_of(graph, no_clusters(graph, [0] * HOSTS + [-1] * 6)) == set(visitors)


@pytest.mark.parametrize(("at_home", "host"), [(0, 0), (2, 1)])
def test_of_several_hosts_it_is_the_one_with_the_largest_share(at_home: int, host: int) -> None:
    first, second, visitors = people("a", HOSTS), people("b", HOSTS), people("g", 6)
    uses = {(RANGE, v): [*first, *visitors] for v in ("v", "w")}
    uses |= {("template", t): [*second, *visitors] for t in ("t", "u")}
    # all requests from the ranges of the one with the templates of the other: the first; from home as well: the other
    uses |= {(RANGE, f"home of {g}"): [g] for g in visitors if at_home}
    graph = graph_of(uses, often={(g, f"home of {g}"): at_home for g in visitors})
    label = np.array([0] * HOSTS + [1] * HOSTS + [-1] * 6)
    assert guests(graph, label, label < 0)[0].tolist() == [-1] * 2 * HOSTS + [host] * 6


def test_fewer_than_half_of_the_requests_make_no_guest() -> None:
    graph, clusters = ring_and_guests()
    seldom = graph.links.with_columns(count=graph.links["count"].replace(2, 3))
    assert guests_of(BipartiteGraph(graph.accounts, graph.identifiers, seldom), clusters) == set()


def scored_in_turn(monkeypatch: pytest.MonkeyPatch, *answers: list[float]) -> list[list[int]]:
    """What is scored in turn: sizes. The scores given are the answers, and 0 from then on."""
    asked: list[list[int]] = []

    def scores(*args: Any) -> Any:
        asked.append(np.bincount(args[3][args[3] >= 0]).tolist())
        given = answers[len(asked) - 1] if len(asked) <= len(answers) else [0.0] * len(asked[-1])
        return np.array(given), np.full(3, 1 / 3)

    monkeypatch.setattr(groups, "_scores", scores)
    return asked


def cluster_of(graph: BipartiteGraph, clusters: Clusters) -> set[str]:
    """First letters of the members of cluster 0 once groups are found."""
    found = find_groups(graph, weigh(graph, Settings()), clusters, silent(graph), Settings()).clusters
    names = graph.accounts["account_id"].to_list()
    assert {n[0] for n, c in zip(names, found.core.tolist(), strict=True) if c} == {"a"}
    assert set(found.bits[[n[0] == "g" for n in names]].tolist()) == {0.0}
    assert (found.breaks.tolist(), found.cut.ties.tolist()) == ([20.0], [1])
    return {n[0] for n, c in zip(names, found.label.tolist(), strict=True) if c == 0}


def cluster_of_first(graph: BipartiteGraph, label: list[int]) -> set[str]:
    """First letters of the members of cluster 0 once guests came to the clusters."""
    joined = groups._with_guests(graph, weigh(graph, Settings()), no_clusters(graph, label), silent(graph), None)
    names = graph.accounts["account_id"].to_list()
    return {n[0] for n, c in zip(names, joined.label.tolist(), strict=True) if c == 0}


@pytest.mark.parametrize(("host", "score", "members"), [(0.9, 0.9, {"a", "g"}), (0.9, 0.89, {"a"}), (0.89, 0.9, {"a"})])
def test_guests_who_look_coordinated_are_attached_to_a_host_that_does(
    host: float, score: float, members: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, clusters = ring_and_guests()
    asked = scored_in_turn(monkeypatch, [host], *([[score]] if host == 0.9 else []))
    assert cluster_of(graph, clusters) == members
    assert asked[:2] == ([[HOSTS], [6]] if host == 0.9 else [[HOSTS], [12]])


def test_those_who_do_four_fifths_of_their_work_there_are_a_lot_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ring, often, seldom = people("a", HOSTS), people("g", 6), people("h", 6)
    uses = {(RANGE, v): [*ring, *often, *seldom] for v in ("v", "w")}
    uses |= {(RANGE, f"home of {x}"): [x] for x in [*often, *seldom]}
    # of 5 requests 4 come from the exits, and of 3 two
    graph = graph_of(uses, often={(g, v): 2 for g in often for v in ("v", "w")})
    clusters = no_clusters(graph, [0] * HOSTS + [-1] * 12)
    asked = scored_in_turn(monkeypatch, [1.0], [0.95, 0.0])
    assert cluster_of(graph, clusters) == {"a", "g"}
    assert asked[:2] == [[HOSTS], [6, 6]]


def test_those_who_have_company_of_their_own_are_a_lot_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ring, alone, of_two, partners = people("a", HOSTS), people("g", 6), people("h", 6), people("p", 6)
    graph = graph_of({(RANGE, v): [*ring, *alone, *of_two] for v in ("v", "w")} | {(RANGE, "home"): partners})
    label = [0] * HOSTS + [-1] * 6 + [*range(1, 7)] * 2
    asked = scored_in_turn(monkeypatch, [1.0], [0.95, 0.0])
    assert cluster_of_first(graph, label) == {"a", "g"}
    assert asked[:2] == [[HOSTS], [6, 6]]


@pytest.mark.parametrize(("number", "members"), [(12, {"a", "g"}), (13, {"a"})])
def test_a_cluster_takes_three_guests_for_two_members(
    number: int, members: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ring, visitors = people("a", HOSTS), people("g", number)
    graph = graph_of({(RANGE, v): [*ring, *visitors] for v in ("v", "w")})
    scored_in_turn(monkeypatch, [1.0], [1.0])
    assert cluster_of(graph, no_clusters(graph, [0] * HOSTS + [-1] * number)) == members


def test_guests_that_belong_apart_stay_away(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, clusters = ring_and_guests()
    names = graph.accounts["account_id"].to_list()
    monkeypatch.setattr(groups, "_scores", lambda *_: (np.array([1.0]), np.full(3, 1 / 3)))
    apart = Pairs(np.full(len(names), -1), np.array([names.index("a0")]), np.array([names.index("g0")]))
    joined = groups._with_guests(graph, weigh(graph, Settings()), clusters, silent(graph), apart)
    assert joined.label.tolist() == [0 if n[0] == "a" or (n[0] == "g" and n != "g0") else -1 for n in names]


@pytest.mark.parametrize(("company", "known", "stay"), [
    ("gp", "", set()), ("gpq", "", set("012345")), ("ghpq", "", set()), ("gp", "p0 apart from a0", {"0"}),
    ("gp", "p0 with q0", {"0"}),
])  # fmt: skip
def test_small_clusters_go_whole_if_half_of_them_are_guests(
    company: str, known: str, stay: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # g and h are guests of a, p and q work elsewhere; one of each letter in `company` is a small cluster
    ring, guests_there, elsewhere = (
        people("a", HOSTS),
        [*people("g", 6), *people("h", 6)],
        [*people("p", 6), *people("q", 6)],
    )
    graph = graph_of({(RANGE, v): [*ring, *guests_there] for v in ("v", "w")} | {(RANGE, "home"): elsewhere})
    names = graph.accounts["account_id"].to_list()
    small = {f"{letter}{i}" for letter in company for i in range(6)}
    clusters = no_clusters(graph, [0 if n[0] == "a" else 1 + int(n[1]) if n in small else -1 for n in names])
    monkeypatch.setattr(groups, "_scores", lambda *args: (np.ones(int(args[3].max()) + 1), np.full(3, 1 / 3)))
    none, together = np.zeros(0, np.int64), np.full(len(names), -1)
    pairs = None
    if "apart" in known:
        pairs = Pairs(together, np.array([names.index("a0")]), np.array([names.index("p0")]))
    if "with" in known:
        together[[names.index("p0"), names.index("q0")]] = 0
        pairs = Pairs(together, none, none)
    joined = groups._with_guests(graph, weigh(graph, Settings()), clusters, silent(graph), pairs)
    went = {n for n, c in zip(names, joined.label.tolist(), strict=True) if c == 0}
    assert went & small == {n for n in small if n[1] not in stay}


def test_a_guest_leaves_its_small_core_and_the_numbers_stay_in_order() -> None:
    graph, _ = ring_and_guests()
    names = graph.accounts["account_id"].to_list()
    # hosts n, and before them a pair a0, a1, a three a2 to a4; a0 and a2 move
    label = np.array(
        [0 if n in ("a0", "a1") else 1 if n in ("a2", "a3", "a4") else 2 if n[0] == "n" else -1 for n in names]
    )
    clusters = no_clusters(graph, label.tolist())
    clusters.breaks[:] = [7.0, 8.0, 20.0]
    joined = groups._joined(clusters, np.where([n in ("a0", "a2") for n in names], 2, -1))
    # the pair has lost one and is none; the hosts now begin with a0
    assert joined.label.tolist() == [
        0 if n in ("a0", "a2") or n[0] == "n" else 1 if n in ("a3", "a4") else -1 for n in names
    ]
    assert joined.breaks.tolist() == [20.0, 8.0]
    assert joined.core.tolist() == [n in ("a3", "a4") or n[0] == "n" for n in names]
    assert joined.bits.tolist() == [20.0 if held else 0.0 for held in joined.core]


def test_without_groups_the_clusters_stay_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = three_hubs()
    clusters = no_clusters(graph)
    scored(monkeypatch, [0.0, 0.1, 0.2], [])
    found = find_groups(graph, weigh(graph, Settings()), clusters, silent(graph), Settings())
    assert found.clusters is clusters
    assert found.shares is None


def test_a_carrier_is_a_group_and_no_cluster() -> None:
    # five thousand strangers on one range, nothing else
    graph = graph_of({(RANGE, "carrier"): strangers(5000)})
    found = find_groups(graph, weigh(graph, Settings()), no_clusters(graph), silent(graph), Settings())
    assert found.clusters.label.max() == -1
