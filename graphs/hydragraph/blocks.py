"""Rings that no pair shows: own cards and keys behind one wide pool of address ranges, but work that begins in waves.

Every member uses many ranges and shares some with everybody, so no pair is telling. Together they are: they use the same
pool, and they begin their bursts at the same moments. Both are asked for, because the customers of a proxy provider
share its pool too, and each keeps his own time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hydragraph.activity import Activity
from hydragraph.bipartite import BipartiteGraph
from hydragraph.grouping import in_small, modularity_parts
from hydragraph.joining import joined

BROAD = 3.0
"""An account is broad when it uses this many times the mean number of ranges."""

STEP_BITS = 4.0
"""Bits of Activity.keeps_step from which a broad account keeps step with its pool."""

ONE_RING = 8.0
"""z-score of Activity.in_step from which two parts are one block."""

SMALLEST_BLOCK = 5
"""Accounts of a block, at least."""

_WIDEST = 256
_ROUNDS = 8
_COMMON_WAVES = 2
_SMALLEST_PART = 3


def find_blocks(
    graph: BipartiteGraph, label: NDArray[np.int64], activity: Activity, large: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Blocks as further cores, beside those of `label` with more than `large` accounts.

    1. Broad accounts use at least 3 times the mean number of ranges and are in no core of more than `large` accounts.
    2. Pools are the parts of Leiden's partition of broad accounts and the ranges that 2 to 256 of them use.
    3. Who does not keep step with the rest of the pool (Activity.keeps_step of at least 4) leaves, until nobody does.
    4. Those left are parted by whom they have two waves in common with (Activity.common_waves), again by modularity;
       parts of any pool that begin their bursts in step (Activity.in_step of at least 8) are one.
    A block takes the small cores of its members whole, and has at least 5 accounts.
    Returns the labels, new cores numbered after the old ones, and the bits of keeping step, shape (accounts,), 0 outside
    blocks. Time O(links of broad accounts).
    Not checked: rings whose members keep no common time, and pools of ranges that 257 or more broad accounts use.
    """
    block, held = _in_waves(find_pools(graph, (label < 0) | in_small(label, large)), activity)
    found = np.unique(block[block >= 0])
    x, y = (found[i] for i in np.triu_indices(len(found), 1))
    together = activity.in_step(block, x, y) >= ONE_RING
    block = joined(block, x[together], y[together])
    size = np.bincount(block[block >= 0], minlength=1)
    block[(block >= 0) & (size[block] < SMALLEST_BLOCK)] = -1
    out = label.copy()
    number = int(label.max(initial=-1)) + 1
    for members in (np.flatnonzero(block == c) for c in np.unique(block[block >= 0]).tolist()):
        cores = np.unique(label[members][label[members] >= 0])
        out[np.isin(label, cores) & (out == label)] = number
        out[members] = number
        number += 1
    return out, np.where(block >= 0, held, 0.0)


def _in_waves(pool: NDArray[np.int64], activity: Activity) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Part of each account that keeps step with its pool, -1 for all others; the bits by which it does."""
    bits = np.zeros(len(pool))
    for _ in range(_ROUNDS):
        bits = activity.keeps_step(pool)
        leaves = (pool >= 0) & (bits < STEP_BITS)
        if not leaves.any():
            break
        pool = np.where(leaves, -1, pool)
    out = np.full(len(pool), -1, np.int64)
    a, b = activity.common_waves(pool, _COMMON_WAVES)
    account, code = np.unique(np.concatenate([a, b]), return_inverse=True)
    if len(account):
        part = modularity_parts(len(account), code[: len(a)], code[len(a) :])
        out[account] = np.where(np.bincount(part)[part] >= _SMALLEST_PART, part, -1)
    return out, bits


def find_pools(graph: BipartiteGraph, free: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Pool of each `free` broad account, -1 for all others; shape (accounts,)."""
    pool = np.full(graph.accounts.height, -1, np.int64)
    if "ip_range" not in graph.kinds:
        return pool
    account = graph.links["account"].to_numpy().astype(np.int64)
    identifier = graph.links["identifier"].to_numpy().astype(np.int64)
    of_kind = graph.kind_code[identifier] == graph.kinds.index("ip_range")
    account, identifier = account[of_kind], identifier[of_kind]
    held = np.bincount(account, minlength=len(free))
    broad = free & (held >= BROAD * held.sum() / max(np.count_nonzero(held), 1))
    keep = broad[account]
    account, identifier = account[keep], identifier[keep]
    users = np.bincount(identifier, minlength=graph.identifiers.height)[identifier]
    keep = (users > 1) & (users <= _WIDEST)
    account, identifier = account[keep], identifier[keep]
    if not len(account):
        return pool
    names, row = np.unique(account, return_inverse=True)
    ranges, column = np.unique(identifier, return_inverse=True)
    part = modularity_parts(len(names) + len(ranges), row, len(names) + column)[: len(names)]
    pool[names] = np.where(np.bincount(part)[part] >= SMALLEST_BLOCK, part, -1)
    return pool
