"""Codes for texts that no machine holds alone: numbers in the order of the texts, counted by ranges of them.

A sample gives bounds, between two of which lies a bucket of texts; each bucket is sorted and numbered by itself, and where
its numbers begin follows from how many there are in those before it. The codes depend neither on the bounds nor on which
partition a bucket is in.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_ROWS = 250_000
"""Rows of a bucket, where there need not be more."""

_SAMPLED = 40
"""Texts of a sample for each bucket."""


def bounds_of(texts: DataFrame, rows: int) -> pl.Series:
    """Texts that part those of the only column into buckets of about equal size, sorted, none null.

    rows: how many there are. Collected here: 40 texts a bucket; of these there are four a partition of a shuffle, at most.
    """
    number = min(4 * _partitions(texts.sparkSession), -(-rows // _ROWS))
    if number < 2:
        return pl.Series([], dtype=pl.String)
    sample = texts.sample(min(1.0, number * _SAMPLED / rows), seed=0).toArrow()
    found = pl.Series(pl.from_arrow(sample.column(0)), dtype=pl.String).drop_nulls().sort()
    at = [len(found) * i // number for i in range(1, number)]
    return found.gather(at).unique().sort() if len(found) else found


def _partitions(session: SparkSession) -> int:
    told = session.conf.get("spark.sql.shuffle.partitions") or ""
    return int(told) if told.isdecimal() else 200  # some platforms decide by themselves: `auto`


def bucket_of(texts: pl.Series, bounds: pl.Series) -> pl.Series:
    """The bucket of each text: how many bounds are not above it. Int64; buckets are in the order of texts."""
    if bounds.is_empty():
        return pl.repeat(0, len(texts), dtype=pl.Int64, eager=True)
    return bounds.search_sorted(texts, side="right").cast(pl.Int64)


def numbers_of(rows: DataFrame, number: Column) -> dict[int, int]:
    """What `number` says of the rows of each bucket. Collected here: a number a bucket."""
    counted = rows.groupBy("bucket").agg(number.alias("number")).collect()
    return {row["bucket"]: row["number"] for row in counted}


def coded(rows: DataFrame, code: str, numbers: Mapping[int, int]) -> DataFrame:
    """Rows with their code, from their `bucket` and `place` in it (from 1). numbers: of the codes in each bucket."""
    from pyspark.sql import functions as fn

    buckets = sorted(numbers)
    first = list(zip(buckets, accumulate([numbers[b] for b in buckets], initial=0), strict=False))
    starts = rows.sparkSession.createDataFrame(first, "bucket long, start long")
    found = rows.join(fn.broadcast(starts), "bucket")
    return found.withColumn(code, fn.col("start") + fn.col("place") - 1).drop("bucket", "start", "place")
