"""Which identifiers to block so that a cluster is stopped, whom else that hits, and how far it is from the best plan.

Blocking an identifier stops every account that uses it; an account may also be closed by itself. The plan is a weighted
set cover: every member is to be stopped, at the least cost, where

    cost of blocking v    = STEP_COST + ACCOUNT_COST * collateral(v)
    cost of closing one   = STEP_COST

and collateral(v) is the number of accounts outside the cluster that use v, but for those in other clusters assessed
coordinated: nobody counts on their innocence, and they are counted apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.runs import changes
from hydragraph.takedown.cover import Cover, covered
from hydragraph.takedown.parts import largest_parts
from hydragraph.takedown.uses import OWN_SHARE, STEP_COST, Pairs, Uses, entries

_SURE = 1e-6


@dataclass(frozen=True)
class Plans:
    """The plans of all clusters.

    Of each step, in order of cluster and step, shape (steps,): cluster, step (from 1), identifier (code), covered
        (members it stops that no earlier step does), still_open (those of them that are not closed), collateral,
        elsewhere (accounts of other coordinated clusters it hits), remaining (members not stopped yet), largest (members
        in the largest part that is still connected), share (of the uses of this kind by the members it newly stops, those
        that went through it).
    Of each cluster, shape (clusters,): cost (steps, collateral and the members to close by themselves), least (no plan
        costs less; certified by linear programming duality).
    stopped: the step that stops a member, 0 for those that no step stops, shape (members,).
    """

    cluster: NDArray[np.int64]
    step: NDArray[np.int64]
    identifier: NDArray[np.int64]
    covered: NDArray[np.int64]
    still_open: NDArray[np.int64]
    collateral: NDArray[np.int64]
    elsewhere: NDArray[np.int64]
    remaining: NDArray[np.int64]
    largest: NDArray[np.int64]
    share: NDArray[np.float64]
    cost: NDArray[np.int64]
    least: NDArray[np.int64]
    stopped: NDArray[np.int64]

    @cached_property
    def bound(self) -> NDArray[np.float64]:
        """At most so many times the cost of the best plan, shape (clusters,); 1 is a plan proved to be the best."""
        return np.round(self.cost / np.maximum(self.least, 1), 3)

    def table(self, kinds: pl.Series, values: pl.Series, names: pl.Series) -> pl.DataFrame:
        """The steps as rows of schema.OUTPUT["takedown"]. kinds, values: of each identifier; names: of each cluster."""
        return pl.DataFrame(
            {
                "cluster_id": names.gather(self.cluster),
                "step": self.step,
                "kind": kinds.gather(self.identifier),
                "value": values.gather(self.identifier),
                "accounts_covered": self.covered,
                "accounts_open": self.still_open,
                "collateral": self.collateral,
                "elsewhere": self.elsewhere,
                "remaining": self.remaining,
                "largest_part": self.largest,
                "share_of_use": self.share,
                "bound": self.bound[self.cluster],
            }
        )


def plan_takedown(uses: Uses, *, max_collateral: int, max_share: float) -> Plans:
    """A plan for each cluster of `uses`.

    Identifiers that may be blocked: of a kind that can be, used by two members or more, with a collateral of at most
    `max_collateral`; a step that would lift the collateral of its plan above `max_share` of the cluster's members is left
    out. (What one member alone uses stops no more than closing that account does.)

    The greedy algorithm takes the identifier that stops most further members per cost as long as it costs less than
    closing them one by one, then drops what later steps made needless. Its cost is at most H(n) = 1 + 1/2 + ... + 1/n
    times the least (Chvatal 1979), n being the most members that one identifier stops; unless `max_share` binds, which
    voids that guarantee but not the bound certified for each cluster: dual prices that no plan can undercut. Where the
    two differ and at most 100,000 links are in play, the linear programme gives the best prices and another plan; with
    at most 200 links a gap that is left is closed by a search, which is exact.

    Steps are ordered by members newly stopped per cost. `largest` looks at identifiers of the cluster's own (`OWN_SHARE`).
    Not checked: whether an account has another way in (`share` tells how much it used this one); whether two identifiers
    hit the same outsiders (the collateral of a plan is the sum over its steps, so at most that many accounts are hit);
    whether an innocent account can be let back in.
    """
    pairs = Pairs.of(uses)
    count = len(uses.accused)
    size = np.bincount(uses.cluster, minlength=count)
    may = uses.blockable[pairs.identifier] & (pairs.inside >= 2) & (pairs.collateral <= max_collateral)
    may &= pairs.inside * STEP_COST >= pairs.cost
    chosen: list[int] = []
    cost = size * STEP_COST
    least = cost.copy()
    at = np.flatnonzero(may)
    runs = _runs(pairs.cluster[at])
    numbers = [int(pairs.cluster[at[start]]) for start, _ in runs]
    problems = [Cover.of(pairs, at[start:end]) for start, end in runs]
    found = covered(problems, [int(max_share * int(size[number]) + _SURE) for number in numbers])
    for (start, end), number, problem, (taken, price, bound) in zip(runs, numbers, problems, found, strict=True):
        alone = int(size[number]) - problem.members
        cost[number] = price + alone * STEP_COST
        least[number] = bound + alone * STEP_COST
        chosen += at[start:end][taken].tolist()
    return _follow(uses, pairs, np.array(chosen, np.int64), size, cost, least)


def _runs(of: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Where each run of equal values begins and ends."""
    edges = np.flatnonzero(np.diff(of)) + 1
    return list(zip([0, *edges.tolist()], [*edges.tolist(), len(of)], strict=True)) if len(of) else []


def _follow(
    uses: Uses,
    pairs: Pairs,
    chosen: NDArray[np.int64],
    size: NDArray[np.int64],
    cost: NDArray[np.int64],
    least: NDArray[np.int64],
) -> Plans:
    """What each step does, `chosen` being pairs in the order of cluster and step."""
    cluster = pairs.cluster[chosen]
    edges = np.flatnonzero(changes(cluster))
    step = np.arange(len(chosen)) - np.repeat(edges, np.diff(np.append(edges, len(chosen)))) + 1
    row = np.full(len(uses.cluster), len(chosen), np.int64)
    at, of = entries(pairs.start, chosen), np.repeat(np.arange(len(chosen)), pairs.inside[chosen])
    np.minimum.at(row, pairs.member[at], of)
    fresh = row[pairs.member[at]] == of
    through = np.bincount(of[fresh], weights=pairs.count[at[fresh]], minlength=len(chosen))
    every = np.bincount(of[fresh], weights=pairs.total[at[fresh]], minlength=len(chosen))
    covered = np.bincount(row, minlength=len(chosen) + 1)[: len(chosen)]
    still_open = np.bincount(row[uses.is_open], minlength=len(chosen) + 1)[: len(chosen)]
    total = np.cumsum(covered)
    before = np.append(0, total)[edges]
    remaining = size[cluster] - total + np.repeat(before, np.diff(np.append(edges, len(chosen))))
    stopped = np.append(step, 0)[row]
    holds = (uses.bits[pairs.identifier] > 0) & (pairs.inside >= 2)
    holds &= pairs.inside >= OWN_SHARE * uses.users[pairs.identifier]
    return Plans(
        cluster, step, pairs.identifier[chosen], covered, still_open, pairs.collateral[chosen],
        pairs.elsewhere[chosen], remaining,
        largest_parts(uses.cluster, pairs, holds, row, len(chosen), cluster), np.round(through / np.maximum(every, 1), 3),
        cost, least, stopped,
    )  # fmt: skip
