"""Whether members begin their bursts of requests at the same moments."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hydragraph.signals.signal import Measured, Signal
from hydragraph.signals.view import View
from hydragraph.tails import binomial_tail

_NEAR = 2
_APART = range(6, 12)
_SHARE = (_NEAR + 0.5) / (_NEAR + 0.5 + len(_APART))
_SMOOTH = 3.0
_DAY = 24 * 12
_WEEK = 7 * _DAY


def _lagged(cells: NDArray[np.int64], number: NDArray[np.int64], lags: range) -> NDArray[np.int64]:
    """Pairs of a beginning in each of the sorted cells with one in a cell one of the `lags` further on."""
    pairs = np.zeros(len(cells), np.int64)
    # a cell so far on stands at most as many places further on
    for step in range(1, min(lags.stop, len(cells))):
        apart = cells[step:] - cells[:-step]
        at = np.flatnonzero((apart >= lags.start) & (apart < lags.stop))
        pairs[at] += number[at] * number[at + step]
    return pairs


def coincidences(
    group: NDArray[np.int64], slot: NDArray[np.int64], groups: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of beginnings in each group at most 10 minutes apart, and 30 to 55 minutes apart; shape (groups,) each.

    group, slot: of each beginning; slots last 5 minutes. An account begins no two bursts within an hour, so the two of
    a pair are always two accounts.
    """
    if not len(slot):
        return np.zeros(groups, np.int64), np.zeros(groups, np.int64)
    span = int(slot.max() - slot.min()) + _APART.stop + 1
    cells, number = np.unique(group * span + slot - slot.min(), return_counts=True)
    of = cells // span
    near = number * (number - 1) // 2 + _lagged(cells, number, range(1, _NEAR + 1))
    apart = _lagged(cells, number, _APART)
    return (
        np.bincount(of, weights=near, minlength=groups).astype(np.int64),
        np.bincount(of, weights=apart, minlength=groups).astype(np.int64),
    )


def timetable(
    group: NDArray[np.int64], account: NDArray[np.int64], slot: NDArray[np.int64], near: NDArray[np.int64], period: int
) -> NDArray[np.float64]:
    """Pairs of beginnings of two accounts in one period that are as near as the pairs in two periods would give.

    x / (P - 1), with x the pairs of two accounts in different periods (days, weeks) at most 10 minutes apart in the time
    of the period, and P the periods from the group's first beginning to its last; 0 for a single one. near: the pairs
    in the same period, as `coincidences` gives them. period: in slots. Shape (groups,).
    """
    groups = len(near)
    if not len(slot):
        return np.zeros(groups)
    first = np.full(groups, np.iinfo(np.int64).max)
    last = np.full(groups, np.iinfo(np.int64).min)
    np.minimum.at(first, group, slot // period)
    np.maximum.at(last, group, slot // period)

    def pairs(line: NDArray[np.int64], of: NDArray[np.int64]) -> NDArray[np.float64]:
        cells, at, number = np.unique(line * (period + _NEAR) + slot % period, return_index=True, return_counts=True)
        halves = number * number + 2 * _lagged(cells, number, range(1, _NEAR + 1))
        return np.bincount(of[at], weights=halves, minlength=groups) / 2

    elsewhere = pairs(group, group) - pairs(account, group) - near
    return np.where(last > first, elsewhere / np.maximum(last - first, 1), 0.0)


def _synchrony(view: View) -> Measured | None:
    """(near + 3) / (expected + 3), expected: the largest of apart * 2.5 / 6 and the `timetable` of days and of weeks.

    near and apart cover 2.5 and 6 slots of distance. Minutes that everybody keeps, such as the full hour, are in the
    baseline: the same figure over accounts outside the clusters. p: where only the hours are shared, near of near +
    apart is binomial with 2.5 / 8.5 (apart raised to what the timetable gives); pairs are counted as if they were
    independent, which flatters clusters of many bursts.
    """
    account, slot = view.begins
    if not len(account):
        return None
    label = view.clusters.label[account]
    inside = label >= 0
    near, apart = coincidences(label[inside], slot[inside], view.count)
    (other_near,), (other_apart,) = coincidences(np.zeros(int((~inside).sum()), np.int64), slot[~inside], 1)
    counted = np.bincount(label[inside], minlength=view.count) > 1
    for period in (_DAY, _WEEK):
        kept = timetable(label[inside], account[inside], slot[inside], near, period)
        apart = np.maximum(apart, np.round(kept * (1 - _SHARE) / _SHARE).astype(np.int64))
    value = (near + _SMOOTH) / (apart * _SHARE / (1 - _SHARE) + _SMOOTH)
    baseline = float((other_near + _SMOOTH) / (other_apart * _SHARE / (1 - _SHARE) + _SMOOTH))
    p = binomial_tail(near, near + apart, _SHARE)
    return Measured(np.where(counted, value, np.nan), baseline, np.where(counted, p, np.nan))


SYNCHRONY = Signal(
    name="synchrony",
    title="Synchrony",
    definition=(
        "How often two members begin a burst of requests within ten minutes of each other, relative to how often they do"
        " so half an hour to an hour apart, or as a daily or weekly timetable would give; a burst begins after an hour of"
        " silence."
    ),
    suggests=(
        "Members begin to work within ten minutes of each other {value} times as often as their hours give; of other"
        " accounts {baseline} times."
    ),
    look_alike="A class that starts an exercise, one person who goes from account to account, timed jobs of a firm.",
    measure=_synchrony,
    percent=False,
)
