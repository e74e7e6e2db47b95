"""What sharing an identifier is worth: the start by kind, the source's correction, an identifier's own users, meshes."""

from __future__ import annotations

from collections.abc import Iterable
from math import log2

import numpy as np
import pytest

from hand import by_value, graph_of, strangers
from hydragraph.bipartite import BipartiteGraph
from hydragraph.communities import find_clusters
from hydragraph.evidence import TOGETHER_BITS, Evidence, draw, levels, number_drawn, own_stream, weigh
from hydragraph.identifiers import KINDS
from hydragraph.meshes import find_meshes
from hydragraph.settings import Settings
from hydragraph.ties import find_ties

Uses = dict[tuple[str, str], Iterable[str]]


def logit2(p: float) -> float:
    return log2(p / (1 - p))


def weighed(uses: Uses) -> tuple[BipartiteGraph, Evidence, dict[str, float]]:
    graph = graph_of(uses)
    evidence = weigh(graph, Settings())
    return graph, evidence, by_value(graph, evidence.logit)


def fours(name: str, number: int) -> list[list[str]]:
    """So many groups of four accounts."""
    return [[f"{name}{i:03d}{x}" for x in "abcd"] for i in range(number)]


# --- the source corrects the start


def test_a_class_moves_to_what_its_pairs_corroborate() -> None:
    # 100 cards of three, 3 pairs each, drawn with replacement; one couple of each three lives together
    threes = [[f"g{i:03d}{x}" for x in "abc"] for i in range(100)]
    uses: Uses = {("payment", f"card{i:03d}"): three for i, three in enumerate(threes)}
    uses |= {("ip_range", f"home{i:03d}"): three[:2] for i, three in enumerate(threes)}
    _, evidence, logit = weighed(uses)
    row = evidence.classes.filter(kind="payment", level=1).row(0, named=True)
    assert (row["identifiers"], row["pairs"]) == (100, 300)
    assert 80 < row["corroborated"] < 120
    start = TOGETHER_BITS - KINDS["payment"].chance_bits
    assert row["prior_logit"] == start
    assert row["logit"] == pytest.approx(logit2((row["corroborated"] + 0.5) / (300 * 0.5 + 1)))
    assert start - 3 < row["logit"] < start
    # three users are log2(3 / 2) bits worse than the two for which the class stands
    assert {logit[f"card{i:03d}"] for i in range(100)} == {round(row["logit"] - log2(3 / 2), 3)}


def test_the_class_moves_by_three_bits_at_most_and_not_where_there_is_nothing_to_corroborate() -> None:
    groups = fours("g", 60)
    cards: Uses = {("payment", f"card{i:03d}"): four for i, four in enumerate(groups)}
    start = TOGETHER_BITS - KINDS["payment"].chance_bits - 1
    assert set(weighed(cards)[2].values()) == {start}
    # now the source has addresses, and nobody with a common card has a common one
    apart: Uses = {("ip_range", f"home-{a}"): [a, f"x-{a}"] for four in groups for a in four}
    assert {weighed({**cards, **apart})[2][f"card{i:03d}"] for i in range(60)} == {start - 3}
    # 33 cards of four are 198 pairs: too few to say anything
    few: Uses = {("payment", f"card{i:03d}"): four for i, four in enumerate(groups[:33])}
    assert {weighed({**few, **apart})[2][f"card{i:03d}"] for i in range(33)} == {start}


# --- an identifier is weighed by its own users


def with_strangers(corroborate: str) -> Uses:
    """60 cards, each of four that share something else, and a card of four who share nothing else."""
    uses: Uses = {("payment", "strangers"): ["s1", "s2", "s3", "s4"]}
    for i, four in enumerate(fours("g", 60)):
        uses |= {("payment", f"card{i:03d}"): four, (corroborate, f"else{i:03d}"): four}
    return uses


def test_where_the_class_is_corroborated_a_card_whose_users_are_not_is_worth_less() -> None:
    _, evidence, logit = weighed(with_strangers("ip_range"))
    # 61 cards, 6 pairs each; of 366 pairs 360 share an address range as well
    row = evidence.classes.filter(kind="payment", level=2).row(0, named=True)
    assert (row["pairs"], row["corroborated"]) == (366, 360)
    # the class gains as much as it can, and what corroborates it keeps it: (6 + 2 r) / 8 / 0.5 is more than 0.99
    start = TOGETHER_BITS - KINDS["payment"].chance_bits - 1
    assert logit["card000"] == start + 3
    # none of 6 pairs of strangers: (0 + 2 r) / 8 / 0.5 is just short of one half
    assert logit["strangers"] == pytest.approx(logit2(2 * (360 / 366) / 8 / 0.5), abs=0.001)
    assert -0.1 < logit["strangers"] < 0


def test_a_card_is_spared_when_its_users_share_other_rare_things_with_anybody() -> None:
    uses = with_strangers("ip_range")
    # each of the four has a card in common with somebody else: a chain, handed from one to the next
    uses |= {("payment", f"next{i}"): [f"s{i}", f"t{i}"] for i in (1, 2, 3, 4)}
    graph, _, logit = weighed(uses)
    assert by_value(graph, find_meshes(graph).linked)["strangers"]
    assert logit["strangers"] == logit["card000"]
    # three of four are fewer than four in five
    del uses["payment", "next4"]
    graph, _, logit = weighed(uses)
    assert not by_value(graph, find_meshes(graph).linked)["strangers"]
    assert logit["strangers"] < 0


def test_where_few_are_corroborated_want_of_it_is_held_against_nobody() -> None:
    # 40 of 220 fours on one key share a home as well: 240 of 1320 pairs, less than a fifth; the class loses the 3 bits that
    # it can lose, which leaves even odds, and no key less than that
    groups = fours("g", 220)
    uses: Uses = {("api_key", f"key{i:03d}"): four for i, four in enumerate(groups)}
    uses |= {("ip_range", f"home{i:03d}"): four for i, four in enumerate(groups[:40])}
    assert TOGETHER_BITS - KINDS["api_key"].chance_bits - 1 - 3 == 0
    _, evidence, logit = weighed(uses)
    row = evidence.classes.filter(kind="api_key", level=2).row(0, named=True)
    assert (row["pairs"], row["corroborated"]) == (1320, 240)
    assert {logit[f"key{i:03d}"] for i in range(220)} == {0}
    # four more, and it is a fifth: (0 + 2 r) / 8 / 0.5 for those who share no home
    uses |= {("ip_range", f"home{i:03d}"): four for i, four in enumerate(groups[:44])}
    _, evidence, logit = weighed(uses)
    assert {logit[f"key{i:03d}"] for i in range(44)} == {0}
    assert logit["key219"] == pytest.approx(logit2(2 * (264 / 1320) / 8 / 0.5), abs=0.001)


def test_a_card_of_three_is_not_weighed_by_its_users() -> None:
    uses = with_strangers("ip_range")
    uses[("payment", "strangers")] = ["s1", "s2", "s3"]
    uses |= {("payment", f"three{i:03d}"): [f"r{i}a", f"r{i}b", f"r{i}c"] for i in range(100)}
    uses |= {("ip_range", f"threes{i:03d}"): [f"r{i}a", f"r{i}b", f"r{i}c"] for i in range(100)}
    _, evidence, logit = weighed(uses)
    row = evidence.classes.filter(kind="payment", level=1).row(0, named=True)
    assert (row["pairs"], row["corroborated"]) == (303, 300)
    assert logit["strangers"] == logit["three000"] > 0


# --- meshes


def mesh(kind: str = "api_key", values: int = 5) -> Uses:
    """Two accounts, x and y, for every two of so many values: a value has 2 * (values - 1) users, of whose pairs only x and
    y share a second value."""
    pairs = [(v, w) for v in range(values) for w in range(v + 1, values)]
    return {
        (kind, f"v{v}"): [f"r{a:02d}{s}" for a, pair in enumerate(pairs) if v in pair for s in "xy"]
        for v in range(values)
    }


def owners(*names: str) -> Uses:
    """A card of their own for a thousand strangers and these."""
    return {("payment", f"own-{a}"): [a] for a in [*strangers(1000), *names]}


def test_keys_dealt_out_in_a_mesh_keep_their_worth_among_its_accounts() -> None:
    # who shares v shares another value with one of seven others, 4 of the 28 pairs of a value, and all 8 accounts do
    graph, evidence, logit = weighed({**mesh(), **owners()})
    found = find_meshes(graph)
    names = graph.accounts["account_id"].to_numpy()
    assert [v for v, yes in by_value(graph, found.woven).items() if yes] == [f"v{v}" for v in range(5)]
    assert set(names[found.several]) == {f"r{a:02d}{s}" for a in range(10) for s in "xy"}
    # eight users, two doublings beyond two; between accounts of the mesh they are given back
    start = TOGETHER_BITS - KINDS["api_key"].chance_bits
    assert {logit[f"v{v}"] for v in range(5)} == {start - 2}
    assert {by_value(graph, evidence.woven)[f"v{v}"] for v in range(5)} == {2.0}
    assert not any(w for v, w in by_value(graph, evidence.woven).items() if v.startswith("own"))
    ties = find_ties(graph, evidence)
    pair = {(names[a], names[b]): float(net) for a, b, net in zip(ties.a, ties.b, ties.net, strict=True)}
    # r00 has v0 and v1, r01 v0 and v2: one value in common, worth as much as if they were alone on it
    assert pair["r00x", "r01x"] == start
    label = find_clusters(graph, evidence, ties).label
    assert np.bincount(label[label >= 0]).tolist() == [20]


def test_a_stranger_on_a_number_of_the_mesh_gets_none_of_its_bits() -> None:
    uses = {**mesh("phone"), **owners("stranger")}
    uses["phone", "v0"] = [*uses["phone", "v0"], "stranger"]
    graph, evidence, logit = weighed(uses)
    names = graph.accounts["account_id"].to_list()
    assert by_value(graph, find_meshes(graph).woven)["v0"]
    assert not evidence.several[names.index("stranger")]
    # nine users, 4 pairs of 36 share two, 8 of 9 accounts: still a mesh, and worth log2(9 / 2) bits less than alone
    given_back = by_value(graph, evidence.woven)["v0"]
    assert given_back == pytest.approx(log2(9 / 2), abs=0.001)
    assert logit["v0"] < 0  # no tie by itself
    ties = find_ties(graph, evidence, threshold=-20.0)
    net = {(names[a], names[b]): float(n) for a, b, n in zip(ties.a, ties.b, ties.net, strict=True)}
    # and where nothing reaches even odds it is a mere coincidence, five bits worse
    assert net["r00x", "stranger"] == pytest.approx(logit["v0"] - 5, abs=0.001)
    # among the mesh it is worth what it was for two, but that they have two numbers, a little more than usual
    usual = (20 * 2**2 + 1) / (20 * 2 + 1)
    assert net["r00x", "r01x"] == pytest.approx(logit["v0"] + given_back - log2(2 * 2 / usual**2), abs=0.002)


def test_a_value_whose_users_share_no_second_one_is_no_mesh() -> None:
    # a billing service: eight strangers on one instrument, and one couple among them with a card of its own
    service: Uses = {("payment", "service"): strangers(8), ("payment", "couple"): strangers(2)}
    found = find_meshes(graph_of(service))
    assert not found.woven.any()
    assert found.several.tolist() == [True] * 2 + [False] * 6


def test_a_mesh_needs_half_of_the_accounts_of_a_value() -> None:
    # v0 has eight users that share a second value with another, and strangers come on top
    for number, woven in ((8, True), (9, False)):
        uses = mesh()
        uses["api_key", "v0"] = [*uses["api_key", "v0"], *strangers(number)]
        graph = graph_of(uses)
        assert by_value(graph, find_meshes(graph).woven)["v0"] == woven


def test_two_values_that_come_together_in_more_than_seven_of_ten_pairs_are_one_fact_and_no_mesh() -> None:
    # a library computer: a device, and the cookie in its browser
    computer: Uses = {("device", "d"): strangers(8), ("cookie", "c"): strangers(8)}
    found = find_meshes(graph_of(computer))
    assert not found.woven.any()
    assert found.linked.all()
    # of the 28 pairs on the device 21 have the cookie, too, then 15
    for cleared, woven in ((1, False), (2, True)):
        graph = graph_of({("device", "d"): strangers(8), ("cookie", "c"): strangers(8 - cleared)})
        assert by_value(graph, find_meshes(graph).woven)["d"] == woven


def test_three_users_are_no_mesh_and_sixty_six_are_too_many() -> None:
    triangle: Uses = {("api_key", k): users for k, users in {"p": "abc", "q": "abd", "r": "cd"}.items()}
    assert not find_meshes(graph_of(triangle)).woven.any()
    for values, woven in ((33, True), (34, False)):  # 64 and 66 users
        assert find_meshes(graph_of(mesh(values=values))).woven.tolist() == [woven] * values


@pytest.mark.parametrize("kind", ["template", "ip_range"])
def test_kinds_that_strangers_share_by_chance_make_no_mesh(kind: str) -> None:
    found = find_meshes(graph_of(mesh(kind)))
    assert not found.woven.any()
    assert not found.linked.any()
    assert not found.several.any()


def test_without_identifiers_there_are_no_meshes() -> None:
    found = find_meshes(graph_of({}, also=["a", "b"]))
    assert found.woven.tolist() == found.linked.tolist() == []
    assert found.several.tolist() == [False, False]


# --- the parts of it


def test_levels_are_the_whole_part_of_log2() -> None:
    edges = [n for k in range(1, 41) for n in (2**k - 1, 2**k, 2**k + 1)]
    assert levels(np.array(edges)).tolist() == [n.bit_length() - 1 for n in edges]
    assert levels(np.array([0, 1])).tolist() == [0, 0]


def test_pairs_are_drawn_of_two_users_and_can_be_drawn_from_any_place_of_the_stream() -> None:
    size = np.random.default_rng(1).integers(2, 30, 300)
    stream = own_stream(3)
    at, first, other = draw(size, 20, stream, stream)
    assert np.bincount(at).tolist() == number_drawn(size, 20).tolist()
    assert (first != other).all()
    assert ((np.minimum(first, other) >= 0) & (np.maximum(first, other) < size[at])).all()
    # the first of all pairs stand before the others, a number each
    firsts, others = own_stream(3), own_stream(3)
    before = int((at < 100).sum())
    for generator, places in ((firsts, before), (others, len(at) + before)):
        generator.random(places)
    assert [x.tolist() for x in draw(size[100:], 20, firsts, others)[1:]] == [
        x[before:].tolist() for x in (first, other)
    ]
