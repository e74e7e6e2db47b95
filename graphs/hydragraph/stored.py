"""The tables of a case as they are stored: what a file lacks to be one of this version, and its rows as a frame.

Somebody else may have made them: what the rest of the library relies on is looked at here.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from hydragraph.errors import NotACase
from hydragraph.schema import OUTPUT

LONGEST_MANIFEST = 1 << 28
"""Bytes of a manifest, at most; it names every file of the source."""

_SHAPES: dict[str, type] = {
    "settings": dict, "inputs": list, "rows": dict, "notes": list, "calibration": dict, "pseudonyms": dict,
}  # fmt: skip
_FIRST, _LAST = (
    (of - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1) for of in (dt.datetime.min, dt.datetime.max)
)
_NEVER_NULL = {
    "accounts": ("account_id",),
    "clusters": ("cluster_id", "assessment"),
    "signals": ("cluster_id", "signal"),
    "links": ("account_id", "kind", "value", "accounts"),
    "ties": ("account_a", "account_b"),
    "lineage": ("cluster_id", "parent", "child"),
}


def read_manifest(file: Path) -> dict[str, Any] | None:
    """The manifest of a case; None if the file cannot be read, or is not what a manifest looks like."""
    try:
        if not file.is_file() or file.stat().st_size > LONGEST_MANIFEST:
            return None
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not all(
        isinstance(found.get(k, of()), (of, type(None))) for k, of in _SHAPES.items()
    ):
        return None
    nested = [*(found.get("inputs") or ()), *(found.get("rows") or {}).values()]
    return found if all(isinstance(one, dict) for one in nested) else None


def lacking(case: Path) -> str:
    """What the folder `case` lacks to be a case of this version, in words: files, and columns of files; empty: nothing.

    A file that cannot be read at all is told when its rows are asked for.
    """
    return "; ".join(filter(None, (_lacks(case / f"{name}.parquet", OUTPUT[name].names) for name in OUTPUT)))


def _lacks(file: Path, columns: list[str]) -> str:
    if not file.is_file():
        return f"{file.name} is missing"
    try:
        there = pl.read_parquet_schema(file)
    except (OSError, pl.exceptions.PolarsError):
        return ""
    gone = [column for column in columns if column not in there]
    return f"{file.name} lacks {', '.join(gone)}" if gone else ""


def read_stored(case: Path, name: str) -> pl.DataFrame:
    """The table `name` of the case in folder `case`, its columns and types as in schema.OUTPUT; numbers that are none are
    null. Raises NotACase, also for what no case holds: times that cannot be written down, rows without a name."""
    try:
        frame = pl.read_parquet(case / f"{name}.parquet")
        frame = frame.select(pl.col(c.name).cast(c.dtype) for c in OUTPUT[name].columns)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise NotACase(f"{name}.parquet cannot be read as a case table; analyse the source again") from error
    times = [pl.col(c.name).to_physical().is_between(_FIRST, _LAST) for c in OUTPUT[name].columns if c.type == "time"]
    names = [pl.col(c).is_not_null() for c in _NEVER_NULL.get(name, ())]
    if not all(frame.select(pl.all_horizontal(*[c.all() for c in (*times, *names)], True)).to_series()):
        raise NotACase(f"{name}.parquet holds what no case table holds; analyse the source again")
    numbers = [c.name for c in OUTPUT[name].columns if c.type == "number"]
    return frame.with_columns(pl.when(pl.col(c).is_finite()).then(pl.col(c)).alias(c) for c in numbers)


def stored_height(case: Path, name: str) -> int:
    """Rows of a table of the case in folder `case`, as its file says."""
    return int(ask_stored(case, name, lambda rows: rows.select(pl.len())).item())


def ask_stored(case: Path, name: str, query: Callable[[pl.LazyFrame], pl.LazyFrame]) -> pl.DataFrame:
    """What a query of a table of the case in folder `case` gives, of which no more is read than it needs. Raises NotACase
    where it cannot be read. Not checked: the values, see `read_stored`."""
    try:
        return query(pl.scan_parquet(case / f"{name}.parquet", glob=False)).collect(engine="streaming")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise NotACase(f"{name}.parquet cannot be read as a case table; analyse the source again") from error
