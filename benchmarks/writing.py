"""What the benchmarks say while they measure, and how they write what was measured."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from hydragraph.report.files import write_whole

Say = Callable[[str], None]


def clocked() -> Say:
    """Prints what it is told to stderr, with the seconds since now."""
    start = perf_counter()

    def say(text: str) -> None:
        print(f"[{perf_counter() - start:6.0f} s] {text}", file=sys.stderr, flush=True)

    return say


def write_document(out: Path, document: Callable[[str], str], draw: Callable[[Path], object], say: Say) -> None:
    """Write a document and, in the folder figures beside it, its figures. document: the text, given where these are."""
    figures = out.parent / "figures"
    draw(figures)
    write_whole(out, document(os.path.relpath(figures, out.parent)).encode("utf-8"))
    say(f"written: {out}")
