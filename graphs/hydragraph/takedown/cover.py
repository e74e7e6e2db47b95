"""Weighted set cover of one cluster: greedy, a bound from linear programming duality, and the exact plan."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hydragraph.takedown.uses import STEP_COST, Pairs, entries

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_PRICED_LINKS = 100_000
"""Links of a cluster up to which the linear programme is solved for the best prices."""

_SIMPLEX_STEPS = 20_000
"""Steps of the simplex method at most; a limit of time would make the plan depend on the machine."""

_LINKS_TOGETHER = 4_000
"""Links of the linear programmes that are solved as one for their bounds."""

_SEARCHED_LINKS = 200
"""Links up to which a gap that is left is closed by a search for the best plan."""

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
        names, member = np.unique(pairs.member[entries(pairs.start, at)], return_inverse=True)
        start = np.append(0, np.cumsum(pairs.inside[at]))
        holder = np.repeat(np.arange(len(at)), pairs.inside[at])[np.argsort(member, kind="stable")]
        first = np.append(0, np.cumsum(np.bincount(member, minlength=len(names))))
        return cls(len(names), member, start, holder, first, pairs.cost[at], pairs.collateral[at])

    def of_set(self, s: int) -> NDArray[np.int64]:
        return self.member[self.start[s] : self.start[s + 1]]

    def price(self, taken: list[int]) -> int:
        """Cost of these sets and of closing one by one what they leave."""
        held = np.zeros(self.members, bool)
        held[self.member[entries(self.start, np.array(taken, np.int64))]] = True
        return int(self.cost[taken].sum()) + STEP_COST * int((~held).sum())


def covered(problems: Sequence[Cover], limits: Sequence[int]) -> list[tuple[NDArray[np.int64], int, int]]:
    """Of each problem the sets to take in their order, the cost with the members they leave, and a cost that no cover
    undercuts.

    limits: largest collateral of all sets taken, of each problem.
    """
    plans = [_without_needless(one, _greedy(one, limit)) for one, limit in zip(problems, limits, strict=True)]
    bounds = [_certified(one, taken) for one, taken in zip(problems, plans, strict=True)]
    prices = [one.price(taken) for one, taken in zip(problems, plans, strict=True)]
    unsure = [i for i, one in enumerate(problems) if prices[i] > bounds[i] and len(one.member) <= _PRICED_LINKS]
    for some in _together(problems, unsure):
        for i, lower in zip(some, _least([problems[i] for i in some]), strict=True):
            bounds[i] = max(bounds[i], lower)
    for i in unsure:
        if prices[i] > bounds[i]:
            plans[i], bounds[i] = _improved(problems[i], plans[i], bounds[i], limits[i])
    return [
        (_in_order(one, taken), one.price(taken), bound)
        for one, taken, bound in zip(problems, plans, bounds, strict=True)
    ]


def _together(problems: Sequence[Cover], which: Sequence[int]) -> list[list[int]]:
    """`which` in runs of few links: one call of HiGHS costs more than its work on a small problem."""
    runs: list[list[int]] = []
    room = 0
    for i in which:
        links = len(problems[i].member)
        if links > room:
            runs.append([])
            room = _LINKS_TOGETHER
        runs[-1].append(i)
        room -= links
    return runs


def _least(problems: Sequence[Cover]) -> list[int]:
    """The bound that the linear programme gives for each problem, solved as one: its least value is one number, in
    whatever company, while the shares that reach it need not be. 0 where it is not solved."""
    sets, members = (np.cumsum([0, *of]) for of in ([len(one.cost) for one in problems], [o.members for o in problems]))
    holder = np.concatenate([one.holder + before for one, before in zip(problems, sets.tolist(), strict=False)])
    first = np.append(0, np.cumsum(np.concatenate([np.diff(one.first) for one in problems])))
    cost = np.concatenate([one.cost for one in problems])
    found = _programme(cost, holder, first)
    if found.status != 0:
        return [0] * len(problems)
    spent, closed = cost * found.x[: sets[-1]], STEP_COST * found.x[sets[-1] :]
    least = np.add.reduceat(spent, sets[:-1]) + np.add.reduceat(closed, members[:-1])
    bounds: list[int] = np.ceil(least - _SURE).astype(np.int64).tolist()
    return bounds


def _greedy(problem: Cover, limit: int, among: list[int] | None = None, begin: Sequence[int] = ()) -> list[int]:
    """Sets in the order in which they cover most per cost; with `among` all of these, in that order.

    begin: sets that are taken already, before the others.
    """
    gain = np.diff(problem.start)
    cost, collateral = problem.cost.tolist(), problem.collateral.tolist()
    of_sets = range(len(cost)) if among is None else among
    waiting = [(-int(gain[s]) / cost[s], collateral[s], s, int(gain[s])) for s in of_sets]
    heapq.heapify(waiting)
    open_ = np.ones(problem.members, bool)
    taken, left = list(begin), limit - int(problem.collateral[list(begin)].sum())
    fresh = np.unique(problem.member[entries(problem.start, np.array(taken, np.int64))])
    open_[fresh] = False
    np.subtract.at(gain, problem.holder[entries(problem.first, fresh)], 1)
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
        np.subtract.at(gain, problem.holder[entries(problem.first, fresh)], 1)
    return taken


def _without_needless(problem: Cover, taken: list[int]) -> list[int]:
    """The sets without those whose members others cover as well, or hit more than closing their members would cost."""
    held = np.bincount(problem.member[entries(problem.start, np.array(taken, np.int64))], minlength=problem.members)
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


def _improved(problem: Cover, taken: list[int], bound: int, limit: int) -> tuple[list[int], int]:
    """The plan and the bound that HiGHS reaches, if they are better than what is there.

    First the linear programme: its value is a bound, and the sets it takes by more than half begin another plan, which
    is the best one where they are taken whole. What is searched for then keeps the limit on all collateral.
    """
    share, lower = _solved(problem, None)
    bound = max(bound, lower)
    begun = np.flatnonzero(share > 0.5).tolist()
    for found in (begun, _greedy(problem, limit, begin=begun)):
        taken = _cheaper(problem, taken, _without_needless(problem, found), limit)
    if problem.price(taken) > bound and len(problem.member) <= _SEARCHED_LINKS:
        share, lower = _solved(problem, limit)
        bound = max(bound, lower)
        taken = _cheaper(problem, taken, _without_needless(problem, np.flatnonzero(share > 0.5).tolist()), limit)
    return taken, bound


def _cheaper(problem: Cover, taken: list[int], other: list[int], limit: int) -> list[int]:
    fits = int(problem.collateral[other].sum()) <= limit
    return other if fits and problem.price(other) < problem.price(taken) else taken


def _solved(problem: Cover, limit: int | None) -> tuple[NDArray[np.float64], int]:
    """How much of each set is taken, and the lower bound: of whole sets under `limit`, or of shares without it."""
    sets, members = len(problem.cost), problem.members
    if limit is None:
        found = _programme(problem.cost, problem.holder, problem.first)
        lower = found.fun if found.status == 0 else None
    else:
        from scipy.optimize import Bounds, LinearConstraint, milp

        hits = LinearConstraint(np.append(problem.collateral, np.zeros(members))[None, :], ub=limit)
        whole = np.append(np.ones(sets), np.zeros(members))
        rows, cost = _rows(sets, problem.holder, problem.first), np.append(problem.cost, np.full(members, STEP_COST))
        kept = [LinearConstraint(rows, lb=1), hits]
        found = milp(cost, integrality=whole, bounds=Bounds(0, 1), constraints=kept)
        lower = found.mip_dual_bound
    taken = np.zeros(sets) if found.x is None else found.x[:sets]
    return taken, 0 if lower is None or not np.isfinite(lower) else int(np.ceil(lower - _SURE))


def _rows(sets: int, holder: NDArray[np.int64], first: NDArray[np.int64]) -> csr_array:
    """A row a member: the sets that hold it, and a column of its own for closing it by itself."""
    from scipy.sparse import csr_array

    members = len(first) - 1
    column = np.insert(holder, first[1:], sets + np.arange(members))
    return csr_array((np.ones(len(column)), column, first + np.arange(members + 1)), shape=(members, sets + members))


def _programme(cost: NDArray[np.int64], holder: NDArray[np.int64], first: NDArray[np.int64]) -> Any:
    """The linear programme of a cover, by the dual simplex method: shares of the sets, then of closing each member."""
    from scipy.optimize import linprog

    members = len(first) - 1
    prices = np.append(cost, np.full(members, STEP_COST))
    rows, steps = -_rows(len(cost), holder, first), {"maxiter": _SIMPLEX_STEPS}
    return linprog(prices, A_ub=rows, b_ub=-np.ones(members), method="highs-ds", options=steps)
