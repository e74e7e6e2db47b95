"""How many clusters this strong the same steps find in data without any coordination."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.bipartite import BipartiteGraph
from hydragraph.communities import CORE_NET, Clusters, find_cores, renumber, tree_bits
from hydragraph.evidence import Evidence
from hydragraph.runs import changes
from hydragraph.schema import TIME
from hydragraph.settings import Settings
from hydragraph.ties import find_ties

_PAIRS_EACH = 2


def rewire(graph: BipartiteGraph, seed: int) -> BipartiteGraph:
    """The graph with its links shuffled within each kind.

    Every account keeps its number of links of each kind and every identifier its number of accounts, but for the few
    links that fall on a pair already linked, which are dropped (a configuration model; Newman, Strogatz and Watts
    2001). Links to identifiers of one account are then left out, because they tie nobody; counts and times are not kept.
    Geography and habits are not kept either: neighbours are strangers here, so the figure is what blind chance gives,
    and no more.
    """
    rng = np.random.default_rng([seed, 1])
    account = graph.links["account"].to_numpy().astype(np.int64)
    identifier = graph.links["identifier"].to_numpy().astype(np.int64)
    kind = graph.kind_code[identifier]
    for k in range(len(graph.kinds)):
        at = np.flatnonzero(kind == k)
        identifier[at] = identifier[rng.permutation(at)]
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


@dataclass(frozen=True)
class Chance:
    """What the steps find in rewired data: accounts in each core, and its strength in bits."""

    size: NDArray[np.int64]
    strength: NDArray[np.float64]

    def expected(self, clusters: Clusters) -> NDArray[np.float64]:
        """For each cluster how many have as large a core, or larger, and are as strong, shape (clusters,)."""
        core = _core_sizes(clusters)
        if not len(core):
            return np.zeros(0)
        strengths, at = np.unique(np.stack([core, clusters.strength], axis=1), axis=0, return_inverse=True)
        counts = [np.count_nonzero((self.size >= s) & (self.strength >= b)) for s, b in strengths]
        return np.array(counts, dtype=np.float64)[at.ravel()]


def found_by_chance(graph: BipartiteGraph, evidence: Evidence, settings: Settings) -> Chance:
    """The cores of one rewired graph, by the same steps and the evidence of the real data, without times.

    Two pairs an account are formed instead of eight, because wide identifiers meet on a pair by chance too rarely to
    matter, and nothing is attached. One rewiring, so that expected figures are whole numbers and 0 means fewer than
    about 3 (95 %).
    """
    rewired = rewire(graph, settings.seed)
    ties = find_ties(rewired, evidence, pairs_each=_PAIRS_EACH)
    strong = ties.select(ties.net >= CORE_NET)
    cores, in_step = find_cores(rewired, strong)
    label = renumber(cores)
    strength = tree_bits(strong, label, in_step, evidence.prior)[1]
    return Chance(np.bincount(label[label >= 0], minlength=len(strength)), strength)


def _core_sizes(clusters: Clusters) -> NDArray[np.int64]:
    return np.bincount(clusters.label[clusters.core], minlength=len(clusters.breaks))
