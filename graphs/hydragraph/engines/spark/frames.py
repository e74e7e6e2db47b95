"""Arrow batches, as Spark hands them to a function, as polars frames, on which the loaders work, and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    import pyarrow as pa

AT_ONCE = 250_000
"""Rows of a frame, at least: much of what is done with texts has a price by the call."""

_SENT = 50_000
"""Rows of a batch that goes back, at most."""

_TYPES = {"long": pl.Int64(), "double": pl.Float64(), "string": pl.String()}


def frames(batches: Iterator[pa.RecordBatch], least: int = AT_ONCE) -> Iterator[pl.DataFrame]:
    """The rows of a partition in their order, at least so many at a time; the last frame may have fewer, none has no row."""
    import pyarrow as pa

    held: list[pa.RecordBatch] = []
    number = 0
    for batch in batches:
        if batch.num_rows:
            held.append(batch)
            number += batch.num_rows
        if number >= least:
            yield pl.DataFrame(pl.from_arrow(pa.Table.from_batches(held)))
            held, number = [], 0
    if held:
        yield pl.DataFrame(pl.from_arrow(pa.Table.from_batches(held)))


def schema_of(schema: str) -> pl.Schema:
    """The polars schema of what Spark calls `a long, b string`."""
    return pl.Schema({name: _TYPES[kind] for name, kind in (field.split() for field in schema.split(","))})


def sent(schema: str, rows: pl.DataFrame) -> Iterator[pa.RecordBatch]:
    """Batches of the rows, with the columns of a schema as Spark writes it, numbers whole; those that the rows lack are
    null. Times become microseconds."""
    import pyarrow as pa

    wanted = schema_of(schema)
    have = [name for name in wanted if name in rows.columns]
    found = rows.select(pl.col(name).to_physical().cast(wanted[name]) for name in have)
    found = found.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in wanted.items() if name not in have)
    types = pa.schema([(name, pa.int64() if dtype == pl.Int64 else pa.string()) for name, dtype in wanted.items()])
    for part in found.select(list(wanted)).iter_slices(_SENT):
        yield from part.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(types).to_batches()


def one_row(schema: str, **values: str | int | None) -> Iterator[pa.RecordBatch]:
    """A single row."""
    yield from sent(schema, pl.DataFrame({name: [value] for name, value in values.items()}))
