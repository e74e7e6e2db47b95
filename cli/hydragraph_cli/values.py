"""Values on their way out: made safe for terminals, and fit for JSON."""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Any

C0 = "\x00-\x1f"
BEYOND_C0 = (
    "\x7f-\x9f"  # DEL and C1: \x9b alone starts an escape sequence in some terminals
    "\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # bidi controls, invisible characters
    "\ud800-\udfff\U000e0000-\U000e007f"  # bytes that were no UTF-8; tags
)
_CONTROL = re.compile(f"[{C0}{BEYOND_C0}]")


def clean(text: str) -> str:
    r"""`text` with every control, bidi and invisible character written out: ESC becomes the four characters \x1b."""
    return _CONTROL.sub(_written_out, text)


def _written_out(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: times as ISO 8601 in UTC, numbers that are none as null."""
    if isinstance(value, dt.datetime):
        return iso(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def iso(value: dt.datetime) -> str:
    """ISO 8601 in UTC, as `2026-02-01T00:00:00Z`; fractions of a second only where there are some."""
    moment = value if value.tzinfo is None else value.astimezone(dt.UTC)
    return moment.replace(tzinfo=None).isoformat() + "Z"
