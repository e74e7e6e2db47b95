"""Whether the lengths that an Arrow file states can be true.

polars takes them at their word: where one is beyond all memory, the whole process ends without a sentence.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MOST = 1 << 36
"""Rows of a batch, and bytes that a packed buffer may state to become, at most."""

_MAGIC, _NEW = b"ARROW1", 0xFFFFFFFF
_DICTIONARY, _ROWS = 2, 3
_PAIR, _BLOCK, _END = struct.Struct("<qq"), struct.Struct("<qi4xq"), struct.Struct("<i6s")


@dataclass(frozen=True)
class _Table:
    """A table of a flatbuffer (Arrow's metadata are some): where it begins, and its fields by number."""

    held: bytes
    at: int

    def place(self, number: int) -> int | None:
        """Where a field stands; None if the table lacks it."""
        fields = self.at - _number("<i", self.held, self.at)
        entry = 4 + 2 * number
        if entry >= _number("<H", self.held, fields):
            return None
        offset = _number("<H", self.held, fields + entry)
        return self.at + offset if offset else None

    def number(self, number: int, form: str) -> int:
        """A field that is a number; 0 if the table lacks it."""
        place = self.place(number)
        return 0 if place is None else _number(form, self.held, place)

    def table(self, number: int) -> _Table:
        """A field that is a table. Raises ValueError if the table lacks it."""
        place = self.place(number)
        if place is None:
            raise ValueError
        return _Table(self.held, place + _number("<I", self.held, place))

    def rows(self, number: int, form: struct.Struct) -> Iterator[tuple[int, ...]]:
        """A field that is a list of numbers, some to a row."""
        place = self.place(number)
        if place is None:
            return
        start = place + _number("<I", self.held, place)
        for i in range(_number("<I", self.held, start)):
            yield form.unpack_from(self.held, start + 4 + i * form.size)


def _number(form: str, held: bytes, at: int) -> int:
    if at < 0:
        raise ValueError
    found: int = struct.unpack_from(form, held, at)[0]
    return found


def lengths_fit(path: Path) -> bool:
    """Whether every message of an Arrow file, in the file or the stream format, lies inside the file, every buffer inside
    its message, and whether no length is beyond MOST. Nothing else is looked at."""
    size = path.stat().st_size
    try:
        with path.open("rb") as raw:
            if raw.read(len(_MAGIC)) == _MAGIC:
                for at in _blocks(raw, size):
                    _message(raw, at, size)
                return True
            at = 0
            while at + 8 <= size and (end := _message(raw, at, size)):
                at = end
    except (struct.error, ValueError):
        return False
    return True


def _blocks(raw: BinaryIO, size: int) -> list[int]:
    """Where the messages with rows and dictionaries begin, by the end of a file in the file format."""
    raw.seek(max(size - _END.size, 0))
    length, magic = _END.unpack(raw.read(_END.size))
    if magic != _MAGIC or not 0 < length <= size - _END.size:
        raise ValueError
    raw.seek(size - _END.size - length)
    held = raw.read(length)
    footer = _Table(held, _number("<I", held, 0))
    return [block[0] for field in (2, 3) for block in footer.rows(field, _BLOCK)]


def _message(raw: BinaryIO, at: int, size: int) -> int:
    """Where the message that begins `at` ends; 0 for the mark of the end. Raises ValueError where a length does not fit."""
    if not 0 <= at <= size - 8:
        raise ValueError
    raw.seek(at)
    mark, length = struct.unpack("<Ii", raw.read(8))
    at += 8
    if mark != _NEW:  # as before 2019
        at, length = at - 4, mark
        raw.seek(at)
    if not 0 <= length <= size - at:
        raise ValueError
    held = raw.read(length)
    return at + length + _fits(_Table(held, _number("<I", held, 0)), raw, at + length, size) if length else 0


def _fits(message: _Table, raw: BinaryIO, at: int, size: int) -> int:
    """The bytes of a message's body, which begins `at`. Raises ValueError where a length cannot be true."""
    body, kind = message.number(3, "<q"), message.number(1, "<B")
    if not 0 <= body <= size - at:
        raise ValueError
    if kind not in (_DICTIONARY, _ROWS):
        return body
    batch = message.table(2) if kind == _ROWS else message.table(2).table(1)
    lengths = [batch.number(0, "<q"), *(n for node in batch.rows(1, _PAIR) for n in node)]
    if not all(0 <= n <= MOST for n in lengths):
        raise ValueError
    packed = batch.place(3) is not None
    for offset, length in batch.rows(2, _PAIR):
        if min(offset, length) < 0 or offset + length > body:
            raise ValueError
        if packed and length:
            raw.seek(at + offset)
            if not -1 <= struct.unpack("<q", raw.read(8))[0] <= MOST:
                raise ValueError
    return body
