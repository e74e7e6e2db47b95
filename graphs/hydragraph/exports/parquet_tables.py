"""Parquet: a folder with nodes.parquet and edges.parquet, for polars, DuckDB, Spark and pandas.

Columns as in `hydragraph.exports.content`. Values and types are exact: times are UTC timestamps, text is unchanged, a
missing value is null (so are NaN and infinity). The only format without any fitting of text.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

FILES = ("nodes.parquet", "edges.parquet")


def write(nodes: pl.DataFrame, edges: pl.DataFrame, path: Path) -> None:
    """Write nodes and edges, as `content.nodes_and_edges` gives them, into the folder `path`, which must exist."""
    for name, frame in zip(FILES, (nodes, edges), strict=True):
        frame.write_parquet(path / name, compression="zstd", statistics=True)
