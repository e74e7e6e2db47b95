"""What goes to stderr: sentences, and the progress of long work."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO

from hydragraph_cli.values import clean


def on_terminal(stream: IO[str] | None) -> bool:
    """Whether `stream` is a terminal that can move its cursor."""
    try:
        return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:  # closed
        return False


def discard(stream: IO[str] | None) -> None:
    """Point a stream that cannot be written nowhere, so that Python's own flush at exit does not fail once more."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # type: ignore[union-attr]
        os.close(nowhere)


@dataclass
class Talk:
    """How much is said on stderr: level 0 (--quiet) errors only, 1 what was done, 2 (--verbose) also each stage."""

    level: int = 1

    @property
    def verbose(self) -> bool:
        """Whether --verbose was given."""
        return self.level > 1

    def always(self, text: str) -> None:
        """Print `text`, made safe line by line. A stderr that is closed or full is no reason to stop the work."""
        safe = "\n".join(clean(line) for line in text.split("\n"))
        encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        try:
            sys.stderr.write(safe.encode(encoding, "backslashreplace").decode(encoding) + "\n")
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            discard(sys.stderr)

    def say(self, text: str) -> None:
        """Print `text` unless --quiet."""
        if self.level > 0:
            self.always(text)

    @contextmanager
    def progress(self) -> Iterator[Callable[[str], None]]:
        """A function to call with the name of each stage as it starts.

        On a terminal the running stage and its time are shown and wiped away at the end; elsewhere, and with --verbose,
        each stage is one line; without either, nothing is said.
        """
        if self.verbose:
            start = time.monotonic()
            yield lambda stage: self.always(f"[{time.monotonic() - start:7.1f} s] {stage}")
        elif self.level > 0 and on_terminal(sys.stderr):
            with _spinner() as started:
                yield started
        else:
            yield lambda stage: None


@contextmanager
def _spinner() -> Iterator[Callable[[str], None]]:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    console = Console(stderr=True, markup=False, highlight=False)
    with Progress(*columns, console=console, transient=True, refresh_per_second=5, redirect_stdout=False) as bar:
        running: list[int] = []

        def started(stage: str) -> None:
            for task in running:
                bar.remove_task(task)  # type: ignore[arg-type]
            running[:] = [bar.add_task(clean(stage), total=None)]

        yield started
