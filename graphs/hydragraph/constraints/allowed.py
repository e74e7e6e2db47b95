"""Identifiers that count as no evidence: left out of the graph before anything is weighed."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.bipartite import BipartiteGraph
from hydragraph.identifiers import IP_RANGE, normalise
from hydragraph.known import known_kinds
from hydragraph.settings import Settings


def set_aside(graph: BipartiteGraph, allowed: pl.DataFrame, settings: Settings) -> tuple[BipartiteGraph, list[str]]:
    """The graph without the `allowed` identifiers and their links, and sentences on what was left out.

    allowed: kind and value, which is normalised as in a source. Of address ranges all are allowed that begin inside a given
    range, and the one in which a given address or narrower range lies. Accounts stay, with their times and figures.
    """
    if allowed.is_empty():
        return graph, []
    out = np.zeros(graph.identifiers.height, bool)
    idle = 0
    for kind in allowed["kind"].unique().sort():
        at = np.flatnonzero((graph.identifiers["kind"] == kind).to_numpy())
        found = _held(graph.identifiers["value"].gather(at), kind, allowed.filter(kind=kind)["value"], settings)
        out[at] = found.any(axis=0)
        idle += int((~found.any(axis=1)).sum())
    dropped = out[graph.links["identifier"].to_numpy()]
    users = graph.links.filter(pl.Series(dropped))["account"].n_unique()
    said = [
        f"allow list: {int(out.sum()):,} identifiers of the source are set aside, which {users:,} accounts use; they are no"
        " evidence"
    ]
    if idle:
        said.append(f"allow list: {idle:,} of {allowed.height:,} identifiers are not in the source")
    if not out.any():
        return graph, said[1:]
    code = pl.Series(np.cumsum(~out) - ~out, dtype=pl.UInt32)
    links = graph.links.filter(pl.Series(~dropped))
    return BipartiteGraph(
        graph.accounts,
        graph.identifiers.filter(pl.Series(~out)),
        links.with_columns(identifier=code.gather(links["identifier"])),
    ), said


def _held(values: pl.Series, kind: str, given: pl.Series, settings: Settings) -> NDArray[np.bool_]:
    """Which of the `given` identifiers allow which of the graph's values; shape (given, values)."""
    same = normalise(kind, given, settings).to_list()
    found = np.array([(values == one).to_numpy() for one in same], bool).reshape(len(given), len(values))
    if kind == IP_RANGE:
        for row, cidr in enumerate(given):
            declared = pl.DataFrame({"cidr": [cidr], "kind": [kind]})
            found[row] |= known_kinds(declared, values).is_not_null().to_numpy()
    return found
