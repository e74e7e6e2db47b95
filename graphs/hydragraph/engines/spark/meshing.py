"""Meshes (meshes.py) on Spark: who has several rare identifiers, and how many users of each share a second one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hydragraph.engines.spark.stages import SEVERAL
from hydragraph.meshes import WIDEST_WOVEN, rarely_shared

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

MESHES = "identifier long, several long, users long, twice long"
"""Of the rare identifiers that have any: users that have another rare one (several), pairs of users that share a second one
(twice), and the users in such pairs."""

_LINKS = "account long, identifier long"

Make = Callable[[str, str, Callable[[], "DataFrame"]], "DataFrame"]


def find_meshes_on_spark(make: Make, links: DataFrame, degrees: DataFrame, kinds: Sequence[str]) -> DataFrame:
    """MESHES, of which meshes.are_linked and meshes.are_woven judge; and the stage several.

    make: makes a stage of a name and a schema. links: account, identifier; degrees: identifier, kind (code), degree.
    A rare identifier has at most 64 users, so that it makes at most 2,016 pairs; none is formed of accounts that have no
    other.
    """
    from pyspark.sql import functions as f

    seldom = np.flatnonzero(rarely_shared(kinds)).tolist()
    of_rare = degrees.filter(f.col("degree").between(2, WIDEST_WOVEN) & f.col("kind").isin(seldom)).select("identifier")
    rare = make("rare", _LINKS, lambda: links.join(of_rare, "identifier", "left_semi").select("account", "identifier"))
    several = make("several", SEVERAL, lambda: rare.groupBy("account").count().filter("count > 1").select("account"))
    strands = make(
        "strands", _LINKS, lambda: rare.join(several, "account", "left_semi").select("account", "identifier")
    )
    return make("meshes", MESHES, lambda: _counted(strands))


def _counted(strands: DataFrame) -> DataFrame:
    """MESHES from the links of accounts with several rare identifiers to these."""
    from pyspark.sql import functions as f

    held = strands.groupBy("identifier").agg(f.count("*").alias("several"))
    of_a = strands.select("identifier", f.col("account").alias("a"))
    of_b = strands.select("identifier", f.col("account").alias("b"))
    pairs = of_a.join(of_b, "identifier").filter("a < b")
    twice = pairs.groupBy("a", "b").agg(f.count("*").alias("shared")).filter("shared > 1").select("a", "b")
    shared = twice.join(of_a, "a").join(of_b, ["b", "identifier"])
    ends = shared.select("identifier", f.explode(f.array("a", "b")).alias("account"))
    dealt = ends.groupBy("identifier", "account").agg(f.count("*").alias("ends")).groupBy("identifier")
    counted = dealt.agg(f.count("*").alias("users"), (f.sum("ends") / 2).cast("long").alias("twice"))
    return held.join(counted, "identifier", "left").select(
        "identifier",
        "several",
        *(f.coalesce(name, f.lit(0).cast("long")).alias(name) for name in ("users", "twice")),
    )
