"""Parquet: a folder with nodes.parquet and edges.parquet, for polars, DuckDB, Spark and pandas.

Columns as in `hydragraph.exports.content`. Values and types are exact: times are UTC timestamps, text is unchanged, a
missing value is null (so are NaN and infinity). The only format without any fitting of text.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hydragraph.exports.content import Content

FILES = ("nodes.parquet", "edges.parquet")


def write(content: Content, path: Path) -> None:
    """Write nodes and edges into the folder `path`, which must exist."""
    for name, frame in zip(FILES, (content.nodes, content.edges), strict=True):
        frame.write_parquet(path / name, compression="zstd", statistics=True)
