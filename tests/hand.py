"""Graphs small enough to hold in the head."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from hydragraph.bipartite import BipartiteGraph
from hydragraph.schema import TIME


def graph_of(
    uses: Mapping[tuple[str, str], Iterable[str]],
    also: Iterable[str] = (),
    often: Mapping[tuple[str, str], int] | None = None,
) -> BipartiteGraph:
    """The graph in which each (kind, value) is used by the named accounts; `also` names accounts without links.

    Every link is used once, or as often as `often` says for its (account, value).
    """
    often = often or {}
    names = sorted({a for users in uses.values() for a in users} | set(also))
    keys = sorted(uses)
    rows = sorted({(names.index(a), v) for v, key in enumerate(keys) for a in uses[key]})
    accounts = pl.DataFrame({"account_id": pl.Series(names, dtype=pl.String)}).with_columns(
        *(pl.lit(None, TIME).alias(c) for c in ("created_at", "closed_at", "first_seen", "last_seen")),
        *(pl.lit(None, pl.String).alias(c) for c in ("close_reason", "org_id", "channel")),
        *(pl.lit(0, pl.Int64).alias(c) for c in ("events", "tokens", "limited")),
    )
    return BipartiteGraph(
        accounts=accounts,
        identifiers=pl.DataFrame(keys, schema={"kind": pl.String, "value": pl.String}, orient="row").with_columns(
            known=pl.lit(None, pl.String)
        ),
        links=pl.DataFrame(
            [(a, v, often.get((names[a], keys[v][1]), 1), None, None) for a, v in rows],
            schema={
                "account": pl.UInt32,
                "identifier": pl.UInt32,
                "count": pl.Int64,
                "first_seen": TIME,
                "last_seen": TIME,
            },
            orient="row",
        ),
    )


def strangers(number: int) -> list[str]:
    """Account names for a crowd."""
    return [f"stranger-{i:05d}" for i in range(number)]
