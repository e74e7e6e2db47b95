"""When the members of a cluster work, and when everybody does: requests by hour, the week they make up, and its days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.activity import Activity
from hydragraph.links import SLOT_MINUTES
from hydragraph.runs import changes
from hydragraph.schema import OUTPUT, TIME

WEEK = 7 * 24
"""Hours of a week, from Monday 0:00 UTC."""

FEWEST = 200
"""Below so many requests a week is not held against another: its hours are an accident."""

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_PER_HOUR = 60 // SLOT_MINUTES
_EPOCH = 3 * 24  # 1970-01-01 was a Thursday


def hour_table(activity: Activity, label: NDArray[np.int64], ids: Sequence[str]) -> pl.DataFrame:
    """Requests and active accounts by hour, of each cluster and of all accounts, as schema.OUTPUT["hours"] has them.

    label: cluster of each account, -1 for none; ids: id of each cluster. Hours without a request have no row;
    where there is no cluster there is nothing to compare, and no row at all.
    """
    hour = activity.slot // _PER_HOUR
    if not len(hour) or not len(ids):
        return OUTPUT["hours"].empty()
    first = np.flatnonzero(changes(activity.account, hour))  # one entry an account and hour
    cells = pl.DataFrame(
        {
            "cluster": label[activity.account[first]],
            "hour": hour[first].astype(np.int32),
            "requests": np.add.reduceat(activity.requests, first),
        }
    )
    counted = (pl.col("requests").sum(), pl.len().alias("accounts"))
    of_all = cells.group_by("hour").agg(counted).with_columns(cluster=pl.lit(-1, pl.Int64))
    inside = cells.filter(pl.col("cluster") >= 0)
    of_each = inside.group_by("cluster", "hour").agg(counted)
    both = pl.concat([of_each, of_all.select(of_each.columns)])
    # sorted as numbers, the place of each id among all of them: sorting millions of texts takes seconds
    order = sorted(range(len(ids)), key=ids.__getitem__)
    rank = np.full(len(ids) + 1, len(ids))  # -1, all accounts, is the last
    rank[order] = np.arange(len(ids))
    both = both.with_columns(cluster=pl.Series(rank[both["cluster"].to_numpy()])).sort("cluster", "hour")
    names = pl.Series([*(ids[i] for i in order), None], dtype=pl.String)
    return OUTPUT["hours"].conform(
        both.with_columns(
            cluster_id=names.gather(both["cluster"]), hour=(pl.col("hour").cast(pl.Int64) * 3_600_000_000).cast(TIME)
        )
    )


@dataclass(frozen=True)
class Week:
    """Requests of a cluster and of all accounts by hour of the week, shape (168,) each, from Monday 0:00 UTC."""

    cluster: NDArray[np.int64]
    everybody: NDArray[np.int64]

    @property
    def overlap(self) -> float:
        """Sum over the hours of the smaller of the two shares, 0 to 1: 1 is the same week. NaN where one is empty."""
        if not self.cluster.sum() or not self.everybody.sum():
            return float("nan")
        mine, theirs = self.cluster / self.cluster.sum(), self.everybody / self.everybody.sum()
        return float(np.minimum(mine, theirs).sum())

    @property
    def sentence(self) -> str:
        """The busiest hour and how far the two weeks agree; empty without requests."""
        total, whole = int(self.cluster.sum()), int(self.everybody.sum())
        if not total or not whole:
            return ""
        if total < FEWEST:
            return f"{total:,} requests are too few to hold their hours against those of all accounts."
        at = int(self.cluster.argmax())
        here, there = _percent(self.cluster[at] / total), _percent(self.everybody[at] / whole)
        return (
            f"Its busiest hour of the week, {_DAYS[at // 24]} from {at % 24}:00 UTC, holds {here} of its requests and"
            f" {there} of those of all accounts. The two weeks agree in {_percent(self.overlap)} of the requests."
        )


def week_of(hours: pl.DataFrame) -> NDArray[np.int64]:
    """Requests by hour of the week, shape (168,), of rows of the table `hours`."""
    number = hours["hour"].dt.epoch("s").to_numpy().astype(np.int64) // 3600
    at = (number + _EPOCH) % WEEK
    found: NDArray[np.int64] = np.bincount(at, weights=hours["requests"].to_numpy(), minlength=WEEK).astype(np.int64)
    return found


def days_of(hours: pl.DataFrame) -> pl.DataFrame:
    """Requests of each day on which there are any, of rows of one cluster: day, requests, accounts.

    accounts: most members that were active in one hour of the day.
    """
    return (
        hours.group_by(day=pl.col("hour").dt.truncate("1d"))
        .agg(pl.col("requests").sum(), pl.col("accounts").max())
        .sort("day")
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
