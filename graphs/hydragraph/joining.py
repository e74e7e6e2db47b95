"""What joins a core once it has formed: other cores of the same controller, and accounts with weaker evidence.

Both look at profiles, not pairs: which share of a core uses an identifier, against which share of everybody. That is
how identifiers far too wide to form pairs still speak, and why it costs no more than one pass over the links.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hydragraph.activity import Activity
from hydragraph.bipartite import BipartiteGraph
from hydragraph.evidence import Evidence
from hydragraph.grouping import connected, in_small
from hydragraph.identifiers import is_circumstantial
from hydragraph.runs import changes, spread

MERGE_MARGIN = 10.0
"""Bits by which two cores must look like one beyond log2 of the pairs of cores there are: 1000 to 1."""

ATTACH_NET = 8.0
"""Log2 odds at which an account is attached to a core. Most members are in the core already, so those still outside
start from worse odds than the core's own share of an identifier says: 256 to 1 is asked."""

ATTACH_NET_ALONE = 12.0
"""Log2 odds asked where one kind of identifier alone speaks, or time alone: popular templates go together."""

SMALL_CORE = 5
"""Cores of at most this many accounts may be attached whole, like an account."""

IN_TIME = 4.0
"""Bits of Activity.joins_in from which time itself counts as telling when an account is attached."""

IN_STEP = 6.0
"""z-score from which two cores count as acting in step."""

FEWEST_WAVES = 6
"""Waves two cores must have in common to be joined by nothing else."""

_ROUNDS = 8
_SPEAKS_FOR_CORE = 0.05
_MOSTLY = 0.5
_CORES_PAIRED = 40
_HELD = 0.05
_TELLS = 0.3
_A_KIND = 2.0
_MILLI = 1000


def merge_cores(graph: BipartiteGraph, label: NDArray[np.int64], activity: Activity | None = None) -> NDArray[np.int64]:
    """Merge cores whose members use the same identifiers as if they were one group.

    For cores A and B of s_A and s_B accounts and identifier v with d_v users, n_A and n_B of them in the cores, "B is drawn
    from A's group" against "B is anybody of its breadth" gives (a Poisson likelihood ratio)

        L_v(B | A) = n_B * log2(q / p) - s_B * (q - p) * log2 e
        p = max(d_v - n_A - n_B, 1) * m_B / M       q = (n_A + p) / (s_A + 1), at least p

    where m_B is the mean number of links of this kind of a member of B, and M the number of all such links: who uses much
    uses what is popular, so B is held against what accounts of as many links use (the expectation of a degree-corrected
    block model; Karrer and Newman 2011). Where B uses as much as everybody, p is the use of v elsewhere over N.

    The smaller of L_v(B | A) and L_v(A | B) counts, which keeps an office apart from the ring of which a few members log
    in there, and only where it is above 0. An identifier is looked at in cores of which it serves at least two accounts
    and a twentieth; one of a telling kind only if these hold half of its users, because what most of its users have
    without a core is popular and no bond; and between its 40 largest cores and those that follow, up to 160 places down.

    Two cores merge when the sum over the identifiers of telling kinds exceeds log2 of the number of pairs of cores by 10
    bits; or when the best circumstantial identifier does, both cores have more than 5 accounts and they begin their bursts
    in step (Activity.in_step of at least 6): two rings behind one proxy provider share ranges, keep their own time and
    stay two. Merging repeats until nothing changes, at most 8 times.
    Not checked: whether identifiers are independent; what is always used together counts as often as it is named.
    """
    circumstantial = np.array([is_circumstantial(k) for k in graph.kinds], bool)[graph.kind_code]
    for _ in range(_ROUNDS):
        merged = joined(label, *_alike(graph, label, ~circumstantial, best_only=False))
        if activity is not None:
            merged = joined(merged, *_in_step(graph, merged, circumstantial, activity))
        if merged.max(initial=-1) == label.max(initial=-1):
            break
        label = merged
    return label


def rejoin(
    label: NDArray[np.int64], a: NDArray[np.int64], b: NDArray[np.int64], activity: Activity
) -> NDArray[np.int64]:
    """Join cores that ties a, b between accounts connect and that begin their bursts in step: no thread, but one ring."""
    size = np.bincount(label[label >= 0], minlength=1)
    across = (label[a] != label[b]) & (label[a] >= 0) & (label[b] >= 0)
    low, high = np.minimum(label[a], label[b])[across], np.maximum(label[a], label[b])[across]
    x, y = np.divmod(np.unique(low * len(size) + high), len(size))
    large = (size[x] > SMALL_CORE) & (size[y] > SMALL_CORE)
    x, y = x[large], y[large]
    together = activity.in_step(label, x, y) >= IN_STEP
    return joined(label, x[together], y[together])


def join_in_waves(label: NDArray[np.int64], activity: Activity) -> NDArray[np.int64]:
    """Join cores that share nothing but their moments: a ring can give every few accounts a card and devices of their
    own, but all of them work when its orders come.

    Two cores of at most 5 accounts are joined when they have at least 6 waves in common and more than timetables give, by
    log2 of the number of pairs of cores and 10 bits (Activity.waves_in_common). Among many accounts some always begin
    together, so that larger cores are left to `rejoin` and `merge_cores`.
    Not checked: customers of one tool that runs at moments of its own; assess.py has them as a hypothesis.
    """
    cores = int(label.max(initial=-1)) + 1
    if cores < 2:
        return label
    small = np.where(in_small(label, SMALL_CORE), label, -1)
    a, b, bits = activity.waves_in_common(small, FEWEST_WAVES)
    together = bits >= 2 * np.log2(cores) + MERGE_MARGIN
    return joined(label, a[together], b[together])


def joined(label: NDArray[np.int64], a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """Labels after joining each pair of clusters, numbered anew."""
    if not len(a):
        return label
    whole = connected(int(label.max()) + 1, a, b)
    out = label.copy()
    out[label >= 0] = whole[label[label >= 0]]
    return out


def _in_step(
    graph: BipartiteGraph, label: NDArray[np.int64], circumstantial: NDArray[np.bool_], activity: Activity
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of cores that share a circumstantial identifier as one group would and begin their bursts in step."""
    size = np.bincount(label[label >= 0], minlength=1)
    a, b = _alike(graph, label, circumstantial, best_only=True)
    large = (size[a] > SMALL_CORE) & (size[b] > SMALL_CORE)
    a, b = a[large], b[large]
    together = activity.in_step(label, a, b) >= IN_STEP
    return a[together], b[together]


def _alike(
    graph: BipartiteGraph, label: NDArray[np.int64], which: NDArray[np.bool_], *, best_only: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of cores that look like one by the identifiers `which`: by their sum, or by the best of them."""
    none = np.zeros(0, np.int64)
    cores = int(label.max(initial=-1)) + 1
    if cores < 2:
        return none, none
    size = np.bincount(label[label >= 0], minlength=cores)
    v, c, held = _holdings(graph, label, which)
    keep = (held >= 2) & (held >= _SPEAKS_FOR_CORE * size[c])
    if not best_only:
        # what most users outside the cores use as well is popular, not one controller's
        inside = np.bincount(v, weights=np.where(keep, held, 0), minlength=len(graph.degree))
        keep &= inside[v] >= _MOSTLY * graph.degree[v]
    v, c, held = v[keep], c[keep], held[keep]
    a, b = _side_by_side(v, c, held)
    if not len(a):
        return none, none
    elsewhere = np.maximum(graph.degree[v[a]] - held[a] - held[b], 1)
    breadth = _breadth(graph, label)
    kind = graph.kind_code[v[a]]
    gain = np.minimum(
        _drawn_from(held[a], size[c[a]], held[b], size[c[b]], elsewhere * breadth[c[b], kind]),
        _drawn_from(held[b], size[c[b]], held[a], size[c[a]], elsewhere * breadth[c[a], kind]),
    )
    speaks = gain > 0
    key = np.minimum(c[a], c[b])[speaks] * cores + np.maximum(c[a], c[b])[speaks]
    pairs, at = np.unique(key, return_inverse=True)
    # whole thousandths of a bit, exact in a float, so that the sum does not depend on the order
    milli = np.round(gain[speaks] * _MILLI)
    total = np.zeros(len(pairs))
    if best_only:
        np.maximum.at(total, at, milli)
    else:
        np.add.at(total, at, milli)
    x, y = np.divmod(pairs[total / _MILLI >= 2 * np.log2(cores) + MERGE_MARGIN], cores)
    return x, y


def _breadth(graph: BipartiteGraph, label: NDArray[np.int64]) -> NDArray[np.float64]:
    """How likely a member of each cluster uses one link of each kind picked at random: the mean number of links of that
    kind of its members over those of everybody; shape (clusters, kinds). Who sends a lot sends what is popular."""
    clusters, member = int(label.max(initial=-1)) + 1, np.flatnonzero(label >= 0)
    of, held = label[member], graph.held[member]
    links = np.zeros((clusters, len(graph.kinds)))
    for k in range(len(graph.kinds)):
        links[:, k] = np.bincount(of, weights=held[:, k], minlength=clusters)
    size = np.bincount(of, minlength=clusters)
    found: NDArray[np.float64] = links / np.maximum(size, 1)[:, None] / np.maximum(graph.of_kind, 1)
    return found


def _side_by_side(
    v: NDArray[np.int64], c: NDArray[np.int64], held: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of entries of the same identifier: each of its 40 largest holders with each smaller one, up to 160 places
    further down."""
    order = np.lexsort((c, -held, v))
    first = np.flatnonzero(changes(v[order]))
    length = np.diff(np.append(first, len(v)))
    place = np.arange(len(v)) - np.repeat(first, length)
    rows_a, rows_b = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for step in range(1, min(int(length.max(initial=1)), 4 * _CORES_PAIRED + 1)):
        b = np.flatnonzero((place >= step) & (place - step < _CORES_PAIRED))
        rows_a.append(order[b - step])
        rows_b.append(order[b])
    return np.concatenate(rows_a), np.concatenate(rows_b)


def _drawn_from(
    n_a: NDArray[np.int64],
    s_a: NDArray[np.int64],
    n_b: NDArray[np.int64],
    s_b: NDArray[np.int64],
    elsewhere: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Bits for "B is drawn from A's group" over "B is anybody", from one identifier."""
    rate = np.maximum((n_a + elsewhere) / (s_a + 1), elsewhere)
    bits: NDArray[np.float64] = n_b * np.log2(rate / elsewhere) - s_b * (rate - elsewhere) * np.log2(np.e)
    return bits


def _holdings(
    graph: BipartiteGraph, label: NDArray[np.int64], which: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Identifier, cluster and number of the cluster's members that use it; sorted by identifier, then cluster."""
    clusters = int(label.max(initial=-1)) + 1
    at = graph.links_of(np.flatnonzero(label >= 0))
    at = at[which[graph.matrix.indices[at]] & ~graph.passing[at]]
    of = label[graph.links["account"].to_numpy()[at]]
    key = np.sort(graph.matrix.indices[at].astype(np.int64) * clusters + of)
    first = np.flatnonzero(changes(key))
    held = np.diff(np.append(first, len(key)))
    v, c = np.divmod(key[first], max(clusters, 1))
    return v, c, held


def attach(
    graph: BipartiteGraph, evidence: Evidence, label: NDArray[np.int64], activity: Activity | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Attach accounts outside the cores, and cores of at most 5 accounts, to the cluster their identifiers point to.

    For identifier v with d_v users, n of them in cluster c of s accounts, the log2 odds that a further user belongs to c
    are o = log2(n / (d_v - n + 1)); they hold the prior log2(s / N), so that several identifiers combine as

        net(a, c) = log2(s / N) + sum over kinds of (best + what the others of that kind add)

    plus the bits by which it begins its bursts when the cluster does (Activity.joins_in), if they are above 0. Here each
    brings o - log2(s / N), at least 0, and others of a kind at most their `further` (evidence.py): all exits of one
    carrier are nearly one fact.

    An account joins the best cluster if at least two identifiers speak for it and net >= ATTACH_NET, or ATTACH_NET_ALONE
    unless two kinds agree: a kind of which the best brings at least 2 bits, or time that brings at least 4. Popular
    templates go together, and two of them are hardly two facts. When all identifiers are circumstantial (addresses, or o
    below log2(0.3 / 0.7)) and time brings less than 4 bits, only those count of which the cluster holds most users, and
    keeping other times than the cluster counts against. Identifiers of which it holds less than a twentieth, or one user,
    say nothing. A small core is looked at as one account with the identifiers of all its members.
    Returns the labels and the bits gained, shape (accounts,).
    Not checked: attached accounts are not held against each other.
    """
    gained = np.zeros(len(label))
    clusters = int(label.max(initial=-1)) + 1
    if clusters == 0:
        return label, gained
    given = label
    size = np.bincount(label[label >= 0], minlength=clusters)
    small = in_small(label, SMALL_CORE)
    # a small core goes by the code of its first member
    unit = np.arange(len(label))
    if small.any():
        _, first, at = np.unique(label[small], return_index=True, return_inverse=True)
        unit[small] = np.flatnonzero(small)[first][at]
    label = np.where(small, -1, label)
    v, c, held = _holdings(graph, label, np.ones(graph.identifiers.height, bool))
    degree = graph.degree[v]
    keep = (held < degree) & (held >= 2) & (held >= _HELD * degree)
    v, c, held, degree = v[keep], c[keep], held[keep], degree[keep]
    if not len(v):
        return given, gained
    prior = np.log2(size[c]) - evidence.prior
    odds = np.log2(held / (degree - held + 1))
    row, who = _outside_users(graph, label, v)
    pairs = np.sort(row * len(label) + unit[who])
    row, who = np.divmod(pairs[changes(pairs)], len(label))
    to, identifier = c[row], v[row]
    worth = np.maximum(odds - prior, 0.0)[row]
    circumstantial = np.array([is_circumstantial(k) for k in graph.kinds])[graph.kind_code[identifier]]
    circumstantial |= odds[row] < np.log2(_TELLS / (1 - _TELLS))
    most = odds[row] >= 0
    who, to, telling, total, mostly_held = _combined(graph, evidence, who, to, identifier, worth, circumstantial, most)
    in_time = np.zeros(len(who)) if activity is None else activity.joins_in(label, who, to)
    telling |= in_time >= IN_TIME
    bits = np.where(telling, total.bits + np.maximum(in_time, 0), mostly_held.bits + in_time)
    ok = np.where(telling, total.number, mostly_held.number) >= 2
    net = bits + np.log2(size[to]) - evidence.prior
    kinds = np.where(telling, total.kinds, mostly_held.kinds) + (in_time >= IN_TIME)
    good = (net >= np.where(kinds > 1, ATTACH_NET, ATTACH_NET_ALONE)) & ok
    who, to, net = who[good], to[good], net[good]
    order = np.lexsort((to, -net, who))
    who, to, net = who[order], to[order], net[order]
    best = np.flatnonzero(changes(who))
    joins = np.full(len(label), -1, np.int64)
    joins[who[best]] = to[best]
    gained[who[best]] = net[best] + evidence.prior
    moved = (label < 0) & (joins[unit] >= 0)
    return np.where(moved, joins[unit], given), np.where(moved, gained[unit], 0.0)


def _outside_users(
    graph: BipartiteGraph, label: NDArray[np.int64], v: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each entry of `v` its users outside all clusters: (entry number, account)."""
    account = graph.links["account"].to_numpy().astype(np.int64)
    identifier = graph.links["identifier"].to_numpy().astype(np.int64)
    wanted = np.zeros(graph.identifiers.height, bool)
    wanted[v] = True
    outside = np.flatnonzero((label[account] < 0) & wanted[identifier] & ~graph.passing)
    outside = outside[np.argsort(identifier[outside], kind="stable")]
    low = np.searchsorted(identifier[outside], v, "left")
    reach = np.searchsorted(identifier[outside], v, "right") - low
    row = np.repeat(np.arange(len(v)), reach)
    return row, account[outside[spread(low, reach)]]


@dataclass(frozen=True)
class _Sum:
    """Bits and number of identifiers that speak for an account's place in a cluster, and of kinds that do with at least 2
    bits; one entry a pair."""

    bits: NDArray[np.float64]
    number: NDArray[np.int64]
    kinds: NDArray[np.int64]


def _combined(
    graph: BipartiteGraph,
    evidence: Evidence,
    who: NDArray[np.int64],
    to: NDArray[np.int64],
    identifier: NDArray[np.int64],
    worth: NDArray[np.float64],
    circumstantial: NDArray[np.bool_],
    most: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], _Sum, _Sum]:
    """Account and cluster of each pair, whether a telling identifier speaks for it, the sum over all identifiers, and
    the sum over those that the cluster mostly holds."""
    milli = np.round(worth * _MILLI).astype(np.int64)
    kind = graph.kind_code[identifier]
    order = np.lexsort((identifier, -milli, kind, to, who))
    who, to, kind, milli, identifier = who[order], to[order], kind[order], milli[order], identifier[order]
    circumstantial, most = circumstantial[order], most[order]
    pair = changes(who, to)
    best = pair | changes(kind)
    further = np.round(evidence.further[identifier] * _MILLI).astype(np.int64)
    counted = np.where(best, milli, np.minimum(milli, further))
    start = np.flatnonzero(pair)
    if not len(start):
        none = _Sum(np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64))
        return who, to, np.zeros(0, bool), none, none

    def summed(which: NDArray[np.bool_]) -> _Sum:
        speaks = which & best & (milli >= _A_KIND * _MILLI)
        return _Sum(
            np.add.reduceat(np.where(which, counted, 0), start) / _MILLI,
            np.add.reduceat(which.astype(np.int64), start),
            np.add.reduceat(speaks.astype(np.int64), start),
        )

    total, mostly_held = summed(np.ones(len(who), bool)), summed(most)
    return who[start], to[start], np.logical_or.reduceat(~circumstantial, start), total, mostly_held
