"""Who replaced whom: for closed accounts the account of the same cluster that took their place, as a forest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.bipartite import BipartiteGraph
from hydragraph.communities import Clusters
from hydragraph.schema import OUTPUT

OWN_WILL = ("voluntary",)
"""Reasons of closing that are the account holder's own: such an account is not replaced. Any other, or none, may be."""

LONGEST_DAYS = 30.0
"""A successor begins at most this many days after the closing."""

NEAREST = 64
"""Closings of its cluster, the latest before its beginning, that are looked at for each account."""

RARE = 12
"""An identifier that at most this many members use brings in all its pairs beyond the nearest."""

NAMED_AT = 0.25
"""Probability from which a parent is named."""

SHRINK = 30.0
"""Replacements that the figures of all clusters together count for in the figures of one cluster."""

_MINUTE = 60_000_000
_HOUR = 60 * _MINUTE
_LONGEST = round(LONGEST_DAYS * 24 * _HOUR)
_PER_OCTAVE = 2
_ROUNDS = 25
_SWEEPS = 3
_LAST_SWEEPS = 20
_CHUNK = 300_000

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Lineage:
    """Replacements, sorted by parent; all arrays have shape (replacements,). Nobody is parent or child twice.

    parent, child: account codes; the child's first activity is later than the parent's closing. bits: log2 odds that
    the child took this parent's place over that neither was replaced nor took any. probability: that it took the place
    of this very account, all others considered. margin: bits by which this parent leads the next best one of the child;
    NaN where there is no other. gap: microseconds from the closing to the child's first activity. survived: bit k is
    set where both used an identifier of kind k of which the cluster holds at least half of the users.
    """

    parent: Ints
    child: Ints
    bits: Floats
    probability: Floats
    margin: Floats
    gap: Ints
    survived: Ints


@dataclass(frozen=True)
class _Pairs:
    """Closed accounts a and accounts b of the same cluster that began later; sorted by a, then b; shape (pairs,).

    cluster: numbered anew, 0 to clusters - 1. gap: hours.
    """

    a: Ints
    b: Ints
    cluster: Ints
    clusters: int
    gap: Floats


@dataclass(frozen=True)
class _Kept:
    """What pairs share of one kind. at: the pairs of which both use the kind. ratio: (1 / m) * sum of 1 / q there."""

    at: Ints
    ratio: Floats


def find_lineage(graph: BipartiteGraph, clusters: Clusters) -> Lineage:
    """The account that took the place of each closed account of a cluster, where one can be named.

    May be replaced: a member with closed_at, unless its close_reason is the holder's own will (`voluntary`). May take
    its place: a member whose first activity lies after it, by at most 30 days; the 64 latest closings before it are
    looked at, and all those with which it shares an identifier that at most 12 members use.

    For a closed account a, and b that begins g hours later, the odds of "b replaced a" over "b came by itself and a was
    not replaced" are

        w(a, b) = r * f(g) / (rate * (1 - r * F(left))) * product over kinds of K

    r: share of closings that are followed by a replacement; f: density of the time to it, F its sum over the time
    that was left until the data end; rate: how often accounts of the cluster begin by themselves once closings
    have begun, per hour. K, where both use identifiers of the kind: with probability k the successor goes on with one
    of the m that a used, each of which a member of the cluster uses by itself with probability q,

        K = (1 - k) + k / m * sum over shared identifiers of 1 / q,     q = (n - 1.5) / (s - 1)

    for n of s members that use it: what the whole ring uses says nothing about which of its members was replaced.

    Nobody is replaced twice or takes two places, so that the odds of a set of replacements are the product of its w:
    a monomer-dimer model, whose marginal probabilities p(a, b) come from belief propagation. r, f, rate and k are
    estimated by expectation maximisation from all closings, per cluster, drawn towards those of all clusters as if
    30 replacements had shown these. No label, no fixed delay: minutes, hours and days are told from the data.
    Pairs with p of at least 0.25 are named, the most probable first.

    Identifiers that an account first used after its own closing are left out. Time O(pairs), at most 64 an account and
    those of the identifiers. Not checked: whether a successor is run by the same hand; that is what the cluster says.
    """
    end, begin = _times(graph)
    label = clusters.label
    used = _Used.of(graph, label, end)
    pairs = _pairs(used, label, end, begin)
    if not len(pairs.a):
        none, zero = np.zeros(0, np.int64), np.zeros(0)
        return Lineage(none, none, zero, zero, zero, none, none)
    odds, probability = _fitted(pairs, _kept(used, label, pairs), end, begin)
    best = _one_to_one(pairs, probability)
    a, b = pairs.a[best], pairs.b[best]
    return Lineage(
        parent=a,
        child=b,
        bits=np.log2(odds[best]).round(3),
        probability=probability[best].round(4),
        margin=_margin(pairs, odds, best),
        gap=begin[b] - end[a],
        survived=_survived(graph, used, a, b),
    )


def lineage_table(graph: BipartiteGraph, clusters: Clusters, lineage: Lineage, ids: Sequence[str]) -> pl.DataFrame:
    """`lineage` as the table of a case. ids: of the clusters, by number."""
    masks = np.unique(lineage.survived).tolist()
    names = {m: ",".join(k for i, k in enumerate(graph.kinds) if m >> i & 1) for m in masks}
    account = graph.accounts["account_id"]
    return OUTPUT["lineage"].conform(
        pl.DataFrame(
            {
                "cluster_id": pl.Series(ids, dtype=pl.String).gather(clusters.label[lineage.parent]),
                "parent": account.gather(lineage.parent),
                "child": account.gather(lineage.child),
                "bits": lineage.bits,
                "gap_seconds": lineage.gap / 1e6,
                "probability": lineage.probability,
                "margin": pl.Series(lineage.margin).fill_nan(None),
                "survived": pl.Series([names[m] for m in lineage.survived.tolist()], dtype=pl.String),
            }
        )
    )


def _times(graph: BipartiteGraph) -> tuple[Ints, Ints]:
    """When each account that may be replaced was closed and when each account began, in microseconds; else -1."""
    reason = pl.col("close_reason").str.strip_chars().str.to_lowercase()
    frame = graph.accounts.select(
        end=pl.when(~reason.is_in(OWN_WILL).fill_null(False)).then(pl.col("closed_at").cast(pl.Int64)),
        begin=pl.col("first_seen").cast(pl.Int64),
    ).fill_null(-1)
    return frame["end"].to_numpy(), frame["begin"].to_numpy()


@dataclass(frozen=True)
class _Used:
    """Links of members, sorted by identifier, cluster, account. number: members of the cluster that use it, shape
    (links,). first: where each identifier and cluster begins. kind: of the identifier. kinds: how many there are."""

    account: Ints
    identifier: Ints
    kind: Ints
    number: Ints
    first: Ints
    kinds: int

    @classmethod
    def of(cls, graph: BipartiteGraph, label: Ints, end: Ints) -> _Used:
        account = graph.links["account"].to_numpy().astype(np.int64)
        identifier = graph.links["identifier"].to_numpy().astype(np.int64)
        since = graph.links["first_seen"].cast(pl.Int64).fill_null(0).to_numpy()
        in_time = (end[account] < 0) | (since <= end[account])
        at = np.flatnonzero((label[account] >= 0) & in_time)
        account, identifier = account[at], identifier[at]
        key = identifier * (int(label.max(initial=0)) + 1) + label[account]
        order = np.argsort(key, kind="stable")
        first = np.flatnonzero(np.diff(key[order], prepend=-1))
        number = np.diff(np.append(first, len(key)))
        account, identifier = account[order], identifier[order]
        return cls(account, identifier, graph.kind_code[identifier], np.repeat(number, number), first, len(graph.kinds))


def _pairs(used: _Used, label: Ints, end: Ints, begin: Ints) -> _Pairs:
    """The pairs that are looked at."""
    ended, began = np.flatnonzero((label >= 0) & (end >= 0)), np.flatnonzero((label >= 0) & (begin >= 0))
    ended = ended[np.lexsort((ended, end[ended], label[ended]))]
    low = min(int(end[ended].min(initial=0)), int(begin[began].min(initial=0)))
    span = max(int(end[ended].max(initial=0)), int(begin[began].max(initial=0))) - low + 1
    closed, opened = label[ended] * span + end[ended] - low, label[began] * span + begin[began] - low
    stop = np.searchsorted(closed, opened, "left")
    start = np.searchsorted(closed, np.maximum(opened - _LONGEST, label[began] * span), "left")
    reach = np.minimum(stop - start, NEAREST)
    b = np.repeat(began, reach)
    a = ended[np.arange(len(b)) - np.repeat(np.cumsum(reach) - stop, reach)]
    x, y = _by_identifier(used, end, begin)
    a, b = np.divmod(np.unique(np.concatenate([a, x]) * len(label) + np.concatenate([b, y])), len(label))
    known, cluster = np.unique(label[a], return_inverse=True)
    return _Pairs(a, b, cluster, len(known), (begin[b] - end[a]) / _HOUR)


def _by_identifier(used: _Used, end: Ints, begin: Ints) -> tuple[Ints, Ints]:
    """Closed accounts and later ones that share a rare identifier."""
    number = used.number[used.first]
    few = (number >= 2) & (number <= RARE)
    first, number = used.first[few], number[few]
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for i in range(RARE):
        for j in range(i + 1, RARE):
            at = first[number > j]
            one, other = used.account[at + i], used.account[at + j]
            for a, b in ((one, other), (other, one)):
                gap = begin[b] - end[a]
                keep = (end[a] >= 0) & (begin[b] >= 0) & (gap > 0) & (gap <= _LONGEST)
                found.append((a[keep], b[keep]))
    return np.concatenate([a for a, _ in found]), np.concatenate([b for _, b in found])


def _kept(used: _Used, label: Ints, pairs: _Pairs) -> list[_Kept]:
    """What the pairs share, kind by kind."""
    from scipy.sparse import csr_array

    accounts = len(label)
    has = np.bincount(used.account * used.kinds + used.kind, minlength=accounts * used.kinds)
    has = has.reshape(accounts, used.kinds)
    shared = used.number > 1
    account, identifier = used.account[shared], used.identifier[shared]
    members = np.bincount(label[label >= 0])[label[account]]
    # 1 / q
    rarity = (members - 1.0) / (used.number[shared] - 1.5)
    shape = (accounts, int(identifier.max(initial=0)) + 1)
    one, rare = (csr_array((x, (account, identifier)), shape=shape) for x in (np.ones(len(account)), rarity))
    kind = np.zeros(shape[1], np.int64)
    kind[identifier] = used.kind[shared]
    pair, of, weight = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
    for low in range(0, len(pairs.a), _CHUNK):
        both = one[pairs.a[low : low + _CHUNK]].multiply(rare[pairs.b[low : low + _CHUNK]]).tocsr()
        pair.append(np.repeat(np.arange(both.shape[0]), np.diff(both.indptr)) + low)
        of.append(kind[both.indices])
        weight.append(both.data)
    row, code, worth = (np.concatenate(x) for x in (pair, of, weight))
    found = []
    for k in range(used.kinds):
        at = np.flatnonzero((has[pairs.a, k] > 0) & (has[pairs.b, k] > 0))
        mine = code == k
        total = np.bincount(row[mine], weights=worth[mine], minlength=len(pairs.a))
        found.append(_Kept(at, total[at] / has[pairs.a[at], k]))
    return found


def _fitted(pairs: _Pairs, kept: list[_Kept], end: Ints, begin: Ints) -> tuple[Floats, Floats]:
    """Odds and probability of each pair, after the model has been fitted to all of them."""
    edge = np.concatenate([[0.0], 2.0 ** (np.arange(0, 16 * _PER_OCTAVE + 1) / _PER_OCTAVE) / 60])
    width, bins = np.diff(edge), len(edge) - 1
    gap = np.minimum(np.searchsorted(edge, pairs.gap, "left") - 1, bins - 1)
    closed, a = np.unique(pairs.a, return_inverse=True)
    opened, b = np.unique(pairs.b, return_inverse=True)
    of_closed, of_opened = np.zeros(len(closed), np.int64), np.zeros(len(opened), np.int64)
    of_closed[a], of_opened[b] = pairs.cluster, pairs.cluster
    number, at = pairs.clusters, pairs.cluster
    last = max(int(begin.max()), int(end.max()))
    since = np.full(number, last)
    np.minimum.at(since, of_closed, end[closed])
    hours = (last - since) / _HOUR + 1.0
    left = np.clip(np.searchsorted(edge, (last - end[closed]) / _HOUR, "left") - 1, 0, bins - 1)

    # nothing is known yet: every octave of the time to a replacement as likely as another
    regrown = np.full(number, 0.5)
    delay = np.tile(1 / (bins * width), (number, 1))
    rate = (np.bincount(of_opened, minlength=number) + 0.5) / hours
    keeps = [np.full(number, 0.3) for _ in kept]
    to_a, to_b = np.ones(len(a)), np.ones(len(a))
    for step in range(_ROUNDS):
        ratios = [(1 - k[at[s.at]]) + k[at[s.at]] * s.ratio for k, s in zip(keeps, kept, strict=True)]
        reached = np.cumsum(delay * width, axis=1)[of_closed, left]
        odds = regrown[at] * delay[at, gap] / (rate[at] * (1 - regrown[of_closed] * reached)[a])
        for s, ratio in zip(kept, ratios, strict=True):
            odds[s.at] *= ratio
        for _ in range(_SWEEPS if step < _ROUNDS - 1 else _LAST_SWEEPS):
            wanted = odds * to_b
            to_a = 1 / (1 + np.maximum(np.bincount(a, wanted)[a] - wanted, 0))
            wanted = odds * to_a
            to_b = 1 / (1 + np.maximum(np.bincount(b, wanted)[b] - wanted, 0))
        p = odds * to_a * to_b
        p /= 1 + p
        # what the replacements look like, cluster by cluster and in all
        replaced = np.bincount(at, p, number)
        histogram = np.bincount(at * bins + gap, p, number * bins).reshape(number, bins)
        usual = np.convolve(np.pad(histogram.sum(axis=0) + 2 / bins, 1, mode="edge"), [0.25, 0.5, 0.25], "valid")
        delay = (histogram + SHRINK * usual / usual.sum()) / (replaced + SHRINK)[:, None] / width
        chances = np.bincount(of_closed, reached, number)
        often = (replaced.sum() + 1) / (chances.sum() + 2)
        regrown = np.clip((replaced + 2 * often) / (chances + 2), 0.01, 0.98)
        alone = np.bincount(of_opened, 1 - np.bincount(b, p), number)
        rate = (np.maximum(alone, 0) + 0.5) / hours
        for k, (s, ratio) in enumerate(zip(kept, ratios, strict=True)):
            of = at[s.at]
            went_on = np.bincount(of, p[s.at] * keeps[k][of] * s.ratio / ratio, number)
            could = np.bincount(of, p[s.at], number)
            share = (went_on.sum() + 1) / (could.sum() + 4)
            keeps[k] = (went_on + SHRINK * share) / (could + SHRINK)
    return odds, p


def _one_to_one(pairs: _Pairs, probability: Floats) -> Ints:
    """The named pairs: the most probable first, each account once as parent and once as child; sorted by parent."""
    likely = np.flatnonzero(probability >= NAMED_AT)
    likely = likely[np.lexsort((pairs.b[likely], pairs.a[likely], -np.round(probability[likely], 9)))]
    parents, children, named = set(), set(), []
    for at, a, b in zip(likely.tolist(), pairs.a[likely].tolist(), pairs.b[likely].tolist(), strict=True):
        if a not in parents and b not in children:
            parents.add(a)
            children.add(b)
            named.append(at)
    return np.sort(np.array(named, np.int64))


def _margin(pairs: _Pairs, odds: Floats, best: Ints) -> Floats:
    """Bits by which each pair of `best` leads the best other pair of its child."""
    others = np.ones(len(pairs.a), bool)
    others[best] = False
    most = np.zeros(int(pairs.b.max()) + 1)
    np.maximum.at(most, pairs.b[others], odds[others])
    next_best = most[pairs.b[best]]
    with np.errstate(divide="ignore"):
        lead = np.log2(odds[best]) - np.log2(next_best)
    return np.where(next_best > 0, lead, np.nan).round(3)


def _survived(graph: BipartiteGraph, used: _Used, a: Ints, b: Ints) -> Ints:
    """Kinds of which each pair shares an identifier of the cluster's own, as bits."""
    from scipy.sparse import csr_array

    own = (used.number > 1) & (2 * used.number >= graph.degree[used.identifier])
    entries = (np.ones(int(own.sum()), bool), (used.account[own], used.identifier[own]))
    matrix = csr_array(entries, shape=(graph.accounts.height, graph.identifiers.height))
    both = matrix[a].multiply(matrix[b]).tocsr()
    pair = np.repeat(np.arange(len(a)), np.diff(both.indptr))
    found = np.zeros(len(a), np.int64)
    np.bitwise_or.at(found, pair, np.int64(1) << graph.kind_code[both.indices])
    return found
