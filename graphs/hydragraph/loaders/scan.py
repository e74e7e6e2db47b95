"""A file of a feed as a lazy frame: with polars where polars can be trusted, else by way of the careful reader."""

from __future__ import annotations

import glob
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from hydragraph.errors import InputRefused
from hydragraph.loaders.arrow_lengths import lengths_fit
from hydragraph.loaders.files import Feed, File
from hydragraph.loaders.heads import Head, csv_head, ndjson_head, refuse_too_wide
from hydragraph.loaders.slow import FAULT, ROW, rewrite
from hydragraph.loaders.unpacking import refuse_bomb, refuse_long_line
from hydragraph.schema import INPUT
from hydragraph.unfinished import Temporary, saying_what_to_do

if TYPE_CHECKING:
    from hydragraph.loaders.databases import Reader

POLARS_REFUSES = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)

# polars checks the number of fields in a row only if it reads them all.
_READ_ALL = pl.QueryOptFlags(projection_pushdown=False)
_READ_NEEDED = pl.QueryOptFlags()


@dataclass(frozen=True)
class Part:
    """One file as it feeds one table.

    raw: every column of the file (of NDJSON: every declared one). columns: canonical name -> name in `raw`.
    dtypes: of the canonical columns. unread: names in the file that feed nothing. seen: canonical columns the file is
    known to have. head: of a text file. first: number of the first row in its file. careful: read by the line reader, or
    rows of a database without types; `raw` has ROW and FAULT as well then. ordered: rows have numbers, which those of a
    query have not. reader: of a query that has not been run yet; `raw` and `dtypes` are empty until then.
    """

    feed: Feed
    file: File
    raw: pl.LazyFrame
    columns: Mapping[str, str]
    dtypes: Mapping[str, pl.DataType]
    unread: tuple[str, ...]
    seen: frozenset[str]
    head: Head | None = None
    first: int = 1
    careful: bool = False
    ordered: bool = True
    reader: Reader | None = None

    @property
    def quick_text(self) -> bool:
        """Whether polars reads a text file, and what it says needs a second look."""
        return self.head is not None and not self.careful

    def frame(self, *, numbered: bool = False) -> pl.LazyFrame:
        """The canonical columns as the file has them; numbered: with ROW. A careful part has ROW and FAULT."""
        raw = self.raw
        if numbered and not self.careful:
            raw = (
                raw.with_row_index(ROW, offset=self.first)
                if self.ordered
                else raw.with_columns(pl.lit(None).alias(ROW))
            )
        beside = [ROW, FAULT] if self.careful else [ROW] if numbered else []
        return raw.select(*(pl.col(name).alias(c) for c, name in self.columns.items()), *beside)

    def collect(self, query: pl.LazyFrame, *, check: bool = False) -> pl.DataFrame:
        """Run a query on this part in bounded memory. check: let polars look at every field of a CSV file."""
        whole = check and self.quick_text and self.file.format == "csv"
        return query.collect(engine="streaming", optimizations=_READ_ALL if whole else _READ_NEEDED)


@dataclass(frozen=True)
class Shelf:
    """Frames set aside as Parquet, in files of a folder or, without one, in memory."""

    folder: Path | None
    held: list[Path | bytes] = field(default_factory=list)

    def add(self, frame: pl.DataFrame) -> None:
        """Put a frame behind the others."""
        place = io.BytesIO() if self.folder is None else self.folder / f"{len(self.held)}.parquet"
        with saying_what_to_do(self.folder, temporary=True):
            frame.write_parquet(place, compression="lz4")
        self.held.append(place if isinstance(place, Path) else place.getvalue())

    def scan(self) -> pl.LazyFrame:
        """All of them under each other."""
        return pl.scan_parquet(self.held, glob=False)  # type: ignore[arg-type]


class Scratch:
    """A private temporary folder, made at first use and removed with the object, at `close` or when Python ends.

    in_memory: what stands on shelves is kept in memory, and there is no folder.
    """

    def __init__(self, *, in_memory: bool = False) -> None:
        self._held: Temporary | None = None
        self._used = 0
        self.in_memory = in_memory

    def folder(self) -> Path:
        """A new empty folder inside."""
        if self._held is None:
            self._held = Temporary()
        self._used += 1
        made = self._held.path / str(self._used)
        made.mkdir()
        return made

    def shelf(self) -> Shelf:
        """A place for frames: a new folder inside, or memory."""
        return Shelf(None if self.in_memory else self.folder())

    def close(self) -> None:
        """Remove the folder now."""
        if self._held is not None:
            self._held.close()


def open_part(feed: Feed, file: File) -> Part:
    """The quick way to read a file. Raises InputRefused for one that is damaged, empty of any columns excepted."""
    try:
        if file.format in ("csv", "ndjson"):
            refuse_bomb(file)
            part = _open_csv(feed, file) if file.format == "csv" else _open_ndjson(feed, file)
            refuse_long_line(file, part.head.eol if part.head else "\n")
            return part
        raw = _scan_binary(file)
        schema = raw.collect_schema()
    except POLARS_REFUSES:
        raise damaged(file) from None
    refuse_too_wide(file, schema.names())
    columns = columns_of(feed, schema.names())
    return Part(
        feed,
        file,
        raw,
        columns,
        {c: schema[name] for c, name in columns.items()},
        tuple(n for n in schema.names() if n not in columns.values()),
        frozenset(columns),
    )


def open_carefully(part: Part, scratch: Scratch) -> Part:
    """The same part of a text file, read line by line. Raises InputRefused when it cannot be read to its end."""
    head = part.head
    assert head is not None
    theirs = columns_of(part.feed, head.columns) if part.file.format == "csv" else dict(part.columns)
    shelf = scratch.shelf()
    rewrite(part.feed.table, part.file, head, theirs, texts_of(part.feed.table), shelf)
    return replace(
        part,
        raw=shelf.scan(),
        columns={c: c for c in theirs},
        dtypes=_strings(theirs),
        careful=True,
    )


def damaged(file: File) -> InputRefused:
    """The error for a file that cannot be read as what its suffix says."""
    called = {"ipc": "Arrow IPC", "parquet": "Parquet", "csv": "CSV", "ndjson": "NDJSON"}[file.format]
    return InputRefused(f"{file.name}: cannot be read as {called}; the file is damaged, cut off or of another format")


def blank_lines(part: Part) -> int | None:
    """How many lines of a CSV file are blank; None where a line is not a whole record in plain quotes, or the first is
    blank.

    polars reads such a line as something (it drops stray quotes, joins rows, overlooks a last field too many) without a
    word, so that only the careful reader will do.
    """
    head = part.head
    if head is None or head.eol != "\n":
        return None
    separator, most = re.escape(head.separator), len(head.columns) - 1
    field = rf'(?:[^"\r{separator}]*|"(?:[^"]|"")*")'
    line = pl.col("line")
    plain = line.str.contains(rf"^\x{{FEFF}}?{field}(?:{separator}{field}){{0,{most}}}\r?$")
    blank = line.str.strip_chars("\r") == ""
    lines = pl.scan_lines(part.file.path, glob=False)
    found = lines.select(plain=plain.all() & ~blank.first(), blank=blank.sum()).collect(engine="streaming")
    return int(found["blank"][0]) if found["plain"][0] else None


def without_blank_lines(part: Part, blank: int) -> Part | None:
    """The part of a CSV file without its blank lines, which polars gives as rows of nulls; None if there are other
    such rows (',,') among them, which only the careful reader can tell apart."""
    empty = pl.all_horizontal(pl.all().is_null())
    nulls = part.collect(part.raw.select(empty.sum())).item()
    return replace(part, raw=part.raw.filter(~empty)) if nulls == blank else None


def _open_csv(feed: Feed, file: File) -> Part:
    wanted = {feed.columns.get(c, c) for c in INPUT[feed.table].names}
    head = csv_head(file, feed.separator, wanted)
    columns = columns_of(feed, head.columns)
    places = {name: f"column {i}" for i, name in enumerate(head.columns)}
    if head.columns:
        raw = pl.scan_csv(
            file.path,
            separator=head.separator,
            eol_char=head.eol,
            infer_schema=False,
            new_columns=[f"column {i}" for i in range(len(head.columns))],
            glob=False,
        )
    else:
        raw = pl.LazyFrame()
    return Part(
        feed,
        file,
        raw,
        {c: places[name] for c, name in columns.items()},
        _strings(columns),
        tuple(n for n in head.columns if n and n not in columns.values()),
        frozenset(columns),
        head,
    )


def _open_ndjson(feed: Feed, file: File) -> Part:
    head = ndjson_head(file)
    # A key may turn up late in the file: every declared column is looked for.
    columns = {c: feed.columns.get(c, c) for c in INPUT[feed.table].names if c not in feed.constant}
    # This scan has no `glob` to turn off.
    raw = pl.scan_ndjson(glob.escape(str(file.path)), schema=dict.fromkeys(columns.values(), pl.String()))
    unread = tuple(n for n in head.columns if n not in columns.values())
    seen = frozenset(c for c, name in columns.items() if name in head.columns)
    return Part(feed, file, raw, columns, _strings(columns), unread, seen, head)


def _scan_binary(file: File) -> pl.LazyFrame:
    if file.format == "parquet":
        return pl.scan_parquet(file.path, glob=False, hive_partitioning=False)
    if not lengths_fit(file.path):
        raise damaged(file)
    with file.path.open("rb") as raw:
        stream = raw.read(6) != b"ARROW1"
    # The stream format cannot be scanned: such a file is held in memory.
    return (
        pl.read_ipc_stream(file.path).lazy() if stream else pl.scan_ipc(file.path, glob=False, hive_partitioning=False)
    )


def columns_of(feed: Feed, names: tuple[str, ...] | list[str]) -> dict[str, str]:
    """Canonical column -> name in the file, for the declared columns that a file with these names has."""
    theirs = {c: feed.columns.get(c, c) for c in INPUT[feed.table].names if c not in feed.constant}
    return {c: name for c, name in theirs.items() if name in names}


def _strings(columns: Mapping[str, str]) -> dict[str, pl.DataType]:
    return dict.fromkeys(columns, pl.String())


def texts_of(table: str) -> set[str]:
    """The canonical columns of a table that hold text, not times or counts."""
    return {c.name for c in INPUT[table].columns if c.type in ("identifier", "text", "address")}
