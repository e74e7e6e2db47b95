"""Tables from queries of DuckDB and SQLite and from Delta tables: the same as from Parquet, and a sentence otherwise."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import sqlite3
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
from hydragraph.schema import INPUT, OUTPUT
from hydragraph.worlds import simulate
from queried import BY_LINKS, mapped, refusal, rows, section, theirs, to_duckdb, to_sqlite
from test_cli import invoke

pytestmark = pytest.mark.xdist_group("queries")  # one worker: one world

LINKS = pl.DataFrame({"account_id": ["a", "b", "b"], "kind": ["device"] * 3, "value": ["d1", "d1", "d2"]})


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go, so that a test can see what is left."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


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
