"""The second pass over a source: each task gathers what its files hold with the embedded code, and hands on sums by text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from hydragraph.coding import Codes, batches, unpaired
from hydragraph.engines.spark.frames import sent
from hydragraph.engines.spark.surveying import Look, Surveyed, read_again
from hydragraph.engines.spark.tasks import on_units
from hydragraph.engines.spark.units import Unit, at_hand, opened_unit, stamp_of
from hydragraph.errors import InputRefused
from hydragraph.links import (
    MOST_KINDS,
    Gathered,
    given_accounts,
    link_columns,
    links_of_kind,
    rows_of,
)
from hydragraph.loaders.card_columns import Few
from hydragraph.loaders.checking import kept, rejects
from hydragraph.loaders.files import Feed
from hydragraph.loaders.scan import Scratch
from hydragraph.loaders.stamps import stamps_of, unchanged
from hydragraph.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

GATHERED = (
    "part string, account_id string, kind string, value string, count long, first_seen long, last_seen long, slot long,"
    " first long, tokens long, limited long, created_at long, closed_at long, close_reason string, org_id string,"
    " channel string, table string, file string, row long, column string, reason string"
)
"""What the tasks hand on, by `part`: of the others' columns each has none.

account: account_id, with its declaration, or count (of events), tokens, limited, first_seen, last_seen, or neither. link:
account_id, kind, value (normalised), count, first_seen, last_seen. request, limit: account_id, slot, count, first. range:
value (cidr), kind. reject: as schema.OUTPUT has them. kind: kinds that a task met. Of a key there may be several rows, of
several tasks.
"""

_HELD = 4_000_000
"""Rows of sums that a task holds before it hands them on."""

_FEWEST = 1_000_000


@dataclass(frozen=True)
class _Ordered:
    """What every task needs to know."""

    feeds: Sequence[Feed]
    columns: Mapping[str, Sequence[str]]
    cards: Mapping[str, Few]
    settings: Settings


def gather_units(spark: SparkSession, source: Surveyed, settings: Settings) -> DataFrame:
    """What all units hold: see GATHERED."""
    ordered = _Ordered(source.feeds, dict(source.columns), dict(source.cards), settings)
    which = [i for i, unit in enumerate(source.units) if unit.rows]
    looks = {i: source.looks[i] for i in which}
    return on_units(spark, source.units, which, partial(_gather, ordered, looks), GATHERED)


def _gather(ordered: _Ordered, looks: Mapping[int, Look], number: int, unit: Unit) -> Iterator[pa.RecordBatch]:
    look, feed, scratch = looks[number], ordered.feeds[unit.feed], Scratch()
    changed = InputRefused(f"{unit.name} changed while being read; run again when nothing writes to the source")
    if stamp_of(unit) != look.stamp:
        raise changed
    try:
        with at_hand(unit) as (file, start), unchanged(stamps_of([Feed(feed.table, (file,))])):
            cards = ordered.cards.get(feed.table, ())
            part = opened_unit(unit, feed, file, start)
            part, known, found = read_again(part, look, cards, ordered.settings, scratch)
            if found.rejected:
                yield from _part("reject", rejects(part, known, found))
            if found.rows > found.rejected:
                tables = {feed.table: kept(part, known, found, ordered.columns[feed.table])}
                yield from _of_table(feed.table, tables, ordered.settings)
    finally:
        scratch.close()
    if stamp_of(unit) != look.stamp:
        raise changed


def _of_table(table: str, tables: Mapping[str, pl.LazyFrame], settings: Settings) -> Iterator[pa.RecordBatch]:
    if table == "ranges":
        declared = tables[table].select(value="cidr", kind="kind").unique().collect(engine="streaming")
        yield from _part("range", declared)
        return
    if table == "accounts":
        codes = Codes()
        given = given_accounts(tables, codes)
        yield from _part("account", given.with_columns(account_id=codes.texts().gather(given["account"])))
        return
    columns = link_columns(tables)
    kinds = sorted({c.kind for c in columns})
    yield from _part("kind", pl.DataFrame({"kind": kinds}, schema={"kind": pl.String}))
    if len(kinds) > MOST_KINDS:
        return  # the source is refused for it
    gathered = Gathered(kinds, _FEWEST)
    for batch in batches(rows_of(tables, table)):
        gathered.add(table, batch, columns)
        if gathered.held > _HELD:
            yield from _sums(gathered, settings)
            gathered = Gathered(kinds, _FEWEST)
    yield from _sums(gathered, settings)


def _sums(gathered: Gathered, settings: Settings) -> Iterator[pa.RecordBatch]:
    """All that is gathered; the links are let go."""
    names = gathered.accounts.texts()
    place = pl.int_range(len(names), dtype=pl.UInt32, eager=True)
    activity = gathered.activity.result()
    yield from _part(
        "account", activity.rename({"events": "count"}).with_columns(account_id=names.gather(activity["account"]))
    )
    active = pl.repeat(False, len(names), dtype=pl.Boolean, eager=True).scatter(activity["account"], True)
    yield from _part("account", names.alias("account_id").filter(~active).to_frame())
    for kind in list(gathered.links):
        identifiers, links = links_of_kind(kind, gathered, place, settings)
        account, code = unpaired(links["link"])
        texts = {"account_id": names.gather(account), "value": identifiers["value"].gather(code)}
        yield from _part("link", links.with_columns(kind=pl.lit(kind), **texts))
    for part, sums in (("request", gathered.requests), ("limit", gathered.limits)):
        rows = sums.result()
        account, slot = unpaired(rows["at"])
        yield from _part(
            part, rows.select(account_id=names.gather(account), slot=slot, count="requests", first="first")
        )


def _part(part: str, rows: pl.DataFrame) -> Iterator[pa.RecordBatch]:
    yield from sent(GATHERED, rows.with_columns(part=pl.lit(part)))
