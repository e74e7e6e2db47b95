"""Pairs of accounts with the evidence between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydragraph.activity import Activity
from hydragraph.bipartite import BipartiteGraph
from hydragraph.evidence import Evidence
from hydragraph.identifiers import is_circumstantial
from hydragraph.runs import changes

PAIR_BUDGET = 8
"""Pairs formed per account of the source, at most: wide identifiers beyond it only add to pairs found otherwise."""

COMBINED_MARGIN = 5.0
"""Bits taken off a tie none of whose identifiers would tell on its own (log-odds of 0): pairs that belong together
usually share one that does, so a mere coincidence of weak ones must be this much stronger."""

_SMALLEST_BUDGET = 600_000
_WIDEST_PAIRED = 512
_WORTH_A_LOOK = 12.0
_CHUNK = 4_000_000
_CLOSEST = 6.0
_THIN = -4.0
_TOLERATED = 1.0
_MOST_UNLIKE = 20.0
_MILLI = 1000


@dataclass(frozen=True)
class Ties:
    """Tied pairs, sorted by a, b; a < b are account codes. All arrays have shape (ties,).

    net: log2 odds that the two belong together: evidence less the prior of log2 N bits.
    shared: identifiers both use. kinds: bit k is set when they share one of graph.kinds[k].
    synchrony: bits that bursts of requests begun together (Activity.together) add to what identifiers are worth; 0
        without times. May be more than the tie has in all, because of COMBINED_MARGIN.
    pairs_formed: pairs looked at, for the record of work done.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    net: NDArray[np.float64]
    shared: NDArray[np.int64]
    kinds: NDArray[np.int64]
    synchrony: NDArray[np.float64]
    pairs_formed: int

    def select(self, keep: NDArray[np.bool_]) -> Ties:
        """The ties where `keep` holds."""
        return Ties(
            self.a[keep], self.b[keep], self.net[keep], self.shared[keep], self.kinds[keep], self.synchrony[keep],
            self.pairs_formed,
        )  # fmt: skip


def find_ties(
    graph: BipartiteGraph,
    evidence: Evidence,
    activity: Activity | None = None,
    threshold: float = 0.0,
    pairs_each: int = PAIR_BUDGET,
) -> Ties:
    """Every pair of accounts whose evidence reaches `threshold` log-odds.

    worth(kind) = best bits + sum of `further` of the others of that kind, each with its closeness, with its `woven` bits
                  between two accounts of a mesh (evidence.py), and less the breadth of its two accounts
    net(a, b) = sum of worth over telling kinds + min(sum over circumstantial kinds, log2 N - 1) - log2 N
                + bits of synchrony (activity.py) - 5 unless one identifier alone reaches even odds or is of a mesh

    closeness, where both used the identifier once and at known times a gap apart: -1 - 0.5 * log2(share of pairs
    with as small a gap), at most 6: the evidence of a p-value (Vovk and Wang 2021), so that posting the
    same thing within seconds tells and within months does not.

    Use unlike each other's counts against: where v is most of what one account uses of the kind and little of what the
    other does, the difference of the log2 shares (BipartiteGraph.focus) beyond 1 is taken
    off. A kind of which all that is
    shared is less than a sixteenth of what one of the two uses counts as circumstantial. Of the kinds that one request of
    one of the two brought (BipartiteGraph.passing), the best alone counts. Whoever comes by an office once, and sends
    there what the office sends, does not belong to it.

    Circumstantial kinds (identifiers.py) support a tie and never make one.
    All pairs are formed on identifiers in the order of their worth until the budget of `pairs_each` (8) pairs per account
    (at least 600,000) is spent; identifiers wider than that, or with more than 512 accounts, form no pairs of their own
    and add their single best per kind to pairs found by the others. Without `activity` circumstantial kinds form none.
    Time O(pairs log pairs).
    Not checked: pairs that share wide identifiers only; joining.py looks at those once cores have formed.
    """
    circumstantial = np.array([is_circumstantial(k) for k in graph.kinds], bool)
    # without times the circumstantial kinds can only add to pairs that others form
    able = np.ones(len(graph.kinds), bool) if activity is not None else ~circumstantial
    paired = _paired(graph, evidence, able, pairs_each)
    key, identifier, close, thin, passing, formed = _shares(graph, evidence, paired)
    if not len(key):
        none = np.zeros(0, np.int64)
        return Ties(none, none, np.zeros(0), none, none, np.zeros(0), formed)
    kind = graph.kind_code[identifier]
    best = changes(key, kind)
    worth = np.where(best, _milli(evidence.bits)[identifier], _milli(evidence.further)[identifier]) + close
    worth = np.maximum(worth - _breadth(graph, key, kind), 0)
    of_kind = np.flatnonzero(best)
    start = np.flatnonzero(changes(key[of_kind]))
    mesh = _woven(evidence, *np.divmod(key, np.int64(graph.accounts.height)), identifier) > 0
    alone = np.logical_or.reduceat(((evidence.logit[identifier] >= 0) | mesh) & ~thin, of_kind[start])
    count = np.diff(np.append(of_kind[start], len(key)))
    kind_worth = _one_fact(np.add.reduceat(worth, of_kind), passing[of_kind], start)
    key, kind = key[of_kind], kind[of_kind]
    supports = circumstantial[kind] | np.logical_and.reduceat(thin, of_kind)
    telling = np.add.reduceat(np.where(supports, 0, kind_worth), start)
    around = np.add.reduceat(np.where(supports, kind_worth, 0), start)
    mask = np.bitwise_or.reduceat(np.int64(1) << kind, start)
    most = (evidence.prior - 1) * _MILLI
    telling -= np.where(alone, 0, round(COMBINED_MARGIN * _MILLI))
    looked = telling + np.minimum(around, most) >= (evidence.prior + threshold - _WORTH_A_LOOK) * _MILLI
    a, b = np.divmod(key[start[looked]], np.int64(graph.accounts.height))
    telling, around, count, mask = telling[looked], around[looked], count[looked], mask[looked]
    in_time = np.zeros(len(a), np.int64) if activity is None else _milli(activity.together(a, b))
    telling = telling + in_time
    for k in range(len(graph.kinds)):
        more, shared = _wide_shares(graph, evidence, k, ~paired, a, b, mask)
        if circumstantial[k]:
            around += more
        else:
            telling += more
        count += shared
        mask |= (more > 0).astype(np.int64) << k
    net = np.round((telling + np.minimum(around, most)) / _MILLI - evidence.prior, 3)
    keep = net >= threshold
    return Ties(a[keep], b[keep], net[keep], count[keep], mask[keep], in_time[keep] / _MILLI, formed)


def _one_fact(worth: NDArray[np.int64], passing: NDArray[np.bool_], start: NDArray[np.int64]) -> NDArray[np.int64]:
    """Worth of each kind of each pair; of the kinds that passing links share, only the best counts.

    start: where the kinds of each pair begin.
    """
    pair = np.repeat(np.arange(len(start)), np.diff(np.append(start, len(worth))))
    best = np.zeros(len(start), np.int64)
    np.maximum.at(best, pair[passing], worth[passing])
    # the first of equals stays
    stays = np.flatnonzero(passing & (worth == best[pair]))
    first = stays[np.flatnonzero(changes(pair[stays]))] if len(stays) else stays
    out = np.where(passing, 0, worth)
    out[first] = worth[first]
    return out


def _woven(
    evidence: Evidence, a: NDArray[np.int64], b: NDArray[np.int64], identifier: NDArray[np.integer[Any]]
) -> NDArray[np.int64]:
    """What the identifiers add between two accounts of their mesh, in thousandths of a bit."""
    return np.where(evidence.several[a] & evidence.several[b], _milli(evidence.woven[identifier]), 0)


def _milli(bits: NDArray[np.float64]) -> NDArray[np.int64]:
    """Thousandths of a bit as integers, so that sums do not depend on their order."""
    return np.round(bits * _MILLI).astype(np.int64)


def _paired(graph: BipartiteGraph, evidence: Evidence, kinds: NDArray[np.bool_], pairs_each: int) -> NDArray[np.bool_]:
    """Which identifiers of the given kinds form pairs: the worthiest first, equals together, within the budget."""
    degree = graph.degree
    able = (graph.here > 1) & (degree <= _WIDEST_PAIRED) & (evidence.bits > 0)
    able &= kinds[graph.kind_code]
    pairs = degree * (degree - 1) // 2
    budget = max(_SMALLEST_BUDGET, pairs_each * graph.accounts.height)
    rank = -evidence.logit[able]
    levels, at = np.unique(rank, return_inverse=True)
    spent = np.cumsum(np.bincount(at, weights=pairs[able], minlength=len(levels)))
    allowed = np.zeros(len(degree), dtype=bool)
    if len(levels):
        allowed[able] = (spent <= budget)[at]
    return allowed


def _breadth(graph: BipartiteGraph, key: NDArray[np.int64], kind: NDArray[np.int64]) -> NDArray[np.int64]:
    """What each entry is worth less because its accounts use very many identifiers of the kind, in thousandths of a bit.

    log2(k_a * k_b / m^2), at least 0; k: identifiers of the kind an account uses, m: their mean over links, sum of k^2 /
    sum of k. Two accounts that share posts by the hundred share some with everybody.
    """
    a, b = np.divmod(key, np.int64(graph.accounts.height))
    out = np.zeros(len(key), np.int64)
    for k in np.unique(kind).tolist():
        at = np.flatnonzero(kind == k)
        held = graph.held[:, k].astype(np.int64)
        usual = int((held**2).sum()) / int(held.sum())
        out[at] = _milli(np.maximum(np.log2(held[a[at]] * held[b[at]] / usual**2), 0.0))
    return out


def _shares(
    graph: BipartiteGraph, evidence: Evidence, paired: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_], int]:
    """One entry per pair and paired identifier: pair key a * N + b, identifier, closeness less unlike use in thousandths
    of a bit, whether one of the two hardly uses it, whether one of the two came by it in passing (BipartiteGraph.passing);
    and how many pairs were formed.

    Sorted by key, kind, falling worth. A pair that shares one identifier only is left out when that alone cannot come
    near the threshold: most pairs of neighbours on one address range go this way.
    """
    n = np.int64(max(graph.accounts.height, 1))
    milli = _milli(evidence.bits)
    enough = round((evidence.prior - _WORTH_A_LOOK / 2) * _MILLI)
    users = graph.users.indices
    keys, which, closer = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)], [np.zeros(0, np.int16)]
    thinner, passed = [np.zeros(0, bool)], [np.zeros(0, bool)]
    passing = graph.passing[graph.by_identifier]
    for a, b, identifiers, pairs in _pair_blocks(graph, paired):
        low, high = users[a].astype(np.int64), users[b].astype(np.int64)
        keys.append(np.minimum(low, high) * n + np.maximum(low, high))
        which.append(identifiers)
        apart = np.abs(graph.focus[a] - graph.focus[b]).astype(np.float64)
        unlike = _milli(np.clip(apart - _TOLERATED, 0.0, _MOST_UNLIKE))
        close = _closeness(graph, evidence, a, b, identifiers, pairs) + _woven(evidence, low, high, identifiers)
        closer.append((close - unlike).astype(np.int16))
        thinner.append(np.minimum(graph.focus[a], graph.focus[b]) < _THIN)
        passed.append(passing[a] | passing[b])
    key = np.concatenate(keys)
    formed_on = np.concatenate(which)
    near = np.concatenate(closer)
    thin = np.concatenate(thinner)
    came_by = np.concatenate(passed)
    keys.clear()
    which.clear()
    closer.clear()
    thinner.clear()
    passed.clear()
    formed = len(key)
    order = np.argsort(key)
    key, formed_on, near, thin, came_by = key[order], formed_on[order], near[order], thin[order], came_by[order]
    again = ~changes(key)
    again[:-1] |= again[1:]
    keep = again | (milli[formed_on] + near >= enough)
    key, identifier, close = key[keep], formed_on[keep].astype(np.int64), near[keep].astype(np.int64)
    thin, came_by = thin[keep], came_by[keep]
    # sorted by key already: only those that share a key change places among themselves
    several = np.flatnonzero(again[keep])
    of = identifier[several]
    order = np.arange(len(key))
    order[several] = several[np.lexsort((of, -milli[of] - close[several], graph.kind_code[of], key[several]))]
    return key, identifier[order], close[order], thin[order], came_by[order], formed


def _pair_blocks(
    graph: BipartiteGraph, paired: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32], int]]:
    """All pairs of links (positions in graph.users) to each paired identifier, the identifier, and how many pairs each
    identifier has; in blocks of identifiers with equally many users, all pairs of one together."""
    starts = graph.users.indptr.astype(np.int64)
    for d in np.unique(graph.here[paired]).tolist():
        of_degree = np.flatnonzero(paired & (graph.here == d))
        first, second = np.triu_indices(d, k=1)
        step = max(1, _CHUNK // len(first))
        for i in range(0, len(of_degree), step):
            block = of_degree[i : i + step]
            start = starts[block][:, None]
            yield (
                (start + first).ravel(),
                (start + second).ravel(),
                np.repeat(block.astype(np.int32), len(first)),
                len(first),
            )


def _closeness(
    graph: BipartiteGraph,
    evidence: Evidence,
    a: NDArray[np.int64],
    b: NDArray[np.int64],
    identifiers: NDArray[np.int32],
    pairs: int,
) -> NDArray[np.int64]:
    """Thousandths of a bit for the gap between the two uses; 0 where a time is not known.

    The share of as small a gap is the larger of two: among sampled pairs of the kind, and among the `pairs` pairs of
    this very identifier, because what everybody does in the same minute is not close.
    """
    out = np.zeros(len(a), np.int64)
    kind = graph.kind_code[identifiers]
    for k, usual in evidence.gaps.items():
        at = np.flatnonzero(kind == k)
        first, second = graph.moment[a[at]], graph.moment[b[at]]
        unknown = (first < 0) | (second < 0)
        gap = np.where(unknown, np.iinfo(np.int64).max, np.abs(first - second))
        if pairs == 1:
            out[at] = np.where(unknown, 0, -_MILLI)
            continue
        own = gap.reshape(-1, pairs)
        rank = np.empty_like(own)
        np.put_along_axis(rank, np.argsort(own, axis=1, kind="stable"), np.arange(1, pairs + 1)[None, :], axis=1)
        share = np.maximum((np.searchsorted(usual, gap, "right") + 1) / (len(usual) + 1), rank.ravel() / pairs)
        out[at] = np.where(unknown, 0, np.round(np.minimum(-1 - 0.5 * np.log2(share), _CLOSEST) * _MILLI))
    return out


def _wide_shares(
    graph: BipartiteGraph,
    evidence: Evidence,
    kind: int,
    wide: NDArray[np.bool_],
    a: NDArray[np.int64],
    b: NDArray[np.int64],
    have: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What identifiers of one kind that formed no pairs add, in thousandths of a bit, and how many are shared.

    The best one counts; nothing is added for a kind the pair shares already.
    """
    more = np.zeros(len(a), np.int64)
    shared = np.zeros(len(a), np.int64)
    columns = np.flatnonzero(wide & (graph.kind_code == kind) & (graph.degree > 1) & (evidence.bits > 0))
    need = np.flatnonzero((have >> kind & 1) == 0)
    if len(columns) and len(need):
        incidence = graph.matrix[:, columns].astype(np.int64)
        valued = incidence.multiply(_milli(evidence.bits)[columns]).tocsr()
        for i in range(0, len(need), _CHUNK // 4):
            at = need[i : i + _CHUNK // 4]
            both = incidence[a[at]].multiply(valued[b[at]]).tocsr()
            more[at] = both.max(axis=1).toarray().ravel()
            shared[at] = np.diff(both.indptr)
    return more, shared
