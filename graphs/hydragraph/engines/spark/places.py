"""Paths that executors reach: on a disk they share, or in an object store."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote

from hydragraph.case import MANIFEST, REPORT, Case, open_case
from hydragraph.constraints.tables import ALLOW_FILE, PAIRS_FILE
from hydragraph.decisions import FILE as DECISIONS
from hydragraph.errors import CaseExists, InputRefused, NotWritable
from hydragraph.schema import INPUT, OUTPUT
from hydragraph.unfinished import Temporary

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_SAME = {"s3a": "s3", "s3n": "s3", "abfs": "abfss"}
"""Schemes of Hadoop, and what Arrow calls them."""


def is_uri(place: str | Path) -> bool:
    """Whether a place is named by a scheme (`s3://bucket/case`), and is no path of this machine."""
    return isinstance(place, str) and "://" in place


def open_place(place: str | Path) -> tuple[FileSystem, str]:
    """The file system of a place, and its path there.

    Schemes: file, s3 (and s3a), gs, hdfs, abfss, with the credentials that Arrow finds in the environment. Raises
    InputRefused for another one.
    """
    from pyarrow.fs import FileSystem, LocalFileSystem

    if not is_uri(place):
        return LocalFileSystem(), str(Path(place).resolve())
    scheme, rest = str(place).split("://", 1)
    scheme = scheme.lower()
    try:
        system, path = FileSystem.from_uri(f"{_SAME.get(scheme, scheme)}://{rest}")
    except (OSError, ValueError):
        raise InputRefused(
            f"a place of the scheme {scheme!r} cannot be opened; file, s3, gs, hdfs and abfss can, with their credentials"
            " in the environment"
        ) from None
    return system, path


def files_in(place: str | Path) -> list[tuple[str, int, int]]:
    """Path, size in bytes and time of the last change in nanoseconds (0: not known) of each file below a place, sorted by
    path; of a file itself. Empty where there is nothing. Raises InputRefused if it cannot be looked at."""
    from pyarrow.fs import FileSelector, FileType

    try:
        system, path = open_place(place)
        (found,) = system.get_file_info([path])
        if found.type == FileType.NotFound:
            return []
        infos = [found] if found.is_file else system.get_file_info(FileSelector(path, recursive=True))
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else "its store does not answer as it should"
        raise InputRefused(f"{PurePosixPath(str(place)).name or place}: cannot be looked at ({why})") from None
    return sorted((info.path, info.size, info.mtime_ns or 0) for info in infos if info.is_file)


def stamps_in(place: str) -> list[tuple[str, int, int, int]]:
    """The same, and the time when the system last changed what it holds of a file, which nobody can set back (0: not known).
    What cannot be looked at is left out."""
    if is_uri(place):
        return [(*found, 0) for found in files_in(place)]
    below = [Path(here, name) for here, _, names in os.walk(place, followlinks=False) for name in names]
    found = []
    for path in (Path(place), *sorted(below)):
        with suppress(OSError):
            state = path.stat()
            if stat.S_ISREG(state.st_mode):
                found.append((str(path), state.st_size, state.st_mtime_ns, state.st_ctime_ns))
    return found


_ADDED = {DECISIONS, PAIRS_FILE, ALLOW_FILE}
_OF_CASES = {MANIFEST, REPORT, *(f"{name}.parquet" for name in OUTPUT)}
_OWN = {f"{name}.parquet" for name in OUTPUT if name not in INPUT}


def refuse_to_replace_there(place: str, *, force: bool) -> None:
    """Raise CaseExists unless nothing is at a place, or a case that may be replaced, and nothing else. What an analyst added
    to a case there is not carried along, so one that holds decisions or constraints may not."""
    names = set(_names_at(place))
    if not names:
        return
    if not (names & _OWN and names <= _OF_CASES | _ADDED):
        raise CaseExists("the output place holds other files than those of a case; choose another one")
    if MANIFEST not in names:
        raise CaseExists(
            f"the output place holds files of a case without {MANIFEST}, as one that was not copied whole leaves them;"
            " remove them, or choose another place"
        )
    if names & _ADDED:
        raise CaseExists("the case there holds decisions or constraints, which would be lost; choose another place")
    if not force:
        raise CaseExists("a case is there already; choose another place or replace it with --force")


def _names_at(place: str) -> dict[str, str]:
    """All files below a place: how they go on from there, and their paths."""
    _, path = open_place(place)
    return {found.removeprefix(path).lstrip("/"): found for found, _, _ in files_in(place)}


def where(place: str | Path) -> str:
    """A place as a text that begins with that of another place if it lies in it: a path without links, or a URI. Empty where
    there is none such; who reads it says what is wrong."""
    if not is_uri(place):
        try:
            return str(Path(place).resolve())
        except (OSError, RuntimeError, ValueError):
            return ""
    scheme, rest = str(place).split("://", 1)
    scheme = _SAME.get(scheme.lower(), scheme.lower())
    return where(unquote(f"/{rest.partition('/')[2]}")) if scheme == "file" else f"{scheme}://{rest.rstrip('/')}"


def put_case(folder: Path, place: str) -> None:
    """Copy a case to a place; the manifest last, so that its being there says that all the others are.

    What is there of an earlier case is removed before, its manifest first: no store renames a folder in one step. Raises
    NotWritable where that fails; without a manifest what is there is no case. Raises CaseExists where other files than those
    of a case have come there meanwhile; what a first try to copy this very case left is taken away. Not checked: whether
    another run writes there, too; nobody holds a place in a store.
    """
    from pyarrow.fs import LocalFileSystem, copy_files

    system, path = open_place(place)
    here = LocalFileSystem()
    names = sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())
    names.sort(key=MANIFEST.__eq__)
    try:
        there = _names_at(place)
        if not all(name in _OF_CASES or _is_copied(system, old, folder / name) for name, old in there.items()):
            raise CaseExists("meanwhile other files than those of a case came to the output place; choose another one")
        for name in sorted(there, key=MANIFEST.__ne__):
            system.delete_file(there[name])
        for name in names:
            system.create_dir(f"{path}/{name}".rsplit("/", 1)[0], recursive=True)
            copy_files(str(folder / name), f"{path}/{name}", source_filesystem=here, destination_filesystem=system)
    except CaseExists:
        raise
    except (OSError, InputRefused):
        raise NotWritable(
            f"the case could not be copied whole to its place; without {MANIFEST} what is there is no case"
        ) from None


def _is_copied(system: FileSystem, old: str, file: Path) -> bool:
    """Whether a file is a copy of another, which need not be whole."""
    if file.name not in _ADDED or not file.is_file():
        return False
    with system.open_input_stream(old, compression=None) as raw:
        return file.read_bytes().startswith(raw.read())


def fetch_case(place: str) -> Case:
    """A case at a place, copied to a temporary folder that lives as long as the object. Raises NotWritable where that
    fails."""
    from pyarrow.fs import LocalFileSystem, copy_files

    system, path = open_place(place)
    here = Temporary()
    try:
        copy_files(path, str(here.path), source_filesystem=system, destination_filesystem=LocalFileSystem())
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else "its store does not give it"
        raise NotWritable(
            f"the case is written, and cannot be copied to the temporary files here ({why}): copy it to a disk to look at it"
        ) from None
    return open_case(here.path, held=here)


def remove(place: str, named: str, *, empty: bool) -> None:
    """Remove the folders inside a folder whose names begin with `named`; empty: and then itself if nothing is left in it."""
    from pyarrow.fs import FileSelector, FileType

    system, path = open_place(place)
    (found,) = system.get_file_info([path])
    if found.type != FileType.Directory:
        return
    for info in system.get_file_info(FileSelector(path)):
        if info.type == FileType.Directory and info.base_name.startswith(named):
            system.delete_dir(info.path)
    if empty:
        remove_empty(place)


def remove_empty(place: str) -> None:
    """Remove a folder if nothing is in it."""
    from pyarrow.fs import FileSelector

    system, path = open_place(place)
    if not system.get_file_info(FileSelector(path, allow_not_found=True)):
        system.delete_dir(path)
