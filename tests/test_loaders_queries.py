"""Tables from queries of DuckDB and SQLite and from Delta tables: the same as from Parquet, and a sentence otherwise."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import polars as pl
import pytest

import hydragraph as hg
from hydragraph.errors import InputRefused
from hydragraph.loaders import databases, open_source
from hydragraph.loaders.files import Query
from hydragraph.schema import INPUT, OUTPUT
from hydragraph.worlds import simulate
from queried import mapped, rows, section, theirs, to_duckdb, to_sqlite
from test_cli import invoke

pytestmark = pytest.mark.xdist_group("queries")  # one worker: one world

LINKS = pl.DataFrame({"account_id": ["a", "b", "b"], "kind": ["device"] * 3, "value": ["d1", "d1", "d2"]})
BY_LINKS = 'query = "select * from links"\n'


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go, so that a test can see what is left."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


def refusal(folder: Path, toml: str) -> str:
    with pytest.raises(InputRefused) as caught:
        mapped(folder, toml)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


# --- the same as from Parquet


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("queries")
    simulate(folder / "world", accounts=400, seed=5)
    return folder


@pytest.fixture(scope="module")
def case(world: Path) -> hg.Case:
    return hg.analyze(world / "world", world / "case")


def mixed(world: Path, seed: int) -> Iterator[tuple[str, pl.DataFrame]]:
    for table in INPUT:
        if (world / "world" / f"{table}.parquet").exists():
            yield (
                table,
                pl.read_parquet(world / "world" / f"{table}.parquet").sample(fraction=1, shuffle=True, seed=seed),
            )


@pytest.mark.parametrize("kind", ["duckdb", "sqlite", "delta"])
def test_a_query_gives_the_same_bytes_as_parquet_in_any_order(
    world: Path, case: hg.Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(databases, "AT_ONCE", 1000)  # several parts
    manifests = []
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        folder.mkdir()
        frames = dict(mixed(world, seed))
        origin = f'database = "all.{kind}"'
        if kind == "delta":
            for table, frame in frames.items():
                theirs(frame).write_delta(str(folder / "lake" / table))
        else:
            {"duckdb": to_duckdb, "sqlite": to_sqlite}[kind](folder / f"all.{kind}", frames)
        toml = "".join(
            section(
                t, f, f'delta = "lake/{t}"' if kind == "delta" else origin, "order by random()" if seed == 2 else ""
            )
            for t, f in frames.items()
        )
        (folder / "map.toml").write_text(toml)
        found = hg.analyze([], folder / "case", mapping=folder / "map.toml")
        for name in OUTPUT:
            assert (found.path / f"{name}.parquet").read_bytes() == (case.path / f"{name}.parquet").read_bytes(), name
        assert case.clusters.height > 1
        manifests.append({**found.manifest, "stages": 0})
    assert manifests[0] == manifests[1]
    named = {i["table"]: i for i in manifests[0]["inputs"]}
    assert named["events"]["file"] == ("events [events]" if kind == "delta" else f"all.{kind} [events]")
    assert named["events"]["rows"] == {i["table"]: i for i in case.manifest["inputs"]}["events"]["rows"]
    assert len({i["digest"] for i in named.values()}) == len(named)
    assert any("who people are, never read: country" in note for note in manifests[0]["notes"])


def test_the_digest_is_that_of_the_rows_that_were_read(tmp_path: Path) -> None:
    with closing(duckdb.connect(tmp_path / "x.db")) as database:
        database.execute(
            "create table links (v varchar, account_id varchar, kind varchar, n int, first_seen timestamptz)"
        )
        database.execute("insert into links values ('ü', 'a', 'device', 1, '2026-01-02 00:00:00+00')")
        database.execute("insert into links values (null, 'b', 'device', 2, null)")
    toml = f'[links]\ndatabase = "x.db"\n{BY_LINKS}columns = {{ value = "v" }}\n'

    with pytest.raises(InputRefused, match="1 of 2 rows cannot be read"):
        mapped(tmp_path, toml)
    (one,) = open_source([], mapping=tmp_path / "map.toml", settings=hg.Settings(max_rejects=1)).inputs

    # account_id, kind, value, first_seen: each its length in bytes, a colon, the value; a time in microseconds
    texts = [b"1:a6:device2:\xc3\xbc16:1767312000000000", b"1:b6:device--"]
    sums = [0] * 4
    for text in texts:
        digest = hashlib.sha256(text).digest()
        sums = [(s + int.from_bytes(digest[i * 8 : i * 8 + 8], "little")) % 2**64 for i, s in enumerate(sums)]
    told = json.dumps([["account_id", "kind", "value", "first_seen"], 2, sums])
    assert one.digest == "rows-sha256:" + hashlib.sha256(told.encode()).hexdigest()
    assert (one.rows, one.bytes, one.file) == (2, sum(map(len, texts)), "x.db [links]")


def test_rejected_rows_of_a_query_have_no_number(tmp_path: Path) -> None:
    with closing(duckdb.connect(tmp_path / "x.db")) as database:
        database.execute(
            "create table links as select 'a' || i account_id, 'device' kind, 'd' \"value\" from range(9) t(i)"
        )
        database.execute("insert into links values (null, 'device', 'd'), ('b', 'device', null)")
    (tmp_path / "map.toml").write_text(f'[links]\ndatabase = "x.db"\n{BY_LINKS}')

    source = open_source([], mapping=tmp_path / "map.toml", settings=hg.Settings(max_rejects=0.5))

    assert source.rejects.rows() == [
        ("links", "x.db [links]", None, "account_id", "no value"),
        ("links", "x.db [links]", None, "value", "no value"),
    ]
    said = invoke("check", "--mapping", str(tmp_path / "map.toml"), "--max-rejects", "50%")
    assert said.exit_code == 0
    assert "no value" in said.stdout


def test_several_queries_and_files_feed_one_table(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "users.sqlite")) as database, database:
        database.executescript(
            "create table u (id, device, phone); insert into u values ('a', 'd1', null), ('b', 'd1', '555');"
        )
    (tmp_path / "more.csv").write_text("account_id,kind,value\nc,device,d1\n")
    toml = (
        '[[links]]\ndatabase = "users.sqlite"\nquery = "select id, device from u"\n'
        'columns = { account_id = "id", value = "device" }\nconstant = { kind = "device" }\n'
        '[[links]]\ndatabase = "users.sqlite"\nquery = "select id, phone from u"\n'
        'columns = { account_id = "id", value = "phone" }\nconstant = { kind = "phone" }\n'
        '[[links]]\nfiles = ["more.csv"]\n'
    )
    (tmp_path / "map.toml").write_text(toml)

    source = open_source(tmp_path, mapping=tmp_path / "map.toml")

    assert rows(source, "links") == [
        ("a", "device", "d1"), ("b", "device", "d1"), ("b", "phone", "555"), ("c", "device", "d1"),
    ]  # fmt: skip
    assert [i.file for i in source.inputs] == ["more.csv", "users.sqlite [links 1]", "users.sqlite [links 2]"]
    assert source.notes == ("links: 1 rows set aside, because they hold no value of the kind the mapping gives.",)


def test_nothing_stays_behind(tmp_path: Path, scratch: Path) -> None:
    with closing(duckdb.connect(tmp_path / "x.db")) as database:
        database.execute("create table links as select 'a' account_id, 'device' kind, 'd' \"value\"")
    before = hashlib.sha256((tmp_path / "x.db").read_bytes()).digest()
    toml = f'[links]\ndatabase = "x.db"\n{BY_LINKS}'

    source = mapped(tmp_path, toml)
    assert len(list(scratch.rglob("*.parquet"))) == 1
    del source
    refusal(tmp_path, toml.replace("select *", "select *, error('no') as first_seen"))

    assert list(scratch.iterdir()) == []
    assert {p.name for p in tmp_path.iterdir()} == {"x.db", "map.toml", "scratch"}
    assert hashlib.sha256((tmp_path / "x.db").read_bytes()).digest() == before


def test_a_database_is_left_as_it_is_even_where_its_log_holds_rows(tmp_path: Path) -> None:
    """Whoever opens a database for writing moves the rows of its log into the file when they close it."""
    with closing(sqlite3.connect(tmp_path / "s.db")) as lite, closing(duckdb.connect(tmp_path / "d.db")) as duck:
        lite.executescript("pragma journal_mode = wal; create table links (account_id, kind, value);")
        lite.execute("insert into links values ('a', 'device', 'd')")
        lite.commit()
        duck.execute("create table links as select 'a' account_id, 'device' kind, 'd' \"value\"")
        (tmp_path / "copy").mkdir()
        for name in ("s.db", "s.db-wal", "d.db", "d.db.wal"):
            (tmp_path / "copy" / name).write_bytes((tmp_path / name).read_bytes())
    before = {p.name: p.read_bytes() for p in (tmp_path / "copy").iterdir()}

    for kind in "sd":
        source = mapped(tmp_path, f'[links]\ndatabase = "copy/{kind}.db"\n{BY_LINKS}')
        assert rows(source, "links") == [("a", "device", "d")]

    assert {name: (tmp_path / "copy" / name).read_bytes() for name in before} == before


def test_what_does_not_fit_into_memory_goes_to_the_private_folder(tmp_path: Path, scratch: Path) -> None:
    duckdb.connect(tmp_path / "x.db").close()
    query = "select 'a' as account_id, 'device' as kind, current_setting('temp_directory') as value"

    found = mapped(tmp_path, f'[links]\ndatabase = "x.db"\nquery = "{query}"\n')

    assert str(rows(found, "links")[0][2]).startswith(f"{scratch}/hydragraph-")


# --- what a database calls a value


def test_types_of_duckdb_are_read_as_those_of_parquet(tmp_path: Path) -> None:
    with closing(duckdb.connect(tmp_path / "x.db")) as database:
        database.execute("create type mood as enum ('device', 'phone')")
        database.execute(
            "create table links as select i account_id, 'device'::mood kind, v \"value\","
            " timestamptz '2026-01-01 00:00:00+01' first_seen, timestamp_s '2026-01-02 00:00:00' last_seen,"
            " 3::hugeint count from (values (1::utinyint, 123::hugeint::varchar), (2, '4.50'::decimal(9, 2)::varchar),"
            " (3, '8f14e45f-ceea-467f-9575-9b1d5c0f8a11')) t(i, v)"
        )
    of = "select account_id, kind, {} as value, first_seen, last_seen, count from links where account_id {}"
    toml = "".join(
        f'[[links]]\ndatabase = "x.db"\nquery = "{of.format(*what)}"\n'
        for what in [("value::hugeint", "= 1"), ("value::decimal(9, 2)", "= 2"), ("value::uuid", "= 3")]
    ) + "".join(
        f'[[links]]\ndatabase = "x.db"\nquery = "{of.format(what, "= 1")}"\n'
        for what in (
            "interval 1 day",
            "[1, 2]",
            "[interval 1 day]",
            "true",
            "{'a': 1}",
            "time '00:00'",
            "'\\\\xFF'::blob",
        )
    )
    (tmp_path / "map.toml").write_text(toml)

    source = open_source([], mapping=tmp_path / "map.toml", settings=hg.Settings(max_rejects=1))

    first, last = dt.datetime(2025, 12, 31, 23, tzinfo=dt.UTC), dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    assert rows(source, "links") == [
        ("1", "device", "123", first, last, 3),
        ("3", "device", "8f14e45f-ceea-467f-9575-9b1d5c0f8a11", first, last, 3),
    ]
    reasons = dict(source.rejects.group_by("reason").agg(pl.len()).iter_rows())
    assert reasons == {
        "a column of this type cannot be read here": 6,
        "a decimal number where an identifier is needed": 1,
        "bytes that are not UTF-8": 1,
    }


def test_every_value_of_sqlite_has_a_type_of_its_own(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as database, database:
        database.execute("create table links (account_id, kind, value, first_seen, count)")
        database.executemany(
            "insert into links values (?, 'device', ?, ?, ?)",
            [
                (7, "007", 1767225600, 2),
                ("7", 7, "2026-01-01T00:00:00Z", "3"),
                (7.0, 7.0, 1767225600.0, None),
                (b"seven", "ü\u202e", "1767225600", 4.0),
                ("x", 7.5, None, 1),
                ("x", b"\xff", None, 1),
                ("x", "a\0b", None, 1),
                ("x", "v", None, -1),
            ],
        )
        database.execute("insert into links values ('x', 'device', cast(x'ff' as text), null, 1)")
    (tmp_path / "map.toml").write_text(f'[links]\ndatabase = "x.db"\n{BY_LINKS}')

    source = open_source([], mapping=tmp_path / "map.toml", settings=hg.Settings(max_rejects=1))

    new_year = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert rows(source, "links") == [
        ("7", "device", "007", new_year, 2),
        ("7", "device", "7", new_year, 3),
        ("7", "device", "7", new_year, None),
        ("seven", "device", "ü\u202e", new_year, 4),
    ]
    assert source.rejects["reason"].sort().to_list() == [
        "a NUL byte", "a decimal number where an identifier is needed", "bytes that are not UTF-8",
        "bytes that are not UTF-8", "not a whole number of at least 0",
    ]  # fmt: skip


def test_the_time_zone_of_the_machine_makes_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    with closing(duckdb.connect(tmp_path / "x.db")) as database:
        database.execute("create table e as select 1 account_id, 'k' api_key_id, '2026-01-01 00:00:00' made")
    toml = '[api_keys]\ndatabase = "x.db"\nquery = "select *, made::timestamptz as created_at from e"\n'

    assert rows(mapped(tmp_path, toml), "api_keys") == [("1", "k", dt.datetime(2026, 1, 1, tzinfo=dt.UTC))]


def test_columns_that_are_not_wanted_never_leave_the_database(tmp_path: Path) -> None:
    with closing(duckdb.connect(tmp_path / "x.db")) as database:
        database.execute("create table links as select 'a' account_id, 'device' kind, 'd' \"value\"")
    toml = '[links]\ndatabase = "x.db"\nquery = "select *, error(value) as boom from links"\n'

    source = mapped(tmp_path, toml)
    assert rows(source, "links") == [("a", "device", "d")]
    assert source.notes == ("links: columns not read, because they are not declared: boom.",)
    assert "failed while its rows were read" in refusal(tmp_path, toml.replace("boom", "first_seen"))


# --- Delta


def test_a_delta_table_is_its_newest_version(tmp_path: Path) -> None:
    place = str(tmp_path / "lake" / "links")
    LINKS.with_columns(value=pl.lit("old")).write_delta(place, delta_write_options={"partition_by": ["kind"]})
    LINKS.write_delta(place, mode="overwrite")

    source = mapped(tmp_path, '[links]\ndelta = "lake/links"\n')

    assert rows(source, "links") == [("a", "device", "d1"), ("b", "device", "d1"), ("b", "device", "d2")]
    assert [i.file for i in source.inputs] == ["links [links]"]


def test_a_delta_table_in_the_source_is_read_only_where_the_mapping_names_it(tmp_path: Path) -> None:
    LINKS.write_delta(str(tmp_path / "links"))
    LINKS.rename({"kind": "k"}).write_delta(str(tmp_path / "deep" / "more"))
    with pytest.raises(InputRefused, match="name it in a mapping file: delta"):
        open_source(tmp_path)
    (tmp_path / "map.toml").write_text(
        '[[links]]\ndelta = "links"\n[[links]]\ndelta = "deep/more"\ncolumns = { kind = "k" }\n'
    )

    source = open_source(tmp_path, mapping=tmp_path / "map.toml")
    assert source.rows["links"].kept == 6
    assert source.notes == ()


def test_a_nested_column_of_a_delta_table_is_no_identifier(tmp_path: Path) -> None:
    LINKS.with_columns(value=pl.concat_list("value")).write_delta(str(tmp_path / "links"))

    assert "column value: a column of this type cannot be read here" in refusal(tmp_path, '[links]\ndelta = "links"\n')


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
        ('database = "{}.db"\nquery = "select 1 as a, 2 as a, 3 as b"', "two columns of the query are called 'a'"),
        ('database = "{}.db"\nquery = "select 1 as nobody"', "links: the required column account_id is missing"),
        (
            'database = "{}.db"\nquery = "select * from links"\ncolumns = {{ value = "no" }}',
            "the query gives no column 'no'",
        ),
        ('database = "{}.db"\nquery = "select count(*) from links"', "the columns found are 'count"),
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
