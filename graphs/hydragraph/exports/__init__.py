"""A case, or one cluster of it, as files for other programs.

    hg.export(case, "graphml", "ring.graphml", cluster="c-5f2a91")

Graph formats and tables hold the same bipartite graph: accounts on one side, the identifiers they use on the other, a
link between them. Nodes are named as in `bipartite.account_node` and `bipartite.identifier_node`; the attributes of
nodes and edges are listed in `hydragraph.exports.content`. `stix` and `timesketch` tell the same accounts and links in
the words of those programs. Accounts outside every cluster are never exported.

Everything heavy is imported at the first export, so that a command line can list FORMATS at no cost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hydragraph.errors import UnknownName
from hydragraph.exports import csv_tables, cypher, gexf, graphml, node_link, parquet_tables, stix, timesketch
from hydragraph.exports.place import whole

if TYPE_CHECKING:
    from hydragraph.case import Case
    from hydragraph.exports.content import Content


@dataclass(frozen=True)
class Format:
    """One format: the function that writes the content to a path, what it is for, its files if it is a folder."""

    write: Callable[[Content, Path], None]
    purpose: str
    files: tuple[str, ...] = ()


FORMATS: dict[str, Format] = {
    "graphml": Format(graphml.write, "graph for Gephi, Cytoscape, yEd, igraph and networkx"),
    "gexf": Format(gexf.write, "graph for Gephi"),
    "json": Format(node_link.write, "graph as node-link JSON, for networkx, D3 and scripts"),
    "parquet": Format(parquet_tables.write, "nodes and edges with exact values and types", parquet_tables.FILES),
    "csv": Format(csv_tables.write, "nodes and edges for spreadsheets, safe to open", csv_tables.FILES),
    "cypher": Format(cypher.write, "graph as a Cypher script, for Neo4j"),
    "stix": Format(stix.write, "STIX 2.1 bundle, for sharing with other providers"),
    "timesketch": Format(timesketch.write, "what happened when, one event a line, for Timesketch"),
}
"""Every format by the name a user gives it."""


def export(case: Case, format: str, path: str | Path, *, cluster: str | None = None, force: bool = False) -> Path:
    """Write what `case` found to `path` in one of FORMATS and return `path`.

    cluster: id of one cluster, or an unambiguous beginning of it; default: all clusters of the case.
    path: the file, or for `parquet` and `csv` the folder, to make; missing parent folders are made.
    force: replace what is at `path`: a file, or a folder left by an earlier export. A folder that holds anything else
    is never replaced.

    The export is written whole or not at all, and the same case gives the same bytes. Each account carries its
    `review_state`: what a person decided about its cluster, `unreviewed` at first.
    Raises UnknownName for an unknown format or cluster, CaseExists if something is at `path` already. Not checked: the
    size; a cluster of 20,000 accounts takes seconds, but few viewers can draw one.
    """
    if format not in FORMATS:
        raise UnknownName(f"no format called {format!r}; known formats are {', '.join(FORMATS)}")
    from hydragraph.exports.content import content_of

    chosen = FORMATS[format]
    content = content_of(case, cluster)
    with whole(Path(path), files=chosen.files, force=force) as place:
        chosen.write(content, place)
    return Path(path)
