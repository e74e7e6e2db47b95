"""Who works right before and after whom: the place of an account in the order in which a cluster hands out its work."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hydragraph.activity import Activity
from hydragraph.runs import changes

NEIGHBOURS = 2
"""Turns before and after its own that make an account's place."""

WAVE = 2
"""A slot in which more accounts of a cluster begin a burst is a wave: everybody at once, and nobody's turn."""

EDGES = (-0.5, 0.5, 1.5, 3.0)
"""Likeness of two places, in bits, at which its levels part."""

LEVELS = len(EDGES) + 1

_CHUNK = 300_000

Ints = NDArray[np.int64]


def same_place(activity: Activity, label: Ints, a: Ints, b: Ints) -> tuple[Ints, Ints]:
    """How alike the places of closed accounts a and later accounts b of the same cluster are.

    label: number of each account's cluster, -1: none. a, b: shape (pairs,). A cluster's turns are the beginnings of its
    members' bursts in the order of time, without waves. With s the number of pairs of a turn of a and a turn of b that
    have the same account one turn before, one after, two before or two after, and t the same number if b's neighbours,
    of those that a could have had, were spread evenly over the members at work when a took its last turn,

        likeness = log2((s + 1) / (t + 1))

    Returns the pairs for which this is known (t > 0), and its level there: 0 to 4, cut at `EDGES`.
    """
    from scipy.sparse import csr_array

    account, slot = _turns(activity, label)
    n, low = len(label), int(slot.min(initial=0))
    works = np.bincount(account, minlength=n) > 0
    both = np.flatnonzero(works[a] & works[b])
    a, b = a[both], b[both]
    span = int(slot.max(initial=0)) - low + 2
    first, last = np.full(n, span - 1), np.zeros(n, np.int64)
    np.minimum.at(first, account, slot - low)
    np.maximum.at(last, account, slot - low)
    working = np.flatnonzero(works)
    began, left = (np.sort(label[working] * span + time[working]) for time in (first, last))
    when = label[a] * span + last[a]
    present = np.maximum(np.searchsorted(began, when, "right") - np.searchsorted(left, when, "left"), 1)
    same, usual = np.zeros(len(a)), np.zeros(len(a))
    for step in range(1, NEIGHBOURS + 1):
        one, other = account[:-step], account[step:]
        apart = (label[one] == label[other]) & (one != other)
        for x, y in ((one[apart], other[apart]), (other[apart], one[apart])):
            matrix = csr_array((np.ones(len(x)), (x, y)), shape=(n, n))
            for start in range(0, len(a), _CHUNK):
                part = slice(start, start + _CHUNK)
                same[part] += np.asarray(matrix[a[part]].multiply(matrix[b[part]]).sum(axis=1)).ravel()
            met = np.sort(x * span + first[y])
            older = np.searchsorted(met, b * span + last[a], "right") - np.searchsorted(met, b * span, "left")
            usual += np.bincount(x, minlength=n)[a] * older / present
    at = np.flatnonzero(usual > 0)
    likeness = np.log2((same[at] + 1) / (usual[at] + 1)).round(6)
    return both[at], np.searchsorted(EDGES, likeness)


def _turns(activity: Activity, label: Ints) -> tuple[Ints, Ints]:
    """Account and slot of every turn, cluster by cluster in the order of time."""
    account, slot = activity.begins
    inside = label[account] >= 0
    account, slot = account[inside], slot[inside]
    # a cluster and a slot as one number; begins are sorted by account
    low = int(slot.min(initial=0))
    order = np.argsort(label[account] * (int(slot.max(initial=0)) - low + 1) + slot - low, kind="stable")
    account, slot = account[order], slot[order]
    new = np.flatnonzero(changes(label[account], slot))
    crowd = np.diff(np.append(new, len(account)))
    turn = np.repeat(crowd, crowd) <= WAVE
    return account[turn], slot[turn]
