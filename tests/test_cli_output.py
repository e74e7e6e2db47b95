"""What the command line prints: safe for terminals and spreadsheets, valid for programs, readable in 80 columns."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import os
import sys
import unicodedata

import click
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydragraph_cli import layout, output, talk
from hydragraph_cli.values import clean, iso, plain

NOON = dt.datetime(2026, 2, 1, 12, tzinfo=dt.UTC)
TEXT = st.text(max_size=30)


def acts_on_a_terminal(text: str) -> list[str]:
    bidi = {"RLO", "LRO", "RLE", "LRE", "PDF", "RLI", "LRI", "FSI", "PDI"}
    return [
        c for c in text if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs") or unicodedata.bidirectional(c) in bidi
    ]


def printed(frame: pl.DataFrame, capfdbinary: pytest.CaptureFixture[bytes], **view: object) -> str:
    output.print_frame(frame, output.View(**view))  # type: ignore[arg-type]
    return capfdbinary.readouterr().out.decode("utf-8")


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: int = 80) -> None:
    monkeypatch.setattr(layout, "on_terminal", lambda stream: True)
    monkeypatch.setattr(layout.shutil, "get_terminal_size", lambda fallback: os.terminal_size((columns, 24)))
    monkeypatch.delenv("NO_COLOR", raising=False)


# --- clean


@pytest.mark.parametrize(
    ("dangerous", "safe"),
    [
        ("\x1b]52;c;ZXZpbA==\x07", "\\x1b]52;c;ZXZpbA==\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202eb", "a\\u202eb"),
        ("a\x7f\x00\r\n\tb", "a\\x7f\\x00\\x0d\\x0a\\x09b"),
        ("\u2066x\u2069\u200b\ufeff\u2028", "\\u2066x\\u2069\\u200b\\ufeff\\u2028"),
        ("\U000e0041", "\\U000e0041"),
        ("\udc80", "\\udc80"),
        ("plain ünïcode 帐户 [link=http://x]", "plain ünïcode 帐户 [link=http://x]"),
    ],
)
def test_clean_writes_out_what_acts_on_a_terminal(dangerous: str, safe: str) -> None:
    assert clean(dangerous) == safe


@given(st.text(alphabet=st.characters()))
def test_clean_leaves_nothing_that_acts_and_settles_at_once(text: str) -> None:
    assert acts_on_a_terminal(clean(text)) == []
    assert clean(clean(text)) == clean(text)


# --- formats for programs


def test_times_are_iso_8601_in_utc() -> None:
    assert iso(NOON) == "2026-02-01T12:00:00Z"
    assert iso(NOON.replace(microsecond=5)) == "2026-02-01T12:00:00.000005Z"
    assert iso(NOON.astimezone(dt.timezone(dt.timedelta(hours=5)))) == "2026-02-01T12:00:00Z"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_none_become_null(number: float) -> None:
    assert plain(number) is None


def test_json_is_an_array_of_rows(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    frame = pl.DataFrame({"id": ["a", None], "score": [0.5, float("nan")], "seen": [NOON, None], "size": [3, 4]})
    text = printed(frame, capfdbinary, format="json")
    assert json.loads(text) == [
        {"id": "a", "score": 0.5, "seen": "2026-02-01T12:00:00Z", "size": 3},
        {"id": None, "score": None, "seen": None, "size": 4},
    ]
    lines = printed(frame, capfdbinary, format="ndjson").splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["a", None]


@given(TEXT, TEXT)
def test_json_reads_back_and_is_safe(key: str, value: str) -> None:
    text = output.json_text({key: [value]}, indent=2)
    assert json.loads(text) == {key: [value]}
    assert acts_on_a_terminal(text.replace("\n", "")) == []


def test_json_keeps_letters_readable_and_escapes_controls() -> None:
    assert output.json_text("帐\u202e\x9b\x1b\U000e0041") == '"帐\\u202e\\u009b\\u001b\\udb40\\udc41"'


@given(st.lists(TEXT, min_size=1, max_size=5))
def test_csv_holds_no_formula_and_no_control(values: list[str]) -> None:
    text = output.csv_text(pl.DataFrame({"id": values, "n": range(len(values))}))
    assert acts_on_a_terminal(text.replace("\n", "")) == []
    rows = list(csv.reader(io.StringIO(text)))
    assert len(rows) == len(values) + 1
    assert not any(row[0].startswith(tuple("=+-@\t\r\x00＝＋－＠")) for row in rows)


def test_csv_of_formulas_and_numbers() -> None:
    frame = pl.DataFrame({"id": ["=1+1", "\t=2", "a,b", None], "n": [-1.5, float("nan"), 2.0, None], "t": [NOON] * 4})
    assert output.csv_text(frame).splitlines() == [
        "id,n,t",
        "'=1+1,-1.5,2026-02-01T12:00:00Z",
        "'\\x09=2,,2026-02-01T12:00:00Z",
        '"a,b",2.0,2026-02-01T12:00:00Z',
        ",,2026-02-01T12:00:00Z",
    ]


@pytest.mark.parametrize(("format", "expected"), [("json", "[]\n"), ("ndjson", ""), ("csv", "a,b\n")])
def test_no_rows(format: str, expected: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert printed(pl.DataFrame(schema={"a": pl.String, "b": pl.Int64}), capfdbinary, format=format) == expected


def test_columns_and_limit(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    frame = pl.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"], "c": [0, 0, 0]})
    assert printed(frame, capfdbinary, format="csv", columns=("b", "a"), limit=2) == "b,a\nx,1\ny,2\n"
    assert printed(frame, capfdbinary, format="csv", columns=("a",), limit=0) == "a\n1\n2\n3\n"
    with pytest.raises(click.BadParameter, match="there are a, b, c"):
        output.select(frame, ("nope",))


def test_json_is_utf8_whatever_the_terminal_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    frame = pl.DataFrame({"id": ["ü"]})
    output.print_frame(frame, output.View(format="ndjson"))
    output.print_frame(frame, output.View(format="table"))
    assert raw.getvalue() == '{"id": "ü"}\n'.encode() + b"id\n\\xfc\n"


# --- tables for people


def test_table_aligns_text_left_and_numbers_right() -> None:
    frame = pl.DataFrame({"id": ["a", "long"], "size": [12000, 3], "score": [0.5, None]})
    assert layout.table(frame).splitlines() == ["id      size  score", "a     12,000   0.50", "long       3      -"]


@pytest.mark.parametrize(
    ("value", "column", "text"),
    [
        (0.0, "", "0"),
        (1e-9, "", "1e-09"),
        (3600.0, "", "3,600"),
        (21.46, "bits", "21.5"),
        (NOON, "", "2026-02-01T12:00Z"),
        (None, "", "-"),
        ("", "", "-"),
    ],
)
def test_numbers_are_short(value: object, column: str, text: str) -> None:
    assert layout.shown(value, column) == text


def test_wide_characters_are_aligned() -> None:
    assert layout.cells("帐户") == 4
    assert layout.cells("e\u0301") == 1
    lines = layout.table(pl.DataFrame({"id": ["帐户", "abc"], "n": [1, 2]})).splitlines()
    assert [layout.cells(line) for line in lines] == [7, 7, 7]


def test_without_a_terminal_a_row_is_one_line_in_no_colour() -> None:
    frame = pl.DataFrame({"id": ["x" * 200], "assessment": ["review"]})
    text = layout.table(frame)
    assert "x" * 200 in text
    assert "\x1b" not in text
    assert len(text.splitlines()) == 2


def test_on_a_terminal_long_text_is_folded_and_nothing_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    lines = layout.table(pl.DataFrame({"id": ["a"], "note": ["x" * 200], "n": [5]})).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.count("x") for line in lines) == 200


def test_on_a_terminal_ids_stay_whole_as_long_as_they_can(monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_terminal(monkeypatch, columns=60)
    monkeypatch.setenv("NO_COLOR", "1")
    frame = pl.DataFrame({"id": ["i" * 36], "reason": ["r" * 36], "seen": [NOON]})
    assert layout.table(frame).splitlines()[1:] == [
        "i" * 36 + "  rrrrrrrrrrrr  2026-02-01T12:00Z",
        " " * 38 + "rrrrrrrrrrrr",
        " " * 38 + "rrrrrrrrrrrr",
    ]


@given(TEXT.map(clean), st.integers(2, 9))
def test_fold_keeps_every_character(text: str, room: int) -> None:
    pieces = layout.fold(text, room)
    assert "".join(pieces) == text
    assert all(layout.cells(piece) <= room for piece in pieces)


def test_colour_only_on_a_terminal_without_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    assert layout.assessment("coordinated") == "coordinated"
    on_a_terminal(monkeypatch)
    assert layout.assessment("coordinated") == "\x1b[31mcoordinated\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert layout.assessment("coordinated") == "coordinated"


@given(st.dictionaries(st.sampled_from(["account_id", "kind", "assessment"]), TEXT, min_size=1))
def test_tables_are_safe_whatever_they_hold(row: dict[str, str]) -> None:
    text = layout.section("Members", pl.DataFrame([row]), 0) + layout.wrap("".join(row.values()))
    assert acts_on_a_terminal(text.replace("\n", "")) == []


def test_words_for_counts() -> None:
    clusters = pl.DataFrame({"assessment": ["review", "coordinated", "review"]})
    assert layout.tally(clusters) == "3 clusters: 1 coordinated, 2 review, 0 explained"
    assert layout.tally(clusters.clear()) == "no clusters"
    assert layout.counted(1, "account") == "1 account"


# --- stderr


def test_talk_levels(capsys: pytest.CaptureFixture[str]) -> None:
    for level in (0, 1, 2):
        speaker = talk.Talk(level)
        speaker.say(f"said at {level}")
        speaker.always(f"always at {level}")
        with speaker.progress() as started:
            started(f"stage at {level}")
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[:5] == ["always at 0", "said at 1", "always at 1", "said at 2", "always at 2"]
    assert lines[5].endswith("s] stage at 2")
    assert len(lines) == 6


def test_spinner_only_on_a_terminal_and_safe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with talk.Talk().progress() as started:
        started("evidence [link=http://x]\x1b]52;c;x\x07")
        started("ties")
    shown = capsys.readouterr().err
    assert "ties" in shown
    assert "\x1b]52" not in shown
    assert "\x1b]8" not in shown


def test_a_stderr_that_cannot_be_written_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    said = []

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            said.append(text)
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    talk.Talk().always("a\x9bb")
    assert said == ["a\\x9bb\n"]
    monkeypatch.setattr(sys, "stderr", None)
    talk.Talk().always("nobody hears this")
    assert not talk.on_terminal(None)


def test_a_number_keeps_its_per_cent_sign_at_the_end_of_a_line() -> None:
    for blanks in range(70, 80):
        lines = layout.wrap(f"{'x' * blanks} 58 % of the members").splitlines()
        assert "58 %" in "|".join(lines)
        assert max(map(len, lines)) <= 80
