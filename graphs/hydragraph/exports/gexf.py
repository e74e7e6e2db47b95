"""GEXF 1.3: one XML file for Gephi (`networkx.read_gexf` reads it too).

Nodes, edges and attributes as in `hydragraph.exports.content`, with two differences of the format: `label` is the node's
label and `weight` the edge's weight, not attributes of their own; edges are numbered from 0. The graph is undirected.
Times are ISO 8601 text. Characters XML cannot hold are written visibly as `\\uXXXX` (see
`hydragraph.exports.fit.visible`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from hydragraph.exports.content import Content

_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<gexf xmlns="http://gexf.net/1.3" version="1.3">
<meta><creator>hydragraph</creator></meta>
<graph defaultedgetype="undirected" mode="static">
"""


def write(content: Content, path: Path) -> None:
    """Write nodes and edges to the file `path`; row by row."""
    from hydragraph.exports.content import EDGE, NODE
    from hydragraph.exports.fit import for_graph

    nodes, edges = for_graph(content.nodes), for_graph(content.edges)
    numbered = edges.with_row_index("id")
    with path.open("w", encoding="utf-8", newline="\n") as out:
        out.write(_HEAD)
        out.writelines(_declared("node", nodes, (*NODE, "label")))
        out.writelines(_declared("edge", numbered, ("id", *EDGE, "weight")))
        out.write("<nodes>\n")
        out.writelines(_elements("node", nodes, (*NODE, "label")))
        out.write("</nodes>\n<edges>\n")
        out.writelines(_elements("edge", numbered, ("id", *EDGE, "weight")))
        out.write("</edges>\n</graph>\n</gexf>\n")


def _declared(element: str, frame: pl.DataFrame, own: tuple[str, ...]) -> Iterator[str]:
    from hydragraph.exports.fit import xml_type

    yield f'<attributes class="{element}" mode="static">\n'
    for name, dtype in frame.schema.items():
        if name not in own:
            yield f'<attribute id="{element}_{name}" title="{name}" type="{xml_type(dtype)}"/>\n'
    yield "</attributes>\n"


def _elements(element: str, frame: pl.DataFrame, own: tuple[str, ...]) -> Iterator[str]:
    from xml.sax.saxutils import quoteattr

    heads = [f'<attvalue for="{element}_{name}" value=' for name in frame.columns if name not in own]
    for row in frame.select(*own, *(name for name in frame.columns if name not in own)).iter_rows():
        given = " ".join(f"{n}={quoteattr(str(v))}" for n, v in zip(own, row, strict=False) if v is not None)
        values = (
            f"{head}{quoteattr(str(value))}/>"
            for head, value in zip(heads, row[len(own) :], strict=True)
            if value is not None
        )
        yield f"<{element} {given}><attvalues>{''.join(values)}</attvalues></{element}>\n"
