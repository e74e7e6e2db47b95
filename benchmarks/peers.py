"""What a user would do without hydragraph: the usual ways to cluster accounts, on the same links.

Every method gets the bipartite graph that hydragraph itself starts from (addresses already ranges, spellings already
one), so that only the method differs. A method gives a cluster number for each account, -1 for none. None of them says
which clusters are coordinated: see `flagged`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, triu
from scipy.sparse.csgraph import connected_components

from hydragraph.bipartite import BipartiteGraph

Labels = NDArray[np.int64]

WIDEST = 100
"""Accounts of an identifier beyond which a projection leaves it out: pairs grow with the square, and without a cap the
client fingerprints alone tie everybody to everybody."""

STRONG = ("api_key", "payment", "device", "phone")
SMALLEST = 3
ROUNDS = 30
BLOCKS = 5
"""Blocks taken: with more of them precision falls below a half, on worlds of the seeds that are for tuning."""


@dataclass(frozen=True)
class Peer:
    """One way to do it. title: in words. find: graph, seed -> cluster of each account. largest: accounts beyond which it
    takes too long to be tried. blocks: what it finds is meant to be suspicious, not a partition of everybody."""

    name: str
    title: str
    find: Callable[[BipartiteGraph, int], Labels]
    largest: int = 10**9
    blocks: bool = False


def components(graph: BipartiteGraph, keep: NDArray[np.bool_]) -> Labels:
    """Connected components of accounts that share an identifier of those kept; -1 for an account on its own."""
    accounts, identifiers = graph.matrix.shape
    links = graph.matrix.tocoo()
    kept = keep[links.col]
    ends = (links.row[kept], accounts + links.col[kept])
    size = accounts + identifiers
    _, label = connected_components(csr_array((np.ones(kept.sum(), np.int8), ends), shape=(size, size)), directed=False)
    return without_single(label[:accounts].astype(np.int64))


def all_components(graph: BipartiteGraph, seed: int) -> Labels:
    """Connected components over every shared identifier."""
    return components(graph, np.ones(graph.identifiers.height, bool))


def rare_components(graph: BipartiteGraph, seed: int) -> Labels:
    """The same over identifiers of at most ten accounts."""
    return components(graph, graph.degree <= 10)


def strong_components(graph: BipartiteGraph, seed: int) -> Labels:
    """The same over cards, keys, devices and phones only."""
    strong = np.array([kind in STRONG for kind in graph.kinds])
    return components(graph, strong[graph.kind_code] if len(graph.kinds) else np.zeros(0, bool))


def projection(graph: BipartiteGraph) -> csr_array:
    """Account x account: the sum of log(accounts / users) over shared identifiers of at most WIDEST users, symmetric."""
    kept = np.flatnonzero((graph.degree > 1) & (graph.degree <= WIDEST))
    weight = np.sqrt(np.log(max(graph.accounts.height, 2) / graph.degree[kept]))
    incidence = csr_array(graph.matrix.tocsc()[:, kept].multiply(weight[None, :])).tocsr()
    tied = csr_array(incidence @ incidence.T)
    tied.setdiag(0)
    tied.eliminate_zeros()
    tied.sort_indices()
    return tied


def leiden(graph: BipartiteGraph, seed: int) -> Labels:
    """Leiden (graspologic-native) on the projection, modularity, resolution 1."""
    from graspologic_native import leiden_csr

    tied = projection(graph)
    _, found = leiden_csr(
        tied.indptr.astype(np.int64), tied.indices.astype(np.int32), tied.data.astype(np.float64), tied.shape[0],
        seed=seed,
    )  # fmt: skip
    label = np.full(tied.shape[0], -1, np.int64)
    label[np.fromiter(found.keys(), np.int64, len(found))] = np.fromiter(found.values(), np.int64, len(found))
    label[np.diff(tied.indptr) == 0] = -1
    return without_single(label)


def louvain(graph: BipartiteGraph, seed: int) -> Labels:
    """networkx's Louvain on the projection, resolution 1."""
    import networkx as nx

    above = triu(projection(graph)).tocoo()
    network: Any = nx.Graph()
    network.add_weighted_edges_from(zip(above.row.tolist(), above.col.tolist(), above.data.tolist(), strict=True))
    label = np.full(graph.accounts.height, -1, np.int64)
    for number, members in enumerate(nx.community.louvain_communities(network, seed=seed)):
        label[list(members)] = number
    return without_single(label)


def label_propagation(graph: BipartiteGraph, seed: int) -> Labels:
    """Labels go from accounts to identifiers and back, each node taking the heaviest label of its neighbours.

    Weights are log(accounts / users); an account keeps its label in a draw. Identifiers of one user are left out.
    """
    accounts = graph.accounts.height
    links = graph.matrix.tocoo()
    shared = graph.degree[links.col] > 1
    account, identifier = links.row[shared].astype(np.int64), links.col[shared].astype(np.int64)
    weight = np.log(accounts / graph.degree[identifier])
    label = np.random.default_rng(seed).permutation(accounts).astype(np.int64)
    for _ in range(ROUNDS):
        of_identifier = heaviest(identifier, label[account], weight, np.full(graph.identifiers.height, -1))
        new = heaviest(account, of_identifier[identifier], weight, label)
        if (new == label).all():
            break
        label = new
    return without_single(label)


def heaviest(node: Labels, label: Labels, weight: NDArray[np.float64], otherwise: Labels) -> Labels:
    """For each node the label with the largest sum of weights; in a draw the one in `otherwise`, else the smallest."""
    order = np.lexsort((label, node))
    node, label, weight = node[order], label[order], weight[order]
    first = np.flatnonzero(np.r_[True, (np.diff(node) != 0) | (np.diff(label) != 0)]) if len(node) else node
    of, named = node[first], label[first]
    total = np.add.reduceat(weight, first) if len(first) else weight
    best = np.lexsort((named, named != otherwise[of], -np.round(total, 9), of))
    top = best[np.flatnonzero(np.r_[True, np.diff(of[best]) != 0])] if len(best) else best
    out = otherwise.copy()
    out[of[top]] = named[top]
    return out


def densest_blocks(graph: BipartiteGraph, seed: int) -> Labels:
    """The five densest blocks, one after the other, each found by peeling as FRAUDAR does (Hooi et al., KDD 2016).

    Density of a set of accounts and identifiers: sum of 1 / log(users + 5) over the links between them, divided by
    their number. Peeling takes away, round by round, the two in a hundred nodes that hold least, and keeps the densest
    set on the way; then the links of the block are taken away for the next.
    """
    accounts = graph.accounts.height
    links = graph.matrix.tocoo()
    shared = graph.degree[links.col] > 1
    row, column = links.row[shared].astype(np.int64), links.col[shared].astype(np.int64) + accounts
    weight = 1 / np.log(graph.degree[links.col[shared]] + 5.0)
    label = np.full(accounts, -1, np.int64)
    nodes = accounts + graph.identifiers.height
    for block in range(BLOCKS):
        if not len(row):
            break
        inside = densest(row, column, weight, nodes)
        members = np.flatnonzero(inside[:accounts])
        label[members[label[members] < 0]] = block
        left = ~(inside[row] & inside[column])
        row, column, weight = row[left], column[left], weight[left]
    return without_single(label)


def densest(
    row: Labels, column: Labels, weight: NDArray[np.float64], nodes: int, step: float = 0.02
) -> NDArray[np.bool_]:
    """Which nodes are in the densest set met while peeling `step` of them at a time."""
    alive = np.zeros(nodes, bool)
    alive[row], alive[column] = True, True
    best, densest_yet = alive.copy(), -1.0
    while len(row):
        here = np.flatnonzero(alive)
        density = weight.sum() / len(here)
        if density > densest_yet:
            best, densest_yet = alive.copy(), density
        share = (np.bincount(row, weight, nodes) + np.bincount(column, weight, nodes))[here]
        last = np.partition(share, int(step * len(here)))[int(step * len(here))]
        alive[here[share <= last + 1e-12]] = False
        left = alive[row] & alive[column]
        row, column, weight = row[left], column[left], weight[left]
    return best


def without_single(label: Labels) -> Labels:
    """Clusters numbered from 0, those of one account taken away (-1)."""
    named = np.where(label < 0, 0, label + 1)
    _, number, size = np.unique(named, return_inverse=True, return_counts=True)
    alone = (size[number] == 1) | (label < 0)
    out = np.full(len(label), -1, np.int64)
    out[~alone] = np.unique(number[~alone], return_inverse=True)[1]
    return out


def flagged(label: Labels, positive: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    """Which accounts are accused, from the clusters of a method.

    Without `positive` every cluster of at least three accounts is. With it, an oracle that knows the truth accuses the
    clusters that give the highest F1, which are those with the largest share of coordinated accounts, down to some
    share. Nobody has it, and no other choice among the clusters has a higher F1.
    """
    clustered = label >= 0
    size = np.bincount(label[clustered], minlength=int(label.max(initial=-1)) + 1)
    if positive is None:
        accused = size >= SMALLEST
    else:
        right = np.bincount(label[clustered & positive], minlength=len(size))
        order = np.argsort(-right / np.maximum(size, 1), kind="stable")
        f1 = 2 * np.cumsum(right[order]) / np.maximum(np.cumsum(size[order]) + positive.sum(), 1)
        accused = np.zeros(len(size), bool)
        accused[order[: int(np.argmax(f1)) + 1]] = bool(right.any())
    out = np.zeros(len(label), bool)
    out[clustered] = accused[label[clustered]]
    return out


PEERS = (
    Peer("components", "connected components over all shared identifiers", all_components),
    Peer("rare_components", "connected components over identifiers of at most 10 accounts", rare_components),
    Peer("strong_components", "connected components over cards, keys, devices and phones", strong_components),
    Peer("louvain", f"Louvain (networkx) on the projection, identifiers of at most {WIDEST} accounts", louvain, 10_000),
    Peer("leiden", "Leiden (graspologic-native) on the same projection", leiden),
    Peer("label_propagation", "label propagation between accounts and identifiers", label_propagation),
    Peer("densest_blocks", f"densest blocks by weighted peeling, {BLOCKS} of them", densest_blocks, blocks=True),
)
