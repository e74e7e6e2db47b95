"""What every signal looks at: the clusters, their members' links, and when members are active."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hydragraph.activity import Activity
from hydragraph.bipartite import BipartiteGraph
from hydragraph.communities import Clusters
from hydragraph.evidence import Evidence
from hydragraph.limits import Limits, no_limits
from hydragraph.runs import changes

HOURS = 24
_BASELINE_ACCOUNTS = 4000


@dataclass(frozen=True)
class Use:
    """Links of cluster members, one entry a link; all arrays have shape (links,).

    cluster, account, identifier, kind: codes. inside: members of that cluster using the identifier; users: accounts of
    the whole source using it.
    """

    cluster: NDArray[np.int64]
    account: NDArray[np.uint32]
    identifier: NDArray[np.uint32]
    kind: NDArray[np.int8]
    inside: NDArray[np.int32]
    users: NDArray[np.int32]


@dataclass(frozen=True)
class View:
    """A partition with everything the signals need, computed once.

    hours: requests by hour of day (UTC) of each account looked at, shape (looked, 24); hours_of: its account code.
        Cluster members and a sample of the other accounts as a baseline. Empty without events.
    begins: account code and 5-minute slot of the beginning of every burst of the accounts looked at.
    limits: which of these bursts met a rate limit; empty where the source has no status.
    """

    graph: BipartiteGraph
    evidence: Evidence
    clusters: Clusters
    hours: NDArray[np.int32]
    hours_of: NDArray[np.int64]
    begins: tuple[NDArray[np.int64], NDArray[np.int64]]
    limits: Limits = field(default_factory=no_limits)

    @cached_property
    def count(self) -> int:
        """Number of clusters."""
        return len(self.clusters.breaks)

    @cached_property
    def size(self) -> NDArray[np.int64]:
        """Members per cluster."""
        label = self.clusters.label
        return np.bincount(label[label >= 0], minlength=self.count)

    @cached_property
    def use(self) -> Use:
        """Links of cluster members."""
        keep = self.graph.links_of(np.flatnonzero(self.clusters.label >= 0))
        account, identifier = (self.graph.links[c].to_numpy()[keep] for c in ("account", "identifier"))
        cluster = self.clusters.label[account]
        key = identifier * np.int64(max(self.count, 1)) + cluster
        order = np.argsort(key)
        start = np.flatnonzero(changes(key[order]))
        number = np.diff(np.append(start, len(key))).astype(np.int32)
        inside = np.empty(len(key), np.int32)
        inside[order] = np.repeat(number, number)
        kind, users = self.graph.kind_code.astype(np.int8), self.graph.degree.astype(np.int32)
        return Use(cluster, account, identifier, kind[identifier], inside, users[identifier])

    @cached_property
    def holds(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Whether each account uses an identifier of each kind, and one that others use too; shape (accounts, kinds)."""
        return self.graph.held > 0, self.graph.shares

    def kind(self, name: str) -> int | None:
        """Code of a kind, None when the source has none of it."""
        return self.graph.kinds.index(name) if name in self.graph.kinds else None

    def per_cluster(self, of_account: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean over each cluster's members of a figure per account; NaN entries are left out."""
        label = self.clusters.label
        known = (label >= 0) & ~np.isnan(of_account)
        total = np.bincount(label[known], weights=of_account[known], minlength=self.count)
        number = np.bincount(label[known], minlength=self.count)
        return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def look(
    graph: BipartiteGraph, evidence: Evidence, clusters: Clusters, activity: Activity, limits: Limits | None = None
) -> View:
    """The view of a partition, with the hours of members and of a baseline sample of the others."""
    label = clusters.label
    active = graph.accounts["events"].to_numpy() > 0
    others = np.flatnonzero((label < 0) & active)
    sample = others[:: max(1, len(others) // _BASELINE_ACCOUNTS)][:_BASELINE_ACCOUNTS]
    wanted = np.sort(np.concatenate([np.flatnonzero((label >= 0) & active), sample]))
    account, slot = activity.begins
    looked = np.zeros(graph.accounts.height, bool)
    looked[wanted] = True
    kept = looked[account]
    begins, limits = (account[kept], slot[kept]), (limits or no_limits()).of(looked)
    return View(graph, evidence, clusters, activity.hours(wanted), wanted, begins, limits)
