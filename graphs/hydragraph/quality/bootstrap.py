"""Intervals: what a figure would have been, had other rings and other clusters come into the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Floats = NDArray[np.float64]
Key = tuple[str, str]
"""Name of a figure, and what it is of."""

Statistic = Callable[[Floats], Mapping[Key, Floats]]

LOW, HIGH = 2.5, 97.5
_Z = 1.959963984540054
_LARGEST_DRAW = 4_000_000
_UNDEFINED_AT_MOST = 0.05
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Stratum:
    """Units that are drawn among each other.

    counts: shape (classes, columns), what one unit of each class adds to the sums, dense or sparse. times: shape
    (classes,), how many units are of the class: units that add the same need no row each.
    """

    counts: Floats | csr_array
    times: NDArray[np.int64]

    @property
    def whole(self) -> Floats:
        """The sums over the units as they are, shape (1, columns)."""
        return np.asarray(self.times[None, :].astype(np.float64) @ self.counts, dtype=np.float64)


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


NOTHING = Estimate(None, None, None)


def estimate(
    strata: Sequence[Stratum], statistic: Statistic, *, resamples: int, rng: np.random.Generator
) -> dict[Key, Estimate]:
    """Each figure of `statistic` on the data, with the interval between its 2.5th and 97.5th percentile over resamples.

    A resample draws, in each stratum, as many units as there are, with replacement; `statistic` gets the sums of the
    columns over all strata, shape (resamples, columns), and gives arrays of shape (resamples,).

    A figure that is NaN on the data is None. An interval is None with fewer than two units or no resamples, when the
    figure is undefined in more than 5 % of the resamples, or when it rests on a stratum of one unit: that unit comes
    into every draw once, and its luck would not show. A figure rests on a stratum when it changes without it. Not
    covered: what never occurred in the data. A figure that several units make and none contradicts, such as a
    precision of 1, has an interval of no width.
    """
    values = {name: float(v[0]) for name, v in statistic(_summed([s.whole for s in strata])).items()}
    fixed = _resting_on_one(values, strata, statistic)
    held = [s for s in strata if s.times.sum() > 0]
    draws: dict[Key, list[Floats]] = {name: [] for name in values}
    units = sum(int(s.times.sum()) for s in held)
    if resamples > 0 and units > 1:
        classes = max(max(s.counts.shape) for s in held)
        step = max(1, _LARGEST_DRAW // classes)
        for first in range(0, resamples, step):
            size = min(step, resamples - first)
            for name, drawn in statistic(_summed([_draw(s, size, rng) for s in held])).items():
                draws[name].append(drawn)
    return {name: _estimate(values[name], [] if name in fixed else draws[name]) for name in values}


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """numerator / denominator, NaN where there is nothing to divide by."""
    some = denominator > 0
    result: Floats = np.divide(numerator, denominator, out=np.full(denominator.shape, np.nan), where=some)
    return result


def share(hits: float, of: float) -> Estimate:
    """hits / of independent units, with Wilson's score interval (95 %): one that is not empty at 0 of n and n of n.

    (p + z^2 / 2n -+ z * sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n), with p = hits / of, n = of, z = 1.96.
    """
    if not of:
        return NOTHING
    p, square = hits / of, _Z * _Z / of
    middle, half = p + square / 2, _Z * ((p * (1 - p) + square / 4) / of) ** 0.5
    low, high = (middle - half) / (1 + square), (middle + half) / (1 + square)
    return Estimate(p, 0.0 if hits == 0 else low, 1.0 if hits == of else high)


def _resting_on_one(values: Mapping[Key, float], strata: Sequence[Stratum], statistic: Statistic) -> set[Key]:
    """The figures that change when a stratum of a single unit is left out."""
    fixed: set[Key] = set()
    for single in strata:
        if single.times.sum() == 1:
            others = statistic(_summed([np.zeros_like(s.whole) if s is single else s.whole for s in strata]))
            fixed |= {name for name, v in others.items() if np.isnan(v[0]) or abs(v[0] - values[name]) > _ROUNDING}
    return fixed


def _summed(parts: Sequence[Floats]) -> Floats:
    total: Floats = np.sum(parts, axis=0)
    return total


def _draw(stratum: Stratum, size: int, rng: np.random.Generator) -> Floats:
    units = int(stratum.times.sum())
    times = rng.multinomial(units, stratum.times / units, size=size).astype(np.float64)
    return np.asarray(times @ stratum.counts, dtype=np.float64)


def _estimate(value: float, draws: Sequence[Floats]) -> Estimate:
    if np.isnan(value):
        return NOTHING
    drawn = np.concatenate(draws) if draws else np.zeros(0)
    defined = drawn[~np.isnan(drawn)]
    if not len(defined) or len(defined) < (1 - _UNDEFINED_AT_MOST) * len(drawn):
        return Estimate(value, None, None)
    low, high = np.percentile(defined, [LOW, HIGH])
    return Estimate(value, float(low), float(high))
