"""The fixtures: made by the commands their README gives, and good for what they are there for."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

import hydragraph as hg
from hydragraph_cli.main import cli

ROOT = Path(__file__).parents[1]
FIXTURES = ROOT / "fixtures"
COMMANDS = re.findall(r"^    ((?:hydragraph simulate|python) .+)$", (FIXTURES / "README.md").read_text("utf-8"), re.M)


def test_the_readme_says_how_each_was_made() -> None:
    made = {match for command in COMMANDS for match in re.findall(r"fixtures/(\w+)(?= |$)", command)}

    assert made | {"foreign"} == {path.name for path in FIXTURES.iterdir() if path.is_dir()}
    assert sum(p.stat().st_size for p in FIXTURES.rglob("*") if p.is_file()) < 1_000_000


def test_the_commands_make_them_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command in COMMANDS:
        program, *words = shlex.split(command)
        if program == "hydragraph":
            done = CliRunner().invoke(cli, words)
            assert done.exit_code == 0, done.output
        elif words[0].endswith("to_csv.py"):
            monkeypatch.setattr(sys, "argv", words)
            runpy.run_path(str(ROOT / words[0]), run_name="__main__")
    made = sorted(p for p in (tmp_path / "fixtures").rglob("*") if p.is_file())

    assert len(made) == 3 * 7 + 2  # seven tables each, and the recipes of the two written by `simulate`
    for path in made:
        held = FIXTURES / path.relative_to(tmp_path / "fixtures")
        if path.suffix == ".parquet":  # bytes may change with the version of polars
            assert pl.read_parquet(path).equals(pl.read_parquet(held)), path.name
        else:
            assert path.read_bytes() == held.read_bytes(), path.name


def test_small_can_be_analysed_and_measured(tmp_path: Path) -> None:
    found = hg.evaluate(hg.analyze(FIXTURES / "small", tmp_path / "case"), FIXTURES / "small", resamples=50)

    assert found.counts["labelled"] == found.counts["accounts_in_case"] == 800
    assert found.counts["labelled_coordinated"] == 52
    assert found.rings.height == 6
    recall = found.value("recall")
    assert recall is not None
    assert recall > 0


def test_nobody_is_accused_where_everybody_is_innocent(tmp_path: Path) -> None:
    found = hg.evaluate(hg.analyze(FIXTURES / "innocent", tmp_path / "case"), FIXTURES / "innocent")

    assert found.value("false_positive_rate") == 0.0
    assert found.value("recall") is None


def test_csv_and_parquet_read_the_same(tmp_path: Path) -> None:
    one = hg.analyze(FIXTURES / "chain", tmp_path / "csv")
    folder = tmp_path / "tables"
    folder.mkdir()
    for path in FIXTURES.joinpath("chain").glob("*.csv"):
        pl.read_csv(path, infer_schema=False).write_parquet(folder / f"{path.stem}.parquet")
    other = hg.analyze(folder, tmp_path / "parquet")

    assert one.accounts.equals(other.accounts)
    assert one.clusters.equals(other.clusters)
