"""The tables of a source as stages: accounts, identifiers, links, requests, limits, rejects, as links.read_links has them.

Two passes over the files in tasks, see surveying.py and gathering.py; then sums by text, and codes, see coding.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from hydragraph.card_numbers import SHAPE, judge, undisguised
from hydragraph.card_numbers import Found as Cards
from hydragraph.engines.spark.coding import bounds_of, bucket_of, coded, numbers_of
from hydragraph.engines.spark.frames import frames, schema_of, sent
from hydragraph.engines.spark.gathering import GATHERED, gather_units
from hydragraph.engines.spark.judging import TEXTS, judged
from hydragraph.engines.spark.probing import UNSEEN
from hydragraph.engines.spark.stages import ACCOUNTS, IDENTIFIERS, LINKS, REJECTS, SLOTS, Stages, kinds_in
from hydragraph.engines.spark.surveying import Surveyed, survey_units
from hydragraph.engines.spark.tasks import saying_why
from hydragraph.engines.spark.units import find_units
from hydragraph.errors import EngineFailed
from hydragraph.identifiers import IP_RANGE
from hydragraph.known import known_kinds
from hydragraph.links import no_account, refuse_too_many_kinds, with_organisations
from hydragraph.loaders import Input, Rows, Source
from hydragraph.loaders.card_columns import refuse_hidden
from hydragraph.schema import OUTPUT
from hydragraph.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

_FOUND = f"bucket long, {ACCOUNTS.removeprefix('account long, ')}"
_PARTED = "bucket long, kind string, value string, account_id string, count long, first_seen long, last_seen long"
_LINKED = f"place long, {_PARTED}"
_BETWEEN = "\1"
"""Between a kind and a value, so that the two sort as one text: neither holds it, nor what sorts before it."""

_TEXTS = ("account_id", "org_id", "close_reason", "channel")
"""Columns of accounts that may hide card numbers."""


@dataclass(frozen=True)
class Read:
    """What is known of a source once it is read. accounts: how many there are; kinds: of the identifiers, sorted; the others
    as loaders.Source has them."""

    accounts: int
    kinds: list[str]
    rows: dict[str, Rows]
    inputs: tuple[Input, ...]
    notes: tuple[str, ...]

    def source(self) -> Source:
        """The source without its tables and rejects, which stand in the stage of that name."""
        return Source({}, self.rows, OUTPUT["rejects"].empty(), self.inputs, self.notes)


def read_tables(stages: Stages, source: Sequence[str], mapping: str | Path | None, settings: Settings) -> Read:
    """Read a source into the stages accounts, identifiers, links, requests, limits (see stages.py) and rejects.

    source: paths that every executor reaches, or URIs, see places.py; mapping: a mapping file on this machine. Raises
    InputRefused where the embedded engine does, and for queries and Delta tables, which only that one reads.

    Collected here: what is told of each file; counts by bucket, and the sample that parts them; the declared ranges. All
    links of one identifier come to one task, which puts them in order and need not hold them. Not checked: whether what a
    URI names changes between the passes and keeps its size and its time of change.
    """

    def made() -> str:
        return json.dumps(asdict(_read(stages, source, mapping, settings)))

    told = json.loads(_told(stages, "read", made))
    return Read(
        told["accounts"],
        told["kinds"],
        {name: Rows(**rows) for name, rows in told["rows"].items()},
        tuple(Input(**of) for of in told["inputs"]),
        tuple(told["notes"]),
    )


def _told(stages: Stages, name: str, made: Callable[[], str]) -> str:
    """A stage of one row. Raises EngineFailed where what was written is not found: every engine writes a row."""
    rows = stages.make(name, lambda: stages.spark.createDataFrame([(made(),)], "told string"), "told string").collect()
    if not rows:
        raise EngineFailed(UNSEEN)
    told: str = rows[0]["told"]
    return told


def _read(stages: Stages, source: Sequence[str], mapping: str | Path | None, settings: Settings) -> Read:
    spark = stages.spark
    told = _told(stages, "surveyed", lambda: survey_units(spark, find_units(source, mapping), settings).as_json())
    surveyed = Surveyed.of(told)
    with saying_why():
        gathered = stages.make("gathered", lambda: gather_units(spark, surveyed, settings), GATHERED, by="part")
    refuse_too_many_kinds(_part(gathered, "kind").select("kind").distinct().count())
    stages.make("rejects", lambda: _part(gathered, "reject").select(*OUTPUT["rejects"].names), REJECTS)
    accounts = _accounts(stages, gathered, settings)
    identifiers = _identifiers(stages, gathered, accounts)
    kinds = kinds_in(identifiers)
    _refuse_hidden(accounts, identifiers, kinds)
    for name, part in (("requests", "request"), ("limits", "limit")):
        stages.make(name, partial(_by_slot, _part(gathered, part), accounts), SLOTS)
    return Read(accounts.count(), kinds, dict(surveyed.rows), surveyed.inputs, surveyed.notes)


def _part(gathered: DataFrame, *parts: str) -> DataFrame:
    return gathered.filter(gathered["part"].isin(*parts))


def _accounts(stages: Stages, gathered: DataFrame, settings: Settings) -> DataFrame:
    """The stage accounts; what the tasks say of each, and the spans of its links where it sent no requests."""
    from pyspark.sql import Window
    from pyspark.sql import functions as fn

    def found() -> DataFrame:
        own = _part(gathered, "account").select("account_id")
        number = own.count()
        if not number:
            raise no_account()
        bounds = bounds_of(own, number)
        rows = _part(gathered, "account", "link")
        linked_by = fn.col("part") == "link"
        events = fn.sum(fn.when(~linked_by, fn.col("count")))
        spans = [
            fn.coalesce(how(fn.when(~linked_by, fn.col(name))), how(fn.when(linked_by, fn.col(name)))).alias(name)
            for name, how in (("first_seen", fn.min), ("last_seen", fn.max))
        ]
        texts = [fn.max(name).alias(name) for name in ("close_reason", "org_id", "channel")]
        numbers = [(events, "events"), (fn.sum("tokens"), "tokens"), (fn.sum("limited"), "limited")]
        each = rows.groupBy("account_id").agg(
            fn.min("created_at").alias("created_at"),
            fn.max("closed_at").alias("closed_at"),
            *texts,
            *spans,
            *(fn.coalesce(total, fn.lit(0)).alias(name) for total, name in numbers),
        )
        return each.mapInArrow(partial(_organised, bounds, settings), _FOUND)

    rows = stages.make("accounts_found", found, _FOUND)

    def numbered() -> DataFrame:
        place = fn.row_number().over(Window.partitionBy("bucket").orderBy("account_id")).cast("long")
        in_order = coded(rows.withColumn("place", place), "account", numbers_of(rows, fn.count("*")))
        return in_order.select(*schema_of(ACCOUNTS))

    return stages.make("accounts", numbered, ACCOUNTS)


def _organised(bounds: pl.Series, settings: Settings, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for rows in frames(batches):
        named = with_organisations(rows, settings)
        yield from sent(_FOUND, named.with_columns(bucket=bucket_of(rows["account_id"], bounds)))


def _identifiers(stages: Stages, gathered: DataFrame, accounts: DataFrame) -> DataFrame:
    """The stages identifiers and links; the first one."""
    from pyspark.sql import Window
    from pyspark.sql import functions as fn

    def found() -> DataFrame:
        rows = _part(gathered, "link")
        bounds = bounds_of(rows.select(fn.concat("kind", fn.lit(_BETWEEN), "value")), rows.count())
        parted = rows.mapInArrow(partial(_parted, bounds), _PARTED).repartition("bucket")
        each = parted.groupBy("bucket", "kind", "value", "account_id").agg(
            fn.sum("count").alias("count"),
            fn.min("first_seen").alias("first_seen"),
            fn.max("last_seen").alias("last_seen"),
        )
        place = fn.dense_rank().over(Window.partitionBy("bucket").orderBy("kind", "value")).cast("long")
        return each.withColumn("place", place).select(*schema_of(_LINKED))

    rows = stages.make("links_found", found, _LINKED)
    numbers = numbers_of(rows, fn.max("place"))

    def identified() -> DataFrame:
        in_order = coded(rows.select("bucket", "place", "kind", "value").distinct(), "identifier", numbers)
        declared = _part(gathered, "range").select("value", "kind").distinct().toArrow()
        ranges = pl.DataFrame(pl.from_arrow(declared)).rename({"value": "cidr"})
        return in_order.mapInArrow(partial(_identified, ranges), IDENTIFIERS)

    def links() -> DataFrame:
        named = coded(rows.drop("kind", "value"), "identifier", numbers)
        return named.join(accounts.select("account", "account_id"), "account_id").select(*schema_of(LINKS))

    identifiers = stages.make("identifiers", identified, IDENTIFIERS)
    stages.make("links", links, LINKS)
    return identifiers


def _parted(bounds: pl.Series, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for rows in frames(batches):
        key = rows["kind"] + _BETWEEN + rows["value"]
        yield from sent(_PARTED, rows.with_columns(bucket=bucket_of(key, bounds)))


def _identified(ranges: pl.DataFrame, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for rows in frames(batches):
        inside = (rows["kind"] == IP_RANGE).arg_true()
        known = pl.repeat(None, rows.height, dtype=pl.String, eager=True)
        if len(inside) and ranges.height:
            known = known.scatter(inside, known_kinds(ranges, rows["value"].gather(inside)))
        yield from sent(IDENTIFIERS, rows.with_columns(known=known))


def _by_slot(rows: DataFrame, accounts: DataFrame) -> DataFrame:
    from pyspark.sql import functions as fn

    named = rows.select("account_id", "slot", "count", "first").join(
        accounts.select("account", "account_id"), "account_id"
    )
    summed = named.groupBy("account_id", "account", "slot")
    found = summed.agg(fn.sum("count").alias("requests"), fn.min("first").alias("first"))
    return found.select("account", "slot", "requests", "first")


def _refuse_hidden(accounts: DataFrame, identifiers: DataFrame, kinds: Sequence[str]) -> None:
    """What card_columns.refuse_hidden_card_numbers does. Collected here: counts by column, and by kind."""
    texts = accounts.select(*_TEXTS).mapInArrow(_hidden_in_accounts, TEXTS)
    texts = texts.union(identifiers.select("kind", "value").mapInArrow(_hidden_in_identifiers, TEXTS))
    found = judged(texts)

    def values(column: str, kind: str | None) -> int:
        if kind is not None:
            return int(identifiers.filter(identifiers["kind"] == kind).count())
        return int(accounts.select(column).distinct().count())

    for column in _TEXTS:
        _refuse_place("accounts", column, found.get((column, None)), partial(values, column, None))
    of_kinds = pl.Series(kinds, dtype=pl.String)
    refuse_hidden("links", "kind", judge(undisguised(of_kinds), len(kinds)))
    for kind in kinds:
        _refuse_place(kind, "value", found.get(("value", kind)), partial(values, "value", kind))


def _refuse_place(table: str, column: str, found: Cards | None, values: Callable[[], int]) -> None:
    if found is not None and found.doubtful:
        refuse_hidden(table, column, found if found.beyond_chance else replace(found, values=values()))


def _hidden_in_accounts(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for rows in frames(batches):
        for column in _TEXTS:
            yield from _hidden(rows[column], column, None)


def _hidden_in_identifiers(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for rows in frames(batches):
        for (kind,), of_kind in rows.filter(pl.col("kind") != IP_RANGE).group_by("kind"):
            yield from _hidden(of_kind["value"], "value", str(kind))


def _hidden(texts: pl.Series, column: str, kind: str | None) -> Iterator[pa.RecordBatch]:
    bare = undisguised(texts)
    shaped = bare.filter(bare.str.contains(SHAPE)).unique().alias("text").to_frame()
    yield from sent(TEXTS, shaped.with_columns(column=pl.lit(column), kind=pl.lit(kind, pl.String)))
