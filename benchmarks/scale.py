"""Measures the Spark engine as the data grows, and writes the measured part of docs/scale.md: `make bench-scale`.

python benchmarks/scale.py                       1, 2, 4 and 8 million accounts, on a cluster of processes on this machine
python benchmarks/scale.py --sizes 1000000       one size; what was measured before of others stays
python benchmarks/scale.py --sail                on a Sail server instead

Run it with a Python that has PySpark (or Sail). Every run is a process of its own, whose memory and whose cluster's memory
are looked at twice a second. Up to a million accounts the case is held against that of the embedded engine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from threading import Event, Thread
from time import perf_counter
from typing import Any

import hydragraph as hg
from hydragraph.schema import OUTPUT
from speed_runs import ROOT, SEED, exponent
from writing import Say, clocked

sys.path.insert(0, str(ROOT / "tests" / "engines"))
import servers  # the cluster of the tests

DOCUMENT = ROOT / "docs" / "scale.md"
SIZES = (1_000_000, 2_000_000, 4_000_000, 8_000_000)
PART = 1_000_000
PER_ACCOUNT = 4
TABLES = ("accounts", "api_keys", "payments", "links", "events")
HELD = 1_000_000
LAST = "clusters, groups, signals, case and report, in one task"
_GIB = 2**30


@dataclass(frozen=True)
class Ran:
    """One analysis. seconds: from start to end; stages: seconds of each. driver, executors: largest resident bytes of the
    process with its Java machine, and of all executors and their Python workers together; last: the same while the last task
    ran. shuffled: bytes written for shuffles, where Spark's event log tells. same: whether the case equals the embedded
    engine's, None: not looked at."""

    accounts: int
    events: int
    seconds: float
    stages: dict[str, float]
    driver: int
    executors: int
    last: int
    shuffled: int | None
    same: bool | None


def world(accounts: int, events: bool, folder: Path, say: Say) -> Path:
    """A source of so many accounts: worlds of a million (or of all, if fewer) side by side, each made once; a world of eight
    million at once would need more memory than the machine has. events: with four requests an account."""
    each = min(accounts, PART)
    path = folder / f"{accounts}{'' if events else '-without-events'}"
    if path.exists():
        return path
    building = folder / "building"
    shutil.rmtree(building, ignore_errors=True)
    for seed in range(SEED, SEED + accounts // each):
        part = folder / "parts" / f"{each}-{seed}"
        if not (part / "world.json").exists():
            say(f"making a world of {each:,} accounts")
            wanted = [f"--accounts={each}", f"--events={PER_ACCOUNT * each}", f"--seed={seed}", "--force", "--quiet"]
            subprocess.run([sys.executable, "-m", "hydragraph_cli", "simulate", str(part), *wanted], check=True)
        for table in TABLES if events else TABLES[:-1]:
            (building / table).mkdir(parents=True, exist_ok=True)
            for file in [*part.glob(f"{table}.parquet"), *part.glob(f"{table}/*.parquet")]:
                (building / table / f"{seed}-{file.name}").hardlink_to(file)
    return building.rename(path)


@contextmanager
def on_cluster(memory: str) -> Iterator[tuple[list[str], dict[str, str], Callable[[], list[int]], Path | None]]:
    """A standalone master and two workers of one core: options of analyze, environment, root processes, event logs."""
    java = servers.java_home()
    if java is None:
        raise SystemExit(servers.NO_JAVA)
    with servers.cluster(java) as found:
        for name in ("one", "two"):
            found.add(name, memory)
        logs = found.home / "events"
        logs.mkdir()
        options = (
            "spark.ui.enabled=false",
            "spark.eventLog.enabled=true",
            "spark.eventLog.compress=false",
            f"spark.eventLog.dir={logs.as_uri()}",
            f"spark.executor.memory={memory}",
            "spark.sql.shuffle.partitions=16",
        )
        given = servers.quiet(java, *options)
        yield ["--master", found.address], given, lambda: [w.pid for w in found.workers.values()], logs


@contextmanager
def on_sail(_: str) -> Iterator[tuple[list[str], dict[str, str], Callable[[], list[int]], Path | None]]:
    """A Sail server: one process is all executors."""
    with servers.sail() as address:
        port = address.rpartition(":")[2]
        yield ["--remote", address], {}, lambda: _with_word(f"--port\0{port}"), None


def run(source: Path, accounts: int, out: Path, where: Any, say: Say) -> Ran:
    """Analyse a world, and look at the memory of all who take part."""
    options, environment, roots, logs = where
    say(f"analyze on {accounts:,} accounts")
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "hydragraph_cli", "analyze", str(source), "-o", str(out), "--engine", "spark"]
    start = perf_counter()
    child = subprocess.Popen([*command, *options, "--verbose"], env=os.environ | environment, stderr=subprocess.PIPE)
    peaks, over, done = {"driver": 0, "executors": 0, "last": 0}, Event(), Event()

    def watch() -> None:
        while not done.wait(0.5):
            held = _resident()
            executors = sum(held[p] for root in roots() for p in _below(root) if p in held)
            driver = sum(held[p] for p in _below(child.pid) if p in held)
            peaks["driver"] = max(peaks["driver"], driver)
            peaks["executors"] = max(peaks["executors"], executors)
            if over.is_set():
                peaks["last"] = max(peaks["last"], executors)

    watcher = Thread(target=watch)
    watcher.start()
    said = []
    for line in child.stderr or ():
        said.append(line.decode("utf-8", "replace").rstrip())
        if LAST in said[-1]:
            over.set()
    code = child.wait()
    done.set()
    watcher.join()
    seconds = perf_counter() - start
    if code:
        raise SystemExit(f"analyze returned {code}: {said[-1] if said else ''}")
    case = hg.open_case(out)
    stages = {stage["name"]: stage["seconds"] for stage in case.manifest["stages"]}
    events = case.manifest["rows"].get("events", {"read": 0})["read"]
    same = _same(case, source, out) if accounts <= HELD else None
    driver, executors = (f"{name} {peaks[name] / _GIB:.2f} GiB" for name in ("driver", "executors"))
    say(f"{seconds:,.0f} s, {driver}, {executors}, same: {same}")
    shuffled = None if logs is None else _shuffled(logs)
    return Ran(accounts, events, seconds, stages, peaks["driver"], peaks["executors"], peaks["last"], shuffled, same)


def _same(case: hg.Case, source: Path, out: Path) -> bool:
    other = out.with_name(f"{out.name}-embedded")
    shutil.rmtree(other, ignore_errors=True)
    embedded = hg.analyze(source, other)
    return all(case.table(name).equals(embedded.table(name)) for name in OUTPUT)


def _resident() -> dict[int, int]:
    """Resident bytes of every process."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/statm"):
        try:
            found[int(status.parent.name)] = int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            continue
    return found


def _below(root: int) -> set[int]:
    """A process and all that it and they have started."""
    above: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        above.setdefault(parent, []).append(int(stat.parent.name))
    found, new = {root}, [root]
    while new:
        new = [child for one in new for child in above.get(one, []) if child not in found]
        found.update(new)
    return found


def _with_word(word: str) -> list[int]:
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word in line.read_text():
                found.append(int(line.parent.name))
        except OSError:
            continue
    return found


def _shuffled(logs: Path) -> int:
    """Bytes that the tasks of the newest application wrote for shuffles."""
    newest = max((p for p in logs.rglob("*") if p.is_file()), key=lambda p: p.stat().st_mtime_ns)
    files = sorted(newest.parent.glob("events_*")) if newest.parent != logs else [newest]
    total = 0
    for file in files:
        for line in file.open():
            if '"SparkListenerTaskEnd"' in line:
                metrics = json.loads(line).get("Task Metrics") or {}
                total += metrics.get("Shuffle Write Metrics", {}).get("Shuffle Bytes Written", 0)
    return total


def section(runs: Sequence[Ran], engine: str, command: str) -> str:
    """The measured part of the document."""
    steps = [name for name in runs[0].stages if name in ("session", "read", "evidence", "ties", "pieces", "rewired")]
    rest = [sum(s for n, s in r.stages.items() if n not in steps) for r in runs]
    head = [
        "accounts",
        "events",
        "seconds",
        *steps,
        "last task",
        "driver",
        "executors",
        "last task's memory",
        "shuffled",
        "as embedded",
    ]
    rows = []
    for r, last in zip(runs, rest, strict=True):
        same = {None: "not held against it", True: "every table", False: "NO"}[r.same]
        rows.append([
            f"{r.accounts:,}", f"{r.events:,}", f"{r.seconds:,.0f}", *(f"{r.stages[s]:,.0f}" for s in steps), f"{last:,.0f}",
            f"{r.driver / _GIB:.2f} GiB", f"{r.executors / _GIB:.2f} GiB", f"{r.last / _GIB:.2f} GiB",
            "-" if r.shuffled is None else f"{r.shuffled / _GIB:.2f} GiB", same,
        ])  # fmt: skip
    sizes = [r.accounts for r in runs]

    def grows(of: Callable[[Ran], float]) -> str:
        found = exponent(sizes, [of(r) for r in runs])
        return "-" if found is None else f"{found:.2f}"

    lines = [
        f"Made by `{command}` on {engine}; no figure of this part is typed. One machine with {os.cpu_count()} cores;"
        " worlds of `hydragraph simulate` of a million accounts side by side,"
        f" {'with four requests an account' if runs[0].events else 'without requests'}. Memory is the largest sum of"
        " resident sizes, seen twice a second: of the driver with its Java machine, and of all executors with their Python"
        " workers.",
        "",
        f"| {' | '.join(head)} |",
        f"|{' --- |' * len(head)}",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        f"As accounts grow, seconds grow with the power {grows(lambda r: r.seconds)}, the driver's memory with the power"
        f" {grows(lambda r: r.driver)}, that of the executors with {grows(lambda r: r.executors)}, that of the last task"
        f" with {grows(lambda r: r.last)}.",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options, measure, write. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="scale.py", description="Measure the Spark engine as the data grows.")
    numbers = partial(lambda text: tuple(int(n) for n in text.split(",")))
    parser.add_argument(
        "--sizes", type=numbers, default=SIZES, metavar="A,B", help="accounts; default 1, 2, 4, 8 million"
    )
    parser.add_argument(
        "--worlds", type=Path, default=ROOT / "out" / "bench-scale", metavar="FOLDER", help="kept worlds"
    )
    parser.add_argument("--memory", default="2g", help="of the Java machine of each executor; default 2g")
    parser.add_argument("--without-events", action="store_true", help="accounts, keys, payments and links only")
    parser.add_argument("--sail", action="store_true", help="on a Sail server")
    given = parser.parse_args(arguments)
    say = clocked()
    given.worlds.mkdir(parents=True, exist_ok=True)
    worlds = [(size, world(size, not given.without_events, given.worlds, say)) for size in sorted(given.sizes)]
    name = ("sail" if given.sail else "cluster") + "-without-events" * given.without_events
    for size, source in worlds:
        with (on_sail if given.sail else on_cluster)(given.memory) as where:
            ran = run(source, size, given.worlds / "case", where, say)
        (given.worlds / f"ran-{name}-{size}.json").write_text(json.dumps(asdict(ran)), "utf-8")
    # a run of hours may be done size by size
    kept = [json.loads(file.read_text("utf-8")) for file in given.worlds.glob(f"ran-{name}-[0-9]*.json")]
    runs = sorted((Ran(**one) for one in kept), key=lambda ran: ran.accounts)
    engine = "Sail" if given.sail else "a standalone Spark cluster of a master and two workers of one core"
    command = "make bench-scale" + " SAIL=1" * given.sail + " WITHOUT_EVENTS=1" * given.without_events
    found = section(runs, engine, command)
    print(found)
    place = f"<!-- measured, {name}: begin -->"
    text = DOCUMENT.read_text("utf-8")
    if place in text:
        start, end = text.index(place) + len(place), text.index(place.replace("begin", "end"))
        DOCUMENT.write_text(f"{text[:start]}\n{found}\n{text[end:]}", "utf-8")
    return 0 if all(r.same is not False for r in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
