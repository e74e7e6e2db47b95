"""The last step, in one task on an executor: the stages become a graph again, and the embedded steps conclude on it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

import hydragraph.errors
from hydragraph.activity import read_activity
from hydragraph.bipartite import BipartiteGraph
from hydragraph.case import open_case
from hydragraph.constraints import coded_pairs
from hydragraph.engines.embedded import chance_meanwhile
from hydragraph.engines.engine import Conclude, Job, Tied, Timing
from hydragraph.engines.spark.places import files_in, is_uri, open_place, put_case
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
)
from hydragraph.errors import HydragraphError
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

_TYPES = {"long": pl.Int64(), "double": pl.Float64(), "string": pl.String()}
_TIMES = ("created_at", "closed_at", "first_seen", "last_seen")


@dataclass(frozen=True)
class Small:
    """What the steps on Spark found that is no stage. root: of the stages. prior: log2 N. formed: pairs of accounts looked
    at. previous: folder of the earlier case."""

    root: str
    source: Source
    prior: float
    formed: int
    previous: str | None
    done: tuple[dict[str, Any], ...]


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
            said = _concluded(job, small, conclude)
            yield pyarrow.RecordBatch.from_pydict({"said": [json.dumps(said)]})

    (row,) = stages.spark.range(0, 1, 1, 1).mapInArrow(task, "said string").collect()
    said = json.loads(row["said"])
    if "error" in said:
        raise getattr(hydragraph.errors, said["error"])(said["sentence"])


def _concluded(job: Job, small: Small, conclude: Conclude) -> dict[str, str]:
    try:
        if small.previous is not None:
            job = replace(job, before=open_case(small.previous))
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
    settings, known = job.settings, job.known

    def stage(name: str, schema: str, *order: str) -> pl.DataFrame:
        return _read(f"{small.root}/{name}", schema, order)

    accounts = stage("accounts", ACCOUNTS, "account").drop("account")
    accounts = accounts.with_columns(pl.col(c).cast(TIME) for c in _TIMES)
    identifiers = stage("identifiers", IDENTIFIERS, "identifier").drop("identifier")
    links = stage("links", LINKS, "account", "identifier").with_columns(
        pl.col("account", "identifier").cast(pl.UInt32), pl.col("first_seen", "last_seen").cast(TIME)
    )
    graph, never = not_yet_closed(BipartiteGraph(accounts, identifiers, links))
    pairs, unknown = coded_pairs(graph, known.pairs, [])
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
    by_chance = chance_meanwhile(graph, evidence, settings)
    activity = read_activity(requests, accounts.height)
    met = read_limits(limits, requests, activity)
    found = stage("ties", TIES, "a", "b")
    ties = Ties(*(found[name].to_numpy() for name in ("a", "b", "net", "shared", "kinds", "synchrony")), small.formed)
    notes = [*never, *known.said, *unknown]
    pieces = _pieces(stage("pieces", PIECES, "account"), accounts.height)
    source = replace(small.source, rejects=stage("rejects", REJECTS))
    return Tied(source, graph, known, pairs, evidence, activity, met, ties, by_chance, notes, pieces)


def _pieces(rows: pl.DataFrame, accounts: int) -> NDArray[np.int64]:
    label = np.full(accounts, -1, np.int64)
    label[rows["account"].to_numpy()] = rows["piece"].to_numpy()
    return label


def _read(place: str, schema: str, order: Sequence[str]) -> pl.DataFrame:
    """The rows of a stage, sorted."""
    from pyarrow.parquet import ParquetFile

    system, _ = open_place(place)
    types = {name: _TYPES[of] for name, of in (field.split() for field in schema.split(","))}
    parts = [pl.DataFrame(schema=types)]
    for path, _, _ in files_in(place):
        if path.endswith(".parquet"):
            with system.open_input_file(path) as file:
                rows = pl.DataFrame(pl.from_arrow(ParquetFile(file).read(columns=list(types))))
            parts.append(rows.select(pl.col(name).cast(of) for name, of in types.items()))
    return pl.concat(parts).sort(order)
