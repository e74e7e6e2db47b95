"""What is read on Spark is what the embedded engine reads: every stage, every count, every note, every refusal."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
import staged
from polars.testing import assert_frame_equal

from hydragraph import coding as embedded_coding
from hydragraph.engines.spark import coding, gathering, units
from hydragraph.engines.spark.reading import REJECTS, Read, read_tables
from hydragraph.engines.spark.stages import ACCOUNTS, IDENTIFIERS, LINKS, SLOTS, Stages
from hydragraph.errors import InputRefused
from hydragraph.links import read_links
from hydragraph.loaders import open_source
from hydragraph.settings import Settings
from hydragraph.worlds import simulate
from written import source_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FIXTURES = Path(__file__).parents[2] / "fixtures"
SCHEMAS = {
    "accounts": ACCOUNTS, "identifiers": IDENTIFIERS, "links": LINKS, "requests": SLOTS, "limits": SLOTS,
    "rejects": REJECTS,
}  # fmt: skip
CARDS = ["4111111111111111", "5500005555555559", "378282246310005", "6011111111111117", "4012888888881881"]


def read_on(
    spark: SparkSession,
    root: Path,
    places: Sequence[str],
    mapping: Path | None = None,
    settings: Settings = staged.SETTINGS,
    digest: str = "test",
) -> tuple[Read, Stages]:
    stages = Stages(spark, str(root), digest)
    return read_tables(stages, places, mapping, settings), stages


def held_against(
    spark: SparkSession,
    root: Path,
    source: Path | list[Path],
    mapping: Path | None = None,
    settings: Settings = staged.SETTINGS,
    uri: bool = False,
) -> dict[str, pl.DataFrame]:
    """The stages of the embedded engine, after those on Spark were found to be the same."""
    opened = open_source(source, mapping=mapping, settings=settings)
    expected = staged.frames(*read_links(opened, settings)) | {"rejects": opened.rejects}
    paths = [str(path) for path in ([source] if isinstance(source, Path) else source)]
    found, stages = read_on(spark, root, [f"file://{p}" for p in paths] if uri else paths, mapping, settings)
    for name, frame in expected.items():
        rows = pl.DataFrame(pl.from_arrow(stages.read(name, SCHEMAS[name]).toArrow())).select(frame.columns)
        keys = {"links": 2, "rejects": 4}.get(name, 2 if "slot" in frame.columns else 1)
        assert_frame_equal(rows.sort(frame.columns[:keys], nulls_last=True), frame, check_exact=True)
    assert (found.rows, found.inputs, found.notes) == (dict(opened.rows), opened.inputs, opened.notes)
    assert found.accounts == expected["accounts"].height
    assert found.kinds == expected["identifiers"]["kind"].unique().sort().to_list()
    assert found.source().inputs == opened.inputs
    return expected


def refused_alike(
    spark: SparkSession, root: Path, source: Path, mapping: Path | None = None, settings: Settings = staged.SETTINGS
) -> str:
    """The sentence with which both engines refuse a source."""
    with pytest.raises(InputRefused) as here:
        read_links(open_source(source, mapping=mapping, settings=settings), settings)
    with pytest.raises(InputRefused) as there:
        read_on(spark, root, [str(source)], mapping, settings)
    assert str(there.value) == str(here.value)
    return str(here.value)


# --- whole worlds


def test_fixtures(spark: SparkSession, tmp_path: Path) -> None:
    found = held_against(spark, tmp_path / "stages", FIXTURES / "small")

    assert found["identifiers"]["known"].null_count() < found["identifiers"].height
    assert found["limits"].height


def test_a_mapping_gives_files_and_columns_their_meaning(spark: SparkSession, tmp_path: Path) -> None:
    foreign = FIXTURES / "foreign"

    found = held_against(spark, tmp_path / "stages", foreign, foreign / "mapping.toml")

    assert found["links"].height


@pytest.mark.parametrize("uri", [False, True])
def test_a_world_in_many_files_of_many_formats_and_a_large_one_cut_into_ranges(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: bool
) -> None:
    monkeypatch.setattr(units, "LARGE", 20_000)
    monkeypatch.setattr(units, "_LEAST", 10_000)
    monkeypatch.setattr(coding, "_ROWS", 300)
    simulate(tmp_path / "world", accounts=400, seed=3)
    source, world = tmp_path / "source", tmp_path / "world"
    (source / "events").mkdir(parents=True)
    events = pl.read_parquet(world / "events.parquet")
    third = events.height // 3
    events[:third].write_parquet(source / "events" / "a.parquet", row_group_size=200)
    events[third : 2 * third].write_csv(source / "events" / "b é.csv")
    events[2 * third :].with_columns(pl.col("timestamp").cast(pl.String)).write_ndjson(source / "events" / "c.ndjson")
    for name in ("accounts", "payments", "ranges"):
        pl.read_parquet(world / f"{name}.parquet").write_csv(source / f"{name}.csv")
    packed = pl.read_parquet(world / "links.parquet").write_csv().encode()
    (source / "links.csv.gz").write_bytes(gzip.compress(packed))
    pl.read_parquet(world / "api_keys.parquet").write_ipc(source / "api_keys.arrow")
    (source / "notes.txt").write_text("not a table")
    (source / "events" / "_SUCCESS").touch()

    held_against(spark, tmp_path / "stages", source, uri=uri)

    cut = [unit for unit in units.find_units([str(source)], None).units if unit.name == "events/a.parquet"]
    assert len(cut) > 3


def test_several_paths(spark: SparkSession, tmp_path: Path) -> None:
    world = FIXTURES / "small"

    held_against(spark, tmp_path / "stages", [world / "payments.parquet", world / "events.parquet"])


def test_what_a_task_holds_is_handed_on_when_it_is_much(monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(FIXTURES / "small")

    def handed_on(table: str) -> tuple[int, pl.DataFrame]:
        batches = gathering._of_table(table, {table: source.tables[table]}, staged.SETTINGS)
        rows = pl.concat([pl.DataFrame(pl.from_arrow(batch)) for batch in batches])
        keys = ["part", "account_id", "kind", "value", "slot"]
        sums = [
            pl.col("count", "tokens", "limited").sum(),
            pl.col("first_seen", "first").min(),
            pl.col("last_seen").max(),
        ]
        return rows.height, rows.group_by(keys).agg(*sums).sort(keys)

    for table, held in (("links", 50), ("events", 500)):
        fewer, expected = handed_on(table)
        with monkeypatch.context() as patched:
            patched.setattr(gathering, "_HELD", held)
            patched.setattr(gathering, "_FEWEST", held // 2)
            patched.setattr(embedded_coding, "BATCH", held)
            more, found = handed_on(table)
        assert more > fewer
        assert_frame_equal(found, expected)


# --- hand-sized sources


def odd_addresses(folder: Path) -> Path:
    ips = [f"{i + 60}.9.{i % 250}.1" for i in range(160)] + [
        "203.0.113.7:443",
        "2001:db8::1%eth0",
        "1.2.3",
        "::ffff:198.51.100.9",
        "",
    ]
    day = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    events = pl.DataFrame(
        {"timestamp": [day + dt.timedelta(minutes=i) for i in range(len(ips))], "ip": ips}
    ).with_columns(account_id=pl.Series([f"acc{i % 7}" for i in range(len(ips))]))
    links = pl.DataFrame(
        {
            "account_id": ["x"] * 101,
            "kind": ["client_ip"] * 101,
            "value": [*(f"203.0.113.{i}" for i in range(100)), "nowhere"],
        }
    )
    return source_of(folder, events=events, links=links, ranges="cidr,kind\n203.0.113.0/24,vpn\n203.0.0.0/16,cloud")


def dirty(folder: Path) -> Path:
    lines = [f"2026-01-01T00:{i % 60:02}:00Z,acc{i % 9},k{i % 5},{i}" for i in range(500)]
    lines[7] = "yesterday,acc1,k1,1"
    lines[30] = ""
    lines[77] = "2026-01-01T00:00:00Z,,k1,1"
    lines[99] = '2026-01-01T00:00:00Z,"acc1,k1,1'
    lines[200] = "2026-01-01T00:00:00Z,acc2,k2,-4"
    lines[300] = "2026-01-01T00:00:00Z,acc2,k2,4,5,6"
    source_of(folder, links="account_id,kind,value\n" + "\n".join(f"acc{i},device,dev-{i % 40}-x" for i in range(90)))
    (folder / "events.csv").write_text("timestamp,account_id,api_key_id,input_tokens\n" + "\n".join(lines) + "\n")
    with (folder / "links.csv").open("a") as more:
        more.write("acc1,nationality,xx\nacc2,Gender,f\n")
    return folder


def blank_lines(folder: Path) -> Path:
    folder.mkdir()
    (folder / "links.csv").write_text(
        "account_id,kind,value\na,device,dev-1-x\n\nb,device,dev-1-x\n\n\nc,device,dev-2-x\n"
    )
    return folder


def careless_json(folder: Path) -> Path:
    folder.mkdir()
    rows: list[object] = [
        {"account_id": i % 50, "kind": "Device ID", "value": f"d{i % 30}", "count": i} for i in range(200)
    ]
    rows[5] = {"account_id": {"a": 1}, "kind": "device", "value": "d1"}
    rows[6] = {"account_id": "z", "kind": "device", "value": 1.5}
    rows[8] = {"account_id": "z", "kind": "device", "value": "late", "first_seen": "2026-01-05T00:00:00Z"}
    text = "\n".join(json.dumps(row) for row in rows) + "\nnot json\n"
    (folder / "links.ndjson").write_text(text)
    return folder


def given_twice(folder: Path) -> Path:
    return source_of(
        folder,
        accounts="""account_id, created_at, closed_at, close_reason, org_id, channel
            b, 2026-01-05, 2026-03-01, banned, ACME, direct
            b, 2026-01-02, 2026-02-01, voluntary, n/a, cloud
            a, 2026-01-01, , , unknown,
            c, , , , Acme,
            é, , , , ,""",
        payments="account_id, instrument_id, added_at\n a, pm-1-x, 2026-01-03\n b, pm-1-x,\n d, null, 2026-01-01",
        links="account_id,kind,value,first_seen,last_seen,count\na,device,dev-1-x,2026-01-02,,"
        "\nb,DeviceId, dev-1-x ,,2026-01-09,7"
        "\nZ,device,only-me-1,,,\nZ,device,only-me-2,,2026-01-01,9000000000000",
    )


def one_account(folder: Path) -> Path:
    return source_of(folder, api_keys="account_id,api_key_id\nonly,key-1-x")


def no_identifier(folder: Path) -> Path:
    return source_of(folder, links="account_id,kind,value\na,device,null\nb,device,unknown")


def few_cards(folder: Path) -> Path:
    values = [f"token-{i:04}" for i in range(400)] + CARDS[:1]
    rows = pl.DataFrame({"account_id": [f"a{i % 40}" for i in range(401)], "kind": "wallet", "value": values})
    return source_of(folder, links=rows)


def few_cards_among_keys(folder: Path) -> Path:
    (folder / "api_keys").mkdir(parents=True)
    for part in range(2):
        keys = [f"key-{part}-{i:04}" for i in range(300)] + CARDS[part : part + 1]
        rows = pl.DataFrame({"account_id": [f"a{i % 40}" for i in range(301)], "api_key_id": keys})
        rows.write_parquet(folder / "api_keys" / f"{part}.parquet")
    return folder


def numeric_ids(folder: Path) -> Path:
    ids = [str(4_000_000_000_000_000 + 7_919 * i) for i in range(300)]
    rows = pl.DataFrame({"account_id": ids, "api_key_id": [f"key{i // 3}" for i in range(300)]})
    return source_of(folder, api_keys=rows)


def two_sections(folder: Path) -> Path:
    (folder / "m").mkdir(parents=True)
    (folder / "m" / "users.csv").write_text(
        "user,dev,tel,Nick name\na,dev-1-x,030 123456,x\nb,dev-1-x,,y\nc,,030123456,z\n"
    )
    (folder / "mapping.toml").write_text(
        '[[links]]\nfiles = ["**/users.csv"]\ncolumns = { account_id = "user", value = "dev" }\n'
        'constant = { kind = "device" }\n'
        '[[links]]\nfiles = ["m/*.csv"]\ncolumns = { account_id = "user", value = "tel" }\nconstant = { kind = "phone" }\n'
    )
    return folder


@pytest.mark.parametrize(
    "make",
    [
        blank_lines,
        odd_addresses,
        dirty,
        careless_json,
        given_twice,
        one_account,
        no_identifier,
        few_cards,
        few_cards_among_keys,
        numeric_ids,
        two_sections,
    ],
)
def test_sources_made_by_hand(spark: SparkSession, tmp_path: Path, make: Callable[[Path], Path]) -> None:
    source = make(tmp_path / "source")
    mapping = source / "mapping.toml"

    found = held_against(
        spark, tmp_path / "stages", source, mapping if mapping.exists() else None, Settings(max_rejects=0.1)
    )

    assert found["rejects"].height == {
        odd_addresses: 2,
        dirty: 5,
        careless_json: 3,
        few_cards: 1,
        few_cards_among_keys: 2,
    }.get(make, 0)


# --- refusals


def many_rejects(folder: Path) -> Path:
    return source_of(folder, links="account_id,kind,value\na,device,d1\n,device,d2\n,device,d3")


def no_table(folder: Path) -> Path:
    folder.mkdir()
    (folder / "readme.md").touch()
    return folder


def no_link_table(folder: Path) -> Path:
    return source_of(folder, accounts="account_id\na")


def missing_column(folder: Path) -> Path:
    return source_of(folder, events="timestamp,user\n2026-01-01,a", links="account_id,kind,value\na,device,d")


def header_is_a_row(folder: Path) -> Path:
    return source_of(folder, links="acc1,device,d1\nacc1,device,d2\nacc2,device,d1")


def damaged(folder: Path) -> Path:
    folder.mkdir()
    (folder / "links.parquet").write_bytes(b"PAR1 and nothing else")
    (folder / "events.csv").write_text("timestamp\n")
    return folder


def empty(folder: Path) -> Path:
    return source_of(folder, links="account_id,kind,value\n", accounts="account_id\na")


def no_account(folder: Path) -> Path:
    return source_of(folder, links="account_id,kind,value\na,gender,x\nb,nationality,y")


def too_many_kinds(folder: Path) -> Path:
    return source_of(folder, links="account_id,kind,value\n" + "\n".join(f"a,kind{i},v{i}" for i in range(61)))


def too_many_spellings(folder: Path) -> Path:
    return source_of(folder, links="account_id,kind,value\n" + "\n".join(f"a,v{i},device" for i in range(2_001)))


def cards_by_kind(folder: Path) -> Path:
    rows = [f"a{i},{kind},{value}" for i in range(5) for kind, value in (("card", CARDS[i]), ("device", f"dev-{i}-x"))]
    return source_of(folder, links="account_id,kind,value\n" + "\n".join(rows))


def cards_unread(folder: Path) -> Path:
    rows = [f"a{i},k{i},{card}" for i, card in enumerate(CARDS)]
    return source_of(folder, api_keys="account_id,api_key_id,number\n" + "\n".join(rows))


def cards_hidden(folder: Path) -> Path:
    rows = [f"a{i},device,{'.'.join(card[at : at + 4] for at in range(0, 16, 4))}" for i, card in enumerate(CARDS)]
    return source_of(folder, links="account_id,kind,value\n" + "\n".join(rows))


def few_cards_among_few(folder: Path) -> Path:
    return source_of(
        folder,
        links="account_id,kind,value\n"
        + "\n".join(f"a{i},wallet,w-{i}-x" for i in range(3))
        + f"\nb,wallet,{CARDS[0]}",
    )


def account_cards_hidden(folder: Path) -> Path:
    rows = [f"{card[:4]}\u2010{card[4:8]}\u2010{card[8:12]}\u2010{card[12:]},k{i % 2}" for i, card in enumerate(CARDS)]
    return source_of(folder, api_keys="account_id,api_key_id\n" + "\n".join(rows))


@pytest.mark.parametrize(
    "make",
    [
        many_rejects, no_table, no_link_table, missing_column, header_is_a_row, damaged, empty, no_account, too_many_kinds,
        too_many_spellings, cards_by_kind, cards_unread, cards_hidden, few_cards_among_few, account_cards_hidden,
    ],
)  # fmt: skip
def test_what_the_embedded_engine_refuses_is_refused_with_its_sentence(
    spark: SparkSession, tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    assert refused_alike(spark, tmp_path / "stages", make(tmp_path / "source"))


def test_only_the_embedded_engine_reads_databases(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "mapping.toml").write_text('[links]\ndelta = "lake"\n')

    with pytest.raises(InputRefused, match="the Spark engine does not read"):
        read_on(spark, tmp_path / "stages", [], tmp_path / "mapping.toml")


def test_no_such_place(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="no source given"):
        read_on(spark, tmp_path / "stages", [])
    for place in (str(tmp_path / "nowhere"), f"file://{tmp_path}/nowhere"):
        with pytest.raises(InputRefused, match="source nowhere: no such file or folder"):
            read_on(spark, tmp_path / "stages", [place])


# --- a run that goes on


def test_what_was_read_is_not_read_again_and_a_file_that_changed_in_between_is_refused(
    spark: SparkSession, tmp_path: Path
) -> None:
    source = one_account(tmp_path / "source")
    first, stages = read_on(spark, tmp_path / "stages", [str(source)])
    (source / "api_keys.csv").write_text("account_id,api_key_id\nanother,key-1-x\n")

    again, _ = read_on(spark, tmp_path / "stages", [str(source)])

    assert again == first
    # as if the run had ended behind the first pass
    for name in ("read", "gathered"):
        Path(stages.root, f"{name}.done").unlink()
    with pytest.raises(InputRefused, match=r"api_keys\.csv changed while being read"):
        read_on(spark, tmp_path / "stages", [str(source)])


def test_texts_stand_in_the_order_of_their_bytes(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coding, "_ROWS", 3)  # several buckets, parted by such texts
    # in UTF-16 the second would stand before the first
    texts = ["\uff5e", "\U0001f600", "Z", "a", "é", "e\u0301", "a\ue000", "ab", "A\u00df"]
    ends = [f"{text}1" for text in texts]  # symbols alone are no value
    links = pl.DataFrame({"account_id": [text + end for text in texts for end in ends], "value": ends * 9})
    source_of(tmp_path / "source", links=links.with_columns(kind=pl.lit("device")))

    found = held_against(spark, tmp_path / "stages", tmp_path / "source")

    names = found["accounts"]["account_id"].to_list()
    assert names == sorted(names, key=str.encode) != sorted(names, key=lambda text: text.encode("utf-16-be"))
