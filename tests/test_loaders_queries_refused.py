"""Queries and Delta tables that cannot be read: one sentence each, with no value, no password and nothing left behind."""

from __future__ import annotations

import hashlib
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import duckdb
import polars as pl
import pytest

from hydragraph.errors import InputRefused
from hydragraph.loaders import databases, open_source
from hydragraph.loaders.files import Query
from queried import BY_LINKS, mapped, refusal
from test_cli import invoke

LINKS = pl.DataFrame({"account_id": ["a"], "kind": ["device"], "value": ["d1"]})


# --- refusals


@pytest.fixture
def strange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a database of each kind, and with what looks like one."""
    with closing(duckdb.connect(tmp_path / "d.db")) as database:
        database.execute("create table links as select 'a' account_id, 'device' kind, 'private' \"value\"")
    with closing(sqlite3.connect(tmp_path / "s.db")) as database, database:
        database.executescript(
            "create table links (account_id, kind, value); insert into links values (1, 'device', 'private')"
        )
    (tmp_path / "text.db").write_text("account_id,kind,value\na,device,private\n")
    (tmp_path / "broken-d.db").write_bytes((tmp_path / "d.db").read_bytes()[:3000])
    (tmp_path / "broken-s.db").write_bytes((tmp_path / "s.db").read_bytes()[:100] + b"private" * 100)
    LINKS.write_delta(str(tmp_path / "lake"))
    for file in (tmp_path / "lake").glob("*.parquet"):
        file.unlink()
    (tmp_path / "folder").mkdir()
    monkeypatch.setenv("HERE", "s.db")
    monkeypatch.setenv("ELSEWHERE", "mysql://me:hush@host/name")
    monkeypatch.delenv("NOWHERE", raising=False)
    return tmp_path


MISSING, NO_SELECT, FAILED, NOT_ALLOWED = (
    databases.MISSING, databases.NO_SELECT, databases.FAILED, databases.NOT_ALLOWED,
)  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ('database = "d.db"', "[links] a database needs a query, and a query a database"),
        ('query = "select 1"', "[links] a database needs a query, and a query a database"),
        ('delta = "lake"\nquery = "select 1"', "[links] a database needs a query, and a query a database"),
        ('files = ["x"]\ndelta = "lake"', "[links] takes its rows from files and delta; keep one"),
        (f'database = "d.db"\ndatabase_env = "X"\n{BY_LINKS}', "from database and database_env; keep one"),
        (f'database = "d.db"\nseparator = ";"\n{BY_LINKS}', "a separator is for files only"),
        (f'database = "none.db"\n{BY_LINKS}', "[links] database: no such file"),
        (f'database = "folder"\n{BY_LINKS}', "[links] database: no such file"),
        (f'database = "mysql://me:hush@host/name"\n{BY_LINKS}', "[links] database: no such file"),
        (f'database_env = "ELSEWHERE"\n{BY_LINKS}', "[links] database: no such file"),
        (f'database_env = "NOWHERE"\n{BY_LINKS}', "the environment variable NOWHERE is not set"),
        (f'database = "text.db"\n{BY_LINKS}', "text.db [links]: the file is neither a DuckDB nor a SQLite database"),
        (f'database = "broken-d.db"\n{BY_LINKS}', "broken-d.db [links]: cannot be opened as a DuckDB database"),
        (f'database = "broken-s.db"\n{BY_LINKS}', "broken-s.db [links]: cannot be opened as a SQLite database"),
        ('delta = "nowhere"', "[links] delta: no such folder"),
        ('delta = "folder"', "folder [links]: the folder is not a Delta table"),
        ('delta = "lake"', "lake [links]: the Delta table cannot be read; a file of it is missing or damaged"),
        ('database = "{}.db"\nquery = "select * from private"', MISSING),
        ('database = "{}.db"\nquery = "select private from links"', MISSING),
        ('database = "{}.db"\nquery = "select , private"', NO_SELECT),
        ('database = "{}.db"\nquery = "select 1; select 2"', NO_SELECT),
        ('database = "{}.db"\nquery = "delete from links"', NO_SELECT),
        ('database = "{}.db"\nquery = "insert into links values (1, 2, 3)"', NO_SELECT),
        ('database = "{}.db"\nquery = "attach \'new.db\' as n"', NO_SELECT),
        ('database = "{}.db"\nquery = ";"', NO_SELECT),
        (
            'database = "{}.db"\nquery = "select 1 as a, 2 as a, 3 as b"',
            "columns 1 and 2 of the query have the same name",
        ),
        ('database = "{}.db"\nquery = "select 1 as nobody"', "links: the required column account_id is missing"),
        (
            'database = "{}.db"\nquery = "select * from links"\ncolumns = {{ value = "no" }}',
            "the query gives no column 'no'",
        ),
        ('database = "{}.db"\nquery = "select 1 from links"', "the names of its columns do not look like a header"),
        ('database = "{}.db"\nquery = "select * from links where false"', "empty source: no rows in links"),
        ('database = "d.db"\nquery = "select *, \'private\'::int as count from links"', FAILED),
        ('database = "d.db"\nquery = "select * from read_csv(\'text.db\')"', NOT_ALLOWED),
        ('database = "d.db"\nquery = "select * from \'text.db\'"', NOT_ALLOWED),
        ('database = "d.db"\nquery = "copy links to \'out.csv\'"', NO_SELECT),
        ('database = "d.db"\nquery = "pragma database_list"', NO_SELECT),
        ('database = "s.db"\nquery = "select *, json(\'private\') as count from links"', FAILED),
    ],
)
def test_what_cannot_be_read_is_one_sentence(strange: Path, lines: str, sentence: str) -> None:
    before = {p.name: hashlib.sha256(p.read_bytes()).digest() for p in strange.glob("*.db")}
    for kind in ("d", "s") if "{}" in lines else ("",):
        said = refusal(strange, f"[links]\n{lines.format(kind) if kind else lines}\n")
        assert sentence in said
        assert "private" not in said.replace("select private", "")
        assert "hush" not in said
    assert {p.name: hashlib.sha256(p.read_bytes()).digest() for p in strange.glob("*.db")} == before
    assert not (strange / "out.csv").exists()


def test_a_query_may_end_in_a_semicolon_or_a_comment(strange: Path) -> None:
    for ending in (";", " ; ", " -- all"):
        for kind in "ds":
            query = f"with l as (select * from links) select * from l{ending}"
            assert mapped(strange, f'[links]\ndatabase = "{kind}.db"\nquery = "{query}"\n').rows["links"].kept == 1
    assert mapped(strange, f'[links]\ndatabase_env = "HERE"\n{BY_LINKS}').inputs[0].file == "s.db [links]"


@pytest.mark.parametrize(
    ("module", "lines", "extra"),
    [
        ("duckdb", f'database = "d.db"\n{BY_LINKS}', "duckdb"),
        ("deltalake", 'delta = "lake"', "delta"),
        ("adbc_driver_postgresql", f'database = "postgresql://me:hush@host/name"\n{BY_LINKS}', "postgresql"),
    ],
)
def test_a_missing_library_is_one_sentence_that_says_what_to_install(
    strange: Path, monkeypatch: pytest.MonkeyPatch, module: str, lines: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)

    said = refusal(strange, f"[links]\n{lines}\n")

    assert said.endswith(f"pip install 'hydragraph[{extra}]'")
    assert "hush" not in said


def test_files_need_a_source_and_databases_none(strange: Path) -> None:
    assert "names no database" in refusal(strange, '[links]\nfiles = ["*.csv"]\n')
    assert "names no database" in refusal(strange, "[links]\n")
    with pytest.raises(InputRefused, match="no source given"):
        open_source([])


def test_the_command_line_reads_a_mapping_alone(strange: Path, tmp_path: Path) -> None:
    mapping = tmp_path / "map.toml"
    mapping.write_text(f'[links]\ndatabase = "d.db"\n{BY_LINKS}')

    assert "Missing argument 'SOURCE...'" in invoke("check").stderr
    assert invoke("check", "--mapping", str(mapping)).exit_code == 0
    assert invoke("analyze", "--mapping", str(mapping), "-o", str(tmp_path / "case")).exit_code == 0
    mapping.write_text('[links]\ndatabase = "d.db"\nquery = "selec"\n')
    failed = invoke("analyze", "--mapping", str(mapping), "-o", str(tmp_path / "other"))
    assert (failed.exit_code, failed.stdout) == (3, "")
    assert not (tmp_path / "other").exists()


# --- passwords


def test_a_password_is_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = "postgresql://me:hush%2Fhush@127.0.0.1:1/name?password=hush"
    monkeypatch.setenv("SECRET", address)
    for line in (f'database = "{address}"', 'database_env = "SECRET"'):
        mapping = tmp_path / "map.toml"
        mapping.write_text(f"[links]\n{line}\n{BY_LINKS}")
        said = invoke("--verbose", "analyze", "--mapping", str(mapping), "-o", str(tmp_path / "case"))
        assert said.exit_code == 3
        assert "postgresql [links]: no connection to PostgreSQL" in said.stderr
        assert "hush" not in said.stderr + said.stdout
    assert "hush" not in repr(Query("postgresql [links]", "select 'hush'", database=address))


def test_a_mapping_that_cannot_be_understood_does_not_repeat_the_connection(tmp_path: Path) -> None:
    for lines in ('database = ["postgresql://me:hush@host/"]', 'database = "postgresql://me:hush@host/"\nquery = 5'):
        assert "hush" not in refusal(tmp_path, f"[links]\n{lines}\n")
