"""CSV and NDJSON as the world writes them: every trap gives good rows, or a reject with a row number and a reason."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from hydragraph.errors import InputRefused
from hydragraph.loaders import Rows, Source, lines, open_source
from hydragraph.loaders.columns import DECIMAL, NO_VALUE, NOT_PLAIN, NOT_UTF8, NUL
from hydragraph.loaders.files import File
from hydragraph.loaders.lines import BAD_QUOTES, NOT_JSON, TOO_MANY, csv_records, json_records, read_lines
from hydragraph.settings import Settings

LAX = Settings(max_rejects=1.0)
HEADER = b"account_id,kind,value\n"


def opened(folder: Path, content: bytes, name: str = "links.csv") -> Source:
    (folder / name).write_bytes(content)
    return open_source(folder, settings=LAX)


def links(source: Source) -> list[tuple[object, ...]]:
    return sorted(source.tables["links"].select("account_id", "value").collect().rows())


def rejected(source: Source) -> list[tuple[object, ...]]:
    return source.rejects.select("row", "column", "reason").rows()


def zst(content: bytes) -> bytes:
    """A Zstandard frame of one raw block: any bytes, at most 255 of them."""
    size = len(content)
    return b"\x28\xb5\x2f\xfd\x20" + bytes([size]) + (size << 3 | 1).to_bytes(3, "little") + content


# ---------------------------------------------------------------- CSV that is fine


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_separators_line_ends_and_byte_order_mark(tmp_path: Path, separator: str, end: str, mark: str) -> None:
    rows = [["account_id", " kind ", "value"], ["00123", "device", "x"], ["7e5", "device", ""], ["9", "device", "z"]]
    content = mark + end.join(separator.join(r) for r in rows) + end
    source = opened(tmp_path, content.encode())
    assert links(source) == [("00123", "x"), ("9", "z")]
    assert rejected(source) == [(2, "value", NO_VALUE)]


def test_the_separator_that_names_known_columns_wins(tmp_path: Path) -> None:
    content = b"account_id|kind|value|a,b,c,d,e,f\nx|device|y|1\n"
    assert links(opened(tmp_path, content)) == [("x", "y")]


def test_quotes_hold_separators_and_line_breaks(tmp_path: Path) -> None:
    source = opened(tmp_path, HEADER + b'a,device,"x,\n\n""y"""\nb,device,z\n')
    assert links(source) == [("a", 'x,\n\n"y"'), ("b", "z")]
    assert source.rows["links"].read == 2


def test_blank_lines_are_no_rows_and_rows_of_empty_fields_are(tmp_path: Path) -> None:
    blank = opened(tmp_path, b"\n" + HEADER + b"a,device,x\n\n\r\nb,device,\n\n")
    assert blank.rows["links"] == Rows(2, 1, 1, 0)
    assert rejected(blank) == [(2, "value", NO_VALUE)]
    fields = opened(tmp_path, HEADER + b"a,device,x\n,,\nb,device,y\n")
    assert rejected(fields) == [(2, "account_id", NO_VALUE)]
    both = opened(tmp_path, HEADER + b"a,device,x\n,,\n\nb,device,y\n")
    assert rejected(both) == [(2, "account_id", NO_VALUE)]
    assert both.rows["links"].read == 3


def test_a_short_row_lacks_its_last_values(tmp_path: Path) -> None:
    source = opened(tmp_path, b"account_id,kind,value,count\na,device,x\nb,device\n")
    assert links(source) == [("a", "x")]
    assert rejected(source) == [(2, "value", NO_VALUE)]


# ---------------------------------------------------------------- CSV that polars refuses

TRAPS = HEADER + (
    b"a,device,one\n"
    b"b,device,two,three\n"  # 2 too many fields
    b"c,device,\xff\xfe\n"  # 3 not UTF-8
    b"d,device,x\x00y\n"  # 4 NUL
    b'e,device,"open\n'  # 5 a quote that never closes
    b'f,device,"q"uote\n'  # 6 text after a quote
    b'g,device,5" disk\n'  # fine: a quote inside a field
    b'h,device,"two\nlines"\n'  # fine: 8
    b",device,nobody\n"  # 9
    b"i,device,last"
)
GOOD = [("a", "one"), ("g", '5" disk'), ("h", "two\nlines"), ("i", "last")]
BAD = [
    (2, None, TOO_MANY),
    (3, "value", NOT_UTF8),
    (4, "value", NUL),
    (5, None, BAD_QUOTES),
    (6, None, BAD_QUOTES),
    (9, "account_id", NO_VALUE),
]


@pytest.mark.parametrize("name", ["links.csv", "links.csv.gz", "links.csv.zst"])
def test_every_bad_row_is_named_and_every_good_one_kept(tmp_path: Path, name: str) -> None:
    packed = {"links.csv": TRAPS, "links.csv.gz": gzip.compress(TRAPS), "links.csv.zst": zst(TRAPS)}[name]
    source = opened(tmp_path, packed, name)
    assert links(source) == GOOD
    assert rejected(source) == BAD
    assert source.rows["links"] == Rows(read=10, kept=4, rejected=6, set_aside=0)


def test_each_row_is_rejected_once_by_its_first_bad_column(tmp_path: Path) -> None:
    content = b"account_id,kind,value,count,first_seen\n,,,x,y\na,device,d,-1,never\nb,device,d,1.5,2026-01-01\n"
    assert [r[:2] for r in rejected(opened(tmp_path, content))] == [(1, "account_id"), (2, "first_seen"), (3, "count")]


def test_bytes_that_are_no_text_do_no_harm_in_columns_not_read(tmp_path: Path) -> None:
    source = opened(tmp_path, b"account_id,kind,value,prompt\na,device,x,\xff\x00\n")
    assert links(source) == [("a", "x")]
    assert source.rejects.is_empty()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(
        st.sampled_from([*TRAPS.split(b"\n"), b"", b"  ", b",,", b"x,device,y\r", b'"p","device","q"']), max_size=12
    )
)
def test_any_mixture_of_traps_adds_up(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    folder = tmp_path_factory.mktemp("mixture")
    source = opened(folder, HEADER + b"z,device,z\n" + b"\n".join(lines))
    counted = source.rows["links"]
    assert counted.read == counted.kept + counted.rejected
    assert source.rejects.height == counted.rejected == source.rejects["row"].n_unique()
    assert source.rejects["row"].max() is None or source.rejects["row"].max() <= counted.read
    assert source.tables["links"].collect().height == counted.kept
    assert ("z", "z") in links(source)


def test_what_polars_would_misread_without_a_word_is_read_with_care(tmp_path: Path) -> None:
    swallowed = opened(tmp_path, HEADER + b'a,device,"\nb,device,x"y"z\nc,device,d')
    assert links(swallowed) == [("b", 'x"y"z'), ("c", "d")]
    assert rejected(swallowed) == [(1, None, BAD_QUOTES)]
    assert rejected(opened(tmp_path, HEADER + b"a,device,x,")) == [(1, None, TOO_MANY)]


FIELDS = st.sampled_from(
    ["a", "b", "7", "", " ", '"a"', '"a,b"', '"a""b"', '5"', '"5" x', '"a\nb"', ' "a"', '"', '""', 'x"y"z']
)


@settings(max_examples=60, deadline=None)
@given(lines=st.lists(st.lists(FIELDS, min_size=1, max_size=4).map(",".join), max_size=6))
def test_both_ways_of_reading_csv_agree(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    content = HEADER + b"x,y,z\n" + "".join(line + "\n" for line in lines).encode()
    quick = opened(tmp_path_factory.mktemp("quick"), content)
    careful = opened(tmp_path_factory.mktemp("careful"), HEADER + b"1,2,3,4\n" + content.removeprefix(HEADER))
    assert links(quick) == links(careful)
    assert rejected(quick) == [(row - 1, *why) for row, *why in rejected(careful)[1:]]


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.lists(st.text(st.sampled_from('ab,;"\n '), max_size=4), min_size=2, max_size=2), min_size=1))
def test_the_line_reader_reads_what_polars_writes(rows: list[list[str]]) -> None:
    text = pl.DataFrame(rows, schema=["x", "y"], orient="row").write_csv(quote_style="always")
    assert list(csv_records(iter(text.splitlines(keepends=True)), ","))[1:] == rows


# ---------------------------------------------------------------- NDJSON


def ndjson(folder: Path, *records: object, name: str = "links.ndjson") -> Source:
    text = "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records)
    return opened(folder, text.encode("utf-8", "surrogatepass"), name)


def link(account: object, value: object, **more: object) -> dict[str, object]:
    return {"account_id": account, "kind": "device", "value": value, **more}


def test_numbers_become_ids_as_written(tmp_path: Path) -> None:
    source = ndjson(tmp_path, link(123, 10**18), link(7.0, "00123"), link("c", 18446744073709551617), link("d", -5))
    assert links(source) == [("123", "1000000000000000000"), ("7", "00123"), ("c", "18446744073709551617"), ("d", "-5")]


def test_values_that_are_no_text_are_rejected_and_look_alikes_kept(tmp_path: Path) -> None:
    source = ndjson(
        tmp_path,
        link("a", {"id": 1}),
        link("b", [1, 2]),
        link("c", True),
        link("d", 1.5),
        link("e", "[1, 2]"),
        link("f", "true"),
        link("g", "1.5"),
        link("h", '{"id": 1}'),
        link(None, "x"),
        link("i", "a\0b"),
    )
    assert links(source) == [("e", "[1, 2]"), ("f", "true"), ("g", "1.5"), ("h", '{"id": 1}')]
    assert rejected(source) == [
        (1, "value", NOT_PLAIN),
        (2, "value", NOT_PLAIN),
        (3, "value", NOT_PLAIN),
        (4, "value", DECIMAL),
        (9, "account_id", NO_VALUE),
        (10, "value", NUL),
    ]


@pytest.mark.parametrize("packed", [False, True])
def test_lines_that_are_no_objects_are_rejected(tmp_path: Path, packed: bool) -> None:
    lines = [
        b'{"account_id": "a", "kind": "device", "value": "x"}',
        b'{"account_id": "b", "kind": "device", "val',
        b"",
        b"[1, 2]",
        b"[" * 100_000,
        b'{"account_id": "c", "kind": "device", "value": "\xff"}',
        b'{"account_id": "d", "kind": "device", "value": "\\ud800"}',
        b'{"account_id": "e", "kind": "device", "value": "y", "count": NaN, "value": "late"}',
    ]
    content = b"\xef\xbb\xbf" + b"\r\n".join(lines)
    name, content = ("links.jsonl.gz", gzip.compress(content)) if packed else ("links.jsonl", content)
    source = opened(tmp_path, content, name)
    assert links(source) == [("a", "x"), ("e", "y")]
    assert rejected(source) == [
        (2, None, NOT_JSON),
        (3, None, NOT_JSON),
        (4, None, NOT_JSON),
        (5, "value", NOT_UTF8),
        (6, "value", NOT_UTF8),
    ]


def test_nested_times_and_counts_are_not_taken_for_missing(tmp_path: Path) -> None:
    source = ndjson(tmp_path, link("a", "x", first_seen={}), link("b", "x", count=[]), link("c", "x", count=None))
    assert links(source) == [("c", "x")]
    assert [r[:2] for r in rejected(source)] == [(1, "first_seen"), (2, "count")]


def test_a_key_that_comes_late_is_found(tmp_path: Path) -> None:
    source = ndjson(tmp_path, *[link(f"a{i}", "x") for i in range(1200)], link("z", "y", count=3, colour="red"))
    assert source.tables["links"].select("count").sum().collect().item() == 3
    assert "first_seen" not in source.tables["links"].collect_schema()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-(10**25), 10**25),
            st.floats(-1e6, 1e6).map(lambda x: round(x, 3)),
            st.text(max_size=5),
            st.sampled_from(["{", "[x", "true", "1.50", "1e5", "-0", "007", "12345678901234567890123"]),
            st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_both_ways_of_reading_json_agree(tmp_path_factory: pytest.TempPathFactory, values: list[object]) -> None:
    records = [link("a", v, first_seen=v, count=v) for v in values]
    quick = ndjson(tmp_path_factory.mktemp("quick"), *records)
    careful = ndjson(tmp_path_factory.mktemp("careful"), *records, "not json")
    assert links(quick) == links(careful)
    assert rejected(quick) == rejected(careful)[:-1]
    assert_frame_equal(quick.tables["links"].collect(), careful.tables["links"].collect(), check_row_order=False)


def test_records_of_json_by_hand() -> None:
    text = ['{"a": 1}\n', "\n", "  \r\n", "null\n", '{"a": 1, "a": 2}\n', '{"a": Infinity}']
    assert list(json_records(iter(text))) == [{"a": 1}, NOT_JSON, {"a": 1}, {"a": float("inf")}]


def test_a_quote_that_never_closes_costs_one_line() -> None:
    text = ['x,"y\n'] + ["a,b\n"] * 20_000
    records = list(csv_records(iter(text), ","))
    assert records[0] == BAD_QUOTES
    assert records[1:] == [["a", "b"]] * 20_000


@pytest.mark.parametrize(
    ("line", "records"),
    [('a,x","b', [BAD_QUOTES] * 300), ('",x","', [BAD_QUOTES] * 300), ('"a', [BAD_QUOTES] * 300)],
)
def test_work_grows_with_the_lines_however_many_open_a_quote(
    monkeypatch: pytest.MonkeyPatch, line: str, records: list[str]
) -> None:
    """Every line opens a quote that none of the next closes, with two quotes or with three: looked at are a few lines for
    each."""
    looked = 0

    class Looked(str):
        def count(self, *args: Any) -> int:
            nonlocal looked
            looked += 1
            return super().count(*args)

    def parsed(text: list[str], separator: str) -> list[str] | str | None:
        nonlocal looked
        looked += len(text)
        return real(text, separator)

    real = lines._parsed
    monkeypatch.setattr(lines, "_parsed", parsed)
    monkeypatch.setattr(lines, "_LOOKS", 1_000)
    assert list(csv_records(iter([Looked(line + "\n")] * 300), ",")) == records
    assert looked < 1_000 + 2 * (lines._LOOKS_A_RECORD + lines._FEW_LINES**2) * 300


def test_few_open_quotes_change_nothing_for_long_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only once open quotes have cost a great deal do records of many lines count as mistakes."""
    long = ['x,"\n', *['a "" b\n'] * 50, '"\n']
    whole = ["x", "\n" + 'a " b\n' * 50]
    assert list(csv_records(iter([*long, 'a,x","b\n', "a,b\n"]), ",")) == [whole, BAD_QUOTES, ["a", "b"]]
    monkeypatch.setattr(lines, "_LOOKS", -1_000_000)
    found = list(csv_records(iter([*['x,"\n', "\n", '"\n'], *long]), ","))
    assert found[:2] == [["x", "\n\n"], BAD_QUOTES]
    assert whole not in found


def test_a_record_is_no_longer_than_a_line_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", 100)
    text = ['a,"\n', *["x" * 30 + "\n"] * 4, '"\n', "a,b\n"]
    assert list(csv_records(iter(text), ",")) == [BAD_QUOTES, *[["x" * 30]] * 4, BAD_QUOTES, ["a", "b"]]


def test_a_file_without_lines_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hydragraph.loaders.lines.LONGEST_LINE", 100)
    (tmp_path / "x.csv").write_text("y" * 1000)
    with pytest.raises(InputRefused, match="longer than"):
        list(read_lines(File("x.csv", tmp_path / "x.csv", "csv")))
