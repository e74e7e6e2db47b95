"""Signals: figures about a cluster, each with its baseline, its meaning and its innocent look-alike."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.schema import OUTPUT
from hydragraph.signals.centre import CENTRE
from hydragraph.signals.clock import ROUND_THE_CLOCK
from hydragraph.signals.hand_off import HAND_OFF
from hydragraph.signals.lives import BANS, CREATION_BURST, REPLACEMENT
from hydragraph.signals.payer import ONE_ORGANISATION, ONE_PAYER
from hydragraph.signals.place import ONE_PLACE, RANGE_BREADTH
from hydragraph.signals.sharing import KEY_SHARING, OTHER_REUSE, PAYMENT_REUSE, RANGE_REUSE, TEMPLATE_REUSE
from hydragraph.signals.signal import Measured, Signal
from hydragraph.signals.synchrony import SYNCHRONY
from hydragraph.signals.view import View, look
from hydragraph.signals.volume import EVEN_LOAD

SIGNALS: dict[str, Signal] = {
    s.name: s
    for s in (
        PAYMENT_REUSE, KEY_SHARING, TEMPLATE_REUSE, RANGE_REUSE, OTHER_REUSE, ONE_PLACE, RANGE_BREADTH, ONE_PAYER,
        ONE_ORGANISATION, ROUND_THE_CLOCK, BANS, CREATION_BURST, REPLACEMENT, EVEN_LOAD,
        SYNCHRONY, HAND_OFF, CENTRE,
    )
}  # fmt: skip

__all__ = ["SIGNALS", "Measured", "Signal", "View", "look", "measure", "signal_table"]

_DIGITS = 6


def measure(view: View) -> dict[str, Measured]:
    """Every signal that applies to this source, by name."""
    if view.count == 0:
        return {}
    found = {name: signal.measure(view) for name, signal in SIGNALS.items()}
    return {name: m for name, m in found.items() if m is not None}


def signal_table(measured: dict[str, Measured], cluster_ids: list[str]) -> pl.DataFrame:
    """The rows of signals.parquet: one for each signal and cluster it applies to."""
    ids = pl.Series("cluster_id", cluster_ids, dtype=pl.String)
    parts = [OUTPUT["signals"].empty()]
    for name, m in measured.items():
        signal = SIGNALS[name]
        p_values: NDArray[np.float64] = m.p_value if m.p_value is not None else np.full(len(m.value), np.nan)
        known = np.flatnonzero(~np.isnan(m.value))
        baseline = round(m.baseline, _DIGITS)
        values, at = np.unique(m.value[known].round(_DIGITS), return_inverse=True)
        sentences = pl.Series([signal.sentence(value, baseline) for value in values.tolist()], dtype=pl.String)
        p_known = [None if math.isnan(p) else float(f"{p:.6g}") for p in p_values[known].tolist()]
        parts.append(
            pl.DataFrame({
                "cluster_id": ids.gather(known),
                "signal": pl.repeat(name, len(known), eager=True),
                "value": values[at],
                "baseline": pl.repeat(None if math.isnan(baseline) else baseline, len(known), dtype=pl.Float64, eager=True),
                "p_value": pl.Series(p_known, dtype=pl.Float64),
                "suggests": sentences.gather(at),
                "look_alike": pl.repeat(signal.look_alike, len(known), eager=True),
            })
        )  # fmt: skip
    return OUTPUT["signals"].conform(pl.concat(parts))
