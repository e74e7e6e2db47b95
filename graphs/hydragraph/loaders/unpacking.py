"""How large packed text becomes, before anything else looks at it: a small file must not fill memory or last for days."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import BinaryIO

from hydragraph.errors import InputRefused
from hydragraph.loaders.files import File
from hydragraph.loaders.lines import LONGEST_LINE, too_long

HARMLESS = 1 << 28
"""Bytes that a packed file may become in any case."""

MOST_GZ, MOST_ZST = 200, 2_000
"""How many times its size a packed file may become at most, beyond HARMLESS. Tables of real accounts become 5 to 60 times as
large. Of zst only an upper bound is known, which is higher where a writer made small blocks."""

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BLOCK = 1 << 17  # no block of zst becomes larger
_ZLIB = (b"x\x01", b"x\x9c", b"x\xda")
_AT_ONCE, _PIECE = 1 << 20, 1 << 16


def refuse_bomb(file: File) -> None:
    """Raise InputRefused for packed text that becomes too large, holds too long a line, or is packed in a way that only
    polars would notice. What is damaged is left for those who read it."""
    size = file.path.stat().st_size
    with file.path.open("rb") as raw:
        magic = raw.read(4)
    if magic[:2] in _ZLIB:
        raise InputRefused(f"{file.name}: packed with zlib; unpack it, or pack it as .gz or .zst")
    if magic[:2] == _GZIP and size * 1_032 > min(HARMLESS, LONGEST_LINE):  # deflate makes no more of a byte
        _gz(file, max(HARMLESS, MOST_GZ * size))
    elif magic == _ZSTD and _zst(file.path) > max(HARMLESS, MOST_ZST * size):
        raise _refusal(file, MOST_ZST)


def refuse_long_line(file: File, eol: str) -> None:
    """Raise InputRefused for text that holds a line longer than LONGEST_LINE and is not packed. eol: what ends a line.

    A line so long covers one of the stretches of half its length that stand behind each other: of each only so much is read
    until a line ends.
    """
    end, stretch = eol.encode("ascii"), LONGEST_LINE // 2
    with file.path.open("rb") as raw:
        magic = raw.read(4)
        if magic[:2] == _GZIP or magic == _ZSTD:
            return
        for start in range(0, file.path.stat().st_size - stretch + 1, stretch):
            if _until(raw, start, end, stretch) < stretch:
                continue
            before = max(start - stretch, 0)
            raw.seek(before)
            held = raw.read(start - before)
            line = len(held) - held.rfind(end) - 1 + stretch + _until(raw, start + stretch, end, stretch)
            if line > LONGEST_LINE:
                raise too_long(file)


def _until(raw: BinaryIO, start: int, end: bytes, most: int) -> int:
    """Bytes from `start` to the next end of a line, or to that of the file, at most so many."""
    raw.seek(start)
    seen = 0
    while seen < most and (piece := raw.read(min(_PIECE, most - seen))):
        found = piece.find(end)
        if found >= 0:
            return seen + found
        seen += len(piece)
    return seen


def _refusal(file: File, times: int) -> InputRefused:
    return InputRefused(
        f"{file.name}: becomes more than {times:,} times as large when unpacked; unpack it, and look at it"
    )


def _gz(file: File, most: int) -> None:
    unpacked = line = 0
    try:
        # by the same reader as `lines`, which takes some files for sound that zlib itself does not
        with gzip.open(file.path) as stream:
            while text := stream.read(_AT_ONCE):
                unpacked += len(text)
                end = text.rfind(b"\n")
                line = line + len(text) if end < 0 else len(text) - end
                if line > LONGEST_LINE:
                    raise too_long(file)
                if unpacked > most:
                    raise _refusal(file, MOST_GZ)
    except (OSError, EOFError, zlib.error):
        return


def _zst(path: Path) -> int:
    """An upper bound of the bytes that a zst file becomes, from the heads of its blocks; nothing is unpacked (RFC 8878)."""
    unpacked = 0
    with path.open("rb") as raw:
        while len(magic := raw.read(4)) == 4:
            if 0x50 <= magic[0] <= 0x5F and magic[1:] == b"\x2a\x4d\x18":  # a frame to be skipped
                raw.seek(int.from_bytes(raw.read(4), "little"), 1)
                continue
            if magic != _ZSTD:
                break
            (head,) = raw.read(1) or b"\0"
            single, checksum = head >> 5 & 1, head >> 2 & 1
            size_of_size = (single, 2, 4, 8)[head >> 6]
            raw.seek((0 if single else 1) + (0, 1, 2, 4)[head & 3] + size_of_size, 1)
            last = False
            while not last and len(block := raw.read(3)) == 3:
                number = int.from_bytes(block, "little")
                last, kind, size = bool(number & 1), number >> 1 & 3, number >> 3
                unpacked += _BLOCK if kind == 2 else size
                raw.seek(1 if kind == 1 else size, 1)
            raw.seek(4 * checksum, 1)
    return unpacked
