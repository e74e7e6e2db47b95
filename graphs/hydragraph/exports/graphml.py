"""GraphML: one XML file that Gephi, Cytoscape, yEd, igraph and networkx read (`networkx.read_graphml`).

Nodes, edges and attributes as in `hydragraph.exports.content`; each attribute is declared with its type (string, long,
double) in a `key` element. The graph is undirected. Times are ISO 8601 text. Characters XML cannot hold are written
visibly as `\\uXXXX` (see `hydragraph.exports.fit.visible`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from hydragraph.exports.content import Content

_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xsi:schemaLocation="http://graphml.graphdrawing.org/xmlns http://graphml.graphdrawing.org/xmlns/1.0/graphml.xsd">
"""


def write(content: Content, path: Path) -> None:
    """Write nodes and edges to the file `path`; row by row."""
    from hydragraph.exports.content import EDGE, NODE
    from hydragraph.exports.fit import for_graph

    nodes, edges = for_graph(content.nodes), for_graph(content.edges)
    with path.open("w", encoding="utf-8", newline="\n") as out:
        out.write(_HEAD)
        out.writelines(_keys("node", nodes, NODE))
        out.writelines(_keys("edge", edges, EDGE))
        out.write('<graph edgedefault="undirected">\n')
        out.writelines(_elements("node", nodes, NODE))
        out.writelines(_elements("edge", edges, EDGE))
        out.write("</graph>\n</graphml>\n")


def _keys(element: str, frame: pl.DataFrame, structure: tuple[str, ...]) -> Iterator[str]:
    from hydragraph.exports.fit import xml_type

    for name, dtype in frame.schema.items():
        if name not in structure:
            kind = xml_type(dtype)
            yield f'<key id="{element}_{name}" for="{element}" attr.name="{name}" attr.type="{kind}"/>\n'


def _elements(element: str, frame: pl.DataFrame, structure: tuple[str, ...]) -> Iterator[str]:
    from xml.sax.saxutils import escape, quoteattr

    heads = [f'<data key="{element}_{name}">' for name in frame.columns if name not in structure]
    for row in frame.select(*structure, *(name for name in frame.columns if name not in structure)).iter_rows():
        own = " ".join(f"{name}={quoteattr(value)}" for name, value in zip(structure, row, strict=False))
        data = (
            f"{head}{escape(str(value))}</data>"
            for head, value in zip(heads, row[len(structure) :], strict=True)
            if value is not None
        )
        yield f"<{element} {own}>{''.join(data)}</{element}>\n"
