"""What sharing an identifier is worth, in bits, calibrated on the source itself.

The model is Fellegi and Sunter's record linkage with term frequencies (docs/method.md): two accounts drawn at random
belong together with odds of about 1 to N. Sharing identifier v lifts the odds by

    bits(v) = log2 N + logit2 P(together | both use v)

where P depends on the kind of v and on how many accounts use it, and is estimated from corroboration: how often two
accounts that share such an identifier also share one of another kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.bipartite import BipartiteGraph
from hydragraph.identifiers import is_circumstantial
from hydragraph.identifiers import kind as kind_of
from hydragraph.settings import Settings

TOGETHER_BITS = 4.0
"""Log-odds that two accounts belong together when they alone share an identifier no stranger shares by chance."""

KNOWN_SHARED_BITS = 4.0
"""Taken off the log-odds of a range that the source itself declares to be shared infrastructure."""

_SAMPLED_IDENTIFIERS = 4000
_SAMPLED_PAIRS = 20
_FEWEST_PAIRS = 2000
_ENOUGH_PAIRS = 200
_CORROBORATING_ACCOUNTS = 64
_SENSITIVITY = 0.5
_LARGEST_SHIFT = 3.0
_CORROBORATING_CLASS = 0.2
_USUAL_WEIGHS = 2.0
_SUREST = 0.99
_RARELY_SHARED_BITS = 2.0
_FEWEST_WOVEN = 4
_WOVEN_ACCOUNTS = 0.5
_LINKED_ACCOUNTS = 0.8
_WOVEN_PAIRS = 0.7


@dataclass(frozen=True)
class Evidence:
    """The worth of each identifier of a graph.

    logit: log2 odds that two accounts sharing only this identifier belong together, shape (identifiers,).
    bits: log2 N + logit, at least 0: what sharing it adds to the odds of two random accounts, shape (identifiers,).
    further: what sharing it adds when the pair shares a better one of the same kind already, shape (identifiers,): at
        most log2(1 / r), r being how often pairs that share such an identifier share another of the kind. All exits of
        one carrier are nearly one fact; two homes are two.
    woven: what an identifier of a mesh adds to that between two accounts of the mesh, shape (identifiers,): all that its
        many users, or their want of corroboration, took off.
    several: whether an account shares at least two identifiers that strangers rarely share, shape (accounts,).
    gaps: for each kind used once at known times, the sorted gaps in microseconds between the two uses of sampled pairs,
        by kind code; what is usual, against which ties.py holds a gap.
    prior: log2 N, the bits a pair of accounts must gather to reach even odds.
    classes: the calibration, a row per kind and level (accounts per identifier from 2^level to 2^(level+1)-1): kind,
        level, identifiers, pairs (looked at), corroborated (of them), again (of them: share another of the same kind),
        prior_logit, logit (both for 2^level accounts).
    """

    logit: NDArray[np.float64]
    bits: NDArray[np.float64]
    further: NDArray[np.float64]
    woven: NDArray[np.float64]
    several: NDArray[np.bool_]
    gaps: Mapping[int, NDArray[np.int64]]
    prior: float
    classes: pl.DataFrame


def weigh(graph: BipartiteGraph, settings: Settings) -> Evidence:
    """Evidence of every identifier of `graph`.

    The prior log-odds of a kind with chance_bits c and d accounts is TOGETHER_BITS - c - log2(d / 2): of d accounts on
    one identifier each belongs with about the same number of others, however many strangers are there. Per kind and
    level, up to 4,000 identifiers and 20 pairs of each (or 2,000 in all) are looked up; where at least 200 pairs were
    seen, the prior moves towards logit2(corroborated / (pairs * 0.5)), by at most 3 bits. Kinds that corroborate nothing
    (a source with one kind) keep their prior. Ranges inside declared shared infrastructure are worth 4 bits less.
    Not checked: whether the kinds are independent; see ties.py for what that costs.
    """
    degree = graph.degree
    accounts = max(int(np.count_nonzero(np.bincount(graph.links["account"].to_numpy(), minlength=1))), 2)
    prior = float(np.log2(accounts))
    chance = np.array([kind_of(k).chance_bits for k in graph.kinds])
    base = TOGETHER_BITS - chance[graph.kind_code] if graph.kinds else np.zeros(0)
    logit = base - np.log2(np.maximum(degree, 2) / 2)
    level = np.log2(np.maximum(degree, 1)).astype(np.int64)
    rows = []
    shift = np.zeros(len(degree))
    repeat = np.zeros(len(degree))
    corroborate = np.zeros(len(degree))
    classes = [
        (k, lv, np.flatnonzero((graph.kind_code == k) & (degree > 1) & (level == lv)))
        for k in range(len(graph.kinds))
        for lv in np.unique(level[(graph.kind_code == k) & (degree > 1)]).tolist()
    ]
    sampled = [_sample(graph, members, np.random.default_rng([settings.seed, k, lv])) for k, lv, members in classes]
    of_class = np.repeat(np.arange(len(classes)), [len(pair[0]) for pair in sampled])
    drawn = tuple(np.concatenate([np.zeros(0, np.int64), *(pair[i] for pair in sampled)]) for i in range(3))
    counts = np.stack(_look_up(graph, drawn, of_class, len(classes)), axis=1).tolist()
    for (k, lv, members), (pairs, corroborated, again) in zip(classes, counts, strict=True):
        repeat[members] = -np.log2((again + 0.5) / (pairs + 1.0))
        prior_logit = float(TOGETHER_BITS - chance[k] - (lv - 1))
        moved = 0.0
        if pairs >= _ENOUGH_PAIRS and len(graph.kinds) > 1:
            rate = min((corroborated + 0.5) / (pairs * _SENSITIVITY + 1.0), _SUREST)
            moved = float(np.clip(np.log2(rate / (1 - rate)) - prior_logit, -_LARGEST_SHIFT, _LARGEST_SHIFT))
            corroborate[members] = corroborated / pairs
        shift[members] = moved
        rows.append((graph.kinds[k], lv, len(members), pairs, corroborated, again, prior_logit, prior_logit + moved))
    known = graph.identifiers["known"].is_not_null().to_numpy()
    logit = logit + shift
    mesh, linked, several = woven(graph)
    doubtful = (degree >= _FEWEST_WOVEN) & (logit >= 0) & ~linked & (corroborate >= _CORROBORATING_CLASS)
    own = _own(graph, np.flatnonzero(doubtful), corroborate[doubtful], settings)
    logit[doubtful] = np.minimum(logit[doubtful], own)
    woven_bits = np.where(mesh, np.maximum(base - logit, 0.0), 0.0).round(3)
    logit = np.round(logit - np.where(known, KNOWN_SHARED_BITS, 0.0), 3)
    table = pl.DataFrame(
        rows,
        schema={
            "kind": pl.String, "level": pl.Int64, "identifiers": pl.Int64, "pairs": pl.Int64,
            "corroborated": pl.Int64, "again": pl.Int64, "prior_logit": pl.Float64, "logit": pl.Float64,
        },
        orient="row",
    )  # fmt: skip
    bits: NDArray[np.float64] = np.maximum(prior + logit, 0.0).round(3)
    further: NDArray[np.float64] = np.minimum(repeat, bits).round(3)
    return Evidence(logit, bits, further, woven_bits, several, _gaps(graph, drawn), prior, table)


def woven(graph: BipartiteGraph) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Identifiers that form a mesh with others: one controller's cards, keys or devices, dealt out over many accounts.

    Of kinds that strangers rarely share (chance of at most 2 bits, not circumstantial), with 4 to 64 accounts, at least
    half of whom share with another of them a second such identifier, though at most seven in ten pairs do: more, and the
    two are one fact, a device and its cookie. Strangers on one value (a billing service, a test key) share no second.
    Then those at least four in five of whose accounts share another such identifier with anybody at all; shape
    (identifiers,) both. Last the accounts that share at least two such identifiers, shape (accounts,).
    """
    found = np.zeros(len(graph.degree), bool)
    linked = found.copy()
    rare = np.array(
        [kind_of(k).chance_bits <= _RARELY_SHARED_BITS and not is_circumstantial(k) for k in graph.kinds], bool
    )
    columns = np.flatnonzero(rare[graph.kind_code] & (graph.degree > 1) & (graph.degree <= _CORROBORATING_ACCOUNTS))
    if not len(columns):
        return found, linked, np.zeros(graph.accounts.height, bool)
    incidence = graph.matrix[:, columns].astype(np.int32)
    several = np.asarray(incidence.sum(axis=1)).ravel() > 1
    users = np.asarray(incidence.multiply(several[:, None]).sum(axis=0)).ravel()
    linked[columns] = users >= _LINKED_ACCOUNTS * graph.degree[columns]
    common = (incidence @ incidence.T).tocoo()
    twice = (common.row < common.col) & (common.data > 1)
    a, b = common.row[twice].astype(np.int64), common.col[twice].astype(np.int64)
    both = incidence[a].multiply(incidence[b]).tocsr()
    pair = np.repeat(np.arange(len(a)), np.diff(both.indptr))
    v = both.indices.astype(np.int64)
    n = np.int64(incidence.shape[0])
    accounts = np.bincount(np.unique(np.concatenate([v * n + a[pair], v * n + b[pair]])) // n, minlength=len(columns))
    pairs = np.bincount(v, minlength=len(columns))
    degree = graph.degree[columns]
    mesh = (degree >= _FEWEST_WOVEN) & (accounts >= _WOVEN_ACCOUNTS * degree)
    found[columns[mesh & (pairs <= _WOVEN_PAIRS * degree * (degree - 1) / 2)]] = True
    return found, linked, several


_Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Pairs of links to one identifier (positions in graph.users), and which of the identifiers asked about it is."""


def _own(
    graph: BipartiteGraph, identifiers: NDArray[np.int64], usual: NDArray[np.float64], settings: Settings
) -> NDArray[np.float64]:
    """Log-odds of each of `identifiers` by its own users: with c of n pairs of them corroborated, at most 20 looked up,
    and r the rate that is usual in its class, logit2((c + 2 r) / (n + 2) / 0.5)."""
    drawn = _draw(graph, identifiers, _SAMPLED_PAIRS, np.random.default_rng([settings.seed, 3]))
    of = np.searchsorted(identifiers, drawn[2])
    pairs, corroborated, _ = _look_up(graph, drawn, of, len(identifiers))
    rate = (corroborated + _USUAL_WEIGHS * usual) / (pairs + _USUAL_WEIGHS) / _SENSITIVITY
    rate = np.minimum(rate, _SUREST)
    found: NDArray[np.float64] = np.log2(rate / (1 - rate))
    return found


def _sample(graph: BipartiteGraph, members: NDArray[np.int64], rng: np.random.Generator) -> _Pairs:
    """Pairs of at most 4,000 evenly spaced identifiers of `members`: 20 each, or 2,000 in all where they are few."""
    sampled = members[:: -(-len(members) // _SAMPLED_IDENTIFIERS)]
    return _draw(graph, sampled, max(_SAMPLED_PAIRS, _FEWEST_PAIRS // max(len(sampled), 1)), rng)


def _draw(graph: BipartiteGraph, identifiers: NDArray[np.int64], each: int, rng: np.random.Generator) -> _Pairs:
    """At most `each` pairs of links to every identifier, drawn with replacement."""
    starts = graph.users.indptr.astype(np.int64)
    size = starts[identifiers + 1] - starts[identifiers]
    at = np.repeat(np.arange(len(identifiers)), np.minimum(size * (size - 1) // 2, each))
    first = (rng.random(len(at)) * size[at]).astype(np.int64)
    other = (rng.random(len(at)) * (size[at] - 1)).astype(np.int64)
    other += other >= first
    return starts[identifiers][at] + first, starts[identifiers][at] + other, identifiers[at]


def _look_up(
    graph: BipartiteGraph, drawn: _Pairs, of: NDArray[np.int64], groups: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """For each group of pairs: how many, how many of them share a narrow identifier of another kind than the one they were
    drawn on, and how many share a second of that kind. of: group of each pair."""
    a, b = (graph.users.indices[drawn[i]] for i in (0, 1))
    kind = graph.kind_code[drawn[2]]
    both = graph.matrix[a].multiply(graph.matrix[b]).tocsr()
    pair = np.repeat(np.arange(len(a)), np.diff(both.indptr))
    same = graph.kind_code[both.indices] == kind[pair]
    narrow = ~same & (graph.degree[both.indices] <= _CORROBORATING_ACCOUNTS)
    corroborated = np.bincount(pair[narrow], minlength=len(a)) > 0
    again = np.bincount(pair[same], minlength=len(a)) > 1
    number, hits, more = (np.bincount(of[x], minlength=groups) for x in (slice(None), corroborated, again))
    return number, hits, more


def _gaps(graph: BipartiteGraph, drawn: _Pairs) -> dict[int, NDArray[np.int64]]:
    """Sorted gaps of the drawn pairs, for each kind with at least 200 pairs of known times."""
    found: dict[int, NDArray[np.int64]] = {}
    kind = graph.kind_code[drawn[2]]
    a, b = graph.moment[drawn[0]], graph.moment[drawn[1]]
    known = (a >= 0) & (b >= 0)
    for k in np.unique(kind).tolist():
        at = known & (kind == k)
        if at.sum() >= _ENOUGH_PAIRS:
            found[k] = np.sort(np.abs(a - b)[at])
    return found
