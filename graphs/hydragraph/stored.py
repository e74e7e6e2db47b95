"""The tables of a case as they are stored: what a file lacks to be one of this version, and its rows as a frame."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from hydragraph.errors import NotACase
from hydragraph.schema import OUTPUT


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
    """The table `name` of the case in folder `case`, its columns and types as in schema.OUTPUT. Raises NotACase."""
    try:
        frame = pl.read_parquet(case / f"{name}.parquet")
        return frame.select(pl.col(c.name).cast(c.dtype) for c in OUTPUT[name].columns)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise NotACase(f"{name}.parquet cannot be read as a case table; analyse the source again") from error
