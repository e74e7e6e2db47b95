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
from hydragraph.identifiers import kind as kind_of
from hydragraph.meshes import find_meshes
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
_FEWEST_USERS = 4
_USUAL_WEIGHS = 2.0
_SUREST = 0.99


@dataclass(frozen=True)
class Evidence:
    """The worth of each identifier of a graph.

    logit: log2 odds that two accounts sharing only this identifier belong together, shape (identifiers,).
    bits: log2 N + logit, at least 0: what sharing it adds to the odds of two random accounts, shape (identifiers,).
    further: what sharing it adds when the pair shares a better one of the same kind already, shape (identifiers,): at
        most log2(1 / r), r being how often pairs that share such an identifier share another of the kind. All exits of
        one carrier are nearly one fact; two homes are two.
    woven: what an identifier of a mesh (meshes.py) adds to that between two accounts that are `several`, shape
        (identifiers,): all that its many users, or their want of corroboration, took off.
    several: whether an account has at least two shared identifiers that strangers rarely share, shape (accounts,).
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


def weigh(graph: BipartiteGraph, settings: Settings, prior: float | None = None) -> Evidence:
    """Evidence of every identifier of `graph`. prior: log2 N; None: N are the accounts with a link.

    Start: the log-odds of a kind with chance_bits c and d accounts are TOGETHER_BITS - c - log2(d / 2): of d accounts on
    one identifier each belongs with about the same number of others, however many strangers are there.

    By class (kind and level): pairs of accounts on one identifier are drawn, of up to 4,000 identifiers up to 20 pairs
    each, or 2,000 in all where they are few. A pair is corroborated when it shares a narrow identifier (at most 64
    accounts) of another kind. Where at least 200 pairs were drawn, the start of the class moves to

        logit2(p),     p = min((corroborated + 0.5) / (pairs * 0.5 + 1), 0.99)

    by at most 3 bits; 0.5 being the share of pairs under one controller that are expected to be corroborated. A source
    with one kind cannot corroborate, and keeps the start.

    By its own users: an identifier of at least 4 accounts and even odds or better, in a class of which at least a fifth
    of the pairs are corroborated, is worth no more than logit2(p) with p = min((c + 2 r) / (n + 2) / 0.5, 0.99), c of n
    pairs of its own users (at most 20) being corroborated, and r the rate of its class: shrinkage towards what is usual,
    as in empirical Bayes (Robbins 1956). It is spared when four in five of its users have another rare identifier
    (Meshes.linked), of the same kind as well.

    Identifiers of a mesh (Meshes.woven) get the bits by which they stay below TOGETHER_BITS - c back, as `woven`, between
    accounts of the mesh only. Ranges inside declared shared infrastructure are worth 4 bits less.
    Not checked: whether the kinds are independent; see ties.py for what that costs.
    """
    degree = graph.degree
    if prior is None:
        accounts = int(np.count_nonzero(np.bincount(graph.links["account"].to_numpy(), minlength=1)))
        prior = float(np.log2(max(accounts, 2)))
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
    first, other, identifier = (np.concatenate([np.zeros(0, np.int64), *(p[i] for p in sampled)]) for i in range(3))
    drawn = (first, other, identifier)
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
    meshes = find_meshes(graph)
    doubtful = (degree >= _FEWEST_USERS) & (logit >= 0) & ~meshes.linked & (corroborate >= _CORROBORATING_CLASS)
    own = _own(graph, np.flatnonzero(doubtful), corroborate[doubtful], settings)
    logit[doubtful] = np.minimum(logit[doubtful], own)
    woven: NDArray[np.float64] = np.where(meshes.woven, np.maximum(base - logit, 0.0), 0.0).round(3)
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
    return Evidence(logit, bits, further, woven, meshes.several, _gaps(graph, drawn), prior, table)


_Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Pairs of links to one identifier (positions in graph.users), and which of the identifiers asked about it is."""


def _own(
    graph: BipartiteGraph, identifiers: NDArray[np.int64], usual: NDArray[np.float64], settings: Settings
) -> NDArray[np.float64]:
    """Log-odds of each of `identifiers` by its own users: see `weigh`. usual: the rate of its class."""
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
