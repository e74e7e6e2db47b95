"""IP addresses and CIDR ranges as text -> canonical ranges ('203.0.113.0/24', '2001:db8::/56').

Plain IPv4 and IPv6 are read by column expressions, odd forms value by value; both ways give the same answer.
Nothing here depends on `ipaddress.is_private`, whose answers differ between versions of Python.
"""

from __future__ import annotations

import ipaddress
import re
from functools import cache

import polars as pl

from hydragraph.settings import Settings

UNREADABLE = "not an IP address or CIDR range"
LEADING_ZERO = "IPv4 address with leading zeros, which some programs read as octal: write it without them"
SEVERAL = "several addresses in one value: keep only the client's"
BAD_PREFIX = "CIDR prefix length is not a whole number within the address's length"
BAD_PORT = "port after the address is not a number up to 65535, or stands beside a CIDR prefix"

# Ranges that every network reuses or that no sender can have: (first address, leading bits). Two strangers on 10.0.0.5
# share nothing, so such an address is missing, not evidence. Documentation ranges stay: examples are written with them.
NOT_EVIDENCE_V4: tuple[tuple[int, int], ...] = (
    (0x00000000, 8),  # 0.0.0.0/8 unspecified, "this network"
    (0x0A000000, 8),  # 10.0.0.0/8 private
    (0x64400000, 10),  # 100.64.0.0/10 between carrier and customer: says nothing about who
    (0x7F000000, 8),  # 127.0.0.0/8 loopback
    (0xA9FE0000, 16),  # 169.254.0.0/16 link-local
    (0xAC100000, 12),  # 172.16.0.0/12 private
    (0xC0A80000, 16),  # 192.168.0.0/16 private
    (0xE0000000, 4),  # 224.0.0.0/4 multicast
    (0xFFFFFFFF, 32),  # broadcast
)
NOT_EVIDENCE_V6: tuple[tuple[int, int], ...] = (
    (0, 16),  # ::/16 unspecified, loopback and old embedded IPv4; mapped addresses are unwrapped before
    (0x0064FF9B0001 << 80, 48),  # 64:ff9b:1::/48 translation inside one network
    (0xFC << 120, 7),  # fc00::/7 unique local
    (0xFE80 << 112, 10),  # fe80::/10 link-local
    (0xFEC0 << 112, 10),  # fec0::/10 old site-local
    (0xFF << 120, 8),  # ff00::/8 multicast
)
# A range wider than these ("0.0.0.0/0", "2000::/3") holds a good part of everybody: missing as well.
WIDEST_V4, WIDEST_V6 = 8, 16

# IPv4 inside IPv6 by its leading 96 bits: ::ffff:0:0/96 (mapped) and 64:ff9b::/96 (NAT64). 6to4 and Teredo stay IPv6.
_HOLDS_V4 = (0xFFFF, 0x0064FF9B << 64)

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_PLAIN_V4 = rf"^(?:{_OCTET}\.){{3}}{_OCTET}(?:/(?:3[0-2]|[12]?[0-9])|:[0-5]?[0-9]{{1,4}})?$"
_PARTS_V4 = r"^([0-9]+)\.([0-9]+)\.([0-9]+)\.([0-9]+)(?:/([0-9]+))?"
_GROUP = "[0-9a-fA-F]{1,4}"
# Only addresses in use (2000::/3), which none of the ranges above touches: no test of them is needed on this way.
_PLAIN_V6 = rf"^[23][0-9a-fA-F]{{3}}(?:(?::{_GROUP}){{7}}|(?::{_GROUP}){{0,3}}::(?:{_GROUP}(?::{_GROUP}){{0,2}})?)$"
_DOTTED = re.compile(r"[0-9]+(?:\.[0-9]+){3}")
_BRACKETED = re.compile(r"\[([^\[\]]*:[^\[\]]*)\](?::(.*))?", re.DOTALL)
_SEPARATOR = re.compile(r"[,;\s]")

Found = tuple[str | None, str | None]
"""(range, reason) of one address."""


def read_ranges(values: pl.Series, settings: Settings) -> pl.DataFrame:
    """The range of each address or CIDR range: columns range and reason, same length and order, at most one set.

    range: IPv4 cut to `settings.ipv4_prefix` bits, IPv6 to `settings.ipv6_prefix`; a CIDR range wider than that stays
    itself. reason: why the text cannot be read, never the text. Both null: nothing there, or an address that every
    network reuses (NOT_EVIDENCE_V4, NOT_EVIDENCE_V6, or wider than WIDEST_V4, WIDEST_V6).

    Read as meant: surrounding blanks; '1.2.3.4:443' and '[2001:db8::1]:443' (port dropped); 'fe80::1%eth0' (zone
    dropped); IPv4 inside mapped and NAT64 addresses. '2001:db8::1:443' has no port: it is a whole IPv6 address.
    Refused: '010.0.0.1' (decimal or octal?), several addresses in one value, a port beside a prefix.
    Not checked: whether anybody was assigned the address.
    """
    text = values.cast(pl.String).str.strip_chars()
    nothing = pl.repeat(None, len(text), dtype=pl.String, eager=True)
    ranges, left = nothing, (text != "").arg_true()
    for plain, read in _PLAIN if settings.ipv6_prefix <= 64 else _PLAIN[:1]:
        part = text.gather(left)
        fits = part.str.contains(plain)
        ranges = _placed(ranges, left.filter(fits), read(part.filter(fits), settings))
        left = left.filter(~fits)
    found = _read_each(text.gather(left), settings)
    ranges = _placed(ranges, left, pl.Series([r for r, _ in found], dtype=pl.String))
    reasons = _placed(nothing, left, pl.Series([why for _, why in found], dtype=pl.String))
    return pl.DataFrame({"range": ranges, "reason": reasons})


def _placed(into: pl.Series, places: pl.Series, values: pl.Series) -> pl.Series:
    return into.clone().scatter(places, values) if len(places) else into


def _read_v4(text: pl.Series, settings: Settings) -> pl.Series:
    """Ranges of texts that match _PLAIN_V4."""
    parts = text.alias("text").to_frame().select(pl.col("text").str.extract_groups(_PARTS_V4)).unnest("text")
    octets = [pl.col(str(i + 1)).cast(pl.UInt8).cast(pl.UInt32) for i in range(4)]
    frame = parts.select(number=_joined(octets, 256), bits=pl.col("5").cast(pl.UInt8).fill_null(32))
    number, bits = pl.col("number"), pl.col("bits")
    inside = [(bits >= n) & (number // 2 ** (32 - n) == low >> (32 - n)) for low, n in NOT_EVIDENCE_V4]
    width = pl.min_horizontal(bits, pl.lit(settings.ipv4_prefix, pl.UInt8))
    # Wider than /8 is missing anyway, and the size of an eighth still fits 32 bits.
    size = pl.lit(pl.Series([2 ** (32 - max(n, WIDEST_V4)) for n in range(33)], dtype=pl.UInt32)).gather(width)
    frame = frame.select(number // size * size, width=width, evidence=(bits >= WIDEST_V4) & ~pl.any_horizontal(inside))
    octets = [(number // 256 ** (3 - i) % 256).cast(pl.UInt8) for i in range(4)]
    return frame.select(pl.when("evidence").then(pl.format("{}.{}.{}.{}/{}", *octets, "width"))).to_series()


def _read_v6(text: pl.Series, settings: Settings) -> pl.Series:
    """Ranges of texts that match _PLAIN_V6, by their first 64 bits; the prefix has at most 64."""
    head = (
        text.alias("text").to_frame().select(pl.col("text").str.replace("::.*$", "").str.splitn(":", 5)).unnest("text")
    )
    groups = [pl.col(f"field_{i}").str.to_integer(base=16, dtype=pl.UInt64).fill_null(0) for i in range(4)]
    size = 2 ** (64 - settings.ipv6_prefix)
    network = pl.col("number") // size * size
    words = [pl.lit(_hexadecimal()).gather((network // 65536 ** (3 - i) % 65536).cast(pl.UInt32)) for i in range(4)]
    # At least four groups follow that are zero: the longest run, which is the one '::' stands for.
    short = pl.concat_str(words, separator=":").str.replace("(?::0)+$", "")
    return head.select(number=_joined(groups, 65536)).select(short + f"::/{settings.ipv6_prefix}").to_series()


_PLAIN = ((_PLAIN_V4, _read_v4), (_PLAIN_V6, _read_v6))


def _joined(digits: list[pl.Expr], base: int) -> pl.Expr:
    """The number with these digits, the highest first."""
    number = digits[0]
    for digit in digits[1:]:
        number = number * base + digit
    return number


@cache
def _hexadecimal() -> pl.Series:
    return pl.Series([f"{i:x}" for i in range(65536)])


def _read_each(values: pl.Series, settings: Settings) -> list[Found]:
    """What each text is, in whatever form. A range is written once and remembered: writing is what costs."""
    written: dict[tuple[int, int, int], str] = {}
    found: list[Found] = []
    for text in values:
        try:
            version, number, prefix = _parse(text)
        except ValueError as error:
            found.append((None, str(error)))
            continue
        length, widest, cut, nowhere = (
            (32, WIDEST_V4, settings.ipv4_prefix, NOT_EVIDENCE_V4)
            if version == 4
            else (128, WIDEST_V6, settings.ipv6_prefix, NOT_EVIDENCE_V6)
        )
        if prefix < widest or any(prefix >= bits and (number ^ low) >> (length - bits) == 0 for low, bits in nowhere):
            found.append((None, None))
            continue
        bits = min(prefix, cut)
        key = (version, number >> (length - bits) << (length - bits), bits)
        if key not in written:
            kind = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
            written[key] = f"{kind(key[1])}/{bits}"
        found.append((written[key], None))
    return found


def _parse(text: str) -> tuple[int, int, int]:
    """(version, number, prefix) of one address or range. Raises ValueError with a reason that holds no value."""
    if _SEPARATOR.search(text):
        raise ValueError(SEVERAL)
    address, slash, prefix = text.partition("/")
    port: str | None = None
    if bracketed := _BRACKETED.fullmatch(address):
        address, port = bracketed.groups()
    elif address.count(":") == 1:
        address, _, port = address.partition(":")
    if ":" in address:
        version, length = 6, 128
        try:
            number = int(ipaddress.IPv6Address(address.partition("%")[0]))
        except ValueError:
            raise ValueError(UNREADABLE) from None
    else:
        version, length = 4, 32
        number = _parse_v4(address)
    if port is not None and (slash or not _is_number(port, 65535)):
        raise ValueError(BAD_PORT)
    if slash and not _is_number(prefix, length):
        raise ValueError(BAD_PREFIX)
    bits = int(prefix) if slash else length
    if version == 6 and bits >= 96 and number >> 32 in _HOLDS_V4:
        return 4, number & 0xFFFFFFFF, bits - 96
    return version, number, bits


def _parse_v4(address: str) -> int:
    if not _DOTTED.fullmatch(address):
        raise ValueError(UNREADABLE)
    octets = address.split(".")
    if any(len(o) > 3 for o in octets) or any(int(o) > 255 for o in octets):
        raise ValueError(UNREADABLE)
    if any(len(o) > 1 and o[0] == "0" for o in octets):
        raise ValueError(LEADING_ZERO)
    return int.from_bytes(int(o) for o in octets)


def _is_number(text: str, most: int) -> bool:
    """Whether `text` is plain decimal digits, at most five of them, and no more than `most`."""
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= most
