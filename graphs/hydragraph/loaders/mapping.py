"""The mapping file: a TOML file that gives other file and column names their meaning.

    [events]
    files = ["usage-*.parquet"]                     # globs inside the source; left out: the file called events
    columns = { timestamp = "ts", account_id = "user", ip = "client_ip" }
    separator = ";"                                 # of CSV files; left out: found out
    constant = { channel = "direct" }               # a text column that holds one value in every row

    [[links]]                                       # several files, or several columns of one, feed one table
    files = ["users.csv"]
    columns = { value = "device_id" }
    constant = { kind = "device" }

    [[links]]
    files = ["users.csv"]
    columns = { value = "phone" }
    constant = { kind = "phone" }

    [payments]
    database = "billing.duckdb"                     # or a SQLite file, or "postgresql://host/name"
    query = "select * from cards where not test"
    columns = { account_id = "customer", instrument_id = "fingerprint" }

    [api_keys]
    database_env = "KEYS_DATABASE"                  # the same, out of an environment variable
    query = "select user_id as account_id, key_id as api_key_id from keys"

    [accounts]
    delta = "lake/accounts"                         # folder of a Delta table

Databases and Delta tables are looked for from the folder of the mapping file on.

A column that is not mapped is found under its own name. A glob matches as in a shell ('**' for any depth); one that
names a folder takes every file in it. Where a constant gives the kind of links, a row without a value says that the
account has no such identifier: it is set aside, not rejected.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hydragraph.errors import InputRefused
from hydragraph.loaders.files import Query, table_name
from hydragraph.naming import refused_word
from hydragraph.schema import EVIDENCE_KINDS, INPUT
from hydragraph.toml_files import read_toml

MOST_SECTIONS = 1_000
"""Sections of a mapping file, at most: each is a scan of its own."""

_Text = Annotated[str, Field(min_length=1, max_length=4_096)]
_Name = Annotated[str, Field(max_length=256)]
_Query = Annotated[str, Field(min_length=1, max_length=65_536)]
_POSTGRESQL = re.compile(r"postgres(?:ql)?://")
_LITERAL = re.compile(r"'(?:[^']|'')*'")
_NAMES = re.compile(r"\w+\b(?!\s*\()")  # what stands before a bracket is a function: age(), timezone()


class Entry(BaseModel):
    """What one section of the mapping file says about one table: files, or a database and query, or a Delta table; none of
    these: the file called like the table."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    files: Annotated[list[_Text], Field(min_length=1)] | None = None
    database: _Text | None = Field(default=None, repr=False)
    database_env: _Text | None = None
    query: _Query | None = Field(default=None, repr=False)
    delta: _Text | None = None
    columns: dict[str, _Name] = {}
    constant: dict[str, _Name] = {}
    separator: Annotated[str, Field(min_length=1, max_length=1, pattern=r"^[\t -!#-~]$")] | None = None

    def query_in(self, folder: Path, table: str, label: str) -> Query | None:
        """The query or Delta table that this entry names; None if it names files. label: tells entries apart.

        folder: from which relative paths lead. Raises InputRefused for one that is not there. Never repeats what `database`
        holds, which may be a password.
        """
        said = f"mapping file: [{table}]"
        if self.delta is not None:
            place = folder / self.delta
            if not place.is_dir():
                raise InputRefused(
                    f"{said} delta: no such folder; it is looked for from the folder of the mapping file on"
                )
            return Query(f"{place.name} [{label}]", delta=place)
        if self.query is None:
            return None
        where = self.database
        if self.database_env is not None:
            where = os.environ.get(self.database_env)
            if not where:
                raise InputRefused(f"{said} database_env: the environment variable {self.database_env} is not set")
        assert where is not None
        if _POSTGRESQL.match(where):
            return Query(f"postgresql [{label}]", self.query, database=where)
        place = folder / where
        if "://" in where or "\0" in where or not place.is_file():
            raise InputRefused(
                f"{said} database: no such file, and not a connection string that begins with postgresql://; a file is"
                " looked for from the folder of the mapping file on"
            )
        return Query(f"{place.name} [{label}]", self.query, file=place)


def read_mapping(path: str | Path) -> dict[str, list[Entry]]:
    """Table -> its entries. Raises InputRefused, naming the section and the word, for anything not understood."""
    text = read_toml(path, "mapping file")
    mapping: dict[str, list[Entry]] = {}
    for name, section in text.items():
        table = table_name(name)
        if table is None:
            raise InputRefused(f"mapping file: no table is called {name!r}; the tables are {', '.join(INPUT)}")
        if table in mapping:
            raise InputRefused(f"mapping file: two sections speak of {table}; write [[{table}]] before each")
        mapping[table] = _entries(section, name)
        if sum(map(len, mapping.values())) > MOST_SECTIONS:
            raise InputRefused(f"mapping file: more than {MOST_SECTIONS:,} sections; name several files in one")
        for entry in mapping[table]:
            _check(entry, table)
    return mapping


def _entries(section: Any, name: str) -> list[Entry]:
    if not isinstance(section, (dict, list)):
        raise InputRefused(f"mapping file: [{name}] must be a section, with {', '.join(Entry.model_fields)} in it")
    try:
        return TypeAdapter(list[Entry]).validate_python(section if isinstance(section, list) else [section])
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"] if not isinstance(part, int))
        if problem["type"] == "extra_forbidden":
            raise InputRefused(
                f"mapping file: [{name}] has no setting {where!r}; known are {', '.join(Entry.model_fields)}"
            ) from None
        raise InputRefused(f"mapping file: [{name}] {where}: {problem['msg'][0].lower()}{problem['msg'][1:]}") from None


def _check(entry: Entry, table: str) -> None:
    """Refuse columns that the table does not have, two places for its rows, and evidence that says who people are."""
    known = INPUT[table]
    places = [n for n in ("files", "database", "database_env", "delta") if getattr(entry, n) is not None]
    if len(places) > 1:
        raise InputRefused(f"mapping file: [{table}] takes its rows from {' and '.join(places)}; keep one")
    if (entry.query is None) != (places[:1] not in (["database"], ["database_env"])):
        raise InputRefused(f"mapping file: [{table}] a database needs a query, and a query a database")
    if entry.separator is not None and places not in ([], ["files"]):
        raise InputRefused(f"mapping file: [{table}] a separator is for files only")
    personal = sorted({word for word in map(refused_word, _NAMES.findall(_LITERAL.sub("", entry.query or ""))) if word})
    if personal:
        raise InputRefused(
            f"mapping file: [{table}] query speaks of {', '.join(personal)}: who people are is never evidence; leave it out"
        )
    for column in (*entry.columns, *entry.constant):
        if column not in known.names:
            raise InputRefused(
                f"mapping file: [{table}] has no column {column!r}; its columns are {', '.join(known.names)}"
            )
    for column, theirs in entry.columns.items():
        if column in entry.constant:
            raise InputRefused(f"mapping file: [{table}] {column} is mapped to a column and constant as well")
        if refused_word(theirs):
            raise InputRefused(
                f"mapping file: [{table}] {column} = {theirs!r}: who people are is never evidence; map another column"
            )
    for column, value in entry.constant.items():
        if known.column(column).type != "text":
            raise InputRefused(f"mapping file: [{table}] {column} cannot be constant; only columns of plain text can")
        if not value.strip():
            raise InputRefused(f"mapping file: [{table}] constant {column} is empty")
        if table in EVIDENCE_KINDS and column == "kind" and refused_word(value):
            raise InputRefused(
                f"mapping file: [{table}] kind {value!r}: who people are is never evidence; map another kind"
            )
