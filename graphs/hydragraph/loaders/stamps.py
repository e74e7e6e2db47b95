"""Whether files changed while they were read: their size, their time of change and which file it is, before and after."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from hydragraph.errors import InputRefused
from hydragraph.loaders.files import Feed, File

Stamps = Mapping[File, tuple[int, ...]]


def stamps_of(feeds: Iterable[Feed]) -> Stamps:
    """The stamp of each file, and of the database file of each query."""
    files = [file for feed in feeds for file in feed.files]
    files += [File(q.name, q.file, "parquet") for feed in feeds if (q := feed.query) is not None and q.file is not None]
    return {file: _stamp(file.path) for file in files}


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        state = path.stat()
    except OSError:
        return ()
    # the last is the system's own: nobody can set it back
    return state.st_size, state.st_mtime_ns, state.st_ino, state.st_dev, state.st_ctime_ns


def refuse_changed(stamps: Stamps) -> None:
    """Raise InputRefused if a file is not what it was."""
    changed = sorted(file.name for file, stamp in stamps.items() if _stamp(file.path) != stamp)
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise InputRefused(f"{changed[0]}{more} changed while being read; run again when nothing writes to the source")


@contextmanager
def unchanged(stamps: Stamps) -> Iterator[None]:
    """Raise InputRefused if a file changes meanwhile, in place of what reading it may run into because of that; and if
    polars gives up on the rows of a file, which is damaged then in a place where nobody looked before."""
    try:
        yield
    except (pl.exceptions.ComputeError, pl.exceptions.PanicException):
        refuse_changed(stamps)
        raise InputRefused("a file of the source cannot be read to its end; it is damaged: export it again") from None
    except (pl.exceptions.PolarsError, OSError):
        refuse_changed(stamps)
        raise
    refuse_changed(stamps)
