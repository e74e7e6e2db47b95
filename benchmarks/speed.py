"""Measures time, memory and growth of `analyze`, and writes docs/performance.md: `make bench`.

python benchmarks/speed.py                          1, 4 and 16 million events, formats and peers
python benchmarks/speed.py --sizes 1000000,64000000 other sizes; 64 million events take 4 million accounts and much memory
python benchmarks/speed.py --quick                  two small worlds, into out/: does the command work?

Every job runs in a process of its own. Worlds are kept under out/bench, so that a second run need not make them again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from speed_document import PEERS, Results, document, draw
from speed_runs import FORMATS, ROOT, in_format, measured, world
from writing import Say, clocked, write_document

DOCUMENT = ROOT / "docs" / "performance.md"
SIZES = (1_000_000, 4_000_000, 16_000_000)
QUICK = (32_000, 64_000)
LIMIT = 900.0
"""Seconds after which a job is stopped."""


def gather(sizes: Sequence[int], folder: Path, command: str, limit: float, say: Say) -> Results:
    """Measure everything that is wanted. Formats and peers on the smallest world; whoever is quick enough goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    runs, floors, formats = [], [], {}
    peers = {name: [] for name in PEERS}
    going_on = set(PEERS)
    for size in sorted(sizes):
        source, out = world(size, folder, say), folder / "case"
        floors.append(measured("floor", source, size, out, say, limit))
        runs.append(measured("hydragraph", source, size, out, say, limit))
        for name in [n for n in PEERS if n in going_on]:
            peers[name].append(measured(name, source, size, out, say, limit))
            if peers[name][-1].failed or peers[name][-1].seconds > limit / 10:
                going_on.discard(name)
        if size == min(sizes):
            for suffix in FORMATS:
                formats[suffix] = measured("hydragraph", in_format(source, suffix, folder), size, out, say, limit)
    return Results(command, runs, floors, formats, peers)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options, measure, write. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="speed.py", description="Measure time, memory and growth of analyze.")
    numbers = partial(lambda text: tuple(int(n) for n in text.split(",")))
    parser.add_argument("--quick", action="store_true", help="two small worlds, into out/")
    parser.add_argument(
        "--sizes", type=numbers, default=None, metavar="A,B", help="events; default 1, 4 and 16 million"
    )
    parser.add_argument(
        "--limit", type=float, default=LIMIT, metavar="SECONDS", help="stop a job after it; default 900"
    )
    parser.add_argument(
        "--worlds", type=Path, default=ROOT / "out" / "bench", metavar="FOLDER", help="where worlds are kept"
    )
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="default docs/performance.md")
    given = parser.parse_args(arguments)
    sizes = given.sizes or (QUICK if given.quick else SIZES)
    whole = set(SIZES) <= set(sizes)
    out = given.out or (DOCUMENT if whole else ROOT / "out" / "performance.md")
    if out.resolve().is_relative_to(DOCUMENT.parent) and not whole:
        print("speed.py: docs/ takes the whole measurement only; name another file with --out", file=sys.stderr)
        return 2
    say = clocked()
    command = "make bench" if set(sizes) == set(SIZES) else f"make bench SIZES={','.join(map(str, sizes))}"
    results = gather(sizes, given.worlds, command, given.limit, say)
    write_document(out, partial(document, results), partial(draw, results), say)
    return 0


if __name__ == "__main__":
    sys.exit(main())
