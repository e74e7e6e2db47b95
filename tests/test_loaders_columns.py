"""What a value must look like: times, counts, identifiers and addresses in every type a file may hold them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hydragraph.errors import InputRefused
from hydragraph.identifiers import address_ranges
from hydragraph.loaders import open_source
from hydragraph.loaders.columns import (
    DECIMAL,
    FAR_TIME,
    NO_VALUE,
    NOT_ADDRESS,
    NOT_COUNT,
    NOT_TIME,
    NOT_UTF8,
    NUL,
    WRONG_TYPE,
    looks_like_address,
)
from hydragraph.loaders.times import END, FIRST, read_times
from hydragraph.settings import Settings

LAX = Settings(max_rejects=1.0)
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def read(folder: Path, column: str, values: pl.Series, table: str = "links") -> list[object]:
    """What becomes of one column of otherwise good rows: the value, or the reason in brackets."""
    n = len(values)
    good = {
        "links": {"account_id": ["a"] * n, "kind": ["device"] * n, "value": ["v"] * n},
        "events": {"timestamp": [NOON] * n, "account_id": ["a"] * n},
        "ranges": {"kind": ["vpn"] * n},
    }[table]
    marker = {"links": "count", "events": "status", "ranges": "kind"}[table]
    order = pl.Series(marker, range(n)) if marker != "kind" else pl.Series(marker, [f"{i:06}" for i in range(n)])
    if column == marker:
        marker, order = "last_seen", pl.Series("last_seen", range(n)) + int(NOON.timestamp())
    frame = pl.DataFrame(good).with_columns(order, values.alias(column))
    folder.mkdir(exist_ok=True)
    frame.write_parquet(folder / f"{table}.parquet")
    pl.DataFrame({"account_id": ["a"], "api_key_id": ["k"]}).write_parquet(folder / "api_keys.parquet")
    source = open_source(folder, settings=LAX)
    out: list[object] = [None] * n
    kept = source.tables[table].collect().sort(marker)
    bad = {r - 1: f"({why})" for r, why in source.rejects.filter(table=table).select("row", "reason").rows()}
    for i, value in zip((i for i in range(n) if i not in bad), kept[column], strict=True):
        out[i] = value
    for i, why in bad.items():
        out[i] = why
    return out


# ---------------------------------------------------------------- times

ISO = {
    "2026-01-02T12:00:00Z": NOON,
    "2026-01-02T12:00:00": NOON,
    "2026-01-02 12:00:00": NOON,
    "2026-01-02t12:00:00z": NOON,
    "2026-01-02 12:00:00 UTC": NOON,
    " 2026-01-02T12:00:00Z ": NOON,
    "2026-01-02T12:00": NOON,
    "2026-01-02 12:00Z": NOON,
    "2026-01-02T12:00+00:00": NOON,
    "2026-01-02T14:00:00+02:00": NOON,
    "2026-01-02T14:00:00+0200": NOON,
    "2026-01-02 12:00:00+00": NOON,
    "2026-01-02 06:30:00-05:30": NOON,
    "2026-01-02T12:00:00.5Z": NOON + timedelta(milliseconds=500),
    "2026-01-02 12:00:00.123456789": NOON + timedelta(microseconds=123456),
    "2026-01-02T12:00:00,25Z": NOON + timedelta(milliseconds=250),
    "2026-01-02 12:00:00.001+00": NOON + timedelta(milliseconds=1),
    "2026-01-02": NOON.replace(hour=0),
    "1767355200": NOON,
    "1767355200.25": NOON + timedelta(milliseconds=250),
    "1767355200000": NOON,
    "1767355200000000": NOON,
    "1.7673552e9": NOON,
}
NO_TIMES = [
    "yesterday",
    "2026-13-01",
    "2026-02-30",
    "2026-01-02T25:00:00Z",
    "2026-01-02T12:00:60Z",
    "02/01/2026",
    "12:00",
]
NO_TIMES += [
    "2026-01-02T12",
    "2026-1-2",
    "2026-01-02T12:00:00+99:00",
    "2026-01-02X12:00:00",
    "20260102T120000Z",
    "１７６７３５５２００",
]
FAR = ["1989-12-31T23:59:59Z", "2101-01-01", "0001-01-01T00:00:00Z", "9999-12-31", "0", "12", "-1", "20260102", "9e99"]
FAR += ["1767355200000000000", "0000-01-01", "0001-01-01T00:00:00+23:00"]
EMPTY_TIMES = ["", "  ", "null", "NaT", "N/A", "\\N", "-", "unknown"]


def test_times_written_in_every_way(tmp_path: Path) -> None:
    got = read(tmp_path, "first_seen", pl.Series([*ISO, *NO_TIMES, *FAR, *EMPTY_TIMES]))
    assert got[: len(ISO)] == list(ISO.values())
    wanted = [f"({NOT_TIME})"] * len(NO_TIMES) + [f"({FAR_TIME})"] * len(FAR) + [None] * len(EMPTY_TIMES)
    assert got[len(ISO) :] == wanted


@settings(max_examples=50, deadline=None)
@given(st.permutations([*ISO, *NO_TIMES, *FAR, *EMPTY_TIMES]), st.integers(1, 40))
def test_the_order_of_texts_does_not_change_a_time(texts: list[str], n: int) -> None:
    def told(some: list[str]) -> pl.Series:
        times = read_times(pl.Series(some))
        known = times.is_null() | times.is_between(FIRST, END, closed="left")
        return pl.select(pl.when(known).then(times).otherwise(END)).to_series()

    assert told(texts[:n]).to_list() == [told([t])[0] for t in texts[:n]]


@given(st.datetimes(datetime(1990, 1, 1), datetime(2100, 12, 31)), st.integers(-23 * 60, 23 * 60))
def test_iso_texts_of_python_come_back(time: datetime, minutes: int) -> None:
    there = time.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    naive = time.replace(tzinfo=UTC)
    got = read_times(pl.Series([there.isoformat(), there.isoformat(" "), time.isoformat(), time.isoformat(" ") + "Z"]))
    assert got.to_list() == [there, there, naive, naive]


@settings(max_examples=200)
@given(st.text(max_size=30))
def test_no_text_breaks_the_times(text: str) -> None:
    got = read_times(pl.Series([text, "2026-01-02", None]))
    assert got[1:].to_list() == [NOON.replace(hour=0), None]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (pl.Series([NOON]).cast(pl.Datetime("ns", "UTC")), [NOON]),
        (pl.Series([NOON]).cast(pl.Datetime("ms", "UTC")).dt.convert_time_zone("Asia/Tokyo"), [NOON]),
        (pl.Series([NOON.replace(tzinfo=None)]), [NOON]),
        (pl.Series([date(2026, 1, 2), None]), [NOON.replace(hour=0), None]),
        (pl.Series([1767355200, None, 5], dtype=pl.Int32), [NOON, None, f"({FAR_TIME})"]),
        # days and milliseconds that no polars time can hold
        (
            pl.Series([2**31 - 1, None, -(2**31)], dtype=pl.Int32).cast(pl.Date),
            [f"({FAR_TIME})", None, f"({FAR_TIME})"],
        ),
        (pl.Series([2**63 - 1, None]).cast(pl.Datetime("ms")), [f"({FAR_TIME})", None]),
        (pl.Series([1767355200000, -1, 2**62]), [NOON, f"({FAR_TIME})", f"({FAR_TIME})"]),
        (pl.Series([1767355200000000, 2**64 - 1], dtype=pl.UInt64), [NOON, f"({FAR_TIME})"]),
        (
            pl.Series([1767355200.5, float("nan"), float("inf"), -0.0]),
            [NOON + timedelta(milliseconds=500), None, f"({FAR_TIME})", f"({FAR_TIME})"],
        ),
        (pl.Series([Decimal("1767355200.50")]), [NOON + timedelta(milliseconds=500)]),
        (pl.Series(["2026-01-02T12:00:00Z"], dtype=pl.Categorical), [NOON]),
        (pl.Series([True, None]), [f"({WRONG_TYPE})", None]),
        (pl.Series([[1]]), [f"({WRONG_TYPE})"]),
        (pl.Series([None, None]), [None, None]),
        (
            pl.Series([FIRST, END - timedelta(microseconds=1), END]),
            [FIRST, END - timedelta(microseconds=1), f"({FAR_TIME})"],
        ),
    ],
)
def test_times_of_every_type(tmp_path: Path, values: pl.Series, wanted: list[object]) -> None:
    assert read(tmp_path, "first_seen", values) == wanted


def test_a_required_time_may_not_be_missing(tmp_path: Path) -> None:
    got = read(tmp_path, "timestamp", pl.Series(["2026-01-02", "", None, "null", "soon"]), "events")
    assert got == [NOON.replace(hour=0), *[f"({NO_VALUE})"] * 3, f"({NOT_TIME})"]


# ---------------------------------------------------------------- counts


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (pl.Series(["12", "12.0", " 7 ", "1e3", "", None, "null"]), [12, 12, 7, 1000, None, None, None]),
        (pl.Series(["-1", "1.5", "x", "inf", "1,000"]), [f"({NOT_COUNT})"] * 5),
        (
            pl.Series([3.0, 2.5, -1.0, float("nan"), float("inf"), 1e300]),
            [3, *[f"({NOT_COUNT})"] * 2, None, *[f"({NOT_COUNT})"] * 2],
        ),
        (pl.Series([0, -1, None], dtype=pl.Int8), [0, f"({NOT_COUNT})", None]),
        (pl.Series([2**64 - 1, 5], dtype=pl.UInt64), [f"({NOT_COUNT})", 5]),
        (pl.Series([Decimal("4.00"), Decimal("4.50")]), [4, f"({NOT_COUNT})"]),
        (pl.Series([True]), [f"({WRONG_TYPE})"]),
    ],
)
def test_counts(tmp_path: Path, values: pl.Series, wanted: list[object]) -> None:
    assert read(tmp_path, "count", values) == wanted


# ---------------------------------------------------------------- identifiers


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (
            pl.Series(["00123", " x ", "é", "a\0b", "", "  "]),
            ["00123", " x ", "é", f"({NUL})", f"({NO_VALUE})", f"({NO_VALUE})"],
        ),
        (pl.Series([123, 0, -5, None]), ["123", "0", "-5", f"({NO_VALUE})"]),
        (pl.Series([2**64 - 1], dtype=pl.UInt64), [str(2**64 - 1)]),
        (pl.Series([2**100], dtype=pl.Int128), [str(2**100)]),
        (
            pl.Series([123.0, 1.5, float("nan"), float("inf"), 1e300]),
            ["123", f"({DECIMAL})", f"({NO_VALUE})", f"({DECIMAL})", f"({DECIMAL})"],
        ),
        (pl.Series([123.0, 2.0**25 + 2], dtype=pl.Float32), ["123", f"({DECIMAL})"]),
        (pl.Series([Decimal("7.00"), Decimal("7.25")]), ["7", f"({DECIMAL})"]),
        (pl.Series([Decimal("12345678901234567890123")]), ["12345678901234567890123"]),
        (pl.Series(["x", "y", "x"], dtype=pl.Categorical), ["x", "y", "x"]),
        (pl.Series(["x", None], dtype=pl.Enum(["x"])), ["x", f"({NO_VALUE})"]),
        (pl.Series([b"x", b"\xff", b"\xc3\xa9"]), ["x", f"({NOT_UTF8})", "é"]),
        (pl.Series([True, False]), [f"({WRONG_TYPE})"] * 2),
        (pl.Series([{"id": 1}]), [f"({WRONG_TYPE})"]),
        (pl.Series([None, None]), [f"({NO_VALUE})"] * 2),
    ],
)
def test_identifiers_of_every_type(tmp_path: Path, values: pl.Series, wanted: list[object]) -> None:
    assert read(tmp_path, "value", values) == wanted


def test_placeholders_are_no_accounts_but_may_be_values(tmp_path: Path) -> None:
    texts = pl.Series(["unknown", "NULL", "-", "n/a", "00000000-0000-0000-0000-000000000000", "0", "nobody"])
    assert read(tmp_path / "a", "account_id", texts) == [*[f"({NO_VALUE})"] * 5, "0", "nobody"]
    assert read(tmp_path / "v", "value", texts) == texts.to_list()


def test_blank_optional_texts_are_missing(tmp_path: Path) -> None:
    assert read(tmp_path, "template_hash", pl.Series(["", " ", None, "t"]), "events") == [None, None, None, "t"]


# ---------------------------------------------------------------- addresses


def test_addresses_that_cannot_be_read_are_rejected(tmp_path: Path) -> None:
    good = ["203.0.113.9", "2001:db8::1", "203.0.113.0/24", "1.2.3.4:443", "0.0.0.0", "unknown", "::", None]
    bad = ["203.0.113.256", "010.0.0.1", "example.org", "1.2.3", "1.2.3.4/99", "2001:db8:::1"]
    assert read(tmp_path / "e", "ip", pl.Series([*good, *bad]), "events") == [*good, *[f"({NOT_ADDRESS})"] * len(bad)]
    assert read(tmp_path / "r", "cidr", pl.Series(["100.64.0.0/10", "x", None]), "ranges") == [
        "100.64.0.0/10",
        f"({NOT_ADDRESS})",
        f"({NO_VALUE})",
    ]


def test_values_of_address_kinds_are_checked_and_others_are_not(tmp_path: Path) -> None:
    rows = {
        "account_id": ["a"] * 4,
        "kind": ["IP", "ip_range", "device", "ip"],
        "value": ["x", "1.2.3.4", "y", "010.0.0.1"],
    }
    pl.DataFrame(rows).write_csv(tmp_path / "links.csv")
    source = open_source(tmp_path, settings=LAX)
    assert source.rejects.rows() == [
        ("links", "links.csv", 1, "value", NOT_ADDRESS),
        ("links", "links.csv", 4, "value", NOT_ADDRESS),
    ]
    assert sorted(source.tables["links"].collect()["value"]) == ["1.2.3.4", "y"]


def test_no_refusal_shows_a_value(tmp_path: Path) -> None:
    pl.DataFrame({"account_id": ["a"], "kind": ["ip"], "value": ["secret"]}).write_csv(tmp_path / "links.csv")
    with pytest.raises(InputRefused) as caught:
        open_source(tmp_path)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


PARTS = st.one_of(
    st.integers(0, 300).map(str), st.integers(0, 0x1FFFF).map(lambda n: f"{n:x}"), st.sampled_from(["", "::", "0"])
)


@settings(max_examples=300)
@given(st.one_of(st.ip_addresses().map(str), *(st.lists(PARTS, min_size=1, max_size=9).map(s.join) for s in ".:")))
def test_the_short_cut_lets_only_readable_addresses_pass(text: str) -> None:
    values = pl.Series("a", [text])
    if values.to_frame().select(looks_like_address(pl.col("a"))).item():
        assert address_ranges(values, Settings())["reason"][0] is None


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(6)))
def test_rejects_do_not_depend_on_thread_or_row_order(
    tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    rows = [
        ("a", "ip", "x"),
        ("", "ip", "1.2.3.4"),
        ("b", "device", "y"),
        ("c", "ip", "z"),
        ("d", "dob", ""),
        ("e", "tz", "t"),
    ]
    folder = tmp_path_factory.mktemp("order")
    pl.DataFrame([rows[i] for i in order], schema=["account_id", "kind", "value"], orient="row").write_csv(
        folder / "links.csv"
    )
    source = open_source(folder, settings=LAX)
    wanted = {0: NOT_ADDRESS, 1: NO_VALUE, 3: NOT_ADDRESS, 4: NO_VALUE}
    assert source.rejects.select("row", "reason").rows() == [
        (n + 1, wanted[i]) for n, i in enumerate(order) if i in wanted
    ]
    assert source.rows["links"].set_aside == 1


def test_a_file_without_a_header_is_refused_without_its_values(tmp_path: Path) -> None:
    (tmp_path / "payments.csv").write_text("cus_1,4111111111111111,2026-01-01\ncus_2,4222222222222222,2026-01-01\n")
    with pytest.raises(InputRefused, match="first line does not look like a header") as caught:
        open_source(tmp_path)
    assert "4111" not in str(caught.value)
    assert "cus_1" not in str(caught.value)
