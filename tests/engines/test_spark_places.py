"""Places in a store: what is replaced there, what is removed, and what never is. No Spark is needed for these."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from test_spark_analyze import FIXTURES

import hydragraph as hg
from hydragraph.engines.spark.places import fetch_case, put_case, refuse_to_replace_there, remove
from hydragraph.engines.spark.stages import files_of


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
