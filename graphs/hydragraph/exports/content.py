"""What every export holds: the accounts and links of a case as a table of nodes and a table of edges, and its leads.

Nodes, accounts first; columns of tables and attributes of graph formats:

    id            `account:<account_id>` or `identifier:<kind>:<value>`; in graph formats the name of the node
    bipartite     0 account, 1 identifier
    kind          `account`, or the kind of the identifier
    label         the account's id or the identifier's value, to show beside the node
    value         identifiers: the normalised value
    accounts      identifiers: how many accounts of the whole source use it, also those outside the cluster
    review_state  accounts: what a person decided about the cluster: unreviewed, confirmed or innocent
    account_id, cluster_id, assessment, membership, bits, ...
                  accounts: every column of the case's accounts table, see schema.OUTPUT["accounts"]

Edges, one for each account and identifier it used:

    source        the account's node; in graph formats one end of the edge
    target        the identifier's node; likewise
    count         how often the account used it
    first_seen, last_seen
                  first and last use, UTC
    bits          what sharing the identifier is worth as evidence, in bits
    weight        the same as bits, under the name that graph programs look for

Where there is no value, tables hold a null and graph formats leave the attribute out. So `bipartite.networkx_graph` and
an export have the same nodes, edges and attributes; the export adds `review_state`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from hydragraph.bipartite import account_node, identifier_node
from hydragraph.case import Case
from hydragraph.exports.fit import finite
from hydragraph.schema import OUTPUT, REVIEW_STATES

NODE = ("id",)
"""Columns of nodes that are structure and never an attribute."""

EDGE = ("source", "target")
"""Columns of edges that are structure and never an attribute."""


@dataclass(frozen=True)
class Content:
    """What is exported, of one cluster or of all; NaN and infinity are null, and every frame is sorted.

    run: what the case was made from and how, as hexadecimal digits: the same source, settings and version, the same run.
    whole: whether these are all clusters of the case. clusters, accounts, links, lineage: rows of the case's tables,
    accounts with the review_state of their cluster. decisions: as `Case.decisions`.
    """

    run: str
    whole: bool
    clusters: pl.DataFrame
    accounts: pl.DataFrame
    links: pl.DataFrame
    lineage: pl.DataFrame
    decisions: pl.DataFrame

    @property
    def nodes(self) -> pl.DataFrame:
        """Nodes: accounts by id, then identifiers by kind and value."""
        return pl.concat([_account_nodes(self.accounts), _identifier_nodes(self.links)], how="diagonal")

    @property
    def edges(self) -> pl.DataFrame:
        """Edges, by account, kind and value."""
        return _edges(self.links)


def content_of(case: Case, cluster: str | None = None) -> Content:
    """What an export of `case` holds.

    cluster: id of the only cluster wanted, or an unambiguous beginning of it. Raises UnknownName if no cluster has this
    id.
    """
    ids = case.clusters if cluster is None else case.clusters.filter(cluster_id=case.cluster(cluster).id)
    clusters = ids.with_columns(pl.col("review_state").fill_null(REVIEW_STATES[0])).sort("cluster_id")
    decided = clusters.select("cluster_id", "review_state")
    accounts = case.accounts.join(decided, on="cluster_id", how="inner").sort(*OUTPUT["accounts"].sort)
    links = case.links.join(accounts, on="account_id", how="semi").sort(*OUTPUT["links"].sort)
    lineage = case.lineage.join(clusters, on="cluster_id", how="semi").sort(*OUTPUT["lineage"].sort)
    decisions = case.decisions.join(clusters, on="cluster_id", how="semi", maintain_order="left")
    return Content(
        run=_run(case.manifest),
        whole=cluster is None,
        clusters=finite(clusters),
        accounts=finite(accounts),
        links=finite(links),
        lineage=finite(lineage),
        decisions=decisions,
    )


def _run(manifest: Mapping[str, Any]) -> str:
    """Everything in the manifest but the times and figures that differ from run to run."""
    made = {name: manifest.get(name) for name in ("version", "settings", "inputs")}
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode("ascii")).hexdigest()


def _account_nodes(accounts: pl.DataFrame) -> pl.DataFrame:
    return accounts.select(
        _account_name(accounts).alias("id"),
        pl.lit(0, pl.Int64).alias("bipartite"),
        pl.lit("account").alias("kind"),
        pl.col("account_id").alias("label"),
        pl.lit(None, pl.String).alias("value"),
        pl.lit(None, pl.Int64).alias("accounts"),
        pl.col("review_state").fill_null(REVIEW_STATES[0]),
        *OUTPUT["accounts"].names,
    )


def _identifier_nodes(links: pl.DataFrame) -> pl.DataFrame:
    identifiers = links.group_by("kind", "value").agg(pl.col("accounts").max()).sort("kind", "value")
    return identifiers.select(
        _identifier_name(identifiers).alias("id"),
        pl.lit(1, pl.Int64).alias("bipartite"),
        "kind",
        pl.col("value").alias("label"),
        "value",
        "accounts",
    )


def _edges(links: pl.DataFrame) -> pl.DataFrame:
    return links.select(
        _account_name(links).alias("source"),
        _identifier_name(links).alias("target"),
        "count",
        "first_seen",
        "last_seen",
        "bits",
        pl.col("bits").alias("weight"),
    )


def _account_name(frame: pl.DataFrame) -> pl.Series:
    return pl.Series([account_node(a) for a in frame["account_id"]], dtype=pl.String)


def _identifier_name(frame: pl.DataFrame) -> pl.Series:
    pairs = frame.select("kind", "value").iter_rows()
    return pl.Series([identifier_node(kind, value) for kind, value in pairs], dtype=pl.String)
