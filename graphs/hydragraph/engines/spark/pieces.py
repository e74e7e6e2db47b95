"""Pieces on Spark: components of strong ties, each of them split by the embedded code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from hydragraph.communities import CORE_NET, find_pieces
from hydragraph.engines.spark.arrays import batches_of, column
from hydragraph.engines.spark.components import ONE_TASK, components_on_spark
from hydragraph.engines.spark.stages import PIECES, TIES
from hydragraph.engines.spark.wholes import arranged, whole_groups
from hydragraph.ties import Ties

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

    from hydragraph.engines.spark.stages import Stages

_TIES = 1_000_000
"""Ties that a task takes at a time, more only of one component. One of 25,000 accounts with 86,000 ties took 1 second and
70 MB; one of 250,000 with 860,000 took 5 seconds and 0.5 GB, with 4.7 million 20 seconds and 1.8 GB."""


def pieces_on_spark(stages: Stages, accounts: int, one_task: int = ONE_TASK, suffix: str = "") -> None:
    """Make the stage `pieces` from the stage `ties`, each with `suffix` to its name: communities.find_pieces, which every
    task runs on components of its own.

    accounts: number of accounts of the source. one_task: see `components_on_spark`, which makes the stage `components`.
    A task holds some components at a time, and at least one: a giant one is split by one task, see _TIES.
    """
    from pyspark.sql import functions as f

    ties = stages.read(f"ties{suffix}", TIES)
    strong = ties.where(f.col("net") >= CORE_NET).select("a", "b", "net")
    components = components_on_spark(stages, strong, accounts, one_task, suffix)

    def build() -> DataFrame:
        of = components.withColumnRenamed("account", "a")
        ties = strong.join(of, "a").select("component", "a", "b", "net")
        return arranged(ties, "component", "a", "b").mapInArrow(_pieces, PIECES)

    stages.make(f"pieces{suffix}", build, PIECES)


def _pieces(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for rows in whole_groups(batches, "component", _TIES):
        yield from _pieces_of(rows)


def _pieces_of(rows: pa.Table) -> Iterator[pa.RecordBatch]:
    """Pieces of whole components, as the embedded engine finds them among all."""
    a, b = column(rows, "a"), column(rows, "b")
    order = np.lexsort((b, a))
    a, b, net = a[order], b[order], column(rows, "net")[order]
    account, code = np.unique(np.concatenate([a, b]), return_inverse=True)
    none = np.zeros(len(a), np.int64)
    strong = Ties(code[: len(a)], code[len(a) :], net, none, none, none.astype(float), 0)
    label = find_pieces(len(account), strong)
    account, label = account[label >= 0], label[label >= 0]
    # numbers run from 0 in the order of the smallest account
    _, first = np.unique(label, return_index=True)
    yield from batches_of(PIECES, account, account[first][label])
