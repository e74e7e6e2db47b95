"""How accounts begin and end: opened in bursts, banned together, replaced."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.signals.signal import Measured, Signal
from hydragraph.signals.view import View
from hydragraph.tails import binomial_tail, poisson_tail

DAY = 86_400_000_000
_AFTER = 2 * DAY
_BANNED = "banned"


def _times(view: View, column: str) -> NDArray[np.float64]:
    """A time column in microseconds, NaN where empty."""
    return view.graph.accounts[column].cast(pl.Int64).cast(pl.Float64).fill_null(float("nan")).to_numpy()


def banned(view: View) -> NDArray[np.bool_]:
    """Accounts closed by the provider."""
    reason = view.graph.accounts["close_reason"].str.strip_chars().str.to_lowercase()
    return (reason == _BANNED).fill_null(False).to_numpy()


def _bans(view: View) -> Measured | None:
    closed = banned(view)
    if not closed.any():
        return None
    label = view.clusters.label
    hit = np.bincount(label[(label >= 0) & closed], minlength=view.count)
    rate = float(closed.mean())
    return Measured(hit / view.size, rate, binomial_tail(hit, view.size, rate))


def _bursts(view: View) -> Measured | None:
    """Largest share of members opened within one day; p: a binomial tail on the busiest day, times the days tried."""
    opened = _times(view, "created_at")
    if np.isfinite(opened).sum() < 2:
        return None
    label = view.clusters.label
    at = np.flatnonzero((label >= 0) & np.isfinite(opened))
    at = at[np.lexsort((opened[at], label[at]))]
    group, when = label[at], opened[at]
    # the span inside a cluster that ends a day after each member's opening
    span = float(np.nanmax(opened) - np.nanmin(opened)) + 2 * DAY
    line = group * span + (when - np.nanmin(opened))
    within = np.searchsorted(line, line + DAY, "left") - np.arange(len(line))
    most = np.zeros(view.count, np.int64)
    np.maximum.at(most, group, within)
    everyone = np.sort(opened[np.isfinite(opened)])
    busiest = (np.searchsorted(everyone, everyone + DAY, "left") - np.arange(len(everyone))).max() / len(everyone)
    days = max(span / DAY, 1.0)
    usual = min(max(busiest, 1.0 / days), 1.0)
    number = np.bincount(group, minlength=view.count)
    value = np.where(number >= 2, most / np.maximum(number, 1), np.nan)
    # one member opens the window, the others fall into it
    p = np.minimum(binomial_tail(most - 1, np.maximum(number - 1, 0), usual) * np.maximum(number, 1), 1.0)
    return Measured(value, float(usual), np.where(number >= 2, p, np.nan))


def _replacement(view: View) -> Measured | None:
    """Share of banned members after whose ban another member's first request came within two days.

    p: Poisson tail of that number, each ban expecting as many first requests as the cluster's mean rate gives.
    """
    first, closed = _times(view, "first_seen"), _times(view, "closed_at")
    ends = banned(view) & np.isfinite(closed)
    label = view.clusters.label
    ends &= label >= 0
    if not ends.any() or not np.isfinite(first).any():
        return None
    start = np.flatnonzero((label >= 0) & np.isfinite(first))
    low = float(np.nanmin(np.concatenate([first[start], closed[ends]])))
    span = float(np.nanmax(np.concatenate([first[start], closed[ends]]))) - low + 3 * _AFTER
    line = np.sort(label[start] * span + first[start] - low)
    dead = np.flatnonzero(ends)
    at = label[dead] * span + closed[dead] - low
    began = np.searchsorted(line, at + _AFTER, "right") - np.searchsorted(line, at, "right")
    # an account first seen after its own ban is not its own successor
    own = (first[dead] > closed[dead]) & (first[dead] <= closed[dead] + _AFTER)
    follows = began > own
    number = np.bincount(label[dead], minlength=view.count)
    followed = np.bincount(label[dead[follows]], minlength=view.count)
    window = float(np.nanmax(first) - np.nanmin(first)) + DAY
    chance = 1 - np.exp(-(view.size - 1) * _AFTER / window)
    value = np.where(number > 0, followed / np.maximum(number, 1), np.nan)
    p = poisson_tail(followed, number * chance)
    typical = float(1 - np.exp(-np.median(view.size - 1) * _AFTER / window))
    return Measured(value, typical, np.where(number > 0, p, np.nan))


BANS = Signal(
    name="bans",
    title="Bans",
    definition="Share of members closed as banned.",
    suggests="{value} of the members were banned; {baseline} of all accounts were.",
    look_alike="A firm whose accounts were closed together by one mistaken rule.",
    measure=_bans,
)
CREATION_BURST = Signal(
    name="creation_burst",
    title="Creation burst",
    definition="Largest share of members opened within 24 hours.",
    suggests=("{value} of the members were opened within one day; on the busiest day {baseline} of all accounts were."),
    look_alike="An onboarding day, a course or a hackathon.",
    measure=_bursts,
)
REPLACEMENT = Signal(
    name="replacement",
    title="Replacement after bans",
    definition="Share of banned members after whose ban another member's first request came within two days.",
    suggests=(
        "After {value} of its bans another member began within two days; by chance {baseline} in a "
        "cluster of usual size."
    ),
    look_alike="A firm that opens a new account when one is closed by mistake.",
    measure=_replacement,
)
