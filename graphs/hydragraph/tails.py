"""Upper tails of the laws that counts are held against, element by element."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def binomial_tail(
    least: NDArray[np.int64], number: NDArray[np.int64], share: float | NDArray[np.float64]
) -> NDArray[np.float64]:
    """P(at least `least` of `number`) for a binomial law, element by element: the regularised incomplete beta function."""
    from scipy.special import betainc

    found = betainc(np.maximum(least, 1), np.maximum(number - least + 1, 1e-9), share)
    tail: NDArray[np.float64] = np.where(least <= 0, 1.0, np.where(least > number, 0.0, found))
    return tail


def poisson_tail(least: NDArray[np.int64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(at least `least`) for a Poisson law, element by element: the regularised incomplete gamma function."""
    from scipy.special import gammainc

    tail: NDArray[np.float64] = np.where(least <= 0, 1.0, gammainc(np.maximum(least, 1), np.maximum(mean, 0.0)))
    return tail
