"""Evidence (evidence.py) on Spark: the same figures as the embedded engine's, to the last bit.

Arithmetic is the embedded engine's own, on arrays within partitions; counting, and joining links, is Spark's. Random pairs
are those of the embedded engine: whoever draws knows where in its stream of random numbers an identifier stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from hydragraph.engines.spark.arrays import batches_of, column, frame_of, given, rows_of
from hydragraph.engines.spark.meshing import find_meshes_on_spark
from hydragraph.engines.spark.numbering import block_of, number_before
from hydragraph.engines.spark.stages import CLASSES, GAPS, IDENTIFIERS, LINKS, WEIGHTS, Stages
from hydragraph.evidence import (
    CORROBORATING_ACCOUNTS,
    ENOUGH_PAIRS,
    LEVELS,
    OWN_PAIRS,
    Calibration,
    calibrate,
    class_stream,
    draw,
    levels,
    number_drawn,
    own_logit,
    own_stream,
    pairs_each,
    prior_bits,
    sample_step,
)
from hydragraph.meshes import are_linked, are_woven
from hydragraph.runs import changes
from hydragraph.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame

DEGREES = "identifier long, kind long, degree long, known boolean, level int, block long"
"""Of every identifier the code of its kind (position in `kinds`), the accounts that use it, whether it is inside declared
shared infrastructure, its level (evidence.levels; 0 for none), and the first code of the block of codes that it is in."""

DRAWS = "of long, pair long, kind long, identifier long, first long, other long"
"""Pairs of users of an identifier, by their places among them. of: the class (64 * kind + level) or identifier that is asked
about; pair: a number within it."""

DRAWN = "of long, pair long, kind long, identifier long, a long, b long, at_a long, at_b long"
"""The same by their accounts. at_a, at_b: when each used it, if once and at a known time, else null."""

_COUNTED = "kind long, level int, block long, before long, step long"
_COUNTS = "of long, pairs long, corroborated long, again long"
_DOUBTFUL = "identifier long, kind long, degree long, block long, number long"


@dataclass(frozen=True)
class _Run:
    """What one weighing reads and how its stages are called."""

    stages: Stages
    kinds: Sequence[str]
    settings: Settings
    links: str
    suffix: str

    def make(self, name: str, schema: str, build: Callable[[], DataFrame]) -> DataFrame:
        return self.stages.make(name + self.suffix, build, schema)

    def users(self) -> DataFrame:
        return self.stages.read(self.links, LINKS).select("account", "identifier")


def weigh_on_spark(
    stages: Stages,
    kinds: Sequence[str],
    settings: Settings,
    prior: float | None = None,
    links: str = "links",
    suffix: str = "",
) -> float:
    """log2 N; and the stages weights, several, gaps and classes and the note prior, each with `suffix` to its name: what
    `evidence.weigh` makes of the stages `links` and identifiers.

    kinds: every kind in identifiers, sorted (BipartiteGraph.kinds). prior: log2 N; None: N are the accounts with a link.
    links: a stage with the columns of LINKS, each pair once; without count or times there are no gaps.

    In between it makes the stages degrees, class_draws, class_pairs, rare, strands, meshes, doubtful, own_draws and own.

    Brought to the driver are only figures of classes (at most 64 levels a kind), by 256 blocks of identifiers.
    A task holds at most the 4,000 identifiers that are sampled of a class, with 80,000 pairs. The users of one
    identifier are put in order by one task, which need not hold them.
    Not checked: whether codes are those of the embedded engine, dense and in the order of kinds and values.
    """
    run = _Run(stages, list(kinds), settings, links, suffix)
    bits = float(stages.note("prior" + suffix, lambda: {"prior": _prior(run) if prior is None else prior})["prior"])
    degrees = run.make("degrees", DEGREES, lambda: _degrees(run))
    draws = run.make("class_draws", DRAWS, lambda: _class_draws(run, degrees))
    drawn = run.make("class_pairs", DRAWN, lambda: _placed(run, draws))
    calibration = _calibration(run, degrees, drawn)
    run.make("gaps", GAPS, lambda: _gaps(run, drawn))
    meshes = find_meshes_on_spark(run.make, run.users(), degrees, run.kinds)
    doubtful = run.make("doubtful", _DOUBTFUL, lambda: _doubtful(degrees, meshes, calibration))
    draws = run.make("own_draws", DRAWS, lambda: _own_draws(run, doubtful))
    own = run.make("own", _COUNTS, lambda: _looked_up(run, _placed(run, draws), degrees))
    run.make("weights", WEIGHTS, lambda: _weights(degrees, meshes, own, calibration, bits))
    return bits


def _prior(run: _Run) -> float:
    return prior_bits(run.users().select("account").distinct().count())


def _degrees(run: _Run) -> DataFrame:
    from pyspark.sql import functions as f

    identifiers = run.stages.read("identifiers", IDENTIFIERS)
    users = run.users().groupBy("identifier").agg(f.count("*").alias("users"))
    kind = f.array_position(f.array(*(f.lit(k) for k in run.kinds)).cast("array<string>"), f.col("kind")) - 1
    degree = f.coalesce("users", f.lit(0).cast("long"))
    return identifiers.join(users, "identifier", "left").select(
        "identifier",
        kind.cast("long").alias("kind"),
        degree.alias("degree"),
        f.col("known").isNotNull().alias("known"),
        # binary digits: the whole part of log2
        (f.length(f.bin(f.greatest(degree, f.lit(1).cast("long")))) - 1).cast("int").alias("level"),
        block_of("identifier", identifiers.count()).alias("block"),
    )


# Pairs of users, drawn


def _class_draws(run: _Run, degrees: DataFrame) -> DataFrame:
    """DRAWS of every class: of each every so many-th identifier in the order of codes, counted over blocks."""
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    shared = degrees.filter("degree > 1")
    table = shared.groupBy("kind", "level", "block").count().toArrow()
    kind, level, block, number = (column(table, name) for name in ("kind", "level", "block", "count"))
    order = np.lexsort((block, level, kind))
    kind, level, block, number = (x[order] for x in (kind, level, block, number))
    of = np.cumsum(changes(kind, level)) - 1
    members = np.bincount(of, number).astype(np.int64)
    before = number_before(number, of)
    step = np.array([sample_step(m) for m in members.tolist()], np.int64)[of]
    counted = frame_of(run.stages.spark, _COUNTED, kind, level, block, before, step)
    within = Window.partitionBy("kind", "level", "block").orderBy("identifier")
    place = f.row_number().over(within) - 1 + f.col("before")
    sampled = (
        shared.join(f.broadcast(counted), ["kind", "level", "block"])
        .withColumn("place", place)
        .filter("place % step = 0")
        .select("kind", "level", "identifier", "degree")
    )
    seed = run.settings.seed
    # without annotations, which PySpark would try to resolve
    return sampled.groupBy("kind", "level").applyInArrow(lambda rows: _drawn_of_class(rows, seed), DRAWS)


def _drawn_of_class(rows: pa.Table, seed: int) -> pa.Table:
    rows = rows.sort_by("identifier")
    kind, level = (int(rows[name][0].as_py()) for name in ("kind", "level"))
    identifier, size = column(rows, "identifier"), column(rows, "degree")
    rng = class_stream(seed, kind, level)
    at, first, other = draw(size, pairs_each(len(size)), rng, rng)
    of = np.full(len(at), kind * LEVELS + level)
    return rows_of(DRAWS, of, np.arange(len(at)), np.full(len(at), kind), identifier[at], first, other)


def _doubtful(degrees: DataFrame, meshes: DataFrame, calibration: Calibration) -> DataFrame:
    """The identifiers that are weighed by their own users, and how many pairs of them."""
    rows = (
        degrees.filter("degree > 1")
        .join(meshes, "identifier", "left")
        .select("identifier", "kind", "degree", "block", "several")
    )
    return rows.mapInArrow(partial(_doubted, calibration=calibration), _DOUBTFUL)


def _doubted(batches: Iterator[pa.RecordBatch], calibration: Calibration) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        identifier, kind, degree, block = (column(batch, name) for name in ("identifier", "kind", "degree", "block"))
        linked = are_linked(degree, column(batch, "several"))
        at = calibration.doubtful(degree, kind, calibration.logit(degree, kind), linked)
        rows = (x[at] for x in (identifier, kind, degree, block, number_drawn(degree, OWN_PAIRS)))
        yield from batches_of(_DOUBTFUL, *rows)


def _own_draws(run: _Run, doubtful: DataFrame) -> DataFrame:
    """DRAWS of every doubtful identifier from one stream, in the order of codes."""
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    table = doubtful.groupBy("block").agg(f.sum("number").alias("number")).toArrow().sort_by("block")
    block, number = column(table, "block"), column(table, "number")
    counted = frame_of(run.stages.spark, "block long, before long", block, np.cumsum(number) - number)
    within = Window.partitionBy("block").orderBy("identifier").rowsBetween(Window.unboundedPreceding, 0)
    start = f.sum("number").over(within) - f.col("number") + f.col("before")
    rows = (
        doubtful.join(f.broadcast(counted), "block")
        .withColumn("start", start)
        .select("identifier", "kind", "degree", "number", "start")
    )
    return rows.mapInArrow(partial(_drawn_of_own, seed=run.settings.seed, total=int(number.sum())), DRAWS)


def _drawn_of_own(batches: Iterator[pa.RecordBatch], seed: int, total: int) -> Iterator[pa.RecordBatch]:
    """total: pairs drawn of all identifiers. The stream holds the first of every pair, and then the other of every pair."""
    for batch in batches:
        columns = [column(batch, name) for name in ("identifier", "kind", "degree", "number", "start")]
        order = np.argsort(columns[-1])
        identifier, kind, size, number, start = (x[order] for x in columns)
        # identifiers that follow one another in the stream are drawn in one go
        alone = np.flatnonzero(np.append(True, start[1:] != (start + number)[:-1])[: len(start)])
        for i, j in zip(alone.tolist(), [*alone[1:].tolist(), len(start)], strict=False):
            firsts, others = own_stream(seed), own_stream(seed)
            for stream, place in ((firsts, int(start[i])), (others, total + int(start[i]))):
                _ahead(stream, place)
            at, first, other = draw(size[i:j], OWN_PAIRS, firsts, others)
            of = identifier[i:j][at]
            yield from batches_of(DRAWS, of, np.arange(len(at)), kind[i:j][at], of, first, other)


def _ahead(stream: np.random.Generator, drawn: int) -> None:
    """Leave out so many of its numbers between 0 and 1: each takes one step of the generator."""
    generator = stream.bit_generator
    assert isinstance(generator, np.random.PCG64)
    generator.advance(drawn)


def _placed(run: _Run, draws: DataFrame) -> DataFrame:
    """DRAWN from DRAWS: places among the users of an identifier, sorted by account, are turned into accounts."""
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    links = run.stages.read(run.links, LINKS)
    among = Window.partitionBy("identifier").orderBy("account")
    once = "count = 1 and first_seen = last_seen and first_seen >= 0"
    users = links.join(draws.select("identifier").distinct(), "identifier", "left_semi").select(
        "identifier",
        "account",
        f.when(f.expr(once), f.col("first_seen")).alias("moment"),
        (f.row_number().over(among) - 1).cast("long").alias("place"),
    )
    which = ["of", "pair", "kind", "identifier"]
    places = draws.select(*which, f.posexplode(f.array("first", "other")).alias("end", "place"))

    def at(end: int, name: str) -> Column:
        return f.max(f.when(f.col("end") == end, f.col(name)))

    return (
        places.join(users, ["identifier", "place"])
        .groupBy(*which)
        .agg(
            at(0, "account").alias("a"),
            at(1, "account").alias("b"),
            at(0, "moment").alias("at_a"),
            at(1, "moment").alias("at_b"),
        )
    )


# What the pairs say


def _looked_up(run: _Run, drawn: DataFrame, degrees: DataFrame) -> DataFrame:
    """Of each `of` in DRAWN: how many pairs, how many of them share a narrow identifier of another kind than the one they
    were drawn on (corroborated), and how many share a second of that kind (again)."""
    from pyspark.sql import functions as f

    links = run.users()
    of_a = links.select(f.col("account").alias("a"), f.col("identifier").alias("common"))
    of_b = links.select(f.col("account").alias("b"), f.col("identifier").alias("common"))
    common = degrees.select(
        f.col("identifier").alias("common"), f.col("kind").alias("common_kind"), f.col("degree").alias("common_degree")
    )
    same = f.col("common_kind") == f.col("kind")
    narrow = ~same & (f.col("common_degree") <= CORROBORATING_ACCOUNTS)
    # every pair shares what it was drawn on, and so none is lost
    by_pair = (
        drawn.select("of", "pair", "kind", "a", "b")
        .join(of_a, "a")
        .join(of_b, ["b", "common"])
        .join(common, "common")
        .groupBy("of", "pair")
        .agg(f.max(narrow.cast("int")).alias("narrow"), f.sum(same.cast("int")).alias("same"))
    )
    return by_pair.groupBy("of").agg(
        f.count("*").alias("pairs"),
        f.sum(f.col("narrow").cast("long")).alias("corroborated"),
        f.sum((f.col("same") > 1).cast("long")).alias("again"),
    )


def _calibration(run: _Run, degrees: DataFrame, drawn: DataFrame) -> Calibration:
    """The calibration from the stage classes, which is made of the counts."""

    def classes() -> DataFrame:
        members = degrees.filter("degree > 1").groupBy("kind", "level").count().toArrow().to_pylist()
        found = {row["of"]: row for row in _looked_up(run, drawn, degrees).toArrow().to_pylist()}
        counts = []
        for row in sorted(members, key=lambda row: (row["kind"], row["level"])):
            kind, level = row["kind"], row["level"]
            seen = found[kind * LEVELS + level]
            counts.append((kind, level, row["count"], seen["pairs"], seen["corroborated"], seen["again"]))
        table = calibrate(run.kinds, counts).classes
        return frame_of(run.stages.spark, CLASSES, *(table[name] for name in table.columns))

    code = {kind: i for i, kind in enumerate(run.kinds)}
    names = ("level", "identifiers", "pairs", "corroborated", "again")
    rows = run.make("classes", CLASSES, classes).toArrow().to_pylist()
    return calibrate(run.kinds, sorted((code[row["kind"]], *(row[name] for name in names)) for row in rows))


def _gaps(run: _Run, drawn: DataFrame) -> DataFrame:
    from pyspark.sql import functions as f

    gaps = drawn.select("kind", f.abs(f.col("at_a") - f.col("at_b")).alias("gap")).filter("gap is not null")
    enough = gaps.groupBy("kind").count().filter(f.col("count") >= ENOUGH_PAIRS).select("kind")
    name = f.array(*(f.lit(k) for k in run.kinds)).cast("array<string>")
    return gaps.join(enough, "kind", "left_semi").select(f.get(name, f.col("kind").cast("int")).alias("kind"), "gap")


def _weights(
    degrees: DataFrame, meshes: DataFrame, own: DataFrame, calibration: Calibration, prior: float
) -> DataFrame:
    from pyspark.sql import functions as f

    of_own = own.select(f.col("of").alias("identifier"), f.col("pairs").alias("looked_at"), "corroborated")
    rows = (
        degrees.join(meshes, "identifier", "left")
        .join(of_own, "identifier", "left")
        .select("identifier", "kind", "degree", "known", "users", "twice", "looked_at", "corroborated")
    )
    return rows.mapInArrow(partial(_worth, calibration=calibration, prior=prior), WEIGHTS)


def _worth(batches: Iterator[pa.RecordBatch], calibration: Calibration, prior: float) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        identifier, kind, degree = (column(batch, name) for name in ("identifier", "kind", "degree"))
        woven = are_woven(degree, column(batch, "users"), column(batch, "twice"))
        logit = calibration.logit(degree, kind)
        own = np.flatnonzero(given(batch, "looked_at"))
        looked_at, corroborated = (column(batch, name)[own] for name in ("looked_at", "corroborated"))
        usual = calibration.usual[kind[own], levels(degree[own])]
        logit[own] = np.minimum(logit[own], own_logit(looked_at, corroborated, usual))
        known = column(batch, "known").astype(bool)
        worth = calibration.worth(degree, kind, logit, known, woven, prior)
        yield from batches_of(WEIGHTS, identifier, degree, *worth)
