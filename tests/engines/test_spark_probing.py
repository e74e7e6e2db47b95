"""What must hold of a cluster, and of which analysis a run may go on with the stages."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from test_spark_analyze import FIXTURES

import hydragraph as hg
from hydragraph.constraints import read_constraints
from hydragraph.engines import Job
from hydragraph.engines.spark import probing
from hydragraph.engines.spark.engine import _digest
from hydragraph.engines.spark.places import open_place
from hydragraph.engines.spark.probing import refuse_cluster_apart
from hydragraph.engines.spark.records import sliced
from hydragraph.engines.spark.stages import Stages

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture
def stages(spark: SparkSession, tmp_path: Path) -> Stages:
    return Stages(spark, str(tmp_path / "stages"), "test")


def test_a_cluster_that_finds_all_is_taken(stages: Stages, tmp_path: Path) -> None:
    stages.prepare()
    before = hg.analyze(FIXTURES / "small", tmp_path / "before").path

    refuse_cluster_apart(stages, None)
    refuse_cluster_apart(stages, str(before))
    assert list(Path(stages.root).iterdir()) == []

    with pytest.raises(hg.InputRefused, match="previous: the executors do not find this case"):
        refuse_cluster_apart(stages, str(tmp_path))


def test_tasks_that_do_not_find_what_is_written_here(stages: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    stages.prepare()
    monkeypatch.setattr(probing, "open_place", lambda place: open_place(f"{place}-elsewhere"))

    with pytest.raises(hg.EngineFailed, match="--stages"):
        refuse_cluster_apart(stages, None)


def test_a_cluster_that_is_refused_leaves_nothing_behind(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "links.csv"
    source.write_text("account_id,kind,value\na,device,x\nb,device,x\n")
    monkeypatch.setattr(probing, "__version__", "0.0.7")
    with pytest.raises(hg.EngineFailed, match=r"0\.0\.7"):
        hg.analyze(source, tmp_path / "case", engine=hg.Spark())
    assert list(tmp_path.iterdir()) == [source]

    # what is there for a run that goes on stays
    job = Job(str(source), str(tmp_path / "case"), None, hg.Settings(), None, read_constraints(None, None), None, False)
    own = tmp_path / "stages" / f"hydragraph-{_digest([str(source)], job)[:16]}"
    own.mkdir(parents=True)
    (own / "read.done").touch()
    with pytest.raises(hg.EngineFailed, match=r"0\.0\.7"):
        hg.analyze(source, tmp_path / "case", engine=hg.Spark(stages=tmp_path / "stages"))
    assert [path.name for path in own.iterdir()] == ["read.done"]


def test_executors_of_another_version(stages: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    stages.prepare()
    monkeypatch.setattr(probing, "__version__", "0.0.7")

    with pytest.raises(hg.EngineFailed, match=f"executors have hydragraph {hg.__version__}, and here is 0.0.7"):
        refuse_cluster_apart(stages, None)


def _touched(job: Job) -> Job:
    os.utime(Path(str(job.source)) / "links.csv", ns=(10**18, 10**18))
    return job


def _decided(job: Job) -> Job:
    assert job.before is not None
    hg.decide(job.before, job.before.clusters["cluster_id"][0], "confirmed", by="somebody")
    return job


def _known(job: Job, **tables: pl.DataFrame) -> Job:
    return replace(job, known=read_constraints(tables.get("pairs"), tables.get("allow"), held=job.known))


def _mapped(job: Job) -> Job:
    assert job.mapping is not None
    Path(job.mapping).write_text("[links]\nfiles = ['other']\n")
    return job


@pytest.mark.parametrize(
    "change",
    [
        lambda job: replace(job, out=f"{job.out}-2"),
        lambda job: replace(job, settings=replace(job.settings, seed=8)),
        lambda job: replace(job, before=None),
        lambda job: replace(job, mapping=None),
        lambda job: _known(job, allow=pl.DataFrame({"kind": ["device"], "value": ["x"]})),
        lambda job: _known(job, pairs=pl.DataFrame({"account_a": ["a"], "account_b": ["b"], "relation": ["must"]})),
        _mapped,
        _touched,
        _decided,
    ],
)
def test_a_run_goes_on_with_the_stages_of_the_same_analysis_only(tmp_path: Path, change: Callable[[Job], Job]) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "links.csv").write_text("account_id,kind,value\na,device,x\nb,device,x\n")
    (tmp_path / "mapping.toml").write_text("[links]\nfiles = ['links.csv']\n")
    before = hg.analyze(tmp_path / "source", tmp_path / "before")
    known = read_constraints(None, None)
    job = Job(
        str(tmp_path / "source"),
        str(tmp_path / "case"),
        tmp_path / "mapping.toml",
        hg.Settings(),
        before,
        known,
        None,
        False,
    )
    places = [str(job.source)]
    digest = _digest(places, job)
    assert _digest(places, replace(job, force=True)) == digest

    assert _digest(places, change(job)) != digest


@pytest.mark.parametrize("most", [1, 7, 20, 10_000])
def test_slices_hold_no_more_than_is_said_and_lose_nothing(most: int) -> None:
    rng = np.random.default_rng(1)
    lists = {
        f"{name}_{side}": [list(range(n)) for n in rng.integers(0, 9, 50)]
        for name in ("begins", "wide")
        for side in "ab"
    }
    lists["wide_b"][3] = None  # type: ignore[call-overload]
    rows = pa.RecordBatch.from_pydict({"pair": pa.array(range(50)), **{k: pa.array(v) for k, v in lists.items()}})

    parts = list(sliced(rows, most))

    assert pa.Table.from_batches(parts).equals(pa.Table.from_batches([rows]))
    for part in parts:
        held = sum(len(of or []) for name in lists for of in part[name].to_pylist())
        assert held <= most or part.num_rows == 1
    assert list(sliced(rows.slice(0, 0), most)) == []
