"""Cases that hold nothing but accounts in clusters, for the tests of the ruler."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl

from hydragraph.case import Case
from hydragraph.schema import OUTPUT

Clusters = Mapping[str, tuple[str, float, Iterable[str]]]


def tables_of(
    clusters: Clusters, alone: Iterable[str] = (), lineage: Iterable[tuple[str, str]] = ()
) -> dict[str, pl.DataFrame]:
    """clusters: id -> assessment, score, members. lineage: (parent, child)."""
    members = [
        {"account_id": a, "cluster_id": c, "assessment": word, "membership": "core"}
        for c, (word, _, accounts) in clusters.items()
        for a in accounts
    ]
    given: dict[str, list[dict[str, object]]] = {
        "accounts": [*members, *({"account_id": a} for a in alone)],
        "clusters": [
            {"cluster_id": c, "assessment": word, "score": score, "size": len(list(accounts))}
            for c, (word, score, accounts) in clusters.items()
        ],
        "lineage": [{"cluster_id": "k", "parent": p, "child": c} for p, c in lineage],
    }
    return {
        name: table.conform(
            pl.DataFrame(
                [{c: row.get(c) for c in table.names} for row in given.get(name, [])], schema=dict(table.schema)
            )
        )
        for name, table in OUTPUT.items()
    }


def case_of(clusters: Clusters, alone: Iterable[str] = (), lineage: Iterable[tuple[str, str]] = ()) -> Case:
    """A case in memory only."""
    case = Case(path=Path("nowhere"), manifest={})
    case._held.update(tables_of(clusters, alone, lineage))
    return case


def truth_of(rows: Iterable[tuple[object, ...]], *more: str) -> pl.DataFrame:
    """account_id, label and the columns named in `more`."""
    return pl.DataFrame(list(rows), schema=["account_id", "label", *more], orient="row", infer_schema_length=None)
