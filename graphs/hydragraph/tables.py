"""The tables and the manifest of a case, from what was found."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import polars as pl

from hydragraph import __version__
from hydragraph.bipartite import BipartiteGraph
from hydragraph.chance import ByChance
from hydragraph.communities import Clusters
from hydragraph.constraints import Constraints
from hydragraph.evidence import Evidence
from hydragraph.identifiers import kind as kind_of
from hydragraph.loaders import Source
from hydragraph.review import Reviewed
from hydragraph.schema import OUTPUT
from hydragraph.settings import Settings
from hydragraph.ties import Ties

_RARELY_SHARED = 2.0
_MANY = 8

_TIES_SHOWN = 2_000_000
"""Ties written to the case, strongest first within a cluster; a hub ring alone has tens of millions."""


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


def case_tables(
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
    """The tables accounts, clusters, links, ties and rejects of schema.OUTPUT. ids: of the clusters; stability: as
    stability.core_stability gives it. Of ties the strongest two million are kept."""
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
        "links": link_table(graph, evidence, clusters),
        "ties": _tie_table(graph, evidence, ties, clusters),
        "rejects": OUTPUT["rejects"].conform(source.rejects),
    }


def wide_and_alone(graph: BipartiteGraph, clusters: Clusters) -> list[str]:
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


def link_table(graph: BipartiteGraph, evidence: Evidence, clusters: Clusters) -> pl.DataFrame:
    """The links of accounts in clusters, as schema.OUTPUT["links"] has them."""
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


def manifest_of(
    source: Source,
    settings: Settings,
    previous: dict[str, Any] | None,
    known: Constraints,
    evidence: Evidence,
    ties: Ties,
    notes: list[str],
    stages: list[dict[str, Any]],
) -> dict[str, Any]:
    """What manifest.json says of a run, but for pseudonyms. previous: version, settings and digest of the earlier case."""
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
