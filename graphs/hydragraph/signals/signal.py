"""The shape of a signal."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hydragraph.signals.view import View


@dataclass(frozen=True)
class Measured:
    """A signal's figures: value per cluster (NaN: does not apply), one baseline, p-value per cluster (NaN: no test)."""

    value: NDArray[np.float64]
    baseline: float
    p_value: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Signal:
    """A figure about a cluster, with what it suggests and the innocent case that looks the same.

    name: as in signals.parquet. title: a few words. definition: what the value is. suggests: one sentence with {value}
    and {baseline}. percent: the value is a share and is shown as one. look_alike: the innocent case. measure: View ->
    Measured, or None where the source lacks the columns.
    """

    name: str
    title: str
    definition: str
    suggests: str
    look_alike: str
    measure: Callable[[View], Measured | None]
    percent: bool = True

    def sentence(self, value: float, baseline: float) -> str:
        """The plain sentence for one cluster."""
        return self.suggests.format(value=self._shown(value), baseline=self._shown(baseline))

    def _shown(self, figure: float) -> str:
        if math.isnan(figure):
            return "an unknown figure"
        if not self.percent:
            return f"{figure:.3g}"
        percent = 100 * figure
        return f"{percent:.0f} %" if percent >= 1 or percent == 0 else f"{percent:.2g} %"
