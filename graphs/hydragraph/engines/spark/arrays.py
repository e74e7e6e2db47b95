"""Rows of Arrow as numpy arrays, on which the embedded engine's functions work, and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession


def column(rows: pa.Table | pa.RecordBatch, name: str) -> NDArray[Any]:
    """A column of numbers, shape (rows,); 0 where it is null."""
    values = rows[name]
    if values.null_count:
        values = values.fill_null(0)
    found: NDArray[Any] = values.to_numpy() if hasattr(values, "chunks") else values.to_numpy(zero_copy_only=False)
    return found


def given(rows: pa.Table | pa.RecordBatch, name: str) -> NDArray[np.bool_]:
    """Where a column is not null, shape (rows,)."""
    found: NDArray[np.bool_] = np.asarray(rows[name].is_valid())
    return found


def names_of(schema: str) -> list[str]:
    """The columns that a schema names, in its order."""
    return [field.split()[0] for field in schema.split(",")]


def rows_of(schema: str, *columns: Any) -> pa.Table:
    """Rows of the columns that a schema names (`a long, b double`), in its order."""
    import pyarrow as pa

    return pa.table(dict(zip(names_of(schema), columns, strict=True)))


def batches_of(schema: str, *columns: Any) -> Iterator[pa.RecordBatch]:
    """The same, as batches; none without a row."""
    yield from rows_of(schema, *columns).to_batches()


def frame_of(spark: SparkSession, schema: str, *columns: Any) -> DataFrame:
    """The same, as a small DataFrame from the driver."""
    return spark.createDataFrame(rows_of(schema, *columns), schema)
