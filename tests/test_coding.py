"""Texts as numbers and sums by batch: worked out by hand, and the same graph however small the batches are."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from hydragraph import coding, links
from hydragraph.coding import Codes, Sums, argsorted, pair, ranked, summed, unpaired
from hydragraph.links import read_links
from hydragraph.loaders import open_source
from hydragraph.settings import Settings
from written import source_of


def number(codes: Codes, texts: list[str | None]) -> list[int | None]:
    return codes.of(pl.Series(texts, dtype=pl.String)).to_list()


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


def test_texts_are_ranked_by_all_their_bytes() -> None:
    # alike in the first 16 bytes and more, shorter than these, with bytes that are no letters, and the empty text
    texts = ["id-" + "x" * n + end for n in (0, 1, 7, 8, 13, 40) for end in ("", "a", "b", "é", "\U0001f600", "-")]
    for held in (texts, [*texts, ""], [t + "0" for t in texts], ["é" + t for t in texts]):
        shuffled = random.Random(3).sample([*held, *held[:5]], len(held) + 5)
        values, place = ranked(pl.Series(shuffled))
        assert values.to_list() == sorted(set(held), key=str.encode)
        assert values.gather(place).to_list() == shuffled


def test_a_pair_sorts_as_its_two_numbers_and_comes_apart_again() -> None:
    most = 2**32 - 1
    both = pl.DataFrame({"a": [most, 0, 1, 0], "b": [most, most, 0, 1]}, schema={"a": pl.UInt32, "b": pl.UInt32})
    a, b = unpaired(pair(both["a"], both["b"]).sort())
    assert list(zip(a, b, strict=True)) == [(0, 1), (0, most), (1, 0), (most, most)]
    assert (a.dtype, b.dtype) == (pl.UInt32, pl.UInt32)


@pytest.mark.parametrize("largest", [9, 2**62 - 1, 2**64 - 1])
def test_numbers_are_sorted_whether_or_not_their_positions_fit_beside_them(largest: int) -> None:
    numbers = np.array([7, largest, 0, 7, 3], np.uint64)
    assert argsorted(numbers, largest).tolist() == [2, 4, 0, 3, 1]


def test_rows_of_a_key_are_summed_and_a_null_does_not_count() -> None:
    rows = pl.DataFrame(
        {
            "key": [2**32 + 5, 3, 2**32 + 5, 3, 4],
            "n": [1, 2, 3, 4, 5],
            "low": [None, 2, 7, 1, None],
            "high": [None, 2, 7, 9, None],
        },
        schema={"key": pl.UInt64, "n": pl.Int64, "low": pl.Datetime("us", "UTC"), "high": pl.Int64},
    )
    found = summed(rows, {"n": np.add, "low": np.minimum, "high": np.maximum})
    assert found.with_columns(pl.col("low").to_physical()).rows() == [
        (3, 6, 1, 9),
        (4, 5, None, None),
        (2**32 + 5, 4, 7, 7),
    ]
    assert found.schema == rows.schema
    assert summed(rows.clear(), {"n": np.add}).is_empty()


def test_sums_are_the_same_however_often_they_are_summed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coding, "FEWEST", 3)
    sums = Sums({"n": np.add}, pl.Schema({"key": pl.UInt32, "n": pl.Int64}))
    assert sums.result().rows() == []
    for i in range(20):
        sums.add(pl.DataFrame({"key": [9, i % 4], "n": [1, i]}, schema_overrides={"key": pl.UInt32}))
        assert sums.rows().height <= 10
    # of 0, 4, ..., 16 the sum is 40; each next key has one more five times
    assert sums.result().rows() == [(0, 40), (1, 45), (2, 50), (3, 55), (9, 20)]


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
    # each account is given many times, and opened when it was first
    accounts = pl.DataFrame({"account_id": texts["account_id"], "created_at": times, "org_id": texts["api_key_id"]})
    source = source_of(
        tmp_path / "source",
        accounts=accounts,
        events=pl.DataFrame({"timestamp": times, **texts}),
        links=declared.with_columns(pl.col("value").fill_null("Device 1")),
    )
    graph, requests, limits = read_links(open_source(source), Settings())
    assert requests["requests"].sum() == rows
    assert requests.select("account", "slot").is_unique().all()
    opened = accounts.group_by("account_id").agg(pl.col("created_at").min()).sort("account_id")
    assert graph.accounts.select("account_id", "created_at").rows() == opened.rows()
    monkeypatch.setattr(coding, "BATCH", 7)
    monkeypatch.setattr(links, "BATCH", 7)
    monkeypatch.setattr(coding, "FEWEST", 10)
    other, again, limits_again = read_links(open_source(source), Settings())
    assert_frame_equal(other.accounts, graph.accounts)
    assert_frame_equal(other.identifiers, graph.identifiers)
    assert_frame_equal(other.links, graph.links)
    assert_frame_equal(again, requests)
    assert_frame_equal(limits_again, limits)


def test_accounts_that_the_sort_cannot_tell_apart_are_not_mixed_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events of a batch are sorted by the beginnings of numbers: where these are all alike, accounts alternate."""
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    events = pl.DataFrame(
        {
            "timestamp": [start + dt.timedelta(minutes=m) for m in (9, 0, 3, 1, 2, 4)],
            "account_id": ["a", "b", "a", "a", "b", "a"],
            "api_key_id": ["k", "k", "l", "k", None, "k"],
            "status": [200, 429, 429, 200, 200, 429],
        }
    )
    source = source_of(tmp_path / "source", events=events)

    def numbered(texts: pl.Series) -> object:
        return texts.rank("dense").fill_null(0).cast(pl.UInt64).to_numpy()

    for hashed in (links._hashed, numbered):
        monkeypatch.setattr(links, "_hashed", hashed)
        graph, requests, limits = read_links(open_source(source), Settings())
        found = graph.links.select("account", "identifier", "count", pl.col("first_seen", "last_seen").dt.minute())
        assert found.rows() == [(0, 0, 3, 1, 9), (0, 1, 1, 3, 3), (1, 0, 1, 0, 0)]
        assert graph.accounts.select("account_id", "events", "limited").rows() == [("a", 4, 2), ("b", 2, 1)]
        slot = int(start.timestamp()) // 300
        # when in the slot, in hundredths of a second
        assert requests.rows() == [(0, slot, 3, 6_000), (0, slot + 1, 1, 24_000), (1, slot, 2, 0)]
        assert limits.rows() == [(0, slot, 2, 18_000), (1, slot, 1, 0)]
