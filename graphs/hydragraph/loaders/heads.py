"""The beginning of a text file: its columns, separator and line ends."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice

from hydragraph.errors import InputRefused
from hydragraph.loaders.files import File
from hydragraph.loaders.lines import csv_records, json_records, read_lines

_SEPARATORS = ",;\t|"
_KEYS_FROM = 1000

MOST_COLUMNS = 10_000
"""Columns of a file, at most; only the declared ones are read."""

LONGEST_NAME = 256
"""Characters of the name of a column, at most: every name is looked at closely."""


@dataclass(frozen=True)
class Head:
    """What the beginning of a text file says. columns: names in file order, trimmed, a blank one stays ''; separator:
    of CSV; eol: what ends a line."""

    columns: tuple[str, ...]
    separator: str = ","
    eol: str = "\n"


def csv_head(file: File, separator: str | None, wanted: Collection[str]) -> Head:
    """The header of a CSV file; no columns when the file is empty.

    separator: None to find out: the one that gives most of the `wanted` columns, then most columns.
    Raises InputRefused when the header is not text or gives two columns one name.
    """
    eol = _eol(file)
    first_guess = "\t" if ".tsv" in file.path.name.lower() else ","
    candidates = separator or first_guess + _SEPARATORS.replace(first_guess, "")
    headers = {s: _header(file, s, eol) for s in candidates}
    best = max(headers, key=lambda s: (len(set(wanted).intersection(headers[s])), len(headers[s])))
    columns = headers[best]
    refuse_too_wide(file, columns)
    if any(re.search("[\0\ud800-\udfff]", name) for name in columns):
        raise InputRefused(f"{file.name}: the header is not UTF-8 text; save the file as UTF-8")
    refuse_twice(file.name, "header", columns)
    return Head(columns, best, eol)


def refuse_too_wide(file: File, columns: Collection[str]) -> None:
    """Raise InputRefused for a file with more columns, or longer names of them, than a table can have."""
    if len(columns) > MOST_COLUMNS:
        raise InputRefused(
            f"{file.name}: {len(columns):,} columns are more than {MOST_COLUMNS:,}; give only those that matter"
        )
    if any(len(name) > LONGEST_NAME for name in columns):
        raise InputRefused(
            f"{file.name}: the name of a column is longer than {LONGEST_NAME} characters; is this a header?"
        )


def refuse_twice(said: str, of: str, columns: Sequence[str]) -> None:
    """Raise InputRefused where two columns have one name. Their places are told and not the name, which is a value where
    the first row was taken for a header. of: what holds the names, in words."""
    first: dict[str, int] = {}
    for place, name in enumerate(columns, 1):
        if name and first.setdefault(name, place) < place:
            raise InputRefused(
                f"{said}: columns {first[name]} and {place} of the {of} have the same name; give each its own"
            )


def _header(file: File, separator: str, eol: str) -> tuple[str, ...]:
    record = next(csv_records(read_lines(file, eol), separator), [])
    if isinstance(record, str):
        return ()
    return tuple(name.strip() for name in record)


def repeats(file: File, head: Head) -> bool:
    """Whether a name of the header stands below it as a value: then the first line of the file is one of its rows."""
    records = islice(csv_records(read_lines(file, head.eol), head.separator), 1, _KEYS_FROM)
    return any(
        name and name == cell.strip()
        for record in records
        if isinstance(record, list)
        for name, cell in zip(head.columns, record, strict=False)
    )


def _eol(file: File) -> str:
    r"""'\r' for files that have no '\n' at all, as old spreadsheets write them; else '\n', with or without '\r'."""
    start = next(read_lines(file, ""), "")
    return "\r" if re.search("\r(?!\n)", start) else "\n"


def ndjson_head(file: File) -> Head:
    """The keys of the first lines of an NDJSON file, in order of appearance. Raises InputRefused for a JSON array,
    and for too many keys."""
    first = next((line for line in read_lines(file) if line.strip()), "")
    if first.lstrip().startswith("["):
        raise InputRefused(f"{file.name}: a JSON array; write one object a line (NDJSON)")
    keys: dict[str, None] = {}
    for record in islice(json_records(read_lines(file)), _KEYS_FROM):
        if isinstance(record, dict):
            keys.update(dict.fromkeys(record))
            refuse_too_wide(file, keys)
    return Head(tuple(keys))
