"""Tables from queries of PostgreSQL, on a real server: the same as from Parquet, read only, and no password anywhere."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import polars as pl
import pytest
from adbc_driver_postgresql import dbapi

import hydragraph as hg
from hydragraph.errors import InputRefused
from hydragraph.loaders import databases, open_source
from hydragraph.schema import INPUT, OUTPUT
from hydragraph.worlds import simulate
from postgres_server import PASSWORD, USER, WHY_NOT, programs, server
from queried import mapped, rows, section, theirs
from test_cli import invoke

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("postgresql"),  # one worker: one server
    pytest.mark.skipif(programs() is None, reason=WHY_NOT),
]

ENV = 'database_env = "CASEWORK"'
HELD = "select account_id, kind, value, first_seen, count from held"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with server() as found:
        yield found


@pytest.fixture
def address(port: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """Connection string to the server, also in the environment; tables are made anew for each test."""
    address = f"postgresql://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/postgres"
    monkeypatch.setenv("CASEWORK", address)
    run(
        address,
        "drop schema public cascade",
        "create schema public",
        "create table links (account_id text, kind text, value text)",
        "insert into links values ('a', 'device', 'private'), ('b', 'device', 'private')",
    )
    return address


def run(address: str, *statements: str) -> None:
    with closing(dbapi.connect(address, autocommit=True)) as database, closing(database.cursor()) as cursor:
        for statement in statements:
            cursor.execute(statement)


def refusal(folder: Path, toml: str) -> str:
    with pytest.raises(InputRefused) as caught:
        mapped(folder, toml)
    said = str(caught.value)
    assert "\n" not in said
    assert "hush" not in said
    assert "private" not in said
    return said


def test_a_query_gives_the_same_bytes_as_parquet_in_any_order(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "AT_ONCE", 1000)
    simulate(tmp_path / "world", accounts=400, seed=5)
    case = hg.analyze(tmp_path / "world", tmp_path / "case")
    frames = {t: pl.read_parquet(f) for t in INPUT if (f := tmp_path / "world" / f"{t}.parquet").exists()}
    with closing(dbapi.connect(address)) as database, closing(database.cursor()) as cursor:
        for table, frame in frames.items():
            cursor.adbc_ingest(f"t_{table}", theirs(frame), mode="create")
        database.commit()
    # the server's own types for what Parquet holds as text
    run(address, "alter table t_events alter ip type inet using ip::inet")
    manifests = []
    for order in ("", "order by random()"):
        (tmp_path / "map.toml").write_text("".join(section(t, f, ENV, order) for t, f in frames.items()))
        found = hg.analyze([], tmp_path / "found", mapping=tmp_path / "map.toml", force=True)
        for name in OUTPUT:
            assert (found.path / f"{name}.parquet").read_bytes() == (case.path / f"{name}.parquet").read_bytes(), name
        assert "hush" not in (found.path / "manifest.json").read_text("utf-8")
        manifests.append({**found.manifest, "stages": 0})
    assert case.clusters.height > 1
    assert manifests[0] == manifests[1]
    assert {i["table"]: i["file"] for i in manifests[0]["inputs"]} == {t: f"postgresql [{t}]" for t in frames}


def test_types_of_the_server_are_read_as_those_of_parquet(address: str, tmp_path: Path) -> None:
    run(
        address,
        "create type mood as enum ('device', 'phone')",
        "create table held (account_id uuid, kind mood, value text, first_seen timestamptz, count numeric(9, 2))",
        "insert into held values ('8f14e45f-ceea-467f-9575-9b1d5c0f8a11', 'device', 'ü''\"\\', '2026-01-01 00:00+01', 3)",
    )
    as_it_is = mapped(tmp_path, f'[links]\n{ENV}\nquery = "{HELD}"\n')
    first = dt.datetime(2025, 12, 31, 23, tzinfo=dt.UTC)
    account = "8f14e45f-ceea-467f-9575-9b1d5c0f8a11"
    assert rows(as_it_is, "links") == [(account, "device", "ü'\"\\", first, 3)]

    def other(value: str, kind: str = "device") -> str:
        query = f"select 1 as account_id, '{kind}' as kind, {value} as value, '2026-01-01'::timestamp as first_seen"
        return f'[[links]]\n{ENV}\nquery = """{query}, 7 as odd, interval \'1 day\' as odd2"""\n'

    good = [
        "12.00::numeric(9, 2)",
        "12::smallint",
        "'12'::bytea",
        "'12'::char(2)",
        "12::oid",
        "12.0::float8",
        "1.2e1::real",
    ]
    ranges = {
        "'10.1.2.3'::inet": "10.1.2.3",
        "'10.1.2.0/24'::cidr": "10.1.2.0/24",
        "'2001:db8::1'::inet": "2001:db8::1",
    }
    bad = ["interval '1 day'", "array[1, 2]", "'{}'::jsonb", "'{}'::json", "true", "time '00:00'", "12.5::numeric"]
    toml = "".join([*map(other, good), *(other(v, "ip") for v in ranges), *map(other, bad)])
    (tmp_path / "map.toml").write_text(toml)
    source = open_source([], mapping=tmp_path / "map.toml", settings=hg.Settings(max_rejects=1))

    noon = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    kept = [("1", "device", "12", noon)] * len(good) + [("1", "device", "12.5", noon)]
    assert rows(source, "links") == sorted(kept + [("1", "ip", v, noon) for v in ranges.values()], key=repr)
    assert source.rejects["reason"].to_list() == ["a column of this type cannot be read here"] * (len(bad) - 1)
    assert source.notes == ("links: columns not read, because they are not declared: odd, odd2.",)


def test_times_that_are_none_and_rows_that_are_none(address: str, tmp_path: Path) -> None:
    run(
        address,
        "create table keys (account_id text, api_key_id text, created_at timestamptz, revoked_at date)",
        "insert into keys values ('a', 'k', 'infinity', null), ('b', 'k', null, 'infinity'), ('c', 'k', now(), null)",
        "insert into keys values ('d', 'k', '-infinity', null), ('e', 'k', null, '4000-01-01 BC')",
    )
    toml = f'[api_keys]\n{ENV}\nquery = "select * from keys{{}}"\n'
    (tmp_path / "map.toml").write_text(toml.format(""))
    source = open_source([], mapping=tmp_path / "map.toml", settings=hg.Settings(max_rejects=1))
    assert source.rows["api_keys"].kept == 1
    assert set(source.rejects["reason"]) == {"a time outside the years 1990 to 2100"}

    assert "empty source: no rows in api_keys" in refusal(tmp_path, toml.format(" where false"))


def test_the_time_zone_of_the_server_makes_no_difference(address: str, tmp_path: Path) -> None:
    query = "select 'a' as account_id, 'k' as api_key_id, '2026-01-01 00:00'::text::timestamptz as created_at"

    found = mapped(tmp_path, f'[api_keys]\n{ENV}\nquery = "{query}"\n')
    assert rows(found, "api_keys") == [("a", "k", dt.datetime(2026, 1, 1, tzinfo=dt.UTC))]


def test_columns_that_are_not_wanted_never_leave_the_server(address: str, tmp_path: Path) -> None:
    toml = f'[links]\n{ENV}\nquery = "select *, 1 / (length(value) - 7) as boom from links"\n'

    assert mapped(tmp_path, toml).rows["links"].kept == 2
    assert "failed while its rows were read" in refusal(tmp_path, toml.replace("boom", "count"))


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("select * from nothing", f"{databases.MISSING} (SQLSTATE 42P01)"),
        ("select private2 from links", f"{databases.MISSING} (SQLSTATE 42703)"),
        ("select nothing(value) from links", f"{databases.MISSING} (SQLSTATE 42883)"),
        ("selec 1", databases.NO_SELECT),
        ("select 1; delete from links", databases.NO_SELECT),
        ("delete from links returning *", databases.NO_SELECT),
        ("with d as (delete from links returning *) select * from d", "SQLSTATE 0A000"),
        ("select 1) as q; drop table links --", databases.NO_SELECT),
        ("copy links to program 'touch out'", databases.NO_SELECT),
        ("select *, nextval('numbers') as count from links", databases.FAILED),
        ("select *, value::int as count from links", databases.FAILED),
        ("select * from locked", f"{databases.NOT_ALLOWED} (SQLSTATE 42501)"),
        ("select 1 as a, 2 as a", "columns 1 and 2 of the query have the same name"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(address: str, tmp_path: Path, query: str, sentence: str) -> None:
    run(
        address,
        "create sequence numbers",
        "drop role if exists guest",
        f"create role guest login password '{PASSWORD}'",
        "grant usage on schema public to guest",
        "grant select on links, numbers to guest",
        "grant all on numbers to guest",
        "create table locked as select * from links",
    )
    guest = address.replace(f"//{USER}:", "//guest:")

    said = refusal(tmp_path, f'[links]\ndatabase = "{guest}"\nquery = """{query}"""\n')
    assert said.startswith("postgresql [links]: ")
    assert sentence in said
    assert mapped(tmp_path, f'[links]\n{ENV}\nquery = "select * from links;"\n').rows["links"].kept == 2
    run(address, "drop owned by guest", "drop role guest")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (quote(PASSWORD, safe=""), "hush"),
        (quote(PASSWORD, safe=""), "hush/h@us#h"),
        ("/postgres", "/nothing"),
        ("127.0.0.1", "no-such-host.invalid"),
        ("/postgres", "/postgres?hush=hush"),
        ("@127.0.0.1:", "@127.0.0.1:1"),
    ],
)
def test_a_connection_that_fails_is_one_sentence(address: str, tmp_path: Path, old: str, new: str) -> None:
    wrong = address.replace(old, new) if old != "/postgres" else address.removesuffix(old) + new

    said = refusal(tmp_path, f'[links]\ndatabase = "{wrong}"\nquery = "select * from links"\n')
    assert said.startswith("postgresql [links]: no connection to PostgreSQL")
    loud = invoke("--verbose", "check", "--mapping", str(tmp_path / "map.toml"))
    assert loud.exit_code == 3
    assert "hush" not in loud.stderr + loud.stdout


def test_the_commands_say_nothing_of_the_password(address: str, tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(f'[links]\ndatabase = "{address}"\nquery = "select * from links"\n')

    for command in (["check"], ["check", "--part", "files"], ["analyze", "-o", str(tmp_path / "case")]):
        done = invoke("--verbose", *command, "--mapping", str(tmp_path / "map.toml"))
        assert done.exit_code == 0
        assert "hush" not in done.stderr + done.stdout
        assert "127.0.0.1" not in done.stderr + done.stdout
    assert not [f for f in (tmp_path / "case").iterdir() if b"hush" in f.read_bytes()]
