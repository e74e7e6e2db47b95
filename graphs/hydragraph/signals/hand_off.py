"""Whether another member takes over when one meets a rate limit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hydragraph.limits import Limits
from hydragraph.runs import changes, spread
from hydragraph.signals.signal import Measured, Signal
from hydragraph.signals.view import View
from hydragraph.tails import binomial_tail

_MINUTE = 60 * 100
_DAY = 24 * 60 * _MINUTE
_WITHIN = 10 * _MINUTE
_MINUTES_AWAY = (30, 40, 50)
_DAYS_AWAY = tuple(d for d in range(-7, 8) if d)
_WEEKS_AWAY = tuple(7 * w for w in range(-4, 5) if w)
_BURSTS_AWAY = 5
_LEAST = 2
_MOST = 0.5
_SMOOTH = 1.0


@dataclass(frozen=True)
class HandOffs:
    """Figures of each group; shape (groups,) each.

    tried: limits that could be followed. followed: beginnings that followed one. compared: as many by each of the four
    comparisons, shape (4, groups), NaN where nothing could be compared. p_value: how often chance gives as many.
    """

    tried: NDArray[np.int64]
    followed: NDArray[np.int64]
    compared: NDArray[np.float64]
    p_value: NDArray[np.float64]

    @property
    def expected(self) -> NDArray[np.float64]:
        """The largest of what the comparisons give."""
        largest: NDArray[np.float64] = np.fmax.reduce(self.compared, axis=0)
        return largest


def hand_offs(limits: Limits, group: NDArray[np.int64], groups: int) -> HandOffs:
    """How often another account of the group begins a burst within ten minutes after one met a limit and gave way.

    group: of each burst of `limits`, -1 for none. A limit is tried if nobody else of the group began a burst in the ten
    minutes before it, bursts left out that had met a limit and given way before this one began: what many begin together
    is no hand-over, a chain from account to account is. Of several limits that one beginning follows, one counts.

    What would follow anyway is found in four ways: half an hour to an hour before the burst and after the limit; at the
    same time up to 7 days away, and up to 4 weeks away, within the days on which the group is active; and as long after
    the beginning of the 5 bursts of the account before this one and the 5 after it that no limit ended, where they are as
    quiet. Each gives an expected number, and a binomial tail of the followed among all followed: the largest counts.
    """
    line = _line(limits, group, groups)
    tried_at = np.flatnonzero(group[limits.burst] >= 0)
    burst, at = limits.burst[tried_at], limits.at[tried_at]
    quiet = line.others_before(burst, at) == _gave_way(line, burst, at)
    burst, at = burst[quiet], at[quiet]
    mine, begun = group[burst], limits.begun[burst]
    tried = np.bincount(mine, minlength=groups)
    followed = _each_once(line, line.next_other(burst, at), groups)

    around = [at + m * _MINUTE for m in _MINUTES_AWAY] + [begun - m * _MINUTE - _WITHIN for m in _MINUTES_AWAY]
    families = [around, *([at + d * _DAY for d in away] for away in (_DAYS_AWAY, _WEEKS_AWAY))]
    compared = []
    for times in families:
        chances, elsewhere = np.zeros(groups, np.int64), np.zeros(groups, np.int64)
        for when in times:
            active = (when >= line.opens[mine]) & (when + _WITHIN <= line.closes[mine])
            chances += np.bincount(mine[active], minlength=groups)
            elsewhere += _each_once(line, line.next_other(burst[active], when[active]), groups)
        compared.append((chances, elsewhere))
    limit, other = _other_bursts(limits, burst)
    when = limits.begun[other] + (at - begun)[limit]
    quiet = line.others_before(other, when) == 0
    other, when = other[quiet], when[quiet]
    follows = other[line.next_other(other, when) >= 0]
    compared.append((np.bincount(group[other], minlength=groups), np.bincount(group[follows], minlength=groups)))

    expected, p_value = [], np.full(groups, np.nan)
    for chances, elsewhere in compared:
        known = (chances > 0) & (tried > 0)
        share = tried / np.maximum(tried + chances, 1)
        expected.append(np.where(known, elsewhere * tried / np.maximum(chances, 1), np.nan))
        p_value = np.fmax(p_value, np.where(known, binomial_tail(followed, followed + elsewhere, share), np.nan))
    return HandOffs(tried, followed, np.array(expected), p_value)


@dataclass(frozen=True)
class _Line:
    """The beginnings of all groups on one line of time, each group far from the next.

    limits, group: as given. at: where on the line each beginning stands, sorted. burst: which it is. run_ends: where the
    run of beginnings of one account ends. base: where the line of each group begins. opens, closes: first and last moment
    of the days on which a group begins any, shape (groups,).
    """

    limits: Limits
    group: NDArray[np.int64]
    at: NDArray[np.int64]
    burst: NDArray[np.int64]
    run_ends: NDArray[np.int64]
    base: NDArray[np.int64]
    opens: NDArray[np.int64]
    closes: NDArray[np.int64]

    def next_other(self, burst: NDArray[np.int64], when: NDArray[np.int64]) -> NDArray[np.int64]:
        """For bursts and times the first beginning of another account of the group in the ten minutes after it; -1: none."""
        mine, last = self.group[burst], len(self.at) - 1
        time = self.base[mine] + when
        found = np.searchsorted(self.at, time, "right")
        here = self.burst[np.minimum(found, last)]
        own = (self.group[here] == mine) & (self.limits.account[here] == self.limits.account[burst])
        found = np.where(own & (found <= last), self.run_ends[np.minimum(found, last)], found)
        here = np.minimum(found, last)
        # the next group is a day off
        soon = (found <= last) & (self.at[here] <= time + _WITHIN)
        return np.where(soon, here, -1)

    def others_before(self, burst: NDArray[np.int64], when: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many others of the group began in the ten minutes before so many times in bursts."""
        time = self.base[self.group[burst]] + when
        number = np.searchsorted(self.at, time, "right") - np.searchsorted(self.at, time - _WITHIN, "left")
        # no account begins two bursts within an hour
        before: NDArray[np.int64] = number - (self.limits.begun[burst] >= when - _WITHIN)
        return before


def _line(limits: Limits, group: NDArray[np.int64], groups: int) -> _Line:
    inside = np.flatnonzero(group >= 0)
    begun, account = limits.begun[inside], limits.account[inside]
    order = np.lexsort((account, begun, group[inside]))
    inside, begun, account = inside[order], begun[order], account[order]
    low = int(limits.begun.min(initial=np.iinfo(np.int64).max)) - _DAY
    span = int(max(limits.begun.max(initial=0), limits.at.max(initial=0))) - low + 2 * _DAY
    base = np.arange(groups) * span - low
    new = np.flatnonzero(changes(group[inside], account)) if len(inside) else inside
    lengths = np.diff(np.append(new, len(inside)))
    opens, closes = np.full(groups, np.iinfo(np.int64).max), np.zeros(groups, np.int64)
    np.minimum.at(opens, group[inside], begun // _DAY * _DAY)
    np.maximum.at(closes, group[inside], (begun // _DAY + 1) * _DAY)
    return _Line(
        limits, group, base[group[inside]] + begun, inside, np.repeat(new + lengths, lengths), base, opens, closes
    )


def _each_once(line: _Line, found: NDArray[np.int64], groups: int) -> NDArray[np.int64]:
    """Beginnings found, each once, by group."""
    return np.bincount(line.group[line.burst[np.unique(found[found >= 0])]], minlength=groups)


def _gave_way(line: _Line, burst: NDArray[np.int64], at: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many others of the group began in the ten minutes before each limit and gave way before its burst began."""
    begun, account = line.limits.begun[burst], line.limits.account[burst]
    time = line.base[line.group[burst]] + at
    order = np.lexsort((burst, time))
    first = np.searchsorted(time[order], time - _WITHIN, "left")
    number = np.searchsorted(time[order], time, "right") - first
    # where no more met a limit than began, somebody began who did not
    some = np.flatnonzero((number > 1) & (number > line.others_before(burst, at)))
    limit, other = np.repeat(some, number[some]), order[spread(first[some], number[some])]
    gone = (account[other] != account[limit]) & (begun[other] >= at[limit] - _WITHIN) & (at[other] <= begun[limit])
    return np.bincount(limit[gone], minlength=len(burst))


def _other_bursts(limits: Limits, burst: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of a limit and one of the bursts of its account around it that no limit ended."""
    free = np.setdiff1d(np.arange(len(limits.account)), limits.burst, assume_unique=True)
    next_one = np.searchsorted(free, burst)
    pairs = []
    for step in range(-_BURSTS_AWAY, _BURSTS_AWAY):
        place = next_one + step
        limit = np.flatnonzero((place >= 0) & (place < len(free)))
        other = free[place[limit]]
        same = limits.account[other] == limits.account[burst[limit]]
        pairs.append((limit[same], other[same]))
    return np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs])


def _hand_off(view: View) -> Measured | None:
    """(followed + 1) / (expected + 1); NaN with fewer than two limits tried, or where half of them or more are expected.

    One is added to both, so that a single limit followed by luck is no more than twice what nothing gives. One limit can
    pass no test, nor can any number where somebody begins in every other ten minutes anyway. Baseline: the same figure
    for the accounts looked at outside the clusters, dealt into groups of the median size, all of them together: what
    strangers show, for whom there is no other reason than hours, outages and the habits of programs. (Of one group the
    largest of four figures counts, of all together the comparison that gives most, so that luck does not add up.)
    """
    limits = view.limits
    if not len(limits.at):
        return None
    label = view.clusters.label
    found = hand_offs(limits, label[limits.account], view.count)
    value = (found.followed + _SMOOTH) / (found.expected + _SMOOTH)
    enough = (found.tried >= _LEAST) & (found.expected < _MOST * found.tried)
    if not enough.any():
        return None
    names, rank = np.unique(limits.account, return_inverse=True)
    loose = label[names] < 0
    groups = max(1, round(int(loose.sum()) / float(np.median(view.size))))
    dealt = np.where(loose, np.cumsum(loose) % groups, -1)
    others = hand_offs(limits, dealt[rank], groups)
    usual = float(np.nansum(others.compared, axis=1).max())
    baseline = (int(others.followed.sum()) + _SMOOTH) / (usual + _SMOOTH)
    return Measured(np.where(enough, value, np.nan), baseline, np.where(enough, found.p_value, np.nan))


HAND_OFF = Signal(
    name="hand_off",
    title="Hand-over after limits",
    definition=(
        "How often another member begins a burst of requests within ten minutes after one met a rate limit (status 429) and"
        " gave way, relative to how often one does so half an hour to an hour away and at the same time of other days and"
        " weeks; a burst begins after an hour of silence."
    ),
    suggests=(
        "After a rate limit another member takes over within ten minutes {value} times as often as the members' hours give;"
        " in groups of other accounts {baseline} times."
    ),
    look_alike="One person who goes on with a second account, a firm whose programs try a second key or account.",
    measure=_hand_off,
    percent=False,
)
