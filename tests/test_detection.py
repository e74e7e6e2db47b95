"""From a graph to clusters, on graphs a reader can hold in the head."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from hand import graph_of, people, strangers, world
from hydragraph import communities
from hydragraph.activity import Activity
from hydragraph.bipartite import BipartiteGraph
from hydragraph.communities import Clusters, find_clusters
from hydragraph.evidence import weigh
from hydragraph.schema import TIME
from hydragraph.settings import Settings
from hydragraph.ties import _one_fact, find_ties


def clusters_of(graph: BipartiteGraph) -> Clusters:
    evidence = weigh(graph, Settings())
    return find_clusters(graph, evidence, find_ties(graph, evidence))


def members(graph: BipartiteGraph, clusters: Clusters) -> list[set[str]]:
    names = graph.accounts["account_id"].to_list()
    return [{names[i] for i in np.flatnonzero(clusters.label == c)} for c in range(len(clusters.breaks))]


def two_triangles() -> BipartiteGraph:
    """Two triangles, each of three cards that two share, behind one address range with a crowd of 500."""
    triangles = {
        ("payment", f"{t}{x}{y}"): [f"{t}{x}", f"{t}{y}"] for t in "ab" for x, y in (("1", "2"), ("2", "3"), ("1", "3"))
    }
    crowd = strangers(500)
    everybody = crowd + [f"{t}{i}" for t in "ab" for i in "123"]
    return graph_of({**triangles, ("ip_range", "203.0.113.0/24"): everybody})


def test_two_triangles_that_share_one_address_stay_two() -> None:
    graph = two_triangles()
    assert members(graph, clusters_of(graph)) == [{"a1", "a2", "a3"}, {"b1", "b2", "b3"}]


def test_a_shared_card_of_two_is_worth_what_the_formula_says() -> None:
    # 4 bits for belonging together, less the chance bits of a card; log2(2 / 2) = 0 for two users
    graph = graph_of({("payment", "card"): ["a", "b"]}, also=["c"])
    evidence = weigh(graph, Settings())
    from hydragraph.identifiers import KINDS

    assert evidence.logit.tolist() == [4.0 - KINDS["payment"].chance_bits]
    # only accounts with a link count in N: two, so the prior is 1 bit
    assert evidence.prior == 1.0
    assert evidence.bits.tolist() == [evidence.logit[0] + 1.0]


def test_every_doubling_of_the_users_takes_a_bit() -> None:
    graph = graph_of({("payment", "two"): ["a", "b"], ("payment", "four"): ["c", "d", "e", "f"]})
    evidence = weigh(graph, Settings())
    four, two = evidence.logit.tolist()  # sorted by value: four, two
    assert two - four == pytest.approx(1.0)


def test_the_net_of_a_tie_is_best_plus_further_per_kind_less_the_prior() -> None:
    crowd = {("device", f"d{i}"): [f"x{i}"] for i in range(1000)}
    graph = graph_of({("payment", "p"): ["a", "b"], ("payment", "q"): ["a", "b"], ("device", "d"): ["a", "b"], **crowd})
    evidence = weigh(graph, Settings())
    names = graph.identifiers["kind"] + ":" + graph.identifiers["value"]
    bits = dict(zip(names, evidence.bits, strict=True))
    further = dict(zip(names, evidence.further, strict=True))
    # two pairs of users were looked at, and both share the other card as well: log2 of 3 / 2.5
    assert further["payment:q"] == pytest.approx(np.log2(3 / 2.5), abs=0.001)
    ties = find_ties(graph, evidence)
    expected = bits["payment:p"] + further["payment:q"] + bits["device:d"] - evidence.prior
    assert (ties.a.tolist(), ties.b.tolist(), ties.shared.tolist()) == ([0], [1], [3])
    assert ties.net[0] == pytest.approx(expected, abs=0.001)


def test_the_time_part_of_a_tie_is_named_and_counted_once() -> None:
    # a and b share a card and begin their five bursts together, at another hour each day; c and d share one and do not
    crowd = {("device", f"d{i}"): [f"x{i}"] for i in range(200)}
    graph = graph_of({("payment", "p"): ["a", "b"], ("payment", "q"): ["c", "d"], **crowd})
    hour, day = 12, 24 * 12  # slots of five minutes
    slots = [day * d + hour * (3 + 4 * d) for d in range(5)]
    calendars = (slots, slots, slots, [slot + 2 * hour for slot in slots])
    account, slot = np.repeat(np.arange(4), 5), np.array(calendars).ravel()
    activity = Activity(account, slot, np.ones(20, np.int64), graph.accounts.height)
    evidence = weigh(graph, Settings())
    timed, timeless = find_ties(graph, evidence, activity), find_ties(graph, evidence)
    assert list(zip(timed.a.tolist(), timed.b.tolist(), strict=True)) == [(0, 1), (2, 3)]
    assert timed.synchrony.tolist() == [activity.together(np.array([0]), np.array([1]))[0], 0.0]
    assert timed.synchrony[0] > 5
    assert timeless.synchrony.tolist() == [0.0, 0.0]
    assert (timed.net - timeless.net).tolist() == pytest.approx(timed.synchrony.tolist(), abs=0.0011)
    # a selection keeps what belongs together
    assert timed.select(np.array([False, True])).synchrony.tolist() == [0.0]


def test_address_ranges_alone_tie_nobody_however_many() -> None:
    ranges = {("ip_range", f"198.51.{i}.0/24"): ["a", "b"] for i in range(30)}
    crowd = {("ip_range", f"203.0.{i // 250}.{i % 250}/32"): [f"x{i}"] for i in range(1000)}
    graph = graph_of({**ranges, **crowd})
    assert members(graph, clusters_of(graph)) == []


def test_five_thousand_strangers_on_one_range_are_no_cluster() -> None:
    graph = graph_of({("ip_range", "198.51.100.0/24"): strangers(5000)})
    assert members(graph, clusters_of(graph)) == []


def test_five_of_them_with_one_card_are_exactly_those_five() -> None:
    crowd = strangers(5000)
    five = crowd[10:15]
    graph = graph_of({("ip_range", "198.51.100.0/24"): crowd, ("payment", "card"): five})
    assert members(graph, clusters_of(graph)) == [set(five)]


def test_a_chain_of_cards_is_one_cluster() -> None:
    chain = {("payment", f"c{i:02d}"): [f"a{i:02d}", f"a{i + 1:02d}"] for i in range(20)}
    others = {("payment", f"own-{s}"): [s] for s in strangers(2000)}
    graph = graph_of({**chain, **others})
    assert members(graph, clusters_of(graph)) == [{f"a{i:02d}" for i in range(21)}]


def test_one_shared_flat_does_not_join_two_offices() -> None:
    # in each office every account shares a card with six others; one of each office lives together with the other
    offices = {
        ("payment", f"{o}{i}"): [f"{o}{i:02d}", f"{o}{(i + d) % 20:02d}"] for o in "pq" for d in (1,) for i in range(20)
    }
    offices |= {("device", f"{o}{i}"): [f"{o}{i:02d}", f"{o}{(i + 7) % 20:02d}"] for o in "pq" for i in range(20)}
    offices |= {("email", f"{o}{i}"): [f"{o}{i:02d}", f"{o}{(i + 3) % 20:02d}"] for o in "pq" for i in range(20)}
    flat = {("payment", "joint"): ["p00", "q00"]}
    crowd = {("payment", f"own-{s}"): [s] for s in strangers(2000)}
    graph = graph_of({**offices, **flat, **crowd})
    assert members(graph, clusters_of(graph)) == [{f"{o}{i:02d}" for i in range(20)} for o in "pq"]


def test_a_large_ring_without_any_order_in_it_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    # twenty shifts of 60 accounts: inside a shift each account has three cards with three others, and every other account
    # has one in common with somebody of any shift: each pair of shifts hangs on a thread, all of them together do not
    rng = np.random.default_rng(1)
    ring = [f"r{i:04d}" for i in range(1200)]
    uses: dict[tuple[str, str], list[str]] = {("payment", f"own-{s}"): [s] for s in strangers(2000)}
    for shift in range(20):
        members_of = shift * 60 + np.concatenate([rng.permutation(60) for _ in range(3)]).reshape(-1, 4)
        uses |= {("payment", f"c{shift}-{i}"): [ring[m] for m in four] for i, four in enumerate(members_of.tolist())}
    pairs = rng.permutation(1200)[:600].reshape(-1, 2).tolist()
    uses |= {("payment", f"d{i}"): [ring[x], ring[y]] for i, (x, y) in enumerate(pairs)}
    graph = graph_of(uses)
    (whole,) = members(graph, clusters_of(graph))
    # of one account a single tie reaches 2 to 1, and does not hold it
    assert (whole < set(ring), len(whole)) == (True, 1199)
    monkeypatch.setattr(communities, "_BOUND_SHARE", 1.0)
    assert len(members(graph, clusters_of(graph))) > 1


@pytest.mark.parametrize(
    ("shared", "held"),
    [(["phone"], False), (["device"], False), (["payment"], False), (["phone", "device"], True)],
)
def test_one_identifier_in_common_with_one_of_a_ring_holds_nobody(shared: list[str], held: bool) -> None:
    # six on one card, and somebody who has a number, a device or a card in common with the first: 4 to 1, or 8 to 1
    ring = [f"a{i}" for i in range(6)]
    uses: dict[tuple[str, str], list[str]] = {("email", s): [s] for s in strangers(500)}
    uses |= {("payment", "ring"): ring, **{(kind, "theirs"): ["a0", "victim"] for kind in shared}}
    graph = graph_of(uses)
    assert members(graph, clusters_of(graph)) == [{*ring, "victim"} if held else set(ring)]


def test_an_account_is_attached_by_two_weaker_identifiers_and_not_by_one() -> None:
    core = [f"m{i}" for i in range(8)]
    uses: dict[tuple[str, str], list[str]] = {("payment", f"c{i}"): [core[i], core[(i + 1) % 8]] for i in range(8)}
    crowd = strangers(3000)
    uses[("template", "t")] = [*core, "by-two", "by-one"]
    uses[("ip_range", "198.51.100.0/24")] = [*core, "by-two", *crowd[:8]]
    uses[("ip_range", "203.0.113.0/24")] = crowd
    graph = graph_of(uses)
    clusters = clusters_of(graph)
    assert members(graph, clusters) == [{*core, "by-two"}]
    attached = graph.accounts["account_id"].to_list().index("by-two")
    assert not clusters.core[attached]
    assert clusters.bits[attached] > 0


def test_parts_that_only_their_attached_accounts_connect_are_one_cluster() -> None:
    # two cores of six, each with six accounts that come by its template, range and client; these twelve send one more
    a, b, x, y = (people(name, 6) for name in "abxy")
    uses: dict[tuple[str, str], list[str]] = {}
    for core, near in ((a, x), (b, y)):
        uses |= {("payment", f"{core[i]}"): [core[i], core[(i + 1) % 6]] for i in range(6)}
        uses |= {(kind, f"{kind}-{core[0]}"): [*core, *near] for kind in ("template", "ip_range", "tls")}
    apart, _ = world(uses, own="template")
    assert members(apart, clusters_of(apart)) == [{*a, *x}, {*b, *y}]
    graph, _ = world({**uses, ("template", "more"): [*x, *y]}, own="template")
    clusters = clusters_of(graph)
    assert members(graph, clusters) == [{*a, *b, *x, *y}]
    assert clusters.core.sum() == 12


def test_the_cluster_breaks_at_its_weakest_tie() -> None:
    crowd = {("payment", f"own-{s}"): [s] for s in strangers(500)}
    graph = graph_of(
        {("payment", "ab"): ["a", "b"], ("device", "ab"): ["a", "b"], ("payment", "bc"): ["b", "c"], **crowd}
    )
    evidence = weigh(graph, Settings())
    ties = find_ties(graph, evidence)
    clusters = find_clusters(graph, evidence, ties)
    weakest = float(ties.net.min()) + evidence.prior
    assert clusters.breaks.tolist() == pytest.approx([weakest], abs=0.01)


def test_an_empty_graph_has_no_clusters() -> None:
    graph = graph_of({}, also=["a", "b"])
    assert members(graph, clusters_of(graph)) == []


def test_who_used_something_once_in_a_hundred_times_does_not_belong_to_those_who_live_by_it() -> None:
    crowd = {("payment", f"own-{s}"): [s] for s in strangers(3000)}
    uses = {("device", "office"): ["staff-1", "staff-2", "visitor"], ("device", "home"): ["visitor"], **crowd}
    often = {("visitor", "home"): 100, ("staff-1", "office"): 100, ("staff-2", "office"): 80}

    def tied(graph: BipartiteGraph) -> set[str]:
        ties = find_ties(graph, weigh(graph, Settings()))
        names = graph.accounts["account_id"].to_list()
        return {names[i] for i in np.concatenate([ties.a, ties.b])}

    assert tied(graph_of(uses, often=often)) == {"staff-1", "staff-2"}
    # once each, nothing says that the visitor is one
    assert tied(graph_of(uses)) == {"staff-1", "staff-2", "visitor"}


def timed(graph: BipartiteGraph, hours: dict[tuple[str, str], int]) -> BipartiteGraph:
    """The graph with the (account, value) of `hours` used once, so many hours after 2026 began."""
    names, values = graph.accounts["account_id"].to_list(), graph.identifiers["value"].to_list()
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    when = [
        start + dt.timedelta(hours=hours[names[a], values[v]]) if (names[a], values[v]) in hours else None
        for a, v in graph.links.select("account", "identifier").iter_rows()
    ]
    seen = pl.Series(when, dtype=TIME)
    return BipartiteGraph(graph.accounts, graph.identifiers, graph.links.with_columns(first_seen=seen, last_seen=seen))


def test_what_one_request_brought_is_passing_when_it_is_a_small_part_of_the_accounts_use() -> None:
    uses = {
        ("ip_range", "office"): ["staff", "visitor", "guest"], ("template", "tool"): ["staff", "visitor", "guest"],
        ("ip_range", "home"): ["visitor"], ("template", "own"): ["visitor"], ("template", "rare"): ["visitor", "staff"],
    }  # fmt: skip
    often = {("visitor", "home"): 9, ("visitor", "own"): 9, ("staff", "office"): 9, ("staff", "tool"): 9}
    hours = {
        ("visitor", "office"): 5, ("visitor", "tool"): 5,  # one request brought both
        ("visitor", "rare"): 7,  # alone at its moment
        ("guest", "office"): 5, ("guest", "tool"): 5,  # all that the guest ever did
    }  # fmt: skip
    graph = timed(graph_of(uses, often=often), hours)
    names, values = graph.accounts["account_id"].to_list(), graph.identifiers["value"].to_list()
    links = graph.links.select("account", "identifier").filter(pl.Series(graph.passing))
    assert {(names[a], values[v]) for a, v in links.iter_rows()} == {("visitor", "office"), ("visitor", "tool")}


def test_of_the_kinds_that_passing_links_share_the_best_alone_counts() -> None:
    # three pairs with three, two and one kinds; the second and third kind of the first pair are passing, both of the second
    worth = np.array([5, 7, 4, 6, 6, 3])
    passing = np.array([False, True, True, True, True, True])
    assert _one_fact(worth, passing, np.array([0, 3, 5])).tolist() == [5, 7, 0, 6, 0, 3]
    assert _one_fact(worth, np.zeros(6, bool), np.array([0, 3, 5])).tolist() == worth.tolist()


def test_who_copies_a_request_of_the_office_does_not_belong_to_it() -> None:
    staff = [f"staff-{i}" for i in range(4)]
    uses = {("ip_range", "office"): [*staff, "copier"], ("template", "tool"): [*staff, "copier"]}
    uses |= {("payment", "card"): [*staff], ("ip_range", "home"): ["copier"], ("template", "own"): ["copier"]}
    uses |= {("payment", f"own-{s}"): [s] for s in strangers(3000)}
    often = {(a, v): 20 for a in staff for v in ("office", "tool")} | {("copier", "home"): 20, ("copier", "own"): 20}
    copied = timed(graph_of(uses, often=often), {("copier", "office"): 5, ("copier", "tool"): 5})
    assert members(copied, clusters_of(copied)) == [set(staff)]
    # with two requests at different times both are facts, and it is still a small part of what the account does
    apart = timed(graph_of(uses, often=often), {("copier", "office"): 5, ("copier", "tool"): 6})
    assert not apart.passing.any()
