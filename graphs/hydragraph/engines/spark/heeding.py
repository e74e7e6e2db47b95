"""What is known beforehand, on Spark: identifiers that are no evidence, and what innocent clusters were cleared with."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.bipartite import BipartiteGraph
from hydragraph.case import Case
from hydragraph.constraints.allowed import allowed_sentences, held_by
from hydragraph.decisions import read_decisions
from hydragraph.engines.spark.arrays import column, names_of, rows_of
from hydragraph.engines.spark.frames import frames
from hydragraph.engines.spark.stages import ACCOUNTS, IDENTIFIERS, LINKS, Stages
from hydragraph.review import cleared_with, foreseen
from hydragraph.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

_PART = pl.Schema({"account": pl.Int64, "identifier": pl.Int64, "kind": pl.String, "value": pl.String})
_MET = "identifier long, given long"
"""An identifier that is allowed, or the number of an entry of the allow list that allows any."""


def set_aside_on_spark(stages: Stages, allowed: pl.DataFrame, settings: Settings) -> tuple[Stages, list[str]]:
    """The stages with identifiers and links of which the `allowed` ones are set aside; what constraints.set_aside does, and
    its sentences.

    Brought to the driver, and to every task, are the codes of the identifiers that are allowed: few, unless the list allows
    a good part of all address ranges.
    """
    if allowed.is_empty():
        return stages, []
    identifiers, links = stages.read("identifiers", IDENTIFIERS), stages.read("links", LINKS)

    def look() -> DataFrame:
        return identifiers.mapInArrow(partial(_met, allowed=allowed, settings=settings), _MET)

    met = stages.make("allowed", look, _MET).toArrow()
    out = np.unique(column(met, "identifier")[column(met, "given") < 0])
    idle = allowed.height - len(np.unique(column(met, "given")[column(met, "given") >= 0]))
    if not len(out):
        return stages, allowed_sentences(0, 0, idle, allowed.height)
    left = stages.with_(identifiers="identifiers_left", links="links_left")
    for name, rows, schema in (("identifiers", identifiers, IDENTIFIERS), ("links", links, LINKS)):
        left.make(name, partial(rows.mapInArrow, partial(_without, out=out), schema), schema)
    users = stages.note("allowed_users", lambda: {"users": _users(stages, links, out)})["users"]
    return left, allowed_sentences(len(out), int(users), idle, allowed.height)


def _met(batches: Iterator[pa.RecordBatch], allowed: pl.DataFrame, settings: Settings) -> Iterator[pa.RecordBatch]:
    numbered = allowed.with_row_index("given")
    for rows in frames(batches):
        for (kind,), of_kind in numbered.group_by("kind", maintain_order=True):
            here = rows.filter(pl.col("kind") == kind)
            if here.is_empty():
                continue
            found, met = held_by(here["value"], str(kind), of_kind["value"], settings)
            codes = here["identifier"].to_numpy()[found]
            entries = of_kind["given"].to_numpy().astype(np.int64)[met]
            none = np.full(len(codes), -1)
            ends = np.concatenate([codes, np.full(len(entries), -1)]), np.concatenate([none, entries])
            yield from rows_of(_MET, *ends).to_batches()


def _without(batches: Iterator[pa.RecordBatch], out: NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
    """The rows of all other identifiers, whose codes close up."""
    import pyarrow as pa

    for batch in batches:
        code = column(batch, "identifier")
        below = np.searchsorted(out, code)
        stays = ~np.isin(code, out)
        kept = batch.filter(pa.array(stays))
        place = kept.schema.get_field_index("identifier")
        columns = [pa.array((code - below)[stays]) if i == place else c for i, c in enumerate(kept.columns)]
        yield pa.RecordBatch.from_arrays(columns, names=kept.schema.names)


def _users(stages: Stages, links: DataFrame, out: NDArray[np.int64]) -> int:
    import pyarrow as pa
    from pyspark.sql import functions as f

    gone = stages.spark.createDataFrame(pa.table({"identifier": out}))
    return int(links.join(f.broadcast(gone), "identifier", "left_semi").select("account").distinct().count())


def foreseen_on_spark(stages: Stages, before: Case | None) -> tuple[Stages, list[pl.Series], list[str]]:
    """The stages with links of which those are left out that review.foreseen leaves out; and what else that gives.

    Brought to the driver are the links of members of innocent clusters, and of others to what these were cleared with; of an
    identifier that more others use than the clusters had members, no more than are needed to know it.
    """
    if before is None or not read_decisions(before.path):
        return stages, [], []
    members, shared = cleared_with(before)
    part = _part(stages, members, shared)
    left, confirmed, said = foreseen(part, before)
    gone = part.links.join(left.links, on=["account", "identifier"], how="anti")
    if gone.is_empty():
        return stages, confirmed, said
    pairs = pl.DataFrame(
        [
            part.accounts["account"].gather(gone["account"]),
            part.identifiers["identifier"].gather(gone["identifier"]),
        ]
    ).to_arrow()
    heeded = stages.with_(links="links_heeded")
    heeded.make("links", partial(_but, stages, stages.read("links", LINKS), pairs), LINKS)
    return heeded, confirmed, said


def _part(stages: Stages, members: pl.Series, shared: pl.DataFrame) -> BipartiteGraph:
    """The links of members, and of others to what members shared."""
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    spark = stages.spark
    links = stages.read("links", LINKS).select("account", "identifier")
    identifiers = stages.read("identifiers", IDENTIFIERS).select("identifier", "kind", "value")
    named = spark.createDataFrame(members.alias("account_id").to_frame().to_arrow(), "account_id string")
    who = stages.read("accounts", ACCOUNTS).select("account", "account_id").join(f.broadcast(named), "account_id")
    mine = links.join(f.broadcast(who.select("account")), "account")
    then = spark.createDataFrame(shared.to_arrow(), "kind string, value string")
    of_then = identifiers.join(f.broadcast(then), ["kind", "value"]).select("identifier")
    # others than so many are more than any cluster of them had members, whoever is among them
    most = 2 * len(members) + 1
    place = f.row_number().over(Window.partitionBy("identifier").orderBy("account"))
    theirs = links.join(f.broadcast(of_then), "identifier").withColumn("place", place).filter(f.col("place") <= most)
    used = mine.select("account", "identifier").union(theirs.select("account", "identifier")).distinct()
    rows = pl.DataFrame(pl.from_arrow(used.join(identifiers, "identifier").toArrow())).cast(_PART)
    names = pl.DataFrame(pl.from_arrow(who.toArrow())).cast({"account": pl.Int64, "account_id": pl.String})
    accounts = rows.select(pl.col("account").unique().sort()).join(
        names, on="account", how="left", maintain_order="left"
    )
    # a name that nobody has: it is not a member's
    accounts = accounts.with_columns(pl.col("account_id").fill_null("\0" + pl.col("account").cast(pl.String)))
    known = rows.select("identifier", "kind", "value").unique().sort("identifier")
    return BipartiteGraph(
        accounts,
        known.with_columns(known=pl.lit(None, pl.String)),
        rows.select(
            account=pl.col("account").rank("dense").cast(pl.UInt32) - 1,
            identifier=pl.col("identifier").rank("dense").cast(pl.UInt32) - 1,
        ).sort("account", "identifier"),
    )


def _but(stages: Stages, links: DataFrame, gone: pa.Table) -> DataFrame:
    from pyspark.sql import functions as f

    rows = stages.spark.createDataFrame(gone, "account long, identifier long")
    return links.join(f.broadcast(rows), ["account", "identifier"], "left_anti").select(*names_of(LINKS))
