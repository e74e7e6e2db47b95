"""Places in an order that no single task holds: counted block by block of the codes, and within a block by the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pyspark.sql import Column

BLOCKS = 256
"""Blocks into which codes are divided, at most."""


def block_of(name: str, codes: int) -> Column:
    """The first code of the block that each code of a column is in; codes: how many there are."""
    from pyspark.sql import functions as f

    width = max(-(-codes // BLOCKS), 1)
    return f.col(name) - f.col(name) % width


def number_before(number: NDArray[np.int64], of: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many come before those that are counted here, within the same `of`; sorted by it, which counts from 0."""
    total = np.bincount(of, number).astype(np.int64)
    before: NDArray[np.int64] = np.cumsum(number) - number - (np.cumsum(total) - total)[of]
    return before
