"""The one step that makes values fit for a format: what a format cannot hold is decided here and nowhere else.

Graph formats (GraphML, GEXF, node-link JSON) get text, whole numbers and finite decimal numbers. Characters that XML
cannot hold stay visible as `\\uXXXX`; nothing is dropped in silence and two different texts never become one. CSV gets
text that no spreadsheet takes for a formula, and that can be turned back exactly.
"""

from __future__ import annotations

import re

import polars as pl

# Not characters of XML 1.0: control characters except tab and line feed, lone surrogates, U+FFFE and U+FFFF. Carriage
# return is one, but every XML reader turns it into a line feed. A backslash before `u` is escaped so that the escape
# itself is never ambiguous.
_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]|\\(?=u)")
_ESCAPE = re.compile(r"\\u([0-9a-f]{4})")

# What spreadsheets take for the start of a formula or skip before one, and the full-width forms of = + - @; behind blanks
# and invisible characters as well, which some programs take off. Quotes before it count as part of it, so that text which
# starts with a quote of its own is told apart on the way back.
_FORMULA = "['\\s\\p{Cf}]*[=+\\-@\t\r\n\x00\uff1d\uff0b\uff0d\uff20]"


def visible(text: str) -> str:
    """`text` with each character that XML cannot hold written as `\\uXXXX`, and `\\u` itself as `\\u005cu`.

    Text without such characters comes back as it is. `restore_visible` turns the result into `text` again.
    """
    return _UNFIT.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def restore_visible(text: str) -> str:
    """The text that `visible` was given."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)


def finite(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with NaN and infinity as null."""
    decimal = [name for name, dtype in frame.schema.items() if dtype.is_float()]
    return frame.with_columns(pl.when(pl.col(name).is_finite()).then(pl.col(name)).alias(name) for name in decimal)


def iso_times(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with UTC times as ISO 8601 text, microseconds only where there are any: what Python's isoformat gives."""
    times = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime)]
    text = (pl.col(n).dt.to_string("%Y-%m-%dT%H:%M:%S%.6f%:z").str.replace(".000000", "", literal=True) for n in times)
    return frame.with_columns(text)


def for_graph(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with only text, whole and decimal numbers and nulls in it, every text `visible`, times as ISO 8601."""
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    shown = (pl.Series(n, [None if v is None else visible(v) for v in frame[n]], dtype=pl.String) for n in texts)
    return iso_times(frame.with_columns(shown))


def xml_type(dtype: pl.DataType) -> str:
    """Name of a column's type in GraphML and GEXF: string, long or double. Fails on any other type."""
    if dtype.is_integer():
        return "long"
    if dtype.is_float():
        return "double"
    if dtype == pl.String:
        return "string"
    raise TypeError(f"no graph format holds a column of type {dtype}")


def safe_csv(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with `'` before each text that a spreadsheet could take for a formula.

    That is text which starts with = + - @, tab, carriage return, line feed, NUL or a full-width = + - @, after any
    number of `'`, blanks and invisible characters. Only text columns change: a negative number stays a number.
    `restore_csv` is the way back.
    """
    return _replace_text(frame, f"^({_FORMULA})", "'$1")


def restore_csv(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame that `safe_csv` was given."""
    return _replace_text(frame, f"^'({_FORMULA})", "$1")


def _replace_text(frame: pl.DataFrame, pattern: str, by: str) -> pl.DataFrame:
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    return frame.with_columns(pl.col(name).str.replace(pattern, by) for name in texts)
