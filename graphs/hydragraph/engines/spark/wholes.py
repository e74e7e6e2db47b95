"""Rows put in order within partitions, and read group by group, however Arrow's batches cut them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hydragraph.engines.spark.arrays import column

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame


def arranged(rows: DataFrame, key: str, *order: str) -> DataFrame:
    """The rows with all of one key in one partition, next to each other and in an order, for a mapInArrow to go over; with a
    column `place`, the number (from 1) of each within its group.

    Sorting alone (sortWithinPartitions) does not do: Sail leaves it out before mapInArrow, which does not say that it wants
    it. A number in the order it must have. Groups need not fit in memory.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    return rows.withColumn("place", f.row_number().over(Window.partitionBy(key).orderBy(*order)))


def whole_groups(batches: Iterator[pa.RecordBatch], key: str, least: int) -> Iterator[pa.Table]:
    """Tables of at least `least` rows (the last may have fewer, none has no row), each with all rows of its groups.

    batches: rows of a partition, those of equal keys (whole numbers, none null) next to each other. A group that is larger
    is held whole.
    """
    import pyarrow as pa

    held: list[pa.RecordBatch] = []
    number = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        last = column(batch, key)
        other = (last != last[-1]).nonzero()[0]
        cut = int(other[-1]) + 1 if len(other) else 0
        ended = held and cut == 0 and column(held[-1], key)[-1] != last[0]
        if number + cut < least or not (cut or ended):
            held.append(batch)
            number += batch.num_rows
            continue
        yield pa.Table.from_batches([*held, batch.slice(0, cut)])
        held, number = [batch.slice(cut)], batch.num_rows - cut
    if number:
        yield pa.Table.from_batches(held)
