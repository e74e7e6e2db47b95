"""Where the Spark engine reads and writes: places of all sorts, and what its steps leave for a run that goes on."""

from __future__ import annotations

import errno
import os
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from test_spark_analyze import FIXTURES, assert_same

import hydragraph as hg
from hydragraph.engines.spark.stages import Stages
from hydragraph.engines.spark.tasks import discreetly

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SMALL = FIXTURES / "small"
CARDS = ["4111111111111111", "5500005555555559", "340000000000009", "30000000000004", "6011000000000004"]


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> hg.Case:
    return hg.analyze(SMALL, tmp_path_factory.mktemp("embedded") / "case")


def test_requests_without_any_identifier(spark: SparkSession, tmp_path: Path) -> None:
    times = [f"2026-01-01T00:{i:02}:00Z" for i in range(30)]
    source = tmp_path / "events.csv"
    source.write_text("timestamp,account_id\n" + "".join(f"{time},a{i % 7}\n" for i, time in enumerate(times)))

    case = hg.analyze(source, tmp_path / "case", engine=hg.Spark())

    assert_same(case, hg.analyze(source, tmp_path / "embedded"))


def test_files_without_a_byte(spark: SparkSession, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "links").mkdir(parents=True)
    (source / "links" / "0.csv").touch()
    with pytest.raises(hg.InputRefused, match="no rows in links"):
        hg.analyze(source, tmp_path / "case", engine=hg.Spark())

    (source / "links" / "1.csv").write_text("account_id,kind,value\na,device,x\nb,device,x\n")
    case = hg.analyze(source, tmp_path / "case", engine=hg.Spark())

    assert_same(case, hg.analyze(source, tmp_path / "embedded"))


def test_places_from_here(
    spark: SparkSession, embedded: hg.Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "source").symlink_to(SMALL.resolve())
    monkeypatch.chdir(tmp_path)

    case = hg.analyze("./source/", "./case/", engine=hg.Spark(stages="stages", keep=True))

    assert_same(case, embedded)
    assert (tmp_path / "case" / "manifest.json").exists()
    assert list(tmp_path.glob("stages/hydragraph-*/ties.done"))


def test_a_link_to_a_file_has_its_own_name(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "blob-0").write_text("account_id,kind,value\na,device,x\nb,device,x\n")
    (tmp_path / "links.csv").symlink_to("blob-0")

    case = hg.analyze(tmp_path / "links.csv", tmp_path / "case", engine=hg.Spark())

    assert_same(case, hg.analyze(tmp_path / "links.csv", tmp_path / "embedded"))


@pytest.mark.parametrize("name", ["a b", "50%20 é", "a#b:c", "part=1", "_hidden"])
def test_odd_names(spark: SparkSession, embedded: hg.Case, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()

    assert_same(hg.analyze(SMALL, folder / "case", engine=hg.Spark()), embedded)

    place = (folder / "in a store").as_uri()
    case = hg.analyze(SMALL.resolve().as_uri(), place, engine=hg.Spark(keep=True))

    assert_same(case, embedded)
    assert list((folder / "in a store.stages").glob("hydragraph-*/ties.done"))
    assert list((folder / "in a store.stages").glob("hydragraph-*/ties-*/*.parquet"))


@pytest.mark.parametrize(
    ("stages", "why"),
    [("steps[1]", "pattern"), ("source/steps", "lies in the source"), ("case", "lies in the source or in the case")],
)
def test_folders_in_which_steps_cannot_keep_anything(
    spark: SparkSession, tmp_path: Path, stages: str, why: str
) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "links.csv").write_text("account_id,kind,value\na,device,x\n")

    with pytest.raises(hg.InputRefused, match=why):
        hg.analyze(tmp_path / "source", tmp_path / "case", engine=hg.Spark(stages=tmp_path / stages))
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_mapping_file_that_cannot_be_read(spark: SparkSession, tmp_path: Path, content: bytes | None) -> None:
    mapping = tmp_path / "mapping.toml"
    if content is not None:
        mapping.write_bytes(content)

    with pytest.raises(hg.InputRefused) as embedded:
        hg.analyze(SMALL, tmp_path / "case", mapping=mapping)
    with pytest.raises(hg.InputRefused) as spark_too:
        hg.analyze(SMALL, tmp_path / "case", mapping=mapping, engine=hg.Spark())
    assert str(spark_too.value) == str(embedded.value)


def test_a_source_that_is_refused_leaves_nothing_behind(spark: SparkSession, tmp_path: Path) -> None:
    source = tmp_path / "links.csv"
    hidden = [".".join(card) for card in CARDS]
    source.write_text("account_id,kind,value\n" + "".join(f"a{i},device,{card}\n" for i, card in enumerate(hidden)))

    with pytest.raises(hg.InputRefused, match="card numbers"):
        hg.analyze(source, tmp_path / "case", engine=hg.Spark(stages=tmp_path / "stages"))
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_file_of_the_same_size_and_time_is_read_anew(spark: SparkSession, tmp_path: Path) -> None:
    source, engine = tmp_path / "links.csv", hg.Spark(stages=tmp_path / "stages", keep=True)
    source.write_text("account_id,kind,value\na,device,x\nb,device,y\n")
    os.utime(source, ns=(10**18, 10**18))
    first = hg.analyze(source, tmp_path / "case", engine=engine)

    source.write_text("account_id,kind,value\na,device,x\nb,device,x\n")
    os.utime(source, ns=(10**18, 10**18))
    second = hg.analyze(source, tmp_path / "case", engine=engine, force=True)

    assert (first.manifest["inputs"], first.clusters.height) != (second.manifest["inputs"], second.clusters.height)
    assert second.clusters["size"].to_list() == [2]


def test_a_stage_is_complete_while_all_its_files_are_there(spark: SparkSession, tmp_path: Path) -> None:
    stages = Stages(spark, str(tmp_path), "test")
    assert stages.make("numbers", lambda: spark.range(5)).count() == 5
    made = Path(stages.path("numbers"))
    assert stages.make("numbers", lambda: spark.range(7)).count() == 5

    next(made.rglob("*.parquet")).unlink()
    again = stages.make("numbers", lambda: spark.range(6))

    # a server that still works for a run that is gone writes there, and not into what is read now
    pl.DataFrame({"id": [1, 2]}).write_parquet(made / "late.parquet")
    assert Path(stages.path("numbers")) != made
    assert again.count() == stages.read("numbers").count() == 6


def test_what_fails_in_a_task_does_not_quote_the_data() -> None:
    with pytest.raises(RuntimeError) as failed, discreetly():
        pl.Series(["jane@example.org"]).cast(pl.Int64)
    assert "InvalidOperationError" in str(failed.value)
    assert "jane" not in "".join(traceback.format_exception(failed.value))

    with pytest.raises(RuntimeError, match="OSError: No space left on device"), discreetly():
        raise OSError(errno.ENOSPC, "of jane")
    with pytest.raises(hg.InputRefused, match="a sentence"), discreetly():
        raise hg.InputRefused("a sentence")
