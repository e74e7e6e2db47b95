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

A column that is not mapped is found under its own name. A glob matches as in a shell ('**' for any depth); one that
names a folder takes every file in it. Where a constant gives the kind of links, a row without a value says that the
account has no such identifier: it is set aside, not rejected.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hydragraph.errors import InputRefused
from hydragraph.identifiers import is_refused_kind
from hydragraph.loaders.files import table_name
from hydragraph.schema import INPUT


class Entry(BaseModel):
    """What one section of the mapping file says about one table; `files` None: the file called like the table."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    files: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)] | None = None
    columns: dict[str, str] = {}
    constant: dict[str, str] = {}
    separator: Annotated[str, Field(min_length=1, max_length=1, pattern=r"^[\t -!#-~]$")] | None = None


def read_mapping(path: str | Path) -> dict[str, list[Entry]]:
    """Table -> its entries. Raises InputRefused, naming the section and the word, for anything not understood."""
    try:
        text = tomllib.loads(Path(path).read_text("utf-8-sig"))
    except OSError as error:
        raise InputRefused(f"mapping file: cannot be opened ({error.strerror})") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputRefused(f"mapping file: not TOML ({error})") from None
    mapping: dict[str, list[Entry]] = {}
    for name, section in text.items():
        table = table_name(name)
        if table is None:
            raise InputRefused(f"mapping file: no table is called {name!r}; the tables are {', '.join(INPUT)}")
        if table in mapping:
            raise InputRefused(f"mapping file: two sections speak of {table}; write [[{table}]] before each")
        mapping[table] = _entries(section, name)
        for entry in mapping[table]:
            _check(entry, table)
    return mapping


def _entries(section: Any, name: str) -> list[Entry]:
    if not isinstance(section, (dict, list)):
        raise InputRefused(f"mapping file: [{name}] must be a section with files, columns, constant or separator")
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
    """Refuse columns that the table does not have, and evidence that says who people are."""
    known = INPUT[table]
    for column in (*entry.columns, *entry.constant):
        if column not in known.names:
            raise InputRefused(
                f"mapping file: [{table}] has no column {column!r}; its columns are {', '.join(known.names)}"
            )
    for column, theirs in entry.columns.items():
        if column in entry.constant:
            raise InputRefused(f"mapping file: [{table}] {column} is mapped to a column and constant as well")
        if is_refused_kind(theirs):
            raise InputRefused(
                f"mapping file: [{table}] {column} = {theirs!r}: who people are is never evidence; map another column"
            )
    for column, value in entry.constant.items():
        if known.column(column).type != "text":
            raise InputRefused(f"mapping file: [{table}] {column} cannot be constant; only columns of plain text can")
        if not value.strip():
            raise InputRefused(f"mapping file: [{table}] constant {column} is empty")
        if table == "links" and column == "kind" and is_refused_kind(value):
            raise InputRefused(
                f"mapping file: [{table}] kind {value!r}: who people are is never evidence; map another kind"
            )
