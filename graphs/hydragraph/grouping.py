"""Who hangs together: connected components and modularity, on numbered nodes and canonical edges; clusters numbered."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def in_small(label: NDArray[np.int64], most: int) -> NDArray[np.bool_]:
    """Which accounts are in a cluster of at most `most` accounts; label: -1 for none; shape of label."""
    size = np.bincount(label[label >= 0], minlength=1)
    found: NDArray[np.bool_] = (label >= 0) & (size[np.maximum(label, 0)] <= most)
    return found


def connected(nodes: int, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of the connected component of each of `nodes` nodes; edges a, b."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    _, part = connected_components(coo_array((np.ones(len(a), bool), (a, b)), shape=(nodes, nodes)), directed=False)
    found: NDArray[np.int64] = part.astype(np.int64)
    return found


def modularity_parts(nodes: int, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """Part of each node in Leiden's partition (Traag, Waltman and van Eck 2019) by modularity.

    Every node must have an edge, and edges come in canonical order: the seed is fixed, and their order decides.
    """
    import graspologic_native

    edges = [(str(x), str(y), 1.0) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    _, found = graspologic_native.leiden(edges=edges, seed=0)
    return np.array([found[str(i)] for i in range(nodes)], dtype=np.int64)


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
