"""Where clusters fall apart, and what stays of a core when identifiers are lost: worked out by hand, then against others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import networkx as nx
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hand import graph_of, strangers
from hydragraph import stability
from hydragraph.bipartite import BipartiteGraph
from hydragraph.communities import Clusters, find_clusters, inside, strongest_tree, tree_bits, weakest_cut
from hydragraph.evidence import weigh
from hydragraph.settings import Settings
from hydragraph.stability import DIVISIONS, PARTS, core_stability, holding_sentence
from hydragraph.ties import Ties, find_ties
from written import clusters_of

Pairs = Mapping[str, float]
Uses = Mapping[tuple[str, str], Iterable[str]]


def ties_of(pairs: Pairs) -> Ties:
    """Ties between accounts of a letter each: "ab" is from account 0 to account 1; the bits of each."""
    rows = sorted((ord(ends[0]) - ord("a"), ord(ends[1]) - ord("a"), bits) for ends, bits in pairs.items())
    a, b = (np.array([row[i] for row in rows], np.int64) for i in (0, 1))
    none = np.zeros(len(rows), np.int64)
    return Ties(a, b, np.array([row[2] for row in rows], float), none, none, np.zeros(len(rows)), 0)


def cut_of(pairs: Pairs, *clusters: str) -> list[tuple[int, int, int]]:
    """Smaller side, larger side and ties across of each cluster, a text of its accounts."""
    label = np.full(26, -1, np.int64)
    for number, members in enumerate(clusters):
        label[[ord(c) - ord("a") for c in members]] = number
    held = inside(ties_of(pairs), label)
    cut = weakest_cut(held, strongest_tree(held), label)
    return list(zip(cut.smaller.tolist(), cut.larger.tolist(), cut.ties.tolist(), strict=True))


# Where it falls apart

TRIANGLES = {"ab": 9.0, "bc": 9.0, "ac": 9.0, "de": 9.0, "ef": 9.0, "df": 9.0}


def test_two_triangles_on_one_tie_fall_into_three_and_three() -> None:
    assert cut_of({**TRIANGLES, "cd": 3.0}, "abcdef") == [(3, 3, 1)]


def test_every_tie_between_the_sides_is_counted_also_weaker_ones() -> None:
    # c-d is the strongest of three between the triangles, so it is in the tree, and its weakest
    assert cut_of({**TRIANGLES, "cd": 3.0, "ae": 2.0, "bf": 1.5}, "abcdef") == [(3, 3, 3)]


def test_the_weakest_tie_of_the_tree_is_not_the_weakest_of_all() -> None:
    # a-b of 2 bits is no part of the tree: a-c-b holds the two with 5; d hangs on the others by 4
    assert cut_of({"ab": 2.0, "ac": 5.0, "bc": 6.0, "cd": 4.0}, "abcd") == [(1, 3, 1)]


def test_of_equally_weak_ties_the_one_with_the_most_even_sides() -> None:
    # a chain of five, every tie as strong: b-c and c-d both part it into two and three
    assert cut_of({"ab": 5.0, "bc": 5.0, "cd": 5.0, "de": 5.0}, "abcde") == [(2, 3, 1)]
    # two stronger ties in it: only a-b and d-e can part it, and both leave one account
    assert cut_of({"ab": 5.0, "bc": 7.0, "cd": 7.0, "de": 5.0}, "abcde") == [(1, 4, 1)]


def test_then_the_first_of_the_most_even_ones() -> None:
    # both weakest ties leave two and four; b-c comes first
    pairs = {"ab": 9.0, "bc": 5.0, "cd": 9.0, "de": 5.0, "ef": 9.0, "ac": 4.0, "bd": 4.0, "cf": 4.0}
    # b-c parts ab from cdef, with a-c and b-d across as well; d-e would part abcd from ef, with c-f across
    assert cut_of(pairs, "abcdef") == [(2, 4, 3)]


def test_equally_strong_ties_make_one_tree() -> None:
    # four accounts, all tied to all: the first ties are a-b, a-c, a-d, so an account parts from three, and three ties cross
    assert cut_of(dict.fromkeys(("ab", "ac", "ad", "bc", "bd", "cd"), 5.0), "abcd") == [(1, 3, 3)]


def test_clusters_are_cut_each_for_itself() -> None:
    pairs = {**TRIANGLES, "cd": 3.0, "gh": 8.0, "ij": 2.0, "hi": 7.0}
    # c-d lies between two clusters here and counts for neither; x is in no cluster, and k is tied to nobody
    assert cut_of({**pairs, "ax": 1.0}, "abc", "def", "ghijk") == [(1, 2, 2), (1, 2, 2), (1, 3, 1)]


def test_of_a_cluster_in_two_pieces_the_piece_with_the_weakest_tie_is_parted() -> None:
    # a-b-c and d-e-f-g share no tie (a core merged by its profile)
    assert cut_of({"ab": 9.0, "bc": 8.0, "de": 7.0, "ef": 3.0, "fg": 6.0}, "abcdefg") == [(2, 2, 1)]


def test_a_cluster_without_a_tie_has_no_sides() -> None:
    assert cut_of({"ab": 9.0}, "cde", "ab") == [(0, 0, 0), (1, 1, 1)]
    assert cut_of({}, "abc") == [(0, 0, 0)]
    assert cut_of({}) == []


PAIRS = st.dictionaries(
    st.sampled_from([x + y for x in "abcdefghi" for y in "abcdefghi" if x < y]),
    st.integers(1, 4).map(float),
    min_size=1,
)


def by_hand(pairs: Pairs, members: str) -> tuple[int, int, int]:
    """The cut once more: Kruskal's tree tie by tie, and every weakest tie taken out in turn."""
    held = sorted((-bits, ends) for ends, bits in pairs.items() if set(ends) <= set(members))
    tree: nx.Graph[str] = nx.Graph()
    tree.add_nodes_from(members)
    chosen = []
    for bits, (a, b) in held:
        if not nx.has_path(tree, a, b):
            tree.add_edge(a, b)
            chosen.append((-bits, a, b))
    best: tuple[int, int, int] = (0, 0, 0)
    for bits, a, b in chosen:
        if bits > min(chosen)[0]:
            continue
        tree.remove_edge(a, b)
        one, other = nx.node_connected_component(tree, a), nx.node_connected_component(tree, b)
        tree.add_edge(a, b)
        across = sum((x in one and y in other) or (x in other and y in one) for _, (x, y) in held)
        if min(len(one), len(other)) > best[0]:
            best = (min(len(one), len(other)), max(len(one), len(other)), across)
    return best


@given(PAIRS, st.integers(0, 9))
def test_the_cut_is_the_one_found_tie_by_tie(pairs: Pairs, first: int) -> None:
    one, other = "abcdefghi"[:first], "abcdefghi"[first:]
    clusters = [members for members in (one, other) if members]

    assert cut_of(pairs, *clusters) == [by_hand(pairs, members) for members in clusters]


@given(PAIRS)
def test_the_tree_is_as_strong_as_any(pairs: Pairs) -> None:
    held = ties_of(pairs)
    whole: nx.Graph[int] = nx.Graph()
    whole.add_weighted_edges_from(zip(held.a.tolist(), held.b.tolist(), held.net.tolist(), strict=True))
    label = np.zeros(26, np.int64)
    weights = sorted(edge["weight"] for _, _, edge in nx.maximum_spanning_edges(whole))

    assert sorted(strongest_tree(held).net.tolist()) == weights
    weakest, mean = tree_bits(held, label, np.zeros(26), prior=10.0)
    assert (weakest.tolist(), mean.tolist()) == ([10.0 + weights[0]], [round(10.0 + float(np.mean(weights)), 3)])


# What stays when identifiers are lost


def graph_with(uses: Uses, *cores: str, crowd: int = 200) -> tuple[BipartiteGraph, Clusters]:
    """A graph among a crowd, and the cores, a text of their accounts each, as clusters."""
    graph = graph_of({**uses, **{("email", f"own-{s}"): [s] for s in strangers(crowd)}})
    names = graph.accounts["account_id"].to_list()
    label = np.full(len(names), -1, np.int64)
    for number, members in enumerate(cores):
        label[[names.index(a) for a in members]] = number
    return graph, clusters_of(label)


def stability_of(uses: Uses, *cores: str, seed: int = 0) -> list[float | None]:
    graph, clusters = graph_with(uses, *cores)
    found = core_stability(graph, weigh(graph, Settings()), clusters, seed)
    return [None if np.isnan(x) else x for x in found.tolist()]


def put(monkeypatch: pytest.MonkeyPatch, parts: Mapping[str, list[int]]) -> None:
    """Put each identifier, by value, into these parts, one a division."""

    def given_(graph: BipartiteGraph, identifiers: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
        return np.array([parts[v] for v in graph.identifiers[identifiers]["value"]], np.int64).reshape(-1, DIVISIONS)

    monkeypatch.setattr(stability, "_parts", given_)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_core_on_one_card_is_whole_in_four_draws_of_five(seed: int) -> None:
    assert stability_of({("payment", "card"): "abcd"}, "abcd", seed=seed) == [0.8]


def test_two_cards_fail_together_only_where_they_are_lost_together(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {("payment", "x"): "ab", ("payment", "y"): "ab"}
    # never in one part: one of them is always left. In one part once: 19 of 20 draws
    put(monkeypatch, {"x": [0, 0, 0, 0], "y": [1, 2, 3, 4]})
    assert stability_of(both, "ab") == [1.0]
    put(monkeypatch, {"x": [0, 0, 0, 0], "y": [1, 0, 3, 4]})
    assert stability_of(both, "ab") == [0.95]


def test_a_chain_keeps_its_longest_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    # a-x-b-y-c-z-d: without x or z three of four stay, without y two; nothing else is lost
    put(monkeypatch, {"x": [0, 0, 0, 0], "y": [1, 1, 1, 1], "z": [2, 2, 2, 2]})
    chain = {("payment", "x"): "ab", ("payment", "y"): "bc", ("payment", "z"): "cd"}
    assert stability_of(chain, "abcd") == [(3 + 2 + 3 + 4 + 4) / (5 * 4)]
    # all at once: nobody is left with another, and an account by itself is no piece
    put(monkeypatch, {"x": [0, 0, 0, 0], "y": [0, 0, 0, 0], "z": [0, 0, 0, 0]})
    assert stability_of(chain, "abcd") == [0.8]


def test_a_draw_loses_an_identifier_for_all_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    # the template serves both cores, half of its users each; the card holds the first when the template is lost
    put(monkeypatch, {"t": [0, 0, 0, 0], "card": [1, 1, 1, 1]})
    shared = {("template", "t"): "abcxyz", ("payment", "card"): "abc"}
    assert stability_of(shared, "abc", "xyz") == [1.0, 0.8]


def test_addresses_and_what_others_use_connect_nobody() -> None:
    card = {("payment", "card"): "ab"}
    # a range of their own would hold them in every draw, if it counted
    assert stability_of({**card, ("ip_range", "203.0.113.0/24"): "ab"}, "ab") == [0.8]
    # two of ten users are a fifth, two of eleven are not
    others = strangers(9)
    for crowd, counts in ((others[:8], True), (others, False)):
        found = stability_of({("payment", "wide"): ["a", "b", *crowd]}, "ab")
        assert (found[0] is not None) == counts


def test_links_in_passing_connect_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, clusters = graph_with({("payment", "card"): "abc"}, "abc")
    evidence = weigh(graph, Settings())
    assert core_stability(graph, evidence, clusters).tolist() == [0.8]
    # c came by the card in passing: two of three are still most of the core; b too: nobody is left with another
    for who, known in (([2], True), ([1, 2], False)):
        monkeypatch.setitem(graph.__dict__, "passing", graph.links["account"].is_in(who).to_numpy())
        assert np.isnan(core_stability(graph, evidence, clusters)).tolist() == [not known]


def test_attached_accounts_count_as_users_and_not_as_core(monkeypatch: pytest.MonkeyPatch) -> None:
    # d, attached, is the only bridge between ab and c; half of the core must hang together, and two of three do
    graph, clusters = graph_with({("payment", "x"): "ab", ("payment", "y"): "bd", ("payment", "z"): "cd"}, "abcd")
    core = clusters.core & (graph.accounts["account_id"] != "d").to_numpy()
    attached = Clusters(clusters.label, core, clusters.bits, clusters.breaks, clusters.strength, clusters.cut)
    put(monkeypatch, {"x": [0, 0, 0, 0]})
    assert core_stability(graph, weigh(graph, Settings()), attached).tolist() == [0.8]


def test_where_identifiers_connect_less_than_half_there_is_no_figure() -> None:
    # two of four are half, two of five are not; nothing at all connects the last
    assert stability_of({("payment", "x"): "ab"}, "ab") == [0.8]
    two = {("payment", "x"): "ab", ("email", "c"): "c", ("email", "d"): "d", ("email", "e"): "e"}
    assert stability_of(two, "abcd") == [0.8]
    assert stability_of(two, "abcde") == [None]
    assert stability_of(two, "cd") == [None]
    assert stability_of({}) == []


def test_identifiers_are_lost_four_times_each_and_about_a_fifth_at_a_time() -> None:
    graph, _ = graph_with({}, crowd=2_000)
    parts = stability._parts(graph, np.arange(graph.identifiers.height), 0)
    assert parts.shape == (2_000, DIVISIONS)
    for division in parts.T:
        # binomial, 2,000 at a fifth: 400 and a standard deviation of 18
        assert np.abs(np.bincount(division, minlength=PARTS) - 400).max() < 90
    assert (stability._parts(graph, np.arange(graph.identifiers.height), 1) != parts).any()
    # the same values, of two kinds
    twice, _ = graph_with({(kind, f"v{i}"): "a" for kind in ("device", "payment") for i in range(50)}, crowd=0)
    device, payment = np.split(stability._parts(twice, np.arange(100), 0), 2)
    assert (device != payment).any()


def test_an_unchanged_cluster_keeps_its_figure_when_the_source_grows() -> None:
    ring = {("payment", f"c{i}"): [f"r{i}", f"r{(i + 1) % 9}"] for i in range(9)}
    found = []
    for more in ({}, {("payment", "aaa"): ["p", "q"], ("device", "zz"): ["q", "a"]}):
        graph = graph_of({**ring, **more, ("email", "own"): ["z"]})
        label = np.where(graph.accounts["account_id"].str.starts_with("r").to_numpy(), 0, -1)
        found.append(core_stability(graph, weigh(graph, Settings()), clusters_of(label)).tolist())
    assert found[0] == found[1]
    assert 0.3 < found[0][0] < 1.0


@given(
    st.dictionaries(st.sampled_from("uvwxyz"), st.sets(st.sampled_from("abcdefg"), min_size=2), min_size=1),
    st.integers(0, 5),
)
def test_it_is_the_mean_over_draws_of_the_largest_component(given_: Mapping[str, set[str]], seed: int) -> None:
    uses = {("payment", v): sorted(users) for v, users in given_.items()}
    graph, clusters = graph_with({**uses, ("email", "all"): "abcdefg"}, "abcdefg")
    evidence = weigh(graph, Settings())
    # the e-mail that all share is taken for worthless here
    evidence.bits[(graph.identifiers["kind"] == "email").to_numpy()] = 0.0
    names = [v if k == "payment" else "" for k, v in graph.identifiers.select("kind", "value").rows()]
    parts = stability._parts(graph, np.arange(len(names)), seed)

    def largest(left: set[str]) -> int:
        both = nx.Graph([(a, v) for v in left for a in given_[v]])
        return max((sum(n in "abcdefg" for n in c) for c in nx.connected_components(both)), default=0)

    whole = largest(set(given_))
    draws = [
        largest({v for v in given_ if parts[names.index(v), division] != part})
        for division in range(DIVISIONS)
        for part in range(PARTS)
    ]
    wanted = round(sum(draws) / (20 * whole), 3) if 2 * whole >= 7 else None
    got = core_stability(graph, evidence, clusters, seed)[0]
    assert (None if np.isnan(got) else got) == (None if wanted is None else pytest.approx(wanted, abs=0.0011))


def test_no_order_of_links_shows() -> None:
    chain = {("payment", f"c{i:02d}"): [f"a{i:02d}", f"a{i + 1:02d}"] for i in range(12)}
    cross = {("device", f"d{i:02d}"): [f"a{i:02d}", f"a{i + 4:02d}"] for i in range(0, 8, 3)}
    figures = []
    for turn in (1, -1):
        graph = graph_of(dict([*chain.items(), *cross.items(), *((("email", s), [s]) for s in strangers(500))][::turn]))
        evidence = weigh(graph, Settings())
        found = find_clusters(graph, evidence, find_ties(graph, evidence))
        cut = (found.cut.smaller.tolist(), found.cut.larger.tolist(), found.cut.ties.tolist())
        figures.append((cut, core_stability(graph, evidence, found, 3).tolist()))
    assert figures[0] == figures[1]
    assert sum(figures[0][0][0] + figures[0][0][1]) == 13


# In words


def row(**more: object) -> dict[str, object]:
    return {"size": 53, "bits": 31.04, "cut_accounts": 12, "cut_others": 41, "cut_ties": 3, "stability": 0.934} | more


FALLS = "At 31.0 bits {} falls into {}, which {} together."
PART = "a part of 53 of its 60 accounts, connected by ties,"
LOST = (
    " Were a fifth of the identifiers lost, {} % of the accounts that they connect in its core would stay in one piece, on"
    " average."
)
ALONE = (
    "No tie between two of its accounts holds it: its members keep step. Identifiers of its own connect less than half of"
    " its core."
)


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({}, FALLS.format("it", "41 and 12 accounts", "3 ties hold") + LOST.format(93)),
        ({"size": 60}, FALLS.format(PART, "41 and 12 accounts", "3 ties hold") + LOST.format(93)),
        ({"size": 42, "cut_accounts": 1, "cut_ties": 1},
         FALLS.format("it", "41 accounts and a single one", "one tie holds") + LOST.format(93)),
        ({"size": 2, "cut_accounts": 1, "cut_others": 1, "cut_ties": 1, "stability": 1.0},
         FALLS.format("it", "two single accounts", "one tie holds") + LOST.format(100)),
        ({"stability": 0.998}, FALLS.format("it", "41 and 12 accounts", "3 ties hold") + LOST.format(99)),
        ({"cut_accounts": None, "cut_others": None, "cut_ties": None, "stability": None}, ALONE),
        ({"bits": None}, ""),
    ],
)  # fmt: skip
def test_how_a_cluster_hangs_together_in_words(given_: dict[str, object], said: str) -> None:
    assert holding_sentence(row(**given_)) == said


def test_the_cut_is_of_ties_of_two_to_one_only() -> None:
    """ab, cd and the tie b-c between them are of at least 1 bit beyond the prior; a-d is weaker and holds nothing."""
    crowd = {("email", f"own-{s}"): [s] for s in strangers(500)}
    uses = {("device", "ab"): ["a", "b"], ("device", "cd"): ["c", "d"], ("device", "bc"): ["b", "c"], **crowd}
    graph = graph_of(uses)
    evidence = weigh(graph, Settings())
    ties = find_ties(graph, evidence)
    weak = Ties(
        np.append(ties.a, 0), np.append(ties.b, 3), np.append(ties.net, 0.5), np.append(ties.shared, 1),
        np.append(ties.kinds, 1), np.append(ties.synchrony, 0.0), 0,
    )  # fmt: skip
    found = find_clusters(graph, evidence, weak)
    assert [x.tolist() for x in (found.cut.smaller, found.cut.larger, found.cut.ties)] == [[2], [2], [1]]
    assert pl.Series(found.label[:4]).n_unique() == 1
