"""The document about performance, made from what was measured: every figure and every sentence that depends on one."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import hydragraph as hg
from quality_words import markdown
from speed_runs import FORMATS, PER_ACCOUNT, Measured, exponent

PEERS = {
    "pandas_louvain": "pandas, networkx Louvain",
    "polars_leiden": "polars, igraph Leiden",
    "duckdb_sknetwork": "DuckDB, scikit-network Louvain",
}
"""What is held against `analyze`: links, pairs and communities only, without times, chance, assessment, case and report."""

MOST_TIMES, MOST_MEMORY, MOST_SLOWER = 2.0, 3 * 2**30, 3.0
"""Targets: times the floor and bytes, both for TARGET_EVENTS, and times Parquet for the slowest format."""

TARGET_EVENTS = 16_000_000

_PACKAGES = ("polars", "numpy", "scipy", "duckdb", "networkx", "pandas", "igraph", "scikit-network")
_GIB = 2**30


@dataclass(frozen=True)
class Results:
    """All that the document is made of: `analyze` and the floor by size, `analyze` by format, and the peers by size."""

    command: str
    runs: Sequence[Measured]
    floors: Sequence[Measured]
    formats: Mapping[str, Measured]
    peers: Mapping[str, Sequence[Measured]]


def document(results: Results, figures: str) -> str:
    """The whole document. figures: the folder of the pictures, as links in it begin."""
    parts = [
        "# Performance",
        _made(results),
        "## Against the floor",
        _floor(results),
        "## Stage by stage",
        _stages(results),
        "## Growth",
        _growth(results, figures),
        "## Formats",
        _formats(results),
        "## Peers",
        _peers(results),
        "## How often the input is read",
        _passes(results),
        "## Limits",
        _limits(results),
    ]
    return "\n\n".join(parts) + "\n"


def _made(results: Results) -> str:
    known = [f"{name} {found}" for name in _PACKAGES if (found := _version(name))]
    sizes = ", ".join(f"{run.events:,}" for run in results.runs)
    return (
        f"Made by `{results.command}`; no figure here is typed. hydragraph {hg.__version__}, Python"
        f" {platform.python_version()}, {', '.join(known)}; {os.cpu_count()} cores, {_memory()} of memory.\n\n"
        f"Events measured: {sizes}; one account for {PER_ACCOUNT} events. No other size was run for this page; `make bench"
        " SIZES=1000000,4000000,16000000,64000000` runs 64 million events and 4 million accounts, too. The worlds are made"
        " by `hydragraph simulate`. Every job runs in a process of its own; seconds are from its start to its end, imports"
        " included. Processor seconds are those of all threads, in user and system mode: they change less than seconds"
        " when other programs keep the machine busy, and ratios are given in both."
    )


def _floor(results: Results) -> str:
    lines = []
    for run, floor in zip(results.runs, results.floors, strict=True):
        lines.append([f"{run.events:,}", *_figures(floor), *_figures(run), *_ratios(run, floor)])
    head = [
        "events", "DuckDB: seconds", "processor", "peak", "analyze: seconds", "processor", "peak", "times the seconds",
        "times the processor",
    ]  # fmt: skip
    said = (
        "The floor is what DuckDB alone needs to read the Parquet files and to sum every row up to links of account and"
        " identifier, in memory. The first two steps of `analyze` do the same, and moreover check every value, read"
        " addresses as ranges, count requests by time and put everything into an order that does not depend on the order of"
        " the rows."
    )
    return f"{said}\n\n{markdown(head, lines)}\n\n{_targets(results)}"


def _targets(results: Results) -> str:
    # at the size they are set for, or else the largest
    at = next((i for i, run in enumerate(results.runs) if run.events == TARGET_EVENTS), -1)
    run, floor = results.runs[at], results.floors[at]
    if run.failed or floor.failed:
        return f"At {run.events:,} events there is no figure: {run.failed or floor.failed}."
    times, memory = run.seconds / floor.seconds, run.peak / _GIB
    stages = sorted(run.said["stages"], key=lambda s: -s["processor"])[:3]
    total = sum(s["processor"] for s in run.said["stages"])
    most = ", ".join(f"{s['name']} {s['processor'] / total:.0%}" for s in stages)
    first = (
        f"The target of {MOST_TIMES:g} times the floor is {'met' if times <= MOST_TIMES else 'missed'} at"
        f" {run.events:,} events: {times:.1f} times in seconds, {run.processor / floor.processor:.1f} times in processor"
        f" seconds. Most of it goes to {most}."
    )
    reading = sum(s["processor"] for s in run.said["stages"] if s["name"] in ("read", "links"))
    first += (
        f" The steps with a counterpart in the floor, `read` and `links`, take {reading / floor.processor:.1f} times its"
        f" processor seconds; the others, which have none, {(run.processor - reading) / floor.processor:.1f} times."
    )
    second = (
        f" The target of {MOST_MEMORY / _GIB:g} GiB at the peak is {'met' if run.peak <= MOST_MEMORY else 'missed'}:"
        f" {memory:.2f} GiB."
    )
    return first + second


def _stages(results: Results) -> str:
    done = [run for run in results.runs if not run.failed]
    names = [s["name"] for s in done[0].said["stages"]] if done else []
    grown = _exponents(done) if done else {}
    lines = []
    for name in names:
        of = [next(s for s in run.said["stages"] if s["name"] == name) for run in done]
        growth = grown.get(name)
        cells = [f"{s['seconds']:.1f} / {s['processor']:.1f} / {s['peak'] / _GIB:.2f}" for s in of]
        lines.append([name, *cells, "-" if growth is None else f"{growth:.2f}"])
    head = ["stage", *(f"{run.events:,} events" for run in done), "exponent"]
    said = (
        "Seconds, processor seconds and peak memory in GiB of each stage. `chance` shuffles the graph on the second core"
        " from the stage `activity` on, so that its processor seconds stand with the stages that run meanwhile. Exponent:"
        " the b of processor seconds = a * events^b, where the smallest size takes a twentieth of a second."
    )
    counted = [
        [f"{run.events:,}", f"{run.said['accounts']:,}", f"{run.said['pairs_formed']:,}", f"{run.said['ties']:,}",
         f"{run.said['clusters']:,}"]
        for run in done
    ]  # fmt: skip
    work = markdown(["events", "accounts", "pairs formed", "ties", "clusters"], counted)
    return f"{said}\n\n{markdown(head, lines)}\n\nThe work that was done does not depend on the machine:\n\n{work}"


def _growth(results: Results, figures: str) -> str:
    done = [run for run in results.runs if not run.failed]
    grown = {
        "seconds": exponent([r.events for r in done], [r.seconds for r in done]),
        "processor seconds": exponent([r.events for r in done], [r.processor for r in done]),
        "peak memory": exponent([r.events for r in done], [float(r.peak) for r in done]),
    }
    if None in grown.values():
        return "One size was measured: there is no growth to fit."
    said = ", ".join(f"{name} {value:.2f}" for name, value in grown.items())
    steep = [name for name, value in _exponents(done).items() if value > 1.5]
    worst = f"Steeper than events^1.5 grow: {', '.join(steep)}." if steep else "No stage grows as fast as events^1.5."
    return (
        f"Fitted exponents of the whole: {said}. {worst} Where one is below 1, the fixed cost of starting weighs at the"
        f" smallest size.\n\n![Processor seconds of each stage and peak memory by events, both axes"
        f" logarithmic]({figures}/performance-growth.png)"
    )


def _exponents(done: Sequence[Measured]) -> dict[str, float]:
    """Of the processor seconds of each stage that takes long enough for one at every size."""
    found = {}
    for s in done[-1].said["stages"]:
        values = [next(t["processor"] for t in run.said["stages"] if t["name"] == s["name"]) for run in done]
        if min(values) > 0.05 and (b := exponent([run.events for run in done], values)) is not None:
            found[s["name"]] = b
    return found


def _formats(results: Results) -> str:
    base = results.formats["parquet"]
    lines = []
    for suffix, run in results.formats.items():
        ratios = ["-", "-"] if run.failed or base.failed else list(_ratios(run, base))
        lines.append([FORMATS[suffix], *_figures(run), *ratios])
    slowest = max((r.seconds / base.seconds for r in results.formats.values() if not r.failed), default=0.0)
    head = ["format", "seconds", "processor", "peak", "times the seconds of Parquet", "times the processor"]
    met = "met" if slowest <= MOST_SLOWER else "missed"
    return (
        f"The whole of `analyze` on the same {base.events:,} events.\n\n{markdown(head, lines)}\n\nThe target of at most"
        f" {MOST_SLOWER:g} times Parquet is {met}: {slowest:.1f} times."
    )


def _peers(results: Results) -> str:
    by_size = {run.events: run for run in results.runs}
    lines, missing = [], []
    for name, runs in results.peers.items():
        for run in runs:
            ours = by_size[run.events]
            if run.failed:
                missing.append(f"{PEERS[name]} at {run.events:,} events: {run.failed}.")
            else:
                found = f"{run.said['clusters']:,}"
                lines.append([PEERS[name], f"{run.events:,}", *_figures(run), *_ratios(ours, run), found])
    head = [
        "peer", "events", "seconds", "processor", "peak", "analyze: times the seconds", "times the processor",
        "communities of the peer",
    ]  # fmt: skip
    said = (
        "What one would write instead, in the same run: links, pairs of accounts by shared identifiers of at most 100"
        " accounts (scikit-network: the bipartite graph), and communities. None of them looks at times, holds what it finds"
        " against chance, assesses it or writes a case and a report; what they find is in [quality](quality.md). A peer goes"
        " on to the next size when it took less than a tenth of the time a job is allowed. igraph is under the GPL and no"
        " dependency of hydragraph: it is measured where somebody installed it."
    )
    table = f"\n\n{markdown(head, lines)}" if lines else ""
    return said + table + (f"\n\nNot measured: {' '.join(missing)}" if missing else "")


def _passes(results: Results) -> str:
    run = results.runs[-1]
    if run.failed:
        return f"Nothing was counted: {run.failed}."
    lines = [[t, f"{run.said['rows'][t]:,}", str(n["checks"]), str(n["links"])] for t, n in run.said["passes"].items()]
    return (
        "The rows of each table are read at least twice: what is wrong with a table must be known before anything is made of"
        " it, because a table with too many unreadable rows, or with card numbers, is refused whole; and rows are not kept,"
        " because they need not fit memory. Checks take one pass over all columns, a second one over those columns in which"
        " something looked doubtful, and a third one over a column with texts that have the shape of card numbers. `links`"
        " is read once more for its kinds; each pass is a batch at a time. The tests count the passes, too.\n\n"
        + markdown(["rows of", "rows", "passes of the checks, at most", "passes for the links"], lines)
    )


def _limits(results: Results) -> str:
    run = results.runs[-1]
    done = [r for r in results.runs if not r.failed]
    held = ""
    if done:
        most = done[-1]
        links = most.peak / most.said["accounts"]
        held = (
            f" At {most.events:,} events and {most.said['accounts']:,} accounts the peak was {most.peak / _GIB:.2f} GiB,"
            f" {links / 1024:.1f} KiB an account."
        )
    return (
        "- Memory follows links and 5-minute slots with a request, and not rows: a source much larger than memory is read"
        " in batches, and a test reads one in a limited address space. What must fit memory is one entry for each account"
        f" and identifier that go together, and one for each account and slot.{held}\n"
        "- At most 60 kinds of identifier; at most 2^32 accounts and as many identifiers of one kind.\n"
        "- Pairs are formed within a budget of 8 for each account; identifiers with more than 512 accounts form none.\n"
        "- Text files (CSV, NDJSON) that polars cannot be trusted with are read row by row into temporary files of about"
        " their size.\n"
        f"- Not measured here: more than {run.events:,} events, other machines, network storage."
    )


def _figures(run: Measured) -> tuple[str, str, str]:
    if run.failed:
        return run.failed, "-", "-"
    return f"{run.seconds:.1f}", f"{run.processor:.1f}", f"{run.peak / _GIB:.2f} GiB"


def _ratios(run: Measured, base: Measured) -> tuple[str, str]:
    if run.failed or base.failed:
        return "-", "-"
    return f"{run.seconds / base.seconds:.1f}", f"{run.processor / base.processor:.1f}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / _GIB:.0f} GiB"


def draw(results: Results, folder: Path) -> list[Path]:
    """Write the picture of growth into `folder`; returns its path, none when one size was measured."""
    from hydragraph.report.figures import save_figure

    done = [run for run in results.runs if not run.failed]
    if len(done) < 2:
        return []
    return [save_figure(_growth_figure(done, results.floors), folder / "performance-growth.png")]


def _growth_figure(done: Sequence[Measured], floors: Sequence[Measured]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), dpi=110, facecolor="white", layout="constrained")
    time, memory = figure.subplots(1, 2)
    sizes = [run.events for run in done]
    largest = sorted(done[-1].said["stages"], key=lambda s: -s["processor"])[:8]
    for name in (s["name"] for s in largest):
        values = [next(s["processor"] for s in run.said["stages"] if s["name"] == name) for run in done]
        time.plot(sizes, [max(v, 0.01) for v in values], marker="o", markersize=4, label=name)
    time.plot(sizes, [run.processor for run in done], color="black", marker="s", markersize=5, label="whole")
    known = [f for f in floors if not f.failed]
    time.plot([f.events for f in known], [f.processor for f in known], color="black", linestyle=":", label="DuckDB")
    memory.plot(sizes, [run.peak / _GIB for run in done], color="#0b6e99", marker="o", label="analyze")
    memory.plot([f.events for f in known], [f.peak / _GIB for f in known], color="black", linestyle=":", label="DuckDB")
    for axes, what in ((time, "processor seconds"), (memory, "peak memory, GiB")):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("events")
        axes.set_ylabel(what)
        axes.grid(color="#dcdad5", linewidth=0.7)
        axes.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure
