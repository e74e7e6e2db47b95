"""Bursts and synchrony, on calendars a reader can hold in the head."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import poisson

from hydragraph.activity import MOST_BITS, Activity

HOUR = 12  # slots of five minutes
DAY = 24 * HOUR
MONDAY = 4 * DAY  # 1970-01-05


def activity(*calendars: list[int]) -> Activity:
    """One account a calendar; each entry is a slot with one request."""
    rows = sorted({(i, slot) for i, slots in enumerate(calendars) for slot in slots})
    account, slot = (np.array([r[k] for r in rows], np.int64) for k in (0, 1))
    return Activity(account, slot, np.ones(len(rows), np.int64), len(calendars))


def test_a_burst_begins_after_an_hour_of_silence() -> None:
    # requests at 9:00, 9:05 and 9:50, then 10:55: 65 minutes later a new burst
    at = MONDAY + 9 * HOUR
    account, slot = activity([at, at + 1, at + 10, at + 23]).begins
    assert account.tolist() == [0, 0]
    assert slot.tolist() == [at, at + 23]


def test_hours_count_requests_by_hour_of_day() -> None:
    table = activity([MONDAY + 9 * HOUR, MONDAY + DAY + 9 * HOUR + 5], [MONDAY]).hours(np.array([0]))
    assert table.shape == (1, 24)
    assert np.flatnonzero(table[0]).tolist() == [9]
    assert table[0, 9] == 2


def test_two_accounts_that_begin_together_at_odd_hours_are_worth_what_the_formula_says() -> None:
    # five working days, each day both begin once, at the same five minutes of a different hour
    begins = [MONDAY + d * DAY + (3 + 4 * d) * HOUR for d in range(5)]
    pair = activity(begins, begins)
    # each has one burst in each of five hours of the day; smoothed, half stays and a quarter goes to each neighbour
    same_hour = 5 * (0.5**2 + 0.25**2 + 0.25**2)
    # both are in use for the days from the first burst to the last and one more; 7/5 of a working day's windows
    days = (begins[-1] - begins[0]) / DAY + 1
    mean = same_hour * 7 / 5 / days
    best = max(-2 - 0.5 * np.log2(poisson.sf(4, mean * minutes / 60)) for minutes in (15, 60))
    got = pair.together(np.array([0]), np.array([1]))
    assert got.tolist() == pytest.approx([min(best, MOST_BITS)], abs=0.01)
    assert got[0] > 5


def test_colleagues_who_all_begin_at_nine_owe_it_to_their_habits() -> None:
    # twenty working days, anywhere between nine and ten
    rng = np.random.default_rng(1)
    weeks = [MONDAY + 7 * w * DAY + d * DAY + 9 * HOUR for w in range(4) for d in range(5)]
    people = [[at + int(rng.integers(0, HOUR)) for at in weeks] for _ in range(2)]
    assert activity(*people).together(np.array([0]), np.array([1]))[0] < 1


def test_two_accounts_on_one_timetable_owe_it_to_the_timetable() -> None:
    # twenty days, both begin at 3:35: 20 in common, 20 * 19 pairs on two different days, over 19 days: 20 are usual
    daily = [MONDAY + d * DAY + 3 * HOUR + 7 for d in range(20)]
    assert activity(daily, daily).together(np.array([0]), np.array([1])).tolist() == [0.0]
    # six Mondays, another minute of the week each: nothing repeats, and the same six moments tell
    weekly = [MONDAY + 7 * w * DAY + 3 * HOUR + 7 for w in range(6)]
    assert activity(weekly, weekly).together(np.array([0]), np.array([1])).tolist() == [0.0]
    scattered = [MONDAY + 8 * w * DAY + (2 + 3 * w) * HOUR + 7 for w in range(6)]
    assert activity(scattered, scattered).together(np.array([0]), np.array([1]))[0] > 5


def test_a_single_common_beginning_says_nothing() -> None:
    assert activity([MONDAY], [MONDAY]).together(np.array([0]), np.array([1])).tolist() == [0.0]


def test_an_account_that_begins_with_the_waves_of_a_group_joins_in_and_another_does_not() -> None:
    rng = np.random.default_rng(2)
    waves = [MONDAY + d * DAY + int(rng.integers(0, 24)) * HOUR for d in range(20)]
    members = [waves] * 6
    # the same hours of the day, each a day later than the group
    other = [slot + DAY for slot in waves]
    calendar = activity(*members, waves, other)
    group = np.array([0] * 6 + [-1, -1])
    joins, apart = calendar.joins_in(group, np.array([6, 7]), np.array([0, 0]))
    assert joins == MOST_BITS
    assert apart < -2


def test_groups_keep_step_only_when_their_days_agree() -> None:
    rng = np.random.default_rng(3)

    def days() -> list[int]:
        return [MONDAY + d * DAY + int(h) * HOUR for d in range(30) for h in rng.choice(24, 4, replace=False)]

    same, elsewhere = days(), days()
    calendar = activity(same, same, elsewhere)
    group = np.array([0, 1, 2])
    together, apart = calendar.in_step(group, np.array([0, 0]), np.array([1, 2]))
    assert together > 6
    assert abs(apart) < 4


def test_groups_have_waves_in_common_as_the_formula_says() -> None:
    # two groups of two: eight quarters of an hour on eight days, never the same quarter of the day twice
    waves = [MONDAY + d * DAY + (1 + 2 * d) * HOUR for d in range(8)]
    # a third group keeps the same hours of the day, but on other days
    later = [MONDAY + ((d + 3) % 8) * DAY + (1 + 2 * d) * HOUR for d in range(8)]
    calendar = activity(waves, waves, waves, waves, later, later)
    a, b, bits = calendar.waves_in_common(np.array([0, 0, 1, 1, 2, 2]), 6)
    assert list(zip(a.tolist(), b.tolist(), strict=True)) == [(0, 1)]
    # no timetable; spread evenly, 8 * 8 pairs over the quarters from the first wave to the last
    quarters = (waves[-1] - waves[0]) // 3 + 1
    assert bits[0] == pytest.approx(-np.log2(poisson.sf(7, 64 / quarters)), abs=0.001)


def test_waves_at_the_same_minute_of_every_day_or_week_are_a_timetable() -> None:
    daily = [MONDAY + d * DAY + 7 * HOUR for d in range(10)]
    weekly = [MONDAY + 7 * w * DAY + 7 * HOUR for w in range(10)]
    for calendar in (daily, weekly):
        _, _, bits = activity(*[calendar] * 4).waves_in_common(np.array([0, 0, 1, 1]), 6)
        # ten in common where ten are usual
        assert bits[0] == pytest.approx(-np.log2(poisson.sf(9, 10)), abs=0.001)


def test_a_burst_of_one_member_is_no_wave_and_five_waves_are_too_few() -> None:
    waves = [MONDAY + d * DAY + (1 + 2 * d) * HOUR for d in range(6)]
    alone = activity(waves, waves, waves, [])
    assert alone.waves_in_common(np.array([0, 0, 1, 1]), 6)[0].tolist() == []
    few = activity(*[waves[:5]] * 4)
    assert few.waves_in_common(np.array([0, 0, 1, 1]), 6)[0].tolist() == []
    assert few.waves_in_common(np.array([0, 0, 1, 1]), 5)[0].tolist() == [0]


def test_two_wrong_dates_a_century_apart_stretch_nothing() -> None:
    # thirty days of work, and two accounts whose only request is said to be of 1990 and of 2099
    rng = np.random.default_rng(4)
    waves, others = ([MONDAY + d * DAY + int(h) * HOUR for d in range(30) for h in rng.choice(24, 4)] for _ in range(2))
    then = 20_000 * DAY
    shifted = [[slot + then for slot in slots] for slots in (waves, waves, others, waves)]
    calendar = activity(*shifted, [7305 * DAY], [47_480 * DAY])
    group = np.array([0, 1, 2, -1, -1, -1])
    together, apart = calendar.in_step(group, np.array([0, 0]), np.array([1, 2]))
    assert together > 6
    assert abs(apart) < 4
    joins, stranger = calendar.joins_in(group, np.array([3, 4]), np.array([0, 0]))
    assert joins == MOST_BITS
    assert stranger < 1


def test_without_events_there_is_nothing_to_say() -> None:
    empty = activity([], [])
    assert empty.together(np.array([0]), np.array([1])).tolist() == [0.0]
    assert empty.in_step(np.array([0, 1]), np.array([0]), np.array([1])).tolist() == [0.0]
    assert empty.joins_in(np.array([0, -1]), np.array([1]), np.array([0])).tolist() == [0.0]
