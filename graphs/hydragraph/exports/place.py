"""Where an export goes: written beside its place, then moved there in one step."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydragraph.errors import CaseExists


@contextmanager
def whole(path: Path, *, files: tuple[str, ...] = (), force: bool = False) -> Iterator[Path]:
    """A place to write to that becomes `path` when the block ends without an error, and vanishes when it does not.

    files: names of the files that make up the export if it is a folder; empty if it is one file. The folder is there
    already when the block starts. Raises CaseExists if `path` is taken and may not be replaced.
    """
    path = path.absolute()
    _refuse_to_replace(path, files, force=force)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A folder of its own, so that the export inside gets the permissions of an ordinary new file.
    beside = Path(tempfile.mkdtemp(prefix=".hydragraph-export-", dir=path.parent))
    try:
        new, old = beside / "new", beside / "old"
        if files:
            new.mkdir()
        yield new
        _refuse_to_replace(path, files, force=force)  # again: something may have come meanwhile
        if not files or not path.exists():
            new.replace(path)
        else:
            path.replace(old)  # a folder that holds files cannot be replaced in one step
            try:
                new.replace(path)
            except OSError:
                old.replace(path)
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


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
