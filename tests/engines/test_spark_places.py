"""Places in a store: what is replaced there, what is removed, and what never is. No Spark is needed for these."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from test_spark_analyze import FIXTURES

import hydragraph as hg
from hydragraph.constraints import Constraints
from hydragraph.engines import Job
from hydragraph.engines.spark.concluding import Small, _concluded
from hydragraph.engines.spark.places import fetch_case, put_case, refuse_to_replace_there, remove, where
from hydragraph.engines.spark.stages import files_of
from hydragraph.loaders import Source


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> hg.Case:
    return hg.analyze(FIXTURES / "small", tmp_path_factory.mktemp("made") / "case")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_case_is_replaced_with_force_only_and_whole(case: hg.Case, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    place = (lake / "case").as_uri()
    refuse_to_replace_there(place, force=False)
    put_case(case.path, place)
    assert files(lake / "case") == files(case.path)

    with pytest.raises(hg.CaseExists, match="--force"):
        refuse_to_replace_there(place, force=False)
    refuse_to_replace_there(place, force=True)
    (lake / "case" / "report.html").unlink()
    (lake / "case" / "ties.parquet").write_bytes(b"old")
    put_case(case.path, place)
    assert files(lake / "case") == files(case.path)
    assert fetch_case(place).clusters.equals(case.clusters)


@pytest.mark.parametrize("other", ["exports/events.parquet", "finance/ledger.csv", "notes.txt", "target/manifest.json"])
def test_other_files_are_never_removed(case: hg.Case, tmp_path: Path, other: str) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(case.path, lake)
    (lake / other).parent.mkdir(exist_ok=True)
    (lake / other).write_text("mine")
    before = files(lake)

    for force in (False, True):
        with pytest.raises(hg.CaseExists, match="other files"):
            refuse_to_replace_there(lake.as_uri(), force=force)
    with pytest.raises(hg.CaseExists, match="meanwhile"):
        put_case(case.path, lake.as_uri())
    assert files(lake) == before


def test_a_source_is_no_case_whatever_its_files_are_called(tmp_path: Path) -> None:
    for name in ("manifest.json", "accounts.parquet", "links.parquet"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(hg.CaseExists, match="other files"):
        refuse_to_replace_there(tmp_path.as_uri(), force=True)


def test_decisions_are_never_lost(case: hg.Case, tmp_path: Path) -> None:
    place = tmp_path / "case"
    shutil.copytree(case.path, place)
    hg.decide(hg.open_case(place), case.clusters["cluster_id"][0], "confirmed", by="somebody")
    before = files(place)
    with pytest.raises(hg.CaseExists, match="decisions"):
        refuse_to_replace_there(place.as_uri(), force=True)
    with pytest.raises(hg.CaseExists, match="meanwhile"):
        put_case(case.path, place.as_uri())
    assert files(place) == before


def test_a_task_that_is_run_again_copies_over_what_it_had_copied(case: hg.Case, tmp_path: Path) -> None:
    made, place = tmp_path / "made", tmp_path / "case"
    shutil.copytree(case.path, made)
    hg.decide(hg.open_case(made), case.clusters["cluster_id"][0], "confirmed", by="somebody")
    (decisions,) = made.glob("decisions*")
    for left in (len(decisions.read_bytes()), 3, 0):  # the first try got so far
        put_case(made, place.as_uri())
        (place / decisions.name).write_bytes(decisions.read_bytes()[:left])
        (place / "manifest.json").unlink()
        put_case(made, place.as_uri())
        assert files(place) == files(made)

    (place / decisions.name).write_bytes(b"another")
    with pytest.raises(hg.CaseExists, match="meanwhile"):
        put_case(made, place.as_uri())


def test_of_what_was_not_copied_whole_it_is_said(case: hg.Case, tmp_path: Path) -> None:
    shutil.copytree(case.path, tmp_path / "case")
    (tmp_path / "case" / "manifest.json").unlink()
    with pytest.raises(hg.CaseExists, match=r"without manifest.json"):
        refuse_to_replace_there((tmp_path / "case").as_uri(), force=True)


def test_a_last_task_that_is_run_again_does_not_hold_the_case_against_itself(case: hg.Case, tmp_path: Path) -> None:
    def conclude(*_: object) -> None:
        raise AssertionError

    source = Source({}, {}, pl.DataFrame(), (), ())
    small = Small({}, source, 1.0, 0, (), str(case.path), "sha256:of the case before", [], [], [])
    job = Job("source", str(case.path), None, hg.Settings(), None, Constraints(), None, True)

    assert _concluded(job, small, conclude) == {}
    told = _concluded(replace(job, out=str(tmp_path / "other")), small, conclude)
    assert told["error"] == "EngineFailed"
    with pytest.raises(AssertionError):
        _concluded(job, replace(small, digest=case.digest), conclude)


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("s3a://lake/case/", "s3://lake/case"),
        ("S3://lake/a%20b", "s3://lake/a%20b"),
        ("file:///x/a%20b", "/x/a b"),
        ("/x/../y", "/y"),
        ("a\0b", ""),
    ],
)
def test_where_a_place_is(place: str, found: str) -> None:
    assert where(place) == found


def test_a_link_that_leads_to_itself_is_nowhere(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert where(tmp_path / "loop") in ("", str(tmp_path / "loop"))
    with pytest.raises(hg.InputRefused, match="no such file"):
        hg.analyze(tmp_path / "loop", tmp_path / "case")


def test_what_is_removed_are_the_runs_folders_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "hydragraph-june.stages"
    for name in ("hydragraph-one", "hydragraph-two"):
        (folder / name).mkdir(parents=True)
        (folder / name / "rows.parquet").touch()
    (folder / "notes.txt").write_text("mine")

    remove(str(folder), "hydragraph-one", empty=True)
    assert sorted(path.name for path in folder.iterdir()) == ["hydragraph-two", "notes.txt"]
    remove(str(folder), "hydragraph-", empty=True)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]

    (folder / "notes.txt").unlink()
    remove(str(folder), "hydragraph-", empty=False)
    assert folder.is_dir()
    remove(str(folder), "hydragraph-", empty=True)
    assert list(tmp_path.iterdir()) == []


def test_files_of_tasks_that_have_not_ended_do_not_count(tmp_path: Path) -> None:
    hidden = tmp_path / "_hidden" / "rows"  # the folder itself may be called anything
    for name in (
        "part-0.parquet",
        "kind=a/part-1.parquet",
        "_temporary/0/part-2.parquet",
        ".part-3.parquet",
        "_SUCCESS",
    ):
        (hidden / name).parent.mkdir(parents=True, exist_ok=True)
        (hidden / name).write_bytes(b"12345")
    assert files_of(str(hidden)) == files_of(hidden.as_uri()) == [2, 10]
