"""Weighted set cover of one cluster: greedy, a bound from linear programming duality, and the exact plan."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hydragraph.takedown.uses import STEP_COST, Pairs, spread

_EXACT_LINKS = 100_000
"""Links of a cluster up to which the integer programme is tried."""

_LIMITED_LINKS = 2_000
"""The same where the limit on all collateral binds, which makes it far harder."""

_EXACT_NODES = 50
"""Nodes of the search tree at most; a limit of time would make the plan depend on the machine."""

_SURE = 1e-6


@dataclass(frozen=True)
class Cover:
    """One cluster's set cover. members: those in any set; set s holds member[start[s]:start[s + 1]], coded from 0;
    member m lies in the sets holder[first[m]:first[m + 1]]. cost, collateral: of each set."""

    members: int
    member: NDArray[np.int64]
    start: NDArray[np.int64]
    holder: NDArray[np.int64]
    first: NDArray[np.int64]
    cost: NDArray[np.int64]
    collateral: NDArray[np.int64]

    @classmethod
    def of(cls, pairs: Pairs, at: NDArray[np.int64]) -> Cover:
        names, member = np.unique(pairs.member[spread(pairs.start, at)], return_inverse=True)
        start = np.append(0, np.cumsum(pairs.inside[at]))
        holder = np.repeat(np.arange(len(at)), pairs.inside[at])[np.argsort(member, kind="stable")]
        first = np.append(0, np.cumsum(np.bincount(member, minlength=len(names))))
        return cls(len(names), member, start, holder, first, pairs.cost[at], pairs.collateral[at])

    def of_set(self, s: int) -> NDArray[np.int64]:
        return self.member[self.start[s] : self.start[s + 1]]

    def price(self, taken: list[int]) -> int:
        """Cost of these sets and of closing one by one what they leave."""
        held = np.zeros(self.members, bool)
        held[self.member[spread(self.start, np.array(taken, np.int64))]] = True
        return int(self.cost[taken].sum()) + STEP_COST * int((~held).sum())


def covered(problem: Cover, limit: int) -> tuple[NDArray[np.int64], int, int]:
    """The sets to take in their order, the cost with the members they leave, and a cost that no cover undercuts.

    limit: largest collateral of all sets taken.
    """
    taken = _without_needless(problem, _greedy(problem, limit))
    bound = _certified(problem, taken)
    if problem.price(taken) > bound and len(problem.member) <= _EXACT_LINKS:
        taken, bound = _exact(problem, taken, bound, limit)
    return _in_order(problem, taken), problem.price(taken), bound


def _greedy(problem: Cover, limit: int, among: list[int] | None = None) -> list[int]:
    """Sets in the order in which they cover most per cost; with `among` all of these, in that order."""
    gain = np.diff(problem.start)
    cost, collateral = problem.cost.tolist(), problem.collateral.tolist()
    of_sets = range(len(cost)) if among is None else among
    waiting = [(-int(gain[s]) / cost[s], collateral[s], s, int(gain[s])) for s in of_sets]
    heapq.heapify(waiting)
    open_ = np.ones(problem.members, bool)
    taken, left = [], limit
    while waiting:
        _, hits, s, counted = heapq.heappop(waiting)
        now = int(gain[s])
        if now == 0:
            continue
        if now < counted:
            heapq.heappush(waiting, (-now / cost[s], hits, s, now))
            continue
        if among is None and (hits > left or (hits and now * STEP_COST <= cost[s])):
            continue
        taken.append(s)
        left -= hits
        fresh = problem.of_set(s)
        fresh = fresh[open_[fresh]]
        open_[fresh] = False
        np.subtract.at(gain, problem.holder[spread(problem.first, fresh)], 1)
    return taken


def _without_needless(problem: Cover, taken: list[int]) -> list[int]:
    """The sets without those whose members others cover as well, or hit more than closing their members would cost."""
    held = np.bincount(problem.member[spread(problem.start, np.array(taken, np.int64))], minlength=problem.members)
    kept = []
    for s in sorted(taken, key=lambda s: (-int(problem.cost[s]), -s)):
        members = problem.of_set(s)
        own = int((held[members] == 1).sum())
        if own == 0 or (problem.collateral[s] and own * STEP_COST <= problem.cost[s]):
            held[members] -= 1
        else:
            kept.append(s)
    return kept


def _in_order(problem: Cover, taken: list[int]) -> NDArray[np.int64]:
    return np.array(_greedy(problem, 0, taken), np.int64)


def _certified(problem: Cover, taken: list[int]) -> int:
    """A cost that no plan can undercut.

    Any prices y of members, at most STEP_COST each, whose sum over every set is at most its cost, add up to no more
    than the cost of any cover (weak duality). Prices begin as the greedy's cost per member, scaled down until they fit,
    and are then lifted member by member as far as every set allows.
    """
    price = np.full(problem.members, float(STEP_COST))
    open_ = np.ones(problem.members, bool)
    for s in _in_order(problem, taken).tolist():
        fresh = problem.of_set(s)
        fresh = fresh[open_[fresh]]
        price[fresh] = problem.cost[s] / len(fresh)
        open_[fresh] = False
    price = np.minimum(price, STEP_COST)
    of_link = np.repeat(np.arange(len(problem.cost)), np.diff(problem.start))
    ratio = np.bincount(of_link, weights=price[problem.member], minlength=len(problem.cost)) / problem.cost
    # a member's price need only fit the sets that hold it
    worst = np.maximum.reduceat(ratio[problem.holder], problem.first[:-1])
    price = price / np.maximum(worst, 1.0)
    if np.ceil(price.sum() - _SURE) < problem.price(taken):
        price = _lifted(problem, price)
    return int(np.ceil(price.sum() - _SURE))


def _lifted(problem: Cover, price: NDArray[np.float64]) -> NDArray[np.float64]:
    """Prices raised, members in the fewest sets first, as far as their sets allow."""
    of_link = np.repeat(np.arange(len(problem.cost)), np.diff(problem.start))
    used = np.bincount(of_link, weights=price[problem.member], minlength=len(problem.cost))
    slack = (problem.cost - used).tolist()
    first, holder, prices = problem.first.tolist(), problem.holder.tolist(), price.tolist()
    for m in np.argsort(np.diff(problem.first), kind="stable").tolist():
        sets = holder[first[m] : first[m + 1]]
        more = min(STEP_COST - prices[m], *(slack[s] for s in sets))
        if more > 0:
            prices[m] += more
            for s in sets:
                slack[s] -= more
    return np.array(prices)


def _exact(problem: Cover, taken: list[int], bound: int, limit: int) -> tuple[list[int], int]:
    """The plan and the bound that HiGHS reaches, if they are better than what is there.

    A plan found without the limit on all collateral is good where it keeps it anyway; with the limit the programme is
    far harder, so it is tried on few links only.
    """
    found, lower = _solved(problem, None)
    bound = max(bound, lower)
    if found is not None and int(problem.collateral[found].sum()) > limit:
        found = None
        if len(problem.member) <= _LIMITED_LINKS:
            found, lower = _solved(problem, limit)
            bound = max(bound, lower)
    if found is not None and problem.price(found) < problem.price(taken):
        taken = found
    return taken, bound


def _solved(problem: Cover, limit: int | None) -> tuple[list[int] | None, int]:
    """The cover HiGHS finds, none if it finds none, and its lower bound; `limit`: on the collateral of all sets."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array, eye_array, hstack

    sets = len(problem.cost)
    cover = csr_array((np.ones(len(problem.holder)), problem.holder, problem.first), shape=(problem.members, sets))
    rows = [LinearConstraint(hstack([cover, eye_array(problem.members)]), lb=1)]
    if limit is not None:
        rows.append(LinearConstraint(np.append(problem.collateral, np.zeros(problem.members))[None, :], ub=limit))
    found = milp(
        np.append(problem.cost, np.full(problem.members, STEP_COST)),
        integrality=np.append(np.ones(sets), np.zeros(problem.members)),
        bounds=Bounds(0, 1),
        constraints=rows,
        options={"node_limit": _EXACT_NODES},
    )
    lower = found.mip_dual_bound
    sets_found = None if found.x is None else np.flatnonzero(found.x[:sets] > 0.5).tolist()
    if sets_found is not None:
        sets_found = _without_needless(problem, sets_found)
    return sets_found, 0 if lower is None or not np.isfinite(lower) else int(np.ceil(lower - _SURE))
