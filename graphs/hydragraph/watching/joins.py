"""Which known cluster an account belongs to that came near: by ties as cores form, and by attachment."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hydragraph.communities import CORE_NET
from hydragraph.constraints import Pairs, left_out, untied
from hydragraph.evidence import Evidence
from hydragraph.grouping import connected, renumber
from hydragraph.joining import attach
from hydragraph.runs import changes
from hydragraph.ties import Ties, find_ties
from hydragraph.watching.newer import Newer

_MILLI = 1000

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Joined:
    """label: number of each account's known cluster, -1 for none; core: whether ties hold it there, or somebody it must be
    with; bits: evidence that does; given: whether it must be with another one there; shape (accounts,) each. Members of
    the case stay where they are, with 0 bits."""

    label: Ints
    core: NDArray[np.bool_]
    bits: NDArray[np.float64]
    given: NDArray[np.bool_]


def join(found: Newer, pairs: Pairs | None = None) -> Joined:
    """The known cluster of every account of `found`; none for one that by `pairs` belongs apart from a member.

    Who by `pairs` must be with members is in the core of their cluster, with 0 bits where no tie holds it; where these are
    in several, of that with most of them. Others that must be together are one.

    As in an analysis (communities.find_clusters): ties of at least 2 to 1 (CORE_NET) hold an account in a core, and the
    cluster to which the strongest path of such ties leads is its own; a path is as strong as its weakest tie. Those that
    ties connect with each other only form cores beside the known ones. Then accounts, and new cores of at most 5
    accounts, are attached by `joining.attach`, twice. Known clusters neither grow together nor fall apart here.
    Not checked: whether a new core hangs on a cluster by a thread; large new cores that look like a cluster without a tie.
    """
    graph, evidence = found.graph, found.evidence
    loose = found.label < 0
    ties = find_ties(graph, _used_by(found, loose), found.activity)
    strong = ties.select((ties.net >= CORE_NET) & (loose[ties.a] | loose[ties.b]))
    if pairs is not None:
        strong = untied(strong, pairs)
    together = np.full(len(loose), -1) if pairs is None else pairs.together
    tied = _by_ties(found.label, len(found.ids), strong, together)
    label, gained = attach(graph, evidence, tied, found.activity)
    again, more = attach(graph, evidence, label, found.activity)
    label, gained = again, np.where(again != label, more, gained)
    core = (tied >= 0) & (tied < len(found.ids))
    label = np.where(core, tied, label)
    label[label >= len(found.ids)] = -1
    if pairs is not None:
        of_loose = (together >= 0) & ~np.isin(together, together[~loose])
        label[left_out(label, np.where(of_loose, len(found.ids) + together, found.label), pairs)] = -1
    held = strong.select(label[strong.a] == label[strong.b])
    bits = np.zeros(len(label))
    for end in (held.a, held.b):
        np.maximum.at(bits, end, held.net)
    bits = np.where(core, np.where(bits > 0, bits + evidence.prior, 0.0), gained)
    bits[~loose | (label < 0)] = 0.0
    return Joined(label, core & loose, bits.round(3), _given(label, together))


def _given(label: Ints, together: Ints) -> NDArray[np.bool_]:
    """Which accounts must be with another one of the same cluster."""
    at = np.flatnonzero((label >= 0) & (together >= 0))
    _, pair, number = np.unique(np.stack([label[at], together[at]]), axis=1, return_inverse=True, return_counts=True)
    found = np.zeros(len(label), bool)
    found[at] = number[pair.ravel()] > 1
    return found


def _used_by(found: Newer, loose: NDArray[np.bool_]) -> Evidence:
    """The evidence of identifiers that somebody outside uses: the others tie known members only."""
    links = found.graph.links
    used = np.zeros(found.graph.identifiers.height, bool)
    used[links["identifier"].to_numpy()[loose[links["account"].to_numpy()]]] = True
    return replace(found.evidence, bits=np.where(used, found.evidence.bits, 0.0))


def _by_ties(known: Ints, clusters: int, strong: Ties, together: Ints) -> Ints:
    """Known clusters and, numbered after them, new cores: each account goes where its strongest path leads; those of a
    group that must be `together` (-1: none) go as one.

    On a maximum spanning tree in which all clusters hang on one root, every account is below exactly one of them.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    n = len(known)
    # the members of a cluster are one node
    node = np.where(known >= 0, n + known, np.arange(n))
    a, b = np.minimum(node[strong.a], node[strong.b]), np.maximum(node[strong.a], node[strong.b])
    order = np.lexsort((-np.round(strong.net * _MILLI), b, a))
    order = order[changes(a[order], b[order])]
    a, b, net = a[order], b[order], strong.net[order]
    cost = np.empty(len(a))
    cost[np.lexsort((b, a, -np.round(net * _MILLI)))] = np.arange(1, len(a) + 1)
    root, nodes = n + clusters, n + clusters + 1
    first, second = _pulled(known, clusters, together)
    free = ~np.isin(a * nodes + b, first * nodes + second)
    a, b, cost = a[free], b[free], cost[free]
    ends = np.concatenate([a, first, np.arange(n, root)]), np.concatenate([b, second, np.full(clusters, root)])
    costs = np.concatenate([cost, np.full(len(first), 0.75), np.full(clusters, 0.5)])
    tree = minimum_spanning_tree(coo_array((costs, ends), shape=(nodes, nodes)).tocsr()).tocoo()
    below = (tree.row != root) & (tree.col != root)
    part = connected(nodes, tree.row[below].astype(np.int64), tree.col[below].astype(np.int64))
    owner = np.full(nodes, -1)
    owner[part[n:root]] = np.arange(clusters)
    label: Ints = owner[part[node]]
    new = renumber(np.where(label < 0, part[node], -1))
    return np.where(new >= 0, clusters + new, label)


def _pulled(known: Ints, clusters: int, together: Ints) -> tuple[Ints, Ints]:
    """Edges from each account outside that must be with others to one node of its group: the known cluster with most of
    them, else its first account. Clusters are the nodes after the accounts."""
    n = len(known)
    anchor = np.full(int(together.max(initial=-1)) + 1, -1)
    at = np.flatnonzero(together >= 0)
    anchor[together[at][::-1]] = at[::-1]
    inside = at[known[at] >= 0]
    pair, number = np.unique(together[inside] * max(clusters, 1) + known[inside], return_counts=True)
    group, cluster = np.divmod(pair, max(clusters, 1))
    # the last one that is written holds: the one with most, of equal ones the first
    order = np.lexsort((-cluster, number))
    anchor[group[order]] = n + cluster[order]
    outside = at[known[at] < 0]
    outside = outside[anchor[together[outside]] != outside]
    to = anchor[together[outside]]
    return np.minimum(outside, to), np.maximum(outside, to)
