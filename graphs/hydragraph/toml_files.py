"""TOML files that people write: settings, mapping, blanks of a statement."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from hydragraph.errors import InputRefused

LONGEST = 1 << 20
"""Bytes of such a file, at most."""

_DEEP_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){100}""", re.ASCII)


def read_toml(path: str | Path, what: str) -> dict[str, Any]:
    """The content of a TOML file. what: as it is called in messages.

    Raises InputRefused for a file that cannot be opened, is larger than LONGEST, nested too deeply, or no TOML; never with a
    word of the file.
    """
    try:
        with Path(path).open("rb") as file:
            raw = file.read(LONGEST + 1)
    except OSError as error:
        raise InputRefused(f"{what}: cannot be opened ({error.strerror})") from None
    if len(raw) > LONGEST:
        raise InputRefused(f"{what}: larger than {LONGEST >> 20} MiB; is this the right file?")
    try:
        text = raw.decode("utf-8-sig")
        if _DEEP_KEY.search(text):  # the parser takes hours for one of a hundred thousand parts
            raise InputRefused(f"{what}: nested too deeply")
        return tomllib.loads(text)
    except RecursionError:
        raise InputRefused(f"{what}: nested too deeply") from None
    except UnicodeDecodeError:
        raise InputRefused(f"{what}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        # the rest of its message may quote the file
        place = re.search(r"line \d+, column \d+", str(error))
        raise InputRefused(f"{what}: not TOML: see {place[0] if place else 'its end'}") from None
