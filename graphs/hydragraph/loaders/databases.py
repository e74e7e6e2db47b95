"""Where rows come from that no file of the source holds: a query of a DuckDB or SQLite file or of PostgreSQL, a Delta table.

Every database is opened for reading only, its query must be one SELECT statement, and only the columns asked for leave it.
A column of a type that can be no value here (lists, intervals) comes as true where it holds anything, so that its rows are
rejected as they would be from a Parquet file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import polars as pl

from hydragraph.errors import InputRefused
from hydragraph.loaders.files import Query
from hydragraph.loaders.slow import plain_text

AT_ONCE = 2**18
"""Rows held in memory at once."""

POLARS_FAILS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)

MISSING = "the query names a table, column or function that the database does not have"
NO_SELECT = "the query is not one SELECT statement that this database understands"
FAILED = "the query failed while its rows were read, perhaps at a value that it converts; try it in the database itself"
NOT_ALLOWED = "the query asks for more than reading this one database, or for what its user may not read"
"""What can be wrong with a query. The database's own words are never repeated: they quote values."""


@dataclass(frozen=True)
class Reader:
    """A query or table, looked at and not yet read.

    columns: their names. rows: (columns wanted, those of them that hold text) -> frames of about AT_ONCE rows, at least one
    frame, with the columns wanted in that order; raises InputRefused when reading fails. marked: every column is text, and
    a value that cannot be text is one of columns.MARKS.
    """

    columns: tuple[str, ...]
    rows: Callable[[Sequence[str], set[str]], Iterator[pl.DataFrame]]
    marked: bool = False


def look_at(query: Query, folder: Path | None) -> Reader:
    """Look at what a query gives, without running it. Raises InputRefused if that cannot be read.

    folder: a private one, for what the database cannot hold in memory; None: it may write nothing at all.
    """
    if query.delta is not None:
        return _delta(query.name, query.delta)
    if query.file is None:
        from hydragraph.loaders.postgresql import postgresql

        return postgresql(query)
    kind = _kind(query.name, query.file)
    return _duckdb(query, query.file, folder) if kind == "duckdb" else _sqlite(query, query.file)


def refuse(name: str, why: str) -> NoReturn:
    """Raise InputRefused about a query or table, without what the database said."""
    raise InputRefused(f"{name}: {why}") from None


def needed(extra: str, name: str, what: str) -> InputRefused:
    """The error for a library that is not installed."""
    return InputRefused(
        f"{name}: reading {what} needs a library that is not installed: pip install 'hydragraph[{extra}]'"
    )


def quoted(column: str) -> str:
    """A column's name in SQL."""
    return '"' + column.replace('"', '""') + '"'


def anything(column: str) -> str:
    """SQL for a column of a type that can be no value here: true where it holds anything."""
    return f"CASE WHEN {column} IS NOT NULL THEN true END"


def wrapped(columns: str, sql: str) -> str:
    """A query of these columns from the rows of a query: it can be nothing but a SELECT, and ends at no comment."""
    return f"SELECT {columns} FROM (\n{sql.strip().rstrip(';')}\n) AS q"


def frames(stream: Any) -> Iterator[pl.DataFrame]:
    """The rows of a stream of Arrow batches, a part at a time, at least one."""
    scan = pl.scan_arrow_c_stream(stream)
    yield pl.DataFrame(schema=scan.collect_schema())
    yield from scan.collect_batches(maintain_order=False, chunk_size=AT_ONCE)


def _kind(name: str, file: Path) -> str:
    """'duckdb' or 'sqlite' by the first bytes of the file, whatever it is called."""
    try:
        with file.open("rb") as raw:
            start = raw.read(16)
    except OSError as error:
        refuse(name, f"cannot be opened ({error.strerror})")
    if start == b"SQLite format 3\0":
        return "sqlite"
    if start[8:12] != b"DUCK":
        refuse(name, "the file is neither a DuckDB nor a SQLite database")
    return "duckdb"


# DuckDB

_DUCKDB_PLAIN = (
    "VARCHAR", "BLOB", "DATE", "TIMESTAMP", "DECIMAL", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT",
    "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "BOOLEAN", "ENUM", "UUID", '"NULL"',
)  # fmt: skip


def _duckdb(query: Query, file: Path, folder: Path | None) -> Reader:
    try:
        import duckdb
    except ImportError:
        raise needed("duckdb", query.name, "a DuckDB file") from None

    @contextmanager
    def opened() -> Iterator[Any]:
        """The query as a relation; nothing but this file can be reached from it."""
        settings: dict[str, Any] = {
            "enable_external_access": False,
            "autoload_known_extensions": False,
            "autoinstall_known_extensions": False,
            "allow_community_extensions": False,
            "temp_directory": "" if folder is None else str(folder),
        }
        try:
            database = duckdb.connect(file, read_only=True, config=settings)
        except duckdb.Error:
            refuse(
                query.name, "cannot be opened as a DuckDB database; it is damaged, of another version or being written"
            )
        with closing(database):
            try:
                database.execute("SET TimeZone = 'UTC'")
                database.execute("SET lock_configuration = true")
                statements = database.extract_statements(query.sql)
                if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                    refuse(query.name, NO_SELECT)
                yield database.sql(query.sql)
            except (duckdb.CatalogException, duckdb.BinderException):
                refuse(query.name, MISSING)
            except duckdb.ParserException:
                refuse(query.name, NO_SELECT)
            except duckdb.PermissionException:
                refuse(query.name, NOT_ALLOWED)
            except (duckdb.Error, *POLARS_FAILS):
                refuse(query.name, FAILED)

    def rows(columns: Sequence[str], texts: set[str]) -> Iterator[pl.DataFrame]:
        with opened() as found:
            types = dict(zip(found.columns, map(str, found.types), strict=True))
            plain = {c for c in columns if types[c].startswith(_DUCKDB_PLAIN) and not types[c].endswith("]")}
            chosen = (quoted(c) if c in plain else f"{anything(quoted(c))} AS {quoted(c)}" for c in columns)
            yield from frames(found.project(", ".join(chosen)))

    with opened() as found:
        return Reader(tuple(found.columns), rows)


# SQLite


def _sqlite(query: Query, file: Path) -> Reader:
    @contextmanager
    def opened(sql: str) -> Iterator[sqlite3.Cursor]:
        try:
            with closing(sqlite3.connect(f"file:{quote(str(file.absolute()))}?mode=ro", uri=True)) as database:
                database.text_factory = _sqlite_text
                database.execute("PRAGMA temp_store = MEMORY")  # no temporary files
                yield database.execute(sql)
        except sqlite3.Error as error:
            refuse(query.name, _sqlite_said(error))

    def rows(columns: Sequence[str], texts: set[str]) -> Iterator[pl.DataFrame]:
        yield pl.DataFrame(schema=dict.fromkeys(columns, pl.String()))
        with opened(wrapped(", ".join(map(quoted, columns)), query.sql)) as cursor:
            while batch := cursor.fetchmany(AT_ONCE):
                values = zip(columns, zip(*batch, strict=True), strict=True)
                yield pl.DataFrame([_sqlite_column(name, of, name in texts) for name, of in values])

    with opened(wrapped("*", query.sql) + " LIMIT 0") as cursor:
        names = [column[0] for column in cursor.description]
    # the second of two columns called a comes out as a:1
    plain = (name.rpartition(":")[0] for name in names)
    return Reader(tuple(p if p in names else n for n, p in zip(names, plain, strict=True)), rows, marked=True)


def _sqlite_text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _sqlite_column(name: str, values: Sequence[Any], is_text: bool) -> pl.Series:
    """A column as text: SQLite gives every value a type of its own."""
    try:
        return pl.Series(name, values, dtype=pl.String, strict=True)
    except (TypeError, ValueError, pl.exceptions.PolarsError):
        return pl.Series(name, [_sqlite_value(v, is_text) for v in values], dtype=pl.String)


def _sqlite_value(value: Any, is_text: bool) -> str | None:
    return plain_text(_sqlite_text(value) if isinstance(value, bytes) else value, is_text)


def _sqlite_said(error: sqlite3.Error) -> str:
    said, code = str(error), getattr(error, "sqlite_errorcode", None)
    if said.startswith(("no such", "ambiguous")):
        return MISSING
    if isinstance(error, sqlite3.ProgrammingError) or code == sqlite3.SQLITE_ERROR:
        return NO_SELECT if "syntax error" in said or "incomplete" in said or code is None else FAILED
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CANTOPEN):
        return "cannot be opened as a SQLite database; it is damaged, encrypted or not to be read"
    return "the database is being written; try again" if code == sqlite3.SQLITE_BUSY else FAILED


# Delta


def _delta(name: str, folder: Path) -> Reader:
    try:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, DeltaProtocolError, TableNotFoundError
    except ImportError:
        raise needed("delta", name, "a Delta table") from None

    @contextmanager
    def reading() -> Iterator[None]:
        try:
            yield
        except TableNotFoundError:
            refuse(name, "the folder is not a Delta table")
        except DeltaProtocolError:
            refuse(name, "the Delta table uses a feature that cannot be read here; export it as plain Parquet")
        except (DeltaError, *POLARS_FAILS):
            refuse(name, "the Delta table cannot be read; a file of it is missing or damaged")

    with reading():
        table = DeltaTable(folder)
        schema = pl.scan_delta(table).collect_schema()

    def rows(columns: Sequence[str], texts: set[str]) -> Iterator[pl.DataFrame]:
        chosen = (
            pl.col(c) if not schema[c].is_nested() else pl.when(pl.col(c).is_not_null()).then(True) for c in columns
        )
        scan = pl.scan_delta(table).select(c.alias(n) for c, n in zip(chosen, columns, strict=True))
        with reading():
            yield pl.DataFrame(schema=scan.collect_schema())
            yield from scan.collect_batches(maintain_order=False, chunk_size=AT_ONCE)

    return Reader(tuple(schema), rows)
