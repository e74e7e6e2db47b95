"""How much work an analysis does, counted and not timed: rows read, passes over the input, pairs formed, links kept; and
that memory does not follow the rows."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import hydragraph as hg
from hydragraph import links

ROOT = Path(__file__).parents[1]

ACCOUNTS = 700
HUB = range(100, 700)
"""Accounts of one device: more than the 512 of whom pairs are formed."""


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """50 keys of two accounts each, 20 cards of five, a device of 600, and for every account an address range of its own
    from which it sends three requests."""
    source = tmp_path / "world"
    source.mkdir()
    name = [f"a{i:03}" for i in range(ACCOUNTS)]
    day = pl.datetime(2026, 1, 1, time_zone="UTC")
    keys = pl.DataFrame({"account_id": name[:100], "api_key_id": [f"key_{i // 2}" for i in range(100)]})
    cards = pl.DataFrame({"account_id": name[100:200], "instrument_id": [f"pm_{i // 5}" for i in range(100)]})
    device = pl.DataFrame({"account_id": [name[i] for i in HUB], "kind": "device", "value": "hub"})
    events = pl.DataFrame({"account_id": name, "ip": [f"{11 + i // 250}.{i % 250}.7.9" for i in range(ACCOUNTS)]})
    events = pl.concat([events.with_columns(timestamp=day + pl.duration(days=n)) for n in range(3)])
    keys.with_columns(created_at=day).write_parquet(source / "api_keys.parquet")
    cards.with_columns(added_at=day).write_parquet(source / "payments.parquet")
    device.write_parquet(source / "links.parquet")
    events.write_parquet(source / "events.parquet")
    return source


@pytest.fixture
def counted_passes(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The counter of the benchmark."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("speed_child").counted_passes


def test_the_work_of_a_fixed_world(
    world: Path, tmp_path: Path, counted_passes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: Counter[str] = Counter()
    batches = links.batches

    def counting(frame: pl.LazyFrame) -> Iterator[pl.DataFrame]:
        table = "events" if "ip" in frame.collect_schema().names() else "others"
        for batch in batches(frame):
            rows[table] += batch.height
            yield batch

    monkeypatch.setattr(links, "batches", counting)
    with counted_passes() as passes:
        case = hg.analyze(world, tmp_path / "case")
    # every row is gathered once
    assert rows == {"events": 3 * ACCOUNTS, "others": 100 + 100 + len(HUB)}
    # nothing looks doubtful: one pass checks a table, one gathers it, and one more tells the kinds of links
    assert passes == {
        "api_keys": {"checks": 1, "links": 1},
        "payments": {"checks": 1, "links": 1},
        "events": {"checks": 1, "links": 1},
        "links": {"checks": 1, "links": 2},
    }
    # 50 keys of one pair each and 20 cards of ten; none of the device, none of ranges that one account uses
    assert case.manifest["work"]["pairs_formed"] == 50 + 20 * 10


def test_links_are_kept_once_each(world: Path) -> None:
    graph = links.build_graph(hg.open_source(world), hg.Settings())
    # three requests from one range are one link
    assert graph.links.height == 100 + 100 + len(HUB) + ACCOUNTS
    assert graph.links["count"].sum() == 100 + 100 + len(HUB) + 3 * ACCOUNTS


@pytest.mark.parametrize(
    ("numbers", "again"),
    [
        # of ten numbers that differ in the last digit one has the right check digit: these are ids
        ([f"411111111111111{digit}" for digit in range(10)], False),
        # none has it
        (["4111111111111112"] * 10, False),
        # all have it: these rows are rejected
        (["4111111111111111"] * 10, True),
    ],
)
def test_only_what_looks_doubtful_is_read_again(
    world: Path, tmp_path: Path, counted_passes: Any, numbers: list[str], again: bool
) -> None:
    table = pl.read_parquet(world / "payments.parquet").with_row_index()
    ids = pl.when(pl.col("index") < 10).then(pl.Series(numbers).gather(table["index"] % 10)).otherwise("instrument_id")
    table.with_columns(instrument_id=ids).drop("index").write_parquet(world / "payments.parquet")
    with counted_passes() as passes:
        hg.analyze(world, tmp_path / "case", settings=hg.Settings(max_rejects=0.5))
    assert (passes["payments"]["checks"] > 1) == again
    assert passes["api_keys"]["checks"] == 1


def test_hashes_that_look_like_numbers_are_read_as_they_stand(world: Path, tmp_path: Path, counted_passes: Any) -> None:
    """In JSON, a hash of digits with an e among them is no number that was made a text: nothing is read line by line."""
    hashes = pl.Series(["98710e99", "1234567890123e45", "5e6789012345", "0.5e", "e7"])
    events = pl.read_parquet(world / "events.parquet").with_row_index()
    events = events.with_columns(template_hash=hashes.gather(events["index"] % 5)).drop("index")
    events.write_ndjson(world / "events.ndjson")
    (world / "events.parquet").unlink()
    with counted_passes() as passes:
        case = hg.analyze(world, tmp_path / "case")
    assert passes["events"] == {"checks": 1, "links": 1}
    assert case.manifest["rows"]["events"]["read"] == 3 * ACCOUNTS


_LIMITED = """
import resource, sys
import hydragraph as hg
limit = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
case = hg.analyze(sys.argv[1], sys.argv[2])
print(case.manifest["rows"]["events"]["read"])
"""

_PARTS, _ROWS, _LENGTH = 60, 200_000, 1_000


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited in Linux only")
def test_a_source_larger_than_the_memory_that_is_allowed(tmp_path: Path) -> None:
    source = tmp_path / "world" / "events"
    source.mkdir(parents=True)
    number = pl.int_range(_ROWS)
    part = pl.select(
        timestamp=pl.datetime(2026, 1, 1, time_zone="UTC") + pl.duration(seconds=number),
        account_id=pl.format("account {}", number % 500),
        api_key_id=pl.concat_str(pl.format("key {} ", number % 500), pl.lit("x" * _LENGTH)),
    )
    part.write_parquet(source / "part-0.parquet")
    for i in range(1, _PARTS):
        shutil.copy(source / "part-0.parquet", source / f"part-{i}.parquet")
    allowed = 9 * 2**28
    assert 3 * allowed < _PARTS * _ROWS * _LENGTH  # the texts alone
    arguments = [sys.executable, "-c", _LIMITED, tmp_path / "world", tmp_path / "case", str(allowed)]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "graphs"),
        "POLARS_MAX_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "1",
    }
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.split() == [str(_PARTS * _ROWS)]
