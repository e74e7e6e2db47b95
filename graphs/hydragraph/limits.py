"""Bursts that met a rate limit and gave way to it: where a hand-over to another account may begin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.activity import Activity
from hydragraph.links import TICKS
from hydragraph.runs import changes

GIVES_WAY_SLOTS = 2
"""An account gives way when each request it sends in so many slots after that of its first refusal is refused, too."""


@dataclass(frozen=True)
class Limits:
    """When bursts of requests began, and which of them met a limit and gave way. Times: hundredths of a second since 1970.

    account: code, begun: when the first request came, of each burst of Activity.begins; shape (bursts,), sorted by account,
    then time. burst: positions there of the bursts in which a request was answered 429 and whose account gave way;
    at: when the first such request came; shape (limits,), in the same order.
    """

    account: NDArray[np.int64]
    begun: NDArray[np.int64]
    burst: NDArray[np.int64]
    at: NDArray[np.int64]

    def of(self, wanted: NDArray[np.bool_]) -> Limits:
        """The bursts of the `wanted` accounts, shape (accounts of the graph,)."""
        kept = wanted[self.account]
        met = kept[self.burst]
        return Limits(self.account[kept], self.begun[kept], (np.cumsum(kept) - 1)[self.burst[met]], self.at[met])


def no_limits() -> Limits:
    """What a source without a status says."""
    none = np.zeros(0, np.int64)
    return Limits(none, none, none, none)


def read_limits(limits: pl.DataFrame, requests: pl.DataFrame, activity: Activity) -> Limits:
    """The limits of every account: `limits` and `requests` as links.read_links gives them, `activity` of these requests.

    Of a burst only the first refusal counts, and only if the account then gives way: in the two slots after it no request
    is answered in any other way than with 429. No bursts at all where nobody met a limit.
    Not checked: whether a request later in the slot of the refusal was answered.
    """
    if limits.is_empty():
        return no_limits()
    account, slot = activity.begins
    low = int(activity.slot.min())
    span = int(activity.slot.max()) - low + GIVES_WAY_SLOTS + 1
    row = activity.account * span + activity.slot - low
    begin = account * span + slot - low
    first = requests["first"].to_numpy().astype(np.int64)
    begun = slot * TICKS + first[np.searchsorted(row, begin)]

    who, when, number, since = (limits[c].to_numpy().astype(np.int64) for c in ("account", "slot", "requests", "first"))
    met = who * span + when - low
    answered = activity.requests.copy()
    answered[np.searchsorted(row, met)] -= number
    burst = np.searchsorted(begin, met, "right") - 1
    new = changes(burst)
    gave_way = np.ones(int(new.sum()), bool)
    for after in range(1, GIVES_WAY_SLOTS + 1):
        place = np.minimum(np.searchsorted(row, met[new] + after), len(row) - 1)
        gave_way &= (row[place] != met[new] + after) | (answered[place] == 0)
    at = when * TICKS + since
    return Limits(account, begun, burst[new][gave_way], at[new][gave_way])
