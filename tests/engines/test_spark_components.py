"""Connected components on Spark, both ways, against those of one machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from hydragraph.engines.spark import components
from hydragraph.engines.spark.components import components_on_spark, spanning
from hydragraph.engines.spark.stages import Stages
from hydragraph.grouping import connected

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

N = 1500
MANY = 10**9

Ends = tuple[NDArray[np.int64], NDArray[np.int64]]


def edges(a: NDArray[np.int64], b: NDArray[np.int64], seed: int = 3) -> Ends:
    """The same graph with its accounts numbered at random and each edge once, the smaller end first."""
    name = np.random.default_rng(seed).permutation(N)
    a, b = name[a], name[b]
    low, high = np.minimum(a, b), np.maximum(a, b)
    keys = np.unique((low * N + high)[low < high])
    return np.random.default_rng(seed).permutation(keys) // N, np.random.default_rng(seed).permutation(keys) % N


def drawn(number: int) -> Ends:
    random = np.random.default_rng(number)
    return random.integers(0, N, number), random.integers(0, N, number)


def giant() -> Ends:
    """One component of two thirds of the accounts, and pairs."""
    (a, b), pairs = drawn(6 * N), np.arange(1000, N, 2)
    inside = (a < 1000) & (b < 1000)
    return np.append(a[inside], pairs), np.append(b[inside], pairs + 1)


CHAIN = np.arange(N - 1)
GRAPHS = {
    "sparse": drawn(N // 2),
    "at the threshold": drawn(N),
    "dense": drawn(8 * N),
    "a chain": (CHAIN, CHAIN + 1),
    "stars": (np.arange(N) % 7, np.arange(N)),
    "a star of chains": (np.where(CHAIN % 50, CHAIN, 0), CHAIN + 1),
    "a giant and pairs": giant(),
}


def embedded(a: NDArray[np.int64], b: NDArray[np.int64]) -> dict[int, int]:
    part = connected(N, a, b)
    smallest = {int(p): int(account) for account, p in reversed(list(enumerate(part)))}
    return {int(account): smallest[int(part[account])] for account in np.union1d(a, b)}


def on_spark(spark: SparkSession, root: Path, ends: Ends, one_task: int, partitions: int = 4) -> dict[int, int]:
    import pyarrow as pa

    rows = spark.createDataFrame(pa.table({"a": ends[0], "b": ends[1]}), "a long, b long").repartition(partitions)
    found = components_on_spark(Stages(spark, str(root), "test"), rows, MANY, one_task).toArrow().to_pydict()
    assert len(set(found["account"])) == len(found["account"])
    return dict(zip(found["account"], found["component"], strict=True))


def side_by_side() -> tuple[Ends, dict[str, dict[int, int]]]:
    """All graphs as one, each of them with N accounts of its own, and their components."""
    one = {name: edges(*graph) for name, graph in GRAPHS.items()}
    a, b = (np.concatenate([ends[end] + N * k for k, ends in enumerate(one.values())]) for end in (0, 1))
    return (a, b), {name: embedded(*ends) for name, ends in one.items()}


def apart(found: dict[int, int]) -> dict[str, dict[int, int]]:
    graphs: dict[str, dict[int, int]] = {name: {} for name in GRAPHS}
    for account, component in found.items():
        graphs[list(GRAPHS)[account // N]][account % N] = component - account // N * N
    return graphs


def differing(found: dict[int, int], expected: dict[str, dict[int, int]]) -> list[str]:
    return [name for name, graph in apart(found).items() if graph != expected[name]]


def test_forests_merged_in_one_task_have_the_components(spark: SparkSession, tmp_path: Path) -> None:
    ends, expected = side_by_side()

    assert differing(on_spark(spark, tmp_path, ends, one_task=MANY), expected) == []
    assert not list(tmp_path.glob("forest_1*")) + list(tmp_path.glob("stars_*"))


def test_stars_that_grow_have_the_components(spark: SparkSession, tmp_path: Path) -> None:
    ends, expected = side_by_side()

    assert differing(on_spark(spark, tmp_path, ends, one_task=N), expected) == []
    assert 4 <= len(list(tmp_path.glob("stars_*.done"))) < 20


@pytest.mark.parametrize("one_task", [1, 2])
@pytest.mark.parametrize("number", [0, 1])
def test_hardly_any_edge(spark: SparkSession, tmp_path: Path, number: int, one_task: int) -> None:
    ends = np.full(number, 3), np.full(number, 4)

    assert on_spark(spark, tmp_path, ends, one_task) == ({3: 3, 4: 3} if number else {})


def test_many_forests_are_merged_in_several_tasks_first(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(components, "_FORESTS", 2)
    ends = edges(*GRAPHS["a giant and pairs"])

    assert on_spark(spark, tmp_path, ends, N, partitions=8) == embedded(*ends)
    assert (tmp_path / "forest_1.done").exists()
    assert not list(tmp_path.glob("stars_*"))


def batched(ends: Ends, rows: int):  # type: ignore[no-untyped-def]
    import pyarrow as pa

    table = pa.table({"account": ends[0], "towards": ends[1]})
    return iter(table.to_batches(max_chunksize=rows))


@pytest.mark.parametrize("step", ["_large_stars", "_small_stars"])
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_turns_do_not_depend_on_where_batches_end(step: str, rows: int) -> None:
    random = np.random.default_rng(5)
    account, towards = random.integers(0, 12, 200), random.integers(0, 12, 200)
    if step == "_small_stars":
        account, towards = np.maximum(account, towards), np.minimum(account, towards)
    differ = account != towards
    order = np.lexsort((towards[differ], account[differ]))
    ends = account[differ][order], towards[differ][order]
    turn = getattr(components, step)

    def whole(size: int) -> list[dict[str, int]]:
        return [row for batch in turn(batched(ends, size)) for row in batch.to_pylist()]

    assert whole(rows) == whole(200)


def test_a_forest_of_many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components, "_CHUNK", 40)
    a, b = edges(*GRAPHS["at the threshold"])
    account, root = components._spanning_all(batched((b, a), 9))

    assert dict(zip(account.tolist(), root.tolist(), strict=True)) == {
        account: root for account, root in embedded(a, b).items() if account != root
    }


def test_a_forest_leads_from_every_account_to_its_smallest() -> None:
    account, root = spanning(np.array([5, 9, 7]), np.array([3, 5, 8]))

    assert sorted(zip(account.tolist(), root.tolist(), strict=True)) == [(5, 3), (8, 7), (9, 3)]
