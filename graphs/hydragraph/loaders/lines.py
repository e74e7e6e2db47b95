"""Text files line by line, and lines as records of CSV or objects of JSON: the careful way, in constant memory."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from hydragraph.errors import InputRefused
from hydragraph.loaders.files import File

BAD_QUOTES = "quotes that do not fit together"
NOT_JSON = "not a JSON object"
TOO_MANY = "more fields than the header has columns"
ROW_FAULTS = (BAD_QUOTES, NOT_JSON, TOO_MANY)
"""What can be wrong with a whole row of text."""

LONGEST_LINE = 1 << 26
"""Bytes of a line of text, at most."""

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
# Lines after which a quote that is still open is taken for a mistake of its own line; and how many of them once open quotes
# have cost more looks at lines than so many, and so many a record: each line of a file can open a quote.
_QUOTED_LINES, _FEW_LINES = 10_000, 10
_LOOKS, _LOOKS_A_RECORD = 10_000_000, 100


def read_lines(file: File, eol: str = "\n") -> Iterator[str]:
    r"""The lines of a text file with what ends them, without a byte order mark; bytes that are not UTF-8 become lone
    surrogates. eol: '\n', '\r', or '' for whatever ends a line. The content tells how the file is packed, not its name.

    Raises InputRefused for a file that cannot be opened or unpacked, is UTF-16 or has no lines.
    """
    try:
        with file.path.open("rb") as raw:
            magic = raw.read(4)
        if magic[:2] in _UTF16:
            raise InputRefused(f"{file.name}: UTF-16 text; save the file as UTF-8")
        if magic == _ZSTD:
            yield from _zst_lines(file.path, eol or "\n")
            return
        opener = gzip.open if magic[:2] == _GZIP else open
        with opener(file.path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline=eol) as text:
            while line := text.readline(LONGEST_LINE):
                if len(line) == LONGEST_LINE:
                    raise too_long(file)
                yield line
    except (OSError, EOFError, zlib.error, pl.exceptions.PolarsError):
        raise InputRefused(f"{file.name}: cannot be read; the file is damaged, cut off or not to be opened") from None


def too_long(file: File) -> InputRefused:
    """The error for a file with a line that is too long."""
    return InputRefused(f"{file.name}: a line is longer than {LONGEST_LINE >> 20} MiB; is this text?")


def _zst_lines(path: Path, eol: str) -> Iterator[str]:
    """polars unpacks, because Python cannot before 3.14. It parts a line at its NULs, which condemn the row anyway, and
    puts U+FFFD for bytes that are not UTF-8."""
    scan = pl.scan_csv(
        path,
        has_header=False,
        separator="\0",
        quote_char=None,
        eol_char=eol,
        schema={"line": pl.String, "rest": pl.String},
        missing_columns="insert",
        truncate_ragged_lines=True,
        encoding="utf8-lossy",
        glob=False,
    )
    for batch in scan.collect_batches(maintain_order=True):
        for line, rest in batch.iter_rows():
            text = (line or "") + ("" if rest is None else "\0" + rest)
            yield text.replace("\ufffd", "\udcff").removeprefix("\ufeff") + eol


def csv_records(text: Iterator[str], separator: str) -> Iterator[list[str] | str]:
    """The fields of each record, the header first, or one of ROW_FAULTS; blank lines are no records.

    A record may span lines inside quotes, together no longer than LONGEST_LINE. A quote that never closes costs its own
    line only. Work grows with the lines: where quotes stay open again and again, they may span few lines from there on.
    """
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))  # the standard limit refuses long prompts
    waiting: deque[str] = deque()
    looks = _LOOKS
    while (line := waiting.popleft() if waiting else next(text, None)) is not None:
        plain = line.rstrip("\r\n")
        if not plain:
            continue
        looks += _LOOKS_A_RECORD
        if '"' not in plain:
            yield plain.split(separator)
            continue
        record = _parsed([line], separator)
        gathered, size = [line], len(line)
        while record is None:
            more = waiting.popleft() if waiting else next(text, None)
            if more is not None:
                gathered.append(more)
                size += len(more)
            looks -= 1
            most = _QUOTED_LINES if looks > 0 else _FEW_LINES
            if more is None or len(gathered) > most or size > LONGEST_LINE:
                record = BAD_QUOTES
            elif more.count('"') % 2:
                looks -= len(gathered)
                record = _parsed(gathered, separator)
        if isinstance(record, str):
            waiting.extendleft(reversed(gathered[1:]))
        yield record


def _parsed(text: list[str], separator: str) -> list[str] | str | None:
    """One record's fields, BAD_QUOTES, or None when a quote is still open at the end."""
    try:
        return next(csv.reader(text, delimiter=separator, strict=True))
    except csv.Error as error:
        return None if "unexpected end" in str(error) else BAD_QUOTES


def json_records(text: Iterator[str]) -> Iterator[dict[str, Any] | str]:
    """The object of each line, or one of ROW_FAULTS; blank lines are no records. Of a key given twice the first counts;
    NaN is null."""
    decoder = json.JSONDecoder(object_pairs_hook=_first_wins, parse_constant=_constant)
    for line in text:
        if plain := line.strip():
            try:
                record = decoder.decode(plain)
            except (ValueError, RecursionError):
                record = None
            yield record if isinstance(record, dict) else NOT_JSON


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def _constant(name: str) -> float | None:
    return None if name == "NaN" else float(name)
