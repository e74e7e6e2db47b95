"""Pseudonyms: keyed hashes in place of identifiers, the same for the same value, and the key that makes them.

The pseudonym of a value is `hg` and the first 32 hexadecimal digits of HMAC-SHA256(key, "hydragraph" NUL "1" NUL kind NUL
value), text as UTF-8: equal values of one kind have one pseudonym, values of two kinds never show that they are equal. Who
has no key cannot try values; who has it can, see `revealing`.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from hydragraph.errors import CaseExists, InputRefused
from hydragraph.unfinished import saying_what_to_do

KEY_BYTES = 32
ACCOUNT = "account"
"""The kind under which account ids are hashed."""
SCHEME = "HMAC-SHA256, 128 bits, by kind"

_SHAPE = re.compile(r"hg[0-9a-f]{32}")
_HEAD = b"hydragraph\x001\x00"
_FROM_ENVIRONMENT = "env:"


@dataclass(frozen=True)
class Key:
    """A key for pseudonyms. id: 16 hexadecimal digits that say which key it is and nothing about it."""

    secret: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """HMAC-SHA256 of a fixed text, its first 16 hexadecimal digits."""
        return hmac.digest(self.secret, b"hydragraph key id", "sha256").hex()[:16]


def read_key(place: str | Path | Key) -> Key:
    """The key in a file, or, of `env:NAME`, in an environment variable: 64 hexadecimal digits.

    Raises InputRefused, without repeating anything of it, for what is no key, and for a file that others than its owner
    can read or change.
    """
    if isinstance(place, Key):
        return place
    if str(place).startswith(_FROM_ENVIRONMENT):
        name = str(place).removeprefix(_FROM_ENVIRONMENT)
        text = os.environ.get(name)
        if not text:
            shown = "named" if re.fullmatch("[0-9a-fA-F]{32,}", name.strip()) else name  # the key itself, by mistake
            raise InputRefused(f"key: the environment variable {shown} is not set")
        return _parsed(text)
    try:
        with Path(place).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(4 * KEY_BYTES).decode("ascii", "replace")
    except OSError as error:
        raise InputRefused(f"key file: cannot be opened ({error.strerror}); `hydragraph keygen` makes one") from None
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise InputRefused("key file: others than its owner may read or change it; chmod 600 it, or make a new one")
    return _parsed(text)


def _parsed(text: str) -> Key:
    if not re.fullmatch(f"[0-9a-fA-F]{{{2 * KEY_BYTES}}}", text.strip()):
        raise InputRefused(f"key: not {2 * KEY_BYTES} hexadecimal digits; `hydragraph keygen` makes one")
    secret = bytes.fromhex(text.strip())
    if len(set(secret)) < KEY_BYTES // 4:
        raise InputRefused("key: not random; `hydragraph keygen` makes one")
    return Key(secret)


def make_key(path: str | Path) -> Key:
    """A new random key in a new file that only its owner can read. Raises CaseExists for a file that is there already, and
    NotWritable where there is no room or no permission."""
    key = Key(secrets.token_bytes(KEY_BYTES))
    with saying_what_to_do(Path(path)):
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise CaseExists("a file of this name is there already; a key is never replaced") from None
        try:
            with os.fdopen(file, "w", encoding="ascii") as out:
                out.write(key.secret.hex() + "\n")
                out.flush()
                os.fsync(out.fileno())
        except BaseException:
            Path(path).unlink(missing_ok=True)
            raise
    return key


def pseudonym(key: Key, kind: str, value: str) -> str:
    """The pseudonym of one value of a kind."""
    return "hg" + hmac.digest(key.secret, _of(kind) + value.encode("utf-8", "surrogatepass"), "sha256").hex()[:32]


def pseudonyms(key: Key, kind: str, values: pl.Series) -> pl.Series:
    """The pseudonym of each value of a kind. String, same length and order; null stays null. Meant for unique values."""
    head, secret, digest = _of(kind), key.secret, hmac.digest
    hashed = [None if v is None else "hg" + digest(secret, head + v.encode(), "sha256").hex()[:32] for v in values]
    return pl.Series(values.name, hashed, dtype=pl.String)


def _of(kind: str) -> bytes:
    return _HEAD + kind.encode("utf-8") + b"\0"


def is_pseudonym(value: str) -> bool:
    """Whether a text has the form of a pseudonym."""
    return _SHAPE.fullmatch(value) is not None
