"""Pairs of accounts with the evidence between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hydragraph.activity import Activity
from hydragraph.bipartite import BipartiteGraph
from hydragraph.evidence import Evidence
from hydragraph.identifiers import is_circumstantial
from hydragraph.runs import changes

if TYPE_CHECKING:
    from scipy.sparse import csr_array

PAIR_BUDGET = 8
"""Pairs formed per account of the source, at most: wide identifiers beyond it only add to pairs found otherwise."""

COMBINED_MARGIN = 5.0
"""Bits taken off a tie none of whose identifiers would tell on its own (log-odds of 0): pairs that belong together
usually share one that does, so a mere coincidence of weak ones must be this much stronger."""

WIDEST_PAIRED = 512
"""Identifiers with more accounts form no pairs."""

_SMALLEST_BUDGET = 600_000
_WORTH_A_LOOK = 12.0
_CHUNK = 4_000_000
_CLOSEST = 6.0
_THIN = -4.0
_TOLERATED = 1.0
_MOST_UNLIKE = 20.0
_MILLI = 1000

_THINLY, _IN_PASSING, _ALONE, _ENOUGH = np.array([1, 2, 4, 8], np.uint8)
"""Of a pair on one identifier: one of the two hardly uses it; came by it in passing; it would tell alone; it comes near
the threshold alone."""


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


@dataclass(frozen=True)
class Uses:
    """Links to identifiers that may form pairs, sorted by identifier, then account; all arrays have shape (uses,).

    account: code. focus, moment, passing: those of BipartiteGraph. several: Evidence.several of the account.
    """

    account: NDArray[np.integer[Any]]
    focus: NDArray[np.float32]
    moment: NDArray[np.int64]
    passing: NDArray[np.bool_]
    several: NDArray[np.bool_]


@dataclass(frozen=True)
class Worth:
    """What identifiers are worth, in thousandths of a bit; all arrays have shape (identifiers,).

    kind: its code. bits, further, woven: those of Evidence. sure: whether sharing it alone reaches even odds.
    """

    kind: NDArray[np.int64]
    bits: NDArray[np.int64]
    further: NDArray[np.int64]
    woven: NDArray[np.int64]
    sure: NDArray[np.bool_]


@dataclass(frozen=True)
class Formed:
    """Pairs of uses of an identifier; all arrays have shape (pairs,).

    a, b: positions among the uses. identifier: which. close: closeness and woven bits less unlike use, in thousandths of
    a bit. flags: what else is known of the pair.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    identifier: NDArray[np.int32]
    close: NDArray[np.int16]
    flags: NDArray[np.uint8]


@dataclass(frozen=True)
class Looked:
    """Pairs of accounts that come near the threshold, sorted by a, b; all arrays have shape (pairs,).

    a, b: codes, a < b. telling, around: thousandths of a bit from kinds that tell, the margin taken off, and from those that
    only support. shared: identifiers. kinds: bit k for kind k.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    telling: NDArray[np.int64]
    around: NDArray[np.int64]
    shared: NDArray[np.int64]
    kinds: NDArray[np.int64]


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
    circumstantial = circumstantial_kinds(graph.kinds)
    able = ~circumstantial | (activity is not None)  # without times these only add to pairs that others form
    paired = _paired(graph, evidence, able, pairs_each)
    worth = Worth(
        graph.kind_code, milli(evidence.bits), milli(evidence.further), milli(evidence.woven), evidence.logit >= 0
    )
    key, identifier, close, flags, formed = _shares(graph, evidence, worth, paired)
    kind = worth.kind[identifier]
    close -= _breadth(graph, key, kind)
    looked = look(
        key, kind, identifier, worth.bits[identifier] + close, worth.further[identifier] + close, flags,
        circumstantial, evidence.prior, graph.accounts.height, threshold,
    )  # fmt: skip
    in_time = np.zeros(len(looked.a)) if activity is None else activity.together(looked.a, looked.b)
    of_kind = partial(_of_wide_kind, graph, worth, ~paired, looked.a, looked.b)
    return decide(looked, in_time, of_kind, circumstantial, evidence.prior, threshold, formed)


def decide(
    looked: Looked,
    in_time: NDArray[np.float64],
    of_kind: Callable[[int, NDArray[np.int64]], tuple[NDArray[np.int64], NDArray[np.int64]]],
    circumstantial: NDArray[np.bool_],
    prior: float,
    threshold: float = 0.0,
    formed: int = 0,
) -> Ties:
    """The ties among pairs that come near, once times and identifiers that form no pairs are added.

    in_time: bits of synchrony of each pair. of_kind: from a kind and the bits of the kinds that each pair shares,
    `wide_shares` of that kind's identifiers. circumstantial: which kinds, shape (kinds,). formed: Ties.pairs_formed.
    """
    at_once = milli(in_time)
    telling, around, shared, kinds = looked.telling + at_once, looked.around, looked.shared, looked.kinds
    for kind, supports in enumerate(circumstantial.tolist()):
        more, number = of_kind(kind, kinds)
        telling, around = (telling, around + more) if supports else (telling + more, around)
        shared, kinds = shared + number, kinds | (more > 0).astype(np.int64) << kind
    net = net_bits(telling, around, prior)
    keep = net >= threshold
    return Ties(looked.a[keep], looked.b[keep], net[keep], shared[keep], kinds[keep], at_once[keep] / _MILLI, formed)


def circumstantial_kinds(kinds: Sequence[str]) -> NDArray[np.bool_]:
    """Which kinds support a tie and never make one, shape (kinds,)."""
    return np.array([is_circumstantial(k) for k in kinds], bool)


def net_bits(telling: NDArray[np.int64], around: NDArray[np.int64], prior: float) -> NDArray[np.float64]:
    """Log-odds in bits, of thousandths of a bit that tell, and of those that support and never reach even odds."""
    net: NDArray[np.float64] = np.round((telling + np.minimum(around, _most(prior))) / _MILLI - prior, 3)
    return net


def _most(prior: float) -> float:
    return (prior - 1) * _MILLI


def look(
    key: NDArray[np.int64],
    kind: NDArray[np.int64],
    identifier: NDArray[np.int64],
    best: NDArray[np.int64],
    further: NDArray[np.int64],
    flags: NDArray[np.uint8],
    circumstantial: NDArray[np.bool_],
    prior: float,
    accounts: int,
    threshold: float = 0.0,
) -> Looked:
    """The pairs of accounts that come near the threshold by the identifiers that formed them.

    An entry for each pair and identifier, sorted by key (`pair_key`), all of a pair together. kind, identifier: which;
    best, further: its worth if it is the best of its kind and if it is not, in thousandths of a bit, its breadth taken off;
    flags: of Formed. A pair with one entry that does not come near alone must have been left out.
    """
    none = np.zeros(0, np.int64)
    if not len(key):
        return Looked(none, none, none, none, none, none)
    order = _in_order(key, kind, identifier, best)
    kind, flags = kind[order], flags[order]  # keys stay where they are
    first = changes(key, kind)
    worth = np.maximum(np.where(first, best[order], further[order]), 0)
    of_kind = np.flatnonzero(first)
    start = np.flatnonzero(changes(key[of_kind]))
    alone = np.logical_or.reduceat(flags & _ALONE > 0, of_kind[start])
    count = np.diff(np.append(of_kind[start], len(key)))
    kind_worth = _one_fact(np.add.reduceat(worth, of_kind), flags[of_kind] & _IN_PASSING > 0, start)
    key, kind = key[of_kind], kind[of_kind]
    supports = circumstantial[kind] | np.logical_and.reduceat(flags & _THINLY > 0, of_kind)
    telling = np.add.reduceat(np.where(supports, 0, kind_worth), start)
    around = np.add.reduceat(np.where(supports, kind_worth, 0), start)
    mask = np.bitwise_or.reduceat(np.int64(1) << kind, start)
    telling -= np.where(alone, 0, round(COMBINED_MARGIN * _MILLI))
    near = telling + np.minimum(around, _most(prior)) >= (prior + threshold - _WORTH_A_LOOK) * _MILLI
    a, b = np.divmod(key[start[near]], np.int64(accounts))
    return Looked(a, b, telling[near], around[near], count[near], mask[near])


def _in_order(
    key: NDArray[np.int64], kind: NDArray[np.int64], identifier: NDArray[np.int64], worth: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The order by key, kind, falling worth and identifier, of entries sorted by key."""
    # only those that share a key change places among themselves
    several = np.flatnonzero(_again(key))
    order = np.arange(len(key))
    order[several] = several[np.lexsort((identifier[several], -worth[several], kind[several], key[several]))]
    return order


def _again(key: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether another entry has the same key; sorted."""
    again = ~changes(key)
    again[:-1] |= again[1:]
    return again


def worth_keeping(key: NDArray[np.int64], flags: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Of entries sorted by key those to keep: a pair that shares one identifier only is left out when that alone cannot come
    near the threshold. Most pairs of neighbours on one address range go this way."""
    keep: NDArray[np.bool_] = _again(key) | (flags & _ENOUGH > 0)
    return keep


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


def milli(bits: NDArray[np.float64]) -> NDArray[np.int64]:
    """Thousandths of a bit as integers, so that sums do not depend on their order."""
    return np.round(bits * _MILLI).astype(np.int64)


def _paired(graph: BipartiteGraph, evidence: Evidence, kinds: NDArray[np.bool_], pairs_each: int) -> NDArray[np.bool_]:
    """Which identifiers of the given kinds form pairs: the worthiest first, equals together, within the budget."""
    degree = graph.degree
    able = (graph.here > 1) & (degree <= WIDEST_PAIRED) & (evidence.bits > 0)
    able &= kinds[graph.kind_code]
    pairs = degree * (degree - 1) // 2
    able[able] = within_budget(evidence.logit[able], pairs[able], pair_budget(graph.accounts.height, pairs_each))
    return able


def pair_budget(accounts: int, pairs_each: int) -> int:
    """How many pairs may be formed."""
    return max(_SMALLEST_BUDGET, pairs_each * accounts)


def within_budget(logit: NDArray[np.float64], pairs: NDArray[np.int64], budget: int) -> NDArray[np.bool_]:
    """Which entries, the worthiest first and equals together, have no more pairs than the budget; shape of both arrays."""
    levels, at = np.unique(-logit, return_inverse=True)
    spent = np.cumsum(np.bincount(at, weights=pairs, minlength=len(levels)))
    within: NDArray[np.bool_] = (spent <= budget)[at]
    return within


def _breadth(graph: BipartiteGraph, key: NDArray[np.int64], kind: NDArray[np.int64]) -> NDArray[np.int64]:
    """What each entry is worth less because its accounts use very many identifiers of the kind: see `breadth`."""
    a, b = np.divmod(key, np.int64(max(graph.accounts.height, 1)))
    out = np.zeros(len(key), np.int64)
    for k in np.unique(kind).tolist():
        at = np.flatnonzero(kind == k)
        held = graph.held[:, k].astype(np.int64)
        usual = usual_product(int(held.sum()), int((held**2).sum()))
        out[at] = breadth(held[a[at]] * held[b[at]], usual)
    return out


def usual_product(number: int, squares: int) -> float:
    """m^2 of `breadth`. number, squares: sums over the accounts of k and k^2."""
    return (squares / number) ** 2


def breadth(product: NDArray[np.int64], usual: float | NDArray[np.float64]) -> NDArray[np.int64]:
    """log2(k_a * k_b / m^2), at least 0, in thousandths of a bit; k: identifiers of one kind an account uses, m: their mean
    over links, sum of k^2 / sum of k. Two accounts that share posts by the hundred share some with everybody.

    product: k_a * k_b of each pair. usual: m^2.
    """
    return milli(np.maximum(np.log2(product / usual), 0.0))


def _shares(
    graph: BipartiteGraph, evidence: Evidence, worth: Worth, paired: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8], int]:
    """One entry per pair and paired identifier that is worth keeping: pair key a * N + b, identifier, `close` and `flags`
    of Formed; and how many pairs were formed. Sorted by key."""
    n = np.int64(max(graph.accounts.height, 1))
    users = graph.users
    uses = Uses(
        users.indices, graph.focus, graph.moment, graph.passing[graph.by_identifier], evidence.several[users.indices]
    )
    keys, which, closer = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)], [np.zeros(0, np.int16)]
    flagged = [np.zeros(0, np.uint8)]
    starts = users.indptr.astype(np.int64)
    for pairs in form_pairs(uses, starts, graph.here, np.flatnonzero(paired), worth, evidence.gaps, evidence.prior):
        keys.append(pair_key(uses, pairs, n))
        which.append(pairs.identifier)
        closer.append(pairs.close)
        flagged.append(pairs.flags)
    key = np.concatenate(keys)
    formed_on = np.concatenate(which)
    near = np.concatenate(closer)
    flags = np.concatenate(flagged)
    keys.clear()
    which.clear()
    closer.clear()
    flagged.clear()
    formed = len(key)
    order = np.argsort(key)
    key, formed_on, near, flags = key[order], formed_on[order], near[order], flags[order]
    keep = worth_keeping(key, flags)
    return key[keep], formed_on[keep].astype(np.int64), near[keep].astype(np.int64), flags[keep], formed


def pair_key(uses: Uses, pairs: Formed, accounts: np.int64) -> NDArray[np.int64]:
    """a * N + b of each pair, a < b being the codes of its accounts and N their number."""
    low, high = uses.account[pairs.a].astype(np.int64), uses.account[pairs.b].astype(np.int64)
    return np.minimum(low, high) * accounts + np.maximum(low, high)


def form_pairs(
    uses: Uses,
    starts: NDArray[np.int64],
    number: NDArray[np.int64],
    identifiers: NDArray[np.int64],
    worth: Worth,
    gaps: Mapping[int, NDArray[np.int64]],
    prior: float,
    most: int = _CHUNK,
) -> Iterator[Formed]:
    """All pairs of uses of each of `identifiers`, all of one together, in blocks of about `most`.

    starts, number: where the uses of every identifier begin and how many there are, shape (identifiers,), by which
    `identifiers` and `worth` are counted as well. gaps: Evidence.gaps. prior: Evidence.prior.
    """
    enough = round((prior - _WORTH_A_LOOK / 2) * _MILLI)
    size = number[identifiers]
    for d in np.unique(size).tolist():
        of_degree = identifiers[size == d]
        first, second = np.triu_indices(d, k=1)
        step = max(1, most // len(first))
        for i in range(0, len(of_degree), step):
            block = of_degree[i : i + step]
            start = starts[block][:, None]
            a, b = (start + first).ravel(), (start + second).ravel()
            identifier = np.repeat(block.astype(np.int32), len(first))
            apart = np.abs(uses.focus[a] - uses.focus[b]).astype(np.float64)
            unlike = milli(np.clip(apart - _TOLERATED, 0.0, _MOST_UNLIKE))
            woven = np.where(uses.several[a] & uses.several[b], worth.woven[identifier], 0)
            close = _closeness(uses.moment, worth.kind[identifier], gaps, a, b, len(first)) + woven
            near = (close - unlike).astype(np.int16)
            thin = np.minimum(uses.focus[a], uses.focus[b]) < _THIN
            flags = thin * _THINLY
            flags |= (uses.passing[a] | uses.passing[b]) * _IN_PASSING
            flags |= ((worth.sure[identifier] | (woven > 0)) & ~thin) * _ALONE
            flags |= (worth.bits[identifier] + near >= enough) * _ENOUGH
            yield Formed(a, b, identifier, near, flags)


def _closeness(
    moment: NDArray[np.int64],
    kind: NDArray[np.int64],
    gaps: Mapping[int, NDArray[np.int64]],
    a: NDArray[np.int64],
    b: NDArray[np.int64],
    pairs: int,
) -> NDArray[np.int64]:
    """Thousandths of a bit for the gap between the two uses; 0 where a time is not known.

    The share of as small a gap is the larger of two: among sampled pairs of the kind, and among the `pairs` pairs of
    this very identifier, because what everybody does in the same minute is not close.
    """
    out = np.zeros(len(a), np.int64)
    for k, usual in gaps.items():
        at = np.flatnonzero(kind == k)
        first, second = moment[a[at]], moment[b[at]]
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


def _of_wide_kind(
    graph: BipartiteGraph,
    worth: Worth,
    wide: NDArray[np.bool_],
    a: NDArray[np.int64],
    b: NDArray[np.int64],
    kind: int,
    have: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`wide_shares` of the identifiers of one kind that formed no pairs; nothing for a kind the pair shares already."""
    more = np.zeros(len(a), np.int64)
    shared = np.zeros(len(a), np.int64)
    columns = np.flatnonzero(wide & (graph.kind_code == kind) & (graph.degree > 1) & (worth.bits > 0))
    need = np.flatnonzero((have >> kind & 1) == 0)
    if len(columns) and len(need):
        more[need], shared[need] = wide_shares(graph.matrix[:, columns], worth.bits[columns], a[need], b[need])
    return more, shared


def wide_shares(
    incidence: csr_array, bits: NDArray[np.int64], a: NDArray[np.int64], b: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What the best of the identifiers that rows a and b of `incidence` share is worth, and how many they share.

    incidence: accounts x identifiers, 0/1. bits: of each identifier, in thousandths, above 0.
    """
    more, shared = np.zeros(len(a), np.int64), np.zeros(len(a), np.int64)
    incidence = incidence.astype(np.int64)
    valued = incidence.multiply(bits).tocsr()
    for i in range(0, len(a), _CHUNK // 4):
        at = slice(i, i + _CHUNK // 4)
        both = incidence[a[at]].multiply(valued[b[at]]).tocsr()
        more[at] = both.max(axis=1).toarray().ravel()
        shared[at] = np.diff(both.indptr)
    return more, shared
