"""How much of a core still hangs together when a fifth of what accounts share is lost, and where a cluster falls apart."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.bipartite import BipartiteGraph
from hydragraph.communities import Clusters
from hydragraph.evidence import Evidence
from hydragraph.grouping import connected
from hydragraph.identifiers import is_circumstantial
from hydragraph.runs import changes

PARTS = 5
"""Parts into which the identifiers are divided; a draw loses one of them."""

DIVISIONS = 4
"""How often they are divided anew. Each part is lost once: 20 draws."""

DRAW = "draw"
"""Column of a graph's identifiers, where their values are pseudonyms: what `drawn` made of the raw values, so that the same
identifiers are lost."""

HELD = 0.2
"""Share of an identifier's users that must be members of the cluster for it to count."""


def core_stability(graph: BipartiteGraph, evidence: Evidence, clusters: Clusters, seed: int = 0) -> NDArray[np.float64]:
    """Mean share of each core that stays in one piece when a fifth of the identifiers is lost, shape (clusters,).

    V are the identifiers that tell: of a kind that can make a tie, worth more than 0 bits, and with at least a fifth of all
    their users in the cluster, links in passing left out (BipartiteGraph.passing). For V' of them, L(V') is the number of
    accounts in the largest piece of the core that hangs together by them, a piece being two accounts at least; with D_r the
    identifiers lost in draw r of 20,

        stability = mean over r of L(V without D_r) / L(V)

    That is Hennig's cluster-wise stability (2007), the mean over resamples of the largest Jaccard coefficient of the
    cluster with what is found again, which is |piece| / |core| for pieces of it; resampled is what accounts share, not
    accounts. It is also the relative size of the largest component after random failures (Albert, Jeong and Barabasi
    2000), for nodes of one side of a bipartite graph. V is divided into 5 parts at random, 4 times over, and each part is
    lost in one draw: every identifier is lost in 4 draws of 20 (a delete-a-group jackknife), so a core that hangs on a
    single identifier has 0.8. A draw loses an identifier for all clusters. Which part it is in depends on its kind, its
    value and the seed alone: an unchanged cluster keeps its figure when the rest of the source changes.

    NaN where V connects less than half of the core: it hangs on what many others use, or on time.
    Time O(draws * links inside clusters).
    Not checked: whether what is left would be enough evidence for a cluster: two accounts count as connected by one
    identifier of V, and time and addresses connect nobody.
    """
    cores = np.bincount(clusters.label[clusters.core], minlength=len(clusters.breaks))
    a, b, lost_in = _connections(graph, evidence, clusters, seed)
    if not len(a):
        return np.full(len(cores), np.nan)
    nodes, code = np.unique(np.concatenate([a, b]), return_inverse=True)
    cluster, a, b = clusters.label[nodes], code[: len(a)], code[len(a) :]
    whole = _largest_piece(cluster, a, b, len(cores))
    left = np.zeros(len(cores), np.int64)
    for parts in lost_in.T:
        for part in range(PARTS):
            stays = parts != part
            left += _largest_piece(cluster, a[stays], b[stays], len(cores))
    stability = left / (DIVISIONS * PARTS * np.maximum(whole, 1))
    return np.where((whole > 0) & (2 * whole >= cores), stability, np.nan).round(3)


def _connections(
    graph: BipartiteGraph, evidence: Evidence, clusters: Clusters, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of core members, each with the next user of an identifier that counts, and the part of the identifier in each
    division, shape (pairs, DIVISIONS)."""
    tells = ~np.array([is_circumstantial(k) for k in graph.kinds], bool)[graph.kind_code] & (evidence.bits > 0)
    account = graph.links["account"].to_numpy().astype(np.int64)
    identifier = graph.links["identifier"].to_numpy().astype(np.int64)
    at = np.flatnonzero((clusters.label[account] >= 0) & tells[identifier] & ~graph.passing)
    key = identifier[at] * len(clusters.breaks) + clusters.label[account[at]]
    at, key = (column[np.argsort(key, kind="stable")] for column in (at, key))
    start = np.flatnonzero(changes(key))
    members = np.diff(np.append(start, len(key)))
    counts = np.repeat(members >= HELD * graph.degree[identifier[at[start]]], members) & clusters.core[account[at]]
    at, key = at[counts], key[counts]
    again = np.flatnonzero(~changes(key))
    names, of = np.unique(identifier[at[again]], return_inverse=True)
    return account[at[again - 1]], account[at[again]], _parts(graph, names, seed)[of]


def _parts(graph: BipartiteGraph, identifiers: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """The part of each identifier in each division, shape (identifiers, DIVISIONS)."""
    digests = drawn(graph.identifiers[identifiers], seed)
    return np.frombuffer(b"".join(digests), ">u4").reshape(-1, DIVISIONS).astype(np.int64) % PARTS


def drawn(identifiers: pl.DataFrame, seed: int) -> list[bytes]:
    """A hash of each identifier, by kind and raw value; where the values are pseudonyms, what was kept of it in DRAW."""
    if DRAW in identifiers.columns:
        return identifiers[DRAW].to_list()
    salt = seed.to_bytes(4, "big")
    return [
        hashlib.blake2b(f"{kind}\0{value}".encode(), digest_size=4 * DIVISIONS, salt=salt).digest()
        for kind, value in identifiers.select("kind", "value").iter_rows()
    ]


def _largest_piece(
    cluster: NDArray[np.int64], a: NDArray[np.int64], b: NDArray[np.int64], clusters: int
) -> NDArray[np.int64]:
    """Accounts in the largest piece of each cluster that pairs a, b connect, 0 where they connect none."""
    piece = connected(len(cluster), a, b)
    size = np.bincount(piece)
    of = np.empty(len(size), np.int64)
    of[piece] = cluster
    large = size > 1
    found = np.zeros(clusters, np.int64)
    np.maximum.at(found, of[large], size[large])
    return found


def holding_sentence(row: Mapping[str, Any]) -> str:
    """A row of schema.OUTPUT["clusters"] in words: where the cluster falls apart, and what stays when identifiers are lost.

    Empty for a row that does not say at how many bits it breaks. A group (groups.py) breaks at 0 bits: it has no ties.
    """
    if row["bits"] is None:
        return ""
    if row["bits"] == 0 and row["cut_ties"] is None:
        return (
            "No shared identifier ties its accounts: they are held together by common address ranges or templates and by how"
            " they behave, or by what was given beforehand. Each of them needs a look of its own."
        )
    if row["cut_ties"] is None:
        said = "No tie between two of its accounts holds it: its members keep step."
    else:
        smaller, larger = row["cut_accounts"], row["cut_others"]
        whole = smaller + larger == row["size"]
        what = "it" if whole else f"a part of {smaller + larger:,} of its {row['size']:,} accounts, connected by ties,"
        sides = (
            "two single accounts"
            if larger == 1
            else f"{larger:,} accounts and a single one"
            if smaller == 1
            else f"{larger:,} and {smaller:,} accounts"
        )
        ties = "one tie holds" if row["cut_ties"] == 1 else f"{row['cut_ties']:,} ties hold"
        said = f"At {row['bits']:,.1f} bits {what} falls into {sides}, which {ties} together."
    if row["stability"] is None:
        return f"{said} Identifiers of its own connect less than half of its core."
    share = 100 if row["stability"] == 1 else min(round(100 * row["stability"]), 99)
    return (
        f"{said} Were a fifth of the identifiers lost, {share} % of the accounts that they connect in its core would stay in"
        " one piece, on average."
    )
