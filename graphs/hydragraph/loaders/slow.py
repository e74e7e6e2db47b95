"""The careful reader: a text file that polars refuses, row by row, into Parquet files that polars can scan.

A row that is no record keeps its number and says why in FAULT; a value that cannot be text becomes one of the marks of
`columns`, so that every check, and with it the order of the checks, is the same for both ways of reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

import polars as pl

from hydragraph.loaders.card_columns import refuse_before_writing
from hydragraph.loaders.columns import DECIMAL, MARK, NOT_PLAIN, NOT_UTF8
from hydragraph.loaders.files import File
from hydragraph.loaders.heads import Head
from hydragraph.loaders.lines import TOO_MANY, csv_records, json_records, read_lines

if TYPE_CHECKING:
    from hydragraph.loaders.scan import Shelf

ROW = "row number"
FAULT = "fault of the row"
"""Columns beside the canonical ones, whose names hold no blanks."""

_BATCH = 100_000
_EXACT = 2**53
_not_text = re.compile("[\ud800-\udfff]").search

Row = list[str | None] | str
"""Values in column order, or the fault of the whole row."""


def rewrite(table: str, file: File, head: Head, columns: Mapping[str, str], texts: set[str], into: Shelf) -> None:
    """Put the rows of a CSV or NDJSON file of a table on the shelf `into`, in one frame at least.

    columns: canonical name -> name in the file. texts: the canonical columns that hold text, not times or counts.
    The frames have `columns` as String, ROW (Int64, the first data row is 1) and FAULT (String, null: none).
    Raises InputRefused when the file cannot be read to its end, or holds card numbers, before these are written.
    """
    text = read_lines(file, head.eol)
    rows = _csv_rows(text, head, columns) if file.format == "csv" else _json_rows(text, columns, texts)
    schema = dict.fromkeys(columns, pl.String()) | {ROW: pl.Int64(), FAULT: pl.String()}
    width = len(columns)
    batch: list[list[Any]] = []

    def flush() -> None:
        frame = pl.DataFrame(batch, schema=schema, orient="row")
        refuse_before_writing(table, frame, texts, first=not into.held)
        into.add(frame)
        batch.clear()

    for number, row in zip(count(1), rows, strict=False):
        batch.append([None] * width + [number, row] if isinstance(row, str) else [*row, number, None])
        if len(batch) == _BATCH:
            flush()
    if batch or not into.held:
        flush()


def _csv_rows(text: Iterator[str], head: Head, columns: Mapping[str, str]) -> Iterator[Row]:
    places = [head.columns.index(name) for name in columns.values()]
    records = csv_records(text, head.separator)
    next(records, None)
    most = len(head.columns)
    for record in records:
        if isinstance(record, str):
            yield record
        elif len(record) > most:
            yield TOO_MANY
        else:
            yield [_text(record[i]) if i < len(record) else None for i in places]


def _json_rows(text: Iterator[str], columns: Mapping[str, str], texts: set[str]) -> Iterator[Row]:
    places = [(name, canonical in texts) for canonical, name in columns.items()]
    for record in json_records(text):
        yield record if isinstance(record, str) else [plain_text(record.get(name), is_text) for name, is_text in places]


def plain_text(value: Any, is_text: bool) -> str | None:
    """A value of JSON or SQLite as polars would write it into a text column; is_text: of identifiers, not of times or
    counts."""
    if value is None:
        return None
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return MARK[NOT_PLAIN]
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        value = int(value)
    return MARK[DECIMAL] if is_text and isinstance(value, float) else repr(value)


def _text(value: str) -> str:
    return value if value.isascii() or not _not_text(value) else MARK[NOT_UTF8]
