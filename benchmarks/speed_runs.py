"""Worlds of several sizes and formats, and jobs on them, each in a process of its own that is measured from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl

from hydragraph.schema import INPUT
from writing import Say

ROOT = Path(__file__).parents[1]
CHILD = Path(__file__).with_name("speed_child.py")
SEED = 3
PER_ACCOUNT = 16
"""Events for each account, as in the affair that was reported: 16 million by some 24,000 accounts among a million."""

FORMATS = {"parquet": "Parquet", "csv.gz": "CSV, gzip", "ndjson": "NDJSON"}


@dataclass(frozen=True)
class Measured:
    """A job in a process of its own. seconds: from start to end; processor: user and system seconds, of all its threads;
    peak: largest resident size in bytes; said: what it printed. failed: why there is nothing to say."""

    job: str
    events: int
    seconds: float
    processor: float
    peak: int
    said: dict[str, Any] = field(default_factory=dict)
    failed: str = ""


def world(events: int, folder: Path, say: Say) -> Path:
    """A made-up world of about so many events, made once."""
    path = folder / f"{events}"
    if not (path / "world.json").exists():
        say(f"making a world of {events:,} events")
        # in a process of its own: what this one held would count as the peak of every process it starts
        options = [f"--accounts={events // PER_ACCOUNT}", f"--events={events}", f"--seed={SEED}", "--force", "--quiet"]
        subprocess.run([sys.executable, "-m", "hydragraph_cli", "simulate", str(path), *options], check=True)
    return path


def in_format(source: Path, suffix: str, folder: Path) -> Path:
    """The same tables in another format."""
    if suffix == "parquet":
        return source
    path = folder / f"{source.name}-{suffix.replace('.', '-')}"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=folder) as made:
            for name in INPUT:
                files = sorted(source.glob(f"{name}/*.parquet")) or sorted(source.glob(f"{name}.parquet"))
                if files:
                    _write(pl.scan_parquet(files), Path(made) / f"{name}.{suffix}")
            Path(made).rename(path)
            Path(made).mkdir()
    return path


def _write(rows: pl.LazyFrame, path: Path) -> None:
    if path.suffix == ".ndjson":
        rows.sink_ndjson(path)
    else:
        rows.sink_csv(path, compression="gzip")


def measured(job: str, source: Path, events: int, out: Path, say: Say, limit: float) -> Measured:
    """Run a job on a source. limit: seconds after which it is stopped."""
    say(f"{job} on {source.name}")
    command = [sys.executable, str(CHILD), job, str(source), str(out)]
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as errors:
        start = perf_counter()
        child = subprocess.Popen(command, stdout=printed, stderr=errors)
        code, used = _waited(child, start, limit)
        seconds = perf_counter() - start
        printed.seek(0)
        errors.seek(0)
        lines = printed.read().decode("utf-8").splitlines()
        last = (errors.read().decode("utf-8", "replace").splitlines() or [""])[-1]
    said = json.loads(lines[-1]) if code == 0 and lines else {}
    failed = f"the package {said['missing']} is not installed" if "missing" in said else ""
    if code:
        failed = f"stopped after {limit:,.0f} seconds" if code < 0 and seconds >= limit else f"failed: {last[:120]}"
    # analyze starts its record of the peak anew with each stage
    peak = max([used.ru_maxrss * 1024, *(stage["peak"] for stage in said.get("stages", []))])
    return Measured(job, events, seconds, used.ru_utime + used.ru_stime, peak, said, failed)


def _waited(child: subprocess.Popen[bytes], start: float, limit: float) -> tuple[int, Any]:
    """Exit code of the child and what it used; it is stopped after the limit."""
    from threading import Timer

    timer = Timer(max(limit - (perf_counter() - start), 0), child.kill)
    timer.start()
    try:
        _, status, used = os.wait4(child.pid, 0)
    finally:
        timer.cancel()
    child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode, used


def exponent(sizes: list[int], values: list[float]) -> float | None:
    """The b of value = a * size^b, fitted by least squares to the logarithms; None with fewer than two sizes."""
    if len(sizes) < 2 or min(values) <= 0:
        return None
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])
