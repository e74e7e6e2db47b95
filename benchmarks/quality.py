"""Measures detection on worlds whose truth is known, and writes docs/quality.md: `make bench-quality`.

python benchmarks/quality.py                        all of it: about half an hour on two cores
python benchmarks/quality.py --quick                60,000 accounts, one seed for tuning, no curves, into out/
python benchmarks/quality.py --sizes 60000 --seeds 3 --out out/try.md
python benchmarks/quality.py --others folder        also the worlds of other makers: folder/MAKER/WORLD, as a source, and
                                                    folder/MAKER/WORLD.truth.parquet
python benchmarks/quality.py --real folder          also real tables: folder/SOURCE, with truth.csv in it if there are labels

What was measured is kept under out/bench-quality, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from quality_document import REPORTED_FROM, Curve, Results, Row, document, draw
from quality_follow import followed
from quality_real import real_section
from quality_runs import (
    KEPT,
    ROOT,
    Run,
    World,
    code_digest,
    measured,
    measured_elsewhere,
    median_ring,
    peers_measured,
    pooled,
)
from writing import Say, clocked, write_document

DOCUMENT = ROOT / "docs" / "quality.md"
SEEDS = (1000, 1001, 1002)
QUICK_SEEDS = (0,)
"""--quick is for whoever changes detection: it must not show the worlds that are reported."""

SIZES = (6_000, 60_000, 1_000_000)
LARGE = 200_000
"""Worlds of more accounts are made of the first seed only, and not of the kinds NOT_LARGE."""

NOT_LARGE = ("well hidden", "half handed on")

KINDS = {
    "every tactic": {},
    "without templates": {"templates": False},
    "well hidden": {"scenario": "hard"},
    "half handed on": {"hand_on": 0.5},
    "no ring": {"scenario": "innocent"},
}

ABLATED = ("every tactic", "without templates", "no ring")
"""Kinds of worlds that are analysed again with one part taken out at a time: one seed, 60,000 accounts or nearest."""

CURVE_ACCOUNTS = 20_000
CURVES: dict[str, tuple[str, tuple[float, ...]]] = {
    "camouflage": ("share of bursts through carriers and VPN exits", (0.0, 0.2, 0.4, 0.6, 0.8, 0.95)),
    "jitter": ("hours by which simultaneous work strays", (0.0, 0.25, 1.0, 4.0, 12.0, 48.0)),
    "ring_size": ("median accounts of a ring", (3.0, 5.0, 8.0, 12.0, 20.0, 40.0, 100.0)),
}

MODES = tuple((mode, amount) for mode in ("random", "biased", "hijacked") for amount in (0.25, 0.5, 1.0))
"""FRAUDAR's three ways to hide: further requests per request of a ring account, or accounts taken over per account."""

WITHOUT_RING = 10
"""Worlds without a ring are as many, of the first seed and those that follow it, unless they are large."""


def gather(
    sizes: Sequence[int], seeds: Sequence[int], curves: bool, command: str, say: Say, others: Path | None = None
) -> Results:
    """Measure everything that is wanted; the largest worlds come last."""
    rows: list[Row] = []
    peers = []
    near = min(sizes, key=lambda size: abs(size - 60_000))
    turned = [*(_curve(name, seeds, say) for name in CURVES), _modes(seeds, say)] if curves else []
    for size in sorted(sizes):
        used = seeds[:1] if size > LARGE else seeds
        for kind, given in KINDS.items():
            if (size > LARGE and kind in NOT_LARGE) or (size < min(60_000, max(sizes)) and kind != "every tactic"):
                continue
            several = range(seeds[0], seeds[0] + WITHOUT_RING) if kind == "no ring" and size <= LARGE else used
            worlds = [World(accounts=size, seed=seed, **given) for seed in several]  # type: ignore[arg-type]
            first = worlds[0] if size == near and kind in ABLATED else None
            runs = [measured(world, say, ablated=world == first) for world in worlds]
            rows.append(Row(f"{size:,}, {kind}", runs, pooled(runs)))
            if kind == "every tactic":
                peers.append((rows[-1].title, runs, [peers_measured(run.world, say) for run in runs]))
    # the first row is what the pictures of the score show
    rows.sort(key=lambda row: row.runs[0].world.accounts != 60_000)
    then = followed(KEPT / f"follow-{code_digest()}", seeds, say) if curves else []
    return Results(command, rows, peers, turned, _elsewhere(others, say), then)


def _elsewhere(others: Path | None, say: Say) -> list[Row]:
    """A row for each maker of worlds in the folder."""
    rows = []
    for maker in sorted(path for path in others.iterdir() if path.is_dir()) if others else []:
        worlds = sorted(path for path in maker.iterdir() if path.is_dir())
        runs = [measured_elsewhere(maker.name, n, world, say, ablated=n == 0) for n, world in enumerate(worlds)]
        accounts = sum(run.world.accounts for run in runs)
        rows.append(Row(f"maker {maker.name}, {len(runs)} worlds, {accounts:,} accounts", runs, pooled(runs)))
    return rows


def _curve(name: str, seeds: Sequence[int], say: Say) -> Curve:
    meaning, values = CURVES[name]
    points: dict[str, list[Run]] = {}
    for value in values:
        worlds = (World(accounts=CURVE_ACCOUNTS, seed=seed, **{name: value}) for seed in seeds)  # type: ignore[arg-type]
        runs = [measured(world, say) for world in worlds]
        points[f"{median_ring(runs):g} ({value:g} asked for)" if name == "ring_size" else f"{value:g}"] = runs
    return Curve(name, meaning, points)


def _modes(seeds: Sequence[int], say: Say) -> Curve:
    points: dict[str, list[Run]] = {}
    for mode, amount in MODES:
        worlds = (World(accounts=CURVE_ACCOUNTS, seed=seed, added=(mode, amount)) for seed in seeds)
        points[f"{mode} {amount:g}"] = [measured(world, say) for world in worlds]
    return Curve("added", "camouflage added on top", points, drawn=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options, measure, write. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="quality.py", description="Measure detection on worlds whose truth is known.")
    numbers = partial(lambda text: tuple(int(n) for n in text.split(",")))
    parser.add_argument("--quick", action="store_true", help="60,000 accounts, one seed for tuning, no curves")
    parser.add_argument("--seeds", type=numbers, default=None, metavar="A,B", help="default 1000,1001,1002")
    parser.add_argument("--sizes", type=numbers, default=None, metavar="A,B", help="default 6000,60000,1000000")
    parser.add_argument("--no-curves", action="store_true", help="leave the curves out")
    parser.add_argument("--others", type=Path, default=None, metavar="FOLDER", help="worlds of other makers")
    parser.add_argument("--real", type=Path, default=None, metavar="FOLDER", help="real tables, a source each")
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="default docs/quality.md")
    given = parser.parse_args(arguments)
    seeds = given.seeds or (QUICK_SEEDS if given.quick else SEEDS)
    sizes = given.sizes or ((60_000,) if given.quick else SIZES)
    whole = (seeds, tuple(sorted(sizes)), given.quick or given.no_curves) == (SEEDS, SIZES, False)
    out = given.out or (DOCUMENT if whole else ROOT / "out" / "quality.md")
    if out.resolve().is_relative_to(DOCUMENT.parent) and (not whole or min(seeds) < REPORTED_FROM):
        print("quality.py: docs/ takes the whole measurement only; name another file with --out", file=sys.stderr)
        return 2
    say = clocked()
    folders = [f" {name}=FOLDER" for name, of in (("OTHERS", given.others), ("REAL", given.real)) if of]
    made = "".join(["make bench-quality", *folders])
    command = made if whole else f"python benchmarks/quality.py {' '.join(arguments or sys.argv[1:])}"
    results = gather(sizes, seeds, not (given.quick or given.no_curves), command.strip(), say, given.others)
    results = replace(results, real=real_section(given.real))
    write_document(out, partial(document, results), partial(draw, results), say)
    return 0


if __name__ == "__main__":
    sys.exit(main())
