"""Graphs small enough to hold in the head."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.bipartite import BipartiteGraph
from hydragraph.schema import TIME

EVERYBODY = 1024
"""Accounts of a `world`: log2 of it is 10."""


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


def people(name: str, number: int) -> list[str]:
    """Account names for a group."""
    return [f"{name}{i:02d}" for i in range(number)]


def world(
    uses: Mapping[tuple[str, str], Iterable[str]], *cores: list[str], everybody: int = EVERYBODY, own: str = "payment"
) -> tuple[BipartiteGraph, NDArray[np.int64]]:
    """A graph of `everybody` accounts, each with a card (or another kind) of its own, and the cores as labels."""
    named = sorted({a for users in uses.values() for a in users} | {a for core in cores for a in core})
    everyone = named + strangers(everybody - len(named))
    graph = graph_of({**uses, **{(own, f"own-{a}"): [a] for a in everyone}})
    label = np.full(everybody, -1, np.int64)
    names = graph.accounts["account_id"].to_list()
    for number, core in enumerate(cores):
        label[[names.index(a) for a in core]] = number
    return graph, label


def by_value(graph: BipartiteGraph, figures: NDArray[np.generic]) -> dict[str, float]:
    """A figure of each identifier by its value."""
    return dict(zip(graph.identifiers["value"].to_list(), figures.tolist(), strict=True))
