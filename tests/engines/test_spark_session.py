"""A session, and what is said where there is none; which Java runs Spark."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import servers

from hydragraph.engines.spark.session import _refuse_out_of_reach, open_session, session_for
from hydragraph.errors import EngineFailed, InputRefused

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.mark.essential
def test_a_session_has_its_own_settings_again_when_an_analysis_is_done(spark: SparkSession) -> None:
    name = "spark.sql.adaptive.coalescePartitions.enabled"
    for own in ("true", "false"):
        spark.conf.set(name, own)
        with session_for() as session:
            assert session.conf.get(name) == "false"
        assert spark.conf.get(name) == own

    with pytest.raises(KeyError), session_for():
        raise KeyError
    assert spark.conf.get(name) == "false"
    spark.conf.unset(name)


@pytest.mark.essential
def test_workers_have_hydragraph(spark: SparkSession) -> None:
    from hydragraph.grouping import renumber  # a function of a module, which is pickled by its name

    def found(batches):  # type: ignore[no-untyped-def]
        import pyarrow as pa

        for batch in batches:
            number = renumber(batch.column(0).to_numpy() // 2)
            yield pa.RecordBatch.from_pydict({"number": pa.array(number)})

    rows = spark.range(0, 8, 1, 1).mapInArrow(found, "number long").collect()
    assert sorted(row["number"] for row in rows) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_without_pyspark_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(InputRefused, match=r"hydragraph\[spark\]"):
        open_session(master="local[1]")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("sc://localhost", "localhost:15002"),
        ("sc://localhost:1/;token=x", "localhost:1"),
        ("sc://[::1]:1", r"\[::1\]:1"),
        ("spark://localhost", "localhost:7077"),
        ("sc://localhost:70000", "localhost:70000"),
    ],
)
def test_nobody_is_waited_for_who_does_not_answer(address: str, said: str) -> None:
    with pytest.raises(EngineFailed, match=f"nobody answers at {said};"):
        _refuse_out_of_reach(address)


def test_a_session_that_is_there_is_not_taken_for_one_elsewhere(spark: SparkSession) -> None:
    with pytest.raises(InputRefused, match="on another master"):
        open_session(master="local[7]")


def test_of_several_masters_any_may_answer() -> None:
    _refuse_out_of_reach("spark://localhost:1,localhost:2")
    _refuse_out_of_reach("local[2]")


def a_java(folder: Path, version: str) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "java").write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2024-01-01' >&2\n", "utf-8")
    (folder / "bin" / "java").chmod(0o755)
    return folder


def test_the_java_of_the_environment_is_taken_if_it_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, old = a_java(tmp_path / "new", "21.0.2"), a_java(tmp_path / "old", "1.8.0_392")
    monkeypatch.setenv("JAVA_HOME", str(new))
    assert servers.java_home() == new
    monkeypatch.setenv("JAVA_HOME", str(old))
    assert servers.java_home() != old
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "none"))
    assert servers.java_home() != tmp_path / "none"


def test_what_is_missing_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    said = subprocess.run([sys.executable, servers.__file__], capture_output=True, text=True, check=True).stdout
    assert said.strip() in ("", servers.NO_JAVA)
