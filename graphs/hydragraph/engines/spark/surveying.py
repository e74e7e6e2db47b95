"""The first pass over a source: each task surveys its files with the embedded loader; here their findings come together."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from hydragraph.card_numbers import judge
from hydragraph.engines.spark.frames import one_row
from hydragraph.engines.spark.judging import Suspicion, few_cards
from hydragraph.engines.spark.tasks import on_units, saying_why
from hydragraph.engines.spark.units import Found, Unit, at_hand, digest_of_unit, opened_unit, stamp_of
from hydragraph.errors import InputRefused
from hydragraph.loaders.card_columns import Few, Suspected, refuse_in_unread
from hydragraph.loaders.checking import MOST_SPELLINGS, Known, Survey, learn_texts, refuse_many_spellings
from hydragraph.loaders.files import Feed, File
from hydragraph.loaders.heads import Head
from hydragraph.loaders.scan import Part, Scratch, open_carefully
from hydragraph.loaders.source import (
    Input,
    Rows,
    check_columns,
    columns_kept,
    count_rows,
    digest_of,
    in_order,
    names_repeat,
    notes_of,
    refuse_empty,
    survey_first,
    survey_part,
)
from hydragraph.loaders.stamps import stamps_of, unchanged
from hydragraph.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

_TOLD = "unit long, told string"
_STEPS = ("opened", "unread", "surveyed")
"""What a task may refuse a file at: when it is opened, for a column that is not read, and for its rows."""


@dataclass(frozen=True)
class Look:
    """What the survey of a unit found; fields as those of Part and Survey.

    refused: the step at which it was, and the sentence. text: it has a head; repeated: which is one of its rows. blank: it
    has blank lines. number: of the spellings of kinds, of which no more than MOST_SPELLINGS + 1 are told. unreadable: how
    many odd addresses cannot be read. bytes, digest: of the file, where the unit gives them. stamp: of the file when it was
    read.
    """

    stamp: str
    refused: tuple[str, str] | None = None
    columns: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    text: bool = False
    repeated: bool = False
    careful: bool = False
    blank: bool = False
    rows: int = 0
    faults: tuple[tuple[str, str, int], ...] = ()
    aside: int = 0
    blanks: Mapping[str, int] = field(default_factory=dict)
    filled: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    number: int = 0
    unreadable: int = 0
    suspected: tuple[Suspicion, ...] = ()
    bytes: int = 0
    digest: str = ""

    def survey(self) -> Survey:
        """What `kept` and `rejects` need to know."""
        return Survey(
            self.rows,
            {(column, why): n for column, why, n in self.faults},
            self.aside,
            self.blanks,
            frozenset(self.filled),
            kinds=self.kinds,
        )

    @staticmethod
    def of(told: Mapping[str, Any]) -> Look:
        """From JSON."""
        return Look(**{name: _tuples(value) for name, value in told.items()})


@dataclass(frozen=True)
class Surveyed:
    """A source that is found fit to be used. looks: of each unit; columns: which every table has; cards: texts whose rows
    are rejected, by table."""

    feeds: tuple[Feed, ...]
    units: tuple[Unit, ...]
    looks: tuple[Look, ...]
    columns: Mapping[str, list[str]]
    cards: Mapping[str, Few]
    rows: Mapping[str, Rows]
    inputs: tuple[Input, ...]
    notes: tuple[str, ...]

    def as_json(self) -> str:
        """A text that `of` reads."""
        return json.dumps(asdict(self))

    @staticmethod
    def of(text: str) -> Surveyed:
        """From JSON."""
        told = json.loads(text)
        return Surveyed(
            tuple(Feed(**{**feed, "files": ()}) for feed in told["feeds"]),
            tuple(Unit(**{name: _tuples(value) for name, value in unit.items()}) for unit in told["units"]),
            tuple(map(Look.of, told["looks"])),
            told["columns"],
            {table: _tuples(few) for table, few in told["cards"].items()},
            {table: Rows(**rows) for table, rows in told["rows"].items()},
            tuple(Input(**one) for one in told["inputs"]),
            tuple(told["notes"]),
        )


def _tuples(value: Any) -> Any:
    """A value of JSON with tuples for lists."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def survey_units(spark: SparkSession, found: Found, settings: Settings) -> Surveyed:
    """Survey every unit, and refuse the source where the embedded engine would, with its sentences.

    Collected here: what was seen of each unit, with the spellings of its kinds, 2,001 at most; of texts of the shape of card
    numbers how many there are, and two of a column at most.
    """
    looks = _looks(spark, found, range(len(found.units)), {}, settings)
    columns: dict[str, list[str]] = {}
    cards: dict[str, Few] = {}
    rows: dict[str, Rows] = {}
    inputs: list[Input] = []
    used: dict[Path, set[str]] = {}
    told: list[tuple[str, list[Part], list[Survey], Known]] = []
    for table in dict.fromkeys(feed.table for feed in found.feeds):
        mine = [i for i, unit in enumerate(found.units) if found.feeds[unit.feed].table == table]
        _refuse(looks, mine, _STEPS[0])
        files = _files(found, mine)
        parts = [_part(found, looks, units) for units in files]
        repeated = [part for part, units in zip(parts, files, strict=True) if any(looks[i].repeated for i in units)]
        check_columns(table, [f for f in found.feeds if f.table == table], parts, partial(_one_of, repeated))
        for part in parts:
            used.setdefault(part.file.path, set()).update(part.feed.columns.get(c, c) for c in part.seen)
        _refuse(looks, mine, _STEPS[1])
        _refuse(looks, mine, _STEPS[2])
        refuse_many_spellings(max(looks[i].number for i in mine))
        few = few_cards(spark, found, mine, {i: looks[i].suspected for i in mine})
        if few:
            cards[table] = few
            looks |= _looks(spark, found, mine, cards, settings)
        surveys = [_summed([looks[i] for i in units]) for units in files]
        rows[table] = count_rows(table, surveys, settings)
        columns[table] = columns_kept(table, parts, surveys)
        for part, survey, units in zip(parts, surveys, files, strict=True):
            (of_file,) = (looks[i] for i in units if found.units[i].digest)
            inputs.append(Input(table, part.file.name, survey.rows, of_file.bytes, of_file.digest))
        told.append((table, parts, surveys, learn_texts(surveys, settings)))
    refuse_empty(rows)
    notes = (*found.notes, *(note for of_table in told for note in notes_of(*of_table, used)))
    seen = tuple(looks[i] for i in range(len(found.units)))
    return Surveyed(found.feeds, found.units, seen, columns, cards, rows, in_order(inputs), notes)


def _looks(
    spark: SparkSession, found: Found, which: Sequence[int], cards: Mapping[str, Few], settings: Settings
) -> dict[int, Look]:
    work = partial(_look, found.feeds, dict(cards), settings)
    with saying_why():
        rows = on_units(spark, found.units, which, work, _TOLD).collect()
    return {row["unit"]: Look.of(json.loads(row["told"])) for row in rows}


def _look(
    feeds: Sequence[Feed], cards: Mapping[str, Few], settings: Settings, number: int, unit: Unit
) -> Iterator[pa.RecordBatch]:
    feed = feeds[unit.feed]
    look = look_at(unit, feed, cards.get(feed.table, ()), settings)
    yield from one_row(_TOLD, unit=number, told=json.dumps(asdict(look)))


def look_at(unit: Unit, feed: Feed, cards: Few, settings: Settings) -> Look:
    """Survey one unit. cards: texts that are known to look like card numbers, whose rows are rejected."""
    told: dict[str, Any] = {"stamp": ""}
    step = _STEPS[0]
    scratch = Scratch()
    try:
        told["stamp"] = stamp_of(unit)
        if unit.rows == 0:
            told["bytes"], told["digest"] = digest_of_unit(unit)
            return Look(**told)
        with at_hand(unit) as (file, start):
            if unit.digest:
                told["bytes"], told["digest"] = digest_of(file)
            with unchanged(stamps_of([replace(feed, files=(file,))])):
                opened = opened_unit(unit, feed, file, start)
                told |= {
                    "columns": tuple(opened.columns),
                    "seen": tuple(sorted(opened.seen)),
                    "unread": opened.unread,
                    "text": opened.head is not None,
                    "repeated": names_repeat(opened),
                }
                step = _STEPS[1]
                if unit.start == 0:
                    refuse_in_unread(opened)
                step = _STEPS[2]
                part, found = survey_first(opened, Known(cards=cards), scratch)
                known = Known(cards=cards)
                while len(found.kinds) <= MOST_SPELLINGS and (now := _locally(found, cards, settings)) != known:
                    known = now
                    found = survey_part(part, known)
                told |= {
                    "careful": part.careful,
                    "blank": part is not opened and not part.careful,
                    "rows": found.rows,
                    "faults": tuple((*fault, n) for fault, n in found.faults.items()),
                    "aside": found.aside,
                    "blanks": dict(found.blanks),
                    "filled": tuple(sorted(found.filled)),
                    "kinds": found.kinds[: MOST_SPELLINGS + 1],
                    "number": len(found.kinds),
                    "unreadable": len(known.unreadable),
                    "suspected": tuple(_suspicion(s) for s in found.suspected),
                }
    except InputRefused as refused:
        told["refused"] = (step, str(refused))
    finally:
        scratch.close()
    return Look(**told)


def _locally(found: Survey, cards: Few, settings: Settings) -> Known:
    """What the unit itself tells of its texts, of which each is judged by itself."""
    return replace(learn_texts([found], settings), cards=cards)


def read_again(part: Part, look: Look, cards: Few, settings: Settings, scratch: Scratch) -> tuple[Part, Known, Survey]:
    """A unit as its survey found that it must be read: the part, what is known of its texts, and the survey."""
    if look.careful:
        part = open_carefully(part, scratch)
    elif look.blank:
        part = replace(part, raw=part.raw.filter(~pl.all_horizontal(pl.all().is_null())))
    found = look.survey()
    known = _locally(found, cards, settings)
    if look.unreadable:
        known = _locally(survey_part(part, known), cards, settings)
    return part, known, found


def _suspicion(suspected: Suspected) -> Suspicion:
    if suspected.texts is None:
        return suspected.column, -1, -1, suspected.by_kind
    of = judge(suspected.texts)
    return suspected.column, of.shaped, of.alike, suspected.by_kind


def _refuse(looks: Mapping[int, Look], which: Sequence[int], step: str) -> None:
    for i in which:
        refused = looks[i].refused
        if refused is not None and refused[0] == step:
            raise InputRefused(refused[1])


def _files(found: Found, which: Sequence[int]) -> list[list[int]]:
    """The units of each file, in their order."""
    files: dict[tuple[int, int], list[int]] = {}
    for i in which:
        files.setdefault((found.units[i].feed, found.units[i].file), []).append(i)
    return list(files.values())


def _part(found: Found, looks: Mapping[int, Look], units: Sequence[int]) -> Part:
    """The part of a file, without its rows: its last unit has some."""
    unit, look = found.units[units[-1]], looks[units[-1]]
    feed = found.feeds[unit.feed]
    return Part(
        feed,
        File(unit.name, Path(unit.place, unit.inside), unit.format),
        pl.LazyFrame(),
        {c: feed.columns.get(c, c) for c in look.columns},
        {},
        look.unread,
        frozenset(look.seen),
        Head(()) if look.text else None,
    )


def _one_of(parts: Sequence[Part], part: Part) -> bool:
    return any(part is other for other in parts)


def _summed(looks: Sequence[Look]) -> Survey:
    """The survey of a file, of all its units together."""
    faults: dict[tuple[str, str], int] = {}
    for look in looks:
        for column, why, n in look.faults:
            faults[column, why] = faults.get((column, why), 0) + n
    return Survey(
        sum(look.rows for look in looks),
        faults,
        sum(look.aside for look in looks),
        filled=frozenset(c for look in looks for c in look.filled),
        kinds=tuple(sorted({kind for look in looks for kind in look.kinds})),
    )
