"""Every knob of an analysis: default, unit, bounds and meaning, declared once.

No polars here: the command line reads the defaults at start-up.
"""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from hydragraph.errors import InputRefused
from hydragraph.toml_files import read_toml

ORIGINS = ("default", "file", "command line")
"""Where the value of a knob can come from; each holds over those before it."""


def _knob(default: float, low: float, high: float, meaning: str) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "meaning": meaning})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The knobs of one run. Frozen; written whole into the manifest. Raises InputRefused for a value out of bounds."""

    seed: int = _knob(0, 0, 2**32 - 1, "start of every random number; the same seed and input give the same bytes")
    ipv4_prefix: int = _knob(24, 8, 32, "leading bits of an IPv4 address that make its range")
    ipv6_prefix: int = _knob(56, 16, 128, "leading bits of an IPv6 address that make its range")
    max_rejects: float = _knob(0.01, 0.0, 1.0, "largest share of a table's rows that may be unreadable")
    max_collateral: int = _knob(
        10, 0, 10**9, "an identifier that more accounts outside the cluster use is in no takedown plan"
    )
    max_collateral_share: float = _knob(
        0.1, 0.0, 1.0, "accounts outside that a takedown plan may hit in all, as a share of the cluster's members"
    )

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            whole = isinstance(f.default, int)
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                raise InputRefused(f"setting {f.name}: {'a whole number' if whole else 'a number'} is needed")
            low, high = f.metadata["low"], f.metadata["high"]
            if not low <= value <= high:
                raise InputRefused(f"setting {f.name}: must lie between {low} and {high}")

    def to_dict(self) -> dict[str, Any]:
        """All knobs as plain values, for the manifest."""
        return asdict(self)

    def with_(self, **changes: Any) -> Settings:
        """A copy with some knobs changed; None leaves a knob as it is."""
        known = {f.name for f in fields(self)}
        unknown = sorted(set(changes) - known)
        if unknown:
            raise InputRefused(f"unknown setting {unknown[0]!r}; known are {', '.join(sorted(known))}")
        return replace(self, **{k: v for k, v in changes.items() if v is not None})


def read_settings(path: str | Path) -> Settings:
    """Settings from a TOML file of `name = value` lines. Raises InputRefused for an unknown name or a bad value."""
    return Settings().with_(**_lines(path))


def trace_settings(path: str | Path | None = None, **given: Any) -> tuple[Settings, dict[str, str]]:
    """Settings from a TOML file and from values given by hand, and where the value of each knob came from, see ORIGINS.

    What is given holds over the file, and the file over the default. A value given as None is not given. Raises InputRefused
    as `read_settings`.
    """
    lines = {} if path is None else _lines(path)
    by_hand = {name: value for name, value in given.items() if value is not None}
    settings = Settings().with_(**lines).with_(**by_hand)
    default, file, hand = ORIGINS
    origin = {f.name: hand if f.name in by_hand else file if f.name in lines else default for f in fields(Settings)}
    return settings, origin


def settings_template() -> str:
    """A TOML file with every knob: what it means, its bounds and, as a comment, its default. Reads back as Settings()."""
    parts = ["# Settings of hydragraph. Take the # from the front of a line to change a value.\n"]
    for f in fields(Settings):
        meaning = f"{f.metadata['meaning'][:1].upper()}{f.metadata['meaning'][1:]}."
        bounds = f"From {f.metadata['low']} to {f.metadata['high']}."
        words = textwrap.wrap(f"{meaning} {bounds}", 100)
        parts.append("".join(f"# {line}\n" for line in words) + f"# {f.name} = {f.default}\n")
    return "\n".join(parts)


def _lines(path: str | Path) -> dict[str, Any]:
    return read_toml(path, "settings file")
