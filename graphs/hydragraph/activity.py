"""When accounts are active: bursts of requests, and which pairs begin theirs at the same moments."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.links import SLOT_MINUTES
from hydragraph.runs import changes, spread
from hydragraph.tails import poisson_tail

if TYPE_CHECKING:
    from scipy.sparse import csr_array

QUIET_MINUTES = 60
"""A burst begins with a request after at least this long a silence."""

WINDOWS_MINUTES = (15, 60)
"""Two bursts begin together when they fall into the same window; the better of the windows counts."""

MOST_BITS = 12.0
"""Synchrony adds at most this: habits nobody modelled (jobs on the full hour) must not decide alone."""

_DAY = 24 * 60 // SLOT_MINUTES
_HOUR = 60 // SLOT_MINUTES
_QUARTERS = 24 * 60 // WINDOWS_MINUTES[0]
_HABITS = 48
_FEWEST_DAYS = 8
_FEW = 0.1
_ONE_BURST = 4.0
_WIDEST_WAVE = 512
_CHUNK = 200_000
_LAST_DAY = 2**31


@dataclass(frozen=True)
class Bursts:
    """Beginnings of bursts, sorted by account, then slot.

    account, slot: code and slot of each, shape (bursts,). first, last: slots of the first and the last request of every
    account, shape (accounts,); anything for one that begins no burst.
    """

    account: NDArray[np.int64]
    slot: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]

    def together(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
        """Evidence in bits that the bursts of each pair of accounts begin together more often than their habits give.

        For each window the number n of windows in which both begin a burst is held against a Poisson law with mean

            sum over habits h of n_a(h) * n_b(h) / windows(h)

        where a habit is an hour of the day on a working day or at the weekend (48 of them), n(h) the bursts begun in it,
        spread evenly over the days on which both accounts were in use, and windows(h) the windows those days have in h:
        each account keeps its own rate, its own day and its own week. Timetables finer than an hour count, too: the mean is
        at least the number of pairs of a burst of a and one of b in the same window of two different days, over the days
        between them less one; the same by weeks. bits = -1 - 0.5 * log2 P(at least n), the
        evidence of a p-value (Vovk and Wang 2021), less 1 for taking the better of two windows, from 0 to 12.
        Not checked: timetables with a period that divides neither a day nor a week.
        """
        out = np.zeros(len(a))
        if not len(self.account) or not len(a):
            return out
        involved = np.zeros(len(self.first), bool)
        involved[a] = involved[b] = True
        kept = involved[self.account]
        if not kept.any():
            return out
        begun = self.account[kept], self.slot[kept], len(self.first)
        windows, timetables = _windows(*begun), _timetables(*begun)
        for low in range(0, len(a), _CHUNK):
            part = slice(low, low + _CHUNK)
            # windows are no longer than the silence before a burst: fewer than two common hours, fewer than two of any
            often = np.flatnonzero(_common(windows[-1], a[part], b[part]) >= 2) + low
            out[often] = self._together(a[often], b[often], windows, timetables)
        return out

    def _together(
        self,
        a: NDArray[np.int64],
        b: NDArray[np.int64],
        windows: list[csr_array],
        timetables: list[dict[int, csr_array]],
    ) -> NDArray[np.float64]:
        first, last = self.first, self.last
        start, stop = np.maximum(first[a], first[b]), np.minimum(last[a], last[b])
        days = np.maximum((stop - start) / _DAY, 0) + 1.0
        share_a = np.minimum(days / ((last - first)[a] / _DAY + 1.0), 1.0)
        share_b = np.minimum(days / ((last - first)[b] / _DAY + 1.0), 1.0)
        involved, at = np.unique(np.concatenate([a, b]), return_inverse=True)
        habits = self._habits(involved)
        both = habits[at[: len(a)]].astype(np.float64) * habits[at[len(a) :]]
        usual = (both * _WEEK[None, :]).sum(axis=1) * share_a * share_b / days
        best = np.zeros(len(a))
        for window, matrix, by_period in zip(WINDOWS_MINUTES, windows, timetables, strict=True):
            n = _common(matrix, a, b)
            mean = usual * window / 60
            for period, timetable in by_period.items():
                periods = (stop - start) // period
                elsewhere = (_common(timetable, a, b) - n) / np.maximum(periods, 1)
                mean = np.maximum(mean, np.where(periods > 0, elsewhere, 0.0))
            p = poisson_tail(n.astype(np.int64), mean)
            bits = np.where(n >= 2, -2 - 0.5 * np.log2(np.maximum(p, 1e-300)), 0.0)
            best = np.maximum(best, bits)
        return np.clip(best, 0.0, MOST_BITS).round(3)

    def _habits(self, wanted: NDArray[np.int64]) -> NDArray[np.float32]:
        """Bursts the `wanted` accounts (sorted) begin by hour of day, on working days and at weekends; shape (wanted, 48),
        neighbouring hours smoothed in."""
        account, slot = self.account, self.slot
        row = np.full(len(self.first), -1, np.int64)
        row[wanted] = np.arange(len(wanted))
        keep = row[account] >= 0
        account, slot = row[account[keep]], slot[keep]
        hour = slot % _DAY // _HOUR
        # 1970-01-01 was a Thursday: days 2 and 3 of each seven are the weekend
        weekend = np.isin(slot // _DAY % 7, (2, 3)).astype(np.int64)
        table = np.bincount(account * _HABITS + weekend * 24 + hour, minlength=len(wanted) * _HABITS)
        halves = table.astype(np.float32).reshape(-1, 2, 24)
        smooth = 0.5 * halves + 0.25 * np.roll(halves, 1, axis=2) + 0.25 * np.roll(halves, -1, axis=2)
        flat: NDArray[np.float32] = smooth.reshape(-1, _HABITS)
        return flat


@dataclass(frozen=True)
class Activity:
    """Requests by account and slot, sorted by account, then slot; all arrays have shape (rows,).

    account: code. slot: number of the 5-minute slot since 1970. requests: in that slot. accounts: size of the graph.
    """

    account: NDArray[np.int64]
    slot: NDArray[np.int64]
    requests: NDArray[np.int64]
    accounts: int

    def hours(self, wanted: NDArray[np.int64]) -> NDArray[np.int32]:
        """Requests by hour of day (UTC) of the `wanted` accounts (sorted codes), shape (wanted, 24)."""
        row = np.full(self.accounts, -1, np.int64)
        row[wanted] = np.arange(len(wanted))
        keep = row[self.account] >= 0
        cell = row[self.account[keep]] * 24 + self.slot[keep] % _DAY // _HOUR
        table = np.bincount(cell, weights=self.requests[keep], minlength=24 * len(wanted))
        return table.astype(np.int32).reshape(-1, 24)

    @property
    def bursts(self) -> Bursts:
        """The bursts of every account."""
        account, slot = self.begins
        return Bursts(account, slot, *self._span)

    @cached_property
    def begins(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Account and slot of the beginning of every burst."""
        new = np.ones(len(self.account), bool)
        quiet = np.diff(self.slot) > QUIET_MINUTES // SLOT_MINUTES
        new[1:] = (np.diff(self.account) != 0) | quiet
        return self.account[new], self.slot[new]

    def together(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
        """Evidence in bits that the bursts of each pair of accounts begin together: Bursts.together."""
        return self.bursts.together(a, b)

    def in_step(self, group: NDArray[np.int64], a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
        """How much more often two groups begin bursts in the same quarter of an hour than on other days, in z-scores.

        group: number of each account's group, -1 for none; a, b: pairs of groups. With n(t) the square root of the bursts a
        group begins in quarter t, so that one moment at which everybody comes back from an outage does not decide, only
        what is sharper than half an hour counts, h(t) = 4 n(t) - n(t-3) - n(t-2) - n(t+2) - n(t+3), and

            T(s) = sum over t of h_a(t) * h_b(t + s days),    z = (T(0) - mean T(s)) / standard deviation of T(s)

        over the shifts s of 1, 2, ... days, which keep the daily shape of both. 0 where there are fewer than 8 days to
        shift. Days on which nobody begins a burst are left out.
        """
        found = np.zeros(len(a))
        if not len(self.account) or not len(a):
            return found
        account, window, days = self._quarters
        if days < _FEWEST_DAYS:
            return found
        # the quarters of each group that is asked for, group after group
        asked = np.zeros(int(group.max()) + 2, bool)  # the last stands for no group
        asked[a] = asked[b] = True
        inside = asked[group[account]]
        cells, begun = np.unique(group[account[inside]] * (days * _QUARTERS) + window[inside], return_counts=True)
        # whole hundredths, so that sums do not depend on their order
        begun = np.rint(100 * np.sqrt(begun))
        of, at = np.divmod(cells, days * _QUARTERS)
        groups = np.arange(int(group.max()) + 1)
        low, high = np.searchsorted(of, groups, "left").tolist(), np.searchsorted(of, groups, "right").tolist()

        def waves(number: int) -> NDArray[np.complex128]:
            sharp = np.zeros(days * _QUARTERS)
            when, begins = at[low[number] : high[number]], begun[low[number] : high[number]]
            sharp[when] = 4 * begins
            for lag in (-3, -2, 2, 3):
                sharp[(when + lag) % len(sharp)] -= begins
            spectrum: NDArray[np.complex128] = np.fft.rfft(sharp.reshape(days, _QUARTERS), axis=0)
            return spectrum

        of_a = -1
        for i in np.lexsort((b, a)).tolist():
            if a[i] != of_a:
                of_a = int(a[i])
                conjugate = np.conj(waves(of_a))
            # the cross-correlation over days, summed over the quarters of the day: whole numbers
            spectrum = np.einsum("ij,ij->i", conjugate, waves(int(b[i])))
            by_shift = np.round(np.fft.irfft(spectrum, n=days))
            found[i] = (by_shift[0] - by_shift[1:].mean()) / max(float(by_shift[1:].std()), 1.0)
        return found

    def joins_in(self, group: NDArray[np.int64], who: NDArray[np.int64], to: NDArray[np.int64]) -> NDArray[np.float64]:
        """Evidence in bits that accounts begin their bursts when the members of a group do, from -12 to 12.

        group: number of each account's group, -1 for none; who, to: pairs of an account outside and a group. For a burst in
        quarter w, with n the bursts the group begins in it and e what is usual, the larger of the group's mean in this
        quarter of the day and its two neighbours and of its mean half an hour and three quarters before and after,

            bits = sum over the account's bursts of min(log2((1 + r) / 2), 4),   r = (n + 1 / days) / (e + 1 / days)

        the likelihood ratio, cut off at 4 bits a burst, of "half of its bursts are the group's waves" over "it only keeps
        the same hours and the same days"; near 0 for a group without waves.
        Not checked: a group that works on few of many days. What is usual then rests on the four quarters around, which
        is little, and the bits of a stranger who keeps its days scatter by some 5.
        """
        found = np.zeros(len(who))
        if not len(self.account) or not len(who):
            return found
        account, window, days = self._quarters
        row = np.full(int(group.max()) + 1, -1, np.int64)
        wanted = np.unique(to)
        row[wanted] = np.arange(len(wanted))
        inside = np.flatnonzero(group[account] >= 0)
        inside = inside[row[group[account[inside]]] >= 0]
        line, when = row[group[account[inside]]], window[inside]
        span = days * _QUARTERS + 8  # apart, so that half an hour before the first quarter is no other group's last
        cells, begun = np.unique(line * span + when + 4, return_counts=True)
        usual = np.bincount(line * _QUARTERS + when % _QUARTERS, minlength=len(wanted) * _QUARTERS) / days
        usual = usual.reshape(len(wanted), _QUARTERS)
        smooth = (np.roll(usual, 1, axis=1) + usual + np.roll(usual, -1, axis=1)) / 3 + 1 / days
        # the bursts of each account stand together: expand every pair by those of its account
        low, high = np.searchsorted(account, who, "left"), np.searchsorted(account, who, "right")
        pair = np.repeat(np.arange(len(who)), high - low)
        burst = spread(low, high - low)
        at = row[to[pair]]
        cell = at * span + window[burst] + 4
        then, around = _around(cells, begun, cell)
        usual_then = np.maximum(smooth[at, window[burst] % _QUARTERS], around + 1 / days)
        ratio = (then + 1 / days) / usual_then
        milli = np.round(np.minimum(np.log2((1 + ratio) / 2), _ONE_BURST) * 1000)
        found = np.bincount(pair, weights=milli, minlength=len(who)) / 1000
        return np.clip(found, -MOST_BITS, MOST_BITS)

    def keeps_step(self, group: NDArray[np.int64]) -> NDArray[np.float64]:
        """Evidence in bits that members of a group begin their bursts when the others of the group do.

        group: number of each account's group, -1 for none. For a burst in quarter w, with n the bursts that the others
        begin in it and e what is usual, the larger of their mean half an hour and three quarters before and after and
        of their mean in this quarter of the day,

            bits = sum over the account's bursts of min(log2((1 + r) / 2), 4),   r = (n + 0.1) / (e + 0.1)

        Waves that come every day at the same minute, as timed jobs do, count for nothing. Shape (accounts,), from -12
        to 12; 0 outside groups.
        """
        account, window, days = self._quarters
        inside = group[account] >= 0
        account, window = account[inside], window[inside]
        of = group[account]
        begin = of * (days * _QUARTERS + 8) + window + 4
        cells, number = np.unique(begin, return_counts=True)

        if not len(cells):
            return np.zeros(len(group))
        then, around = _around(cells, number, begin)
        cell = of * _QUARTERS + window % _QUARTERS
        daily = (np.bincount(cell)[cell] - 1) / days
        ratio = (then - 1 + _FEW) / (np.maximum(around, daily) + _FEW)
        milli = np.round(np.minimum(np.log2((1 + ratio) / 2), _ONE_BURST) * 1000)
        total = np.bincount(account, weights=milli, minlength=len(group)) / 1000
        return np.clip(total, -MOST_BITS, MOST_BITS)

    def common_waves(self, group: NDArray[np.int64], least: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pairs of accounts of one group that begin bursts in at least `least` common quarters; sorted, a < b.

        Quarters in which more than 512 accounts of the group begin one are left out.
        """
        from scipy.sparse import csr_array

        account, window, days = self._quarters
        inside = group[account] >= 0
        names, row = np.unique(account[inside], return_inverse=True)
        cells, column = np.unique(group[account[inside]] * (days * _QUARTERS) + window[inside], return_inverse=True)
        if not len(names):
            return names, names
        few = np.bincount(column)[column] <= _WIDEST_WAVE
        row, column = row[few], column[few]
        incidence = csr_array((np.ones(len(row), np.int32), (row, column)), shape=(len(names), len(cells)))
        common = (incidence @ incidence.T).tocoo()
        keep = (common.row < common.col) & (common.data >= least)
        a, b = names[common.row[keep]], names[common.col[keep]]
        order = np.lexsort((b, a))
        return a[order], b[order]

    def waves_in_common(
        self, group: NDArray[np.int64], least: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Pairs of groups with at least `least` waves in common, a < b, sorted, and the bits -log2 P(Poisson(e) >= common).

        A wave of a group is a quarter of an hour in which two or more of its members begin a burst. e is what timetables
        give: with x the pairs of a wave of a and one of b at the same quarter of two different days, x / (days - 1) over the
        days on which both have waves; the same by weeks; and what falls together when both are spread evenly. The largest
        of the three. Quarters in which more than 512 groups have a wave are left out. Groups are compared when each has
        `least` waves.
        """
        from scipy.sparse import csr_array

        none = np.zeros(0, np.int64)
        account, slot = self.begins
        inside = group[account] >= 0
        if not inside.any():
            return none, none, np.zeros(0)
        quarter = slot[inside] // (_DAY // _QUARTERS)
        quarter -= int(quarter.min()) // _QUARTERS * _QUARTERS
        span = int(quarter.max()) + 1
        cells, begun = np.unique(group[account[inside]] * span + quarter, return_counts=True)
        of, wave = np.divmod(cells[begun > 1], span)
        for _ in range(2):
            kept = (np.bincount(wave, minlength=1)[wave] <= _WIDEST_WAVE) & (np.bincount(of, minlength=1)[of] >= least)
            of, wave = of[kept], wave[kept]
        names, row = np.unique(of, return_inverse=True)
        if len(names) < 2:
            return none, none, np.zeros(0)

        def incidence(column: NDArray[np.int64], width: int) -> csr_array:
            return csr_array((np.ones(len(row), np.int64), (row, column)), shape=(len(names), width))

        waves = incidence(wave, span)
        both = (waves @ waves.T).tocoo()
        kept = (both.row < both.col) & (both.data >= least)
        a, b, common = both.row[kept].astype(np.int64), both.col[kept].astype(np.int64), both.data[kept]
        number = np.bincount(row)
        first, last = np.full(len(names), span), np.zeros(len(names), np.int64)
        np.minimum.at(first, row, wave)
        np.maximum.at(last, row, wave)
        start, stop = np.maximum(first[a], first[b]), np.minimum(last[a], last[b])
        usual = number[a] * number[b] / (stop - start + 1)
        for period in (_QUARTERS, 7 * _QUARTERS):
            timetable = incidence(wave % period, period)
            same = _common(timetable, a, b)
            periods = stop // period - start // period
            usual = np.maximum(usual, np.where(periods > 0, (same - common) / np.maximum(periods, 1), 0.0))
        bits = -np.log2(np.maximum(poisson_tail(common, usual), 1e-300))
        order = np.lexsort((b, a))
        return names[a[order]], names[b[order]], bits[order].round(3)

    def shifted(self, of: NDArray[np.bool_], seed: int) -> Activity:
        """The activity of some accounts, each account's moved by a number of whole days of its own, and wrapped around: its
        rate and the shape of its day stay, what it did together with others does not (Amarasingham et al. 2012).

        of: which accounts, shape (accounts,). Days on which none of them sends a request are left out of the calendar, so
        that one wrong date does not carry everybody away. Not kept: days of the week.
        """
        keep = of[self.account]
        account, requests = self.account[keep], self.requests[keep]
        day, time = np.divmod(self.slot[keep], _DAY)
        calendar, at = np.unique(day, return_inverse=True)
        by = np.random.default_rng([seed, 2]).integers(0, max(len(calendar), 1), self.accounts)
        slot = calendar[(at + by[account]) % max(len(calendar), 1)] * _DAY + time
        order = np.lexsort((slot, account))
        return Activity(account[order], slot[order], requests[order], self.accounts)

    @cached_property
    def _quarters(self) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """Account and quarter of an hour of the beginning of every burst, and the number of days.

        Days on which nobody begins a burst are left out, so that one wrong date does not stretch the calendar.
        """
        account, slot = self.begins
        day = slot // _DAY
        day -= day.min(initial=_LAST_DAY)
        some = np.bincount(day) > 0
        quarter = slot % _DAY // (_DAY // _QUARTERS)
        return account, (np.cumsum(some) - 1)[day] * _QUARTERS + quarter, int(some.sum())

    @cached_property
    def _span(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First and last slot of each account; 0 for accounts without requests."""
        first = np.zeros(self.accounts, np.int64)
        last = np.zeros(self.accounts, np.int64)
        last[self.account] = self.slot
        first[self.account[::-1]] = self.slot[::-1]
        return first, last


def _windows(account: NDArray[np.int64], slot: NDArray[np.int64], accounts: int) -> list[csr_array]:
    """Account x window incidence of beginnings (sorted by account, then slot), one matrix a window length."""
    from scipy.sparse import csr_array

    found = []
    for minutes in WINDOWS_MINUTES:
        window = slot // (minutes // SLOT_MINUTES)
        window -= window.min()
        # compressed rows as they stand, once equal windows are one
        new = changes(account, window)
        starts = np.concatenate([[0], np.cumsum(np.bincount(account[new], minlength=accounts))])
        shape = (accounts, int(window.max()) + 1)
        found.append(csr_array((np.ones(int(starts[-1]), np.int32), window[new], starts), shape=shape))
    return found


def _timetables(account: NDArray[np.int64], slot: NDArray[np.int64], accounts: int) -> list[dict[int, csr_array]]:
    """For each window length, by period in slots: account x window of the period, in how many periods it begins."""
    from scipy.sparse import csr_array

    found = []
    for minutes in WINDOWS_MINUTES:
        window = minutes // SLOT_MINUTES
        at = slot // window
        new = changes(account, at)
        who, at = account[new], at[new]
        each: dict[int, csr_array] = {}
        for period in (_DAY, 7 * _DAY):
            columns = period // window
            each[period] = csr_array((np.ones(len(who), np.int32), (who, at % columns)), shape=(accounts, columns))
        found.append(each)
    return found


def _common(matrix: csr_array, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
    """Columns that rows a and b have in common."""
    found: NDArray[np.float64] = np.asarray(matrix[a].multiply(matrix[b]).sum(axis=1)).ravel().astype(np.float64)
    return found


def _around(
    cells: NDArray[np.int64], number: NDArray[np.int64], cell: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The number that belongs to each cell, and the mean of those half an hour and three quarters before and after; 0 for
    cells not among the sorted `cells`."""
    then, around = np.zeros(len(cell), np.int64), np.zeros(len(cell), np.int64)
    if not len(cells):
        return then, around / 4
    # searched for once: the place of the next cell is one further on, if this one is there
    at = np.searchsorted(cells, cell - 3)
    last = len(cells) - 1
    for lag in range(-3, 4):
        here = np.minimum(at, last)
        there = cells[here] == cell + lag
        if lag == 0:
            then = np.where(there, number[here], 0)
        elif abs(lag) > 1:
            around += np.where(there, number[here], 0)
        at += there
    return then, around / 4


_WEEK = np.repeat([7 / 5, 7 / 2], 24)
"""One over the share of days that are working days, and weekend days: a habit's windows per day of both accounts."""


def read_activity(requests: pl.DataFrame, accounts: int) -> Activity:
    """The activity of every account: `requests` as links.read_links gives them, of a graph of so many accounts."""
    account, slot, number = (requests[c].to_numpy().astype(np.int64) for c in ("account", "slot", "requests"))
    return Activity(account, slot, number, accounts)
