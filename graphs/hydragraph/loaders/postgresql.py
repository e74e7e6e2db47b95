"""Queries of PostgreSQL, in one transaction that can only read; what a server says is never repeated."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

import polars as pl

from hydragraph.loaders.databases import (
    FAILED,
    MISSING,
    NO_SELECT,
    NOT_ALLOWED,
    POLARS_FAILS,
    Reader,
    anything,
    frames,
    needed,
    quoted,
    refuse,
    wrapped,
)
from hydragraph.loaders.files import Query

_AS_TEXT = {"numeric": "trim_scale({})::text", "inet": "abbrev({})", "uuid": "{}::text"}
"""Types that the driver does not give as Parquet would have them -> how the server writes them as text."""

_NOT_PLAIN = ("json", "jsonb")
# Arrow's names of types: lists and other nested ones, intervals, times of day; bytes.
_ODD, _BYTES = ("+", "ti", "tt"), "z"


def postgresql(query: Query) -> Reader:
    """Look at what a query of PostgreSQL gives; query.database is the connection string. Raises InputRefused."""
    try:
        from adbc_driver_manager import Error
        from adbc_driver_postgresql import dbapi
    except ImportError:
        raise needed("postgresql", query.name, "PostgreSQL") from None

    @contextmanager
    def opened() -> Iterator[Any]:
        try:
            connection = dbapi.connect(query.database)
        except Error:
            refuse(
                query.name, "no connection to PostgreSQL; check address, database, user and password, and that it runs"
            )
        with closing(connection), closing(connection.cursor()) as cursor:
            try:
                # the first statement opens the transaction
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                cursor.execute("SET LOCAL TIME ZONE 'UTC'")
                yield cursor
            except Error as error:
                refuse(query.name, _said(error.sqlstate))
            except POLARS_FAILS:
                refuse(query.name, FAILED)

    with opened() as cursor:
        cursor.adbc_statement.set_sql_query(wrapped("*", query.sql))
        schema = cursor.adbc_statement.execute_schema()
        columns = list(_columns(schema.address))

    def rows(names: Sequence[str], texts: set[str]) -> Iterator[pl.DataFrame]:
        chosen = {name: _chosen(quoted(name), kind, arrow) for name, kind, arrow in columns}
        sql = wrapped(", ".join(f"{chosen[name]} AS {quoted(name)}" for name in names), query.sql)
        with opened() as cursor:
            cursor.execute(sql)
            yield from frames(cursor.fetch_arrow())

    return Reader(tuple(name for name, _, _ in columns), rows)


def _chosen(column: str, kind: str, arrow: str) -> str:
    if kind in _NOT_PLAIN or arrow.startswith(_ODD):
        return anything(column)
    if kind in _AS_TEXT:
        return _AS_TEXT[kind].format(column)
    return f"{column}::text" if arrow == _BYTES and kind != "bytea" else column


def _said(sqlstate: str | None) -> str:
    """What to say of an error by its code: https://www.postgresql.org/docs/current/errcodes-appendix.html."""
    code = sqlstate or ""
    known = {"42P01": MISSING, "42703": MISSING, "42883": MISSING, "3F000": MISSING, "42501": NOT_ALLOWED}
    if code in known:
        why = known[code]
    elif code.startswith("42"):
        why = NO_SELECT
    else:
        why = NOT_ALLOWED if code.startswith("25") else FAILED
    return f"{why} (SQLSTATE {code})" if code else why


class _ArrowSchema(ctypes.Structure):
    """A schema of Arrow's C data interface, as far as it is read here.

    Neither the driver nor polars shows what type a column has in the server, which this structure does; its layout is
    fixed for good.
    """


_ArrowSchema._fields_ = [
    ("format", ctypes.c_char_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.c_void_p),
    ("flags", ctypes.c_int64),
    ("children", ctypes.c_int64),
    ("child", ctypes.POINTER(ctypes.POINTER(_ArrowSchema))),
]


def _columns(address: int) -> Iterator[tuple[str, str, str]]:
    """Name, type in PostgreSQL and type in Arrow of each column of the schema that lies at this address."""
    schema = _ArrowSchema.from_address(address)
    for i in range(schema.children):
        column = schema.child[i].contents
        kind = _metadata(column.metadata).get("POSTGRESQL:type", "")
        yield column.name.decode("utf-8"), kind, column.format.decode("ascii")


def _metadata(address: int | None) -> Mapping[str, str]:
    """Keys and values, each behind its length."""
    if not address:
        return {}
    place = address

    def number() -> int:
        nonlocal place
        place += 4
        return ctypes.c_int32.from_address(place - 4).value

    def text() -> str:
        nonlocal place
        length = number()
        place += length
        return ctypes.string_at(place - length, length).decode("utf-8", "replace")

    return {text(): text() for _ in range(number())}
