"""Bursts and synchrony, on calendars a reader can hold in the head."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import poisson

from hydragraph.activity import MOST_BITS, Activity, Bursts
from hydragraph.joining import IN_STEP, IN_TIME

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


def test_bursts_of_a_pair_say_the_same_without_the_others() -> None:
    rng = np.random.default_rng(4)
    common = [rng.integers(0, 60 * DAY, 15) for _ in range(4)]
    calendars = [
        np.concatenate([common[i % 4][:: 1 + i % 3], rng.integers(0, 60 * DAY, i)]).tolist() for i in range(12)
    ]
    people = activity(*calendars)
    a, b = np.triu_indices(12, k=1)
    whole = people.together(a, b)
    assert (whole > 0).sum() > 5
    bursts = people.bursts
    for i, j, bits in zip(a.tolist(), b.tolist(), whole.tolist(), strict=True):
        # numbered anew, j before i
        at = [np.flatnonzero(bursts.account == x) for x in (j, i)]
        account = np.repeat([0, 1], [len(x) for x in at])
        two = Bursts(account, bursts.slot[np.concatenate(at)], bursts.first[[j, i]], bursts.last[[j, i]])
        assert two.together(np.array([1]), np.array([0])).tolist() == [bits]


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


def test_the_bits_of_joining_in_are_what_the_formula_says() -> None:
    # a group of three over four days: two begin at noon of the first day, one at noon of the second
    noon = MONDAY + 12 * HOUR
    days = 4
    calendar = activity(
        [noon, noon + 3 * DAY + 3 * HOUR],
        [noon],
        [noon + DAY],
        [noon],
        [noon + DAY],
        [noon + 2 * DAY],
        [noon + 6 * HOUR],
    )
    group = np.array([0, 0, 0, -1, -1, -1, -1])
    found = calendar.joins_in(group, np.array([3, 4, 5, 6]), np.zeros(4, np.int64))
    # three at this quarter in four days, none in the quarters beside it
    usual = (0 + 3 / days + 0) / 3 + 1 / days

    def bits(begun: int, usual: float) -> float:
        return np.log2((1 + (begun + 1 / days) / usual) / 2)

    assert found.tolist() == pytest.approx(
        [bits(2, usual), bits(1, usual), bits(0, usual), bits(0, 1 / days)], abs=0.001
    )


def test_one_burst_at_the_moment_of_a_great_wave_brings_four_bits_and_no_more() -> None:
    # a hundred begin within a quarter of an hour, once in sixty days
    crowd = [[MONDAY + 12 * HOUR]] * 100
    lasting = [MONDAY + d * DAY + 3 * HOUR for d in range(60)]
    calendar = activity(*crowd, lasting, [MONDAY + 12 * HOUR])
    group = np.array([0] * 101 + [-1])
    assert np.log2((1 + (100 + 1 / 60) / (100 / 3 / 60 + 1 / 60)) / 2) > 4
    assert np.log2((1 + (99 + 0.1) / (99 / 60 + 0.1)) / 2) > 4
    assert calendar.joins_in(group, np.array([101]), np.array([0])).tolist() == [4]
    assert calendar.keeps_step(group)[0] == 4


def test_common_days_do_not_join_an_account_to_a_group() -> None:
    # two hundred accounts work on ten days of sixty, each at moments of its own; so do ten others
    rng = np.random.default_rng(5)
    days = np.sort(rng.choice(60, 10, replace=False))

    def moments() -> list[int]:
        return [MONDAY + int(d) * DAY + int(slot) for d in days for slot in rng.integers(0, DAY, 4)]

    others = [[MONDAY + d * DAY + 5 * HOUR] for d in range(60)]  # the source goes on meanwhile
    calendar = activity(*(moments() for _ in range(210)), *others)
    group = np.array([0] * 200 + [-1] * 70)
    # held against the same quarter of other days, which are mostly idle, everybody would join in with all there is
    found = calendar.joins_in(group, np.arange(200, 210), np.zeros(10, np.int64))
    assert np.median(found) < IN_TIME
    assert (found < MOST_BITS).sum() >= 8


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


def test_the_z_score_of_keeping_step_is_what_the_formula_says() -> None:
    # two groups of four over nine days: all begin together on the first day, two of each on the second, and one of each on
    # seven more days, each day at another hour
    begins = [MONDAY + d * DAY + (1 + 2 * d) * HOUR for d in range(9)]
    members = [begins, begins[:2], begins[:1], begins[:1]]
    calendar = activity(*members, *members)
    group = np.repeat([0, 1], 4)
    # square roots of four, two and one, in hundredths; what begins together on one day begins alone on all others
    root = np.rint(100 * np.sqrt([4, 2, 1, 1, 1, 1, 1, 1, 1]))
    # a moment weighs 16 at itself, and 1 each at the four lags beside it; no other day has this time of the day
    by_shift = np.array([20 * (root**2).sum(), *[0] * 8])
    z = (by_shift[0] - by_shift[1:].mean()) / max(by_shift[1:].std(), 1)
    assert calendar.in_step(group, np.array([0]), np.array([1])).tolist() == pytest.approx([z])


def test_one_moment_at_which_everybody_comes_back_does_not_put_groups_in_step() -> None:
    # thirty days, forty accounts each of which begins at sixty full hours of its own; then an outage, and all come back
    # within the same quarter of an hour. Counted in full, that moment alone would give a z-score of 13
    rng = np.random.default_rng(0)
    back, hours = MONDAY + 15 * DAY + 140, np.arange(30 * 24)
    members = [[*(MONDAY + HOUR * rng.choice(hours, 60, replace=False)).tolist(), back] for _ in range(80)]
    found = activity(*members).in_step(np.repeat([0, 1], 40), np.array([0]), np.array([1]))
    assert found[0] < IN_STEP


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


# --- moved by whole days


def test_shifting_moves_each_account_by_whole_days_of_its_own() -> None:
    rng = np.random.default_rng(6)
    calendars = [[MONDAY + d * DAY + int(t) for d, t in enumerate(rng.permutation(DAY)[:40])] for _ in range(30)]
    before = activity(*calendars)
    wanted = np.arange(30) % 3 > 0
    after = before.shifted(wanted, 0)
    moved = set()
    for account in range(30):
        old, new = before.slot[before.account == account], after.slot[after.account == account]
        if not wanted[account]:
            assert not len(new)
            continue
        # what it did at each time of the day it still does, and all of it as many days later; the end goes to the beginning
        day_of = dict(zip((new % DAY).tolist(), (new // DAY).tolist(), strict=True))
        assert sorted(day_of) == sorted(old % DAY)
        by = {(day_of[int(slot % DAY)] - int(slot // DAY)) % 40 for slot in old}
        assert len(by) == 1
        moved |= by
    assert len(moved) > 10
    assert after.slot.min() // DAY == MONDAY // DAY
    assert after.slot.max() // DAY == MONDAY // DAY + 39
    assert (np.diff(after.account) >= 0).all()
    assert (np.diff(after.slot)[np.diff(after.account) == 0] > 0).all()
    assert before.shifted(wanted, 0).slot.tolist() == after.slot.tolist()
    assert before.shifted(wanted, 1).slot.tolist() != after.slot.tolist()


def test_shifting_keeps_how_many_requests_came_at_which_time_of_the_day() -> None:
    first = activity([MONDAY + 9 * HOUR, MONDAY + DAY + 10 * HOUR], [MONDAY + 2 * DAY])
    before = Activity(first.account, first.slot, np.array([5, 7, 1]), 2)
    after = before.shifted(np.array([True, False]), 3)
    assert sorted(zip((after.slot % DAY // HOUR).tolist(), after.requests.tolist(), strict=True)) == [(9, 5), (10, 7)]


def test_shifting_parts_what_began_together() -> None:
    rng = np.random.default_rng(8)
    waves = [MONDAY + d * DAY + int(rng.integers(0, 24)) * HOUR for d in range(60)]
    calendar = activity(*[waves] * 12)
    group = np.zeros(12, np.int64)
    assert (calendar.keeps_step(group) == MOST_BITS).all()
    assert (calendar.shifted(group == 0, 0).keeps_step(group) < 4).all()


def test_one_wrong_date_does_not_carry_everybody_away() -> None:
    # ten accounts on the same three days; one request of another is said to be a century later
    calendar = activity(*[[MONDAY + d * DAY + 9 * HOUR for d in range(3)]] * 10, [MONDAY + 36_500 * DAY])
    after = calendar.shifted(np.ones(11, bool), 0)
    # four days on which anything happens: everybody else is still on three of these
    assert {int(d) for d in after.slot // DAY} <= {MONDAY // DAY + d for d in (0, 1, 2, 36_500)}
    assert len({int(s) for s in after.slot[after.account < 10]}) <= 4


def test_without_events_there_is_nothing_to_say() -> None:
    empty = activity([], [])
    assert empty.shifted(np.array([True, True]), 0).slot.tolist() == []
    assert activity([MONDAY]).shifted(np.array([False]), 0).slot.tolist() == []
    assert empty.together(np.array([0]), np.array([1])).tolist() == [0.0]
    assert empty.in_step(np.array([0, 1]), np.array([0]), np.array([1])).tolist() == [0.0]
    assert empty.joins_in(np.array([0, -1]), np.array([1]), np.array([0])).tolist() == [0.0]
