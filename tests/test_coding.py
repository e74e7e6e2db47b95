"""Texts as numbers and sums by batch: worked out by hand, and the same graph however small the batches are."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from hydragraph import coding
from hydragraph.coding import Codes, Sums, pair, ranked, unpaired
from hydragraph.links import read_links
from hydragraph.loaders import open_source
from hydragraph.settings import Settings
from written import source_of


def number(codes: Codes, texts: list[str | None]) -> list[int | None]:
    return (
        pl.DataFrame({"text": texts}, schema={"text": pl.String}).select(codes.of(pl.col("text"))).to_series().to_list()
    )


def test_a_text_keeps_its_number_when_its_batch_is_gone() -> None:
    codes = Codes()
    first = number(codes, ["b", "a", None, "b", ""])
    assert first[2] is None
    assert first[0] == first[3]
    assert {first[0], first[1], first[4]} == {0, 1, 2}
    again = number(codes, ["c", "", "a", "b"])
    assert again == [3, first[4], first[1], first[0]]
    texts = codes.texts().to_list()
    assert [texts[i] for i in (first[0], first[1], first[4], 3)] == ["b", "a", "", "c"]  # type: ignore[index]


def test_codes_of_nothing_have_no_texts() -> None:
    codes = Codes()
    assert codes.texts().to_list() == []
    assert number(codes, [None, None]) == [None, None]
    assert codes.texts().to_list() == []


def test_ranked_gives_distinct_texts_in_order_and_the_place_of_each() -> None:
    values, place = ranked(pl.Series(["b", None, "a", "b", "é", "c"]))
    assert values.to_list() == ["a", "b", "c", "é"]
    assert place.to_list() == [1, None, 0, 1, 3, 2]
    assert place.dtype == pl.UInt32


@pytest.mark.parametrize("texts", [[], [None, None]])
def test_ranked_of_nothing(texts: list[None]) -> None:
    values, place = ranked(pl.Series(texts, dtype=pl.String))
    assert values.to_list() == []
    assert place.to_list() == texts


def test_a_pair_sorts_as_its_two_numbers_and_comes_apart_again() -> None:
    most = 2**32 - 1
    both = pl.DataFrame({"a": [most, 0, 1, 0], "b": [most, most, 0, 1]}, schema={"a": pl.UInt32, "b": pl.UInt32})
    a, b = unpaired("pair")
    apart = both.select(pair=pair(pl.col("a"), pl.col("b"))).sort("pair").select(a=a, b=b)
    assert apart.rows() == [(0, 1), (0, most), (1, 0), (most, most)]
    assert apart.schema == both.schema


def test_sums_are_the_same_however_often_they_are_grouped_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coding, "_FEWEST", 3)
    sums = Sums("key", {"n": pl.col("n").sum()}, pl.Schema({"key": pl.String, "n": pl.Int64}))
    assert sums.result().rows() == []
    for i in range(20):
        sums.add(pl.DataFrame({"key": ["a", f"k{i % 4}"], "n": [1, i]}))
    # of 0, 4, ..., 16 the sum is 40; each next key has one more five times
    assert sorted(sums.result().rows()) == [("a", 20), ("k0", 40), ("k1", 45), ("k2", 50), ("k3", 55)]


def test_small_batches_give_the_same_graph_and_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(5)
    rows = 400
    texts = {
        "account_id": [f"a{draw.randrange(30)}" for _ in range(rows)],
        "api_key_id": [draw.choice([None, f"key{draw.randrange(20):04}"]) for _ in range(rows)],
        "ip": [draw.choice([None, f"203.0.{draw.randrange(9)}.{draw.randrange(9)}"]) for _ in range(rows)],
        "status": [draw.choice([200, 429, None]) for _ in range(rows)],
        "input_tokens": [draw.randrange(100) for _ in range(rows)],
    }
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    times = [start + dt.timedelta(minutes=draw.randrange(9999)) for _ in range(rows)]
    declared = pl.DataFrame({"account_id": texts["account_id"], "kind": "device", "value": texts["api_key_id"]})
    source = source_of(
        tmp_path / "source",
        events=pl.DataFrame({"timestamp": times, **texts}),
        links=declared.with_columns(pl.col("value").fill_null("Device 1")),
    )
    graph, requests, limits = read_links(open_source(source), Settings())
    assert requests["requests"].sum() == rows
    assert requests.select("account", "slot").is_unique().all()
    monkeypatch.setattr(coding, "BATCH", 7)
    monkeypatch.setattr(coding, "_FEWEST", 10)
    other, again, limits_again = read_links(open_source(source), Settings())
    assert_frame_equal(other.accounts, graph.accounts)
    assert_frame_equal(other.identifiers, graph.identifiers)
    assert_frame_equal(other.links, graph.links)
    assert_frame_equal(again, requests)
    assert_frame_equal(limits_again, limits)
