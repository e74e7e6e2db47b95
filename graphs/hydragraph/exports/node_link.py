"""Node-link JSON: one object with `nodes` and `edges`, for D3, scripts and networkx.

Read it with `networkx.node_link_graph(json.load(file), edges="edges")`. Nodes, edges and attributes as in
`hydragraph.exports.content`: each node is an object with `id`, each edge one with `source` and `target`, beside the
attributes. UTF-8, one node or edge a line; times are ISO 8601 text; a missing value has no member; there is no NaN.
Characters are fitted as for XML (`\\uXXXX` stays visible as such), so that a node has the same name in every graph
format.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from hydragraph.exports.content import Content


def write(content: Content, path: Path) -> None:
    """Write nodes and edges to the file `path`; row by row."""
    with path.open("w", encoding="utf-8", newline="\n") as out:
        out.write('{"directed": false, "multigraph": false, "graph": {},\n"nodes": [')
        out.writelines(_objects(content.nodes))
        out.write('],\n"edges": [')
        out.writelines(_objects(content.edges))
        out.write("]}\n")


def _objects(frame: pl.DataFrame) -> Iterator[str]:
    import json

    from hydragraph.exports.fit import for_graph

    before = "\n"
    for row in for_graph(frame).iter_rows(named=True):
        held = {name: value for name, value in row.items() if value is not None}
        yield before + json.dumps(held, ensure_ascii=False, allow_nan=False)
        before = ",\n"
