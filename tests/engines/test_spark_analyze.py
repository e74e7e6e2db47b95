"""The whole way on Spark: the case is that of the embedded engine, table by table."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import hydragraph as hg
from hydragraph.engines.spark.stages import Stages
from hydragraph.schema import OUTPUT

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FIXTURES = Path(__file__).parents[2] / "fixtures"
ACCOUNTS = int(os.environ.get("HYDRAGRAPH_ACCOUNTS", "4000"))
SAID = ("version", "settings", "seed", "inputs", "rows", "previous", "constraints", "work", "calibration", "pseudonyms")
"""What the manifests of both engines say alike; times and memory differ."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("spark") / "world"
    hg.simulate(place, accounts=ACCOUNTS, seed=5)
    (place / "truth.parquet").rename(place.parent / "truth.parquet")
    return place


@pytest.fixture(scope="module")
def embedded(world: Path) -> hg.Case:
    return hg.analyze(world, world.parent / "embedded")


def assert_same(spark: hg.Case, embedded: hg.Case) -> None:
    for name in OUTPUT:
        assert_frame_equal(spark.table(name), embedded.table(name))
    for name in SAID:
        assert spark.manifest[name] == embedded.manifest[name], name
    assert sorted(spark.manifest["notes"]) == sorted(embedded.manifest["notes"])
    assert (spark.path / "report.html").read_bytes() == (embedded.path / "report.html").read_bytes()


def test_a_world_gives_the_same_case(spark: SparkSession, world: Path, embedded: hg.Case, tmp_path: Path) -> None:
    assert embedded.clusters.filter(assessment="coordinated").height > 3

    case = hg.analyze(world, tmp_path / "case", engine=hg.Spark())

    assert_same(case, embedded)
    assert not list(tmp_path.glob("*.stages"))


@pytest.mark.parametrize("name", ["small", "chain", "innocent"])
def test_the_fixtures_give_the_same_case(spark: SparkSession, name: str, tmp_path: Path) -> None:
    case = hg.analyze(FIXTURES / name, tmp_path / "case", engine=hg.Spark())

    assert_same(case, hg.analyze(FIXTURES / name, tmp_path / "embedded"))


def test_links_alone_of_which_some_rows_cannot_be_read(spark: SparkSession, tmp_path: Path) -> None:
    source = tmp_path / "links.csv"
    rows = [f"a{i},device,d{i // 2},2026-01-0{1 + i % 9}" for i in range(300)]
    source.write_text("\n".join(["account_id,kind,value,first_seen", *rows, ",device,d1,2026-01-01"]) + "\n")

    case = hg.analyze(source, tmp_path / "case", engine=hg.Spark())

    assert case.table("rejects").height == 1
    assert_same(case, hg.analyze(source, tmp_path / "embedded"))


def test_a_run_goes_on_where_it_was(
    spark: SparkSession, world: Path, embedded: hg.Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = hg.Spark(stages=tmp_path / "stages", keep=True)
    with monkeypatch.context() as broken:
        broken.setattr("hydragraph.engines.spark.engine.conclude_on_executor", _stops)
        with pytest.raises(KeyboardInterrupt):
            hg.analyze(world, tmp_path / "case", engine=engine)
    assert not (tmp_path / "case").exists()

    def not_again(self: Stages, name: str, build: Callable[[], object]) -> None:
        raise AssertionError(f"{name} was made again")

    monkeypatch.setattr("hydragraph.engines.spark.stages.Stages.build", not_again)
    case = hg.analyze(world, tmp_path / "case", engine=engine)

    assert_same(case, embedded)


def _stops(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_changed_source_is_read_anew(spark: SparkSession, tmp_path: Path) -> None:
    links = pl.DataFrame({"account_id": ["a", "b", "c"], "kind": ["device"] * 3, "value": ["x", "x", "y"]})
    source = tmp_path / "source"
    source.mkdir()
    links.write_parquet(source / "links.parquet")
    engine = hg.Spark(stages=tmp_path / "stages", keep=True)
    first = hg.analyze(source, tmp_path / "one", engine=engine)

    links.with_columns(value=pl.lit("z")).write_parquet(source / "links.parquet")
    second = hg.analyze(source, tmp_path / "two", engine=engine)

    assert first.clusters["size"].to_list() == [2]
    assert second.clusters["size"].to_list() == [3]


def test_places_in_a_store(spark: SparkSession, world: Path, embedded: hg.Case, tmp_path: Path) -> None:
    place = (tmp_path / "lake" / "case").as_uri()
    case = hg.analyze(world.as_uri(), place, engine=hg.Spark())

    assert_same(case, embedded)
    there = tmp_path / "lake" / "case"
    assert json.loads((there / "manifest.json").read_text())["rows"] == embedded.manifest["rows"]
    with pytest.raises(hg.CaseExists, match="--force"):
        hg.analyze(world.as_uri(), place, engine=hg.Spark())


def test_what_is_not_possible_is_refused_before_anything_is_done(
    spark: SparkSession, world: Path, tmp_path: Path
) -> None:
    allowed = pl.DataFrame({"kind": ["device"], "value": ["x"]})

    with pytest.raises(hg.InputRefused, match="an allow list"):
        hg.analyze(world, tmp_path / "case", allow=allowed, engine=hg.Spark())
    assert not list(tmp_path.iterdir())


def test_a_sentence_of_the_last_task_arrives(spark: SparkSession, tmp_path: Path) -> None:
    source = tmp_path / "links.csv"
    source.write_text("account_id,kind,value\na,device,\n")

    with pytest.raises(hg.InputRefused, match="links"):
        hg.analyze(source, tmp_path / "case", engine=hg.Spark())
    assert not (tmp_path / "case").exists()
