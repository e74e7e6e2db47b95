"""Requests by hour, by hour of the week and by day, on calendars a reader can hold in the head."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import polars as pl
import pytest

from hydragraph.activity import Activity
from hydragraph.hours import FEWEST, WEEK, Week, days_of, hour_table, week_of
from hydragraph.schema import OUTPUT

HOUR = 12  # slots of five minutes
DAY = 24 * HOUR
MONDAY = 4 * DAY  # 1970-01-05


def at(day: int, hour: int) -> dt.datetime:
    return dt.datetime(1970, 1, day, hour, tzinfo=dt.UTC)


@pytest.fixture
def table() -> pl.DataFrame:
    # account 0: 2 + 3 requests from Monday 9:00 and 1 on Tuesday 9:00; account 1: 4 on Monday 9:55; account 2, in no
    # cluster: 5 on Monday 9:00; account 3, of another cluster: none
    rows = [(0, MONDAY + 9 * HOUR, 2), (0, MONDAY + 9 * HOUR + 3, 3), (0, MONDAY + DAY + 9 * HOUR, 1)]
    rows += [(1, MONDAY + 9 * HOUR + 11, 4), (2, MONDAY + 9 * HOUR, 5)]
    account, slot, requests = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    return hour_table(Activity(account, slot, requests, 4), np.array([1, 1, -1, 0]), ["c-0", "c-1"])


def test_requests_and_accounts_of_each_hour(table: pl.DataFrame) -> None:
    assert table.rows() == [
        ("c-1", at(5, 9), 9, 2),
        ("c-1", at(6, 9), 1, 1),
        (None, at(5, 9), 14, 3),
        (None, at(6, 9), 1, 1),
    ]
    assert table.schema == OUTPUT["hours"].schema


def test_rows_are_sorted_by_id_whatever_the_number_of_the_cluster() -> None:
    account, slot = np.array([0, 0, 1, 2]), np.array([MONDAY, MONDAY + HOUR, MONDAY, MONDAY])
    found = hour_table(Activity(account, slot, np.ones(4, np.int64), 3), np.array([0, 1, 2]), ["c-9", "c-1", "c-5"])
    assert found.select("cluster_id", "requests").rows() == [
        ("c-1", 1), ("c-5", 1), ("c-9", 1), ("c-9", 1), (None, 3), (None, 1),
    ]  # fmt: skip


def test_no_request_is_an_empty_table() -> None:
    none = np.zeros(0, np.int64)
    assert hour_table(Activity(none, none, none, 2), np.array([0, 0]), ["c-0"]).equals(OUTPUT["hours"].empty())
    assert hour_table(Activity(*(np.ones(1, np.int64),) * 3, 2), np.array([-1, -1]), []).equals(OUTPUT["hours"].empty())
    assert week_of(OUTPUT["hours"].empty()).tolist() == [0] * WEEK
    assert days_of(OUTPUT["hours"].empty()).height == 0


def test_the_week_begins_on_monday(table: pl.DataFrame) -> None:
    week = week_of(table.filter(cluster_id="c-1"))
    assert np.flatnonzero(week).tolist() == [9, 24 + 9]
    assert week[[9, 33]].tolist() == [9, 1]
    # a week later counts in the same hour
    later = table.with_columns(pl.col("hour").dt.offset_by("7d"))
    assert week_of(pl.concat([table, later])).tolist() == (2 * week_of(table)).tolist()


def test_days(table: pl.DataFrame) -> None:
    assert days_of(table.filter(cluster_id="c-1")).rows() == [(at(5, 0), 9, 2), (at(6, 0), 1, 1)]


def test_how_far_two_weeks_agree() -> None:
    mine, theirs = np.zeros(WEEK, np.int64), np.zeros(WEEK, np.int64)
    mine[[0, 30]] = 3 * FEWEST, FEWEST  # three quarters on Monday from 0:00, a quarter on Tuesday from 6:00
    theirs[[30, 100]] = 500, 500
    week = Week(mine, theirs)
    assert week.overlap == pytest.approx(0.25)
    assert week.sentence == (
        "Its busiest hour of the week, Monday from 0:00 UTC, holds 75 % of its requests and 0 % of those of all accounts."
        " The two weeks agree in 25 % of the requests."
    )
    assert Week(mine, mine).overlap == pytest.approx(1)
    assert Week(mine, mine).sentence.endswith("The two weeks agree in 100 % of the requests.")
    mine[:] = 10
    assert "Monday from 0:00 UTC, holds 0.6 % of its requests" in Week(mine, mine).sentence


def test_few_requests_are_not_compared() -> None:
    few = np.zeros(WEEK, np.int64)
    few[5] = FEWEST - 1
    assert Week(few, few).sentence == "199 requests are too few to hold their hours against those of all accounts."
    none = np.zeros(WEEK, np.int64)
    assert Week(none, few).sentence == ""
    assert math.isnan(Week(none, few).overlap)
    assert Week(few, none).sentence == ""
