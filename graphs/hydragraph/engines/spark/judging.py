"""Card numbers among texts of many tasks: what a column holds is judged as a whole, so Spark counts what is distinct."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from hydragraph.card_numbers import Found as Cards
from hydragraph.card_numbers import judge, looks_like_card
from hydragraph.engines.spark.frames import frames, schema_of, sent
from hydragraph.engines.spark.tasks import on_units, saying_why
from hydragraph.engines.spark.units import Found, Unit, at_hand, opened_unit
from hydragraph.loaders.card_columns import Few, Place, Suspected, few_of, refuse_places
from hydragraph.loaders.checking import Known
from hydragraph.loaders.files import Feed
from hydragraph.loaders.scan import Scratch
from hydragraph.loaders.source import survey_first

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

Suspicion = tuple[str, int, int, bool]
"""A column of a unit with what may be card numbers: its name, how many texts have their shape and how many look like one
(-1: not known), and whether each kind is judged by itself."""

TEXTS = "column string, kind string, text string"
"""Texts by the place where they stand."""

_COUNTS = "column string, kind string, shaped long, alike long, printed long"
_VALUES = "feed long, file long, column string, kind string, value string"


def judged(texts: DataFrame) -> dict[Place, Cards]:
    """What the distinct texts of each place hold (texts: see TEXTS); `values` are those of the shape of card numbers.

    Collected here: a row a place.
    """
    from pyspark.sql import functions as fn

    counts = texts.distinct().mapInArrow(_judged, _COUNTS).groupBy("column", "kind")
    with saying_why():
        rows = counts.agg(*(fn.sum(name).alias(name) for name in ("shaped", "alike", "printed"))).collect()
    return {(r["column"], r["kind"]): Cards(r["shaped"], r["alike"], r["printed"], r["shaped"]) for r in rows}


def few_cards(
    spark: SparkSession, found: Found, which: Sequence[int], suspicions: Mapping[int, Sequence[Suspicion]]
) -> Few:
    """The texts of a table whose rows are rejected, because they look like card numbers. which: its units; suspicions: of
    each of them. Raises InputRefused if a column of it holds card numbers.

    Collected here: of each column, and of `links` of each kind, how many texts have the shape of card numbers, and two of
    them.
    """
    held: dict[str, list[Suspicion]] = {}
    for i in which:
        for suspicion in suspicions[i]:
            held.setdefault(suspicion[0], []).append(suspicion)
    columns = {column for column, of_column in held.items() if _may_be_doubtful(of_column)}
    units = [i for i in which if any(column in columns for column, *_ in suspicions[i])]
    if not units:
        return ()
    table = found.feeds[found.units[units[0]].feed].table
    texts = on_units(spark, found.units, units, partial(_shaped_texts, found.feeds, columns), TEXTS)
    places = judged(texts)
    doubtful = [place for place, of in places.items() if of.doubtful and not of.beyond_chance]
    alike: dict[Place, pl.Series] = {}
    if doubtful:
        values = _values(spark, found, units, columns, doubtful)
        places |= {p: replace(places[p], values=max(places[p].shaped, values[p])) for p in doubtful}
        alike = _alike(texts, doubtful)
    refuse_places(table, places)
    return few_of({place: (alike[place], places[place]) for place in doubtful})


def _may_be_doubtful(of_column: Sequence[Suspicion]) -> bool:
    """Whether all texts together may be mostly alike: there are no fewer of the shape than in one unit, and no more that
    look like card numbers than in all units."""
    if any(shaped < 0 for _, shaped, _, _ in of_column):
        return True
    alike = sum(alike for _, _, alike, _ in of_column)
    return 2 * alike > max(shaped for _, shaped, _, _ in of_column) or (alike > 0 and of_column[0][3])


def _judged(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for rows in frames(batches):
        found = []
        for (column, kind), group in rows.group_by("column", "kind"):
            of = judge(group["text"])
            found.append((column, kind, of.shaped, of.alike, of.printed))
        yield from sent(_COUNTS, pl.DataFrame(found, schema=schema_of(_COUNTS), orient="row"))


def _alike(texts: DataFrame, places: Sequence[Place]) -> dict[Place, pl.Series]:
    """The texts of some places that look like card numbers, sorted."""
    with saying_why():
        rows = texts.distinct().mapInArrow(partial(_only_alike, set(places)), TEXTS).collect()
    found: dict[Place, list[str]] = {place: [] for place in places}
    for row in rows:
        found[row["column"], row["kind"]].append(row["text"])
    return {place: pl.Series(sorted(held), dtype=pl.String) for place, held in found.items()}


def _only_alike(places: set[Place], batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for rows in frames(batches):
        inside = pl.Series([place in places for place in rows.select("column", "kind").iter_rows()], dtype=pl.Boolean)
        yield from sent(TEXTS, rows.filter(inside & looks_like_card(rows["text"])))


def _values(
    spark: SparkSession, found: Found, units: Sequence[int], columns: set[str], places: Sequence[Place]
) -> dict[Place, int]:
    """How many distinct values the places have in a file, at most; null counts as one."""
    from pyspark.sql import functions as fn

    rows = on_units(spark, found.units, units, partial(_distinct_values, found.feeds, columns, set(places)), _VALUES)
    of_file = rows.distinct().groupBy("feed", "file", "column", "kind").agg(fn.count("*").alias("values"))
    with saying_why():
        most = of_file.groupBy("column", "kind").agg(fn.max("values").alias("values")).collect()
    return {(row["column"], row["kind"]): row["values"] for row in most}


def _shaped_texts(feeds: Sequence[Feed], columns: set[str], number: int, unit: Unit) -> Iterator[pa.RecordBatch]:
    for suspected in _suspected(feeds, columns, unit):
        for (column, kind), shaped in suspected.places.items():
            yield from sent(
                TEXTS,
                shaped.texts.alias("text").to_frame().with_columns(column=pl.lit(column), kind=pl.lit(kind, pl.String)),
            )


def _distinct_values(
    feeds: Sequence[Feed], columns: set[str], places: set[Place], number: int, unit: Unit
) -> Iterator[pa.RecordBatch]:
    for suspected in _suspected(feeds, columns, unit):
        kinds = [kind for column, kind in places if column == suspected.column]
        held = suspected.held.filter(pl.col("kind").is_in(kinds, nulls_equal=True)).unique()
        rows = suspected.part.collect(held)
        place = {"feed": unit.feed, "file": unit.file, "column": suspected.column}
        yield from sent(_VALUES, rows.with_columns(**{name: pl.lit(value) for name, value in place.items()}))


def _suspected(feeds: Sequence[Feed], columns: set[str], unit: Unit) -> Iterator[Suspected]:
    """The columns of a unit with what may be card numbers, as its survey finds them."""
    scratch = Scratch()
    try:
        with at_hand(unit) as (file, start):
            _, found = survey_first(opened_unit(unit, feeds[unit.feed], file, start), Known(), scratch)
            yield from (suspected for suspected in found.suspected if suspected.column in columns)
    finally:
        scratch.close()
