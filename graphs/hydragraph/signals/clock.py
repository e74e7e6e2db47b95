"""When members are active: round the clock, or with the quiet hours of a person."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydragraph.signals.signal import Measured, Signal
from hydragraph.signals.view import HOURS, View

_QUIET = 6
_ENOUGH = 48
_PART = 65_536
"""Accounts worked out at a time, so that there is little more in memory than the hours themselves."""


def quiet_share(hours: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Share of requests in the quietest six hours in a row, times four: 1 is flat; NaN below 48 requests.

    hours: requests by hour of day, shape (accounts, 24). The figure does not depend on the time zone: it looks for the
    quiet stretch wherever it lies.
    """
    total = hours.sum(axis=1)
    around = np.concatenate([hours, hours[:, : _QUIET - 1]], axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(around, _QUIET, axis=1).sum(axis=2)
    share = windows.min(axis=1) * (HOURS / _QUIET) / np.maximum(total, 1)
    return np.where(total >= _ENOUGH, share, np.nan)


def _round_the_clock(view: View) -> Measured | None:
    if not view.hours.any():
        return None
    figure = np.full(view.graph.accounts.height, np.nan)
    for low in range(0, len(view.hours), _PART):
        part = slice(low, low + _PART)
        figure[view.hours_of[part]] = quiet_share(view.hours[part])
    others = figure[view.clusters.label < 0]
    baseline = float(np.nanmean(others)) if np.isfinite(others).any() else float("nan")
    return Measured(view.per_cluster(figure), baseline)


ROUND_THE_CLOCK = Signal(
    name="round_the_clock",
    title="Round the clock",
    definition=(
        "Requests in the six quietest hours of a member's day, relative to an even day; mean over "
        "members with at least 48 requests."
    ),
    suggests=(
        "In their quietest six hours members send {value} of what an even day would give; other "
        "accounts send {baseline}."
    ),
    look_alike="Build jobs, monitoring, and products whose own customers are everywhere.",
    measure=_round_the_clock,
)
