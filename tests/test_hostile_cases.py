"""Case folders that somebody else made: of another shape, without end, with what no case holds."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

import hydragraph as hg
from hydragraph.pipeline import analyze
from hydragraph_cli.main import cli
from written import source_of


def small_case(folder: Path) -> Path:
    links = "account_id,kind,value\n" + "".join(f"a{i},card,c{i // 4}\na{i},device,d{i // 4}\n" for i in range(8))
    analyze(source_of(folder / "in", links=links), folder / "case")
    return folder / "case"


ODD = (None, "x", [1], ["x"], {"a": [1]}, -1.5)


@pytest.mark.parametrize("name", ["settings", "inputs", "rows", "notes", "calibration", "pseudonyms", ""])
def test_a_manifest_of_another_shape_is_none(tmp_path: Path, name: str) -> None:
    """Whatever stands in it, commands end in a sentence that somebody foresaw."""
    folder = small_case(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    lead = hg.open_case(folder).clusters["cluster_id"][0]
    for value in ODD:
        (folder / "manifest.json").write_text(json.dumps({**manifest, name: value} if name else value))
        for command in (["report"], ["show", lead], ["takedown", lead], ["lineage"], ["export", "--format", "json"]):
            out = ["-o", str(tmp_path / "out"), "--force"] if command[0] == "export" else []
            done = CliRunner().invoke(cli, [command[0], str(folder), *command[1:], *out])
            assert done.exit_code in (0, 1, 3), (value, command)
            assert "unforeseen" not in done.output, (value, command)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such file")
def test_a_manifest_without_end_is_none(tmp_path: Path) -> None:
    folder = small_case(tmp_path)
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").symlink_to("/dev/zero")
    with pytest.raises(hg.NotACase):
        hg.open_case(folder)


@pytest.mark.parametrize(
    ("name", "column", "value", "sound"),
    [
        ("clusters", "last_seen", pl.lit(2**63 - 1).cast(pl.Datetime("us", "UTC")), False),
        ("accounts", "closed_at", pl.lit(-(2**63) + 1).cast(pl.Datetime("us", "UTC")), False),
        ("links", "kind", pl.lit(None, pl.String), False),
        ("links", "value", pl.lit(None, pl.String), False),
        ("clusters", "assessment", pl.lit(None, pl.String), False),
        ("accounts", "account_id", pl.lit(None, pl.String), False),
        ("links", "bits", pl.lit(float("nan")), True),
        ("links", "bits", pl.lit(float("-inf")), True),
        ("clusters", "stability", pl.lit(float("inf")), True),
    ],
)
def test_tables_that_no_case_holds(tmp_path: Path, name: str, column: str, value: pl.Expr, sound: bool) -> None:
    folder = small_case(tmp_path)
    lead = hg.open_case(folder).clusters["cluster_id"][0]
    path = folder / f"{name}.parquet"
    pl.read_parquet(path).with_columns(value.alias(column)).write_parquet(path)
    codes = set()
    for command in (
        ["report"],
        ["show", lead],
        ["account", "a1"],
        ["path", "a0", "a1"],
        ["expand", "a1"],
        ["clusters"],
    ):
        done = CliRunner().invoke(cli, [command[0], str(folder), *command[1:]])
        assert "unforeseen" not in done.output, command
        assert done.exit_code == 0 or f"{name}.parquet holds what no case table holds" in done.stderr, done.stderr
        codes.add(done.exit_code)
    assert codes == {0} if sound else 1 in codes
