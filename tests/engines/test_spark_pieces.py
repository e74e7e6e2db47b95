"""Pieces on Spark are those that the embedded engine finds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
import staged

import hydragraph as hg
from hydragraph.activity import read_activity
from hydragraph.communities import CORE_NET, find_pieces
from hydragraph.engines.spark import pieces
from hydragraph.engines.spark.pieces import pieces_on_spark
from hydragraph.engines.spark.stages import Stages
from hydragraph.evidence import weigh
from hydragraph.grouping import renumber
from hydragraph.ties import Ties, find_ties

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def ties_of(*groups: list[tuple[int, int, float]]) -> Ties:
    rows = sorted({(min(a, b), max(a, b)): net for group in groups for a, b, net in group}.items())
    a, b = (np.array([pair[end] for pair, _ in rows], np.int64) for end in (0, 1))
    none = np.zeros(len(rows), np.int64)
    return Ties(a, b, np.array([net for _, net in rows], float), none, none, none.astype(float), 0)


def office(first: int, size: int, seed: int, net: float = 9.0) -> list[tuple[int, int, float]]:
    """Accounts each of which is tied to about six others."""
    random = np.random.default_rng(seed)
    ring = [(first + i, first + (i + 1) % size, net) for i in range(size)]
    return ring + [(first + int(x), first + int(y), net) for x, y in random.integers(0, size, (2 * size, 2)) if x != y]


def check(spark: SparkSession, root: Path, ties: Ties, accounts: int, one_task: int = 10_000) -> None:
    staged.put(root, {"ties": staged.tie_frame(ties)})
    stages = Stages(spark, str(root), "test")
    pieces_on_spark(stages, accounts, one_task)

    rows = pl.from_arrow(stages.read("pieces", pieces.PIECES).toArrow())
    label = np.full(accounts, -1, np.int64)
    label[rows["account"].to_numpy()] = rows["piece"].to_numpy()
    expected = find_pieces(accounts, ties.select(ties.net >= CORE_NET))
    assert rows["account"].is_unique().all()
    assert renumber(label).tolist() == expected.tolist()
    assert rows.filter(rows["piece"] > rows["account"]).is_empty()
    assert set(rows["piece"]) <= set(rows["account"])


HAND = {
    "one at the threshold": ties_of([(0, 1, CORE_NET), (5, 6, np.nextafter(CORE_NET, 0))]),
    "two offices that a flat joins": ties_of(office(0, 30, 1), office(30, 25, 2), [(3, 35, 9.0)]),
    "two offices that many join": ties_of(office(0, 30, 1), office(30, 25, 2), [(k, k + 30, 9.0) for k in range(20)]),
    "a chain": ties_of([(k, k + 1, 9.0) for k in range(40)]),
    "somebody who hangs on": ties_of(office(0, 9, 1), [(4, 20, 3.9), (5, 21, 4.0)], [(30, 31, 2.0)]),
    "somebody larger who was first": ties_of(office(40, 12, 1), [(0, 41, 3.0), (0, 7, 1.5), (7, 8, 5.0)]),
    "the first hangs on": ties_of(office(40, 12, 1), [(0, 41, 3.0)]),
    "a giant": ties_of(*(office(30 * k, 30, k) for k in range(12)), [(30 * k, 30 * k + 30, 9.0) for k in range(11)]),
}


@pytest.mark.parametrize("one_task", [10_000, 1])
def test_pieces_of_hand_sized_ties(spark: SparkSession, tmp_path: Path, one_task: int) -> None:
    """All side by side, each with 400 accounts of its own."""
    apart = [(t.a + 400 * k, t.b + 400 * k, t.net) for k, t in enumerate(HAND.values())]
    a, b, net = (np.concatenate(column) for column in zip(*apart, strict=True))

    check(
        spark,
        tmp_path,
        ties_of(list(zip(a.tolist(), b.tolist(), net.tolist(), strict=True))),
        400 * len(HAND),
        one_task,
    )


@pytest.mark.parametrize("ties", [ties_of(), ties_of([(0, 1, 0.999), (1, 2, 0.5)])])
def test_no_strong_tie_makes_no_piece(spark: SparkSession, tmp_path: Path, ties: Ties) -> None:
    check(spark, tmp_path, ties, 400)


def test_the_hand_sized_ones_differ() -> None:
    """Else the comparison would say little. Accounts of each piece."""
    found = [find_pieces(400, ties.select(ties.net >= CORE_NET)) for ties in HAND.values()]

    sizes = [np.bincount(label[label >= 0]).tolist() for label in found]
    assert sizes == [[2], [30, 25], [55], [41], [10, 2], [15], [12], [30] * 12]


def test_components_may_come_in_any_company(monkeypatch: pytest.MonkeyPatch) -> None:
    ties = ties_of(*(office(40 * k, 12 + k, k) for k in range(8)), [(5, 45, 9.0), (46, 90, 3.0)])
    expected = find_pieces(400, ties)
    component = np.searchsorted([0, 120, 160, 200, 240, 280], ties.a, "right")
    pa = pytest.importorskip("pyarrow")
    rows = pa.table({"component": component, "a": ties.a, "b": ties.b, "net": ties.net}).sort_by("component")
    for least in (1, 60, 10**6):
        monkeypatch.setattr(pieces, "_TIES", least)
        found = [row for batch in pieces._pieces(iter(rows.to_batches(max_chunksize=7))) for row in batch.to_pylist()]
        label = np.full(400, -1, np.int64)
        label[[row["account"] for row in found]] = [row["piece"] for row in found]
        assert renumber(label).tolist() == expected.tolist()


def test_pieces_of_a_world(spark: SparkSession, tmp_path: Path) -> None:
    hg.simulate(tmp_path / "world", accounts=3000, seed=4)
    graph, requests, _ = staged.read(tmp_path / "world")
    accounts = graph.accounts.height
    activity = read_activity(requests, accounts)
    ties = find_ties(graph, weigh(graph, staged.SETTINGS), activity)
    assert len(ties.a) > 1000

    check(spark, tmp_path / "stages", ties, accounts)
    check(spark, tmp_path / "by stars", ties, accounts, 100)
    assert list((tmp_path / "by stars").glob("stars_*"))
