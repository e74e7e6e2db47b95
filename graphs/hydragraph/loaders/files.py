"""What a source holds: its files, their formats, and which of them feed which table.

A table is a file or a folder called accounts, api_keys, payments, events, links or ranges; upper case, '-' and ' ' for
'_' make no difference. In a folder of part files every readable file counts, however deep and whatever its format.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Literal

from hydragraph.errors import InputRefused
from hydragraph.schema import INPUT

if TYPE_CHECKING:
    from hydragraph.loaders.mapping import Entry

Format = Literal["parquet", "csv", "ndjson", "ipc"]

FORMATS: dict[str, Format] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".jsonlines": "ndjson",
    ".json": "ndjson",
    ".arrow": "ipc",
    ".ipc": "ipc",
    ".feather": "ipc",
}
PACKED = (".gz", ".zst")
"""Compression on top of csv and ndjson; the other formats compress by themselves."""

MOST_DEPTHS = 2
"""How often `**` may stand in one pattern."""

BESIDE = frozenset({"truth", "world"})
"""Files that a synthetic world has beside its tables: never read with them, and not worth a note."""


@dataclass(frozen=True, order=True)
class File:
    """One file of a source. name: as shown to people, relative to the source."""

    name: str
    path: Path
    format: Format


@dataclass(frozen=True)
class Query:
    """Rows that stand in no file of the source. name: as shown to people, with no part of a connection string; file: of a
    DuckDB or SQLite database; database: the connection string of one that is no file; delta: folder of a Delta table."""

    name: str
    sql: str = field(default="", repr=False)
    file: Path | None = None
    database: str = field(default="", repr=False)
    delta: Path | None = None


@dataclass(frozen=True)
class Feed:
    """Files, or a query, that feed one table in one way. columns: canonical name -> name there, where they differ;
    constant: canonical text columns that hold one value in every row; separator: of CSV files, None to find out."""

    table: str
    files: tuple[File, ...]
    columns: Mapping[str, str] = field(default_factory=dict)
    constant: Mapping[str, str] = field(default_factory=dict)
    separator: str | None = None
    query: Query | None = None


@dataclass(frozen=True)
class _Found:
    """A file or folder at the top of a source. `leaves`: a link that leads out of the source."""

    name: str
    path: Path
    leaves: bool = False
    explicit: bool = False


def table_name(name: str) -> str | None:
    """The input table that a file or folder of this name holds, None if it is none."""
    stem = _stem(name).strip().lower().replace("-", "_").replace(" ", "_")
    return stem if stem in INPUT else None


def file_format(name: str) -> Format | None:
    """The format by suffix, None if it is none of those that can be read."""
    path = PurePath(name.lower())
    if path.suffix in PACKED:
        inner = FORMATS.get(PurePath(path.stem).suffix)
        return inner if inner in ("csv", "ndjson") else None
    return FORMATS.get(path.suffix)


def _stem(name: str) -> str:
    if file_format(name) is None:
        return name
    path = PurePath(name)
    return PurePath(path.stem).stem if path.suffix.lower() in PACKED else path.stem


def find_feeds(
    sources: Sequence[Path], mapping: Mapping[str, Sequence[Entry]], beside: Path | None = None
) -> tuple[list[Feed], list[str]]:
    """The feeds of all tables, in schema order, and notes on files that feed none.

    mapping: table -> entries of the mapping file. beside: the mapping file itself, which may lie in the source.
    Raises InputRefused when a path is missing, a file named by the user cannot be used, two things claim one table, a
    link of a table's name leads out of the source, or the mapping names files or databases that are not there.
    """
    tops = [top for source in sources for top in _tops(source)]
    roots = [source for source in sources if source.is_dir()]
    queries = {t: _queries(t, entries, beside) for t, entries in mapping.items()}
    used = {p.resolve() for of in queries.values() for q in of if q for p in (q.file, q.delta) if p}
    used |= set() if beside is None else {beside.resolve()}
    taken: set[Path] = {top.path / p.relative_to(top.path.resolve()) for top in tops for p in used if _inside(p, top)}
    feeds: list[Feed] = []
    mapped: dict[str, list[tuple[File, ...] | None]] = {}
    for table, entries in mapping.items():
        for entry, query in zip(entries, queries[table], strict=True):
            if query is None and not sources:
                raise InputRefused(
                    f"mapping file: [{table}] names no database; name the folder its files are in as source"
                )
            files = () if query else None if entry.files is None else _matching(entry.files, table, tops, roots)
            mapped.setdefault(table, []).append(files)
            taken.update(f.path for f in files or ())
    notes: list[str] = []
    claims = _claims(tops, taken, notes)
    for table in INPUT:
        files_of = mapped.get(table, [])
        own = claims.get(table)
        if table in claims and files_of and None not in files_of:
            raise InputRefused(
                f"{table}: the mapping says where its rows are, but {own[0].name if own else table} is called {table} as"
                " well; add it to the mapping or take it away"
            )
        if None in files_of and own is None:
            raise InputRefused(f"mapping file: [{table}] names no files, and the source has no file called {table}")
        if own is not None and not files_of:
            feeds.append(Feed(table, own))
        for entry, files, query in zip(mapping.get(table, ()), files_of, queries.get(table, ()), strict=True):
            use = own if files is None else files
            feeds.append(Feed(table, use or (), entry.columns, entry.constant, entry.separator, query))
    return feeds, notes


def _queries(table: str, entries: Sequence[Entry], beside: Path | None) -> list[Query | None]:
    """The query of each entry, None for one of files; paths are relative to the folder of the mapping file."""
    folder = Path() if beside is None else beside.parent
    many = len(entries) > 1
    return [e.query_in(folder, table, f"{table} {i}" if many else table) for i, e in enumerate(entries, 1)]


def _inside(path: Path, top: _Found) -> bool:
    return path.is_relative_to(top.path.resolve())


def _tops(source: Path) -> list[_Found]:
    """What lies at the top of one path the user named, sorted by name."""
    if not source.exists():
        raise InputRefused(f"source {source.name or source}: no such file or folder")
    if not source.is_dir():
        return [_Found(_shown(source.name), source, explicit=True)]
    root = source.resolve()
    try:
        names = sorted(path.name for path in source.iterdir())
    except OSError as error:
        raise InputRefused(f"source {source.name}: the folder cannot be opened ({error.strerror})") from None
    tops = [
        _Found(_shown(n), source / n, leaves=_leaves(source / n, root)) for n in names if not n.startswith((".", "_"))
    ]
    # The folder of one table's parts, named by itself.
    if table_name(source.name) and not any(table_name(t.name) for t in tops):
        return [_Found(_shown(source.name), source, explicit=True)]
    return tops


def _claims(tops: Sequence[_Found], taken: set[Path], notes: list[str]) -> dict[str, tuple[File, ...]]:
    """Table -> files, for what is called like a table and is not taken by the mapping; the rest goes into notes."""
    claims: dict[str, tuple[File, ...]] = {}
    claimed_by: dict[str, str] = {}
    unknown: list[str] = []
    for top in tops:
        table = table_name(top.name)
        if top.path in taken or _stem(top.name).lower() in BESIDE:
            continue
        if top.leaves:
            if table:
                raise InputRefused(
                    f"{top.name} is a link that leads out of the source; copy the file or name it on the command line"
                )
            notes.append(f"{top.name} is a link that leads out of the source and was not followed.")
            continue
        if top.path.is_dir():
            if table is None:
                if not any(path.is_relative_to(top.path) for path in taken):
                    unknown.append(f"{top.name}/")
                continue
            files = tuple(sorted(_walk(top.path, top.name, notes)))
        else:
            form = file_format(top.name)
            if not top.path.is_file() and (table or top.explicit):
                raise InputRefused(f"{top.name}: not an ordinary file; save the data to a file and name that")
            if table is None or form is None:
                if top.explicit:
                    why = "its format is not known" if form is None else "its name is none of the tables'"
                    raise InputRefused(
                        f"{top.name}: {why}; files are called {', '.join(INPUT)} with one of the suffixes"
                        f" {' '.join(FORMATS)}, or a mapping file says what they hold"
                    )
                unknown.append(top.name)
                continue
            files = (File(top.name, top.path, form),)
        files = tuple(f for f in files if f.path not in taken)
        if table in claims:
            raise InputRefused(
                f"{claimed_by[table]} and {top.name} both claim to be the table {table}; keep one, or name both in a"
                " mapping file"
            )
        claims[table], claimed_by[table] = files, top.name
    if unknown:
        notes.append(f"Not read, because the name or format is none of the tables': {', '.join(unknown)}.")
    return claims


def _walk(folder: Path, name: str, notes: list[str]) -> Iterator[File]:
    """Readable files of a folder of parts; hidden ones and those that begin with '_' (_SUCCESS) do not count."""
    root = folder.resolve()
    odd: list[str] = []
    for here, folders, names in os.walk(folder):
        if "_delta_log" in folders:
            raise InputRefused(
                f"{name} is a Delta table, whose old files would count too; name it in a mapping file: delta = ..."
            )
        folders[:] = [f for f in folders if not f.startswith((".", "_"))]
        for n in names + [f for f in folders if (Path(here) / f).is_symlink()]:
            path = Path(here) / n
            shown = f"{name}/{_shown(path.relative_to(folder).as_posix())}"
            if n.startswith((".", "_")):
                continue
            if _leaves(path, root) or (path.is_symlink() and path.is_dir()):
                raise InputRefused(f"{shown} is a link that leads out of {name}; put the data itself there")
            form = file_format(n)
            if form is None or not path.is_file():
                odd.append(shown)
            else:
                yield File(shown, path, form)
    if odd:
        notes.append(f"Not read, because the format is not known: {', '.join(sorted(odd))}.")


def _matching(patterns: Sequence[str], table: str, tops: Sequence[_Found], roots: Sequence[Path]) -> tuple[File, ...]:
    """The files that the glob patterns of one mapping entry name, each once, sorted by name."""
    found: dict[Path, File] = {}
    for pattern in patterns:
        if PurePath(pattern).is_absolute() or ".." in PurePath(pattern).parts:
            raise InputRefused(f"mapping file: [{table}] files: {pattern!r} leads out of the source")
        matched: list[File] = []
        for top in tops:
            if top.explicit and PurePath(top.path.name).match(pattern):
                matched += _file_or_parts(top.path, top.name, table)
        for root in roots:
            inside = root.resolve()
            for path in _globbed(root, pattern, table):
                name = _shown(path.relative_to(root).as_posix())
                if any(part.startswith((".", "_")) for part in path.relative_to(root).parts):
                    continue
                if _leaves(path, inside):
                    raise InputRefused(f"{name} is a link that leads out of the source; copy the file")
                matched += _file_or_parts(path, name, table)
        if not matched:
            raise InputRefused(f"mapping file: [{table}] files: nothing in the source matches {pattern!r}")
        found.update((f.path, f) for f in matched)
    return tuple(sorted(found.values()))


def _globbed(root: Path, pattern: str, table: str) -> list[Path]:
    """What a pattern matches in a folder, sorted. Raises InputRefused for what is no pattern, or one that searches the
    folder over and over."""
    try:
        if pattern.count("**") > MOST_DEPTHS:
            raise ValueError
        return sorted(root.glob(pattern))
    except (ValueError, IndexError, NotImplementedError, RecursionError):
        raise InputRefused(
            f"mapping file: [{table}] files: {pattern!r} is no pattern for files; ** stands for folders of any depth, by"
            f" itself and at most {MOST_DEPTHS} times"
        ) from None


def _file_or_parts(path: Path, name: str, table: str) -> list[File]:
    if path.is_dir():
        return list(_walk(path, name, []))
    form = file_format(name)
    if form is None:
        raise InputRefused(f"{name}, which the mapping gives to {table}, is in no format that can be read")
    return [File(name, path, form)]


def _leaves(path: Path, root: Path) -> bool:
    """Whether a path leads out of the folder `root`, which is resolved already."""
    return not path.resolve().is_relative_to(root)


def _shown(name: str) -> str:
    """A file name as text that can be written anywhere: bytes that are not UTF-8 and control characters replaced."""
    return "".join(c if c.isprintable() else "\ufffd" for c in os.fsencode(name).decode("utf-8", "replace"))
