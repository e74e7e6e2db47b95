"""What a source is: tables found by name, formats, part files, refusals, and the same answer whatever the form."""

from __future__ import annotations

import gzip
import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from hydragraph.errors import InputRefused
from hydragraph.loaders import Input, Rows, Source, check, open_source
from hydragraph.schema import INPUT, OUTPUT
from hydragraph.settings import Settings

LINKS = "account_id,kind,value\na,device,d1\nb,device,d1\n"
LAX = Settings(max_rejects=1.0)


def write(folder: Path, **files: str) -> Path:
    """Files by stem and suffix joined with '__': links__csv='...'."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, "utf-8")
    return folder


def frame(source: Source, table: str) -> pl.DataFrame:
    out = source.tables[table].collect()
    return out.sort(out.columns, nulls_last=True)


def refusal(*args: object, **kwargs: object) -> str:
    with pytest.raises(InputRefused) as caught:
        open_source(*args, **kwargs)  # type: ignore[arg-type]
    text = str(caught.value)
    assert "\n" not in text
    return text


# ---------------------------------------------------------------- the smallest sources


def test_links_alone_are_a_source(tmp_path: Path) -> None:
    source = open_source(write(tmp_path, links__csv=LINKS))
    assert frame(source, "links").rows() == [("a", "device", "d1"), ("b", "device", "d1")]
    assert source.rows == {"links": Rows(read=2, kept=2, rejected=0, set_aside=0)}
    assert source.rejects.schema == OUTPUT["rejects"].schema
    assert source.rejects.is_empty()
    digest = "sha256:" + hashlib.sha256(LINKS.encode()).hexdigest()
    assert source.inputs == (Input("links", "links.csv", 2, len(LINKS), digest),)
    assert source.notes == ()
    assert repr(source) == "<Source links 2 of 2 rows>"


def test_a_file_or_several_are_a_source(tmp_path: Path) -> None:
    write(tmp_path / "x", links__csv=LINKS)
    write(tmp_path / "y", accounts__csv="account_id\na\n")
    one = open_source(str(tmp_path / "x" / "links.csv"))
    two = open_source([tmp_path / "x" / "links.csv", tmp_path / "y" / "accounts.csv"])
    assert list(one.tables) == ["links"]
    assert list(two.tables) == ["accounts", "links"]
    assert [i.file for i in two.inputs] == ["accounts.csv", "links.csv"]


def test_check_is_open_source() -> None:
    assert check is open_source


def test_every_table_gets_its_declared_types(tmp_path: Path) -> None:
    write(
        tmp_path,
        accounts__csv="account_id,created_at,close_reason\na,2026-01-02,banned\n",
        api_keys__csv="account_id,api_key_id,created_at,revoked_at\na,k,2026-01-02T03:04:05Z,\n",
        payments__csv="account_id,instrument_id,kind\na,00123,card\n",
        events__csv="timestamp,account_id,ip,status,input_tokens\n1767225600,a,203.0.113.9,200,7\n",
        links__csv=LINKS,
        ranges__csv="cidr,kind\n100.64.0.0/10,cgnat\n",
    )
    source = open_source(tmp_path)
    assert list(source.tables) == list(INPUT)
    for table, lazy in source.tables.items():
        declared = INPUT[table].schema
        assert all(declared[c] == t for c, t in lazy.collect_schema().items())
        assert lazy.collect().schema == lazy.collect_schema()
    assert frame(source, "payments").rows() == [("a", "00123", "card")]
    assert frame(source, "events").rows() == [(datetime(2026, 1, 1, tzinfo=UTC), "a", "203.0.113.9", 200, 7)]
    assert frame(source, "api_keys").columns == ["account_id", "api_key_id", "created_at", "revoked_at"]


def test_columns_not_declared_are_left_out_and_named(tmp_path: Path) -> None:
    write(tmp_path, links__csv="account_id,user_country,kind,value,colour,tz\na,de,device,d,red,1\n")
    source = open_source(tmp_path)
    assert frame(source, "links").columns == ["account_id", "kind", "value"]
    assert source.notes == (
        "links: columns not read, because they are not declared: colour.",
        "links: columns that say who people are, never read: tz, user_country.",
    )


def test_refused_kinds_are_kept_but_set_aside(tmp_path: Path) -> None:
    write(tmp_path, links__csv="account_id,kind,value\na,device,d\na,Country,de\nb,first name,x\nb,hostname,h\n")
    source = open_source(tmp_path)
    assert source.rows["links"] == Rows(read=4, kept=4, rejected=0, set_aside=2)
    assert frame(source, "links")["kind"].to_list() == ["device", "hostname"]
    assert source.notes == ("links: 2 rows set aside, because their kind says who people are: country, first_name.",)


def test_progress_is_told_before_each_table(tmp_path: Path) -> None:
    said: list[str] = []
    write(tmp_path, links__csv=LINKS, accounts__csv="account_id\na\n")
    open_source(tmp_path, progress=said.append)
    assert said == ["reading accounts", "reading links"]


# ---------------------------------------------------------------- names, folders, links


@pytest.mark.parametrize("name", ["LINKS.CSV", "Links.csv", "api-keys.csv", "Api Keys.csv", "API_KEYS.csv"])
def test_table_names_are_forgiving(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("account_id,kind,value,api_key_id\na,device,d,k\n")
    assert len(open_source(tmp_path).tables) == 1


def test_part_files_may_differ_in_columns_order_and_format(tmp_path: Path) -> None:
    parts = tmp_path / "links"
    (parts / "day=1").mkdir(parents=True)
    pl.DataFrame({"value": ["d1"], "account_id": ["a"], "kind": ["device"], "extra": [1]}).write_parquet(parts / "p.pq")
    pl.DataFrame({"kind": ["device"], "value": ["d2"], "account_id": ["b"], "count": [3]}).write_ipc(parts / "q.arrow")
    (parts / "day=1" / "r.csv").write_text("account_id;value;kind;count\nc;d3;device;4\n")
    (parts / "s.jsonl").write_text('{"account_id": 7, "kind": "device", "value": 12, "count": "5"}\n')
    (parts / "_SUCCESS").touch()
    (parts / ".p.pq.crc").write_bytes(b"\0\1")
    (parts / "empty.csv").touch()
    source = open_source(tmp_path)
    assert frame(source, "links").rows() == [
        ("7", "device", "12", 5),
        ("a", "device", "d1", None),
        ("b", "device", "d2", 3),
        ("c", "device", "d3", 4),
    ]
    assert [(i.file, i.rows) for i in source.inputs] == [
        ("links/day=1/r.csv", 1),
        ("links/empty.csv", 0),
        ("links/p.pq", 1),
        ("links/q.arrow", 1),
        ("links/s.jsonl", 1),
    ]
    assert source.notes == ("links: columns not read, because they are not declared: extra.",)
    assert_frame_equal(frame(open_source(parts), "links"), frame(source, "links"))


def test_other_files_are_noted_and_truth_is_not(tmp_path: Path) -> None:
    write(tmp_path, links__csv=LINKS, truth__csv="account_id\na\n", README__md="x", other__csv="x\n", _SUCCESS="")
    (tmp_path / "old").mkdir()
    (tmp_path / ".hidden.csv").touch()
    assert open_source(tmp_path).notes == (
        "Not read, because the name or format is none of the tables': README.md, old/, other.csv.",
    )


def test_two_claims_on_one_table_are_refused(tmp_path: Path) -> None:
    write(tmp_path, links__csv=LINKS, LINKS__tsv=LINKS)
    text = refusal(tmp_path)
    assert "LINKS.tsv and links.csv both claim to be the table links" in text


def test_a_table_that_is_a_link_out_of_the_source_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", links__csv=LINKS)
    write(tmp_path / "source", events__csv="timestamp,account_id\n2026-01-01,a\n")
    (tmp_path / "source" / "links.csv").symlink_to(tmp_path / "elsewhere" / "links.csv")
    assert "links.csv is a link that leads out of the source" in refusal(tmp_path / "source")
    # Named by the user, the same link is fine; inside the source too; another name is noted.
    assert open_source(tmp_path / "source" / "links.csv").rows["links"].read == 2
    (tmp_path / "source" / "links.csv").rename(tmp_path / "source" / "notes.csv")
    (tmp_path / "source" / "api_keys.csv").symlink_to("keys.txt")
    (tmp_path / "source" / "keys.txt").write_text("account_id,api_key_id\na,k\n")
    source = open_source(tmp_path / "source")
    assert source.rows["api_keys"].read == 1
    assert source.notes[0] == "notes.csv is a link that leads out of the source and was not followed."


def test_a_link_out_of_a_folder_of_parts_is_refused(tmp_path: Path) -> None:
    write(tmp_path, out__csv=LINKS)
    write(tmp_path / "source" / "links", a__csv=LINKS)
    (tmp_path / "source" / "links" / "b.csv").symlink_to(tmp_path / "out.csv")
    assert "links/b.csv is a link" in refusal(tmp_path / "source")


@pytest.mark.parametrize("suffix", ["csv", "ndjson", "parquet", "arrow"])
def test_glob_characters_in_names_mean_themselves(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "we[i]rd *?"
    folder.mkdir()
    path = folder / f"links.{suffix}"
    data = pl.DataFrame({"account_id": ["a"], "kind": ["device"], "value": ["d"]})
    {"csv": data.write_csv, "ndjson": data.write_ndjson, "parquet": data.write_parquet, "arrow": data.write_ipc}[
        suffix
    ](path)
    assert frame(open_source(folder), "links").rows() == [("a", "device", "d")]


# ---------------------------------------------------------------- refusals


def test_refusals_say_what_is_wrong(tmp_path: Path) -> None:
    assert "no such file or folder" in refusal(tmp_path / "nowhere")
    assert "no source given" in refusal([])
    assert "no table found" in refusal(write(tmp_path / "a", notes__txt="x"))
    assert "only accounts" in refusal(write(tmp_path / "b", accounts__csv="account_id\na\n"))
    assert "empty source: no rows in links" in refusal(write(tmp_path / "c", links__csv="account_id,kind,value\n"))
    assert "empty source" in refusal(write(tmp_path / "d", links__csv=""))
    assert "empty source" in refusal(write(tmp_path / "e", links__ndjson=""))
    assert "required column kind is missing; the columns found are account_id, what" in refusal(
        write(tmp_path / "f", links__csv="account_id,what,value\na,b,c\n".replace(",value", "").replace(",c", ""))
    )
    assert "columns 2 and 3 of the header have the same name" in refusal(
        write(tmp_path / "g", links__csv="account_id,kind, kind\na,b,c\n")
    )
    assert "its name is none of the tables'" in refusal(write(tmp_path / "h", other__csv="x\n") / "other.csv")
    assert "its format is not known" in refusal(write(tmp_path / "i", links__txt="x\n") / "links.txt")
    (tmp_path / "j" / "links").mkdir(parents=True)
    assert "links: the folder holds no file that can be read" in refusal(tmp_path / "j")
    assert "JSON array" in refusal(write(tmp_path / "k", links__json='[{"account_id": 1}]'))
    assert "Delta" in refusal(write(tmp_path / "l" / "links" / "_delta_log", x__json="{}").parent.parent)


@pytest.mark.parametrize("name", ["links.parquet", "links.arrow", "links.csv.gz", "links.csv.zst", "links.ndjson.gz"])
@pytest.mark.parametrize(
    "content", [b"", b"PAR1junk", b"\x1f\x8b\x08junkjunkjunk", b"\x28\xb5\x2f\xfdjunk", b"ARROW1.."]
)
def test_damaged_files_are_refused_in_one_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert refusal(tmp_path)


def test_a_cut_off_gzip_file_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(
        ("account_id,kind,value\n" + "".join(f"a{i},device,{i * 7919}\n" for i in range(5000))).encode()
    )
    (tmp_path / "links.csv.gz").write_bytes(whole[: len(whole) // 2])
    assert "links.csv.gz: cannot be read" in refusal(tmp_path)


def test_utf16_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "links.csv").write_bytes(LINKS.encode("utf-16"))
    assert "UTF-16" in refusal(tmp_path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "links.csv")
    assert "not an ordinary file" in refusal(tmp_path)


def test_too_many_rejects_are_refused_with_the_commonest_reason(tmp_path: Path) -> None:
    rows = ["a,device,d"] * 97 + [",device,d", "a,device,", "b,device,"]
    write(tmp_path, links__csv="account_id,kind,value\n" + "\n".join(rows) + "\n")
    text = refusal(tmp_path)
    assert text == (
        "links: 3 of 100 rows cannot be read, more than the 1.000% allowed (--max-rejects);"
        " most often (2 rows) column value: no value"
    )
    source = open_source(tmp_path, settings=Settings(max_rejects=0.03))
    assert source.rows["links"] == Rows(100, 97, 3, 0)
    assert source.rejects.rows() == [
        ("links", "links.csv", 98, "account_id", "no value"),
        ("links", "links.csv", 99, "value", "no value"),
        ("links", "links.csv", 100, "value", "no value"),
    ]


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    bad = "account_id,kind,value\na,device,d,d,d\n" + "b,device,d\n" * 200
    source = open_source(write(tmp_path / "ok", links__csv=bad))
    assert len(list(scratch.iterdir())) == 1
    assert source.tables["links"].collect().height == 200
    del source
    assert list(scratch.iterdir()) == []
    refusal(write(tmp_path / "bad", links__csv=bad.replace("b,device,d\n", "b,device,d,d\n")))
    assert list(scratch.iterdir()) == []


# ---------------------------------------------------------------- the same table in any form

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=6)
TIMES = st.datetimes(datetime(1980, 1, 1), datetime(2110, 1, 1)).map(lambda t: t.replace(microsecond=0))
ADDRESSES = st.sampled_from(
    [
        None,
        "",
        "203.0.113.9",
        "2001:db8::1",
        "198.51.100.0/24",
        "010.1.1.1",
        "999.1.1.1",
        "::ffff:1.2.3.4",
        "unknown",
        "x",
    ]
)
ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), TIMES),
        st.one_of(st.none(), TEXT, st.sampled_from(["a", "b", "unknown"])),
        ADDRESSES,
        st.one_of(st.none(), st.integers(-2, 5)),
        st.one_of(st.none(), TEXT),
    ),
    min_size=1,
    max_size=12,
)
COLUMNS = ["timestamp", "account_id", "ip", "status", "template_hash"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, data=st.data())
def test_every_form_of_a_table_gives_the_same_frame_and_totals(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, ...]], data: st.DataObject
) -> None:
    home = tmp_path_factory.mktemp("forms")
    schema = {"timestamp": pl.Datetime("us"), "account_id": pl.String, "ip": pl.String, "status": pl.Int64}
    table = pl.DataFrame(rows, schema=schema | {"template_hash": pl.String}, orient="row")
    order = data.draw(st.permutations(range(table.height)))
    shuffled = table[order].select(data.draw(st.permutations(COLUMNS)))
    stamps = pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    cut = data.draw(st.integers(0, table.height))

    def folder(name: str) -> Path:
        (home / name / "events").mkdir(parents=True)
        return home / name / "events"

    table.write_parquet(folder("parquet") / "p.parquet")
    shuffled.with_columns(stamps).write_csv(folder("csv") / "p.csv", quote_style="necessary")
    shuffled.with_columns(stamps).write_csv(folder("semicolon") / "p.csv", separator=";", line_terminator="\r\n")
    shuffled.write_csv(folder("gz") / "p.csv.gz", compression="gzip", datetime_format="%Y-%m-%d %H:%M:%S")
    shuffled.write_csv(folder("zst") / "p.csv.zst", compression="zstd", datetime_format="%Y-%m-%d %H:%M:%S")
    table.with_columns(pl.col("timestamp").dt.epoch("ms")).write_ipc(folder("arrow") / "p.arrow")
    split = folder("ndjson")
    table[:cut].with_columns(stamps).write_ndjson(split / "a.ndjson")
    table[cut:].with_columns(pl.col("timestamp").dt.epoch("s")).write_ndjson(split / "b.ndjson.gz", compression="gzip")
    sources = {name.name: open_source(name, settings=LAX) for name in sorted(home.iterdir())}
    first = sources.pop("parquet")
    rejected = first.rejects.group_by("column", "reason").len().sort("column", "reason")
    for name, source in sources.items():
        assert source.rows == first.rows, name
        assert_frame_equal(frame(source, "events"), frame(first, "events"))
        again = source.rejects.group_by("column", "reason").len().sort("column", "reason")
        assert_frame_equal(again, rejected)
    counted = first.rows["events"]
    assert counted.read == table.height == counted.kept + counted.rejected
    assert first.rejects.height == counted.rejected == first.rejects["row"].n_unique()
    assert frame(first, "events").height == counted.kept
