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
    """label: number of each account's known cluster, -1 for none; core: whether ties hold it there; bits: evidence that
    does; shape (accounts,) each. Members of the case stay where they are, with 0 bits."""

    label: Ints
    core: NDArray[np.bool_]
    bits: NDArray[np.float64]


def join(found: Newer, pairs: Pairs | None = None) -> Joined:
    """The known cluster of every account of `found`; none for one that by `pairs` belongs apart from a member.

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
    tied = _by_ties(found.label, len(found.ids), strong)
    label, gained = attach(graph, evidence, tied, found.activity)
    again, more = attach(graph, evidence, label, found.activity)
    label, gained = again, np.where(again != label, more, gained)
    core = (tied >= 0) & (tied < len(found.ids))
    label = np.where(core, tied, label)
    label[label >= len(found.ids)] = -1
    if pairs is not None:
        label[left_out(label, found.label, pairs)] = -1
    held = strong.select(label[strong.a] == label[strong.b])
    bits = np.zeros(len(label))
    for end in (held.a, held.b):
        np.maximum.at(bits, end, held.net)
    bits = np.where(core, bits + evidence.prior, gained)
    bits[~loose | (label < 0)] = 0.0
    return Joined(label, core & loose, bits.round(3))


def _used_by(found: Newer, loose: NDArray[np.bool_]) -> Evidence:
    """The evidence of identifiers that somebody outside uses: the others tie known members only."""
    links = found.graph.links
    used = np.zeros(found.graph.identifiers.height, bool)
    used[links["identifier"].to_numpy()[loose[links["account"].to_numpy()]]] = True
    return replace(found.evidence, bits=np.where(used, found.evidence.bits, 0.0))


def _by_ties(known: Ints, clusters: int, strong: Ties) -> Ints:
    """Known clusters and, numbered after them, new cores: each account goes where its strongest path leads.

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
    ends = np.append(a, np.arange(n, root)), np.append(b, np.full(clusters, root))
    costs = np.append(cost, np.full(clusters, 0.5))
    tree = minimum_spanning_tree(coo_array((costs, ends), shape=(nodes, nodes)).tocsr()).tocoo()
    below = (tree.row != root) & (tree.col != root)
    part = connected(nodes, tree.row[below].astype(np.int64), tree.col[below].astype(np.int64))
    owner = np.full(nodes, -1)
    owner[part[n:root]] = np.arange(clusters)
    label: Ints = owner[part[node]]
    new = renumber(np.where(label < 0, part[node], -1))
    return np.where(new >= 0, clusters + new, label)
