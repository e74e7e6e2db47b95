"""Card numbers: what looks like one, when a column is refused, and that the digits come out nowhere."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from math import comb
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import hydragraph as hg
from hydragraph.card_numbers import Found, judge, looks_like_card
from hydragraph.loaders.card_columns import CARD
from hydragraph.schema import INPUT
from hydragraph_cli.main import cli
from written import source_of

VISA, MASTER, AMEX = "4111111111111111", "5555555555554444", "378282246310005"  # published for tests

CARDS = (
    VISA, MASTER, AMEX, "4222222222222", "2223000048400011", "2720990000000007", "6011111111111117", "30569309025904",
    "38520000023237", "3530111333300000", "6200000000000005", "6759649826438453", "2200000000000004", "5019717010103742",
    "4111 1111 1111 1111", "4111-1111-1111-1111", "3782 822463 10005", f" {VISA} ",
)  # fmt: skip

NO_CARDS = {
    "the last digit is another": "4111111111111112",
    "no issuer begins so, though the check digit is right": "9111111111111116",
    "a Visa number has no 15 digits": "411111111111116",
    "the IMEI of a phone, 15 digits with the same check digit": "490154203237518",
    "another IMEI": "356938035643809",
    "microseconds since 1970": "1763740800000000",
    "nanoseconds since 1970": "1763740800000000000",
    "milliseconds since 1970": "1763740800000",
    "the number on a SIM card, 20 digits": "89014103211118510720",
    "twelve digits": "411111111112",
    "letters in front": f"pm_{VISA}",
    "a fingerprint": "4111111111111111f",
    "the last four": "1111",
    "first six and last four": "411111******1111",
    "two blanks": "4111  1111 1111 1111",
}


def with_check_digit(head: str) -> str:
    """`head` and the digit that makes the sum by Luhn a multiple of ten."""
    doubled = [int(d) * (2 if i % 2 == 0 else 1) for i, d in enumerate(reversed(head))]
    return head + str(-sum(d - 9 * (d > 9) for d in doubled) % 10)


def test_what_looks_like_a_card_number() -> None:
    assert looks_like_card(pl.Series(CARDS)).to_list() == [True] * len(CARDS)


@pytest.mark.parametrize("why", NO_CARDS)
def test_what_does_not(why: str) -> None:
    assert looks_like_card(pl.Series([NO_CARDS[why]])).to_list() == [False]


def test_nothing_is_no_card_number() -> None:
    assert looks_like_card(pl.Series([None, "", "0"], dtype=pl.String)).to_list() == [False, False, False]


@given(
    head=st.from_regex(r"(?:4[0-9]{14}|5[1-5][0-9]{13}|62[0-9]{13,16}|3[47][0-9]{12})", fullmatch=True),
    wrong=st.integers(1, 9),
)
def test_the_check_digit_decides(head: str, wrong: int) -> None:
    right = with_check_digit(head)
    other = right[:-1] + str((int(right[-1]) + wrong) % 10)
    assert looks_like_card(pl.Series([right, other])).to_list() == [True, False]


# --- when a column is refused


@pytest.mark.parametrize(
    ("found", "doubtful", "refused"),
    [
        (Found(0, 0, 0, 100), False, False),
        (Found(100, 10, 0, 100), False, False),  # numeric ids: a tenth has the right check digit
        (Found(100, 50, 0, 100), False, False),
        (Found(100, 51, 0, 100), True, True),
        (Found(1, 1, 0, 1), True, True),
        (Found(1, 1, 0, 10), True, True),
        (Found(1, 1, 0, 11), True, False),  # one among hexadecimal digits may be chance
        (Found(2, 2, 0, 2_000), True, False),
        (Found(3, 3, 0, 2_000), True, True),
        (Found(1, 1, 1, 2_000), True, True),  # written as on a card
    ],
)
def test_when_it_is_beyond_doubt(found: Found, doubtful: bool, refused: bool) -> None:
    assert (found.doubtful, found.refused) == (doubtful, refused)


def by_chance(number: int) -> float:
    """Probability that `number` numeric ids, all of an issuer's prefix and length, are taken for card numbers."""
    return sum(comb(number, k) * 0.1**k * 0.9 ** (number - k) for k in range(number + 1) if 2 * k > number)


def test_the_chance_of_a_false_refusal_is_as_documented() -> None:
    """The worst case; docs/security.md says these figures."""
    text = (Path(__file__).parents[1] / "docs" / "security.md").read_text("utf-8")
    for number in (1, 3, 10, 20, 100):
        assert f"| {number} | {by_chance(number):.1g} |" in text


@pytest.mark.parametrize("first", ["4", "40000", "5105", "62", "1", "9"])
def test_numeric_ids_are_not_refused(first: str) -> None:
    rng = np.random.default_rng(1)
    digits = 16 - len(first)
    ids = [first + "".join(map(str, row)) for row in rng.integers(0, 10, (5_000, digits))]
    assert judge(pl.Series(ids)).alike < 1_000
    assert not judge(pl.Series(ids)).doubtful
    counted = pl.Series([str(int(first.ljust(16, "0")) + 7 * i) for i in range(5_000)])
    assert not judge(counted).doubtful


def test_hexadecimal_fingerprints_are_not_refused() -> None:
    rng = np.random.default_rng(2)
    prints = ["".join("0123456789abcdef"[d] for d in row) for row in rng.integers(0, 16, (20_000, 16))]
    found = judge(pl.Series(prints))
    assert found.shaped > 3  # without a letter
    assert not found.refused


# --- refused in any column, of any format, and never repeated


def columns_of_text() -> list[tuple[str, str]]:
    return [(t.name, c.name) for t in INPUT.values() for c in t.columns if c.type not in ("time", "count")]


GOOD = {"links": pl.DataFrame({"account_id": ["a", "b"], "kind": ["device"] * 2, "value": ["d", "d"]})}


def with_cards(table: str, column: str, cards: list[str]) -> dict[str, pl.DataFrame]:
    """A table whose column holds the cards, and links beside it if it is not enough by itself."""
    rows = {
        c.name: cards if c.name == column else ["2026-01-01"] * 3 if c.type == "time" else ["x"] * 3
        for c in INPUT[table].columns
        if c.required or c.name == column
    }
    return {**GOOD, table: pl.DataFrame(rows)}


@pytest.mark.parametrize(("table", "column"), columns_of_text())
def test_any_column_of_text(tmp_path: Path, table: str, column: str) -> None:
    source = source_of(tmp_path / "in", **with_cards(table, column, [VISA, MASTER, AMEX]))
    with pytest.raises(hg.InputRefused, match=f"^{table}: column {column} holds 3 values that look like card numbers"):
        hg.check(source)


def written_as_csv(folder: Path, frame: pl.DataFrame) -> None:
    frame.write_csv(folder / "links.csv")


def written_with_care(folder: Path, frame: pl.DataFrame) -> None:
    (folder / "links.csv").write_text(frame.write_csv() + '"open,device,x\n', "utf-8")


def written_as_numbers(folder: Path, frame: pl.DataFrame) -> None:
    frame.with_columns(pl.col("value").cast(pl.Int64)).write_parquet(folder / "links.parquet")


def written_as_categories(folder: Path, frame: pl.DataFrame) -> None:
    frame.with_columns(pl.col("value").cast(pl.Categorical)).write_parquet(folder / "links.parquet")


def written_as_bytes(folder: Path, frame: pl.DataFrame) -> None:
    frame.with_columns(pl.col("value").cast(pl.Binary)).write_ipc(folder / "links.arrow")


def written_as_json(folder: Path, frame: pl.DataFrame) -> None:
    rows = [{**row, "value": int(row["value"])} for row in frame.iter_rows(named=True)]
    (folder / "links.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def written_to_sqlite(folder: Path, frame: pl.DataFrame) -> None:
    with sqlite3.connect(folder / "x.db") as database:
        database.execute("create table t (account_id, kind, value)")
        database.executemany("insert into t values (?, ?, ?)", frame.rows())
    database.close()
    (folder / "map.toml").write_text('[links]\ndatabase = "x.db"\nquery = "select * from t"\n', "utf-8")


WAYS: list[Callable[[Path, pl.DataFrame], None]] = [
    written_as_csv, written_with_care, written_as_numbers, written_as_categories, written_as_bytes, written_as_json,
    written_to_sqlite,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_no_digit_comes_out_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Callable[[Path, pl.DataFrame], None]
) -> None:
    """Not on stdout or stderr, not with --verbose, and in no file, not even one that is gone by now."""
    cards = [VISA, MASTER, AMEX]
    (tmp_path / "in").mkdir()
    (tmp_path / "temporary").mkdir()
    way(tmp_path / "in", pl.DataFrame({"account_id": ["a", "b", "c"], "kind": ["card"] * 3, "value": cards}))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    written: list[str] = []
    write = pl.DataFrame.write_parquet

    def spy(frame: pl.DataFrame, *args: object, **how: object) -> None:
        written.append(str(frame.to_dict(as_series=False)))
        write(frame, *args, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(pl.DataFrame, "write_parquet", spy)
    mapping = ["--mapping", str(tmp_path / "in" / "map.toml")] if way is written_to_sqlite else []
    for command in (["analyze", "-o", str(tmp_path / "case")], ["check"]):
        done = CliRunner().invoke(cli, [*command, str(tmp_path / "in"), *mapping, "--verbose"])
        assert done.exit_code == 3
        assert "links: column value holds 3 values that look like card numbers of kind payment" in done.stderr
        assert not any(card in done.output for card in cards)
    assert not any(card in text for text in written for card in cards)
    assert list((tmp_path / "temporary").iterdir()) == []
    assert not (tmp_path / "case").exists()


def test_the_traceback_of_the_library_holds_no_digit(tmp_path: Path) -> None:
    import traceback

    source = source_of(tmp_path / "in", **with_cards("payments", "instrument_id", [VISA, MASTER, AMEX]))
    with pytest.raises(hg.InputRefused) as caught:
        hg.analyze(source, tmp_path / "case")
    assert not any(card in "".join(traceback.format_exception(caught.value)) for card in (VISA, MASTER, AMEX))


def test_a_column_that_is_not_read_is_looked_at_too(tmp_path: Path) -> None:
    for name, number in (("pan", "pan"), (VISA, "that is not read")):
        frame = GOOD["links"].with_columns(pl.Series(name, [VISA, MASTER]))
        for i, source in enumerate(
            (source_of(tmp_path / f"{name}-1", links=frame), source_of(tmp_path / f"{name}-2", links=frame.write_csv()))
        ):
            with pytest.raises(hg.InputRefused, match=f"^links: column {number} holds 2 values") as caught:
                hg.check(source)
            assert VISA not in str(caught.value), i


def test_the_name_of_a_column_is_not_repeated_where_it_looks_like_a_value(tmp_path: Path) -> None:
    found = hg.check(
        source_of(tmp_path / "in", links=GOOD["links"].with_columns(pl.lit("x").alias(VISA), more=pl.lit(1)))
    )
    assert found.notes == (
        "links: columns not read, because they are not declared: more and 1 whose names look like values.",
    )


def test_one_among_much_else_costs_its_rows(tmp_path: Path) -> None:
    """A device that somebody calls by a card number does not stop the analysis, and is nowhere in the case."""
    rows = [(f"a{i}", "device", f"d{i // 2}") for i in range(300)] + [("b", "device", VISA), ("c", "phone", "1")]
    links = pl.DataFrame(rows, schema=["account_id", "kind", "value"], orient="row")
    case = hg.analyze(source_of(tmp_path / "in", links=links), tmp_path / "case")
    assert case.rejects.rows() == [("links", "links.parquet", 301, "value", CARD)]
    assert case.accounts.height == 301
    assert not any(VISA.encode() in path.read_bytes() for path in case.path.iterdir())


def test_the_same_text_of_another_kind_is_kept(tmp_path: Path) -> None:
    """Numeric order numbers, some of which have the check digit, and one device of the same text among devices."""
    orders = [(f"a{i}", "order", str(4111111111111111 + 10 * i)) for i in range(50)]
    devices = [(f"a{i}", "device", f"d{i}") for i in range(50)] + [("b", "device", VISA)]
    links = pl.DataFrame(orders + devices, schema=["account_id", "kind", "value"], orient="row")
    found = hg.check(source_of(tmp_path / "in", links=links), settings=hg.Settings(max_rejects=0.1))
    assert found.rejects.rows() == [("links", "links.parquet", 101, "value", CARD)]


def test_tokens_with_the_last_four_digits_are_fine(tmp_path: Path) -> None:
    values = [f"tok_{i:04x}-{1111 + i}" for i in range(50)] + [f"411111******{1111 + i}" for i in range(50)]
    payments = pl.DataFrame({"account_id": [f"a{i}" for i in range(100)], "instrument_id": values})
    assert hg.check(source_of(tmp_path / "in", payments=payments)).rejects.is_empty()


def test_counts_and_times_of_that_shape_are_neither_refused_nor_told(tmp_path: Path) -> None:
    events = pl.DataFrame(
        {"timestamp": [1763740800000000 + i for i in range(3)], "account_id": ["a", "b", "c"],
         "input_tokens": [int(VISA), int(MASTER), int(AMEX)], "api_key_id": ["k"] * 3}
    )  # fmt: skip
    case = hg.analyze(source_of(tmp_path / "in", events=events), tmp_path / "case")
    assert case.accounts["tokens"].max() == 2**40


def test_constraints_and_allow_lists_hold_none(tmp_path: Path) -> None:
    pairs = pl.DataFrame({"account_a": [VISA], "account_b": ["b"], "relation": ["must"]})
    allowed = pl.DataFrame({"kind": ["card"], "value": [VISA]})
    for given_, said in (
        ({"constraints": pairs}, "constraints: column account"),
        ({"allow": allowed}, "allow list: column value"),
    ):
        with pytest.raises(hg.InputRefused, match=f"^{said} holds a value that looks like a card number") as caught:
            hg.analyze(source_of(tmp_path / "in", **GOOD), tmp_path / "case", **given_)
        assert VISA not in str(caught.value)
    assert not (tmp_path / "case").exists()


DISGUISES: dict[str, Callable[[str], str]] = {
    "invisible characters": "\u200b".join,
    "soft hyphens": "\u00ad".join,
    "a byte order mark": "\ufeff".join,
    "digits of another width": lambda card: "".join(chr(ord(d) + 0xFEE0) for d in card),
    "mathematical digits": lambda card: "".join(chr(0x1D7CE + int(d)) for d in card),
    "Arabic digits": lambda card: "".join(chr(0x660 + int(d)) for d in card),
    "dots": lambda card: f"{card[:4]}.{card[4:8]}.{card[8:]}",
    "long dashes": lambda card: f"{card[:4]}\u2013{card[4:8]}\u2013{card[8:]}",
    "dashes that do not break": lambda card: f"{card[:4]}\u2011{card[4:8]}\u2011{card[8:]}",
    "blanks that do not break": lambda card: f"{card[:4]}\u00a0{card[4:8]}\u00a0{card[8:]}",
    "tabs": lambda card: f"{card[:4]}\t{card[4:8]}\t{card[8:]}",
    "two blanks": lambda card: f"{card[:4]}  {card[4:8]}  {card[8:]}",
}  # fmt: skip


@pytest.mark.parametrize("how", DISGUISES)
@pytest.mark.parametrize("column", ["value", "kind", "account_id", "org_id", "close_reason", "channel"])
def test_invisible_characters_hide_nothing(tmp_path: Path, how: str, column: str) -> None:
    cards = [DISGUISES[how](card) for card in (VISA, MASTER, AMEX)]
    accounts = pl.DataFrame({"account_id": ["a", "b", "c"], "closed_at": ["2026-01-01"] * 3})
    links = pl.DataFrame({"account_id": ["a", "b", "c"], "kind": ["wallet"] * 3, "value": ["w"] * 3})
    hidden = pl.Series(column, cards)
    if column in INPUT["links"].names:
        links = links.with_columns(hidden)
    if column not in ("value", "kind"):
        accounts = accounts.with_columns(hidden)
    source = source_of(tmp_path / "in", accounts=accounts, links=links)
    with pytest.raises(hg.InputRefused, match=rf"column {column} holds 3 values that look like card numbers") as caught:
        hg.analyze(source, tmp_path / "case")
    assert not any(card in str(caught.value) for card in (*cards, VISA, MASTER, AMEX))
    assert not (tmp_path / "case").exists()


def test_watching_refuses_them_too(tmp_path: Path) -> None:
    wide = [DISGUISES["digits of another width"](card) for card in (VISA, MASTER, AMEX)]
    links = pl.DataFrame({"account_id": ["a", "b", "c"], "kind": ["wallet"] * 3, "value": ["w"] * 3})
    hg.analyze(source_of(tmp_path / "in", links=links), tmp_path / "case")
    newer = source_of(tmp_path / "newer", links=links.with_columns(pl.Series("value", wide)))
    with pytest.raises(hg.InputRefused, match="column value holds 3 values that look like card numbers"):
        hg.watch(tmp_path / "case", newer)


def test_address_ranges_and_numeric_ids_with_dots_are_no_disguise(tmp_path: Path) -> None:
    """45.100.100.1/32 has 13 digits and begins as a Visa number does."""
    rows = [(f"a{i}", "ip", f"45.{100 + i % 100}.{100 + i // 100}.150") for i in range(3_000)]
    rows += [(f"a{i}", "serial", f"4000.1234.{1000 + i}.{7 * i % 9000 + 1000}") for i in range(3_000)]
    links = pl.DataFrame(rows, schema=["account_id", "kind", "value"], orient="row")
    settings = hg.Settings(ipv4_prefix=32)
    assert (
        hg.analyze(source_of(tmp_path / "in", links=links), tmp_path / "case", settings=settings).accounts.height
        == 3_000
    )
