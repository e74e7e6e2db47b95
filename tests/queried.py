"""One small source in every form that a query or a Delta table can have: made from the same frames."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import duckdb
import polars as pl
import pytest

from hydragraph.errors import InputRefused
from hydragraph.loaders import Source, open_source

Frames = Mapping[str, pl.DataFrame]

BY_LINKS = 'query = "select * from links"\n'

NAMES = {"account_id": "user", "timestamp": "ts"}
"""Columns that the tables of a database call otherwise."""


def theirs(frame: pl.DataFrame) -> pl.DataFrame:
    """A table as a stranger has it: two columns called otherwise, and one that says who people are."""
    return frame.rename(NAMES, strict=False).with_columns(country=pl.lit("xx"))


def section(table: str, frame: pl.DataFrame, origin: str, order: str = "") -> str:
    """The section of a mapping file that reads a whole table; origin: lines that name the database."""
    columns = ", ".join(f'{ours} = "{name}"' for ours, name in NAMES.items() if ours in frame.columns)
    query = "" if "delta =" in origin else f'query = "select * from t_{table} {order}"\n'
    return f"[{table}]\n{origin}\n{query}columns = {{ {columns} }}\n"


def to_duckdb(file: Path, frames: Frames) -> None:
    with closing(duckdb.connect(file)) as database:
        for table, frame in frames.items():
            beside = file.with_name("held.parquet")
            theirs(frame).write_parquet(beside)
            database.execute(f"create table t_{table} as select * from read_parquet(?)", [str(beside)])
            beside.unlink()


def to_sqlite(file: Path, frames: Frames) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        for table, frame in frames.items():
            held = theirs(frame).with_columns(pl.selectors.datetime().dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ"))
            database.execute(f"create table t_{table} ({', '.join(held.columns)})")
            marks = ", ".join("?" * held.width)
            database.executemany(f"insert into t_{table} values ({marks})", held.iter_rows())


def mapped(folder: Path, toml: str) -> Source:
    """A source that a mapping file in the folder names alone."""
    (folder / "map.toml").write_text(toml, "utf-8")
    return open_source([], mapping=folder / "map.toml")


def rows(source: Source, table: str) -> list[tuple[object, ...]]:
    """The rows of a table, sorted."""
    return sorted(source.tables[table].collect().rows(), key=repr)


def refusal(folder: Path, toml: str) -> str:
    """The one sentence with which a mapping file is refused; nothing of what happened before hangs on to it."""
    with pytest.raises(InputRefused) as caught:
        mapped(folder, toml)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)
