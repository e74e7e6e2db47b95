"""What chance gives (chance.py) on Spark: the links shuffled as the embedded engine does it, weighed, tied and parted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hydragraph.chance import PAIRS_EACH, shuffled
from hydragraph.communities import CORE_NET
from hydragraph.engines.spark.arrays import batches_of, column, frame_of
from hydragraph.engines.spark.numbering import block_of, number_before
from hydragraph.engines.spark.pieces import pieces_on_spark
from hydragraph.engines.spark.stages import LINKS, PIECES, TIES, Stages
from hydragraph.engines.spark.tying import tie_on_spark
from hydragraph.engines.spark.weighing import DEGREES, weigh_on_spark
from hydragraph.runs import changes
from hydragraph.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

SUFFIX = "_rewired"
"""Behind the names of the stages of the rewired graph."""

PLACED = "kind long, place long, account long, identifier long, degree long"
"""Every link with its place among those of its kind, in the order of account, then identifier."""

SHUFFLED = "kind long, place long, source long"
"""The place of the link whose identifier comes to each place."""

REWIRED = "account long, identifier long"
"""The links of the rewired graph; `wired_links`: those of its accounts that are in a piece. `wired_ties` are the ties of at
least CORE_NET between such."""

WIRED = "identifier long, kind long, users long"
"""Of the identifiers in `wired_links` the users in the whole rewired graph."""

_COUNTED = "kind long, block long, before long"
_ROWS = 1 << 16


def rewire_on_spark(
    stages: Stages, kinds: Sequence[str], settings: Settings, prior: float, accounts: int
) -> tuple[int, ...]:
    """The links by kind of the graph that chance.rewire gives; and its stages ties and pieces, each with SUFFIX, wired_ties,
    wired_links and wired.

    The order into which links are shuffled is one stream of random numbers: one task draws it, which holds a number for
    each link of the kind with most. Brought to the driver are numbers by kind and by 256 blocks of accounts.
    """
    spark = stages.spark
    degrees = stages.read("degrees", DEGREES)
    stages.make("placed", lambda: _placed(stages, degrees, accounts), PLACED)
    counts = _links_of_kinds(degrees, kinds)
    seed = settings.seed

    def draw(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in batches:
            for kind, source in enumerate(shuffled(counts, seed)):
                for low in range(0, len(source), _ROWS):
                    part = source[low : low + _ROWS]
                    yield from batches_of(SHUFFLED, np.full(len(part), kind), np.arange(low, low + len(part)), part)

    stages.make("shuffled", lambda: spark.range(0, 1, 1, 1).mapInArrow(draw, SHUFFLED), SHUFFLED)
    stages.make("links" + SUFFIX, lambda: _rewired(stages), REWIRED)
    weigh_on_spark(stages, kinds, settings, prior, links="links" + SUFFIX, suffix=SUFFIX)
    tie_on_spark(
        stages, kinds, prior, accounts, timed=False, pairs_each=PAIRS_EACH, links="links" + SUFFIX, suffix=SUFFIX
    )
    pieces_on_spark(stages, accounts, suffix=SUFFIX)
    links = stages.read("links" + SUFFIX, REWIRED)
    again = stages.read("degrees" + SUFFIX, DEGREES)
    pieces = stages.read("pieces" + SUFFIX, PIECES)
    inside = stages.make("wired_links", lambda: links.join(pieces.select("account"), "account", "left_semi"), REWIRED)
    stages.make("wired_ties", lambda: _wired_ties(stages.read("ties" + SUFFIX, TIES), pieces), TIES)
    used = inside.select("identifier").distinct()
    stages.make(
        "wired",
        lambda: again.join(used, "identifier", "left_semi").selectExpr("identifier", "kind", "degree as users"),
        WIRED,
    )
    return tuple(_links_of_kinds(again, kinds))


def _placed(stages: Stages, degrees: DataFrame, accounts: int) -> DataFrame:
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    links = stages.read("links", LINKS).select("account", "identifier")
    links = links.join(degrees.select("identifier", "kind", "degree"), "identifier")
    links = links.withColumn("block", block_of("account", accounts))
    table = links.groupBy("kind", "block").count().toArrow()
    kind, block, number = (column(table, name) for name in ("kind", "block", "count"))
    order = np.lexsort((block, kind))
    kind, block, number = kind[order], block[order], number[order]
    before = number_before(number, np.cumsum(changes(kind)) - 1)
    counted = frame_of(stages.spark, _COUNTED, kind, block, before)
    within = Window.partitionBy("kind", "block").orderBy("account", "identifier")
    place = (f.row_number().over(within) - 1 + f.col("before")).cast("long")
    found = links.join(f.broadcast(counted), ["kind", "block"]).withColumn("place", place)
    return found.select("kind", "place", "account", "identifier", "degree")


def _wired_ties(ties: DataFrame, pieces: DataFrame) -> DataFrame:
    found = ties.filter(f"net >= {CORE_NET}")
    for side in "ab":
        found = found.join(pieces.selectExpr(f"account as {side}"), side, "left_semi")
    return found


def _links_of_kinds(degrees: DataFrame, kinds: Sequence[str]) -> list[int]:
    """Links of each kind."""
    found = {row["kind"]: row["sum(degree)"] for row in degrees.groupBy("kind").sum("degree").collect()}
    return [found.get(k, 0) for k in range(len(kinds))]


def _rewired(stages: Stages) -> DataFrame:
    placed, order = stages.read("placed", PLACED), stages.read("shuffled", SHUFFLED)
    to = placed.select("kind", "place", "account").join(order, ["kind", "place"]).select("kind", "source", "account")
    source = placed.filter("degree > 1").selectExpr("kind", "place as source", "identifier")
    return to.join(source, ["kind", "source"]).select("account", "identifier").distinct()
