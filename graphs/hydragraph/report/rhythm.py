"""A cluster's week and its days, ready to be drawn as SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.hours import WEEK, Week, days_of, week_of

LEVELS = (0.5, 1.0, 2.0, 4.0)
"""Levels of colour end at so many times an even hour's share, 1/168 of the requests; the last one has no end."""

CELL = 10
WIDTH, HEIGHT = 1000, 90
_MOST_BARS = 200


@dataclass(frozen=True)
class Rhythm:
    """When a cluster works.

    week: SVG paths of its hours of the week, one a level; sentence: the same in words. bars, line: SVG paths in a box
    WIDTH x HEIGHT, of requests and of the most members active in one hour. step: days a bar. busiest: requests of the
    highest bar, from which day on; together: the highest point of the line. start, end: first and last day.
    """

    week: tuple[str, ...]
    sentence: str
    bars: str
    line: str
    step: int
    busiest: tuple[int, datetime]
    together: int
    start: datetime
    end: datetime


def rhythm(hours: pl.DataFrame, everybody: NDArray[np.int64]) -> Rhythm | None:
    """When a cluster works. hours: its rows of the table; everybody: `week_of` all accounts. None without a request."""
    days = days_of(hours)
    if days.is_empty():
        return None
    own = week_of(hours)
    start, end = days["day"][0], days["day"][-1]
    number = (days["day"].dt.epoch("s").to_numpy() - int(start.timestamp())) // 86_400
    step = math.ceil((int(number[-1]) + 1) / _MOST_BARS)
    bar = number // step
    requests = np.bincount(bar, weights=days["requests"].to_numpy()).astype(np.int64)
    together = np.zeros(len(requests), np.int64)
    np.maximum.at(together, bar, days["accounts"].to_numpy())
    top = int(requests.argmax())
    return Rhythm(
        week=week_paths(own),
        sentence=Week(own, everybody).sentence,
        bars=_bars(requests),
        line=_line(together),
        step=step,
        busiest=(int(requests[top]), days["day"].filter(pl.Series(bar == top))[0]),
        together=int(together.max()),
        start=start,
        end=end,
    )


def week_paths(week: NDArray[np.int64]) -> tuple[str, ...]:
    """The hours of each level as squares, 24 a row from 0:00, 7 rows from Monday; hours without requests are left out."""
    share = week / max(int(week.sum()), 1) * WEEK
    level = np.searchsorted(LEVELS, share, "left")
    paths = []
    for one in range(len(LEVELS) + 1):
        at = np.flatnonzero((level == one) & (week > 0)).tolist()
        paths.append("".join(f"M{h % 24 * CELL} {h // 24 * CELL}h9v9h-9z" for h in at))
    return tuple(paths)


def _bars(values: NDArray[np.int64]) -> str:
    wide = WIDTH / len(values)
    broad = max(min(wide * 0.8, 24.0), 1.0)
    highest = max(int(values.max()), 1)
    parts = []
    for i, value in enumerate(values.tolist()):
        if value:
            tall = max(round(value / highest * (HEIGHT - 4), 1), 1)
            parts.append(f"M{(i + 0.5) * wide - broad / 2:.1f} {HEIGHT}v-{tall:g}h{broad:.1f}v{tall:g}z")
    return "".join(parts)


def _line(values: NDArray[np.int64]) -> str:
    wide, highest = WIDTH / len(values), max(int(values.max()), 1)
    points = [
        f"{(i + 0.5) * wide:.1f} {HEIGHT - v / highest * (HEIGHT - 4):.1f}" for i, v in enumerate(values.tolist())
    ]
    return "M" + "L".join(points)
