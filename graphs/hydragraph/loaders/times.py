"""Times in any of the ways exports write them -> UTC, microseconds.

ISO 8601 (with or without time, seconds, fraction, zone; 'T' or a blank between date and time), or a number: the epoch
in seconds, milliseconds or microseconds, told apart by magnitude. A time without a zone is UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

import polars as pl

from hydragraph.schema import TIME

FIRST = datetime(1990, 1, 1, tzinfo=UTC)
END = datetime(2101, 1, 1, tzinfo=UTC)
"""Times before FIRST or from END on are mistakes: rejected."""

FAR = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for a time so far away, or a number that is a time in no unit, that it cannot be written down exactly."""

_LOW, _HIGH = int(FIRST.timestamp()), int(END.timestamp())
# Microseconds in a unit. The windows FIRST..END do not overlap: a number can be a time in one of the units only.
_UNITS = (1_000_000, 1_000, 1)

_ISO = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:(?P<between>[Tt ])[0-9]{2}:[0-9]{2}(?P<second>:[0-5][0-9])?(?P<part>[.,][0-9]+)?"
    r"(?P<zone>Z|[+-](?:[01][0-9]|2[0-3])(?P<minute>:?[0-5][0-9])?)?)?$"
)
_NUMBER = r"^[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?$"
_ROUNDS = 4


def epoch(number: pl.Expr) -> pl.Expr:
    """A column of numbers (Int64 or Float64) -> times; null stays null, a number that is a time in no unit is FAR."""
    micro = []
    for unit in _UNITS:
        # Compared in the number's own unit: a product that overflows is never the one taken.
        inside = (number >= _LOW * (1_000_000 // unit)) & (number < _HIGH * (1_000_000 // unit))
        micro.append(pl.when(inside).then((number * unit).round(0).cast(pl.Int64, strict=False)))
    nowhere = pl.when(number.is_not_null()).then(pl.lit(0, pl.Int64))
    return pl.coalesce(*micro, nowhere).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def read_times(text: pl.Series) -> pl.Series:
    """A column of texts -> times, same length and order, null where the text is no time (or missing).

    The first text tells how to read the others in bulk, the first that is left tells the next way; after some rounds
    the rest is read one by one. Which text stands first changes the speed, never the answer (but for times before FIRST
    or from END on, where FAR may stand for any of them).
    """
    times = pl.repeat(None, len(text), dtype=TIME, eager=True)
    if text.null_count() == len(text):
        return times
    iso = text.str.contains(_ISO).fill_null(False)
    left = iso.arg_true()
    for _ in range(_ROUNDS):
        if left.is_empty():
            break
        rest = text.gather(left)
        found = _in_bulk(rest)
        times = times.scatter(left, found)
        left = left.filter(found.is_null())
    if len(left):
        times = times.scatter(left, pl.Series([_one(t) for t in text.gather(left)], dtype=TIME))
    other = (~iso & text.is_not_null()).arg_true()
    return times.scatter(other, _numbers_and_odd(text.gather(other))) if len(other) else times


def _in_bulk(text: pl.Series) -> pl.Series:
    """Read ISO texts the way the first of them wants; null where that fails."""
    shape = re.match(_ISO, text[0])
    if shape is None or (not shape["second"] and (shape["part"] or shape["zone"] not in (None, "Z"))):
        return pl.repeat(None, len(text), dtype=TIME, eager=True)
    between, zone = shape["between"], shape["zone"]
    if between is None:
        plain = "%Y-%m-%d"
    elif shape["part"] or zone not in (None, "Z"):
        if zone is None:
            text = text + "Z"
        elif zone != "Z" and not shape["minute"]:
            text = text + ":00"
        return text.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    else:
        plain = f"%Y-%m-%d{between}%H:%M{':%S' if shape['second'] else ''}{zone or ''}"
    return text.str.to_datetime(plain, time_unit="us", strict=False).dt.replace_time_zone("UTC")


def _one(text: str) -> datetime | None:
    if text.startswith("0000"):
        return FAR
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError:
        return FAR
    except ValueError:
        return None


def _numbers_and_odd(text: pl.Series) -> pl.Series:
    number = pl.col("text").str.contains(_NUMBER)
    read = pl.when(number).then(pl.col("text").cast(pl.Float64, strict=False))
    times = text.alias("text").to_frame().select(epoch(read)).to_series()
    left = times.is_null().arg_true()
    rest = text.gather(left)
    tidy = rest.str.strip_chars().str.replace("(?: ?UTC| ?z)$", "Z").str.replace(" Z$", "Z")
    if left.is_empty() or (tidy == rest).all():
        return times
    return times.scatter(left, read_times(tidy))
