"""Unfinished work: held against a second run, put in its place in one step, cleared away after a run was killed.

A file or folder that is being made has the number of its process in its name, or a lock that ends with the process; the next
run tells by that what nobody works on any more.
"""

from __future__ import annotations

import ctypes
import errno
import glob
import os
import re
import shutil
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hydragraph.errors import BeingWritten, HydragraphError, NotWritable

if sys.platform != "win32":  # there no lock, and nothing of other runs is cleared away
    import fcntl

_LOCK = ".lock"
_OLD = "-old"
_YOUNG = 60.0
"""Seconds for which a temporary folder without a lock is left alone: it may be about to get one."""

NO_LINK = getattr(os, "O_NOFOLLOW", 0)
"""Flag to open a file that is no link."""

FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota of the disk is used up",
    errno.EFBIG: "a file would be larger than allowed here",
}
CLOSED = {
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOTDIR: "a part of its path is no folder",
    errno.ENAMETOOLONG: "its name is too long",
    errno.EBUSY: "it is in use, or a disk of its own",
    errno.ELOOP: "a link stands where no link is followed",
    errno.EISDIR: "a folder stands in the place of a file",
}
_CUT_OFF = "transport error"
"""What polars says, and nothing else, where the disk is full at the end of a Parquet file."""


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """Hold `place`, which need not be there, against other runs. Raises BeingWritten if one holds it, NotWritable if nothing
    can be written beside it.

    The lock is a hidden file in the nearest folder above that exists; it is gone afterwards, and ends with the process.
    """
    place = place.resolve()
    folder = next(p for p in place.parents if os.path.lexists(p))
    lock = folder / f".hydragraph-writing-{'-'.join(place.relative_to(folder).parts)}"
    with saying_what_to_do(place):
        held = _locked(lock)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(held)


def _locked(lock: Path) -> int:
    while True:
        if lock.is_symlink():  # none of ours: who follows it makes a file wherever it leads
            lock.unlink(missing_ok=True)
        file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | NO_LINK, 0o666)
        try:
            if not _try_lock(file):
                raise BeingWritten("another run is writing this output; wait until it is done, or choose another place")
            # the other run may have taken the file away between the two steps
            if lock.exists() and os.path.samestat(os.fstat(file), lock.stat()):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _try_lock(file: int) -> bool:
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


@contextmanager
def saying_what_to_do(place: Path | None, *, temporary: bool = False) -> Iterator[None]:
    """Turn failures of writing into NotWritable: one sentence on why, that nothing was changed, and what to do. temporary:
    what is written are temporary files."""
    try:
        yield
    except HydragraphError:
        raise
    except Exception as error:  # polars has errors of its own for a full disk
        if (found := not_writable(error, "" if place is None or temporary else place.name)) is None:
            raise
        raise found from error


def not_writable(error: BaseException, output: str) -> NotWritable | None:
    """The sentence about a failure of writing an output, or, if it has no name, temporary files; None for any other failure.
    polars tells the reason in words only."""
    code: int = getattr(error, "errno", None) or 0
    if not code:
        said = str(error).lower()
        code = next((c for c in (*FULL, *CLOSED) if os.strerror(c).lower() in said), 0)
        code = errno.ENOSPC if not code and _CUT_OFF in said else code
    why = FULL.get(code) or CLOSED.get(code)
    if why is None:
        return None
    if not output:
        return NotWritable(
            f"temporary files: {why}; nothing was changed: set TMPDIR to a folder with room, and run again"
        )
    if code in FULL:
        return NotWritable(f"{why}; nothing was changed: make room, or choose an output on another disk, and run again")
    return NotWritable(f"the output {output} cannot be written: {why}; choose another place")


def alive(process: int) -> bool:
    """Whether a process of this number runs on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def beside(place: Path, purpose: str) -> Path:
    """A name for what is to become `place`, in its folder, with the number of this process; nothing is made.

    What dead processes left for the same purpose is cleared away first.
    """
    for left in dead(place, purpose):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
    new = place.with_name(f".{purpose}-{place.name}-{os.getpid()}-{os.urandom(4).hex()}")
    _made_here.add(new.name)
    return new


_made_here: set[str] = set()
"""Names that this process gave: in a container every run may have the same number."""


def dead(place: Path, purpose: str) -> list[Path]:
    """What processes that are gone left beside `place` for a purpose, sorted."""
    head = f".{purpose}-{place.name}-"
    made = re.compile(rf"{re.escape(head)}([0-9]+)-[^-]+(?:-old)?")  # and not of a place whose name only begins alike
    there = sorted(place.parent.glob(f"{glob.escape(head)}*"))
    return [path for path in there if (of := made.fullmatch(path.name)) and not _in_work(path.name, int(of[1]))]


def _in_work(name: str, process: int) -> bool:
    return name.removesuffix(_OLD) in _made_here if process == os.getpid() else alive(process)


def take_place(new: Path, place: Path, keep: Callable[[Path, Path], None] | None = None) -> None:
    """Let `new`, made beside `place`, become it in one step; what was there is taken away.

    keep: called with the old and the new folder, to carry over what came to the old one meanwhile.
    """
    keep = keep or (lambda old, new: None)
    on_disk(new)
    if place.is_symlink() or not place.is_dir():
        new.replace(place)
    else:
        keep(place, new)
        if _exchange(new, place):
            keep(new, place)
            shutil.rmtree(new, ignore_errors=True)
        else:
            old = new.with_name(new.name + _OLD)
            place.replace(old)  # a folder that holds files cannot be replaced in one step here: see take_back
            try:
                keep(old, new)
                new.replace(place)
            except BaseException:
                old.replace(place)
                raise
            shutil.rmtree(old, ignore_errors=True)
    on_disk(place.parent, files=False)


def take_back(place: Path, purpose: str) -> None:
    """Put back an old folder that a killed run had moved aside already."""
    for left in dead(place, purpose):
        if left.name.endswith(_OLD) and not os.path.lexists(place):
            left.replace(place)


def _exchange(new: Path, old: Path) -> bool:
    """Let two paths on one disk change places in one step, so that there is never none; False where that is not known."""
    library = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(new), os.fsencode(old)
    if sys.platform == "darwin" and hasattr(library, "renamex_np"):
        return int(library.renamex_np(*names, 2)) == 0
    if sys.platform == "linux" and hasattr(library, "renameat2"):
        here = -100  # paths are relative to the current folder
        return int(library.renameat2(here, names[0], here, names[1], 2)) == 0
    return False


def on_disk(path: Path, *, files: bool = True) -> None:
    """Have a file, or a folder and the files right in it, written to the disk itself, so that they survive a power cut."""
    inside = [p for p in path.iterdir() if p.is_file()] if files and path.is_dir() else []
    for one in (*inside, path):
        with suppress(OSError):  # some file systems cannot
            file = os.open(one, os.O_RDONLY)
            try:
                os.fsync(file)
            finally:
                os.close(file)


class Temporary:
    """A private folder among the temporary files, removed at `close`, with the object, or when Python ends; if the process
    was killed, by the next one that makes such a folder."""

    def __init__(self) -> None:
        _clear_temporary()
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        # named when it is held: others take a lock that nobody holds for one that was left
        new = self.path / f"{_LOCK}-new"
        lock = os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _try_lock(lock)
        if sys.platform != "win32":
            new.rename(self.path / _LOCK)
        self._end = weakref.finalize(self, _remove, self.path, lock)

    def close(self) -> None:
        """Remove the folder now."""
        self._end()


_PREFIX = "hydragraph-"
_MADE = re.compile(rf"{_PREFIX}[a-z0-9_]{{8}}")


def _remove(folder: Path, lock: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)


def _clear_temporary() -> None:
    """Remove the temporary folders of this user that no process holds any more."""
    if sys.platform == "win32":
        return
    for folder in sorted(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*")):
        with suppress(OSError):
            state = folder.lstat()
            if folder.is_symlink() or not folder.is_dir() or state.st_uid != os.geteuid():
                continue
            if (folder / _LOCK).is_file():
                lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails also where there are no locks
                    shutil.rmtree(folder, ignore_errors=True)
                finally:
                    os.close(lock)
            elif _MADE.fullmatch(folder.name) and time.time() - state.st_mtime > _YOUNG:
                shutil.rmtree(folder, ignore_errors=True)
