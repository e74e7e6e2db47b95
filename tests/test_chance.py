"""What chance gives: shuffled links, the clusters found in them, and how real ones are held against those."""

from __future__ import annotations

from dataclasses import replace
from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from hand import graph_of, strangers
from hydragraph.chance import Chance, compare, found_by_chance, rewire
from hydragraph.communities import CORE_NET, Clusters
from hydragraph.evidence import TOGETHER_BITS, weigh
from hydragraph.identifiers import KINDS
from hydragraph.settings import Settings
from written import clusters_of

NONE = Chance(np.zeros(0, np.int64), np.zeros(0))


def chance(*found: tuple[int, float]) -> Chance:
    """Clusters by size and strength."""
    return Chance(np.array([size for size, _ in found], np.int64), np.array([bits for _, bits in found], float))


def clusters(*found: tuple[int, float]) -> Clusters:
    """Clusters by accounts in the core and strength; an attached account in each on top."""
    label = np.repeat(np.arange(len(found)), [size + 1 for size, _ in found])
    made = clusters_of(label)
    attached = np.diff(label, prepend=-1) > 0
    return replace(made, core=~attached, strength=np.array([bits for _, bits in found], float))


def no_block(found: Clusters) -> np.ndarray:
    return np.zeros(len(found.breaks), bool)


# --- shuffled links


def test_rewiring_keeps_how_much_each_account_and_each_identifier_is_used() -> None:
    cards = {("payment", f"c{i}"): [f"a{i:02d}", f"a{(i + 1) % 20:02d}"] for i in range(20)}
    phones = {("phone", f"p{i}"): [f"a{j:02d}" for j in range(i, 20, 4)] for i in range(4)}
    graph = graph_of({**cards, **phones, **{("payment", f"own-{s}"): [s] for s in strangers(5)}})
    rewired = rewire(graph, 0)
    assert rewired.accounts.equals(graph.accounts)
    assert rewired.identifiers.equals(graph.identifiers)
    # the cards of one account tie nobody and are left out; a link that falls on a pair already linked is dropped
    shared = graph.degree > 1
    assert (rewired.degree[shared] <= graph.degree[shared]).all()
    assert not rewired.degree[~shared].any()
    assert (
        np.bincount(rewired.links["account"], minlength=25) <= np.bincount(graph.links["account"], minlength=25)
    ).all()
    assert rewired.links.height >= 0.8 * graph.degree[shared].sum()
    assert not rewired.links.equals(graph.links)
    assert rewire(graph, 0).links.equals(rewired.links)
    assert not rewire(graph, 1).links.equals(rewired.links)


# --- clusters in them


def test_a_card_of_two_ties_two_others_by_chance_and_as_strongly() -> None:
    # 1,002 accounts with a card each, one of them used by two: whoever gets it is a core of two
    graph = graph_of({("payment", "joint"): ["a", "b"], **{("payment", f"own-{s}"): [s] for s in strangers(1000)}})
    evidence = weigh(graph, Settings())
    found = found_by_chance(graph, evidence, Settings())
    assert found.size.tolist() == [2]
    # as strong as in the real data, though only two accounts have links that tie anybody
    net = TOGETHER_BITS - KINDS["payment"].chance_bits
    assert net >= CORE_NET
    assert found.strength.tolist() == pytest.approx([net + log2(1002)], abs=0.001)


def test_what_corroborates_in_the_real_data_does_not_do_so_by_chance() -> None:
    # sixty cards of four who also share an address range: in the source the cards gain, among the shuffled they lose
    uses = {("payment", f"c{i}"): [f"g{i:02d}{x}" for x in "abcd"] for i in range(60)}
    uses |= {("ip_range", f"r{i}"): [f"g{i:02d}{x}" for x in "abcd"] for i in range(60)}
    graph = graph_of(uses)
    evidence = weigh(graph, Settings())
    assert evidence.logit[graph.kind_code == graph.kinds.index("payment")].min() > CORE_NET
    assert found_by_chance(graph, evidence, Settings()).size.tolist() == []


def test_an_empty_source_gives_nothing_by_chance() -> None:
    graph = graph_of({}, also=["a", "b"])
    found = found_by_chance(graph, weigh(graph, Settings()), Settings())
    assert (found.size.tolist(), found.strength.tolist()) == ([], [])


# --- held against each other


def test_clusters_are_held_against_those_as_strong_and_of_like_size() -> None:
    real = clusters((4, 10), (4, 12), (8, 12), (3, 12), (20, 12))
    found = compare(real, chance((2, 15), (4, 11), (8, 10), (9, 12), (40, 30)), no_block(real), NONE)
    # 4 accounts and 10 bits: of 2 to 8 accounts and 10 bits there are three by chance; all but the large one are as strong
    # 4 and 12: one by chance (2, 15), and three here, the weaker left out
    # 8 and 12: of 4 to 16 accounts (9, 12) by chance; here itself and (4, 12), but (3, 12) is too small
    # 3 and 12: of 2 to 6 accounts (2, 15) by chance; here itself and (4, 12)
    # 20 and 12: of 10 to 40 accounts (40, 30) by chance; here itself alone
    assert found.expected.tolist() == [3, 1, 1, 1, 1]
    assert found.beyond.tolist() == pytest.approx([4 / 7, 3 / 4, 2 / 3, 2 / 3, 1 / 2])


def test_where_chance_gives_none_a_cluster_is_all_its_own() -> None:
    real = clusters((5, 12))
    for by_chance in (NONE, chance((5, 11.999)), chance((2, 99)), chance((11, 99))):
        found = compare(real, by_chance, no_block(real), NONE)
        assert (found.expected.tolist(), found.beyond.tolist()) == ([0], [1])
    # a giant component says nothing about a cluster of five; ten accounts are not twice too many
    assert compare(real, chance((10, 12)), no_block(real), NONE).beyond.tolist() == [1 / 2]


def test_blocks_are_held_against_blocks_and_all_others_against_shuffled_links() -> None:
    real = clusters((6, 20), (6, 20), (6, 20))
    block = np.array([False, True, False])
    found = compare(real, chance((6, 20), (6, 20)), block, chance((6, 25), (6, 19)))
    assert found.expected.tolist() == [2, 1, 2]
    # two clusters held by ties, one block
    assert found.beyond.tolist() == pytest.approx([2 / 4, 1 / 2, 2 / 4])


def test_no_clusters_are_held_against_nothing() -> None:
    real = clusters_of(np.full(3, -1))
    found = compare(real, chance((5, 12)), no_block(real), NONE)
    assert (found.expected.tolist(), found.beyond.tolist()) == ([], [])


some = st.lists(st.tuples(st.integers(2, 30), st.integers(0, 40).map(float)), max_size=12)


@example_settings(max_examples=100, deadline=None)
@given(real=some.filter(len), by_chance=some)
def test_the_stronger_of_two_alike_is_never_more_expected(
    real: list[tuple[int, float]], by_chance: list[tuple[int, float]]
) -> None:
    held = clusters(*real)
    found = compare(held, chance(*by_chance), no_block(held), NONE)
    assert ((found.beyond > 0) & (found.beyond <= 1)).all()
    assert ((found.expected == 0) == (found.beyond == 1)).all()
    for i, (size, bits) in enumerate(real):
        for j, (other, more) in enumerate(real):
            if size == other and more >= bits:
                assert found.expected[j] <= found.expected[i]
