"""How many clusters this strong the same steps find in data without any coordination."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.activity import Activity
from hydragraph.bipartite import BipartiteGraph
from hydragraph.blocks import find_blocks
from hydragraph.communities import CORE_NET, Clusters, find_cores, tree_bits
from hydragraph.evidence import Evidence, weigh
from hydragraph.grouping import renumber
from hydragraph.joining import SMALL_CORE
from hydragraph.runs import changes
from hydragraph.schema import TIME
from hydragraph.settings import Settings
from hydragraph.ties import Ties, find_ties

PAIRS_EACH = 2
"""Pairs formed per account where chance is looked at: wide identifiers meet on one too rarely to matter."""


def rewire(graph: BipartiteGraph, seed: int) -> BipartiteGraph:
    """The graph with its links shuffled within each kind.

    Every account keeps its number of links of each kind and every identifier its number of accounts, but for the few
    links that fall on a pair already linked, which are dropped (a configuration model; Newman, Strogatz and Watts
    2001). Links to identifiers of one account are then left out, because they tie nobody; counts and times are not kept.
    Geography and habits are not kept either: neighbours are strangers here, so the figure is what blind chance gives,
    and no more.
    """
    account = graph.links["account"].to_numpy().astype(np.int64)
    identifier = graph.links["identifier"].to_numpy().astype(np.int64)
    kind = graph.kind_code[identifier]
    places = [np.flatnonzero(kind == k) for k in range(len(graph.kinds))]
    for at, source in zip(places, shuffled([len(at) for at in places], seed), strict=True):
        identifier[at] = identifier[at[source]]
    shared = graph.degree[identifier] > 1
    width = max(graph.identifiers.height, 1)
    pairs = np.sort(account[shared] * width + identifier[shared])
    account, identifier = np.divmod(pairs[np.flatnonzero(changes(pairs))], width)
    links = pl.DataFrame({
        "account": account.astype(np.uint32),
        "identifier": identifier.astype(np.uint32),
    }).with_columns(
        count=pl.lit(1, pl.Int64), first_seen=pl.lit(None, TIME), last_seen=pl.lit(None, TIME)
    )  # fmt: skip
    return BipartiteGraph(graph.accounts, graph.identifiers, links)


def shuffled(counts: Sequence[int], seed: int) -> Iterator[NDArray[np.int64]]:
    """For each kind, of which there are so many links, the place of the link whose identifier comes to each place."""
    rng = np.random.default_rng([seed, 1])
    for count in counts:
        yield rng.permutation(count)


@dataclass(frozen=True)
class Chance:
    """What the steps find in data without coordination: accounts in each core, and its strength in bits."""

    size: NDArray[np.int64]
    strength: NDArray[np.float64]


@dataclass(frozen=True)
class ByChance:
    """For each cluster, shape (clusters,) both.

    expected: clusters found by chance that are as strong and have half to twice its accounts in their core. Larger ones
        say nothing about it: wired at random, a source of many weak ties falls into one giant component.
    beyond: f / (f + expected), f being the clusters of this source, itself among them, as strong and of that size: of all
        such clusters, found here or by chance, the share that is found here. 1 where chance gives none, 1/2 where it gives
        as many. expected / f is the empirical false discovery rate (Benjamini and Hochberg 1995, Efron 2007), so that
        beyond is 1 / (1 + rate).
    """

    expected: NDArray[np.float64]
    beyond: NDArray[np.float64]


def compare(clusters: Clusters, wired: Chance, block: NDArray[np.bool_], blocks: Chance) -> ByChance:
    """Hold clusters against what chance gives: `block` ones against each other and `blocks`, all others against each other
    and `wired`. block: shape (clusters,)."""
    core = np.bincount(clusters.label[clusters.core], minlength=len(clusters.breaks))
    expected, found = np.zeros(len(core)), np.zeros(len(core))
    for which, chance in ((block, blocks), (~block, wired)):
        own = Chance(core[which], clusters.strength[which])
        expected[which] = _alike(chance, own)
        found[which] = _alike(own, own)
    return ByChance(expected, found / np.maximum(found + expected, 1))


def _alike(among: Chance, of: Chance) -> NDArray[np.float64]:
    """For each entry of `of` the number of those `among` as strong and of half to twice its size."""
    number = np.zeros(len(of.size))
    for size in np.unique(of.size).tolist():
        strengths = np.sort(among.strength[(2 * among.size >= size) & (among.size <= 2 * size)])
        at = np.flatnonzero(of.size == size)
        number[at] = len(strengths) - np.searchsorted(strengths, of.strength[at], "left")
    return number


def found_by_chance(graph: BipartiteGraph, evidence: Evidence, settings: Settings) -> Chance:
    """The cores of one rewired graph, by the same steps without times.

    What sharing is worth is weighed anew on the rewired graph, where nothing corroborates but by chance; N stays that of
    `evidence`, the real data's, because accounts whose shuffled links tie nobody are accounts still. Two pairs an account
    are formed instead of eight, because wide identifiers meet on a pair by chance too rarely to matter, and nothing is
    attached. One rewiring, so that expected figures are whole numbers and 0 means fewer than about 3 (95 %).
    """
    rewired = rewire(graph, settings.seed)
    evidence = weigh(rewired, settings, evidence.prior)
    ties = find_ties(rewired, evidence, pairs_each=PAIRS_EACH)
    return cores_by_chance(rewired, ties.select(ties.net >= CORE_NET), evidence.prior)


def cores_by_chance(
    rewired: BipartiteGraph, strong: Ties, prior: float, pieces: NDArray[np.int64] | None = None
) -> Chance:
    """The cores of a rewired graph from its ties of at least CORE_NET. prior: log2 N. pieces: see `find_cores`."""
    cores, in_step = find_cores(rewired, strong, pieces=pieces)
    label = renumber(cores)
    strength = tree_bits(strong, label, in_step, prior)[1]
    return Chance(np.bincount(label[label >= 0], minlength=len(strength)), strength)


def blocks_by_chance(
    graph: BipartiteGraph, evidence: Evidence, clusters: Clusters, ties: Ties, activity: Activity, settings: Settings
) -> tuple[NDArray[np.bool_], Chance]:
    """Which clusters are blocks (blocks.py) that no tie holds, shape (clusters,), and those of a source without common
    moments.

    The same links, but each account's activity moved by days of its own (Activity.shifted), searched by the same steps
    among the accounts that are in no cluster held by ties. Nothing is searched where there is no such block.
    Not checked: rings whose members' common moments a move by whole days does not part, because they come every day; but
    what comes every day counts for nothing in the real data as well.
    """
    label = clusters.label
    count = len(clusters.breaks)
    strong = (ties.net >= CORE_NET) & (label[ties.a] == label[ties.b]) & (label[ties.a] >= 0)
    untied = np.bincount(label[ties.a[strong]], minlength=count) == 0
    block = untied & ~clusters.loose
    if not block.any():
        return block, Chance(np.zeros(0, np.int64), np.zeros(0))
    free = (label < 0) | untied[np.maximum(label, 0)]
    cores = renumber(np.where(free, -1, label))
    found, in_step = find_blocks(graph, cores, activity.shifted(free, settings.seed), SMALL_CORE)
    found[found == cores] = -1
    found = renumber(found)
    return block, Chance(
        np.bincount(found[found >= 0], minlength=int(found.max(initial=-1)) + 1),
        tree_bits(ties.select(np.zeros(len(ties.a), bool)), found, in_step, evidence.prior)[1],
    )
