"""Values -> words for a reader: hidden characters made visible, numbers, times and durations."""

from __future__ import annotations

import math
import re
from datetime import datetime

UNKNOWN = "–"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def visible(text: str, limit: int = 200) -> str:
    """`text` with every character that cannot be seen written out as ⟨U+XXXX⟩.

    Control, format, bidirectional and unassigned characters and all spaces but the plain one are written out, so that
    no id can hide a part of itself or turn the line around it. Longer than `limit` characters: cut, and said so.
    """
    length = len(text)
    if length > limit:
        text = text[:limit]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else f"⟨U+{ord(c):04X}⟩" for c in text)
    if length > limit:
        text += f"… ({length:,} characters)"
    return text or "⟨empty⟩"


def prose(sentences: str | None) -> str:
    """Sentences for a paragraph: as `visible`, and a number and its % stay on one line."""
    return re.sub(r"(?<=\d) %", "\u00a0%", visible(sentences, limit=2000)) if sentences else ""


def gist(sentences: str | None, limit: int = 150) -> str:
    """The first sentences of a paragraph, as many as fit into `limit` characters, at least one."""
    if not sentences:
        return ""
    end = sentences.rfind(". ", 0, limit) if len(sentences) > limit else -1
    if end < 0 and len(sentences) > limit:
        end = sentences.find(". ")
    return sentences if end < 0 else sentences[: end + 1]


def count(value: float | None) -> str:
    """A whole number with thousands separated: 12,345; from ten million on shortened: 16.4 M."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    for size, unit in ((1e12, "T"), (1e9, "bn"), (1e7, "M")):
        if abs(value) >= size:
            return f"{value / min(size, 1e6 if unit == 'M' else size):,.1f} {unit}"
    return f"{value:,.0f}"


def number(value: float | None) -> str:
    """A decimal number with three significant digits and no exponent between 0.001 and a billion."""
    if value is None or math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    size = abs(value)
    if size >= 1000 or value == int(value):
        return f"{value:,.0f}" if size < 1e9 else _power(value)
    return f"{value:.3g}" if size >= 1e-3 else _power(value)


def bits(value: float | None) -> str:
    """Evidence with one decimal."""
    return UNKNOWN if value is None or math.isnan(value) else f"{value:,.1f}"


def probability(value: float | None) -> str:
    """A p-value; None is a figure that is no test."""
    if value is None or math.isnan(value):
        return "not a test"
    if value == 0:
        return "< 10⁻³⁰⁰"
    return f"{value:.2g}" if value >= 1e-3 else _power(value)


def score(value: float | None) -> str:
    """A score between 0 and 1 with two decimals; never rounded up to 1 or down to 0."""
    if value is None or math.isnan(value):
        return UNKNOWN
    shown = f"{value:.2f}"
    if shown == "1.00" and value < 1:
        return "> 0.99"
    if shown == "0.00" and value > 0:
        return "< 0.01"
    return shown


def chance(value: float | None) -> str:
    """An expected number of clusters: two significant digits, "< 0.01" below that."""
    if value is None or math.isnan(value):
        return UNKNOWN
    if 0 < value < 0.01:
        return "< 0.01"
    return f"{value:.0f}" if value >= 10 or value == 0 else f"{value:.2g}"


def minute(value: datetime | None) -> str:
    """A time to the minute, UTC: 2026-02-01 13:05."""
    return UNKNOWN if value is None else value.strftime("%Y-%m-%d %H:%M")


def day(value: datetime | None) -> str:
    """A date, UTC: 2026-02-01."""
    return UNKNOWN if value is None else value.strftime("%Y-%m-%d")


def duration(seconds: float | None) -> str:
    """A duration in its two largest units: 2 d 3 h."""
    if seconds is None or math.isnan(seconds):
        return UNKNOWN
    left, sign = round(abs(seconds)), "-" if seconds <= -0.5 else ""
    parts = []
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        if left >= size:
            parts.append(f"{left // size:,} {unit}")
            left %= size
        elif parts:
            break
    return sign + " ".join(parts[:2]) if parts else "0 s"


def size(value: float | None) -> str:
    """A file size in kB, MB or GB."""
    if value is None:
        return UNKNOWN
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= step:
            return f"{value / step:,.1f} {unit}"
    return f"{value:,.0f} B"


def plural(amount: int, one: str, many: str | None = None) -> str:
    """An amount with its noun: 1 account, 2 accounts."""
    return f"{count(amount)} {one if amount == 1 else many or one + 's'}"


def _power(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    power = "10" + str(int(exponent)).translate(_SUPERSCRIPT)
    return power if mantissa == "1.0" else f"{mantissa.removesuffix('.0')} × {power}"
