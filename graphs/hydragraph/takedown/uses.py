"""Which members of which clusters use which identifiers, integer coded, and what blocking one costs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hydragraph.runs import changes, spread

STEP_COST = 1
"""Cost of one step: blocking an identifier, or closing one account by itself."""

ACCOUNT_COST = 1
"""Cost of hitting one account outside the cluster. An identifier that would hit as many as it stops is not blocked."""

OWN_SHARE = 0.5
"""An identifier holds a cluster together when two members use it, this share of all its users are members, and sharing
it tells something (more than 0 bits). Through what strangers mostly use, everybody hangs together with everybody."""


@dataclass(frozen=True)
class Uses:
    """What the members of some clusters use. Members and identifiers are coded from 0, in canonical order.

    cluster: of each member, not negative; is_open: whether it is not closed; shape (members,).
    member, identifier: of each link, shape (links,), each pair once. count: how often the member used it;
    total: how often it used any identifier of that kind; shape (links,).
    users: accounts of the whole source that use an identifier; coordinated: those of them in clusters assessed
        coordinated; bits: what sharing it is worth; blockable: whether its kind can be blocked; shape (identifiers,).
    accused: whether a cluster is itself assessed coordinated, shape (clusters,).
    """

    cluster: NDArray[np.int64]
    member: NDArray[np.int64]
    identifier: NDArray[np.int64]
    count: NDArray[np.int64]
    total: NDArray[np.int64]
    users: NDArray[np.int64]
    coordinated: NDArray[np.int64]
    bits: NDArray[np.float64]
    blockable: NDArray[np.bool_]
    accused: NDArray[np.bool_]
    is_open: NDArray[np.bool_]


@dataclass(frozen=True)
class Pairs:
    """Each cluster with each identifier its members use, by cluster and identifier; `of_link`: the pair of each link
    in the order of `member`, the members of pair p being member[start[p]:start[p + 1]]."""

    cluster: NDArray[np.int64]
    identifier: NDArray[np.int64]
    inside: NDArray[np.int64]
    collateral: NDArray[np.int64]
    elsewhere: NDArray[np.int64]
    member: NDArray[np.int64]
    count: NDArray[np.int64]
    total: NDArray[np.int64]
    of_link: NDArray[np.int64]
    start: NDArray[np.int64]

    @cached_property
    def cost(self) -> NDArray[np.int64]:
        return STEP_COST + ACCOUNT_COST * self.collateral

    @classmethod
    def of(cls, uses: Uses) -> Pairs:
        of = uses.cluster[uses.member]
        order = np.lexsort((uses.member, uses.identifier, of))
        of, identifier, member = of[order], uses.identifier[order], uses.member[order]
        new = changes(of, identifier)
        first = np.flatnonzero(new)
        start = np.append(first, len(of))
        inside = np.diff(start)
        cluster, identifier = of[first], identifier[first]
        elsewhere = uses.coordinated[identifier] - np.where(uses.accused[cluster], inside, 0)
        collateral = uses.users[identifier] - inside - elsewhere
        count, total = uses.count[order], uses.total[order]
        return cls(cluster, identifier, inside, collateral, elsewhere, member, count, total, np.cumsum(new) - 1, start)


def entries(start: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of all entries of these rows of a compressed matrix."""
    return spread(start[rows], start[rows + 1] - start[rows])
