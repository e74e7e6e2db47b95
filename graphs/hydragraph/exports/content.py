"""What every export holds: the accounts and links of a case as a table of nodes and a table of edges.

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

import polars as pl

from hydragraph.bipartite import account_node, identifier_node
from hydragraph.case import Case
from hydragraph.exports.fit import finite
from hydragraph.schema import OUTPUT, REVIEW_STATES

NODE = ("id",)
"""Columns of nodes that are structure and never an attribute."""

EDGE = ("source", "target")
"""Columns of edges that are structure and never an attribute."""


def nodes_and_edges(case: Case, cluster: str | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Nodes (accounts by id, then identifiers by kind and value) and edges (by account, kind, value) of all clusters.

    cluster: id of the only cluster wanted, or an unambiguous beginning of it. NaN and infinity become null.
    Raises UnknownName if no cluster has this id.
    """
    if cluster is None:
        accounts, links = case.accounts.filter(pl.col("cluster_id").is_not_null()), case.links
    else:
        one = case.cluster(cluster)
        accounts, links = one.accounts, one.links
    decided = case.clusters.select("cluster_id", "review_state")
    accounts = accounts.join(decided, on="cluster_id", how="left").sort(*OUTPUT["accounts"].sort)
    links = links.join(accounts, on="account_id", how="semi").sort(*OUTPUT["links"].sort)
    nodes = pl.concat([_account_nodes(accounts), _identifier_nodes(links)], how="diagonal")
    return finite(nodes), finite(_edges(links))


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
