"""The parts that ties are made of, on arrays."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from scipy.sparse import csr_array

from hydragraph.ties import (
    Looked,
    Uses,
    Worth,
    breadth,
    form_pairs,
    look,
    net_bits,
    pair_budget,
    pair_key,
    usual_product,
    wide_shares,
    within_budget,
    worth_keeping,
)

PRIOR = 10.0


def uses_of(*sizes: int, seed: int = 5) -> tuple[Uses, Worth, np.ndarray, np.ndarray]:
    """Uses of identifiers of two kinds by so many accounts each, with where they start and how many there are."""
    rng = np.random.default_rng(seed)
    number = np.array(sizes, np.int64)
    account = np.concatenate([np.sort(rng.choice(40, n, replace=False)) for n in sizes])
    drawn = len(account)
    uses = Uses(
        account,
        -rng.uniform(0, 8, drawn).astype(np.float32),
        rng.integers(-1, 6, drawn),
        rng.random(drawn) < 0.3,
        rng.random(drawn) < 0.5,
    )
    bits = rng.integers(0, 14_000, len(sizes))
    worth = Worth(
        np.arange(len(sizes)) % 2, bits, bits // 3, rng.integers(0, 2, len(sizes)) * 2000, rng.random(len(sizes)) < 0.5
    )
    return uses, worth, np.cumsum(number) - number, number


def test_pairs_are_the_same_in_blocks_of_any_size_and_part_by_part() -> None:
    uses, worth, starts, number = uses_of(2, 5, 2, 9, 5)
    gaps = {1: np.array([0, 1, 1, 2, 5])}

    def entries(identifiers: np.ndarray, most: int) -> set[tuple[int, ...]]:
        found = set()
        for pairs in form_pairs(uses, starts, number, identifiers, worth, gaps, PRIOR, most):
            key = pair_key(uses, pairs, np.int64(40))
            found |= set(zip(*(x.tolist() for x in (key, pairs.identifier, pairs.close, pairs.flags)), strict=True))
        return found

    whole = entries(np.arange(5), 1000)
    assert len(whole) == 1 + 10 + 1 + 36 + 10
    assert entries(np.arange(5), 1) == whole
    assert set().union(*(entries(np.array([i]), 7) for i in range(5))) == whole


def test_the_worth_of_a_pair_does_not_depend_on_the_order_of_its_entries() -> None:
    rng = np.random.default_rng(1)
    key = np.sort(rng.integers(0, 60, 300))
    kind, identifier = rng.integers(0, 3, 300), rng.permutation(300)
    best = rng.integers(-2000, 9000, 300) // 500 * 500  # many of equal worth
    further, flags = rng.integers(-2000, 3000, 300), rng.integers(0, 16, 300).astype(np.uint8)
    supporting = np.array([False, True, False])
    order = np.lexsort((rng.random(300), key))
    first = look(key, kind, identifier, best, further, flags, supporting, PRIOR, 8)
    other = look(key, *(x[order] for x in (kind, identifier, best, further, flags)), supporting, PRIOR, 8)
    assert len(first.a)
    assert set(zip(first.a.tolist(), first.b.tolist(), strict=True)) <= {divmod(k, 8) for k in key.tolist()}
    for field in fields(Looked):
        assert getattr(first, field.name).tolist() == getattr(other, field.name).tolist()


def test_a_pair_on_one_identifier_is_kept_if_that_comes_near_alone() -> None:
    key = np.array([1, 2, 2, 3])
    assert worth_keeping(key, np.array([0, 0, 0, 8], np.uint8)).tolist() == [False, True, True, True]
    none = np.zeros(0, np.int64)
    assert not len(look(none, none, none, none, none, np.zeros(0, np.uint8), np.zeros(0, bool), PRIOR, 0).a)


def test_the_budget_takes_the_worthiest_and_equals_together() -> None:
    logit = np.array([-1.0, 3.0, 2.0, 2.0, -0.0, 0.0])
    pairs = np.array([1, 5, 3, 3, 1, 1])
    assert within_budget(logit, pairs, 11).tolist() == [False, True, True, True, False, False]
    assert within_budget(logit, pairs, 10).tolist() == [False, True, False, False, False, False]
    assert within_budget(logit, pairs, 13).tolist() == [False, True, True, True, True, True]
    assert pair_budget(10, 8) == 600_000
    assert pair_budget(10**6, 8) == 8 * 10**6


def test_breadth_is_what_both_use_beyond_the_usual() -> None:
    # accounts with 1, 1 and 4 identifiers: the mean over links is 18 / 6
    usual = usual_product(6, 18)
    assert usual == 9.0
    assert breadth(np.array([9, 36, 1]), usual).tolist() == [0, 2000, 0]


def test_supporting_bits_stop_one_short_of_even_odds() -> None:
    telling, around = np.array([0, 4000]), np.array([20_000, 1000])
    assert net_bits(telling, around, PRIOR).tolist() == [-1.0, -5.0]


def test_of_shared_wide_identifiers_the_best_counts() -> None:
    incidence = csr_array(np.array([[1, 1, 1], [1, 1, 0], [0, 0, 1]], np.int32))
    more, shared = wide_shares(incidence, np.array([100, 300, 200]), np.array([0, 0, 1]), np.array([1, 2, 2]))
    assert (more.tolist(), shared.tolist()) == ([300, 200, 0], [2, 1, 0])


def test_what_an_identifier_adds_for_its_mesh_goes_to_members_only() -> None:
    uses, worth, starts, number = uses_of(8)
    alike = Uses(uses.account, np.zeros(8, np.float32), np.full(8, -1), np.zeros(8, bool), uses.several)
    woven = Worth(worth.kind, worth.bits, worth.further, np.array([1500]), worth.sure)
    (pairs,) = form_pairs(alike, starts, number, np.array([0]), woven, {}, PRIOR)
    both = uses.several[pairs.a] & uses.several[pairs.b]
    assert pairs.close.tolist() == np.where(both, 1500, 0).tolist()
    assert 0 < both.sum() < len(both)


@pytest.mark.parametrize("moment", [-1, 7])
def test_the_one_pair_of_an_identifier_is_never_close(moment: int) -> None:
    uses, worth, starts, number = uses_of(2)
    alone = Uses(uses.account, np.zeros(2, np.float32), np.full(2, moment), uses.passing, np.zeros(2, bool))
    (pairs,) = form_pairs(alone, starts, number, np.array([0]), worth, {0: np.array([5, 6])}, PRIOR)
    assert pairs.close.tolist() == [0 if moment < 0 else -1000]
