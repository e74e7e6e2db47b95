"""What a value of each type must look like: expressions that read a column and say which values cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from hydragraph.card_numbers import MAYBE
from hydragraph.loaders.times import END, FIRST, epoch, read_times
from hydragraph.schema import TIME, Column

NO_VALUE = "no value"
NUL = "a NUL byte"
TOO_LONG = "a text of more than 4,096 bytes"
LONGEST_TEXT = 4_096
LONG_KIND = "a kind of more than 256 bytes"
LONGEST_KIND = 256
"""Bytes of the name of a kind, at most: each is taken apart into words."""
NOT_UTF8 = "bytes that are not UTF-8"
NOT_PLAIN = "a nested value or true/false where plain text is needed"
DECIMAL = "a decimal number where an identifier is needed"
WRONG_TYPE = "a column of this type cannot be read here"
NOT_ADDRESS = "not an IP address or CIDR range"
NOT_TIME = "not a time: ISO 8601 or epoch seconds, milliseconds or microseconds"
FAR_TIME = "a time outside the years 1990 to 2100"
NOT_COUNT = "not a whole number of at least 0"

MARKS = {f"\0{i}": reason for i, reason in enumerate((NOT_UTF8, NOT_PLAIN, DECIMAL))}
"""What the line reader writes in place of a value that cannot be text. No readable value holds a NUL."""
MARK = {reason: mark for mark, reason in MARKS.items()}

BLANK = r"^\s*$"
"""A text without anything to read."""
# A time, a count or an account of this text is no value. Not a lone '0': accounts may be numbered from 0.
_PLACEHOLDER = r"(?i)^\s*(?:null|none|nan|nat|nil|n/?a|unknown|undefined|\\n|[[\p{P}\p{S}\s]--[\[\]{}]]*|[0-]{8,})\s*$"
_FITS_INT64 = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)
# Above it a decimal number no longer tells neighbouring whole numbers apart.
_EXACT: dict[type[pl.DataType], int] = {pl.Float32: 2**24, pl.Float64: 2**53}

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_PLAIN_V4 = rf"(?:{_OCTET}\.){{3}}{_OCTET}"
_GROUP = "[0-9a-fA-F]{1,4}"
_PLAIN_V6 = rf"{_GROUP}(?::{_GROUP}){{7}}|{_GROUP}(?::{_GROUP}){{0,3}}::(?:{_GROUP}(?::{_GROUP}){{0,2}})?"
_PLAIN = rf"^(?:{_PLAIN_V4}|{_PLAIN_V6})$"


@dataclass(frozen=True)
class Reading:
    """How one column is read.

    value: from the raw column to the declared type; says nothing where a fault holds. faults: (reason, condition)
    pairs, the first that holds counts; conditions are never null and speak of the raw column and of `value_of(name)`,
    which holds the value. blank: texts of the value that are to be null, None if there can be none. doubt: holds
    wherever a fault but `long`, a blank or what may be a card number does, and is found more quickly; None where there
    is no quicker way. long: holds where TOO_LONG or LONG_KIND does.
    """

    name: str
    value: pl.Expr
    faults: tuple[tuple[str, pl.Expr], ...] = ()
    blank: pl.Expr | None = None
    doubt: pl.Expr | None = None
    long: pl.Expr | None = None


def value_of(name: str) -> str:
    """Name under which the value of a column stands beside the raw column."""
    return f"value of {name}"


def read_column(column: Column, dtype: pl.DataType, *, required: bool, marked: bool = False) -> Reading:
    """How to read `column`, which the file has under its canonical name with type `dtype`.

    required: a missing value is a fault. marked: the line reader may have put MARKS there.
    """
    raw, value = pl.col(column.name), pl.col(value_of(column.name))
    if column.type == "time":
        read, faults = _time(raw, value, dtype)
    elif column.type == "count":
        read, faults = _count(raw, value, dtype)
    else:
        return _text(column, dtype, required=required, marked=marked)
    if required:
        faults = [(NO_VALUE, _missing(raw, dtype)), *faults]
    return Reading(column.name, read, tuple(faults))


def looks_like_address(text: pl.Expr) -> pl.Expr:
    """Whether a text is a plain IPv4 or IPv6 address beyond doubt: a short cut, false says nothing. Null stays null."""
    return text.str.contains(_PLAIN)


Faults = list[tuple[str, pl.Expr]]


def _text(column: Column, dtype: pl.DataType, *, required: bool, marked: bool) -> Reading:
    raw, value = pl.col(column.name), pl.col(value_of(column.name))
    read, faults = _as_text(raw, value, dtype)
    free = isinstance(dtype, (pl.String, pl.Binary, pl.Categorical, pl.Enum))
    if marked:
        faults += [(reason, value.eq(mark).fill_null(False)) for mark, reason in MARKS.items()]
    most, too_long = (LONGEST_KIND, LONG_KIND) if column.name == "kind" else (LONGEST_TEXT, TOO_LONG)
    long = (value.str.len_bytes() > most).fill_null(False)
    if free:
        faults += [(NUL, value.str.contains("\0", literal=True).fill_null(False)), (too_long, long)]
    pattern = _PLACEHOLDER if required and column.name == "account_id" else BLANK
    quick = isinstance(dtype, pl.String) and not marked
    doubt = value.str.contains(rf"\x00|{pattern}|{MAYBE}").fill_null(required) if quick else None
    nothing = value.str.contains(pattern).fill_null(False) if free else None
    if required:
        missing = value.is_null() if nothing is None else value.is_null() | nothing
        return Reading(column.name, read, (*faults, (NO_VALUE, missing)), None, doubt, long)
    return Reading(column.name, read, tuple(faults), nothing, doubt, long)


def _as_text(raw: pl.Expr, value: pl.Expr, dtype: pl.DataType) -> tuple[pl.Expr, Faults]:
    nothing = pl.lit(None, pl.String)
    if isinstance(dtype, pl.Null):
        return nothing, []
    if isinstance(dtype, pl.Binary):
        text = raw.map_batches(_decode, return_dtype=pl.String, is_elementwise=True)
        return text, [(NOT_UTF8, raw.is_not_null() & value.is_null())]
    if isinstance(dtype, (pl.String, pl.Categorical, pl.Enum)) or dtype.is_integer():
        return raw.cast(pl.String), []
    if isinstance(dtype, pl.Decimal):
        whole = raw.cast(pl.Int128, strict=False)
        same = whole.cast(pl.Decimal(38, dtype.scale), strict=False) == raw.cast(pl.Decimal(38, dtype.scale))
        return whole.cast(pl.String), [(DECIMAL, raw.is_not_null() & ~same.fill_null(False))]
    if dtype.is_float():
        number = raw.fill_nan(None)
        exact = (number == number.round(0)) & (number.abs() <= _EXACT.get(type(dtype), 2**11))
        return number.cast(pl.Int64, strict=False).cast(pl.String), [(DECIMAL, ~exact.fill_null(True))]
    return nothing, [(WRONG_TYPE, raw.is_not_null())]


def _decode(values: pl.Series) -> pl.Series:
    try:
        return values.cast(pl.String)
    except pl.exceptions.PolarsError:
        return pl.Series(values.name, [_decoded(v) for v in values], dtype=pl.String)


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _missing(raw: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, (pl.String, pl.Categorical, pl.Enum)):
        return raw.is_null() | raw.cast(pl.String).str.contains(_PLACEHOLDER).fill_null(False)
    if dtype.is_float():
        return raw.is_null() | raw.is_nan().fill_null(False)
    return raw.is_null()


def _time(raw: pl.Expr, value: pl.Expr, dtype: pl.DataType) -> tuple[pl.Expr, Faults]:
    far = (FAR_TIME, ((value < FIRST) | (value >= END)).fill_null(False))
    if isinstance(dtype, pl.Null):
        return pl.lit(None, TIME), []
    if isinstance(dtype, (pl.Datetime, pl.Date)):
        # a time without a zone is taken as UTC; one that no microsecond can say is null, and no less far
        return raw.cast(TIME, strict=False), [(FAR_TIME, far[1] | (raw.is_not_null() & value.is_null()))]
    if isinstance(dtype, _FITS_INT64):
        return epoch(raw.cast(pl.Int64)), [far]
    if dtype.is_numeric():
        return epoch(raw.cast(pl.Float64).fill_nan(None)), [far]
    if isinstance(dtype, (pl.String, pl.Categorical, pl.Enum)):
        read = raw.cast(pl.String).map_batches(read_times, return_dtype=TIME, is_elementwise=True)
        return read, [(NOT_TIME, value.is_null() & ~_missing(raw, dtype)), far]
    return pl.lit(None, TIME), [(WRONG_TYPE, raw.is_not_null())]


def _count(raw: pl.Expr, value: pl.Expr, dtype: pl.DataType) -> tuple[pl.Expr, Faults]:
    if isinstance(dtype, pl.Null):
        return pl.lit(None, pl.Int64), []
    if dtype.is_integer():
        read = raw.cast(pl.Int64, strict=False)
    elif isinstance(dtype, (pl.String, pl.Categorical, pl.Enum)):
        text = raw.cast(pl.String).str.strip_chars()
        read = pl.coalesce(text.cast(pl.Int64, strict=False), _whole(text.cast(pl.Float64, strict=False)))
    elif dtype.is_numeric():
        read = _whole(raw.cast(pl.Float64))
    else:
        return pl.lit(None, pl.Int64), [(WRONG_TYPE, raw.is_not_null())]
    unreadable = value.is_null() & ~_missing(raw, dtype)
    return read, [(NOT_COUNT, unreadable | (value < 0).fill_null(False))]


def _whole(number: pl.Expr) -> pl.Expr:
    """A decimal number as a whole one, null where it is none."""
    return pl.when((number == number.round(0)) & (number.abs() <= 2**53)).then(number).cast(pl.Int64, strict=False)


def first_fault(faults: Sequence[tuple[str, str, pl.Expr]]) -> pl.Expr:
    """Number of the first fault of (column, reason, condition) that holds in a row, UInt8; null if none does."""
    conditions = [pl.when(condition).then(pl.lit(i, pl.UInt8)) for i, (_, _, condition) in enumerate(faults)]
    return pl.coalesce(*conditions, pl.lit(None, pl.UInt8))
