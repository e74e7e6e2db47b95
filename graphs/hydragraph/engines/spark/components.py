"""Connected components on Spark: forests that are merged where they fit one task, stars that grow where they do not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hydragraph.engines.spark.arrays import batches_of, column
from hydragraph.engines.spark.wholes import arranged
from hydragraph.grouping import connected
from hydragraph.runs import changes

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

    from hydragraph.engines.spark.stages import Stages

COMPONENTS = "account long, component long"
"""The component of each account that has an edge: its smallest account."""

ONE_TASK = 10_000_000
"""Accounts whose edges one task may merge, as a forest of them has fewer edges: 10 million with 40 million edges took 2.6 GB
and two minutes. The task that concludes needs more for as many."""

_FOREST = "account long, towards long"
"""Edges, from each account towards a smaller one."""

_MOVED = f"{_FOREST}, moved long"
# a task streams through this many forests and holds one
_FORESTS = 8
_CHUNK = 1_000_000

Ends = tuple[NDArray[np.int64], NDArray[np.int64]]


def components_on_spark(
    stages: Stages, edges: DataFrame, accounts: int, one_task: int = ONE_TASK, suffix: str = ""
) -> DataFrame:
    """Make the stage `components`, with `suffix` to its name, from edges a, b between codes of accounts; gives its rows.

    Every task reduces its edges to a forest of the same components (the stage forest_0). If at most `one_task` of the
    `accounts` have an edge at all, forests are merged in ever fewer tasks and at last in one. Else they grow together by
    large stars and small stars in turn (Kiveris, Lattanzi, Mirrokni, Rastogi and Vassilvitskii 2014): every account hands
    its larger neighbours on to the smallest, then its smaller ones, until nothing moves. Each turn is a stage, and sorted
    rows stream through it: no task holds an account's neighbours. The driver gets numbers of rows.
    Not checked: that no edge is a loop.
    """
    ends = edges.select("a", "b")
    forest = stages.make(f"forest_0{suffix}", lambda: ends.mapInArrow(_forest, _FOREST), _FOREST)
    if accounts > one_task and _accounts(forest) > one_task:
        return _by_stars(stages, forest, suffix)
    turn, most = 0, _FORESTS * one_task
    while accounts > one_task and (left := forest.count()) > most:
        turn += 1
        forest = _merged(stages, f"forest_{turn}{suffix}", forest, math.ceil(left / most))
    return stages.make(f"components{suffix}", lambda: forest.repartition(1).mapInArrow(_rooted, COMPONENTS), COMPONENTS)


def _accounts(forest: DataFrame) -> int:
    """How many accounts have an edge."""
    return int(forest.select("account").union(forest.select("towards")).distinct().count())


def _merged(stages: Stages, name: str, forest: DataFrame, tasks: int) -> DataFrame:
    return stages.make(name, lambda: forest.repartition(tasks).mapInArrow(_forest, _FOREST), _FOREST)


def spanning(account: NDArray[np.int64], towards: NDArray[np.int64]) -> Ends:
    """A forest of the same components as these edges: each account but the smallest of its component, and that one."""
    nodes, code = np.unique(np.concatenate([account, towards]), return_inverse=True)
    part = connected(len(nodes), code[: len(account)], code[len(account) :])
    # of what is assigned to one place more than once the last stays
    smallest = np.empty(int(part.max(initial=-1)) + 1, np.int64)
    smallest[part[::-1]] = nodes[::-1]
    root = smallest[part]
    inner = root != nodes
    return nodes[inner], root[inner]


def _spanning_all(batches: Iterator[pa.RecordBatch]) -> Ends:
    """The forest of all that a task gets, of any number of rows: no more is held than twice the forest and a chunk."""
    none = np.empty(0, np.int64)
    forest: Ends = (none, none)
    waiting: list[Ends] = []
    rows = 0
    for batch in batches:
        waiting.append((column(batch, batch.schema.names[0]), column(batch, batch.schema.names[1])))
        rows += batch.num_rows
        if rows >= max(_CHUNK, len(forest[0])):
            forest = spanning(*map(np.concatenate, zip(forest, *waiting, strict=True)))
            waiting, rows = [], 0
    return spanning(*map(np.concatenate, zip(forest, *waiting, strict=True)))


def _forest(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield from batches_of(_FOREST, *_spanning_all(batches))


def _rooted(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    account, root = _spanning_all(batches)
    yield from batches_of(COMPONENTS, account, root)
    roots = np.unique(root)
    yield from batches_of(COMPONENTS, roots, roots)


def _by_stars(stages: Stages, forest: DataFrame, suffix: str) -> DataFrame:
    """The stage `components`, of forests that no task holds together."""
    from pyspark.sql import functions as f

    edges, turn, still = forest, 0, 0
    # large stars that move nothing say that nobody is between two others, small stars that nobody has two above
    while still < 2:
        turn += 1
        made = _turn(stages, f"stars_{turn}{suffix}", edges, turn % 2 == 1)
        (row,) = made.agg(f.sum("moved").alias("moved")).collect()
        still = 0 if row["moved"] else still + 1
        edges = made.select("account", "towards")

    def build() -> DataFrame:
        roots = edges.select(f.col("towards").alias("account")).distinct()
        return edges.withColumnRenamed("towards", "component").unionByName(
            roots.withColumn("component", f.col("account"))
        )

    return stages.make(f"components{suffix}", build, COMPONENTS)


def _turn(stages: Stages, name: str, edges: DataFrame, large: bool) -> DataFrame:
    """The stage of one turn: large stars, or small ones."""
    from pyspark.sql import functions as f

    def build() -> DataFrame:
        rows = edges
        if large:
            rows = rows.union(rows.select(f.col("towards").alias("account"), f.col("account").alias("towards")))
        step = _large_stars if large else _small_stars
        return arranged(rows, "account", "towards").mapInArrow(step, _MOVED)

    return stages.make(name, build, _MOVED)


def _large_stars(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Of each account and its neighbours, sorted: the larger ones towards the smallest of them all."""
    last, smallest = -1, -1
    for batch in batches:
        account, other = column(batch, "account"), column(batch, "towards")
        if not len(account):
            continue
        new = changes(account)
        new[0] = account[0] != last
        # the first neighbour is the smallest; what goes on from the batch before has it from there
        least = np.append(smallest, np.minimum(account, other)[new])[np.cumsum(new)]
        last, smallest = int(account[-1]), int(least[-1])
        larger = other > account
        moved = (least != account)[larger].astype(np.int64)
        yield from batches_of(_MOVED, other[larger], least[larger], moved)


def _small_stars(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Of each account and its smaller neighbours, sorted: all of them, and it, towards the smallest. Each edge once."""
    last, before, smallest = -1, -1, -1
    for batch in batches:
        account, other = column(batch, "account"), column(batch, "towards")
        if not len(account):
            continue
        new = changes(account)
        once = changes(account, other)
        new[0] = account[0] != last
        once[0] = new[0] or other[0] != before
        least = np.append(smallest, other[new])[np.cumsum(new)]
        last, before, smallest = int(account[-1]), int(other[-1]), int(least[-1])
        handed = np.where(new, account, other)
        yield from batches_of(_MOVED, handed[once], least[once], (~new)[once].astype(np.int64))
