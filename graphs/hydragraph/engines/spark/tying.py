"""Pairs of accounts with the evidence between them (ties.py), on Spark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hydragraph.engines.spark.arrays import batches_of, column, names_of
from hydragraph.engines.spark.records import RECORDS, find_records, records_of, sliced, wide_of_kind
from hydragraph.engines.spark.stages import GAPS, IDENTIFIERS, LINKS, SEVERAL, SLOTS, TIES, WEIGHTS, Stages
from hydragraph.engines.spark.uses import USES, find_pairing, find_uses, kinds_of, usual_products
from hydragraph.engines.spark.wholes import arranged, whole_groups
from hydragraph.runs import changes
from hydragraph.ties import (
    PAIR_BUDGET,
    Looked,
    Uses,
    Worth,
    breadth,
    circumstantial_kinds,
    decide,
    form_pairs,
    look,
    pair_budget,
    pair_key,
    worth_keeping,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

ENTRIES = "key long, kind int, identifier long, best int, further int, flags int"
"""A pair of accounts (a * N + b) on one identifier: the columns of ties.look."""

LOOKED = "a long, b long, telling long, around long, shared long, kinds long"
"""Pairs that come near the threshold: ties.Looked."""

_USES = 100_000
_PAIRS = 500_000
_ENTRIES = 1_000_000


@dataclass(frozen=True)
class _Setting:
    """What every task needs to know. All arrays have shape (kinds,).

    starts: code of the first identifier of each kind. circumstantial: which kinds never make a tie. usual: m^2 of
    ties.breadth.
    """

    accounts: int
    prior: float
    starts: NDArray[np.int64]
    circumstantial: NDArray[np.bool_]
    usual: NDArray[np.float64]


def tie_on_spark(
    stages: Stages,
    kinds: Sequence[str],
    prior: float,
    accounts: int,
    *,
    timed: bool = True,
    pairs_each: int = PAIR_BUDGET,
    links: str = "links",
    suffix: str = "",
) -> int:
    """How many pairs were formed; and the stage ties with `suffix` to its name: what `ties.find_ties` makes of the stages
    `links`, identifiers and requests, and of weights, several and gaps with `suffix` to their names.

    kinds: every kind in identifiers, sorted (BipartiteGraph.kinds). prior: log2 N. accounts: how many there are. timed:
    whether requests count; without them, circumstantial kinds form no pairs. links: a stage with the columns of LINKS, each
    pair once; count, first_seen and last_seen may be missing together, and then they are 1 and unknown.

    Brought to the driver: some figures a kind, pairs by log-odds in thousandths of a bit, at most a thousand hubs, and the
    sampled gaps (at most 80,000 a class). A task holds all links, requests and wide identifiers of an account, all pairs of
    an identifier (at most 130,816), and never all users of a wide identifier; in the end the records of both accounts of as
    many pairs as Spark puts into a batch. A record goes along with every pair that comes near.
    Not checked: whether codes are dense and in the order of kinds.
    """
    circumstantial = circumstantial_kinds(kinds)
    able = np.ones(len(kinds), bool) if timed else ~circumstantial
    linked, weights = stages.read(links, LINKS), stages.read("weights" + suffix, WEIGHTS)
    pairing = find_pairing(
        stages.read("identifiers", IDENTIFIERS), weights, list(kinds), able, pair_budget(accounts, pairs_each)
    )
    usual = stages.note("usual" + suffix, lambda: usual_products(linked, pairing.starts))
    setting = _Setting(
        accounts, prior, pairing.starts, circumstantial, np.array([usual.get(str(k), 1.0) for k in range(len(kinds))])
    )
    several = stages.read("several" + suffix, SEVERAL)
    uses = stages.make("uses" + suffix, lambda: find_uses(linked, weights, several, pairing), USES)
    gaps = _gaps(stages.read("gaps" + suffix, GAPS), kinds)
    looked = stages.make("looked" + suffix, lambda: _looked(uses.filter("paired"), setting, gaps), LOOKED)
    asked = looked.selectExpr("a as account").union(looked.selectExpr("b as account"))
    requests = stages.read("requests", SLOTS).select("account", "slot") if timed else None
    wide = uses.filter("not paired").select("account", "identifier", "bits")
    records = stages.make("records" + suffix, lambda: find_records(asked, requests, wide), RECORDS)
    stages.make(
        "ties" + suffix, lambda: _with_records(looked, records).mapInArrow(partial(_ties, setting=setting), TIES)
    )
    return pairing.formed


def _gaps(table: DataFrame, kinds: Sequence[str]) -> dict[int, NDArray[np.int64]]:
    """Evidence.gaps."""
    gaps = table.toArrow()
    of, gap = np.array(gaps["kind"].to_pylist(), object), column(gaps, "gap")
    found = {k: np.sort(gap[of == kind]) for k, kind in enumerate(kinds)}
    return {k: each for k, each in found.items() if len(each)}


def _looked(uses: DataFrame, setting: _Setting, gaps: Mapping[int, NDArray[np.int64]]) -> DataFrame:
    """LOOKED of the uses of identifiers that form pairs."""
    by_identifier = arranged(uses.drop("paired"), "identifier", "account")
    entries = by_identifier.mapInArrow(partial(_entries, setting=setting, gaps=gaps), ENTRIES)
    return arranged(entries, "key", "identifier").mapInArrow(partial(_near, setting=setting), LOOKED)


def _entries(
    batches: Iterator[pa.RecordBatch], setting: _Setting, gaps: Mapping[int, NDArray[np.int64]]
) -> Iterator[pa.RecordBatch]:
    for rows in whole_groups(batches, "identifier", _USES):
        identifier, account, held = (
            column(rows, "identifier"),
            column(rows, "account"),
            column(rows, "held").astype(np.int64),
        )
        starts = np.flatnonzero(changes(identifier))
        number = np.diff(np.append(starts, len(identifier)))
        uses = Uses(account, *(column(rows, name) for name in ("focus", "moment", "passing", "several")))
        identifier = identifier[starts]
        bits, further, woven = (column(rows, name)[starts].astype(np.int64) for name in ("bits", "further", "woven"))
        worth = Worth(kinds_of(identifier, setting.starts), bits, further, woven, column(rows, "sure")[starts])
        for pairs in form_pairs(uses, starts, number, np.arange(len(starts)), worth, gaps, setting.prior, _PAIRS):
            kind, close = worth.kind[pairs.identifier], pairs.close.astype(np.int64)
            close -= breadth(held[pairs.a] * held[pairs.b], setting.usual[kind])
            yield from batches_of(
                ENTRIES,
                pair_key(uses, pairs, np.int64(setting.accounts)),
                kind.astype(np.int32),
                identifier[pairs.identifier],
                (bits[pairs.identifier] + close).astype(np.int32),
                (further[pairs.identifier] + close).astype(np.int32),
                pairs.flags.astype(np.int32),
            )


def _near(batches: Iterator[pa.RecordBatch], setting: _Setting) -> Iterator[pa.RecordBatch]:
    for rows in whole_groups(batches, "key", _ENTRIES):
        key, flags = column(rows, "key"), column(rows, "flags").astype(np.uint8)
        keep = worth_keeping(key, flags)
        kind, identifier, best, further = (
            column(rows, name)[keep].astype(np.int64) for name in ("kind", "identifier", "best", "further")
        )
        looked = look(
            key[keep], kind, identifier, best, further, flags[keep], setting.circumstantial, setting.prior,
            setting.accounts,
        )  # fmt: skip
        yield from batches_of(LOOKED, *(getattr(looked, name) for name in names_of(LOOKED)))


def _with_records(looked: DataFrame, records: DataFrame) -> DataFrame:
    """Pairs with the RECORDS of both, with _a and _b to their names; null where an account has none."""
    pairs = looked
    for side in "ab":
        named = {name: side if name == "account" else f"{name}_{side}" for name in records.columns}
        pairs = pairs.join(records.select(*(records[name].alias(new) for name, new in named.items())), side, "left")
    return pairs


def _ties(batches: Iterator[pa.RecordBatch], setting: _Setting) -> Iterator[pa.RecordBatch]:
    for rows in (part for batch in batches for part in sliced(batch)):
        looked = Looked(*(column(rows, name) for name in names_of(LOOKED)))
        records = records_of(rows)
        here = np.arange(rows.num_rows)
        in_time = records.bursts.together(here, here + rows.num_rows)
        of_kind = partial(wide_of_kind, records, kinds_of(records.wide, setting.starts))
        ties = decide(looked, in_time, of_kind, setting.circumstantial, setting.prior)
        yield from batches_of(TIES, *(getattr(ties, name) for name in names_of(TIES)))
