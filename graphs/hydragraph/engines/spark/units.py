"""What the tasks read: files of the source, and ranges of the rows of large ones."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from hydragraph.engines.spark.places import files_in, is_uri, open_place
from hydragraph.errors import InputRefused
from hydragraph.loaders.files import Feed, File, Format, find_feeds
from hydragraph.loaders.scan import Part, open_part
from hydragraph.loaders.source import check_tables, digest_of_bytes, no_source
from hydragraph.unfinished import Temporary

if TYPE_CHECKING:
    from pyarrow import NativeFile
    from pyarrow.fs import FileSystem

    from hydragraph.loaders.mapping import Entry

LARGE = 64 << 20
"""Bytes of a file of Parquet from which on it is cut into ranges of rows, and of the units of one task, at most."""

_LEAST = 1 << 20
_TASKS = 16
"""Tasks into which a small source is cut, as long as each has _LEAST bytes."""

WHOLE = -1


@dataclass(frozen=True)
class Unit:
    """A file as it feeds a table, or some of its rows.

    feed: position of the feed; file: position of the file in it. name: as shown to people. place: a path that every
    executor reaches, or a URI; inside: what follows it, '' if it is the file itself. size: bytes of the file. start, rows:
    which rows to read, rows = WHOLE: all, 0: none, only the digest is asked for. digest: whether this unit gives it.
    groups: of a range, the row groups of the Parquet file that hold it, from the first up to, but not with, the second.
    """

    feed: int
    file: int
    name: str
    place: str
    inside: str
    format: Format
    size: int
    start: int = 0
    rows: int = WHOLE
    digest: bool = True
    groups: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Found:
    """The tables of a source. feeds: how they are fed, without files; notes: sentences on files that feed none."""

    feeds: tuple[Feed, ...]
    units: tuple[Unit, ...]
    notes: tuple[str, ...]


def find_units(places: Sequence[str], mapping: str | Path | None) -> Found:
    """What there is to be read at some places: paths, and URIs of s3, gs, hdfs, abfss or file.

    Tables are recognised as in loaders.files: of a URI by an empty copy of what is there. Raises InputRefused as find_feeds
    does, and for what only the embedded engine reads. Held here: a row a file.
    """
    if not places and mapping is None:
        raise no_source()
    entries: Mapping[str, Sequence[Entry]] = {}
    if mapping is not None:
        from hydragraph.loaders.mapping import read_mapping

        entries = read_mapping(mapping)
    copy = Temporary()
    try:
        paths = [
            Path(place) if not is_uri(place) else _empty_copy(place, copy.path / str(i))
            for i, place in enumerate(places)
        ]
        roots = {path: place for path, place in zip(paths, places, strict=True) if is_uri(place)}
        feeds, notes = find_feeds(paths, entries, None if mapping is None else Path(mapping))
        check_tables(feeds)
        for feed in feeds:
            if feed.query is not None:
                raise InputRefused(
                    f"mapping file: [{feed.table}] names a database or a Delta table, which the Spark engine does not read;"
                    " write its rows to Parquet files, or use the embedded engine"
                )
        sizes = {place: {path: size for path, size, *_ in files_in(place)} for place in roots.values()}
        units = [
            unit
            for i, feed in enumerate(feeds)
            for j, file in enumerate(feed.files)
            for unit in _cut(_whole(i, j, file, roots, sizes))
        ]
    finally:
        copy.close()
    return Found(tuple(replace(feed, files=()) for feed in feeds), tuple(units), tuple(notes))


def _empty_copy(place: str, folder: Path) -> Path:
    """A folder or file of the name that a URI ends with, and in it an empty file for every file below the URI."""
    _, path = open_place(place)
    found = files_in(place)
    if not found:
        raise InputRefused(f"source {PurePosixPath(path).name or place}: no such file or folder")
    root = folder / (PurePosixPath(path).name or "source")
    for name, *_ in found:
        inside = PurePosixPath(name).relative_to(path)
        if ".." in inside.parts or "\0" in str(inside):
            raise InputRefused(f"source {root.name}: the name of a file leads out of it")
        target = root / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    return root


def _whole(
    feed: int, number: int, file: File, roots: Mapping[Path, str], sizes: Mapping[str, Mapping[str, int]]
) -> Unit:
    for root, place in roots.items():
        if file.path.is_relative_to(root):
            inside = file.path.relative_to(root).as_posix()
            inside = "" if inside == "." else inside
            path = open_place(place)[1]
            size = sizes[place][f"{path}/{inside}" if inside else path]
            return Unit(feed, number, file.name, place, inside, file.format, size)
    path = os.path.abspath(file.path)  # noqa: PTH100 -- links stay as they are
    size = file.path.stat().st_size if file.path.is_file() else 0
    return Unit(feed, number, file.name, path, "", file.format, size)


def _cut(unit: Unit) -> list[Unit]:
    """A large file of Parquet in ranges of whole row groups, and a unit that gives its digest; any other as it is."""
    if unit.format != "parquet" or unit.size < 2 * LARGE:
        return [unit]
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with _opened(unit) as raw:
            metadata = ParquetFile(raw).metadata
    except (OSError, ArrowException):
        return [unit]  # who reads it says what is wrong
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    if len(groups) < 2:
        return [unit]
    found = [replace(unit, rows=0)]
    start = first = rows = size = 0
    for i, group in enumerate(groups):
        rows += group.num_rows
        size += sum(group.column(c).total_compressed_size for c in range(group.num_columns))
        if size >= LARGE or i == len(groups) - 1:
            found.append(replace(unit, start=start, rows=rows, digest=False, size=size, groups=(first, i + 1)))
            start, rows, size, first = start + rows, 0, 0, i + 1
    return found


def packed(units: Sequence[Unit]) -> list[list[int]]:
    """Numbers of the units of each task: neighbours, together no larger than LARGE, and less in a small source."""
    most = min(LARGE, max(_LEAST, sum(unit.size for unit in units) // _TASKS))
    tasks: list[list[int]] = []
    size = 0
    for i, unit in enumerate(units):
        if not tasks or size + unit.size > most:
            tasks.append([])
            size = 0
        tasks[-1].append(i)
        size += unit.size
    return tasks


def stamp_of(unit: Unit) -> str:
    """By what is seen that a file has changed: its size and its time of change, on a disk also the system's own. Raises
    InputRefused if it is not reached."""
    try:
        if not is_uri(unit.place):
            state = Path(unit.place).stat()
            return f"{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}"
        system, path = _place(unit)
        info = system.get_file_info(path)
    except OSError as error:
        raise _closed(unit, error) from None
    return f"{info.size} {info.mtime_ns}"


def _closed(unit: Unit, error: OSError) -> InputRefused:
    return InputRefused(f"{unit.name}: cannot be opened ({error.strerror or 'its place gives no reason'})")


@contextmanager
def at_hand(unit: Unit) -> Iterator[tuple[File, int]]:
    """The file of a unit on a path of this machine, and its first row there: a copy in a temporary folder of what a URI
    names, of a range only its row groups. A unit that only gives a digest has none.

    Raises InputRefused if it cannot be opened.
    """
    if not is_uri(unit.place):
        yield File(unit.name, Path(unit.place), unit.format), unit.start
        return
    copy = Temporary()
    try:
        target = copy.path / f"0{PurePosixPath(unit.inside or unit.place).name[-64:]}"
        try:
            start = _copied(unit, target)
        except OSError as error:
            raise _closed(unit, error) from None
        yield File(unit.name, target, unit.format), start
    finally:
        copy.close()


def digest_of_unit(unit: Unit) -> tuple[int, str]:
    """loaders.source.digest_of, of a file that need not be on this machine: it is read in passing."""
    try:
        system, path = _place(unit)
        with system.open_input_stream(path, compression=None) as raw:
            return digest_of_bytes(raw)
    except OSError as error:
        raise _closed(unit, error) from None


def opened_unit(unit: Unit, feed: Feed, file: File, start: int) -> Part:
    """The file of a unit, or its rows, as a part. start: its first row in the file at hand."""
    part = open_part(replace(feed, files=(file,)), file)
    return part if unit.rows < 0 else replace(part, raw=part.raw.slice(start, unit.rows), first=unit.start + 1)


def _copied(unit: Unit, target: Path) -> int:
    from pyarrow.fs import LocalFileSystem, copy_files
    from pyarrow.parquet import ParquetFile, ParquetWriter

    if unit.rows == WHOLE:
        system, path = _place(unit)
        copy_files(path, str(target), source_filesystem=system, destination_filesystem=LocalFileSystem())
        return unit.start
    with _opened(unit) as raw:
        file = ParquetFile(raw)
        with ParquetWriter(target, file.schema_arrow, compression="lz4") as writer:
            for group in range(*unit.groups):
                writer.write_table(file.read_row_group(group))
    return 0


def _place(unit: Unit) -> tuple[FileSystem, str]:
    system, path = open_place(unit.place)
    return system, f"{path}/{unit.inside}" if unit.inside else path


def _opened(unit: Unit) -> NativeFile:
    system, path = _place(unit)
    return system.open_input_file(path)
