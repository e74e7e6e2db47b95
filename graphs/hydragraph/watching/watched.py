"""watch(): which accounts of newer tables attach to the clusters of a case, and which closed members have a successor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.case import LEADS, Case, open_case
from hydragraph.constraints import coded_pairs, held_constraints, set_aside
from hydragraph.hiding import hide, refuse_another_key
from hydragraph.identifiers import kind as kind_of
from hydragraph.lineage import find_lineage, hours_in_words, lineage_table
from hydragraph.links import not_yet_closed, read_links
from hydragraph.loaders import open_source
from hydragraph.pseudonyms import Key, read_key
from hydragraph.review import CLEARED, foreseen, still_cleared
from hydragraph.settings import Settings
from hydragraph.watching.joins import Joined, join
from hydragraph.watching.newer import Newer, newer

IN_STEP = 4.0
"""Bits of Activity.joins_in from which it is said that an account begins to work when the cluster does."""


@dataclass(frozen=True, repr=False)
class Watched:
    """What newer tables say about the clusters of a case.

    attached: a row an account that attaches to a watched cluster, by cluster, the strongest first: cluster_id, assessment
    (of the cluster), account_id, new (whether the case does not know it), membership (core: ties of at least 2 to 1 hold
    it there, or constraints; attached), bits, synchrony_bits (by which it begins to work when the members do), because
    (what it shares, in words), created_at, first_seen, closed_at.
    identifiers: what speaks for each, worth most first: cluster_id, account_id, kind, value, bits, members (of the case's
    cluster that use it by now), others (that attach and use it), accounts (all that use it).
    regrown: a row a closed account whose successor attaches, columns as in lineage.parquet and closed_at of the parent.
    counts: clusters (watched), accounts (of the newer tables), new (of these: the case does not know them), attached_new,
    unattached (new ones that attach to no watched cluster), attached_known (known to the case, in no cluster there),
    regrown. notes: what was left out when the tables were read.
    """

    attached: pl.DataFrame
    identifiers: pl.DataFrame
    regrown: pl.DataFrame
    counts: Mapping[str, int]
    notes: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The counts in words."""
        c = self.counts
        watched = _counted(c["clusters"], "watched cluster")
        said = f"{_counted(c['accounts'], 'account')} in the newer tables, {c['new']:,} of them new."
        if self.attached.is_empty():
            return f"{said} None attaches to {'any of ' * (c['clusters'] > 1)}{watched}."
        reached = self.attached["cluster_id"].n_unique()
        said += (
            f" Of the new ones {c['attached_new']:,} attach to {reached:,} of {watched}, {c['unattached']:,} to none."
        )
        if c["attached_known"]:
            said += f" {c['attached_known']:,} more attach that the case knows outside of clusters."
        if c["regrown"]:
            hours = hours_in_words(float(np.median(self.regrown["gap_seconds"])) / 3600)
            half = f"{hours} later" if c["regrown"] == 1 else f"half of these within {hours}"
            said += f" {_counted(c['regrown'], 'closed account')} with a successor among them, {half}."
        return said

    def __repr__(self) -> str:
        return f"<Watched: {self.sentence}>"


def watch(
    case: str | Path | Case,
    source: str | Path | Sequence[str | Path],
    *,
    mapping: str | Path | None = None,
    settings: Settings | None = None,
    assessments: Sequence[str] = LEADS,
    clusters: Sequence[str] = (),
    pseudonymise: str | Path | Key | None = None,
    progress: Callable[[str], None] | None = None,
) -> Watched:
    """Which accounts of newer tables attach to the clusters of a case, and which closed members have a successor there.

    source, mapping: as for `analyze`, with what has come since the case was made: new accounts, closings, keys,
    instruments, links and events. settings: how to read it; those of the case if not given. assessments: clusters
    assessed so are watched, and confirmed ones; never those that a person called innocent, unless something opened them
    again. clusters: ids, or beginnings of them, of the only clusters to be watched, whatever was decided. pseudonymise:
    the key of a case with pseudonyms. progress: called with the name of each stage as it starts.

    Members of the case's clusters and the accounts that come near them form one small graph, weighed by the calibration
    of the case (newer.newer), in which these accounts join clusters by the rules of an analysis (joins.join). Successors
    are found as in an analysis (lineage.find_lineage). Constraints that the case keeps hold. Nothing is written. Time
    follows the newer tables, and the links of the case. Raises InputRefused for a source that cannot be used, NotACase
    for a case without calibration, UnknownName for a cluster that is not there.
    Not checked: clusters of new accounts alone; what was together in time before the case was made; that the tables are
    newer. The next `analyze` sees these.
    """
    tell = progress or (lambda stage: None)
    case = case if isinstance(case, Case) else open_case(case)
    settings = settings or case.settings
    key = None if pseudonymise is None else read_key(pseudonymise)
    refuse_another_key(case.manifest, key)
    watched = _watched(case, assessments, clusters)
    tell("read")
    opened = open_source(source, mapping=mapping, settings=settings, private=key is not None)
    tell("links")
    with opened.reading():
        graph, requests, *_ = read_links(opened, settings)
    graph, never = not_yet_closed(graph)
    known = held_constraints(case.path)
    if key is None:
        graph, left = set_aside(graph, known.allowed, settings)
    else:
        graph, known, left = hide(graph, known, key, settings)
    # what innocent clusters were cleared with is no evidence, unless one is asked for by name
    graph, _, cleared = foreseen(graph, None if clusters else case)
    tell("join")
    found = newer(case, watched["cluster_id"].to_list(), graph, requests, known.pairs)
    pairs, _ = coded_pairs(found.graph, known.pairs)
    joined = join(found, pairs)
    looked_at = np.append(np.isin(found.ids, watched["cluster_id"].to_list()), False)
    label = np.where(looked_at[joined.label], joined.label, -1)
    tell("successors")
    replaced = lineage_table(found.graph, label, find_lineage(found.graph, label, found.activity), found.ids)
    identifiers = _identifiers(found, label)
    attached = _attached(found, label, joined, identifiers, watched, case.accounts["account_id"])
    closed = found.graph.accounts.select(parent="account_id", closed_at="closed_at")
    regrown = (
        replaced.join(attached, left_on="child", right_on="account_id", how="semi")
        .join(closed, on="parent", how="left")
        .sort("cluster_id", "closed_at", "parent")
    )
    new = int((~graph.accounts["account_id"].is_in(case.accounts["account_id"].implode())).sum())
    attached_new = int(attached["new"].sum())
    counts = {
        "clusters": watched.height, "accounts": graph.accounts.height, "new": new, "attached_new": attached_new,
        "unattached": new - attached_new, "attached_known": attached.height - attached_new, "regrown": regrown.height,
    }  # fmt: skip
    return Watched(attached, identifiers, regrown, counts, (*opened.notes, *never, *left, *cleared))


def _watched(case: Case, assessments: Sequence[str], clusters: Sequence[str]) -> pl.DataFrame:
    """cluster_id and assessment of the clusters that are watched."""
    if clusters:
        ids = [case.cluster(cluster).id for cluster in clusters]
        return case.clusters.filter(pl.col("cluster_id").is_in(ids)).select("cluster_id", "assessment")
    wanted = pl.col("assessment").is_in(list(assessments)) | (pl.col("review_state") == "confirmed")
    innocent = pl.col("cluster_id").is_in(still_cleared(case)) | (pl.col("hypothesis") == CLEARED).fill_null(False)
    return case.clusters.filter(wanted & ~innocent).select("cluster_id", "assessment")


def _identifiers(found: Newer, label: NDArray[np.int64]) -> pl.DataFrame:
    """What accounts that attach share with others of their cluster: `Watched.identifiers`. label: of watched clusters."""
    graph = found.graph
    inside = pl.DataFrame(
        {
            "account": pl.Series(np.arange(len(label)), dtype=pl.UInt32),
            "account_id": graph.accounts["account_id"],
            "cluster_id": pl.Series([*found.ids, None], dtype=pl.String).gather(
                np.where(label < 0, len(found.ids), label)
            ),
            "member": found.label >= 0,
        }
    ).drop_nulls("cluster_id")
    used = graph.links.select("account", "identifier").join(inside, on="account")
    cell = ["cluster_id", "identifier"]
    users = used.group_by(cell).agg(
        members=pl.col("member").sum().cast(pl.Int64), joining=pl.col("member").not_().sum().cast(pl.Int64)
    )
    return (
        used.filter(~pl.col("member"))
        .join(users, on=cell)
        .select(
            "cluster_id", "account_id",
            kind=pl.lit(graph.identifiers["kind"]).gather("identifier"),
            value=pl.lit(graph.identifiers["value"]).gather("identifier"),
            bits=pl.lit(pl.Series(found.evidence.bits)).gather("identifier"),
            members="members",
            others=pl.col("joining") - 1,
            accounts=pl.lit(pl.Series(graph.degree)).gather("identifier"),
        )
        .filter((pl.col("bits") > 0) & (pl.col("members") + pl.col("others") > 0))
        .sort("cluster_id", "account_id", "bits", "kind", "value", descending=[False, False, True, False, False])
    )  # fmt: skip


def _attached(
    found: Newer,
    label: NDArray[np.int64],
    joined: Joined,
    identifiers: pl.DataFrame,
    watched: pl.DataFrame,
    known: pl.Series,
) -> pl.DataFrame:
    """`Watched.attached`. label: of watched clusters. known: ids of the case's accounts."""
    who = np.flatnonzero((found.label < 0) & (label >= 0))
    in_time = found.activity.joins_in(np.where(found.label >= 0, label, -1), who, label[who])
    words = pl.DataFrame(_in_words(identifiers), schema={"account_id": pl.String, "shares": pl.String}, orient="row")
    rows = found.graph.accounts.select("account_id", "created_at", "first_seen", "closed_at")[who]
    step = pl.when(pl.col("synchrony_bits") >= IN_STEP).then(pl.lit("begins to work when members do"))
    given = pl.when("given").then(pl.lit("constraints put it together with another"))
    return (
        rows.with_columns(
            cluster_id=pl.Series(found.ids, dtype=pl.String).gather(label[who]),
            new=~pl.col("account_id").is_in(known.implode()),
            membership=pl.Series(np.where(joined.core[who], "core", "attached"), dtype=pl.String),
            bits=pl.Series(joined.bits[who]),
            synchrony_bits=pl.Series(in_time.round(3)),
            given=pl.Series(joined.given[who]),
        )
        .join(watched, on="cluster_id")
        .join(words, on="account_id", how="left")
        .select(
            "cluster_id", "assessment", "account_id", "new", "membership", "bits", "synchrony_bits",
            pl.concat_str("shares", step, given, separator="; ", ignore_nulls=True).alias("because"),
            "created_at", "first_seen", "closed_at",
        )
        .sort("cluster_id", "bits", "account_id", descending=[False, True, False])
    )  # fmt: skip


def _in_words(identifiers: pl.DataFrame) -> list[tuple[str, str]]:
    """For each account how many identifiers of which kinds it shares, what strangers share least first."""
    counts: dict[str, list[tuple[float, str, int]]] = {}
    for account, kind, number in identifiers.group_by("account_id", "kind").agg(pl.len()).iter_rows():
        counts.setdefault(account, []).append((kind_of(kind).chance_bits, kind, number))
    said = []
    for account, held in sorted(counts.items()):
        parts = [kind_of(kind).counted(number) for _, kind, number in sorted(held)]
        said.append((account, "shares " + " and ".join([", ".join(parts[:-1]), parts[-1]] if parts[1:] else parts)))
    return said


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
