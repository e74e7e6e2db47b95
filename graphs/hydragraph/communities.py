"""Ties -> clusters: cores, splits where a core hangs on a thread, attachment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hydragraph.activity import Activity
from hydragraph.bipartite import BipartiteGraph
from hydragraph.blocks import find_blocks
from hydragraph.evidence import Evidence
from hydragraph.grouping import connected, modularity_parts
from hydragraph.joining import SMALL_CORE, attach, join_in_waves, merge_cores, rejoin
from hydragraph.runs import changes
from hydragraph.ties import Ties

CORE_NET = 1.0
"""Log2 odds of a tie that makes a core: 2 to 1 that the two belong together."""

_THREAD_ACCOUNTS = 2
_THREAD_SHARE = 0.1
_BOUND_SHARE = 0.3
_COHESIVE_DEGREE = 3.0
_SMALLEST_SPLIT = 8
_DENSE = 0.6


@dataclass(frozen=True)
class Clusters:
    """A partition of some of the accounts.

    label: cluster number of each account, -1 for none, shape (accounts,); numbers run from 0 in order of the smallest
        account code.
    core: whether the account belongs to the core of its cluster, shape (accounts,).
    bits: evidence that holds the account in its cluster, shape (accounts,); 0 outside clusters.
    breaks: bits at which the cluster falls apart: the weakest tie of the strongest tree over its core; shape
        (clusters,).
    strength: mean tie of that tree in bits, shape (clusters,). Of a block that no tie holds (blocks.py), both are of the
        bits by which its members keep step.
    """

    label: NDArray[np.int64]
    core: NDArray[np.bool_]
    bits: NDArray[np.float64]
    breaks: NDArray[np.float64]
    strength: NDArray[np.float64]


def find_clusters(graph: BipartiteGraph, evidence: Evidence, ties: Ties, activity: Activity | None = None) -> Clusters:
    """Cores by components of ties of at least 2 to 1, split where they hang on a thread, then attachment.

    A core is split between two cohesive parts (mean degree of at least 3 inside) that at most two accounts, or a tenth
    of the smaller part, tie together: that is how one shared flat joins two offices. A chain of cards is not cohesive
    and stays whole; so does a part of which three in ten accounts are tied to the others, and parts that keep step.
    With times, blocks that no pair shows become cores, too (blocks.py). Cores are merged by `merge_cores` and accounts
    attached by `attach` (joining.py). Clusters have at least two accounts.
    Not checked: nothing here says whether a cluster is innocent; assess.py does.
    """
    n = graph.accounts.height
    strong = ties.select(ties.net >= CORE_NET)
    cores, in_step = find_cores(graph, strong, activity)
    label, gained = attach(graph, evidence, cores, activity)
    again, more = attach(graph, evidence, label, activity)
    label, gained = again, np.where(again != label, more, gained)
    core = (cores >= 0) & (label == cores)
    bits = np.maximum(_strongest_tie(n, strong, label), in_step) + evidence.prior
    bits = np.where(core, bits, gained)
    bits[label < 0] = 0.0
    label = renumber(label)
    return Clusters(label, core & (label >= 0), np.round(bits, 3), *tree_bits(strong, label, in_step, evidence.prior))


def find_cores(
    graph: BipartiteGraph, strong: Ties, activity: Activity | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The first part of `find_clusters`: number of each account's core, -1 for none, and the bits by which members of
    blocks keep step; shape (accounts,) each. strong: the ties of at least CORE_NET."""
    n = graph.accounts.height
    label = _components(n, strong.a, strong.b)
    label = _split_threads(label, strong)
    in_step = np.zeros(n)
    if activity is not None:
        label = rejoin(label, strong.a, strong.b, activity)
        label = join_in_waves(label, activity)
        label, in_step = find_blocks(graph, label, activity, SMALL_CORE)
    return merge_cores(graph, label, activity), in_step


def _components(n: int, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """Connected components with at least two accounts; -1 elsewhere."""
    label = connected(n, a, b)
    label[np.bincount(label, minlength=1)[label] < 2] = -1
    return renumber(label)


def renumber(label: NDArray[np.int64]) -> NDArray[np.int64]:
    """Labels numbered from 0 by the smallest member; clusters of one account dissolve."""
    member = np.flatnonzero(label >= 0)
    out = np.full(len(label), -1, np.int64)
    if len(member):
        _, first, at, size = np.unique(label[member], return_index=True, return_inverse=True, return_counts=True)
        rank = np.full(len(first), -1, np.int64)
        large = np.flatnonzero(size > 1)
        rank[large[np.argsort(first[large])]] = np.arange(len(large))
        out[member] = rank[at]
    return out


def _split_threads(label: NDArray[np.int64], ties: Ties) -> NDArray[np.int64]:
    """Split cores that are cohesive parts joined by a thread."""
    size = np.bincount(label[label >= 0], minlength=1)
    number = np.bincount(label[ties.a], minlength=len(size))
    # two cohesive parts leave most pairs across untied; a core where most pairs are tied cannot be two
    dense = number > size * (size - 1) / 2 * _DENSE
    doubtful = (size >= _SMALLEST_SPLIT) & ~dense & (2 * number >= _COHESIVE_DEGREE * size)
    at = np.flatnonzero(doubtful[label[ties.a]])
    if not len(at):
        return label
    at = at[np.argsort(label[ties.a[at]], kind="stable")]
    members, code = np.unique(np.concatenate([ties.a[at], ties.b[at]]), return_inverse=True)
    a, b = code[: len(at)], code[len(at) :]
    part = np.zeros(len(members), np.int64)
    free = 0
    for rows in np.split(np.arange(len(at)), np.flatnonzero(np.diff(label[ties.a[at]])) + 1):
        inside, local = np.unique(np.concatenate([a[rows], b[rows]]), return_inverse=True)
        found = modularity_parts(len(inside), local[: len(rows)], local[len(rows) :])
        part[inside] = free + found
        free += int(found.max()) + 1
    out = label.copy()
    out[members] = int(label.max()) + 1 + _join_parts(part, a, b)
    return out


def _join_parts(part: NDArray[np.int64], a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """Undo the splits that are no threads: join parts again unless both are cohesive and little ties them, and parts of
    which more than three in ten accounts are tied to the other parts together: a large ring, cut anywhere, looks like
    many parts each pair of which hangs on a thread."""
    count = int(part.max()) + 1
    size = np.bincount(part, minlength=count)
    same = part[a] == part[b]
    degree = 2 * np.bincount(part[a[same]], minlength=count) / np.maximum(size, 1)
    p, q = part[a[~same]], part[b[~same]]
    swap = p > q
    low, high = np.where(swap, q, p), np.where(swap, p, q)
    low_account, high_account = np.where(swap, b[~same], a[~same]), np.where(swap, a[~same], b[~same])
    key = low * count + high
    pairs, at = np.unique(key, return_inverse=True)
    touching = np.minimum(_distinct(at, low_account, len(pairs)), _distinct(at, high_account, len(pairs)))
    x, y = np.divmod(pairs, count)
    allowed = np.maximum(_THREAD_ACCOUNTS, _THREAD_SHARE * np.minimum(size[x], size[y]))
    thread = (touching <= allowed) & (degree[x] >= _COHESIVE_DEGREE) & (degree[y] >= _COHESIVE_DEGREE)
    part = _united(part, x[~thread], y[~thread])
    while True:
        p, q = part[a], part[b]
        across = np.flatnonzero(p != q)
        if not len(across):
            return part
        size = np.bincount(part)
        ends = np.concatenate([a[across], b[across]])
        own, other = np.concatenate([p[across], q[across]]), np.concatenate([q[across], p[across]])
        bound = _distinct(own, ends, len(size)) > np.maximum(_THREAD_ACCOUNTS, _BOUND_SHARE * size)
        if not bound.any():
            return part
        # each bound part joins the one it shares most ties with
        pairs, number = np.unique(own * len(size) + other, return_counts=True)
        x, y = np.divmod(pairs, len(size))
        order = np.lexsort((y, -number, x))
        best = order[np.flatnonzero(changes(x[order]))]
        best = best[bound[x[best]]]
        part = _united(part, x[best], y[best])


def _united(part: NDArray[np.int64], x: NDArray[np.int64], y: NDArray[np.int64]) -> NDArray[np.int64]:
    """Parts numbered anew after joining each pair x, y."""
    return connected(int(part.max()) + 1, x, y)[part]


def _distinct(group: NDArray[np.int64], value: NDArray[np.int64], groups: int) -> NDArray[np.int64]:
    pairs = np.unique(group * (int(value.max(initial=0)) + 1) + value)
    return np.bincount(pairs // (int(value.max(initial=0)) + 1), minlength=groups)


def _strongest_tie(n: int, ties: Ties, label: NDArray[np.int64]) -> NDArray[np.float64]:
    """The strongest tie of each account inside its cluster."""
    inside = (label[ties.a] == label[ties.b]) & (label[ties.a] >= 0)
    strongest = np.zeros(n)
    np.maximum.at(strongest, ties.a[inside], ties.net[inside])
    np.maximum.at(strongest, ties.b[inside], ties.net[inside])
    return strongest


def tree_bits(
    ties: Ties, label: NDArray[np.int64], in_step: NDArray[np.float64], prior: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The weakest and the mean tie of each cluster's maximum spanning tree, in bits.

    Of a block without any tie: the least and the mean by which its members keep step."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    n = len(label)
    clusters = int(label.max(initial=-1)) + 1
    weakest, total = np.full(clusters, np.inf), np.zeros(clusters)
    number = np.zeros(clusters, np.int64)
    inside = (label[ties.a] == label[ties.b]) & (label[ties.a] >= 0)
    a, b, net = ties.a[inside], ties.b[inside], ties.net[inside]
    if len(a):
        # the strongest tree is the lightest of the falling weights; all must be positive to count as edges
        top = net.max() + 1.0
        tree = minimum_spanning_tree(coo_array((top - net, (a, b)), shape=(n, n)).tocsr()).tocoo()
        of, bits = label[tree.row], (top - tree.data).round(3)
        np.minimum.at(weakest, of, bits)
        # whole thousandths, exact in a float, so that the sum does not depend on the order
        total = np.bincount(of, weights=np.round(bits * 1000), minlength=clusters) / 1000
        number = np.bincount(of, minlength=clusters).astype(np.int64)
    block = np.flatnonzero((label >= 0) & (in_step > 0))
    block = block[number[label[block]] == 0]
    np.minimum.at(weakest, label[block], in_step[block])
    total += np.bincount(label[block], weights=np.round(in_step[block] * 1000), minlength=clusters) / 1000
    number += np.bincount(label[block], minlength=clusters)
    known = number > 0
    return (
        np.where(known, weakest + prior, 0.0).round(3),
        np.where(known, total / np.maximum(number, 1) + prior, 0.0).round(3),
    )
