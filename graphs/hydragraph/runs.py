"""Runs of equal entries in sorted arrays, and the positions that stretches of an array cover."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def changes(*keys: NDArray[Any]) -> NDArray[np.bool_]:
    """True where an entry differs from the one before it in any of the keys, and at the first; shape of one key."""
    new = np.ones(len(keys[0]), bool)
    for i, key in enumerate(keys):
        differs = key[1:] != key[:-1]
        new[1:] = new[1:] | differs if i else differs
    return new


def spread(start: NDArray[np.int64], number: NDArray[np.int64]) -> NDArray[np.int64]:
    """start[i], start[i] + 1, ... number[i] of them, for each i after the other; shape (sum of number,)."""
    at: NDArray[np.int64] = np.repeat(start - np.cumsum(number) + number, number) + np.arange(int(number.sum()))
    return at
