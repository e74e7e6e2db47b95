"""analyze(): the order of it all. No other module knows it, but for the steps up to the ties, which are an engine's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import polars as pl

from hydragraph.assess import Assessed, assess
from hydragraph.bipartite import BipartiteGraph
from hydragraph.case import BUILDING, REPORT, Case, open_case, refuse_to_replace, write_case
from hydragraph.chance import blocks_by_chance, compare
from hydragraph.communities import Clusters, find_clusters
from hydragraph.constraints import (
    Constraints,
    held_constraints,
    keep_constraints,
    read_constraints,
    refuse_to_lose_constraints,
)
from hydragraph.decisions import add_decisions, read_decisions
from hydragraph.engines import Embedded, Engine, Job, Progress, Tied, Timing
from hydragraph.engines.spark.places import fetch_case, is_uri, refuse_to_replace_there, where
from hydragraph.errors import CaseExists, InputRefused, NotACase
from hydragraph.evidence import Evidence
from hydragraph.groups import find_groups
from hydragraph.hiding import refuse_another_key
from hydragraph.hiding import told as told_of_key
from hydragraph.hours import hour_table
from hydragraph.lineage import find_lineage, lineage_table
from hydragraph.memory import release_memory
from hydragraph.pseudonyms import Key, read_key
from hydragraph.review import Reviewed, heed, refuse_to_lose_decisions, without_evidence
from hydragraph.schema import OUTPUT, REVIEW_STATES
from hydragraph.settings import Settings
from hydragraph.signals import look, measure, signal_table
from hydragraph.stability import core_stability
from hydragraph.tables import case_tables, cluster_ids, link_table, manifest_of, wide_and_alone
from hydragraph.takedown import takedown_table
from hydragraph.tracking import carried_ids, ledger_table, match_clusters, members_of
from hydragraph.unfinished import alone, take_back


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
    engine: Engine | None = None,
) -> Case:
    """Read a source, find clusters of coordinated accounts, assess them and write the case folder `out`.

    source: a folder, a file or several files, as in docs/preparing-data.md. mapping: a TOML file that gives other tables
    and columns their meaning. settings: every knob, default Settings(). previous: an earlier case, which `out` may be;
    its cluster ids and what people decided are carried over, and the ledger says what became of each cluster.
    constraints: pairs of accounts that must, or must not, be in one cluster; allow: identifiers that count as no
    evidence (docs/constraints.md); a table not given is that of `previous`. pseudonymise: a key file, or env:NAME;
    pseudonyms take the place of account ids and identifiers once these are read (docs/security.md), and nothing else
    changes. force: replace an existing case, never what holds the source; one with decisions only if `previous` brings
    them along, and one with constraints only if these are brought along or given anew. progress: called with the name of
    each stage as it starts. engine: where the heavy steps run (engines/), None: in this process.

    Returns the written case. Raises InputRefused when the source cannot be used, CaseExists when `out` is taken,
    BeingWritten when another run writes it (not where `out` is a URI: nobody holds a place in a store), and NotWritable
    when there is no room; nothing is written then, but where `out` is a URI and the sentence says that the case is. The
    same input in any row order, file split or format gives the same tables.
    """
    settings, engine = settings or Settings(), engine or Embedded()
    there = is_uri(out)
    if there and isinstance(engine, Embedded):
        raise InputRefused(
            "an output outside this machine's folders is written by the Spark engine only; name a folder"
        )
    _refuse_source_inside(source, out)
    with nullcontext() if there else alone(Path(out)):
        if there:
            refuse_to_replace_there(str(out), force=force)
        else:
            take_back(Path(out).resolve(), BUILDING)
            refuse_to_replace(Path(out), force=force)
        key = None if pseudonymise is None else read_key(pseudonymise)
        before = _before(previous) if isinstance(previous, (str, Path)) else previous
        if before is not None:
            refuse_another_key(before.manifest, key)
        held = Constraints() if before is None else held_constraints(before.path)
        known = read_constraints(constraints, allow, held=held)
        if not there:
            refuse_to_lose_decisions(Path(out), before)
            refuse_to_lose_constraints(Path(out), known, pairs=constraints is not None, allow=allow is not None)
        job = Job(source, out, mapping, settings, before, known, key, force)
        engine.carry_out(job, conclude, Timing(progress))
    return fetch_case(str(out)) if there else open_case(out)


def conclude(job: Job, tie: Callable[[], Tied], timing: Timing) -> None:
    """Find the clusters of what an engine tied, assess them and write the case."""
    settings, before = job.settings, job.before
    told = (
        None
        if before is None
        else {"digest": before.digest, **{k: before.manifest.get(k) for k in ("version", "settings")}}
    )
    tied = tie()
    graph, evidence, ties, activity, met, pairs = (
        tied.graph, tied.evidence, tied.ties, tied.activity, tied.met, tied.pairs,
    )  # fmt: skip
    opened, known, notes, by_chance, pieces = tied.source, tied.known, tied.notes, tied.by_chance, tied.pieces
    del tied
    with timing.stage("clusters"):
        clusters = find_clusters(graph, evidence, ties, activity, pairs, pieces)
    release_memory()  # the next stage holds most, while chance is worked out
    with timing.stage("groups"):
        groups = find_groups(graph, evidence, clusters, activity, settings, pairs)
        clusters = groups.clusters
    with timing.stage("stability"):
        stability = core_stability(graph, evidence, clusters, settings.seed)
    with timing.stage("signals"):
        view = look(graph, evidence, clusters, activity, met)
        measured = measure(view)
    with timing.stage("chance"):
        block, blocks = blocks_by_chance(graph, evidence, clusters, ties, activity, settings)
        chance = groups.among(compare(clusters, by_chance(), block, blocks))
    with timing.stage("assessment"):
        assessed = assess(view, measured, chance.beyond, groups.shares)
    ids, ledger = _carried(graph, clusters, before)
    assessed = without_evidence(assessed, clusters.label, ties, pairs)
    reviewed = _reviewed(graph, evidence, clusters, assessed, ids, before)
    assessed = reviewed.assessed
    with timing.stage("lineage"):
        lineage = lineage_table(graph, clusters.label, find_lineage(graph, clusters.label, activity), ids)
    with timing.stage("hours"):
        hours = hour_table(activity, clusters.label, ids)
    del view, activity, met
    with timing.stage("takedown"):
        takedown = takedown_table(graph, evidence, clusters, assessed.assessment, ids, settings)
    with timing.stage("case"):
        tables = case_tables(opened, graph, evidence, ties, clusters, stability, chance, reviewed, ids)
        tables["signals"] = signal_table(measured, ids)
        tables["lineage"] = lineage
        tables["takedown"] = takedown
        tables["hours"] = hours
        tables["ledger"] = ledger
    notes = [*notes, *wide_and_alone(graph, clusters)]

    def manifest() -> dict[str, Any]:
        return {
            **manifest_of(opened, settings, told, known, evidence, ties, notes, timing.done),
            "pseudonyms": told_of_key(job.key),
        }

    def finish(case: Case) -> None:
        from hydragraph.report import write_report

        add_decisions(case.path, reviewed.decisions)
        keep_constraints(case.path, known)
        with timing.stage("report"):
            write_report(case, case.path / REPORT)

    write_case(job.out, tables, manifest, force=job.force, finish=finish)


def _refuse_source_inside(source: str | Path | Sequence[str | Path], out: str | Path) -> None:
    """Raise CaseExists where the output, which may be replaced, is or holds a source."""
    given = [source] if isinstance(source, (str, Path)) else source
    here = where(out)
    if here and any(f"{where(place)}/".startswith(f"{here.rstrip('/')}/") for place in given):
        raise CaseExists("the output is the source, or holds it; choose another place")


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
    return heed(decisions, assessed, ids, _named(numbered, ids), link_table(graph, evidence, clusters))


def _named(numbered: pl.DataFrame, ids: list[str]) -> pl.DataFrame:
    return numbered.select("account_id", cluster_id=pl.Series(ids, dtype=pl.String).gather(numbered["number"]))
