"""The whole way on Spark: the case is that of the embedded engine, table by table."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import hydragraph as hg
from hydragraph.engines.spark.concluding import conclude_on_executor
from hydragraph.engines.spark.stages import Stages
from hydragraph.schema import OUTPUT

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FIXTURES = Path(__file__).parents[2] / "fixtures"
ACCOUNTS = int(os.environ.get("HYDRAGRAPH_ACCOUNTS", "4000"))
SAID = (
    "version", "settings", "seed", "inputs", "rows", "previous", "constraints", "notes", "work", "calibration", "pseudonyms",
)  # fmt: skip
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
    assert (spark.path / "report.html").read_bytes() == (embedded.path / "report.html").read_bytes()


@pytest.mark.essential
def test_a_world_gives_the_same_case(spark: SparkSession, world: Path, embedded: hg.Case, tmp_path: Path) -> None:
    assert embedded.clusters.filter(assessment="coordinated").height > 3

    case = hg.analyze(world, tmp_path / "case", engine=hg.Spark())

    assert_same(case, embedded)
    assert not list(tmp_path.glob("*.stages"))


@pytest.mark.parametrize("name", ["small", "chain", "innocent"])
def test_the_fixtures_give_the_same_case(spark: SparkSession, name: str, tmp_path: Path) -> None:
    case = hg.analyze(FIXTURES / name, tmp_path / "case", engine=hg.Spark())

    assert_same(case, hg.analyze(FIXTURES / name, tmp_path / "embedded"))


@pytest.mark.essential
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


@pytest.mark.parametrize("stage", ["links", "weights", "looked", "shuffled"])
def test_a_run_that_was_killed_in_the_middle_goes_on_there(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    engine, build = hg.Spark(stages=tmp_path / "stages", keep=True), Stages.build
    made: list[list[str]] = [[], []]

    def until(self: Stages, name: str, *given: Any) -> None:
        if name == stage:
            raise KeyboardInterrupt
        build(self, name, *given)
        made[0].append(name)

    def now(self: Stages, name: str, *given: Any) -> None:
        build(self, name, *given)
        made[1].append(name)

    monkeypatch.setattr("hydragraph.engines.spark.stages.Stages.build", until)
    with pytest.raises(KeyboardInterrupt):
        hg.analyze(FIXTURES / "small", tmp_path / "case", engine=engine)
    monkeypatch.setattr("hydragraph.engines.spark.stages.Stages.build", now)
    case = hg.analyze(FIXTURES / "small", tmp_path / "case", engine=engine)

    assert_same(case, hg.analyze(FIXTURES / "small", tmp_path / "embedded"))
    assert made[0]
    assert made[1][0] == stage
    assert not set(made[0]) & set(made[1])


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


def test_what_is_allowed_counts_for_nothing(
    spark: SparkSession, world: Path, embedded: hg.Case, tmp_path: Path
) -> None:
    used = embedded.links.filter(pl.col("kind").is_in(["api_key", "ip_range"]) & (pl.col("accounts") > 1))
    some = used.select("kind", "value").unique().sort("kind", "value").gather_every(3)
    unknown = pl.DataFrame({"kind": ["device", "ip_range"], "value": ["nobody has it", "203.0.113.0/24"]})
    allowed = pl.concat([some, unknown])

    case = hg.analyze(world, tmp_path / "case", allow=allowed, engine=hg.Spark())

    assert_same(case, hg.analyze(world, tmp_path / "embedded", allow=allowed))
    assert not case.clusters.equals(embedded.clusters)
    assert case.links.join(some, on=["kind", "value"]).is_empty()


def test_a_kind_that_is_allowed_whole_is_gone(spark: SparkSession, tmp_path: Path) -> None:
    links = pl.DataFrame(
        {"account_id": ["a", "b", "c"] * 2, "kind": ["device"] * 3 + ["phone"] * 3, "value": ["x"] * 6}
    )
    links.write_parquet(tmp_path / "links.parquet")
    allowed = pl.DataFrame({"kind": ["device"], "value": ["x"]})

    case = hg.analyze(tmp_path / "links.parquet", tmp_path / "case", allow=allowed, engine=hg.Spark())

    assert case.links["kind"].unique().to_list() == ["phone"]
    assert_same(case, hg.analyze(tmp_path / "links.parquet", tmp_path / "embedded", allow=allowed))


@pytest.mark.essential
def test_decisions_are_heeded(spark: SparkSession, world: Path, embedded: hg.Case, tmp_path: Path) -> None:
    before = hg.analyze(world, tmp_path / "before")
    leads = before.clusters.filter(pl.col("size") > 3)["cluster_id"].to_list()
    for k, cluster in enumerate(leads[:20]):
        hg.decide(before, cluster, "innocent" if k % 4 else "confirmed", by="somebody")
    pairs = before.accounts.filter(pl.col("cluster_id").is_null())["account_id"].sort()
    must = pl.DataFrame({"account_a": [pairs[0]], "account_b": [pairs[1]], "relation": ["must"]})
    # others come to use what innocent clusters were cleared with
    own = before.links.filter((pl.col("kind") == "device") & (pl.col("accounts") > 1)).select("kind", "value").unique()
    more = own.sort("value").with_columns(account_id=pairs.head(own.height)).select("account_id", "kind", "value")
    now = tmp_path / "now"
    now.mkdir()
    for file in world.glob("*.parquet"):
        frame = pl.read_parquet(file)
        frame = pl.concat([frame, more], how="diagonal_relaxed") if file.stem == "links" else frame
        frame.write_parquet(now / file.name)

    case = hg.analyze(now, tmp_path / "case", previous=before, constraints=must, engine=hg.Spark())

    assert_same(case, hg.analyze(now, tmp_path / "embedded", previous=before, constraints=must))
    assert any("no evidence" in note for note in case.manifest["notes"])
    assert case.table("ledger").height


def test_pseudonyms_are_refused_before_anything_is_done(spark: SparkSession, world: Path, tmp_path: Path) -> None:
    hg.make_key(tmp_path / "key")

    with pytest.raises(hg.InputRefused, match="pseudonyms"):
        hg.analyze(world, tmp_path / "case", pseudonymise=tmp_path / "key", engine=hg.Spark())
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_sentence_of_the_last_task_arrives(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = hg.analyze(FIXTURES / "small", tmp_path / "before")

    def gone(*given: Any) -> None:
        shutil.rmtree(before.path)
        conclude_on_executor(*given)

    monkeypatch.setattr("hydragraph.engines.spark.engine.conclude_on_executor", gone)
    with pytest.raises(hg.NotACase) as embedded:
        hg.open_case(tmp_path / "nowhere")
    with pytest.raises(hg.NotACase) as raised:
        hg.analyze(FIXTURES / "small", tmp_path / "case", previous=before, engine=hg.Spark())
    assert str(raised.value) == str(embedded.value).replace("nowhere", "before")
    assert not (tmp_path / "case").exists()


def test_of_a_folder_that_somebody_named_only_what_the_run_made_is_removed(spark: SparkSession, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    (mine / "hydragraph-other").mkdir(parents=True)
    (mine / "notes.txt").write_text("mine")
    (tmp_path / "case.stages").mkdir()
    (tmp_path / "case.stages" / "notes.txt").write_text("mine")

    hg.analyze(FIXTURES / "small", tmp_path / "case", engine=hg.Spark(stages=mine))
    hg.analyze(FIXTURES / "small", tmp_path / "case", engine=hg.Spark(), force=True)

    assert sorted(path.name for path in mine.iterdir()) == ["hydragraph-other", "notes.txt"]
    assert [path.name for path in (tmp_path / "case.stages").iterdir()] == ["notes.txt"]
