"""Identifiers that count as no evidence: left out of the graph before anything is weighed."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.bipartite import BipartiteGraph
from hydragraph.identifiers import IP_RANGE, normalise
from hydragraph.known import known_kinds
from hydragraph.pseudonyms import is_pseudonym
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
        given = allowed.filter(kind=kind)["value"]
        found, met = held_by(graph.identifiers["value"].gather(at), kind, given, settings)
        out[at] = found
        idle += int((~met).sum())
    dropped = out[graph.links["identifier"].to_numpy()]
    users = graph.links.filter(pl.Series(dropped))["account"].n_unique()
    said = allowed_sentences(int(out.sum()), users, idle, allowed.height)
    if not out.any():
        return graph, said
    code = pl.Series(np.cumsum(~out) - ~out, dtype=pl.UInt32)
    links = graph.links.filter(pl.Series(~dropped))
    return BipartiteGraph(
        graph.accounts,
        graph.identifiers.filter(pl.Series(~out)),
        links.with_columns(identifier=code.gather(links["identifier"])),
    ), said


def allowed_sentences(identifiers: int, accounts: int, idle: int, entries: int) -> list[str]:
    """Sentences on an allow list of so many entries, of which `idle` name nothing in the source: so many identifiers of the
    source are set aside, which so many accounts use."""
    said = []
    if identifiers:
        said.append(
            f"allow list: {identifiers:,} identifiers of the source are set aside, which {accounts:,} accounts use; they are"
            " no evidence"
        )
    if idle:
        said.append(f"allow list: {idle:,} of {entries:,} identifiers are not in the source")
    return said


def held_by(
    values: pl.Series, kind: str, given: pl.Series, settings: Settings
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of the graph's values the `given` identifiers allow, and which of these allow any."""
    raw = pl.Series([not is_pseudonym(value) for value in given], dtype=pl.Boolean)
    same = normalise(kind, given, settings).zip_with(raw, given)
    found, met = values.is_in(same.implode()).to_numpy(), same.is_in(values.implode()).to_numpy()
    if kind == IP_RANGE and raw.any():
        declared = given.to_frame("cidr").with_columns(kind=pl.lit(kind)).filter(raw)
        inside = known_kinds(declared, values).is_not_null().to_numpy()
        # where ranges overlap each may allow something: one by one, among the few that are allowed
        some = values.filter(pl.Series(inside))
        met = met.copy()
        met[raw.to_numpy()] |= [known_kinds(one, some).is_not_null().any() for one in declared.iter_slices(1)]
        found = found | inside
    return found, met
