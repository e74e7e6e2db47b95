"""The last step, in one task on an executor: the stages become a graph again, and the embedded steps conclude on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

import hydragraph.errors
from hydragraph.activity import read_activity
from hydragraph.bipartite import BipartiteGraph
from hydragraph.case import open_case
from hydragraph.chance import Chance, cores_by_chance
from hydragraph.constraints import coded_pairs
from hydragraph.engines.engine import Conclude, Job, Tied, Timing
from hydragraph.engines.spark.frames import schema_of
from hydragraph.engines.spark.places import is_uri, open_place, put_case, where
from hydragraph.engines.spark.probing import UNSEEN
from hydragraph.engines.spark.rewiring import REWIRED, SUFFIX, WIRED
from hydragraph.engines.spark.stages import (
    ACCOUNTS,
    CLASSES,
    GAPS,
    IDENTIFIERS,
    LINKS,
    PIECES,
    REJECTS,
    SEVERAL,
    SLOTS,
    TIES,
    WEIGHTS,
    files_of,
    parquet_in,
)
from hydragraph.engines.spark.tasks import discreetly
from hydragraph.errors import EngineFailed, HydragraphError
from hydragraph.evidence import Evidence
from hydragraph.limits import read_limits
from hydragraph.links import not_yet_closed
from hydragraph.loaders import Source
from hydragraph.schema import TIME
from hydragraph.ties import Ties
from hydragraph.unfinished import Temporary

if TYPE_CHECKING:
    import pyarrow as pa

    from hydragraph.engines.spark.stages import Stages

READ = (
    *("accounts", "identifiers", "links", "requests", "limits", "rejects", "weights", "several", "gaps", "classes"),
    *("ties", "pieces", f"pieces{SUFFIX}", "wired_ties", "wired_links", "wired"),
)
"""The stages that are read here."""

_TIMES = ("created_at", "closed_at", "first_seen", "last_seen")


@dataclass(frozen=True)
class Small:
    """What the steps on Spark found that is no stage. stages: where each that is read here stands, see Stages.written.
    prior: log2 N. formed: pairs of accounts looked at. rewired: links of the rewired graph by kind. previous, digest: folder
    and Case.digest of the earlier case."""

    stages: Mapping[str, tuple[str, list[int]]]
    source: Source
    prior: float
    formed: int
    rewired: tuple[int, ...]
    previous: str | None
    digest: str | None
    confirmed: list[pl.Series]
    said: list[str]
    done: list[dict[str, Any]]


def conclude_on_executor(stages: Stages, job: Job, small: Small, conclude: Conclude) -> None:
    """Run `conclude` on the stages in one task, which writes the case.

    The driver gets a line for each stage of time and no data. Raises what the task raised, if that is a sentence for people.
    Not bounded: the memory of this task grows with the number of accounts and links, see docs/scale.md.
    """
    # the driver has asked whether a case may be replaced; a task that is run again must not trip over its first run
    job = replace(job, before=None, force=True)

    def task(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow

        for _ in batches:
            with discreetly():
                said = _concluded(job, small, conclude)
            yield pyarrow.RecordBatch.from_pydict({"said": [json.dumps(said)]})

    (row,) = stages.spark.range(0, 1, 1, 1).mapInArrow(task, "said string").collect()
    said = json.loads(row["said"])
    if "error" in said:
        raise getattr(hydragraph.errors, said["error"])(said["sentence"])


def _concluded(job: Job, small: Small, conclude: Conclude) -> dict[str, str]:
    try:
        if small.previous is not None:
            before = open_case(small.previous)
            if before.digest != small.digest:
                if where(small.previous) == where(job.out):
                    return {}  # an earlier try of this task has put the new case in its place
                raise EngineFailed("Spark: the earlier case has changed meanwhile; no case was written: run again")
            job = replace(job, before=before)
        timing = Timing(done=list(small.done))
        if not is_uri(job.out):
            conclude(job, lambda: _tied(job, small), timing)
            return {}
        here = Temporary()
        try:
            conclude(replace(job, out=here.path / "case"), lambda: _tied(job, small), timing)
            put_case(here.path / "case", str(job.out))
        finally:
            here.close()
    except HydragraphError as error:
        return {"error": type(error).__name__, "sentence": str(error)}
    return {}


def _tied(job: Job, small: Small) -> Tied:
    """The stages, as the embedded engine has them in memory."""
    known = job.known

    def stage(name: str, schema: str, *order: str) -> pl.DataFrame:
        return _read(*small.stages[name], schema, order)

    accounts = stage("accounts", ACCOUNTS, "account").drop("account")
    accounts = accounts.with_columns(pl.col(c).cast(TIME) for c in _TIMES)
    identifiers = stage("identifiers", IDENTIFIERS, "identifier").drop("identifier")
    links = stage("links", LINKS, "account", "identifier").with_columns(
        pl.col("account", "identifier").cast(pl.UInt32), pl.col("first_seen", "last_seen").cast(TIME)
    )
    graph, never = not_yet_closed(BipartiteGraph(accounts, identifiers, links))
    pairs, unknown = coded_pairs(graph, known.pairs, small.confirmed)
    requests, limits = (
        stage(name, SLOTS, "account", "slot").with_columns(
            pl.col("account").cast(pl.UInt32), pl.col("slot").cast(pl.Int32), pl.col("first").cast(pl.UInt16)
        )
        for name in ("requests", "limits")
    )
    weights = stage("weights", WEIGHTS, "identifier")
    several = np.zeros(accounts.height, bool)
    several[stage("several", SEVERAL)["account"].to_numpy()] = True
    gaps = stage("gaps", GAPS, "kind", "gap")
    evidence = Evidence(
        weights["logit"].to_numpy(),
        weights["bits"].to_numpy(),
        weights["further"].to_numpy(),
        weights["woven"].to_numpy(),
        several,
        {graph.kinds.index(kind): of["gap"].to_numpy() for (kind,), of in gaps.group_by("kind", maintain_order=True)},
        small.prior,
        stage("classes", CLASSES, "kind", "level"),
    )
    activity = read_activity(requests, accounts.height)
    met = read_limits(limits, requests, activity)
    ties = _ties(stage("ties", TIES, "a", "b"), small.formed)
    notes = [*never, *known.said, *small.said, *unknown]
    pieces = _pieces(stage("pieces", PIECES, "account"), accounts.height)
    source = replace(small.source, rejects=stage("rejects", REJECTS))
    return Tied(
        source,
        graph,
        known,
        pairs,
        evidence,
        activity,
        met,
        ties,
        lambda: _chance(stage, graph.kinds, small),
        notes,
        pieces,
    )


def _chance(stage: Callable[..., pl.DataFrame], kinds: Sequence[str], small: Small) -> Chance:
    """What chance gives, from the accounts of the rewired graph that are in a piece; no other can be in a core."""
    links, users = stage("wired_links", REWIRED, "account", "identifier"), stage("wired", WIRED, "identifier")
    pieces = stage(f"pieces{SUFFIX}", PIECES, "account")
    found = stage("wired_ties", TIES, "a", "b")
    names, used = pieces["account"].to_numpy(), users["identifier"].to_numpy()

    def place(among: NDArray[np.int64], name: str, rows: pl.DataFrame) -> pl.Series:
        return pl.Series(name, np.searchsorted(among, rows[name].to_numpy()).astype(np.uint32))

    present = sorted(set(users["kind"]))
    identifiers = pl.DataFrame(
        {"kind": [kinds[k] for k in users["kind"]], "value": users["identifier"].cast(pl.String)}
    )
    once = {"count": pl.lit(1, pl.Int64), "first_seen": pl.lit(None, TIME), "last_seen": pl.lit(None, TIME)}
    coded = pl.DataFrame([place(names, "account", links), place(used, "identifier", links)]).with_columns(**once)
    here = np.bincount(coded["identifier"].to_numpy(), minlength=len(used))
    graph = BipartiteGraph(
        pieces.select(account_id=pl.col("account").cast(pl.String)),
        identifiers.with_columns(known=pl.lit(None, pl.String)),
        coded,
        users["users"].to_numpy() - here,
        np.array([small.rewired[k] for k in present], np.int64),
    )
    between = found.with_columns(place(names, "a", found), place(names, "b", found)).cast(
        {"a": pl.Int64, "b": pl.Int64}
    )
    ties = _ties(between, 0)
    return cores_by_chance(graph, ties, small.prior, pieces["piece"].to_numpy())


def _ties(rows: pl.DataFrame, formed: int) -> Ties:
    columns = [rows[name].to_numpy() for name in ("a", "b", "net", "shared", "kinds", "synchrony")]
    a, b, net, shared, kinds, synchrony = columns
    return Ties(a, b, net, shared, kinds, synchrony, formed)


def _pieces(rows: pl.DataFrame, accounts: int) -> NDArray[np.int64]:
    label = np.full(accounts, -1, np.int64)
    label[rows["account"].to_numpy()] = rows["piece"].to_numpy()
    return label


def _read(place: str, files: Sequence[int], schema: str, order: Sequence[str]) -> pl.DataFrame:
    """The rows of a stage, sorted. files: what `files_of` its place must give; without any there would be no row."""
    from pyarrow.parquet import ParquetFile

    system, _ = open_place(place)
    types = schema_of(schema)
    parts = [pl.DataFrame(schema=types)]
    if files_of(place) != list(files):
        raise EngineFailed(UNSEEN)
    for path, _ in parquet_in(place):
        with system.open_input_file(path) as file:
            rows = pl.DataFrame(pl.from_arrow(ParquetFile(file).read(columns=list(types))))
        parts.append(rows.select(pl.col(name).cast(of) for name, of in types.items()))
    return pl.concat(parts).sort(order)
