"""From a graph and its clusters to the forest of replacements, and to the table of a case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.activity import Activity
from hydragraph.bipartite import BipartiteGraph
from hydragraph.lineage.model import fit
from hydragraph.lineage.pairs import Pairs, candidates, lives, surviving_kinds, used_by_members, what_is_shared
from hydragraph.lineage.rota import same_place
from hydragraph.schema import OUTPUT

NAMED_AT = 0.25
"""Probability from which a parent is named."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Lineage:
    """Replacements, sorted by parent; all arrays have shape (replacements,). Nobody is parent or child twice, nor comes
    before itself.

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


def find_lineage(graph: BipartiteGraph, label: Ints, activity: Activity) -> Lineage:
    """The account that took the place of each closed account of a cluster, where one can be named.

    label: number of each account's cluster, -1 for none, shape (accounts,).
    May be replaced: a member with closed_at, unless its close_reason is the holder's own will (`voluntary`). May take
    its place: a member whose first activity (where none is known, opening) lies after it, by at most 30 days, and before
    its own closing, if there is one; the 32 latest closings before it are looked at, and all those with which it shares
    an identifier that at most 12 members use.

    For a closed account a, and b that begins g hours later, the odds of "b replaced a" over "b came by itself and a was
    not replaced" are

        w(a, b) = r * f(g) / (rate * (1 - r * F(left))) * product over kinds of K * T

    r: share of closings that are followed by a replacement; f: density of the time to it, F the share of these times
    that fit into what is left until the data end; rate: how often members begin by themselves once closings have begun,
    per hour. K, where both use identifiers of the kind: with probability k the successor goes on with one of the m that
    a used; each it uses anyway with probability q,

        K = (1 - k) + k / m * sum over shared identifiers of 1 / q,     q = (n - 1.5) / (s - 1)

    for n of s members that use it: what the whole ring uses says nothing about which of its members was replaced. T:
    how much likelier the likeness of their places in the rota (rota.same_place) is among replacements than elsewhere.

    Nobody is replaced twice or takes two places, so the odds of a set of replacements are the product of its w: a
    monomer-dimer model, whose marginal probabilities p(a, b) come from belief propagation. r, f, rate, k and T are
    estimated by expectation maximisation from all closings, per cluster, drawn towards those of all clusters as if
    30 replacements had shown these (r: 2). No labelled case, no fixed delay: minutes, hours and days are told from the data.
    Pairs with p of at least 0.25 are named, the most probable first.

    Identifiers that an account first used after its own closing are left out. Time O(pairs), at most 32 an account and
    those of the rare identifiers. Not checked: whether a successor is run by the same hand; that is what the cluster
    says. A closing after which a new member begins by chance looks like a replacement, the more so in small clusters.
    """
    known = lives(graph, label)
    used = used_by_members(graph, known)
    pairs = candidates(known, used)
    if not len(pairs.a):
        none, zero = np.zeros(0, np.int64), np.zeros(0)
        return Lineage(none, none, zero, zero, zero, none, none)
    shared = what_is_shared(used, known.label, pairs)
    odds, probability = fit(known, pairs, shared, same_place(activity, known.label, pairs.a, pairs.b))
    best = _one_to_one(pairs, probability)
    a, b = pairs.a[best], pairs.b[best]
    return Lineage(
        parent=a,
        child=b,
        bits=np.log2(odds[best]).round(3),
        probability=probability[best].round(4),
        margin=_margin(pairs, odds, best),
        gap=known.begin[b] - known.end[a],
        survived=surviving_kinds(graph, used, a, b),
    )


def lineage_table(graph: BipartiteGraph, label: Ints, lineage: Lineage, ids: Sequence[str]) -> pl.DataFrame:
    """`lineage` as the table of a case. label: as in `find_lineage`; ids: of the clusters, by number."""
    masks = np.unique(lineage.survived).tolist()
    names = {m: ",".join(k for i, k in enumerate(graph.kinds) if m >> i & 1) for m in masks}
    account = graph.accounts["account_id"]
    return OUTPUT["lineage"].conform(
        pl.DataFrame(
            {
                "cluster_id": pl.Series(ids, dtype=pl.String).gather(label[lineage.parent]),
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


def _one_to_one(pairs: Pairs, probability: Floats) -> Ints:
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


def _margin(pairs: Pairs, odds: Floats, best: Ints) -> Floats:
    """Bits by which each pair of `best` leads the best other pair of its child."""
    others = np.ones(len(pairs.a), bool)
    others[best] = False
    most = np.zeros(int(pairs.b.max()) + 1)
    np.maximum.at(most, pairs.b[others], odds[others])
    next_best = most[pairs.b[best]]
    with np.errstate(divide="ignore"):
        lead = np.log2(odds[best]) - np.log2(next_best)
    return np.where(next_best > 0, lead, np.nan).round(3)
