"""What still hangs together while a plan is carried out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hydragraph.takedown.uses import Pairs


def largest_parts(
    of: NDArray[np.int64],
    pairs: Pairs,
    holds: NDArray[np.bool_],
    row: NDArray[np.int64],
    steps: int,
    cluster: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Members in the largest connected part once a step and those before it are done, shape (steps,).

    Members come back in the order opposite to the plan. Of the links only a spanning forest is needed that prefers
    members stopped late: it connects what the links connect at every step.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    largest = np.zeros(steps, np.int64)
    if not steps:
        return largest
    members = len(of)
    link = np.flatnonzero(holds[pairs.of_link])
    node = members + pairs.of_link[link]
    nodes = members + len(pairs.cluster)
    weight = (steps + 1 - row[pairs.member[link]]).astype(np.float64)  # every weight at least 1
    tree = minimum_spanning_tree(coo_array((weight, (pairs.member[link], node)), shape=(nodes, nodes)).tocsr()).tocoo()
    order = np.lexsort((tree.col, tree.row, tree.data))
    back = row[np.minimum(tree.row, tree.col)[order]].tolist()
    ends = list(zip(tree.row[order].tolist(), tree.col[order].tolist(), strict=True))
    parent = list(range(nodes))
    held = [1] * members + [0] * (nodes - members)

    def root(x: int) -> int:
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    number = of.tolist()
    most = [0] * (int(of.max(initial=0)) + 1)
    waiting = np.argsort(-row, kind="stable").tolist()
    when = row.tolist()
    at, edge = 0, 0
    for k in range(steps - 1, -1, -1):
        while at < members and when[waiting[at]] > k:
            most[number[waiting[at]]] = max(most[number[waiting[at]]], 1)
            at += 1
        while edge < len(ends) and back[edge] > k:
            a, b = root(ends[edge][0]), root(ends[edge][1])
            if held[a] < held[b]:
                a, b = b, a
            parent[b] = a
            held[a] += held[b]
            c = number[ends[edge][0]]
            most[c] = max(most[c], held[a])
            edge += 1
        largest[k] = most[cluster[k]]
    return largest
