"""What sharing an identifier is worth, in bits, calibrated on the source itself.

The model is Fellegi and Sunter's record linkage with term frequencies (docs/method.md): two accounts drawn at random
belong together with odds of about 1 to N. Sharing identifier v lifts the odds by

    bits(v) = log2 N + logit2 P(together | both use v)

where P depends on the kind of v and on how many accounts use it, and is estimated from corroboration: how often two
accounts that share such an identifier also share one of another kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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

OWN_PAIRS = 20
"""Pairs drawn of an identifier that is weighed by its own users, at most, and of each of a class with many."""

ENOUGH_PAIRS = 200
"""Pairs from which a class is calibrated, and what is usual between two uses of a kind is known."""

CORROBORATING_ACCOUNTS = 64
"""Accounts of an identifier that corroborates, at most."""

LEVELS = 64
"""Levels there can be: accounts per identifier are counted in 64 bits."""

_SAMPLED_IDENTIFIERS = 4000
_FEWEST_PAIRS = 2000
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
    degree, kind = graph.degree, graph.kind_code
    if prior is None:
        prior = prior_bits(int(np.count_nonzero(np.bincount(graph.links["account"].to_numpy(), minlength=1))))
    level = levels(degree)
    classes = [
        (k, lv, np.flatnonzero((kind == k) & (degree > 1) & (level == lv)))
        for k in range(len(graph.kinds))
        for lv in np.unique(level[(kind == k) & (degree > 1)]).tolist()
    ]
    sampled = [_sample(graph, members, class_stream(settings.seed, k, lv)) for k, lv, members in classes]
    of_class = np.repeat(np.arange(len(classes)), [len(pair[0]) for pair in sampled])
    first, other, identifier = (np.concatenate([np.zeros(0, np.int64), *(p[i] for p in sampled)]) for i in range(3))
    drawn = (first, other, identifier)
    counts = np.stack(_look_up(graph, drawn, of_class, len(classes)), axis=1).tolist()
    calibration = calibrate(
        graph.kinds, [(k, lv, len(members), *count) for (k, lv, members), count in zip(classes, counts, strict=True)]
    )
    meshes = find_meshes(graph)
    logit = calibration.logit(degree, kind)
    doubtful = np.flatnonzero(calibration.doubtful(degree, kind, logit, meshes.linked))
    own = _own(graph, doubtful, calibration.usual[kind[doubtful], level[doubtful]], settings)
    logit[doubtful] = np.minimum(logit[doubtful], own)
    known = graph.identifiers["known"].is_not_null().to_numpy()
    worth = calibration.worth(degree, kind, logit, known, meshes.woven, prior)
    return Evidence(*worth, meshes.several, _gaps(graph, drawn), prior, calibration.classes)


def prior_bits(accounts: int) -> float:
    """log2 N of a source in which so many accounts have a link."""
    return float(np.log2(max(accounts, 2)))


def levels(degree: NDArray[np.int64]) -> NDArray[np.int64]:
    """The level of identifiers with so many accounts: the whole part of log2; 0 for none."""
    level: NDArray[np.int64] = np.log2(np.maximum(degree, 1)).astype(np.int64)
    return level


@dataclass(frozen=True)
class Calibration:
    """What its classes say of the identifiers of a source; see `weigh`. Tables by kind code and level have the shape
    (kinds, 64), with 0 where there is no class.

    start: log-odds of identifiers that two accounts use, by kind code. shift: bits by which a class moves. repeat: bits
    that a further identifier of the kind adds, at most. usual: the rate of corroborated pairs, 0 where there are too few.
    classes: Evidence.classes.

    In its functions degree and kind (code) are those of the identifiers asked about, and all arrays have their shape.
    """

    start: NDArray[np.float64]
    shift: NDArray[np.float64]
    repeat: NDArray[np.float64]
    usual: NDArray[np.float64]
    classes: pl.DataFrame

    def logit(self, degree: NDArray[np.int64], kind: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log-odds by class."""
        found: NDArray[np.float64] = self.start[kind] - np.log2(np.maximum(degree, 2) / 2)
        return found + self.shift[kind, levels(degree)]

    def doubtful(
        self,
        degree: NDArray[np.int64],
        kind: NDArray[np.int64],
        logit: NDArray[np.float64],
        linked: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """Which identifiers are weighed by their own users. logit: by class; linked: Meshes.linked."""
        corroborate = self.usual[kind, levels(degree)]
        return (degree >= _FEWEST_USERS) & (logit >= 0) & ~linked & (corroborate >= _CORROBORATING_CLASS)

    def worth(
        self,
        degree: NDArray[np.int64],
        kind: NDArray[np.int64],
        logit: NDArray[np.float64],
        known: NDArray[np.bool_],
        woven: NDArray[np.bool_],
        prior: float,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """logit, bits, further and woven of Evidence.

        logit: by class and by own users; known: whether inside declared shared infrastructure; woven: Meshes.woven; prior:
        log2 N.
        """
        given_back: NDArray[np.float64] = np.where(woven, np.maximum(self.start[kind] - logit, 0.0), 0.0).round(3)
        logit = np.round(logit - np.where(known, KNOWN_SHARED_BITS, 0.0), 3)
        bits: NDArray[np.float64] = np.maximum(prior + logit, 0.0).round(3)
        further: NDArray[np.float64] = np.minimum(self.repeat[kind, levels(degree)], bits).round(3)
        return logit, bits, further, given_back


def calibrate(kinds: Sequence[str], counts: Iterable[tuple[int, int, int, int, int, int]]) -> Calibration:
    """The calibration of a source with these kinds.

    counts: of each class kind code, level, identifiers, pairs (looked at), corroborated and again (of them), in the order
    of kind, then level.
    """
    chance = np.array([kind_of(k).chance_bits for k in kinds])
    shift, repeat, usual = (np.zeros((len(kinds), LEVELS)) for _ in range(3))
    rows = []
    for k, lv, identifiers, pairs, corroborated, again in counts:
        repeat[k, lv] = -np.log2((again + 0.5) / (pairs + 1.0))
        prior_logit = float(TOGETHER_BITS - chance[k] - (lv - 1))
        moved = 0.0
        if pairs >= ENOUGH_PAIRS and len(kinds) > 1:
            rate = min((corroborated + 0.5) / (pairs * _SENSITIVITY + 1.0), _SUREST)
            moved = float(np.clip(np.log2(rate / (1 - rate)) - prior_logit, -_LARGEST_SHIFT, _LARGEST_SHIFT))
            usual[k, lv] = corroborated / pairs
        shift[k, lv] = moved
        rows.append((kinds[k], lv, identifiers, pairs, corroborated, again, prior_logit, prior_logit + moved))
    table = pl.DataFrame(
        rows,
        schema={
            "kind": pl.String, "level": pl.Int64, "identifiers": pl.Int64, "pairs": pl.Int64,
            "corroborated": pl.Int64, "again": pl.Int64, "prior_logit": pl.Float64, "logit": pl.Float64,
        },
        orient="row",
    )  # fmt: skip
    return Calibration(TOGETHER_BITS - chance, shift, repeat, usual, table)


def own_logit(
    pairs: NDArray[np.int64], corroborated: NDArray[np.int64], usual: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Log-odds of identifiers by their own users, so many of whose pairs are corroborated: see `weigh`. usual: the rates of
    their classes."""
    rate = (corroborated + _USUAL_WEIGHS * usual) / (pairs + _USUAL_WEIGHS) / _SENSITIVITY
    rate = np.minimum(rate, _SUREST)
    found: NDArray[np.float64] = np.log2(rate / (1 - rate))
    return found


def class_stream(seed: int, kind: int, level: int) -> np.random.Generator:
    """The random numbers by which pairs of a class are drawn."""
    return np.random.default_rng([seed, kind, level])


def own_stream(seed: int) -> np.random.Generator:
    """The random numbers by which pairs of the identifiers weighed by their own users are drawn: see `draw`."""
    return np.random.default_rng([seed, 3])


def sample_step(members: int) -> int:
    """Of a class of so many identifiers every how many-th is sampled."""
    return -(-members // _SAMPLED_IDENTIFIERS)


def pairs_each(sampled: int) -> int:
    """Pairs drawn of each identifier of a class of which so many are sampled."""
    return max(OWN_PAIRS, _FEWEST_PAIRS // max(sampled, 1))


def number_drawn(size: NDArray[np.int64], each: int) -> NDArray[np.int64]:
    """Pairs drawn of identifiers with so many users: at most `each`."""
    number: NDArray[np.int64] = np.minimum(size * (size - 1) // 2, each)
    return number


def draw(
    size: NDArray[np.int64], each: int, firsts: np.random.Generator, others: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """At most `each` pairs of users of every identifier, drawn with replacement: which identifier, and the places of the two
    among its users.

    size: users of each. firsts, others: random numbers for the one and the other; the same to draw all the others after
    all the firsts.
    """
    at = np.repeat(np.arange(len(size)), number_drawn(size, each))
    first = (firsts.random(len(at)) * size[at]).astype(np.int64)
    other = (others.random(len(at)) * (size[at] - 1)).astype(np.int64)
    other += other >= first
    return at, first, other


_Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Pairs of links to one identifier (positions in graph.users), and which of the identifiers asked about it is."""


def _own(
    graph: BipartiteGraph, identifiers: NDArray[np.int64], usual: NDArray[np.float64], settings: Settings
) -> NDArray[np.float64]:
    """Log-odds of each of `identifiers` by its own users: see `weigh`. usual: the rate of its class."""
    drawn = _draw(graph, identifiers, OWN_PAIRS, own_stream(settings.seed))
    of = np.searchsorted(identifiers, drawn[2])
    pairs, corroborated, _ = _look_up(graph, drawn, of, len(identifiers))
    return own_logit(pairs, corroborated, usual)


def _sample(graph: BipartiteGraph, members: NDArray[np.int64], rng: np.random.Generator) -> _Pairs:
    """Pairs of at most 4,000 evenly spaced identifiers of `members`: 20 each, or 2,000 in all where they are few."""
    sampled = members[:: sample_step(len(members))]
    return _draw(graph, sampled, pairs_each(len(sampled)), rng)


def _draw(graph: BipartiteGraph, identifiers: NDArray[np.int64], each: int, rng: np.random.Generator) -> _Pairs:
    """At most `each` pairs of links to every identifier, drawn with replacement."""
    starts = graph.users.indptr.astype(np.int64)
    at, first, other = draw(starts[identifiers + 1] - starts[identifiers], each, rng, rng)
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
    narrow = ~same & (graph.degree[both.indices] <= CORROBORATING_ACCOUNTS)
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
        if at.sum() >= ENOUGH_PAIRS:
            found[k] = np.sort(np.abs(a - b)[at])
    return found
