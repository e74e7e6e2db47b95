"""Hand-overs after rate limits, on calendars a reader can hold in the head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hand import graph_of
from hydragraph.activity import read_activity
from hydragraph.evidence import weigh
from hydragraph.limits import Limits, read_limits
from hydragraph.links import TICKS
from hydragraph.settings import Settings
from hydragraph.signals import SIGNALS, Measured, View
from hydragraph.signals.hand_off import HandOffs, hand_offs
from hydragraph.signals.view import HOURS
from written import clusters_of

MINUTE = 6000
DAY = 24 * 60
START = 20_000 * DAY * MINUTE

Bursts = Mapping[str, Sequence[float]]
"""Account (one letter) -> minutes at which its bursts begin."""
Met = Mapping[str, Sequence[tuple[float, float]]]
"""Account -> bursts that met a limit: when the burst began, and when the limit was met."""


def limits_of(bursts: Bursts, met: Met) -> Limits:
    """Limits of the accounts a, b, ... z with codes 0, 1, ... 25."""
    rows = sorted((ord(a) - 97, begun) for a, all_begun in bursts.items() for begun in all_begun)
    limited = sorted((rows.index((ord(a) - 97, begun)), at) for a, pairs in met.items() for begun, at in pairs)
    account, begun = np.array(rows, float).reshape(-1, 2).T
    burst, at = np.array(limited, float).reshape(-1, 2).T
    times = [(START + t * MINUTE).round().astype(np.int64) for t in (begun, at)]
    return Limits(account.astype(np.int64), times[0], burst.astype(np.int64), times[1])


def found(bursts: Bursts, met: Met, *groups: str) -> HandOffs:
    """The hand-overs of groups of accounts, each a text of letters."""
    limits = limits_of(bursts, met)
    number = np.full(26, -1, np.int64)
    for i, group in enumerate(groups):
        number[[ord(a) - 97 for a in group]] = i
    return hand_offs(limits, number[limits.account], len(groups))


# --- which bursts met a limit and gave way


def requests_of(rows: Sequence[tuple[int, int, int, int]]) -> pl.DataFrame:
    types = (pl.UInt32, pl.Int32, pl.Int64, pl.UInt16)
    schema = dict(zip(("account", "slot", "requests", "first"), types, strict=True))
    return pl.DataFrame(rows, schema=schema, orient="row")


def read(requests: Sequence[tuple[int, int, int, int]], limits: Sequence[tuple[int, int, int, int]]) -> Limits:
    frame = requests_of(requests)
    return read_limits(requests_of(limits), frame, read_activity(frame, 3))


def test_only_the_first_refusal_of_a_burst_counts_to_the_hundredth() -> None:
    # account 0: a burst in slots 100 and 101, refused twice; a second one a day later without a refusal
    got = read([(0, 100, 3, 700), (0, 101, 2, 5), (0, 388, 1, 30)], [(0, 100, 2, 900), (0, 101, 2, 5)])
    assert got.account.tolist() == [0, 0]
    assert got.begun.tolist() == [100 * TICKS + 700, 388 * TICKS + 30]
    assert got.burst.tolist() == [0]
    assert got.at.tolist() == [100 * TICKS + 900]


@pytest.mark.parametrize(
    ("after", "refused", "gave_way"),
    [
        ([], [], True),
        ([(1, 101, 4, 0)], [(1, 101, 4, 0)], True),  # it knocks, and nobody opens
        ([(1, 101, 4, 0)], [(1, 101, 3, 0)], False),  # one of four was answered
        ([(1, 102, 1, 0)], [], False),
        ([(1, 103, 1, 0)], [], True),  # ten minutes on
    ],
)
def test_an_account_gives_way_when_nothing_it_sends_in_the_next_ten_minutes_is_answered(
    after: list[tuple[int, int, int, int]], refused: list[tuple[int, int, int, int]], gave_way: bool
) -> None:
    # accounts 0 and 2 work at the same time, and are answered
    others = [(i, slot, 1, 0) for i in (0, 2) for slot in (100, 101, 102)]
    got = read(sorted([*others, (1, 100, 2, 0), *after]), [(1, 100, 1, 200), *refused])
    assert got.at.tolist() == ([100 * TICKS + 200] if gave_way else [])


def test_without_refusals_there_are_no_limits_and_no_bursts() -> None:
    got = read([(0, 100, 3, 700)], [])
    assert [len(a) for a in (got.account, got.begun, got.burst, got.at)] == [0] * 4


def test_the_limits_of_some_accounts_keep_to_their_bursts() -> None:
    limits = limits_of({"a": [0], "b": [10, 500], "c": [20]}, {"a": [(0, 1)], "b": [(500, 502)], "c": [(20, 23)]})
    some = limits.of(np.array([False, True, True]))
    assert some.account.tolist() == [1, 1, 2]
    assert (some.begun[some.burst] - START).tolist() == [500 * MINUTE, 20 * MINUTE]
    assert (some.at - START).tolist() == [502 * MINUTE, 23 * MINUTE]


# --- who takes over

HOURS_OF_DAY = (3, 22, 8, 17, 12, 6)
ODD = [d * DAY + 60 * hour for d, hour in enumerate(HOURS_OF_DAY)]
"""A moment on each of six days, at another hour each day."""


def test_an_account_that_begins_minutes_after_each_limit_of_another_takes_over() -> None:
    got = found({"a": ODD, "b": [t + 8 for t in ODD]}, {"a": [(t, t + 5) for t in ODD]}, "ab")
    assert (got.tried.tolist(), got.followed.tolist(), got.expected.tolist()) == ([6], [6], [0.0])
    # nothing else begins: six times half an hour to an hour away for each of six limits make one of seven; on each of
    # the five other days one of six; no other week
    assert got.p_value.tolist() == pytest.approx([max(1 / 7, 1 / 6) ** 6])


@pytest.mark.parametrize(("after", "followed"), [(0, 0), (0.01, 1), (10, 1), (10.01, 0), (-3, None)])
def test_it_begins_after_the_limit_and_within_ten_minutes(after: float, followed: int | None) -> None:
    got = found({"a": [100], "b": [150 + after]}, {"a": [(100, 150)]}, "ab")
    # who began at the same moment or shortly before had not waited for the limit, which is then not tried at all
    assert got.tried.tolist() == [0 if followed is None or after == 0 else 1]
    assert got.followed.tolist() == [followed or 0]


def test_what_many_begin_together_is_no_hand_over_when_limits_follow_within_minutes() -> None:
    # five begin within two minutes at moments of no timetable; each meets a limit four minutes on
    waves = {a: [t + i / 2 for t in ODD] for i, a in enumerate("abcde")}
    limits = {a: [(t, t + 4) for t in begun] for a, begun in waves.items()}
    got = found(waves, limits, "abcde")
    assert (got.tried.tolist(), got.followed.tolist()) == ([0], [0])
    # nor when a late one begins a minute after the limits of the others
    assert found({**waves, "f": [t + 7 for t in ODD]}, limits, "abcdef").tried.tolist() == [0]


def test_a_chain_from_account_to_account_is_handed_over_at_each_step() -> None:
    # a is stopped after 3 minutes, b begins 2 later and is stopped after 3, c begins 2 later
    chain = {a: [t + 5 * i for t in ODD] for i, a in enumerate("abc")}
    stopped = {a: [(t, t + 3) for t in chain[a]] for a in "ab"}
    got = found(chain, stopped, "abc")
    assert (got.tried.tolist(), got.followed.tolist()) == ([12], [12])
    # were a not stopped, b and c would be two that begin within ten minutes
    assert found(chain, {"b": stopped["b"]}, "abc").tried.tolist() == [0]


def test_nobody_takes_over_from_itself() -> None:
    # a is stopped at 8:55 on the first day; on the other days it begins at 9:00, and b has never anything to do with it
    a = [480.0, *(d * DAY + 540.0 for d in range(1, 6))]
    got = found({"a": a, "b": [d * DAY + 1200 for d in range(6)]}, {"a": [(480, 535)]}, "ab")
    assert (got.tried.tolist(), got.followed.tolist(), got.expected.tolist()) == ([1], [0], [0.0])


def test_a_daily_timetable_gives_what_it_gives() -> None:
    # every day a is stopped at 9:05 and b begins at 9:08
    daily = [d * DAY + 540 for d in range(12)]
    got = found({"a": daily, "b": [t + 8 for t in daily]}, {"a": [(t, t + 5) for t in daily]}, "ab")
    assert (got.followed.tolist(), got.expected.tolist()) == ([12], [12.0])
    assert got.p_value[0] > 0.3


def test_a_weekly_timetable_does_so_too() -> None:
    mondays = [7 * d * DAY + 540 for d in range(9)]
    got = found({"a": mondays, "b": [t + 8 for t in mondays]}, {"a": [(t, t + 5) for t in mondays]}, "ab")
    assert (got.followed.tolist(), got.expected.tolist()) == ([9], [9.0])


def test_who_begins_around_the_limit_gives_what_would_follow_anyway() -> None:
    # b takes over 8 minutes after each limit of a; c begins 35 minutes after it, d 35 minutes before the burst of a
    moments = {"a": ODD, "b": [t + 13 for t in ODD], "c": [t + 40 for t in ODD], "d": [t - 35 for t in ODD]}
    limits = {"a": [(t, t + 5) for t in ODD]}
    got = found(moments, limits, "abcd")
    assert (got.tried.tolist(), got.followed.tolist()) == ([6], [6])
    # of the six times around each limit two are followed
    assert got.expected.tolist() == [6 * 2 / 6]


def test_hours_in_which_somebody_always_begins_can_tell_nothing() -> None:
    # on one day b to e begin by turns every ten minutes from 9 to 18 o'clock; a meets three limits on that day
    turns = {a: [540.0 + 40 * k + 10 * i for k in range(14) if k % 2 == 0] for i, a in enumerate("bcde")}
    turns |= {a: [580.0 + 80 * k + 10 * i for k in range(6)] for i, a in enumerate("fghi")}
    turns["a"] = [600.0, 780.0, 900.0]
    got = found(turns, {"a": [(t, t + 45) for t in turns["a"]]}, "abcdefghi")
    # somebody always began within ten minutes before: nothing could be told
    assert got.tried.tolist() == [0]


def test_a_beginning_follows_one_limit_at_most_and_a_limit_counts_once() -> None:
    # a, b and c meet the limit of their office together; one d begins after it, or d and e
    bursts = {"a": [0], "b": [30], "c": [60], "d": [205]}
    met = {"a": [(0, 200)], "b": [(30, 201)], "c": [(60, 202)]}
    assert found(bursts, met, "abcd").followed.tolist() == [1]
    assert found({**bursts, "e": [206]}, met, "abcde").followed.tolist() == [1]
    assert found({**bursts, "e": [206]}, {"a": [(0, 200)]}, "abcde").followed.tolist() == [1]


def test_groups_are_apart_and_accounts_without_one_do_not_count() -> None:
    bursts = {"a": [100], "b": [300], "c": [152], "d": [153], "e": [154]}
    met = {"a": [(100, 150)], "b": [(300, 301)]}
    got = found(bursts, met, "ab", "c", "de")
    assert (got.tried.tolist(), got.followed.tolist()) == ([2, 0, 0], [0, 0, 0])
    assert np.isnan(got.expected[1:]).all()
    assert found(bursts, met, "abd", "c").followed.tolist() == [1, 0]


def test_nobody_in_the_groups_met_a_limit() -> None:
    got = found({"a": [100], "b": [101]}, {"b": [(101, 103)]}, "a")
    assert got.tried.tolist() == [0]
    assert np.isnan(got.p_value).all()


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 40), st.integers(0, 200)), max_size=60))
def test_figures_keep_their_bounds_and_groups_apart(rows: list[tuple[str, int, int]]) -> None:
    # a burst every 65 minutes at the earliest; a limit up to an hour into it, or none
    bursts: dict[str, list[float]] = {}
    met: dict[str, list[tuple[float, float]]] = {}
    for (a, turn), limit in sorted({(a, t): m for a, t, m in rows}.items()):
        begun = 65.0 * turn + 7 * (ord(a) - 97)
        bursts.setdefault(a, []).append(begun)
        if limit < 60:
            met.setdefault(a, []).append((begun, begun + limit))
    if not met:
        return
    limits = limits_of(bursts, met)
    group = limits.account % 2
    got = hand_offs(limits, group, 2)
    assert (got.followed <= got.tried).all()
    known = got.tried > 0
    assert ((got.p_value[known] > 0) & (got.p_value[known] <= 1)).all()
    assert (got.expected[known] >= 0).all()
    # who the groups are makes no difference to a group
    alone = hand_offs(limits, np.where(group == 1, 0, -1), 1)
    for one, both in zip(vars(alone).values(), vars(got).values(), strict=True):
        np.testing.assert_array_equal(one, both[..., 1:])


def crowd(rng: np.random.Generator, accounts: int, waves: bool) -> tuple[Limits, NDArray[np.int64]]:
    """Accounts that keep office hours on working days of six weeks, or begin in waves by fives; one burst in three meets a
    limit within minutes. Groups of five."""
    group = np.arange(accounts) // 5
    rows = []
    for day in (d for d in range(42) if d % 7 < 5):
        wave = rng.uniform(0, 23.5 * 60, accounts // 5)[group] + rng.exponential(1, accounts)
        alone = np.clip(rng.normal(13 * 60, 150, accounts), 0, 1410)
        rows.append(np.stack([np.arange(accounts), day * DAY + (wave if waves else alone)], axis=1))
    account, begun = np.concatenate(rows)[np.lexsort(np.concatenate(rows).T[::-1])].T
    burst = np.flatnonzero(rng.random(len(begun)) < 1 / 3)
    at = begun[burst] + rng.exponential(4, len(burst))
    times = [(START + t * MINUTE).astype(np.int64) for t in (begun, at)]
    return Limits(account.astype(np.int64), times[0], burst, times[1]), group


@pytest.mark.parametrize("waves", [False, True])
def test_who_only_keeps_the_same_hours_or_begins_in_waves_is_below_the_levels_of_the_test(waves: bool) -> None:
    limits, group = crowd(np.random.default_rng(5), 1000, waves)
    got = hand_offs(limits, group[limits.account], 200)
    assert got.tried.sum() > 100
    p = got.p_value[got.tried >= 2]
    assert (p < 0.05).mean() < 0.1
    assert p.min() > 1e-4


# --- the signal


def view_of(bursts: Bursts, met: Met, *groups: str) -> View:
    limits = limits_of(bursts, met)
    graph = graph_of({}, also=[chr(97 + i) for i in range(26)])
    label = np.full(26, -1, np.int64)
    for i, group in enumerate(groups):
        label[[ord(a) - 97 for a in group]] = i
    none = np.zeros(0, np.int64)
    return View(
        graph, weigh(graph, Settings()), clusters_of(label), np.zeros((0, HOURS), np.int64), none, (none, none), limits
    )


def measured(view: View) -> Measured:
    got = SIGNALS["hand_off"].measure(view)
    assert got is not None
    return got


def test_the_value_is_followed_over_expected_with_one_added_to_both() -> None:
    bursts = {"a": ODD, "b": [t + 8 for t in ODD], "c": [0], "d": [3], "x": ODD, "y": [t + 300 for t in ODD]}
    met = {"a": [(t, t + 5) for t in ODD], "c": [(0, 1)], "x": [(t, t + 5) for t in ODD]}
    got = measured(view_of(bursts, met, "ab", "cd", "ef"))
    assert got.p_value is not None
    # one limit can pass no test, and e and f met none
    assert got.value.tolist() == pytest.approx([(6 + 1) / (0 + 1), np.nan, np.nan], nan_ok=True)
    assert got.p_value.tolist() == pytest.approx([6.0**-6, np.nan, np.nan], nan_ok=True)
    # of the others x meets limits and y does not take over
    assert got.baseline == 1


def test_the_baseline_is_what_groups_of_other_accounts_show() -> None:
    # v to z are five accounts outside; in groups of the usual size, two of them, v takes over from x and w from y
    bursts = {"a": [0, 500], "b": [5000], "v": ODD, "x": [t + 8 for t in ODD]}
    met = {"a": [(0, 1), (500, 501)], "v": [(t, t + 5) for t in ODD]}
    got = measured(view_of(bursts, met, "ab"))
    assert got.value.tolist() == [1]
    assert got.baseline == 7


def test_where_somebody_begins_in_every_other_ten_minutes_nothing_can_be_told() -> None:
    daily = [d * DAY + 540 for d in range(12)]
    bursts, met = {"a": daily, "b": [t + 8 for t in daily]}, {"a": [(t, t + 5) for t in daily]}
    assert SIGNALS["hand_off"].measure(view_of(bursts, met, "ab")) is None
    half = {**bursts, "b": [t + 8 for t in daily[::2]]}
    # six limits are followed; on other days as many of the tries
    got = found(half, met, "ab")
    assert got.expected[0] < 0.6 * 12


def test_a_source_without_a_status_has_no_such_signal() -> None:
    assert SIGNALS["hand_off"].measure(view_of({}, {}, "ab")) is None
