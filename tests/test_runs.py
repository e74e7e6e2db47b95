"""Runs of equal entries, and the positions that stretches cover."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hydragraph.runs import changes, spread


def test_a_run_begins_where_any_key_differs() -> None:
    first, second = np.array([1, 1, 1, 2, 2]), np.array([5, 5, 6, 6, 6])
    assert changes(first).tolist() == [True, False, False, True, False]
    assert changes(first, second).tolist() == [True, False, True, True, False]
    assert changes(first[:0], second[:0]).tolist() == []


def test_stretches_are_laid_out_one_after_the_other() -> None:
    assert spread(np.array([4, 9, 0]), np.array([2, 0, 3])).tolist() == [4, 5, 0, 1, 2]
    assert spread(np.array([7]), np.array([0])).tolist() == []


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 4)), max_size=12))
def test_stretches_are_what_ranges_give(stretches: list[tuple[int, int]]) -> None:
    start, number = np.array(stretches, np.int64).reshape(-1, 2).T
    assert spread(start, number).tolist() == [at for s, n in stretches for at in range(s, s + n)]
