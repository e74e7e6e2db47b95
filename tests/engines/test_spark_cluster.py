"""A cluster that loses workers in the middle of steps gives the same case. Run by `make test-cluster` only."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import pytest
import servers

import hydragraph as hg

pytestmark = pytest.mark.skipif(
    os.environ.get("HYDRAGRAPH_SPARK") != "cluster", reason="make test-cluster runs it, and starts the cluster"
)

AFTER = ("prior", "weights", "wired")
"""The stages after which a worker is killed: in the weighing, in the tying, and in the last task, which concludes."""

SETTINGS = (
    "spark.ui.port=0",
    "spark.ui.liveUpdate.period=0",
    "spark.sql.shuffle.partitions=4",
    "spark.executor.memory=900m",
)
LONGEST = 900


def test_workers_that_are_killed_at_work_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyspark.sql import SparkSession
    from test_spark_analyze import assert_same

    java = servers.java_home()
    if java is None:
        pytest.skip(servers.NO_JAVA)
    for name, value in servers.quiet(java, *SETTINGS).items():
        monkeypatch.setenv(name, value)
    world, stages = tmp_path / "world", tmp_path / "stages"
    hg.simulate(world, accounts=4000, seed=5)
    expected = hg.analyze(world, tmp_path / "expected")

    with servers.cluster(java) as cluster, ThreadPoolExecutor(1) as apart:
        cluster.add("worker 0")
        engine = hg.Spark(master=cluster.address, stages=stages, keep=True)
        run = apart.submit(hg.analyze, world, tmp_path / "case", engine=engine)
        for number, stage in enumerate(AFTER, 1):
            # the one that comes takes the place of the one that was killed, which had no time to say goodbye
            cluster.add(f"worker {number}")
            wait_for(run, lambda stage=stage: list(stages.glob(f"*/{stage}.done")))  # type: ignore[misc]
            kill_at_work(cluster, run)
        found = run.result(LONGEST)
        SparkSession.builder.getOrCreate().stop()

    assert_same(found, expected)


def kill_at_work(cluster: servers.Cluster, run: Future[hg.Case]) -> None:
    """Kill a worker with its executor, which has a task that is running: both are held still before they are looked at."""
    while True:
        executor = wait_for(run, at_work)
        worker = cluster.holder(executor)
        cluster.tell(worker, signal.SIGSTOP)
        # the driver hears of tasks that had ended, and gives out others
        time.sleep(1)
        if executors()[executor]["activeTasks"]:
            break
        cluster.tell(worker, signal.SIGCONT)
    assert not run.done()
    before = failed_tasks()
    cluster.tell(worker, signal.SIGKILL)

    assert cluster.workers[worker].wait(10) == -signal.SIGKILL
    # what ran there has failed, and is run elsewhere
    wait_for(run, lambda: not executors()[executor]["isActive"] and failed_tasks() > before)


def at_work() -> str | None:
    """An executor with a running task."""
    return next((name for name, one in executors().items() if one["isActive"] and one["activeTasks"]), None)


def executors() -> dict[str, dict[str, Any]]:
    """All executors that the driver has had, by number."""
    return {one["id"]: one for one in told("allexecutors") if one["id"] != "driver"}


def failed_tasks() -> int:
    return sum(one["numFailedTasks"] for one in told("stages"))


def told(page: str) -> Any:
    """A page of the driver."""
    from pyspark import SparkContext

    context = SparkContext._active_spark_context
    assert context is not None
    address = f"{context.uiWebUrl}/api/v1/applications/{context.applicationId}/{page}"
    with build_opener(ProxyHandler({})).open(address, timeout=60) as answer:
        return json.load(answer)


def wait_for(run: Future[hg.Case], what: Callable[[], Any]) -> Any:
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        if found := what():
            return found
        assert not run.done(), "the run ended before what was waited for"
        time.sleep(0.02)
    raise AssertionError(f"nothing after {LONGEST} seconds")
