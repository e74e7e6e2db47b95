"""Source, steps and case in a store that speaks S3. On Sail only: open-source Spark needs a connector for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
import servers
from test_spark_analyze import FIXTURES, assert_same

import hydragraph as hg
from hydragraph.engines.spark import units
from hydragraph.engines.spark.places import files_in, open_place
from hydragraph.schema import OUTPUT

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

pytestmark = pytest.mark.skipif(
    os.environ.get("HYDRAGRAPH_SPARK") != "sail" or not find_spec("moto"), reason="runs on Sail, with moto"
)


@pytest.fixture(scope="module")
def engine() -> Iterator[hg.Spark]:
    """An engine on a Sail server that knows the store."""
    with pytest.MonkeyPatch.context() as patch, servers.store() as around:
        for name, value in around.items():
            patch.setenv(name, value)
        with servers.sail(**around) as address:
            yield hg.Spark(remote=address)


@pytest.fixture
def lake(engine: hg.Spark, request: pytest.FixtureRequest) -> FileSystem:
    """The store, with the small fixture in a bucket that is called after the test."""
    from pyarrow.fs import FileSystem, LocalFileSystem, copy_files

    bucket = _bucket(request)
    system, _ = FileSystem.from_uri(f"s3://{bucket}?allow_bucket_creation=true")
    system.create_dir(bucket)
    copy_files(
        str(FIXTURES / "small"), f"{bucket}/exports", source_filesystem=LocalFileSystem(), destination_filesystem=system
    )
    return system


def _bucket(request: pytest.FixtureRequest) -> str:
    return request.node.name.replace("_", "-")[:60]


def test_a_source_and_its_case_in_a_store(
    engine: hg.Spark,
    lake: FileSystem,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(units, "LARGE", 20_000)  # the larger tables are cut into their row groups
    bucket = _bucket(request)
    events = pl.read_parquet(FIXTURES / "small" / "events.parquet")
    events.write_parquet(tmp_path / "events.parquet", row_group_size=2000)
    with lake.open_output_stream(f"{bucket}/exports/events.parquet") as out:
        out.write((tmp_path / "events.parquet").read_bytes())

    case = hg.analyze(f"s3://{bucket}/exports", f"s3://{bucket}/case", engine=engine)

    source = tmp_path / "source"
    source.mkdir()
    for file in (FIXTURES / "small").glob("*.parquet"):
        (source / file.name).write_bytes(file.read_bytes())
    (source / "events.parquet").write_bytes((tmp_path / "events.parquet").read_bytes())
    embedded = hg.analyze(source, tmp_path / "embedded")
    assert case.tally == embedded.tally
    for name in OUTPUT:
        assert case.table(name).equals(embedded.table(name)), name
    # nothing is left of the steps
    places = {path.split("/")[1] for path, _, _ in files_in(f"s3://{bucket}")}
    assert places == {"case", "exports"}


def test_a_case_in_a_store_is_replaced_with_force_and_other_files_never(
    engine: hg.Spark, lake: FileSystem, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place = f"s3a://{_bucket(request)}/case"
    embedded = hg.analyze(FIXTURES / "small", tmp_path / "embedded")
    for force in (False, True):
        # the source and the steps on a disk, the case in the store
        case = hg.analyze(
            FIXTURES / "small", place, force=force, engine=hg.Spark(remote=engine.remote, stages=tmp_path / "stages")
        )
        assert_same(case, embedded)
        with pytest.raises(hg.CaseExists, match="--force"):
            hg.analyze(FIXTURES / "small", place, engine=engine)

    with open_place(place)[0].open_output_stream(f"{_bucket(request)}/case/notes.txt") as out:
        out.write(b"mine")
    with pytest.raises(hg.CaseExists, match="other files"):
        hg.analyze(FIXTURES / "small", place, force=True, engine=engine)
    assert any(path.endswith("case/notes.txt") for path, _, _ in files_in(place))
