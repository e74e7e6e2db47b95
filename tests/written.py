"""Sources and partitions written by hand: a table is a CSV text or a frame, and a source is a folder of them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.bipartite import BipartiteGraph
from hydragraph.communities import Clusters, Cut
from hydragraph.links import build_graph
from hydragraph.loaders import open_source
from hydragraph.settings import Settings

Link = tuple[str, str, str]
"""Account, kind, value."""


def source_of(folder: Path, **tables: str | pl.DataFrame) -> Path:
    """A source in `folder`: a text becomes <name>.csv (blanks around commas and lines are dropped), a frame a Parquet."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        if isinstance(table, pl.DataFrame):
            table.write_parquet(folder / f"{name}.parquet")
        else:
            lines = (",".join(cell.strip() for cell in line.split(",")) for line in table.strip().splitlines())
            (folder / f"{name}.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def graph_from(folder: Path, settings: Settings | None = None, **tables: str | pl.DataFrame) -> BipartiteGraph:
    """The graph of a source made of these tables."""
    settings = settings or Settings()
    return build_graph(open_source(source_of(folder, **tables), settings=settings), settings)


def named(graph: BipartiteGraph) -> dict[Link, tuple[int, dt.datetime | None, dt.datetime | None]]:
    """Count, first and last time of every link, by account, kind and value."""
    links = graph.links.select(
        account=graph.accounts["account_id"].gather(graph.links["account"]),
        kind=graph.identifiers["kind"].gather(graph.links["identifier"]),
        value=graph.identifiers["value"].gather(graph.links["identifier"]),
        count="count",
        first="first_seen",
        last="last_seen",
    )
    return {row[:3]: row[3:] for row in links.iter_rows()}


def day(number: int, hour: int = 0) -> dt.datetime:
    """That day of January 2026, in UTC."""
    return dt.datetime(2026, 1, number, hour, tzinfo=dt.UTC)


def clusters_of(label: NDArray[np.int64], bits: float = 20.0) -> Clusters:
    """The partition with these labels (-1: none), all of it core and held by as many bits everywhere, by no tie."""
    held = np.full(int(label.max(initial=-1)) + 1, bits)
    none = np.zeros(len(held), np.int64)
    return Clusters(
        label=label, core=label >= 0, bits=np.where(label >= 0, bits, 0.0), breaks=held, strength=held,
        cut=Cut(none, none, none),
    )  # fmt: skip
