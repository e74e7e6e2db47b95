"""A world while it is being planned: integer-coded rows, collected part by part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hydragraph.worlds.places import Places
    from hydragraph.worlds.shared import Shared

Ints: TypeAlias = "NDArray[np.int64]"
Floats: TypeAlias = "NDArray[np.float64]"
Rng: TypeAlias = np.random.Generator

OPEN, BANNED, VOLUNTARY, UNPAID = 0, 1, 2, 3
REASONS = (None, "banned", "voluntary", "unpaid")
CHANNELS = ("direct", "cloud-north", "cloud-harbour", "cloud-summit")
CARD_KINDS = ("card", "virtual_card", "prepaid", "invoice")

GRID = 2.0
"""Value of `flat` that means: at regular steps, as a timer does."""
ONE_OFF = -2
"""Template of a request that has a hash of its own."""

ACCOUNT_DEFAULTS: Mapping[str, float] = {
    "created": 0.0,  # days since the world began; negative: before
    "closed": np.inf,
    "reason": OPEN,
    "org": -1,
    "channel": 0,
    "volume": 1.0,  # requests, relative
    "phase": 14.0,  # hour of day, UTC, in the middle of the person's activity
    "flat": 0.05,  # share of bursts at any hour; GRID: a timer
    "weekend": 0.5,  # activity on a weekend day relative to a weekday
    "burst": 4.0,  # requests per burst
    "start": 0.0,  # days: nothing happens before
    "end": np.inf,
    "label": 0,
    "cluster": -1,
    "group": -1,
    "kind": -1,
    "tactic": -1,
    "parent": -1,
}
WHOLE = frozenset({"reason", "org", "channel", "label", "cluster", "group", "kind", "tactic", "parent"})

HABITS: Mapping[str, float] = {"account": 0, "pool": 0, "work": 1.0, "rest": 1.0}
KEYS: Mapping[str, float] = {"account": 0, "key": 0, "weight": 1.0, "created": np.nan, "revoked": np.inf}
CARDS: Mapping[str, float] = {"account": 0, "card": 0, "kind": 0, "added": np.nan, "removed": np.inf}
TEMPLATES: Mapping[str, float] = {"account": 0, "template": -1, "weight": 1.0}
LINKS: Mapping[str, float] = {"account": 0, "kind": 0, "value": 0}
LINK_KINDS = ("device", "tls", "phone")


class Rows:
    """A growing table: columns with defaults, parts appended as arrays or scalars."""

    def __init__(self, defaults: Mapping[str, float], whole: frozenset[str]) -> None:
        self._defaults = defaults
        self._whole = whole
        self._parts: dict[str, list[Any]] = {name: [] for name in defaults}
        self.count = 0

    def add(self, count: int, **values: Any) -> None:
        """Append `count` rows; columns not named get their default."""
        unknown = values.keys() - self._defaults.keys()
        if unknown:
            raise TypeError(f"no such column: {', '.join(sorted(unknown))}")
        for name, default in self._defaults.items():
            dtype = np.int64 if name in self._whole else np.float64
            column = np.broadcast_to(np.asarray(values.get(name, default), dtype=dtype), (count,))
            self._parts[name].append(column)
        self.count += count

    def column(self, name: str) -> NDArray[Any]:
        """One column, whole. The array may be written to: it is the table's own."""
        parts = self._parts[name]
        if len(parts) != 1 or not parts[0].flags.writeable:
            dtype = np.int64 if name in self._whole else np.float64
            parts[:] = [np.concatenate(parts) if parts else np.zeros(0, dtype)]
        whole: NDArray[Any] = parts[0]
        return whole


@dataclass(frozen=True)
class Ring:
    """The accounts of one ring in the order of their slots, and how its work is handed out.

    fail_over: share of handed bursts that are handed on because of a rate limit.
    """

    accounts: Ints
    slot: Ints
    start: Floats
    end: Floats
    phase: float
    flat: float
    sync: float
    jitter: float
    fail_over: float
    burst: float
    volume: float


@dataclass
class Draft:
    """Everything planned so far. Times are days since the world began."""

    places: Places
    shared: Shared
    accounts: Rows = field(default_factory=lambda: Rows(ACCOUNT_DEFAULTS, WHOLE))
    habits: Rows = field(default_factory=lambda: Rows(HABITS, frozenset({"account", "pool"})))
    keys: Rows = field(default_factory=lambda: Rows(KEYS, frozenset({"account", "key"})))
    cards: Rows = field(default_factory=lambda: Rows(CARDS, frozenset({"account", "card", "kind"})))
    templates: Rows = field(default_factory=lambda: Rows(TEMPLATES, frozenset({"account", "template"})))
    links: Rows = field(default_factory=lambda: Rows(LINKS, frozenset({"account", "kind", "value"})))
    rings: list[Ring] = field(default_factory=list)
    offices: list[Ints] = field(default_factory=list)
    counters: Counter[str] = field(default_factory=Counter)

    def fresh(self, what: str, count: int) -> Ints:
        """`count` new codes of identifiers of this sort (card, key, template, ...)."""
        first = self.counters[what]
        self.counters[what] += count
        return np.arange(first, first + count)

    def add_accounts(self, count: int, **values: Any) -> Ints:
        """`count` new accounts; returns their codes."""
        first = self.accounts.count
        self.accounts.add(count, **values)
        return np.arange(first, first + count)


def sizes(rng: Rng, total: int, median: float, sigma: float, least: int, most: int) -> Ints:
    """Log-normal group sizes, bounded, that add up to exactly `total`.

    What is left over for the last group goes to the one before it when it is less than `least`, so that one group may
    be a little larger than `most`; only a `total` below `least` gives a smaller group.
    """
    if total <= 0:
        return np.zeros(0, np.int64)
    out = np.zeros(0, np.int64)
    while out.sum() < total:
        more = max(4, int(total / median) // 2)
        drawn = np.round(median * np.exp(sigma * rng.standard_normal(more)))
        out = np.concatenate([out, np.clip(drawn, least, most).astype(np.int64)])
    ends = np.cumsum(out)
    keep = int(np.searchsorted(ends, total)) + 1
    out = out[:keep]
    out[-1] -= ends[keep - 1] - total
    if keep > 1 and out[-1] < least:
        out[-2] += out[-1]
        out = out[:-1]
    return out


def skewed(rng: Rng, count: int, choices: int, power: float) -> Ints:
    """`count` picks among `choices`, the first ones more popular: floor(choices * u ** power)."""
    return np.minimum((choices * rng.random(count) ** power).astype(np.int64), choices - 1)
