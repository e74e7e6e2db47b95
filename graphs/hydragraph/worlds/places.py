"""Addresses: where /24s and /56s come from, sites (one address each) and pools of sites."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from hydragraph.worlds.draft import Ints, Rng

_NOT_PUBLIC = frozenset({0, 10, 100, 127, 169, 172, 192, 198, 203})
_V6_REGISTRIES = np.array([0x2400, 0x2401, 0x2405, 0x2409, 0x2600, 0x2601, 0x2603, 0x2804, 0x2A00, 0x2A01, 0x2A02])

MANY = -1
"""Host of a site that is a whole range: every burst gets some address of it."""


class AddressSpace:
    """Hands out distinct IPv4 /24s. All draw from the same few /16s: octets say nothing."""

    def __init__(self, rng: Rng, expected: int) -> None:
        firsts = np.array([o for o in range(1, 224) if o not in _NOT_PUBLIC])
        blocks = (firsts[:, None] * 256 + np.arange(256)[None, :]).ravel()
        self._blocks = rng.permutation(blocks)
        self._opened = 0
        self._free = np.zeros(0, np.int64)
        self._rng = rng
        providers = 12 + int(np.sqrt(expected) / 6)
        self._providers = rng.choice(_V6_REGISTRIES, providers) * 65536 + rng.integers(256, 65536, providers)
        self._open(2 * expected)

    def _open(self, count: int) -> None:
        """Open enough /16s for `count` more /24s and mix them with those that are free already."""
        blocks = -(-count // 256)
        new = self._blocks[self._opened : self._opened + blocks]
        self._opened += blocks
        fresh = (new[:, None] * 256 + np.arange(256)[None, :]).ravel()
        self._free = self._rng.permutation(np.concatenate([self._free, fresh]))

    def take(self, count: int) -> Ints:
        """`count` /24s that were not handed out before, as 24-bit numbers, in no order."""
        if count > len(self._free):
            self._open(count)
        taken, self._free = self._free[:count], self._free[count:]
        return taken

    def homes6(self, count: int) -> Ints:
        """`count` IPv6 /56s as 56-bit numbers, spread over a few dozen providers, large and small."""
        which = (len(self._providers) * self._rng.random(count) ** 2).astype(np.int64)
        return self._providers[which] * 2**24 + self._rng.integers(0, 2**24, count)


class Places:
    """Sites and pools. A pool is a list of sites; a home is a pool of one. A pool may hand over to another one."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Any]] = {
            k: [] for k in ("net", "six", "host", "first", "size", "rotates", "next", "at")
        }
        self._members: list[Ints] = []
        self.sites = 0
        self.pools = 0
        self._members_count = 0

    def add_sites(self, net: Ints, host: Ints | int, six: bool = False) -> Ints:
        """One site for each range in `net`: a fixed host (0..255), or MANY. Returns their codes."""
        self._parts["net"].append(np.asarray(net, np.int64))
        self._parts["six"].append(np.full(len(net), six))
        self._parts["host"].append(np.broadcast_to(np.asarray(host, np.int64), (len(net),)))
        self.sites += len(net)
        return np.arange(self.sites - len(net), self.sites)

    def _pools(self, first: Ints, size: Ints, rotates: bool) -> Ints:
        count = len(first)
        for name, value in (("first", first), ("size", size), ("rotates", rotates), ("next", -1), ("at", np.inf)):
            self._parts[name].append(np.array(np.broadcast_to(value, (count,))))
        self.pools += count
        return np.arange(self.pools - count, self.pools)

    def single(self, sites: Ints) -> Ints:
        """A pool of one site for each of `sites`. Returns the pools' codes."""
        self._members.append(sites)
        first = np.arange(self._members_count, self._members_count + len(sites))
        self._members_count += len(sites)
        return self._pools(first, np.ones(len(sites), np.int64), False)

    def pool(self, sites: Ints, *, rotates: bool = False) -> int:
        """One pool of all `sites`; rotates: another site for every request instead of every burst."""
        self._members.append(sites)
        first = np.array([self._members_count])
        self._members_count += len(sites)
        return int(self._pools(first, np.array([len(sites)]), rotates)[0])

    def hand_over(self, pools: Ints, to: Ints, at: np.ndarray[Any, Any]) -> None:
        """From day `at` on, whoever uses `pools` is found at `to` instead."""
        following, when = self.column("next"), self.column("at")
        following[pools] = to
        when[pools] = at

    def column(self, name: str) -> np.ndarray[Any, Any]:
        """One column of the sites or pools, whole and writeable."""
        parts = self._parts[name]
        if len(parts) != 1:
            parts[:] = [np.concatenate(parts) if parts else np.zeros(0, np.int64)]
        if not parts[0].flags.writeable:
            parts[0] = parts[0].copy()
        whole: np.ndarray[Any, Any] = parts[0]
        return whole

    @property
    def members(self) -> Ints:
        """Sites of all pools, one pool after the other."""
        if len(self._members) != 1:
            self._members[:] = [np.concatenate(self._members) if self._members else np.zeros(0, np.int64)]
        return self._members[0]


def hosts(rng: Rng, count: int) -> Ints:
    """Last octets of single addresses."""
    return rng.integers(1, 255, count)


_DECIMAL = pl.Series([str(i) for i in range(256)])
_HEX = pl.Series([f"{i:x}" for i in range(65536)])
_HEX4 = pl.Series([f"{i:04x}" for i in range(65536)])


def text4(net: Ints, host: Ints) -> pl.Series:
    """IPv4 addresses as text from 24-bit range numbers and last octets."""
    parts = [_DECIMAL.gather(pl.Series(octet)) for octet in (net >> 16, net >> 8 & 255, net & 255, host)]
    return _joined(parts, ".")


def text6(net: Ints, low: Ints) -> pl.Series:
    """IPv6 addresses as text from 56-bit range numbers and 72-bit rests given as 63 random bits `low`."""
    groups = [net >> 40, net >> 24 & 0xFFFF, net >> 8 & 0xFFFF, (net & 0xFF) << 8 | low & 3]
    groups += [low >> 2 & 0xFFFF | 1, low >> 18 & 0xFFFF | 1, low >> 34 & 0xFFFF | 1, low >> 47 & 0xFFFF | 1]
    return _joined([_HEX.gather(pl.Series(g)) for g in groups], ":")


def opaque(prefix: str, numbers: np.ndarray[Any, Any]) -> pl.Series:
    """Ids as text: a prefix and 16 hexadecimal digits of 64-bit numbers."""
    numbers = numbers.astype(np.uint64)
    parts = [
        _HEX4.gather(pl.Series((numbers >> np.uint64(s) & np.uint64(0xFFFF)).astype(np.uint32)))
        for s in (48, 32, 16, 0)
    ]
    frame = pl.DataFrame([p.alias(str(i)) for i, p in enumerate(parts)])
    return frame.select(pl.concat_str(pl.lit(prefix), *frame.columns)).to_series()


def _joined(parts: list[pl.Series], separator: str) -> pl.Series:
    frame = pl.DataFrame([p.alias(str(i)) for i, p in enumerate(parts)])
    return frame.select(pl.concat_str(frame.columns, separator=separator)).to_series()
