"""Card numbers in a source: found in any column of text, refused with the whole source, never repeated."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

import polars as pl

from hydragraph.card_numbers import MAYBE, MOST_BY_CHANCE, SHAPE, Found, judge, looks_like_card, undisguised
from hydragraph.errors import InputRefused
from hydragraph.identifiers import IP_RANGE, KINDS, canonical_kind
from hydragraph.loaders.columns import Reading, value_of
from hydragraph.loaders.lines import csv_records, json_records, read_lines
from hydragraph.schema import INPUT

if TYPE_CHECKING:
    from hydragraph.loaders.checking import Survey
    from hydragraph.loaders.scan import Part

CARD = "what looks like a card number"
"""Why a row is rejected in a column that holds one or two of them among much else."""

UNREAD_ROWS = 1_000
"""Rows at the beginning of a file in which columns that are not read are looked at."""

_NO_TEXT = ("time", "count")

Place = tuple[str, str | None]
"""A column, and of `links` the kind as the source writes it."""

Few = tuple[tuple[Place, tuple[str, ...]], ...]
"""Texts that look like card numbers, by place."""


@dataclass(frozen=True)
class _Distinct:
    """How many distinct values a column has, by kind: counted when that is asked for, because it takes long."""

    part: Part
    rows: pl.LazyFrame

    @cached_property
    def number(self) -> dict[str | None, int]:
        counted = self.part.collect(self.rows.group_by("kind").agg(pl.col("value").n_unique()))
        return dict(counted.iter_rows())


@dataclass(frozen=True)
class Shaped:
    """What a place holds. texts: the distinct ones of the shape of card numbers, sorted."""

    texts: pl.Series
    distinct: _Distinct
    kind: str | None

    @property
    def values(self) -> int:
        """How many distinct values the place has."""
        return self.distinct.number.get(self.kind, 0)


def may_hold(table: str, reading: Reading, dtype: pl.DataType) -> pl.Expr | None:
    """Whether a text of this column may be a card number, found quickly; None where `reading.doubt` says so already, and
    for times and counts."""
    if reading.doubt is not None or INPUT[table].column(reading.name).type in _NO_TEXT:
        return None
    if dtype.is_integer():
        return (pl.col(reading.name) >= 10**12).fill_null(False)
    return pl.col(value_of(reading.name)).str.contains(MAYBE).fill_null(False)


def may_be_cards(part: Part, among: Collection[str]) -> dict[str, pl.Expr]:
    """Whether a text may be a card number, in those columns of text `among` which to look; with `value_of` before."""
    declared = INPUT[part.feed.table].columns
    columns = [c.name for c in declared if c.name in part.columns and c.name in among and c.type not in _NO_TEXT]
    return {c: pl.col(value_of(c)).str.contains(MAYBE) for c in columns}


@dataclass(frozen=True)
class Suspected:
    """A column of a part with texts that may be card numbers. rows: the part, with `value_of` the column; texts: the
    distinct ones that match MAYBE, None where they are not known."""

    part: Part
    rows: pl.LazyFrame
    column: str
    texts: pl.Series | None = None

    @property
    def by_kind(self) -> bool:
        """Whether each kind of links is a place of its own."""
        return self.part.feed.table == "links" and self.column == "value" and "kind" in self.part.columns

    @property
    def held(self) -> pl.LazyFrame:
        """The rows of the column as kind, null where there is one place, and value."""
        kind = pl.col("kind").cast(pl.String) if self.by_kind else pl.lit(None, pl.String)
        return self.rows.select(kind=kind, value=pl.col(value_of(self.column)))

    @cached_property
    def places(self) -> dict[Place, Shaped]:
        """What the places of the column hold: another pass over it, when that is asked for."""
        rows = self.held
        texts = self.part.collect(rows.filter(pl.col("value").str.contains(SHAPE)).unique())
        values = _Distinct(self.part, rows)
        groups = sorted(texts.group_by("kind"), key=lambda g: str(g[0]))
        return {(self.column, of): Shaped(group["value"].sort(), values, of) for (of,), group in groups}


def gathered(surveys: Iterable[Survey]) -> dict[Place, tuple[pl.Series, Found]]:
    """The texts that look like card numbers, and what their place holds in all parts of a table together."""
    together: dict[Place, list[Shaped]] = {}
    suspected: dict[str, list[Suspected]] = {}
    for column in (column for survey in surveys for column in survey.suspected):
        suspected.setdefault(column.column, []).append(column)
    for columns in suspected.values():
        for place, held in (place for column in columns if _doubtful(columns) for place in column.places.items()):
            together.setdefault(place, []).append(held)
    found = {}
    for place, parts in together.items():
        texts = pl.concat([held.texts for held in parts]).unique().sort()
        judged = judge(texts)
        if judged.doubtful and not judged.beyond_chance:
            judged = judge(texts, max(len(texts), *(held.values for held in parts)))
        found[place] = texts.filter(looks_like_card(texts)), judged
    return found


def _doubtful(columns: Sequence[Suspected]) -> bool:
    """Whether a place of a column may be doubtful once all texts of the shape are known, of which there are no fewer than
    those that match MAYBE."""
    texts = [column.texts for column in columns if column.texts is not None]
    if len(texts) < len(columns):
        return True
    found = judge(pl.concat(texts))
    return found.doubtful or (found.alike > 0 and any(c.by_kind for c in columns))


def refuse_card_numbers(table: str, surveys: Iterable[Survey]) -> None:
    """Raise InputRefused if a column of the table holds card numbers."""
    refuse_places(table, {place: found for place, (_, found) in gathered(surveys).items()})


def refuse_places(table: str, judged: Mapping[Place, Found]) -> None:
    """Raise InputRefused for the first place of a table that holds card numbers."""
    for (column, kind), found in sorted(judged.items(), key=str):
        if found.refused:
            raise refusal(table, column, found, kind)


def few_card_numbers(surveys: Iterable[Survey]) -> Few:
    """The texts whose rows are rejected: too few for a refusal, in columns where nearly nothing else has their shape."""
    return few_of(gathered(surveys))


def few_of(judged: Mapping[Place, tuple[pl.Series, Found]]) -> Few:
    """The same of what is found already."""
    found = judged.items()
    return tuple((p, tuple(texts)) for p, (texts, of) in sorted(found, key=str) if of.doubtful and not of.refused)


def refuse_before_writing(table: str, rows: pl.DataFrame, texts: Collection[str], *, first: bool) -> None:
    """Raise InputRefused if rows that are about to be written to a temporary file hold card numbers. first: nothing of the
    file was written before; of later rows there may be too few to judge by shares."""
    for column in sorted(set(texts) & set(rows.columns)):
        if rows.schema[column] != pl.String and not rows.schema[column].is_integer():
            continue
        by_kind = table == "links" and column == "value" and "kind" in rows.columns
        kinds = rows["kind"].cast(pl.String).unique().sort() if by_kind else [None]
        for kind in kinds:
            some = rows.filter(pl.col("kind").cast(pl.String).eq_missing(kind)) if by_kind else rows
            found = judge(some[column].cast(pl.String))
            if found.refused and (first or found.alike > MOST_BY_CHANCE):
                raise refusal(table, column, found, kind)


def refuse_in_unread(part: Part) -> None:
    """Raise InputRefused if a column that is not read holds card numbers at the beginning of the file."""
    unread = [name for name in part.unread if name]
    if part.reader is not None or not unread:
        return
    for name, cells in _unread_cells(part, unread).items():
        texts = {c for c in cells if isinstance(c, str)}
        found = judge(pl.Series([t for t in texts if t.isascii()], dtype=pl.String), len(texts))
        if found.refused:
            # the name may itself be a value, in a file without a header
            plain = name if name.isidentifier() and sum(map(str.isdigit, name)) < 4 else "that is not read"
            raise refusal(part.feed.table, plain, found, None)


def _unread_cells(part: Part, unread: Sequence[str]) -> Mapping[str, list[Any]]:
    if part.head is None:
        schema = part.raw.collect_schema()
        wanted = [n for n in unread if schema[n] == pl.String or schema[n].is_integer()]
        rows = part.collect(part.raw.select(pl.col(wanted).cast(pl.String)).head(UNREAD_ROWS))
        return rows.to_dict(as_series=False)
    lines = read_lines(part.file, part.head.eol)
    if part.file.format == "ndjson":
        objects = [r for r in islice(json_records(lines), UNREAD_ROWS) if isinstance(r, dict)]
        return {n: [_plain(r.get(n)) for r in objects] for n in unread}
    places = [(n, part.head.columns.index(n)) for n in unread]
    records = [r for r in islice(csv_records(lines, part.head.separator), 1, UNREAD_ROWS) if isinstance(r, list)]
    return {n: [r[i] for r in records if i < len(r)] for n, i in places}


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def refuse_hidden_card_numbers(accounts: pl.DataFrame, identifiers: pl.DataFrame) -> None:
    """Raise InputRefused if accounts or normalised identifiers hold card numbers that the raw texts hid: with invisible
    characters, dots or other dashes between the digits, or with digits of another width or script.

    accounts, identifiers: as links.read_links gives them. Address ranges are none.
    """
    texts = [("accounts", name, accounts[name]) for name in ("account_id", "org_id", "close_reason", "channel")]
    texts.append(("links", "kind", identifiers["kind"]))
    kinds = identifiers.filter(pl.col("kind") != IP_RANGE).group_by("kind")
    texts += sorted(((str(kind), "value", of_kind["value"]) for (kind,), of_kind in kinds), key=lambda text: text[0])
    for table, column, values in texts:
        bare = undisguised(values)
        if not bare.is_empty():
            refuse_hidden(table, column, judge(bare, values.n_unique()))


def refuse_hidden(table: str, column: str, found: Found) -> None:
    """Raise InputRefused for what is found undisguised in a column of a table, or among the values of a kind."""
    if found.refused:
        plain = table in INPUT or table in KINDS
        raise refusal(table if plain else "links", column, found, None)


def refusal(table: str, column: str, found: Found, kind: str | None) -> InputRefused:
    """The sentence, without a value; of kinds only those that everybody knows are named."""
    known = kind is not None and canonical_kind(kind) in KINDS
    of = f" of kind {canonical_kind(str(kind))}" if known else ""
    number = "a value that looks like a card number"
    if found.alike > 1:
        number = f"{found.alike:,} values that look like card numbers"
    return InputRefused(
        f"{table}: column {column} holds {number}{of}; give tokens or keyed hashes instead, to which the last four digits"
        " may be added"
    )
