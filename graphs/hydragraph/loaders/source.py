"""A source, opened: which rows of which files can be read, why the others cannot, and lazy frames of the good ones."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import polars as pl

from hydragraph.errors import InputRefused
from hydragraph.loaders.card_columns import refuse_card_numbers, refuse_in_unread
from hydragraph.loaders.checking import Known, Survey, kept, learn, rejects, survey
from hydragraph.loaders.files import Feed, File, find_feeds
from hydragraph.loaders.heads import repeats
from hydragraph.loaders.queries import fetch, open_query
from hydragraph.loaders.scan import (
    POLARS_REFUSES,
    Part,
    Scratch,
    blank_lines,
    damaged,
    open_carefully,
    open_part,
    without_blank_lines,
)
from hydragraph.loaders.stamps import Stamps, stamps_of, unchanged
from hydragraph.naming import refused_word
from hydragraph.schema import INPUT, LINK_SOURCES, OUTPUT
from hydragraph.settings import Settings

if TYPE_CHECKING:
    from hydragraph.loaders.mapping import Entry

_LONGEST_NAME = 64
_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Rows:
    """How many rows of a table were read = kept + rejected. set_aside: kept rows that are left out of the frame,
    because their kind is refused as evidence or because they hold no link."""

    read: int
    kept: int
    rejected: int
    set_aside: int


@dataclass(frozen=True)
class Input:
    """One file, query or Delta table of a source. file: name inside the source; rows: data rows, rejected ones included;
    bytes: as stored; digest: 'sha256:' and 64 hexadecimal digits, of the file as stored. Of a query or Delta table both are
    of the rows that were read, see `queries.fetch`."""

    table: str
    file: str
    rows: int
    bytes: int
    digest: str


@dataclass(frozen=True, repr=False)
class Source:
    """Checked tables, ready to scan.

    tables: the tables the source has, as lazy frames of the rows kept. Columns are those declared in schema.INPUT that
        any file of the table has, required ones always, in that order and of the declared types; the order of the rows
        is not specified. A missing value is null; identifiers are otherwise exactly as the source wrote them.
    rows: counts per table. rejects: the rows not read, sorted, as schema.OUTPUT['rejects'] has them.
    inputs: the files, by table and name. notes: sentences on what was left out; names and counts, no values.

    Files that only the line reader could read, and what queries gave, stand in a temporary folder as long as the Source
    lives.
    """

    tables: Mapping[str, pl.LazyFrame]
    rows: Mapping[str, Rows]
    rejects: pl.DataFrame
    inputs: tuple[Input, ...]
    notes: tuple[str, ...]
    _scratch: Scratch = field(default_factory=Scratch, compare=False)
    _stamps: Stamps = field(default_factory=dict, compare=False)

    def reading(self) -> AbstractContextManager[None]:
        """A block in which the tables are read; InputRefused if a file has changed since the source was opened."""
        return unchanged(self._stamps)

    def without_tables(self) -> Source:
        """The same without its rows, of which nothing stays in memory or in temporary files."""
        self._scratch.close()
        return replace(self, tables={}, _scratch=Scratch())

    def __repr__(self) -> str:
        return f"<Source {', '.join(f'{t} {r.kept} of {r.read} rows' for t, r in self.rows.items())}>"


def open_source(
    source: str | Path | Sequence[str | Path],
    *,
    mapping: str | Path | None = None,
    settings: Settings = Settings(),  # noqa: B008 -- frozen
    private: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Source:
    """Find the tables of a source, check every row, and give lazy frames of the rows that can be read.

    source: a folder, a file, or several; see `files` for how tables are recognised. mapping: a TOML file as described in
    `mapping`; where it names a database or Delta table for every table it speaks of, source may be empty. settings:
    max_rejects, and the address prefixes. private: nothing is written to temporary files; rows that would be are held in
    memory. progress: called with what is done when it begins.

    Memory does not grow with the number of rows, except for the rejects, distinct addresses in unusual forms, and Arrow
    files in the stream format. Raises InputRefused, with one sentence and before anything is given back, for a source
    that cannot be used. A file that changes while it is read is refused. Not checked: damage inside a Parquet or Arrow
    file that still decodes.
    """
    paths = [Path(source)] if isinstance(source, (str, Path)) else [Path(s) for s in source]
    if not paths and mapping is None:
        raise no_source()
    entries: Mapping[str, Sequence[Entry]] = {}
    if mapping is not None:
        from hydragraph.loaders.mapping import read_mapping  # pydantic only where a mapping is given

        entries = read_mapping(mapping)
    feeds, notes = find_feeds(paths, entries, None if mapping is None else Path(mapping))
    check_tables(feeds)
    stamps = stamps_of(feeds)
    scratch = Scratch(in_memory=private)
    executor = ThreadPoolExecutor(max_workers=1)  # hashing waits for the disk while polars computes
    try:
        digests = {f.path: executor.submit(digest_of, f) for feed in feeds for f in feed.files}
        with unchanged(stamps):
            result = _read(feeds, notes, digests, scratch, settings, progress or (lambda stage: None))
    except BaseException:
        scratch.close()
        raise
    finally:
        executor.shutdown(cancel_futures=True)
    return replace(result, _stamps=stamps)


def _read(
    feeds: Sequence[Feed],
    notes: list[str],
    digests: Mapping[Path, Future[tuple[int, str]]],
    scratch: Scratch,
    settings: Settings,
    progress: Callable[[str], None],
) -> Source:
    tables: dict[str, pl.LazyFrame] = {}
    rows: dict[str, Rows] = {}
    rejected: list[pl.DataFrame] = []
    inputs: list[Input] = []
    surveyed: dict[str, tuple[list[Part], list[Survey], Known]] = {}
    used: dict[Path, set[str]] = {}
    for table in dict.fromkeys(feed.table for feed in feeds):
        progress(f"reading {table}")
        mine = [feed for feed in feeds if feed.table == table]
        parts = [
            part
            for feed in mine
            for part in ([open_query(feed, scratch)] if feed.query else [open_part(feed, file) for file in feed.files])
        ]
        check_columns(table, mine, parts)
        for part in (p for p in parts if not p.feed.query):
            used.setdefault(part.file.path, set()).update(part.feed.columns.get(c, c) for c in part.seen)
        for part in parts:
            refuse_in_unread(part)
        fetched = [fetch(part, scratch) if part.reader else (part, 0, "") for part in parts]
        parts = [part for part, _, _ in fetched]
        parts, found, known = _survey_all(parts, scratch, settings)
        refuse_card_numbers(table, found)
        rows[table] = count_rows(table, found, settings)
        rejected += [rejects(p, known, s) for p, s in zip(parts, found, strict=True)]
        columns = columns_kept(table, parts, found)
        frames = [kept(p, known, s, columns) for p, s in zip(parts, found, strict=True) if s.rows > s.rejected]
        tables[table] = pl.concat(frames) if frames else INPUT[table].empty().select(columns).lazy()
        for p, s, (_, size, digest) in zip(parts, found, fetched, strict=True):
            if not p.feed.query:
                size, digest = digests[p.file.path].result()
            inputs.append(Input(table, p.file.name, s.rows, size, digest))
        surveyed[table] = parts, found, known
    refuse_empty(rows)
    for table, (parts, found, known) in surveyed.items():
        notes += notes_of(table, parts, found, known, used)
    return Source(
        tables=tables,
        rows=rows,
        rejects=OUTPUT["rejects"].conform(pl.concat([OUTPUT["rejects"].empty(), *rejected])),
        inputs=in_order(inputs),
        notes=tuple(notes),
        _scratch=scratch,
    )


def columns_kept(table: str, parts: Sequence[Part], found: Sequence[Survey]) -> list[str]:
    """The columns of a table that its rows have: the required ones, and those that any part of it has."""
    seen = {c for p, s in zip(parts, found, strict=True) for c in (*p.seen, *s.filled, *p.feed.constant)}
    return [c.name for c in INPUT[table].columns if c.required or c.name in seen]


def in_order(inputs: Iterable[Input]) -> tuple[Input, ...]:
    """By table and name."""
    return tuple(sorted(inputs, key=lambda i: (list(INPUT).index(i.table), i.file)))


def _survey_all(parts: Sequence[Part], scratch: Scratch, settings: Settings) -> tuple[list[Part], list[Survey], Known]:
    """Survey every part until the surveys tell nothing new: first the kinds of links, then which addresses look odd,
    then how many rows that costs. One round is enough where neither occurs."""
    known = Known()
    surveyed = [survey_first(part, known, scratch) for part in parts]
    parts, found = [p for p, _ in surveyed], [s for _, s in surveyed]
    while (now := learn(found, settings)) != known:
        known = now
        found = [survey_part(part, known) for part in parts]
    return parts, found, known


def survey_first(part: Part, known: Known, scratch: Scratch) -> tuple[Part, Survey]:
    """Survey a part in the quick way if that can be trusted, else with the careful reader."""
    if not part.quick_text:
        return part, survey_part(part, known)
    quick: Part | None = None
    try:
        blank = blank_lines(part) if part.file.format == "csv" and part.head and part.head.columns else 0
        if blank is not None:
            found = survey(part, known)
            quick = None if found.doubtful else without_blank_lines(part, blank) if blank else part
    except POLARS_REFUSES:
        quick = None
    if quick is part:
        return part, found
    part = quick or open_carefully(part, scratch)
    return part, survey_part(part, known)


def survey_part(part: Part, known: Known) -> Survey:
    """`survey`, which refuses a file that cannot be read to its end."""
    try:
        return survey(part, known)
    except POLARS_REFUSES:
        raise damaged(part.file) from None


def digest_of(file: File) -> tuple[int, str]:
    """The size of a file in bytes, and 'sha256:' with 64 hexadecimal digits."""
    try:
        with file.path.open("rb") as raw:
            return digest_of_bytes(raw)
    except OSError as error:
        raise InputRefused(f"{file.name}: cannot be opened ({error.strerror})") from None


def digest_of_bytes(raw: IO[bytes]) -> tuple[int, str]:
    """The same of what an open file has to read."""
    digest, size = hashlib.sha256(), 0
    while part := raw.read(_AT_ONCE):
        digest.update(part)
        size += len(part)
    return size, f"sha256:{digest.hexdigest()}"


def no_source() -> InputRefused:
    """The error for neither a source nor a mapping."""
    return InputRefused("no source given; name a folder or files, or a mapping file that names databases")


def check_tables(feeds: Sequence[Feed]) -> None:
    """Refuse feeds that give no table, none with links, or a table without files."""
    tables = dict.fromkeys(feed.table for feed in feeds)
    if not tables:
        raise InputRefused(
            f"no table found in the source; call a file or folder {', '.join(INPUT)}, or say in a mapping file what"
            " the files hold"
        )
    if not any(t in LINK_SOURCES for t in tables):
        raise InputRefused(
            f"the source has only {' and '.join(tables)}; at least one of {', '.join(LINK_SOURCES)} is needed"
        )
    for feed in feeds:
        if not feed.files and feed.query is None:
            raise InputRefused(f"{feed.table}: the folder holds no file that can be read")


def refuse_empty(rows: Mapping[str, Rows]) -> None:
    """Raise InputRefused if no table with links has any row."""
    if not any(rows[t].read for t in LINK_SOURCES if t in rows):
        raise InputRefused(f"empty source: no rows in {', '.join(t for t in LINK_SOURCES if t in rows)}")


def names_repeat(part: Part) -> bool:
    """Whether the header of a CSV file is one of its rows."""
    return part.head is not None and part.file.format == "csv" and repeats(part.file, part.head)


def check_columns(
    table: str, feeds: Sequence[Feed], parts: Sequence[Part], repeated: Callable[[Part], bool] = names_repeat
) -> None:
    """Refuse a required or mapped column that no file of a feed has. repeated: gives `names_repeat`, for parts whose file
    is not at hand."""
    for feed in feeds:
        mine = [p for p in parts if p.feed is feed]
        names = dict.fromkeys(n for p in mine for n in (*(feed.columns.get(c, c) for c in p.seen), *p.unread))
        if not names:
            continue  # empty files: no rows either
        found = f"the columns found are {_listed(sorted(names))}"
        if not all(_is_name(n) for n in names) or any(repeated(p) for p in mine):
            text = any(p.head for p in mine)
            found = f"{'its first line does' if text else 'the names of its columns do'} not look like a header"
        seen = {c for p in mine for c in p.seen} | set(feed.constant)
        for column, theirs in feed.columns.items():
            if column not in seen:
                where = "the query gives no" if feed.query else "no file has the"
                raise InputRefused(f"mapping file: [{table}] {where} column {theirs!r}; {found}")
        for column in INPUT[table].required:
            if column not in seen:
                raise InputRefused(
                    f"{table}: the required column {column} is missing; {found}; say in a mapping file which it is"
                )


def count_rows(table: str, found: Sequence[Survey], settings: Settings) -> Rows:
    """The row counts of a table. Raises InputRefused when more than settings.max_rejects of it cannot be read."""
    read = sum(s.rows for s in found)
    faults: Counter[tuple[str, str]] = Counter()
    for s in found:
        faults.update(s.faults)
    rejected = faults.total()
    if rejected > settings.max_rejects * read:
        (column, reason), most = min(faults.items(), key=lambda f: (-f[1], f[0]))
        where = f"column {column}: {reason}" if column else reason
        raise InputRefused(
            f"{table}: {rejected} of {read} rows cannot be read, more than the {settings.max_rejects:.3%} allowed"
            f" (--max-rejects); most often ({most} rows) {where}"
        )
    return Rows(read, read - rejected, rejected, sum(s.aside for s in found))


def notes_of(
    table: str, parts: Sequence[Part], found: Sequence[Survey], known: Known, used: Mapping[Path, set[str]]
) -> list[str]:
    """Sentences on what of a table is left out. used: names of the columns that anything is made of, by file."""
    unread = {n for p in parts for n in p.unread if n not in used.get(p.file.path, ())}
    personal = {n for n in unread if refused_word(n)}
    notes = []
    named = {n for n in unread - personal if _is_name(n)}
    if unread - personal:
        odd = len(unread - personal - named)
        said = [_listed(sorted(named))] * bool(named) + [f"{odd} whose names look like values"] * bool(odd)
        notes.append(f"{table}: columns not read, because they are not declared: {' and '.join(said)}.")
    if personal:
        notes.append(f"{table}: columns that say who people are, never read: {_listed(sorted(personal))}.")
    refused = sum(s.aside for p, s in zip(parts, found, strict=True) if "kind" in p.columns)
    if refused:
        # the words of the schema: what stands in a column of the source may be a value gone astray
        words = sorted({word for word in map(refused_word, known.refused) if word})
        notes.append(f"{table}: {refused} rows set aside, because their kind says who people are: {', '.join(words)}.")
    empty = sum(s.aside for s in found) - refused
    if empty:
        notes.append(f"{table}: {empty} rows set aside, because they hold no value of the kind the mapping gives.")
    return notes


def _is_name(text: str) -> bool:
    """Whether a column's name can be one and not a value of a file without a header: any value may be personal data."""
    plain = text[:1].replace("_", "a").isalpha() and "@" not in text
    return plain and len(text) <= _LONGEST_NAME and sum(map(str.isdigit, text)) < 4


def _listed(names: Sequence[str]) -> str:
    """Names as text that can be written anywhere, quoted where they are not plain words."""
    return ", ".join(n if n.isidentifier() else repr(n) for n in names)
