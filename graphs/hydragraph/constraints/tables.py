"""The two tables of constraints: read and checked, kept in the case folder, read again by the next run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from hydragraph.card_numbers import judge
from hydragraph.errors import CaseExists, InputRefused, NotACase
from hydragraph.grouping import connected
from hydragraph.identifiers import IP_RANGE, canonical_kind, normalise
from hydragraph.loaders.card_columns import refusal
from hydragraph.loaders.files import File, file_format
from hydragraph.loaders.heads import csv_head
from hydragraph.loaders.lines import TOO_MANY, csv_records, json_records, read_lines
from hydragraph.pseudonyms import is_pseudonym
from hydragraph.settings import Settings

PAIRS_FILE, ALLOW_FILE = "constraints.ndjson", "allow.ndjson"
"""Where a case keeps them, one row a line; there only if there are any."""

MUST, CANNOT = "must", "cannot"

_PAIRS, _ALLOWED = "constraints", "allow list"
PAIRS = {"account_a": pl.String, "account_b": pl.String, "relation": pl.String}
ALLOWED = {"kind": pl.String, "value": pl.String}

Table = str | Path | pl.DataFrame


@dataclass(frozen=True)
class Constraints:
    """What an analyst knows beforehand.

    pairs: account_a, account_b (which sorts after it) and relation, `must` or `cannot`. allowed: kind and value, as given,
    of identifiers that count as no evidence. Both sorted, each row once. carried: names of those that come from an earlier
    case.
    """

    pairs: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=PAIRS))
    allowed: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=ALLOWED))
    carried: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many pairs must and how many cannot, and how many identifiers are allowed."""
        must = self.pairs.filter(relation=MUST).height
        return {MUST: must, CANNOT: self.pairs.height - must, "allowed": self.allowed.height}

    @property
    def digest(self) -> str | None:
        """`sha256:` and 64 hexadecimal digits of all rows; None where there are none."""
        text = "".join(_lines(self.pairs)) + "".join(_lines(self.allowed))
        return f"sha256:{hashlib.sha256(text.encode('ascii')).hexdigest()}" if text else None

    @property
    def said(self) -> list[str]:
        """A sentence for each table that comes from an earlier case."""
        number = {_PAIRS: f"{self.pairs.height:,} pairs", _ALLOWED: f"{self.allowed.height:,} identifiers"}
        return [f"{what}: {number[what]} carried over from the previous case" for what in self.carried]


def read_constraints(
    pairs: Table | None = None, allow: Table | None = None, *, held: Constraints | None = None
) -> Constraints:
    """Constraints from files (CSV, NDJSON, Parquet) or frames; a table that is not given is that of `held`, if there is one.

    pairs: columns account_a, account_b and relation (must, cannot). allow: columns kind (its aliases as well) and value (of
    ip_range an address or a range). Other columns are not read.
    Raises InputRefused, naming table, row and column and no value, for a table that cannot be read, lacks a column, holds
    a row that cannot be understood, or asks that two accounts be together, by way of others as well, and apart.
    Not checked: whether accounts and identifiers are in a source.
    """
    held = held or Constraints()
    carried = [
        what
        for what, given, old in ((_PAIRS, pairs, held.pairs), (_ALLOWED, allow, held.allowed))
        if given is None and old.height
    ]
    return Constraints(
        held.pairs if pairs is None else _pairs(pairs),
        held.allowed if allow is None else _allowed(allow),
        tuple(carried),
    )


def held_constraints(folder: Path) -> Constraints:
    """Those that the case in `folder` keeps. Raises NotACase for a file that cannot be read."""
    try:
        tables = [folder / name if (folder / name).is_file() else None for name in (PAIRS_FILE, ALLOW_FILE)]
        return read_constraints(*tables)
    except InputRefused as error:
        raise NotACase(f"{error}; mend the file in the case or take it out") from None


def refuse_to_lose_constraints(out: Path, known: Constraints, *, pairs: bool, allow: bool) -> None:
    """Raise CaseExists if the case at `out` keeps rows that the next one, which keeps `known`, would not.

    pairs, allow: whether that table was given for the next one; then it takes the place of what is there, whatever that is.
    """
    held = held_constraints(out)
    tables = (
        ("pairs of accounts", pairs, held.pairs, known.pairs),
        ("allowed identifiers", allow, held.allowed, known.allowed),
    )
    left = [
        (0 if given else old.join(new, on=old.columns, how="anti").height, what) for what, given, old, new in tables
    ]
    lost = [f"{rows:,} {what}" for rows, what in left if rows]
    if lost:
        raise CaseExists(
            f"the case there keeps {' and '.join(lost)}; carry them along by naming it with --previous, give"
            " --constraints and --allow anew (tables without rows drop them), or choose another folder"
        )


def keep_constraints(folder: Path, constraints: Constraints) -> None:
    """Write them into the folder of a case that is being built."""
    for name, frame in ((PAIRS_FILE, constraints.pairs), (ALLOW_FILE, constraints.allowed)):
        if frame.height:
            (folder / name).write_text("".join(_lines(frame)), "ascii")


def _lines(frame: pl.DataFrame) -> Iterator[str]:
    return (json.dumps(row, ensure_ascii=True) + "\n" for row in frame.iter_rows(named=True))


def _pairs(table: Table) -> pl.DataFrame:
    what, columns = _PAIRS, list(PAIRS)
    rows = []
    for number, (a, b, relation) in _rows(table, what, columns):
        if relation.strip().lower() not in (MUST, CANNOT):
            raise InputRefused(f"{what}: row {number}, column relation: must be {MUST} or {CANNOT}")
        if a == b:
            raise InputRefused(f"{what}: row {number}: account_a and account_b are the same account")
        rows.append((min(a, b), max(a, b), relation.strip().lower(), number))
    frame = pl.DataFrame(rows, schema={**PAIRS, "row": pl.Int64}, orient="row")
    _refuse_contradictions(frame)
    _refuse_card_numbers(what, "account", [*frame["account_a"], *frame["account_b"]])
    return frame.drop("row").unique().sort(columns)


def _refuse_card_numbers(what: str, column: str, values: list[str]) -> None:
    found = judge(pl.Series(values, dtype=pl.String))
    if found.refused:
        raise refusal(what, column, found, None)


def _refuse_contradictions(frame: pl.DataFrame) -> None:
    names = pl.concat([frame["account_a"], frame["account_b"]]).unique().sort()
    code = names.to_frame("name").with_row_index("code")
    a, b = (
        frame.select(name=end)
        .join(code, on="name", how="left", maintain_order="left")["code"]
        .to_numpy()
        .astype("int64")
        for end in ("account_a", "account_b")
    )
    must = (frame["relation"] == MUST).to_numpy()
    group = connected(len(names), a[must], b[must])
    wrong = frame["row"].to_numpy()[~must & (group[a] == group[b])]
    if len(wrong):
        raise InputRefused(
            f"constraints: row {wrong[0]} keeps two accounts apart that other rows put together, directly or by way of"
            " others; take one of them out"
        )


def _allowed(table: Table) -> pl.DataFrame:
    what, columns = _ALLOWED, list(ALLOWED)
    rows = []
    for number, (kind, value) in _rows(table, what, columns):
        name = canonical_kind(kind)
        if not name:
            raise InputRefused(f"{what}: row {number}, column kind: not a kind of identifier")
        if not is_pseudonym(value) and normalise(name, pl.Series([value]), Settings())[0] is None:
            wrong = "not an address or range" if name == IP_RANGE else "stands for no identifier"
            raise InputRefused(f"{what}: row {number}, column value: {wrong}")
        rows.append((name, value))
    _refuse_card_numbers(what, "value", [value for _, value in rows])
    return pl.DataFrame(rows, schema=ALLOWED, orient="row").unique().sort(columns)


def _rows(table: Table, what: str, columns: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Number and cells of each row, the first data row being 1. Refuses what is no row of these columns."""
    for number, record in enumerate(_records(table, what, columns), 1):
        if isinstance(record, str):
            raise InputRefused(f"{what}: row {number}: {record}")
        cells = []
        for column in columns:
            cell = record.get(column)
            if cell is None or (isinstance(cell, str) and not cell.strip()):
                raise InputRefused(f"{what}: row {number}, column {column}: no value")
            if isinstance(cell, bool) or not isinstance(cell, (str, int)):
                raise InputRefused(f"{what}: row {number}, column {column}: not text; write it as text")
            if not _is_text(str(cell)):
                raise InputRefused(f"{what}: row {number}, column {column}: not UTF-8 text")
            cells.append(str(cell))
        yield number, tuple(cells)


def _is_text(cell: str) -> bool:
    try:
        cell.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\0" not in cell


def _records(table: Table, what: str, columns: Sequence[str]) -> Iterator[dict[str, Any] | str]:
    """The rows of a file or frame as objects, or what is wrong with a whole row."""
    if isinstance(table, pl.DataFrame):
        _refuse_without(table.columns, what, columns)
        yield from table.select(columns).iter_rows(named=True)
        return
    path = Path(table)
    if not path.is_file():
        raise InputRefused(f"{what}: no such file")
    form = file_format(path.name)
    file = File(what, path, form or "csv")
    if form == "csv":
        head = csv_head(file, None, columns)
        _refuse_without(head.columns, what, columns)
        records = csv_records(read_lines(file, head.eol), head.separator)
        next(records)
        for record in records:
            if isinstance(record, str):
                yield record
            else:
                yield TOO_MANY if len(record) > len(head.columns) else dict(zip(head.columns, record, strict=False))
    elif form == "ndjson":
        yield from json_records(read_lines(file))
    elif form == "parquet":
        try:
            frame = pl.read_parquet(path, glob=False, hive_partitioning=False)
        except (pl.exceptions.PolarsError, OSError):
            raise InputRefused(
                f"{what}: the file cannot be read; it is damaged, cut off or of another format"
            ) from None
        yield from _records(frame, what, columns)
    else:
        raise InputRefused(f"{what}: the format is not known; use .csv, .ndjson or .parquet")


def _refuse_without(found: Sequence[str], what: str, columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in found]
    if missing:
        raise InputRefused(f"{what}: the column {missing[0]} is missing; needed are {', '.join(columns)}")
