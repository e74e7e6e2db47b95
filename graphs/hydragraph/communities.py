"""Ties -> clusters: cores, splits where a core hangs on a thread, attachment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hydragraph.activity import Activity
from hydragraph.bipartite import BipartiteGraph
from hydragraph.blocks import find_blocks
from hydragraph.constraints import Pairs, left_out, settled
from hydragraph.evidence import Evidence
from hydragraph.grouping import connected, in_small, modularity_parts, renumber
from hydragraph.joining import SMALL_CORE, attach, join_in_waves, merge_cores, rejoin
from hydragraph.runs import changes
from hydragraph.ties import Ties

CORE_NET = 1.0
"""Log2 odds of a tie that makes a core: 2 to 1 that the two belong together."""

HELD_NET = 4.0
"""Log2 odds of a tie that alone may hold an account to a core of more than 5: 16 to 1."""

_THREAD_ACCOUNTS = 2
_THREAD_SHARE = 0.1
_BOUND_SHARE = 0.3
_COHESIVE_DEGREE = 3.0
_SMALLEST_SPLIT = 8
_DENSE = 0.6
_MILLI = 1000


@dataclass(frozen=True)
class Cut:
    """The two sides into which the weakest tie of each cluster's tree parts it; all arrays have shape (clusters,).

    smaller, larger: accounts on each side. ties: ties from one side to the other. All are 0 where no tie holds the cluster.
    """

    smaller: NDArray[np.int64]
    larger: NDArray[np.int64]
    ties: NDArray[np.int64]


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
        bits by which its members keep step; of a group (groups.py) both are 0.
    cut: where it falls apart at `breaks`, see `weakest_cut`.
    """

    label: NDArray[np.int64]
    core: NDArray[np.bool_]
    bits: NDArray[np.float64]
    breaks: NDArray[np.float64]
    strength: NDArray[np.float64]
    cut: Cut

    @property
    def loose(self) -> NDArray[np.bool_]:
        """Which clusters are groups, held by no tie and no common time; shape (clusters,)."""
        none: NDArray[np.bool_] = self.strength == 0
        return none


def find_clusters(
    graph: BipartiteGraph,
    evidence: Evidence,
    ties: Ties,
    activity: Activity | None = None,
    pairs: Pairs | None = None,
    pieces: NDArray[np.int64] | None = None,
) -> Clusters:
    """Cores by components of ties of at least 2 to 1, split where they hang on a thread, then attachment.

    A core is split between two cohesive parts (mean degree of at least 3 inside) that at most two accounts, or a tenth
    of the smaller part, tie together: that is how one shared flat joins two offices. A chain of cards is not cohesive
    and stays whole; so does a part of which three in ten accounts are tied to the others, and parts that keep step.
    With times, small cores that begin together are joined, and blocks that no pair shows become cores, too (blocks.py).
    An account that one tie of less than 16 to 1 holds to somebody with two other ties leaves a core of more than 5.
    Cores are merged by `merge_cores` and accounts attached by `attach` (joining.py), both once more with those that were
    attached. Clusters have at least two accounts. pairs: what must be together or apart (constraints/pairs.py) holds
    whatever the evidence says; bits are of evidence alone. pieces: what `find_pieces` gives for the ties of at least
    CORE_NET, in any numbers, where an engine has found them before.
    Not checked: nothing here says whether a cluster is innocent; assess.py does.
    """
    n = graph.accounts.height
    strong = ties.select(ties.net >= CORE_NET)
    cores, in_step = find_cores(graph, strong, activity, pairs, pieces)
    label, gained = attach(graph, evidence, cores, activity)
    core = (cores >= 0) & (label == cores)
    # with the attached in them, parts of one ring show what they have in common
    merged = merge_cores(graph, label, activity)
    label, more = attach(graph, evidence, merged, activity)
    core &= label == merged
    gained = np.where(label != merged, more, gained)
    if pairs is not None:
        leaves = left_out(label, cores, pairs)
        core = np.where(leaves, cores >= 0, core)
        label = np.where(leaves, np.where(cores >= 0, cores + int(label.max()) + 1, -1), label)
    bits: NDArray[np.float64] = np.maximum(_strongest_tie(n, strong, label), in_step)
    bits += np.where(bits > 0, evidence.prior, 0.0)
    bits = np.where(core, bits, gained)
    bits[label < 0] = 0.0
    label = renumber(label)
    held = inside(strong, label)
    tree = strongest_tree(held)
    breaks, strength = _bits_of(tree, label, in_step, evidence.prior)
    return Clusters(label, core & (label >= 0), np.round(bits, 3), breaks, strength, weakest_cut(held, tree, label))


def find_cores(
    graph: BipartiteGraph,
    strong: Ties,
    activity: Activity | None = None,
    pairs: Pairs | None = None,
    pieces: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The first part of `find_clusters`: number of each account's core, -1 for none, and the bits by which members of
    blocks keep step; shape (accounts,) each. strong: the ties of at least CORE_NET. pieces: see there."""
    n = graph.accounts.height
    label = find_pieces(n, strong) if pieces is None else renumber(pieces)
    if pairs is not None:
        label = settled(label, strong, pairs)
    pieces = label
    in_step = np.zeros(n)
    if activity is not None:
        label = rejoin(label, strong.a, strong.b, activity)
        label = join_in_waves(label, activity)
        label, in_step = find_blocks(graph, label, activity, SMALL_CORE)
    label = merge_cores(graph, label, activity)
    if pairs is not None and (out := left_out(label, pieces, pairs)).any():
        label = renumber(np.where(out, np.where(pieces < 0, -1, int(label.max()) + 1 + pieces), label))
        in_step[out] = 0.0
    return label, in_step


def find_pieces(n: int, strong: Ties) -> NDArray[np.int64]:
    """Number of the piece of each of n accounts, -1 for none, shape (n,): what the ties alone make of them.

    Pieces are the connected components of the ties, split where they hang on a thread, without accounts that one weak tie
    holds (see `find_clusters`). strong: ties of at least CORE_NET, sorted by a, b. A component's pieces depend on its own
    ties only: any set of whole components, its accounts numbered anew in their order, gives the same partition of them.
    """
    return _let_go(_split_threads(_components(n, strong.a, strong.b), strong), strong)


def _components(n: int, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """Connected components with at least two accounts; -1 elsewhere."""
    label = connected(n, a, b)
    label[np.bincount(label, minlength=1)[label] < 2] = -1
    return renumber(label)


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


def _let_go(label: NDArray[np.int64], ties: Ties) -> NDArray[np.int64]:
    """Labels without the accounts that a single tie of less than 16 to 1 holds to somebody with at least two other ties, in
    cores of more than 5. One phone number in common, found among all accounts, is a coincidence or somebody's trick often
    enough. The ends of a chain stay: nothing else of it is tied better."""
    held = inside(ties, label)
    number = np.bincount(held.a, minlength=len(label)) + np.bincount(held.b, minlength=len(label))
    weak = held.net < HELD_NET
    hangs = np.zeros(len(label), bool)
    for one, other in ((held.a, held.b), (held.b, held.a)):
        hangs[one[weak & (number[one] == 1) & (number[other] > 2)]] = True
    return renumber(np.where(hangs & ~in_small(label, SMALL_CORE), -1, label))


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
    pairs = np.sort(group * (int(value.max(initial=0)) + 1) + value)
    pairs = pairs[changes(pairs)]
    return np.bincount(pairs // (int(value.max(initial=0)) + 1), minlength=groups)


def _strongest_tie(n: int, ties: Ties, label: NDArray[np.int64]) -> NDArray[np.float64]:
    """The strongest tie of each account inside its cluster."""
    held = inside(ties, label)
    strongest = np.zeros(n)
    np.maximum.at(strongest, held.a, held.net)
    np.maximum.at(strongest, held.b, held.net)
    return strongest


def inside(ties: Ties, label: NDArray[np.int64]) -> Ties:
    """The ties between two accounts of one cluster."""
    return ties.select((label[ties.a] == label[ties.b]) & (label[ties.a] >= 0))


def strongest_tree(ties: Ties) -> Ties:
    """The maximum spanning forest of the ties (Boruvka 1926). Of equally strong ties those that come first are taken, so
    there is one. Time O(ties log accounts), and much less where ties are many."""
    kept, nodes = np.zeros(len(ties.a), bool), int(ties.b.max(initial=-1)) + 1
    milli = np.round(ties.net * _MILLI).astype(np.int64)
    # the lightest first, no two alike; what is left of a division is the number of the tie
    weight = (milli.max(initial=0) - milli) * len(kept) + np.arange(len(kept))
    a, b = ties.a, ties.b
    while len(a):
        # the strongest tie of each part leads out of it, into a part that is one with it from now on
        best = np.full(nodes, np.iinfo(np.int64).max)
        np.minimum.at(best, a, weight)
        np.minimum.at(best, b, weight)
        chosen = (best[a] == weight) | (best[b] == weight)
        kept[weight[chosen] % len(kept)] = True
        part = connected(nodes, a[chosen], b[chosen])
        a, b, nodes = part[a], part[b], int(part.max()) + 1
        apart = a != b
        a, b, weight = a[apart], b[apart], weight[apart]
    return ties.select(kept)


def tree_bits(
    ties: Ties, label: NDArray[np.int64], in_step: NDArray[np.float64], prior: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The weakest and the mean tie of each cluster's maximum spanning tree, in bits.

    Of a block without any tie: the least and the mean by which its members keep step."""
    return _bits_of(strongest_tree(inside(ties, label)), label, in_step, prior)


def _bits_of(
    tree: Ties, label: NDArray[np.int64], in_step: NDArray[np.float64], prior: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    clusters = int(label.max(initial=-1)) + 1
    weakest = np.full(clusters, np.inf)
    of = label[tree.a]
    np.minimum.at(weakest, of, tree.net)
    # whole thousandths, exact in a float, so that the sum does not depend on the order
    total = np.bincount(of, weights=np.round(tree.net * _MILLI), minlength=clusters) / _MILLI
    number = np.bincount(of, minlength=clusters)
    block = np.flatnonzero((label >= 0) & (in_step > 0))
    block = block[number[label[block]] == 0]
    np.minimum.at(weakest, label[block], in_step[block])
    total += np.bincount(label[block], weights=np.round(in_step[block] * _MILLI), minlength=clusters) / _MILLI
    number += np.bincount(label[block], minlength=clusters)
    known = number > 0
    return (
        np.where(known, weakest + prior, 0.0).round(3),
        np.where(known, total / np.maximum(number, 1) + prior, 0.0).round(3),
    )


def weakest_cut(ties: Ties, tree: Ties, label: NDArray[np.int64]) -> Cut:
    """What the bits at which a cluster breaks part: the two sides of the weakest tie of its strongest tree.

    Without that tie the accounts it connects fall into two sides, of as many accounts as `smaller` and `larger` say; the
    ties that cross, with an end on either side, are `ties` in number. No tie that crosses is stronger than the weakest of
    the tree: else it would be in the tree instead. Of several weakest ties the one with the most even sides is taken, then
    the one that comes first. ties: those inside clusters; tree: of these, by `strongest_tree`. Time O(ties), and O(log
    depth of the tree) for each account.
    Not checked: other cuts as weak, among them some with fewer ties across; accounts of the cluster that no such tie
    connects (attached, or in a core joined by profile or time), which are on neither side.
    """
    clusters = int(label.max(initial=-1)) + 1
    cut = Cut(*(np.zeros(clusters, np.int64) for _ in range(3)))
    if not len(tree.a):
        return cut
    below, whole = _below(tree)
    smaller = np.minimum(below, whole - below)
    of = label[tree.a]
    order = np.lexsort((np.arange(len(of)), -smaller, tree.net, of))
    at = order[changes(of[order])]
    cut.smaller[of[at]] = smaller[at]
    cut.larger[of[at]] = (whole - smaller)[at]
    stays = np.ones(len(of), bool)
    stays[at] = False
    side = connected(len(label), tree.a[stays], tree.b[stays])
    across = side[ties.a] != side[ties.b]
    cut.ties[:] = np.bincount(label[ties.a[across]], minlength=clusters)
    return cut


def _below(tree: Ties) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each tie of a forest: accounts on one side of it, and accounts of its tree."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order

    account, code = np.unique(np.concatenate([tree.a, tree.b]), return_inverse=True)
    nodes, a, b = len(account), code[: len(tree.a)], code[len(tree.a) :]
    part = connected(nodes, a, b)
    # one root above the first account of every tree
    _, first = np.unique(part, return_index=True)
    ends = (np.append(a, first), np.append(b, np.full(len(first), nodes)))
    rooted = coo_array((np.ones(len(ends[0])), ends), shape=(nodes + 1, nodes + 1)).tocsr()
    _, above = breadth_first_order(rooted, nodes, directed=False)
    above[nodes] = nodes
    # accounts at most 1, 2, 4, ... steps below, until all have reached the root
    size, up = np.append(np.ones(nodes, np.int64), 0), above.astype(np.int64)
    while (up[:nodes] != nodes).any():
        size += np.bincount(up[:nodes], weights=size[:nodes], minlength=nodes + 1).astype(np.int64)
        up = up[up]
    lower = np.where(above[a] == b, a, b)
    return size[lower], np.bincount(part)[part[a]]
