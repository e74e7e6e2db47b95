"""Which rows of a part can be read: one pass over it, and further ones only where something is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from hydragraph.card_numbers import MAYBE
from hydragraph.errors import InputRefused
from hydragraph.identifiers import IP_RANGE, address_ranges, canonical_kind
from hydragraph.loaders.card_columns import CARD, Place, Suspected, few_card_numbers, may_be_cards, may_hold
from hydragraph.loaders.columns import (
    BLANK,
    LONGEST_KIND,
    NO_VALUE,
    NOT_ADDRESS,
    Reading,
    first_fault,
    looks_like_address,
    read_column,
    value_of,
)
from hydragraph.loaders.lines import ROW_FAULTS
from hydragraph.loaders.scan import Part
from hydragraph.loaders.slow import FAULT, ROW
from hydragraph.naming import refused_word
from hydragraph.schema import EVIDENCE_KINDS, INPUT, OUTPUT
from hydragraph.settings import Settings

MOST_SPELLINGS = 2_000
"""Spellings of kinds in one table, at most: each is looked at by itself."""

_CODE = "number of the fault"

Fault = tuple[str, str, pl.Expr]
"""A column ('' for the whole row), a reason, and the condition under which a row is not read for it."""

# Texts that polars may have made of something else in JSON: objects, lists, true, false, decimal numbers, integers too
# long for it, halves of surrogate pairs (NUL). It writes an exponent of three digits at most, behind one digit and a
# fraction, if at all: a hexadecimal hash without another letter than e is no number.
_DOUBTFUL = r"^(?:[\[{]|true$|false$|-?[0-9]{20,}$|-?[0-9]+\.[0-9]+$|-?[0-9](?:\.[0-9]+)?[eE][+-]?[0-9]{1,3}$)|\x00"


@dataclass(frozen=True)
class Known:
    """What only the whole table can tell: addresses that cannot be read, kinds (as the source writes them) that are
    refused as evidence, kinds of links that are address ranges, and texts that look like card numbers, by place."""

    unreadable: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()
    cards: tuple[tuple[Place, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class Survey:
    """What one pass over a part found. faults: rows by (column, reason), column '' for the whole row; aside: kept rows
    that are left out; blanks: texts that are to be null, by column; filled: columns that hold any value; doubtful:
    polars may have misread JSON; odd: addresses that need a closer look; kinds: spellings of the kinds of evidence;
    suspected: columns with what may be card numbers."""

    rows: int
    faults: Mapping[tuple[str, str], int]
    aside: int = 0
    blanks: Mapping[str, int] = field(default_factory=dict)
    filled: frozenset[str] = frozenset()
    doubtful: bool = False
    odd: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.String))
    kinds: tuple[str, ...] = ()
    suspected: tuple[Suspected, ...] = ()

    @property
    def rejected(self) -> int:
        """Rows that cannot be read."""
        return sum(self.faults.values())


def survey(part: Part, known: Known) -> Survey:
    """One streaming pass over a part, and a closer look where it holds faults or blanks. Raises what polars raises when it
    cannot read the file."""
    if not part.columns and not part.unread and not part.careful:
        return Survey(0, {})
    readings, faults, aside, odd = _readings(part), _faults(part, known), _aside(part, known), _odd(part, known)
    frame = _values(part, readings)
    doubts = _doubts(part, readings, faults)
    quick = {r.name: (r.doubt, r.long) for r in readings if r.doubt is not None and r.long is not None}
    wanted = {"rows": pl.len(), **{f"doubt {c}": d.any() for c, d in doubts.items()}}
    # what looks like an address is none of that, and the other addresses are asked for anyway
    address = {c.name for c in INPUT[part.feed.table].columns if c.type == "address" and not c.required} & set(quick)
    for c, (doubt, long) in quick.items():
        if c not in address:
            wanted[f"texts {c}"] = pl.col(value_of(c)).filter(doubt & ~long).unique().implode()
    if aside is not None:
        wanted["aside"] = aside.sum()
    if odd is not None:
        value, where = odd
        wanted["odd"] = value.filter(where).unique().implode()
    if part.feed.table in EVIDENCE_KINDS and "kind" in part.columns:
        wanted["kinds"] = pl.col("kind").cast(pl.String).drop_nulls().unique().implode()
    if part.file.format == "ndjson":
        wanted |= {f"filled {c}": pl.col(c).count() for c in part.columns}
        if part.quick_text:
            wanted["doubtful"] = _doubtful(part).any()
    found = part.collect(frame.select(**wanted), check=True)
    counts: dict[int, int] = {}
    texts = {c: found[f"texts {c}" if c not in address else "odd"].explode(empty_as_null=False) for c in quick}
    for c in address:
        doubt, long = quick[c]
        texts[c] = texts[c].alias(value_of(c)).to_frame().filter(doubt & ~long).to_series()
    # a text that may be a card number has no fault
    doubted = {c for c, held in texts.items() if not held.str.contains(MAYBE).fill_null(False).all()}
    doubted |= {c for c in doubts if found[f"doubt {c}"][0]}
    suspected = [Suspected(part, frame, c, held) for c, held in texts.items() if len(held) and c not in doubted]
    if doubted:
        # where there is no doubt, there is no fault either: only the columns with one are read again
        faults = [f for f in faults if f[0] in doubted]
        maybe = may_be_cards(part, doubted)
        code = pl.col(_CODE)
        frame = frame.with_columns(first_fault(faults).alias(_CODE))
        closer = {"faulty": code.count(), **{f"maybe {c}": text.any() for c, text in maybe.items()}}
        closer |= {f"blank {r.name}": r.blank.sum() for r in readings if r.blank is not None and r.name in doubted}
        if aside is not None:
            closer["aside"] = (aside & code.is_null()).sum()
        found = found.with_columns(part.collect(frame.select(**closer)).get_columns())
        suspected += [Suspected(part, frame, c) for c in maybe if found[f"maybe {c}"][0]]
        if found["faulty"][0]:
            counts = dict(part.collect(frame.group_by(_CODE).len()).drop_nulls().iter_rows())

    def number(name: str) -> int:
        return int(found[name][0] or 0) if name in found.columns else 0

    nothing = pl.Series(dtype=pl.String)
    return Survey(
        rows=number("rows"),
        faults={faults[i][:2]: n for i, n in sorted(counts.items())},
        aside=number("aside"),
        blanks={r.name: number(f"blank {r.name}") for r in readings},
        filled=frozenset(c for c in part.columns if number(f"filled {c}")),
        doubtful=bool(number("doubtful")),
        odd=found["odd"].explode(empty_as_null=False) if odd is not None else nothing,
        kinds=tuple(sorted(found["kinds"].explode(empty_as_null=False))) if "kinds" in found.columns else (),
        suspected=tuple(suspected),
    )


def _doubts(part: Part, readings: Sequence[Reading], faults: Sequence[Fault]) -> dict[str, pl.Expr]:
    """By column ('' for the whole row) what holds in every row with a fault, a blank or what may be a card number there, and
    perhaps in others: most columns need no closer look. Not what `Reading.doubt` says."""
    quick = {(r.name, why) for r in readings if r.doubt is not None for why, _ in r.faults}
    found: dict[str, list[pl.Expr]] = {}
    for r in readings:
        digits = may_hold(part.feed.table, r, part.dtypes[r.name])
        found[r.name] = [d for d in (r.blank if r.doubt is None else r.long, digits) if d is not None]
    for column, why, condition in faults:
        if (column, why) not in quick:
            found.setdefault(column, []).append(condition)
    return {column: pl.any_horizontal(doubts) for column, doubts in found.items() if doubts}


def _doubtful(part: Part) -> pl.Expr:
    texts = [c.name for c in INPUT[part.feed.table].columns if c.type in ("identifier", "text")]
    return pl.any_horizontal(pl.col(c).str.contains(_DOUBTFUL).fill_null(False) for c in texts if c in part.columns)


def learn(surveys: Iterable[Survey], settings: Settings) -> Known:
    """What the surveys of all parts of a table tell."""
    surveys = list(surveys)
    return replace(learn_texts(surveys, settings), cards=few_card_numbers(surveys))


def learn_texts(surveys: Sequence[Survey], settings: Settings) -> Known:
    """The same but for card numbers: each of these texts is judged by itself, so that the survey of one part tells what
    that part needs."""
    kinds = sorted({k for s in surveys for k in s.kinds})
    refuse_many_spellings(len(kinds))
    odd = pl.concat([s.odd for s in surveys]).unique().sort() if surveys else pl.Series(dtype=pl.String)
    unreadable = odd.filter(address_ranges(odd, settings)["reason"].is_not_null()) if len(odd) else odd
    kinds = [k for k in kinds if len(k.encode()) <= LONGEST_KIND]  # rows with others are not read
    refused = [k for k in kinds if refused_word(k)]
    return Known(
        unreadable=tuple(unreadable),
        refused=tuple(refused),
        ranges=tuple(k for k in kinds if canonical_kind(k) == IP_RANGE and k not in refused),
    )


def refuse_many_spellings(number: int) -> None:
    """Raise InputRefused for a table with more spellings of kinds than MOST_SPELLINGS."""
    if number > MOST_SPELLINGS:
        raise InputRefused(
            f"{number:,} kinds are more than {MOST_SPELLINGS:,}; check that kind and value are not swapped"
        )


def rejects(part: Part, known: Known, found: Survey) -> pl.DataFrame:
    """The rows of a part that cannot be read, as schema.OUTPUT['rejects'] has them."""
    table = OUTPUT["rejects"]
    if not found.rejected:
        return table.empty()
    faults = _faults(part, known)
    frame = _values(part, _readings(part), numbered=True).with_columns(first_fault(faults).alias(_CODE))
    rows = part.collect(frame.filter(pl.col(_CODE).is_not_null()).select(ROW, _CODE))
    column = pl.Series([c or None for c, _, _ in faults], dtype=pl.String)
    reason = pl.Series([why for _, why, _ in faults], dtype=pl.String)
    return rows.select(
        table=pl.lit(part.feed.table),
        file=pl.lit(part.file.name),
        row=pl.col(ROW).cast(pl.Int64),
        column=pl.lit(column).gather(pl.col(_CODE)),
        reason=pl.lit(reason).gather(pl.col(_CODE)),
    )


def kept(part: Part, known: Known, found: Survey, columns: Sequence[str]) -> pl.LazyFrame:
    """The rows of a part that can be read, with `columns` in that order; what the part lacks is null.

    Only faults that occur are looked for, so that a scan of a clean file reads no column that is not asked for.
    """
    readings = {r.name: r for r in _readings(part)}
    frame = _values(part, list(readings.values()))
    occurring = [condition for c, why, condition in _faults(part, known) if (c, why) in found.faults]
    if occurring:
        frame = frame.filter(~pl.any_horizontal(*occurring))
    aside = _aside(part, known)
    if found.aside and aside is not None:
        frame = frame.filter(~aside)
    chosen = []
    for column in (c for c in INPUT[part.feed.table].columns if c.name in columns):
        reading = readings.get(column.name)
        value = pl.col(value_of(column.name))
        if reading is None:
            value = pl.lit(part.feed.constant.get(column.name), column.dtype)
        elif reading.blank is not None and found.blanks[column.name]:
            value = pl.when(~reading.blank).then(value)
        chosen.append(value.alias(column.name))
    return frame.with_columns(chosen).select(c.name for c in INPUT[part.feed.table].columns if c.name in columns)


def _readings(part: Part) -> list[Reading]:
    columns = (c for c in INPUT[part.feed.table].columns if c.name in part.columns)
    return [
        read_column(c, part.dtypes[c.name], required=c.required and not _optional(part, c.name), marked=part.careful)
        for c in columns
    ]


def _optional(part: Part, column: str) -> bool:
    """Whether a row of links may lack its value: where the mapping gives the kind, it says that there is none."""
    return part.feed.table == "links" and column == "value" and "kind" in part.feed.constant


def _values(part: Part, readings: Sequence[Reading], *, numbered: bool = False) -> pl.LazyFrame:
    # Without a column there would be no rows.
    frame = part.frame(numbered=numbered or not readings)
    return frame.with_columns(r.value.alias(value_of(r.name)) for r in readings)


def _faults(part: Part, known: Known) -> list[Fault]:
    """(column, reason, condition), in the order in which they count: the whole row, then the columns of the schema."""
    readings = {r.name: r for r in _readings(part)}
    faults = [("", why, pl.col(FAULT).eq(why).fill_null(False)) for why in ROW_FAULTS] if part.careful else []
    odd = _odd(part, known) if known.unreadable else None
    for column in INPUT[part.feed.table].columns:
        reading = readings.get(column.name)
        if reading is not None:
            faults += [(column.name, why, condition) for why, condition in reading.faults]
            cards = [_card(part, *place) for place in known.cards if place[0][0] == column.name]
            faults += [(column.name, CARD, pl.any_horizontal(cards))] if cards else []
            if odd is not None and column.name in ("ip", "cidr", "value"):
                value, where = odd
                unreadable = value.is_in(known.unreadable) & where
                faults.append((column.name, NOT_ADDRESS, unreadable.fill_null(False)))
        elif column.required and column.name not in part.feed.constant and not _optional(part, column.name):
            faults.append((column.name, NO_VALUE, pl.lit(True)))
    return faults


def _card(part: Part, place: Place, texts: tuple[str, ...]) -> pl.Expr:
    column, kind = place
    here = pl.col(value_of(column)).is_in(texts).fill_null(False)
    return here if kind is None else here & (pl.col("kind").cast(pl.String) == kind).fill_null(False)


def _odd(part: Part, known: Known) -> tuple[pl.Expr, pl.Expr] | None:
    """The value that holds addresses, and where it needs a closer look; None where a part has no addresses."""
    addresses = [c.name for c in INPUT[part.feed.table].columns if c.type == "address" and c.name in part.columns]
    here = pl.lit(True)
    if part.feed.table == "links" and "value" in part.columns:
        constant = part.feed.constant.get("kind")
        if constant is not None and canonical_kind(constant) == IP_RANGE:
            addresses = ["value"]
        elif known.ranges and "kind" in part.columns:
            addresses, here = ["value"], pl.col("kind").cast(pl.String).is_in(known.ranges)
    if not addresses:
        return None
    value = pl.col(value_of(addresses[0]))
    return value, here & ~looks_like_address(value)


def _aside(part: Part, known: Known) -> pl.Expr | None:
    """Whether a row is left out of the frame though it can be read; None where no row is."""
    if _optional(part, "value"):
        value = pl.col(value_of("value"))
        return value.is_null() | value.str.contains(BLANK) if "value" in part.columns else pl.lit(True)
    if known.refused and "kind" in part.columns:
        return pl.col("kind").cast(pl.String).is_in(known.refused).fill_null(False)
    return None
