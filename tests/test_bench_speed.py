"""The benchmark of time and memory: its arithmetic, jobs that fail, and a whole run in small. No test looks at a clock."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
MODULES = ("speed_child", "speed_runs", "speed_document", "speed")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The modules of benchmarks/ by name."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return {name: importlib.import_module(name) for name in MODULES}


def test_the_exponent_is_the_slope_of_the_logarithms(bench: dict[str, Any]) -> None:
    exponent = bench["speed_runs"].exponent
    assert exponent([10, 100, 1000], [3.0, 30.0, 300.0]) == pytest.approx(1)
    assert exponent([10, 100], [2.0, 200.0]) == pytest.approx(2)
    assert exponent([10], [2.0]) is None


def test_a_job_that_fails_or_takes_too_long_is_told_and_does_not_stop_the_others(
    bench: dict[str, Any], tmp_path: Path
) -> None:
    measured = bench["speed_runs"].measured
    assert measured("floor", tmp_path, 1, tmp_path, print, 60.0).failed.startswith("failed: ")
    assert measured("hydragraph", tmp_path, 1, tmp_path, print, 0.0).failed == "stopped after 0 seconds"


def run_of(bench: dict[str, Any], events: int, seconds: float, gibibytes: float, job: str = "hydragraph") -> Any:
    """A measurement as if: three quarters of the processor time went to ties."""
    stages = [
        {"name": name, "seconds": share * seconds, "processor": share * seconds, "peak": int(gibibytes * 2**30)}
        for name, share in (("read", 0.25), ("ties", 0.75))
    ]
    said = {
        "stages": stages, "rows": {"events": events}, "passes": {"events": {"checks": 2, "links": 1}},
        "accounts": events // 16, "clusters": 3, "pairs_formed": 7, "ties": 5,
    }  # fmt: skip
    return bench["speed_runs"].Measured(job, events, seconds, seconds, int(gibibytes * 2**30), said)


@pytest.mark.parametrize(("seconds", "gibibytes", "words"), [(40.0, 4.0, "missed"), (15.0, 2.0, "met")])
def test_the_document_says_whether_targets_are_met(
    bench: dict[str, Any], seconds: float, gibibytes: float, words: str
) -> None:
    runs = [run_of(bench, 160, seconds / 10, 1), run_of(bench, 1600, seconds, gibibytes)]
    floors = [run_of(bench, 160, 1, 0.1, "floor"), run_of(bench, 1600, 10, 0.2, "floor")]
    formats = {"parquet": runs[0], "csv.gz": run_of(bench, 160, seconds, 1)}
    failed = bench["speed_runs"].Measured("polars_leiden", 160, 0, 0, 0, {}, "the package igraph is not installed")
    results = bench["speed_document"].Results("make bench", runs, floors, formats, {"polars_leiden": [failed]})
    text = bench["speed_document"].document(results, "figures")
    assert f"is {words} at 1,600 events: {seconds / 10:.1f} times in seconds" in text
    assert f"at the peak is {words}: {gibibytes:.2f} GiB" in text
    assert "Most of it goes to ties 75%, read 25%." in text
    assert "processor seconds 1.00" in text  # ten times the events, ten times the seconds
    assert "target of at most 3 times Parquet is missed: 10.0 times" in text
    assert "igraph Leiden at 160 events: the package igraph is not installed." in text
    assert "| events | 1,600 | 2 | 1 |" in text


@pytest.mark.slow
def test_a_run_in_small_writes_a_document_and_a_picture(
    bench: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "docs" / "performance.md"
    given = ["--sizes", "16000,32000", "--worlds", str(tmp_path / "worlds"), "--out", str(out)]
    assert bench["speed"].main(given) == 0
    text = out.read_text("utf-8")
    assert re.findall("^## .*$", text, re.MULTILINE) == [
        "## Against the floor", "## Stage by stage", "## Growth", "## Formats", "## Peers", "## How often the input is read",
        "## Limits",
    ]  # fmt: skip
    assert "failed" not in text
    assert "| NDJSON |" in text
    assert (tmp_path / "docs" / "figures" / "performance-growth.png").stat().st_size > 10_000
    assert capsys.readouterr().out == ""


def test_docs_take_the_whole_measurement_only(bench: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert bench["speed"].main(["--quick", "--out", str(ROOT / "docs" / "performance.md")]) == 2
    assert "the whole measurement only" in capsys.readouterr().err
