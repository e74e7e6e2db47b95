"""Who goes on with another account after a rate limit: rings, and a few innocent people and firms.

What is drawn here comes from a random stream of its own, when all requests are drawn: the others stay as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hydragraph.worlds.draft import ONE_OFF, Draft, Ints, Rng
from hydragraph.worlds.innocent import KIND

MOVES_ON = {"person": 0.15, "build": 0.15}
"""Share of the innocent groups of a kind that go on with the next of their accounts when one meets a limit."""

_OFTEN = 0.35
_SECOND = 1_000_000
_DAY = 86_400 * _SECOND


def hand_overs(
    d: Draft, rng: Rng, *, time: Ints, burst: Any, key: Any, template: Any, owner: Ints, after: Ints
) -> tuple[Any, Ints]:
    """Which requests are refused before another account goes on, and the times of all requests.

    time (microseconds since the world began), burst, key, template: of each request, in the order of time. owner:
    account of each burst; after: the burst whose work it takes over, -1: none.

    Rings: of the handed bursts a share (Ring.fail_over) is refused from the last request before the successor's first one
    on. Innocents: of the bursts of the groups that move on, a share is refused at the last request, and the next burst of
    another account of the group begins within minutes of it, earlier than it would have.
    """
    refused = np.zeros(len(time), bool)
    share = np.zeros(d.accounts.count)
    for ring in d.rings:
        share[ring.accounts] = ring.fail_over
    later = np.flatnonzero(after >= 0)
    later = later[rng.random(len(later)) < share[owner[later]]]
    requests = _Requests(burst, np.union1d(later, after[later]))
    for new, old in zip(later.tolist(), after[later].tolist(), strict=True):
        mine, theirs = requests.of(old), requests.of(new)
        if len(mine) and len(theirs) and owner[old] != owner[new] and time[mine[0]] < time[theirs[0]]:
            refused[mine[np.searchsorted(time[mine], time[theirs[0]]) - 1 :]] = True

    moved = time.copy()
    member = np.isin(d.accounts.column("group"), _moving(d, rng))
    bursts = np.flatnonzero(member[owner])
    requests = _Requests(burst, bursts)
    bursts = np.array([b for b in bursts.tolist() if len(requests.of(b))], np.int64)
    begin = np.array([time[requests.of(b)[0]] for b in bursts.tolist()], np.int64)
    bursts = bursts[np.lexsort((begin, d.accounts.column("group")[owner[bursts]]))]
    group = d.accounts.column("group")[owner[bursts]]
    luck, pause = rng.random(len(bursts)), 5 + rng.exponential(60, len(bursts))
    made = _made(d, member)
    taken: set[int] = set()
    for i, old in enumerate(bursts.tolist()):
        if luck[i] >= _OFTEN or old in taken:
            continue
        rest = bursts[i + 1 : np.searchsorted(group, group[i], "right")].tolist()
        others = [b for b in rest if owner[b] != owner[old] and b not in taken]
        if not others:
            continue
        last, rows = requests.of(old)[-1], requests.of(others[0])
        earlier = moved[rows] - moved[rows[0]] + moved[last] + int(pause[i] * _SECOND)
        opened = max(made[int(owner[others[0]]), k] for k in (-1, *key[rows].tolist()))
        if opened <= earlier[0] < moved[rows[0]] and ONE_OFF not in template[rows]:
            refused[last], moved[rows] = True, earlier
            taken |= {old, others[0]}
    return refused, moved


class _Requests:
    """The requests of some bursts, by burst."""

    def __init__(self, burst: Any, wanted: Ints) -> None:
        inside = np.zeros(int(burst.max(initial=-1)) + 2, bool)
        inside[wanted[wanted < len(inside)]] = True
        rows = np.flatnonzero(inside[burst])
        self._rows = rows[np.argsort(burst[rows], kind="stable")]
        self._burst = burst[self._rows]

    def of(self, burst: int) -> Ints:
        """Positions of its requests, in the order of time."""
        first, stop = np.searchsorted(self._burst, burst, "left"), np.searchsorted(self._burst, burst, "right")
        return self._rows[first:stop]


def _moving(d: Draft, rng: Rng) -> Ints:
    """The innocent groups that go on with another account."""
    group, kind = d.accounts.column("group"), d.accounts.column("kind")
    found = []
    for name, share in MOVES_ON.items():
        of_kind = np.unique(group[kind == KIND[name]])
        found.append(of_kind[rng.random(len(of_kind)) < share])
    return np.concatenate(found)


def _made(d: Draft, member: Any) -> dict[tuple[int, int], int]:
    """From when on these accounts (key -1) and their keys can be used, in microseconds."""
    account, key, created = (d.keys.column(c) for c in ("account", "key", "created"))
    made: dict[tuple[int, int], int] = {}
    for who in np.flatnonzero(member).tolist():
        made[who, -1] = int(max(d.accounts.column("start")[who], d.accounts.column("created")[who]) * _DAY) + _SECOND
    for row in np.flatnonzero(member[account]).tolist():
        pair = int(account[row]), int(key[row])
        made[pair] = min(int(created[row] * _DAY) + _SECOND, made.get(pair, 2**62))
    return made
