"""What pairs of accounts are formed on: the uses of shared identifiers, and which identifiers form pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.bipartite import focus, moments, passing
from hydragraph.engines.spark.arrays import batches_of, column, given
from hydragraph.engines.spark.wholes import arranged, whole_groups
from hydragraph.runs import changes
from hydragraph.ties import WIDEST_PAIRED, milli, usual_product, within_budget

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame

USES = (
    "identifier long, account long, paired boolean, sure boolean, several boolean, passing boolean, bits int,"
    " further int, woven int, held int, moment long, focus float"
)
"""Links to shared identifiers that are worth something. paired: the identifier forms pairs; the columns after it are known
of these only, except bits. sure, bits, further, woven: ties.Worth. several, passing, moment, focus: ties.Uses. held:
identifiers of this kind that the account uses."""

_HUBS = 1000
_ROWS = 250_000


@dataclass(frozen=True)
class Pairing:
    """Which identifiers form pairs. All arrays are small.

    starts: code of the first identifier of each kind. able: kinds that form pairs. least: the least log-odds of identifiers
    that do. formed: how many pairs they form. hubs: the codes, sorted, of identifiers that have more than a thousandth of
    all links, and at least 513; none of them forms pairs. hub_bits: what each is worth, in thousandths of a bit.
    """

    starts: NDArray[np.int64]
    able: NDArray[np.bool_]
    least: float
    formed: int
    hubs: NDArray[np.int64]
    hub_bits: NDArray[np.int64]


def find_pairing(
    identifiers: DataFrame, weights: DataFrame, kinds: list[str], able: NDArray[np.bool_], budget: int
) -> Pairing:
    """Which identifiers form pairs: the worthiest of the kinds that are `able`, within a budget of pairs.

    Brought to the driver: a code for each kind, pairs by log-odds (in thousandths of a bit, some ten thousand of them), and
    at most a thousand hubs.
    """
    from pyspark.sql import functions as f

    first = identifiers.groupBy("kind").agg(f.min("identifier").alias("first")).toArrow().to_pydict()
    found = dict(zip(first["kind"], first["first"], strict=True))
    starts = np.array([found[kind] for kind in kinds], np.int64)
    among = f.expr(f"degree > 1 and degree <= {WIDEST_PAIRED} and bits > 0")
    among &= kind_code(f.col("identifier"), starts).isin([int(k) for k in np.flatnonzero(able)])
    pairs = (f.col("degree") * (f.col("degree") - 1) / 2).cast("long")
    table = (
        weights.groupBy("logit")
        .agg(f.sum(f.when(among, pairs)).alias("pairs"), f.sum("degree").alias("links"))
        .toArrow()
    )
    many = f.col("degree") > max(WIDEST_PAIRED, int(column(table, "links").sum()) // _HUBS)
    hubs = weights.filter(many).select("identifier", "bits").toArrow().sort_by("identifier")
    some = given(table, "pairs")
    logit, number = column(table, "logit")[some], column(table, "pairs")[some]
    within = within_budget(logit, number, budget)
    least = float(logit[within].min()) if within.any() else float("inf")
    return Pairing(
        starts, able, least, int(number[within].sum()), column(hubs, "identifier"), milli(column(hubs, "bits"))
    )


def kind_code(identifier: Column, starts: NDArray[np.int64]) -> Column:
    """The code of an identifier's kind: identifiers are numbered kind after kind."""
    from pyspark.sql import functions as f

    return reduce(add, ((identifier >= start).cast("int") for start in starts[1:].tolist()), f.lit(0))


def usual_products(links: DataFrame, starts: NDArray[np.int64]) -> dict[str, float]:
    """ties.usual_product of each kind (its code as text) that has links. Brought to the driver: two sums a kind."""
    from pyspark.sql import functions as f

    by_account = links.groupBy("account", kind_code(f.col("identifier"), starts).alias("kind")).agg(
        f.count("*").alias("held")
    )
    sums = by_account.groupBy("kind").agg(
        f.sum("held").alias("number"), f.sum(f.col("held") * f.col("held")).alias("squares")
    )
    rows = sums.collect()
    return {str(row["kind"]): usual_product(int(row["number"]), int(row["squares"])) for row in rows}


def find_uses(links: DataFrame, weights: DataFrame, several: DataFrame, pairing: Pairing) -> DataFrame:
    """USES of LINKS (count, first_seen and last_seen may be null together: once, at an unknown time), of the WEIGHTS of
    their identifiers.

    Links are put together by account: a task holds all those of one account.
    """
    from pyspark.sql import functions as f

    # links to hubs go to no weights, and so not all to one task
    at = f.col("identifier")
    if len(pairing.hubs):
        at = f.when(f.col("identifier").isin(pairing.hubs.tolist()), -1 - f.col("account")).otherwise(at)
    shared = weights.filter("degree > 1").withColumnRenamed("identifier", "at")
    worth = ("degree", "logit", "bits", "further", "woven")
    rows = (
        links.withColumn("at", at)
        .join(shared, "at", "left")
        .select("account", "identifier", "count", "first_seen", "last_seen", *worth)
    )
    # a row before the links of an account says that it is several
    marked = several.select(
        "account",
        f.lit(-1).cast("long").alias("identifier"),
        *(f.lit(None).cast(t).alias(n) for n, t in rows.dtypes[2:]),
    )
    return arranged(rows.union(marked), "account", "identifier").mapInArrow(partial(_uses, pairing=pairing), USES)


def _uses(batches: Iterator[pa.RecordBatch], pairing: Pairing) -> Iterator[pa.RecordBatch]:
    for rows in whole_groups(batches, "account", _ROWS):
        several = np.zeros(rows.num_rows, bool)
        account, identifier = column(rows, "account"), column(rows, "identifier")
        mark = identifier < 0
        if mark.any():
            several = np.isin(account, account[mark])[~mark]
            rows, account, identifier = rows.filter(~mark), account[~mark], identifier[~mark]
        seen = pl.DataFrame(rows.select(["count", "first_seen", "last_seen"]))
        kind = kinds_of(identifier, pairing.starts)
        moment = moments(seen)
        share = focus(account, kind, np.maximum(seen["count"].fill_null(1).to_numpy(), 1))
        hub, hub_bits = _of_hubs(identifier, pairing)
        shared = given(rows, "degree") | hub
        number = np.diff(np.append(np.flatnonzero(changes(account, kind)), len(account)))
        bits = np.where(hub, hub_bits, milli(column(rows, "bits")))
        logit = column(rows, "logit")
        paired = shared & ~hub & (column(rows, "degree") <= WIDEST_PAIRED) & (bits > 0)
        paired &= pairing.able[kind] & (logit >= pairing.least)
        keep = np.flatnonzero(shared & (bits > 0))
        columns = (
            identifier, account, paired, logit >= 0, several, passing(account, kind, moment, share, shared),
            bits.astype(np.int32), milli(column(rows, "further")).astype(np.int32),
            milli(column(rows, "woven")).astype(np.int32), np.repeat(number, number).astype(np.int32), moment, share,
        )  # fmt: skip
        yield from batches_of(USES, *(x[keep] for x in columns))


def kinds_of(identifier: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The code of each identifier's kind: see `kind_code`."""
    return np.searchsorted(starts, identifier, "right") - 1


def _of_hubs(identifier: NDArray[np.int64], pairing: Pairing) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which identifiers are hubs, and what these are worth."""
    if not len(pairing.hubs):
        return np.zeros(len(identifier), bool), np.zeros(len(identifier), np.int64)
    at = np.minimum(np.searchsorted(pairing.hubs, identifier), len(pairing.hubs) - 1)
    return pairing.hubs[at] == identifier, pairing.hub_bits[at]
