"""Known shared infrastructure: which address ranges lie inside the ranges a source declares."""

from __future__ import annotations

import ipaddress

import numpy as np
import polars as pl
from numpy.typing import NDArray

_HALF = 64


def known_kinds(declared: pl.DataFrame, values: pl.Series) -> pl.Series:
    """For each address range in `values` the kind of the declared range that holds it, null where none does.

    declared: cidr and kind, as in schema.INPUT["ranges"]; values: canonical ranges as identifiers.py writes them. A range
    counts as held when its first address is. Where declared ranges overlap, the narrowest that holds it gives the kind.
    IPv6 is compared on the first 64 bits, so declared IPv6 ranges narrower than /64 count as their /64.
    """
    rows = declared.drop_nulls().unique().sort("cidr", "kind")
    nets = [(ipaddress.ip_network(c.strip(), strict=False), k) for c, k in rows.iter_rows() if _readable(c)]
    kinds = sorted({k for _, k in nets})
    found = np.full(len(values), -1, np.int64)
    version, start = _starts(values)
    for v in (4, 6):
        at = np.flatnonzero(version == v)
        mine = [(_bounds(net), kinds.index(k)) for net, k in nets if net.version == v]
        if len(at) and mine:
            found[at] = _narrowest(start[at], mine)
    return pl.Series("known", [None if i < 0 else kinds[i] for i in found.tolist()], dtype=pl.String)


def _readable(text: str) -> bool:
    try:
        ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return False
    return True


def _bounds(net: ipaddress.IPv4Network | ipaddress.IPv6Network) -> tuple[int, int]:
    low, high = int(net.network_address), int(net.broadcast_address)
    return (low, high) if net.version == 4 else (low >> _HALF, high >> _HALF)


def _starts(values: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Version and first address of each range: IPv4 as a number, IPv6 its first 64 bits."""
    text = values.str.split("/").list.first()
    six = text.str.contains(":").to_numpy().astype(bool)
    start = np.zeros(len(values), np.uint64)
    octets = text.filter(pl.Series(~six)).str.split(".").list.eval(pl.element().cast(pl.UInt64)).list.to_array(4)
    start[~six] = octets.to_numpy() @ np.array([1 << 24, 1 << 16, 1 << 8, 1], np.uint64) if octets.len() else 0
    start[six] = _first_half(text.filter(pl.Series(six)))
    return np.where(six, 6, 4), start


def _first_half(text: pl.Series) -> NDArray[np.uint64]:
    """The first 64 bits of IPv6 addresses; those written `a:b:c:d::`, as ranges are, without going value by value."""
    plain = text.str.contains(r"^([0-9a-f]{1,4}:){1,4}:$").to_numpy().astype(bool)
    out = np.zeros(len(text), np.uint64)
    groups = text.filter(pl.Series(plain)).str.strip_chars_end(":").str.split(":")
    for i in range(4):
        digits = groups.list.get(i, null_on_oob=True).fill_null("0").str.to_integer(base=16, dtype=pl.UInt64)
        out[plain] |= digits.to_numpy() << np.uint64(48 - 16 * i)
    out[~plain] = [int(ipaddress.IPv6Address(t)) >> _HALF for t in text.filter(pl.Series(~plain)).to_list()]
    return out


def _narrowest(start: NDArray[np.uint64], nets: list[tuple[tuple[int, int], int]]) -> NDArray[np.int64]:
    """Code of the narrowest range that holds each start, -1 for none: one look-up for each width that occurs."""
    found = np.full(len(start), -1, np.int64)
    by_width: dict[int, list[tuple[int, int]]] = {}
    for (low, high), kind in nets:
        by_width.setdefault(high - low, []).append((low, kind))
    for width in sorted(by_width):
        ranges = sorted(by_width[width])
        begins = np.array([r[0] for r in ranges], np.uint64)
        at = np.searchsorted(begins, start, "right") - 1
        inside = (at >= 0) & (found < 0)
        inside[inside] &= start[inside] - begins[at[inside]] <= np.uint64(width)
        found[inside] = np.array([r[1] for r in ranges])[at[inside]]
    return found
