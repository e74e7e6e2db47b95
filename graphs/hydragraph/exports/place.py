"""Where an export goes: written beside its place, then moved there in one step."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydragraph.errors import CaseExists
from hydragraph.unfinished import beside, saying_what_to_do, take_back, take_place

_BUILDING = "hydragraph-export"


@contextmanager
def whole(path: Path, *, files: tuple[str, ...] = (), force: bool = False) -> Iterator[Path]:
    """A place to write to that becomes `path` when the block ends without an error, and vanishes when it does not.

    files: names of the files that make up the export if it is a folder; empty if it is one file. The folder is there
    already when the block starts. Raises CaseExists if `path` is taken and may not be replaced, NotWritable if there is no
    room or no permission.
    """
    path = path.absolute()
    _refuse_to_replace(path, files, force=force)
    with saying_what_to_do(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        take_back(path, _BUILDING)
        new = beside(path, _BUILDING)
        try:
            if files:
                new.mkdir()
            yield new
            _refuse_to_replace(path, files, force=force)  # again: something may have come meanwhile
            take_place(new, path)
        finally:
            if new.is_dir():
                shutil.rmtree(new, ignore_errors=True)
            else:
                new.unlink(missing_ok=True)


def _refuse_to_replace(path: Path, files: tuple[str, ...], *, force: bool) -> None:
    if not os.path.lexists(path):
        return
    if not files and path.is_dir() and not path.is_symlink():
        raise CaseExists("the output is an existing folder, but this format is one file; name a file")
    if files and (path.is_symlink() or not path.is_dir()):
        raise CaseExists("the output is an existing file, but this format is a folder; choose another name")
    held = {p.name for p in path.iterdir()} if files else {path.name}
    if files and not held <= set(files):
        raise CaseExists("the output folder holds other files than an export; choose another folder")
    if held and not force:
        raise CaseExists("an output of this name is there already; choose another or replace it with --force")
