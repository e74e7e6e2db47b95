"""Worlds made, analysed and measured, and what was measured kept, so that a second run goes on where one stopped.

Kept in KEPT, a folder git ignores: a folder for each world, named after its parameters and after a digest of the code
that the result depends on. Other code, another folder: nothing stale is ever read.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl

import hydragraph as hg
from hydragraph.case import write_case
from hydragraph.links import build_graph
from hydragraph.loaders import open_source
from hydragraph.report.files import write_whole
from hydragraph.schema import OUTPUT
from hydragraph.worlds import add_camouflage
from peers import PEERS, Peer, flagged
from quality_ablation import ablations
from quality_takedown import takedown_counts

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "out" / "bench-quality"

_LIBRARY = ROOT / "graphs" / "hydragraph"
_PARTS_OF_THIS = ("quality_runs.py", "quality_takedown.py", "quality_ablation.py")
_NO_MATTER = {"report", "exports", "tracking", "memory"}  # modules that cannot change what is measured

ORACLE = "oracle"
"""A peer's clusters, chosen by somebody who knows the truth."""


@dataclass(frozen=True, kw_only=True)
class World:
    """What a world is made from: the arguments of `simulate`, and the camouflage added on top: mode, amount."""

    accounts: int
    seed: int
    scenario: str = "mixed"
    templates: bool = True
    camouflage: float | None = None
    jitter: float | None = None
    ring_size: float | None = None
    hand_on: float | None = None
    added: tuple[str, float] | None = None

    @property
    def name(self) -> str:
        """A file name that tells worlds apart."""
        turned = {
            "camouflage": self.camouflage,
            "jitter": self.jitter,
            "ring-size": self.ring_size,
            "hand-on": self.hand_on,
        }
        more = [f"{what}-{value:g}" for what, value in turned.items() if value is not None]
        more += [] if self.added is None else [f"{self.added[0]}-{self.added[1]:g}"]
        return "-".join([
            self.scenario, str(self.accounts), str(self.seed), *([] if self.templates else ["no-templates"]), *more
        ])  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A world, measured. evaluation: `Evaluation.to_dict()`. oracle: counts as of a peer, had an oracle chosen among the
    clusters of the case. ablation: counts as of a peer with everything and without each part; empty where that was not
    asked for. rows: of the world's tables. seconds, memory: of `analyze` without the report."""

    world: World
    folder: Path
    evaluation: dict[str, Any]
    oracle: dict[str, tuple[float, float]]
    takedown: dict[str, int]
    ablation: dict[str, dict[str, tuple[float, float]]]
    rows: dict[str, int]
    seconds: float
    memory: int

    @property
    def case(self) -> hg.Case:
        """Accounts, clusters and lineage of the case; its other tables were not kept and are empty."""
        return hg.open_case(self.folder / "case")

    @property
    def truth(self) -> pl.DataFrame:
        """The truth about the world's accounts."""
        return pl.read_parquet(self.folder / "truth.parquet")

    def counts(self, measure: str, of: str) -> tuple[float, float]:
        """The two counts that a figure of the headline divides."""
        row = next(r for r in self.evaluation["headline"] if (r["measure"], r["of"]) == (measure, of))
        return (row["hits"] or 0.0, row["out_of"] or 0.0)


def measured(world: World, say: Callable[[str], None], *, ablated: bool = False) -> Run:
    """Simulate, analyse and evaluate a world, or read what was kept of it. ablated: also without each part."""
    folder = KEPT / f"{world.name}-{code_digest()}"
    path = folder / "run.json"
    if not path.is_file() or (ablated and not json.loads(path.read_text("utf-8"))["ablation"]):
        start = perf_counter()
        with _made(world) as (source, rows):
            built = perf_counter()
            kept = {"world": asdict(world), "rows": rows, **_kept(source, source / "truth.parquet", folder)}
            kept["ablation"] = _ablation(source, source / "truth.parquet", say) if ablated else {}
            write_whole(path, json.dumps(kept).encode())
        say(f"{world.name}: made in {built - start:.0f} s, analysed in {kept['seconds']:.0f} s")
    return _read(world, folder)


def measured_elsewhere(
    name: str, number: int, source: Path, say: Callable[[str], None], *, ablated: bool = False
) -> Run:
    """Analyse and evaluate a world that somebody else made: `source`, and its truth beside it as NAME.truth.parquet.

    name, number: of the maker and of the world, which stand for scenario and seed.
    """
    truth = source.with_name(f"{source.name}.truth.parquet")
    world = World(accounts=pl.scan_parquet(truth).select(pl.len()).collect().item(), seed=number, scenario=name)
    folder = KEPT / f"{world.name}-{_digest([truth])}-{code_digest()}"
    if not (folder / "run.json").is_file():
        kept = {"world": asdict(world), "rows": {}, **_kept(source, truth, folder)}
        kept["ablation"] = _ablation(source, truth, say) if ablated else {}
        write_whole(folder / "run.json", json.dumps(kept).encode())
        say(f"{name}, {source.name}: analysed in {kept['seconds']:.0f} s")
    return _read(world, folder)


def _kept(source: Path, truth: Path, folder: Path) -> dict[str, Any]:
    """Analyse a world, measure the case, and keep in `folder` what pooling needs of it."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT, prefix=".case-") as scratch:
        case = hg.analyze(source, Path(scratch) / "case")
        stages = [s for s in case.manifest["stages"] if s["name"] != "report"]
        found = {
            "evaluation": hg.evaluate(case, source if truth.parent == source else truth).to_dict(),
            "oracle": _oracle(case, pl.read_parquet(truth), Path(scratch)),
            "takedown": takedown_counts(case, source, pl.read_parquet(truth)),
            "seconds": sum(s["seconds"] for s in stages), "memory": max(s["peak_memory_bytes"] for s in stages),
        }  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        _slim(case, folder / "case")
        shutil.copyfile(truth, folder / "truth.parquet")
    return found


def _read(world: World, folder: Path) -> Run:
    kept = json.loads((folder / "run.json").read_text("utf-8"))
    measures = (kept[name] for name in ("evaluation", "oracle", "takedown", "ablation", "rows", "seconds", "memory"))
    return Run(world, folder, *measures)


def peers_measured(world: World, say: Callable[[str], None]) -> dict[str, dict[str, dict[str, Any]]]:
    """Peer -> `every` or ORACLE -> measure -> its two counts, and under `seconds` the time without reading the source.

    Peers that are too slow for a world of this size are left out.
    """
    wanted = [peer for peer in PEERS if world.accounts <= peer.largest]
    path = KEPT / f"{world.name}-{code_digest()}" / f"peers-{_digest([Path(__file__).with_name('peers.py')])}.json"
    if not path.is_file():
        kept: dict[str, Any] = {}
        with _made(world) as (source, _):
            graph = build_graph(open_source(source), hg.Settings())
            truth = pl.read_parquet(source / "truth.parquet").sort("account_id")
            assert truth["account_id"].equals(graph.accounts["account_id"])
            for peer in wanted:
                start = perf_counter()
                label = peer.find(graph, 0)
                seconds = perf_counter() - start
                say(f"{world.name}: {peer.name} in {seconds:.0f} s")
                kept[peer.name] = {"seconds": seconds} | _peer_counts(peer, label, truth, source.parent)
        write_whole(path, json.dumps(kept).encode())
    result: dict[str, dict[str, dict[str, Any]]] = json.loads(path.read_text("utf-8"))
    return result


COUNTED = (
    ("precision", "coordinated"), ("recall", "coordinated"), ("rings_found", "coordinated"),
    ("rings_whole", "coordinated"), ("rings_merged", "coordinated"), ("innocent_groups_accused", "groups"),
)  # fmt: skip


def _peer_counts(peer: Peer, label: Any, truth: pl.DataFrame, folder: Path) -> dict[str, Any]:
    """Counts of the measures when every cluster of three accounts is accused, and when an oracle chooses."""
    positive = (truth["label"] == 1).to_numpy()
    return {
        "clusters": int(label.max(initial=-1)) + 1,
        "every": _counts(truth, label, flagged(label), folder / f"{peer.name}-every"),
        ORACLE: _counts(truth, label, flagged(label, positive), folder / f"{peer.name}-oracle"),
    }


def _oracle(case: hg.Case, truth: pl.DataFrame, folder: Path) -> dict[str, tuple[float, float]]:
    """The counts had an oracle chosen among the clusters of a case."""
    truth = truth.sort("account_id")
    number = case.accounts.sort("account_id")["cluster_id"].rank("dense").fill_null(0).cast(pl.Int64).to_numpy() - 1
    return _counts(truth, number, flagged(number, (truth["label"] == 1).to_numpy()), folder / "oracle")


def _ablation(source: Path, truth: Path, say: Callable[[str], None]) -> dict[str, dict[str, tuple[float, float]]]:
    """The counts with everything and without each part."""
    known = pl.read_parquet(truth).sort("account_id")
    found = {}
    with tempfile.TemporaryDirectory(dir=KEPT, prefix=".ablation-") as scratch:
        for part, label, accused in ablations(source):
            found[part] = _counts(known, label, accused, Path(scratch) / part.replace(" ", "-"))
    say(f"{len(found)} runs with parts taken out")
    return found


def _counts(truth: pl.DataFrame, label: Any, accused: Any, folder: Path) -> dict[str, tuple[float, float]]:
    found = hg.evaluate(_case_of(truth["account_id"], label, accused, folder), truth, complete=True, resamples=0)
    rows = {(r["measure"], r["of"]): (r["hits"], r["out_of"]) for r in found.headline.to_dicts()}
    return {measure: (rows[measure, of][0] or 0.0, rows[measure, of][1] or 0.0) for measure, of in COUNTED}


def _case_of(accounts: pl.Series, label: Any, accused: Any, out: Path) -> hg.Case:
    """A case that holds nothing but the clusters of a peer."""
    number = pl.Series(label)
    named = pl.DataFrame({"account_id": accounts, "number": number, "accused": pl.Series(accused)}).with_columns(
        cluster_id=pl.when(pl.col("number") >= 0).then(pl.format("c{}", "number")),
        assessment=pl.when(pl.col("number") >= 0).then(
            pl.when("accused").then(pl.lit("coordinated")).otherwise(pl.lit("explained"))
        ),
    )
    clusters = (
        named.filter(pl.col("number") >= 0)
        .group_by("cluster_id", "assessment")
        .agg(size=pl.len())
        .with_columns(score=(pl.col("assessment") == "coordinated").cast(pl.Float64))
        .sort("score", "cluster_id", descending=[True, False])
    )
    return _write({"accounts": named, "clusters": clusters}, out)


def _slim(case: hg.Case, out: Path) -> None:
    """The part of a case that the ruler reads."""
    columns = {"accounts": ("account_id", "cluster_id", "assessment"),
               "clusters": ("cluster_id", "assessment", "score", "size"),
               "lineage": ("cluster_id", "parent", "child", "bits", "gap_seconds")}  # fmt: skip
    _write({name: case.table(name).select(kept) for name, kept in columns.items()}, out)


def _write(tables: dict[str, pl.DataFrame], out: Path) -> hg.Case:
    whole = {}
    for name, table in OUTPUT.items():
        frame = tables.get(name, table.empty())
        missing = [c for c in table.columns if c.name not in frame.columns]
        filled = frame.with_columns(pl.lit(None, c.dtype).alias(c.name) for c in missing)
        whole[name] = filled.select(pl.col(c.name).cast(c.dtype) for c in table.columns)
    return write_case(out, whole, dict, force=True)


def pooled(runs: Sequence[Run]) -> hg.Evaluation:
    """The evaluation of several worlds as if they were one: intervals are over the rings and clusters of all."""
    cases = {name: pl.concat([_renamed(r.case.table(name), r.world) for r in runs]) for name in _IDS}
    truth = pl.concat([_renamed(r.truth, r.world) for r in runs])
    with tempfile.TemporaryDirectory() as folder:
        clusters = cases["clusters"].sort("score", "size", "cluster_id", descending=[True, True, False])
        return hg.evaluate(_write(cases | {"clusters": clusters}, Path(folder) / "case"), truth, complete=True)


_IDS = ("accounts", "clusters", "lineage")
_OWN = ("account_id", "cluster_id", "parent", "child", "cluster", "group")


def _renamed(frame: pl.DataFrame, world: World) -> pl.DataFrame:
    """Ids with the world's seed in front: no id of one world is one of another."""
    names = [name for name in _OWN if name in frame.columns]
    return frame.with_columns((f"{world.seed}:" + pl.col(name)).alias(name) for name in names)


@contextmanager
def _made(world: World) -> Iterator[tuple[Path, dict[str, int]]]:
    """A world in a temporary folder, taken away at the end: where it is, and the rows of its tables."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT, prefix=".world-") as folder:
        given = asdict(world)
        added = given.pop("added")
        made = hg.simulate(Path(folder) / "world", **given)
        if added:
            made = add_camouflage(made.folder, Path(folder) / "camouflaged", mode=added[0], amount=added[1])
        yield made.folder, dict(made.counts)


@cache
def code_digest() -> str:
    """Twelve hexadecimal digits of the code that makes worlds, analyses and measures them, and of this file."""
    files = (p for p in _LIBRARY.rglob("*.py") if p.relative_to(_LIBRARY).with_suffix("").parts[0] not in _NO_MATTER)
    return _digest([*files, *map(Path(__file__).with_name, _PARTS_OF_THIS)])


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def median_ring(runs: Sequence[Run]) -> float:
    """Median accounts of the rings that the worlds hold, which may be fewer than what was asked for."""
    sizes = [run.truth.filter(pl.col("label") == 1).group_by("cluster").len()["len"] for run in runs]
    return float(pl.concat(sizes).median() or 0)  # type: ignore[arg-type]


def share(counts: Iterable[tuple[float, float]]) -> float | None:
    """Hits over all, summed over worlds; None where there is nothing to divide by."""
    hits, of = np.sum([*counts, (0.0, 0.0)], axis=0)
    return float(hits / of) if of else None
