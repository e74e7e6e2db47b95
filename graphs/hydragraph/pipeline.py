"""analyze(): the order of it all. No other module knows it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl

from hydragraph import __version__
from hydragraph.activity import read_activity
from hydragraph.assess import Assessed, assess
from hydragraph.bipartite import BipartiteGraph
from hydragraph.case import BUILDING, REPORT, Case, open_case, refuse_to_replace, write_case
from hydragraph.chance import ByChance, blocks_by_chance, compare, found_by_chance
from hydragraph.communities import Clusters, find_clusters
from hydragraph.constraints import (
    Constraints,
    coded_pairs,
    held_constraints,
    keep_constraints,
    read_constraints,
    refuse_to_lose_constraints,
    set_aside,
)
from hydragraph.decisions import add_decisions, read_decisions
from hydragraph.errors import NotACase
from hydragraph.evidence import Evidence, weigh
from hydragraph.groups import find_groups
from hydragraph.hiding import hide, refuse_another_key
from hydragraph.hiding import told as told_of_key
from hydragraph.hours import hour_table
from hydragraph.identifiers import kind as kind_of
from hydragraph.limits import read_limits
from hydragraph.lineage import find_lineage, lineage_table
from hydragraph.links import not_yet_closed, read_links
from hydragraph.loaders import Source, open_source
from hydragraph.memory import peak_memory, release_memory, reset_peak
from hydragraph.pseudonyms import Key, read_key
from hydragraph.review import Reviewed, foreseen, heed, refuse_to_lose_decisions, without_evidence
from hydragraph.schema import OUTPUT, REVIEW_STATES
from hydragraph.settings import Settings
from hydragraph.signals import look, measure, signal_table
from hydragraph.stability import core_stability
from hydragraph.takedown import takedown_table
from hydragraph.ties import Ties, find_ties
from hydragraph.tracking import carried_ids, ledger_table, match_clusters, members_of
from hydragraph.unfinished import alone, take_back

Progress = Callable[[str], None]

_RARELY_SHARED = 2.0
_MANY = 8

_TIES_SHOWN = 2_000_000
"""Ties written to the case, strongest first within a cluster; a hub ring alone has tens of millions."""


@dataclass
class _Stages:
    """Times and peak memory of the stages, for the manifest; the only figures that differ from run to run."""

    progress: Progress | None
    done: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        if self.progress is not None:
            self.progress(name)
        reset_peak()
        start = perf_counter()
        yield
        self.done.append(
            {"name": name, "seconds": round(perf_counter() - start, 3), "peak_memory_bytes": peak_memory()}
        )


def analyze(
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    mapping: str | Path | None = None,
    settings: Settings | None = None,
    previous: str | Path | Case | None = None,
    constraints: str | Path | pl.DataFrame | None = None,
    allow: str | Path | pl.DataFrame | None = None,
    pseudonymise: str | Path | Key | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Case:
    """Read a source, find clusters of coordinated accounts, assess them and write the case folder `out`.

    source: a folder, a file or several files, as in docs/preparing-data.md. mapping: a TOML file that gives other
    tables and columns their meaning. settings: every knob, default Settings(). previous: an earlier case, which `out` may
    be; its cluster ids and what people decided are carried over, and the ledger says what became of each cluster.
    constraints: pairs of accounts that must, or must not, be in one cluster; allow: identifiers that count as no evidence
    (docs/constraints.md); a table not given is that of `previous`. pseudonymise: a key file, or env:NAME; pseudonyms take
    the place of account ids and identifiers once these are read (docs/security.md), and nothing else changes. force:
    replace an existing case; one with decisions only if `previous` brings them along, and one with constraints only if
    these are brought along or given anew. progress: called with the name of each stage as it starts.

    Returns the written case. Raises InputRefused when the source cannot be used, CaseExists when `out` is taken,
    BeingWritten when another run writes it, and NotWritable when there is no room; nothing is written then. The same
    input in any row order, file split or format gives the same tables.
    """
    settings = settings or Settings()
    with alone(Path(out)):
        return _analyze(
            source, out, mapping, settings, previous, constraints, allow, pseudonymise, force=force, progress=progress
        )


def _analyze(
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    mapping: str | Path | None,
    settings: Settings,
    previous: str | Path | Case | None,
    constraints: str | Path | pl.DataFrame | None,
    allow: str | Path | pl.DataFrame | None,
    pseudonymise: str | Path | Key | None,
    *,
    force: bool,
    progress: Progress | None,
) -> Case:
    take_back(Path(out).resolve(), BUILDING)
    refuse_to_replace(Path(out), force=force)
    key = None if pseudonymise is None else read_key(pseudonymise)
    before = _before(previous) if isinstance(previous, (str, Path)) else previous
    if before is not None:
        refuse_another_key(before.manifest, key)
    refuse_to_lose_decisions(Path(out), before)
    known = read_constraints(
        constraints, allow, held=Constraints() if before is None else held_constraints(before.path)
    )
    refuse_to_lose_constraints(Path(out), known, pairs=constraints is not None, allow=allow is not None)
    told = (
        None
        if before is None
        else {"digest": before.digest, **{k: before.manifest.get(k) for k in ("version", "settings")}}
    )
    stages = _Stages(progress)
    with stages.stage("read"):
        opened = open_source(source, mapping=mapping, settings=settings, private=key is not None)
    with stages.stage("links"):
        with opened.reading():
            graph, requests, limits = read_links(opened, settings)
            graph, never = not_yet_closed(graph)
        opened = opened.without_tables()
        if key is None:
            graph, left = set_aside(graph, known.allowed, settings)
        else:
            graph, known, left = hide(graph, known, key, settings)
        graph, confirmed, cleared = foreseen(graph, before)
        pairs, unknown = coded_pairs(graph, known.pairs, confirmed)
    release_memory()
    with stages.stage("evidence"):
        evidence = weigh(graph, settings)
    # what chance gives depends on no later step: it is worked out on the second core meanwhile
    pool = ThreadPoolExecutor(1)
    by_chance = pool.submit(found_by_chance, graph, evidence, settings)
    with stages.stage("activity"):
        activity = read_activity(requests, graph.accounts.height)
        met = read_limits(limits, requests, activity)
        del requests, limits
    with stages.stage("ties"):
        ties = find_ties(graph, evidence, activity)
    with stages.stage("clusters"):
        clusters = find_clusters(graph, evidence, ties, activity, pairs)
    release_memory()  # the next stage holds most, while chance is worked out
    with stages.stage("groups"):
        groups = find_groups(graph, evidence, clusters, activity, settings, pairs)
        clusters = groups.clusters
    with stages.stage("stability"):
        stability = core_stability(graph, evidence, clusters, settings.seed)
    with stages.stage("signals"):
        view = look(graph, evidence, clusters, activity, met)
        measured = measure(view)
    with stages.stage("chance"):
        block, blocks = blocks_by_chance(graph, evidence, clusters, ties, activity, settings)
        chance = groups.among(compare(clusters, by_chance.result(), block, blocks))
        pool.shutdown()
    with stages.stage("assessment"):
        assessed = assess(view, measured, chance.beyond, groups.shares)
    ids, ledger = _carried(graph, clusters, before)
    assessed = without_evidence(assessed, clusters.label, ties, pairs)
    reviewed = _reviewed(graph, evidence, clusters, assessed, ids, before)
    assessed = reviewed.assessed
    with stages.stage("lineage"):
        lineage = lineage_table(graph, clusters.label, find_lineage(graph, clusters.label, activity), ids)
    with stages.stage("hours"):
        hours = hour_table(activity, clusters.label, ids)
    del view, activity, met
    with stages.stage("takedown"):
        takedown = takedown_table(graph, evidence, clusters, assessed.assessment, ids, settings)
    with stages.stage("case"):
        tables = _tables(opened, graph, evidence, ties, clusters, stability, chance, reviewed, ids)
        tables["signals"] = signal_table(measured, ids)
        tables["lineage"] = lineage
        tables["takedown"] = takedown
        tables["hours"] = hours
        tables["ledger"] = ledger

    notes = [*never, *known.said, *left, *cleared, *unknown, *_wide_and_alone(graph, clusters)]

    def manifest() -> dict[str, Any]:
        return {
            **_manifest(opened, settings, told, known, evidence, ties, notes, stages.done),
            "pseudonyms": told_of_key(key),
        }

    def finish(case: Case) -> None:
        from hydragraph.report import write_report

        add_decisions(case.path, reviewed.decisions)
        keep_constraints(case.path, known)
        with stages.stage("report"):
            write_report(case, case.path / REPORT)

    return write_case(out, tables, manifest, force=force, finish=finish)


def _before(previous: str | Path) -> Case:
    try:
        return open_case(previous)
    except NotACase as error:
        raise NotACase(f"previous: {error}") from None


def demo(
    folder: str | Path,
    *,
    accounts: int = 5_000,
    seed: int = 7,
    force: bool = False,
    progress: Progress | None = None,
) -> Case:
    """Make a small synthetic world in `folder`/world, analyse it into `folder`/case and return the case."""
    from hydragraph.worlds import simulate

    folder = Path(folder)
    refuse_to_replace(folder / "case", force=force)
    if progress is not None:
        progress("world")
    simulate(folder / "world", accounts=accounts, seed=seed, force=force)
    return analyze(folder / "world", folder / "case", force=force, progress=progress)


def cluster_ids(graph: BipartiteGraph, clusters: Clusters) -> list[str]:
    """A stable id per cluster: `c` and the first 12 hexadecimal digits of the SHA-256 of its sorted account ids."""
    members = (
        graph.accounts.select("account_id", cluster=pl.Series(clusters.label))
        .filter(pl.col("cluster") >= 0)
        .sort("cluster", "account_id")
        .group_by("cluster", maintain_order=True)
        .agg("account_id")
    )
    return [
        "c" + hashlib.sha256("\0".join(ids).encode("utf-8", "surrogatepass")).hexdigest()[:12]
        for ids in members["account_id"]
    ]


def _carried(graph: BipartiteGraph, clusters: Clusters, before: Case | None) -> tuple[list[str], pl.DataFrame]:
    """The id of each cluster, carried over from the case before if there is one, and the ledger."""
    ids = cluster_ids(graph, clusters)
    if before is None:
        return ids, OUTPUT["ledger"].empty()
    old, numbered = members_of(before), graph.accounts.select("account_id", number=pl.Series(clusters.label))
    named = numbered.filter(pl.col("number") >= 0)
    matched = match_clusters(old, _named(named, ids))
    carried = carried_ids(ids, matched, set(before.clusters["cluster_id"]))
    renamed = dict(zip(ids, carried, strict=True))
    kept = {renamed[new]: previous for new, previous in matched.items()}
    return carried, ledger_table(old, _named(named, carried), kept)


def _reviewed(
    graph: BipartiteGraph,
    evidence: Evidence,
    clusters: Clusters,
    assessed: Assessed,
    ids: list[str],
    before: Case | None,
) -> Reviewed:
    """The assessments once the decisions of the case before are heeded."""
    decisions = () if before is None else read_decisions(before.path)
    if not decisions:
        return Reviewed(assessed, [REVIEW_STATES[0]] * len(ids), ())
    numbered = graph.accounts.select("account_id", number=pl.Series(clusters.label)).filter(pl.col("number") >= 0)
    return heed(decisions, assessed, ids, _named(numbered, ids), _link_table(graph, evidence, clusters))


def _named(numbered: pl.DataFrame, ids: list[str]) -> pl.DataFrame:
    return numbered.select("account_id", cluster_id=pl.Series(ids, dtype=pl.String).gather(numbered["number"]))


def _tables(
    source: Source,
    graph: BipartiteGraph,
    evidence: Evidence,
    ties: Ties,
    clusters: Clusters,
    stability: np.ndarray[Any, np.dtype[np.float64]],
    chance: ByChance,
    reviewed: Reviewed,
    ids: list[str],
) -> dict[str, pl.DataFrame]:
    assessed = reviewed.assessed
    number = pl.Series("number", np.where(clusters.label >= 0, clusters.label, -1))
    names = pl.DataFrame(
        {
            "number": np.arange(len(ids)),
            "cluster_id": pl.Series(ids, dtype=pl.String),
            "assessment": pl.Series(assessed.assessment, dtype=pl.String),
        }
    )
    accounts = (
        graph.accounts.with_columns(
            number,
            membership=pl.when(pl.Series(clusters.label) >= 0).then(
                pl.when(pl.Series(clusters.core)).then(pl.lit("core")).otherwise(pl.lit("attached"))
            ),
            bits=pl.Series(clusters.bits),
        )
        .join(names, on="number", how="left", maintain_order="left")
        .with_columns(bits=pl.when(pl.col("number") >= 0).then("bits"))
    )
    per_cluster = (
        accounts.filter(pl.col("number") >= 0)
        .group_by("number")
        .agg(
            size=pl.len(),
            core_size=(pl.col("membership") == "core").sum(),
            first_seen=pl.col("first_seen").min(),
            last_seen=pl.col("last_seen").max(),
            accounts_closed=pl.col("closed_at").is_not_null().sum(),
            events=pl.col("events").sum(),
            tokens=pl.col("tokens").sum(),
        )
    )
    rows = names.with_columns(
        explanation=pl.Series(assessed.explanation, dtype=pl.String),
        score=pl.Series(assessed.score),
        bits=pl.Series(clusters.breaks),
        cut_accounts=pl.Series(clusters.cut.smaller).replace(0, None),
        cut_others=pl.Series(clusters.cut.larger).replace(0, None),
        cut_ties=pl.Series(clusters.cut.ties).replace(0, None),
        stability=pl.Series(stability).fill_nan(None),
        expected_by_chance=pl.Series(chance.expected),
        hypothesis=pl.Series(assessed.hypothesis, dtype=pl.String),
        against=pl.Series(assessed.against, dtype=pl.String),
        review_state=pl.Series(reviewed.states, dtype=pl.String),
    ).join(per_cluster, on="number", how="left")
    order = {"coordinated": 0, "review": 1, "explained": 2}
    ranked = OUTPUT["clusters"].conform(rows)
    ranked = ranked.sort(
        pl.col("assessment").replace_strict(order, return_dtype=pl.Int8), "score", "size", "cluster_id",
        descending=[False, True, True, False],
    ) if ranked.height else ranked  # fmt: skip
    return {
        "accounts": OUTPUT["accounts"].conform(accounts),
        "clusters": ranked,
        "links": _link_table(graph, evidence, clusters),
        "ties": _tie_table(graph, evidence, ties, clusters),
        "rejects": OUTPUT["rejects"].conform(source.rejects),
    }


def _wide_and_alone(graph: BipartiteGraph, clusters: Clusters) -> list[str]:
    """A sentence for each kind of which strangers rarely share one, about values that many use who form no cluster."""
    loose = clusters.label[graph.links["account"].to_numpy()] < 0
    alone = np.bincount(graph.links["identifier"].to_numpy()[loose], minlength=graph.identifiers.height)
    said = []
    for k, name in enumerate(graph.kinds):
        if kind_of(name).chance_bits > _RARELY_SHARED:
            continue
        many = (graph.kind_code == k) & (alone >= _MANY) & (2 * alone >= graph.degree)
        if many.any():
            number, most = int(many.sum()), int(alone[many].max())
            values, form = ("value is", "forms") if number == 1 else ("values are each", "form")
            said.append(
                f"{name}: {number} {values} used by {_MANY} or more accounts that share nothing else, at most {most}, and"
                f" {form} no cluster: a reseller, a billing service or a placeholder?"
            )
    return said


def _link_table(graph: BipartiteGraph, evidence: Evidence, clusters: Clusters) -> pl.DataFrame:
    inside = pl.Series(clusters.label >= 0).gather(graph.links["account"])
    links = graph.links.filter(inside)
    return OUTPUT["links"].conform(
        links.select(
            account_id=graph.accounts["account_id"].gather(links["account"]),
            kind=graph.identifiers["kind"].gather(links["identifier"]),
            value=graph.identifiers["value"].gather(links["identifier"]),
            count="count",
            first_seen="first_seen",
            last_seen="last_seen",
            bits=pl.Series(np.round(evidence.bits, 3)).gather(links["identifier"]),
            accounts=pl.Series(graph.degree).gather(links["identifier"]),
        )
    )


def _tie_table(graph: BipartiteGraph, evidence: Evidence, ties: Ties, clusters: Clusters) -> pl.DataFrame:
    inside = (clusters.label[ties.a] == clusters.label[ties.b]) & (clusters.label[ties.a] >= 0)
    kept = ties.select(inside)
    if len(kept.a) > _TIES_SHOWN:
        strongest = np.zeros(len(kept.a), dtype=bool)
        strongest[np.lexsort((kept.b, kept.a, -kept.net))[:_TIES_SHOWN]] = True
        kept = kept.select(strongest)
    masks = np.unique(kept.kinds).tolist()
    names = {m: ",".join(k for i, k in enumerate(graph.kinds) if m >> i & 1) for m in masks}
    account = graph.accounts["account_id"]
    a, b = account.gather(kept.a), account.gather(kept.b)
    if len(a) and (first_second := a > b).any():  # codes are in the order of raw values, pseudonyms are not
        a, b = b.zip_with(first_second, a), a.zip_with(first_second, b)
    return OUTPUT["ties"].conform(
        pl.DataFrame(
            {
                "account_a": a,
                "account_b": b,
                "bits": np.round(kept.net + evidence.prior, 3),
                "shared": kept.shared,
                "kinds": pl.Series(kept.kinds).replace_strict(names, return_dtype=pl.String)
                if masks
                else pl.Series([], dtype=pl.String),
                "synchrony_bits": kept.synchrony,
            }
        )
    )


def _manifest(
    source: Source,
    settings: Settings,
    previous: dict[str, Any] | None,
    known: Constraints,
    evidence: Evidence,
    ties: Ties,
    notes: list[str],
    stages: list[dict[str, Any]],
) -> dict[str, Any]:
    return {
        "version": __version__,
        "settings": settings.to_dict(),
        "seed": settings.seed,
        "inputs": [
            {"table": i.table, "file": i.file, "rows": i.rows, "bytes": i.bytes, "digest": i.digest}
            for i in source.inputs
        ],
        "rows": {
            name: {"read": r.read, "kept": r.kept, "rejected": r.rejected, "set_aside": r.set_aside}
            for name, r in source.rows.items()
        },
        "previous": previous,
        "constraints": {**known.counts, "digest": known.digest},
        "notes": [*source.notes, *notes],
        "stages": list(stages),
        "work": {"pairs_formed": ties.pairs_formed, "ties": len(ties.a)},
        "calibration": {"prior_bits": round(evidence.prior, 3), "classes": evidence.classes.to_dicts()},
    }
