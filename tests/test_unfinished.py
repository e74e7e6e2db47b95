"""Unfinished work in a place where others may write, and in containers, where numbers of processes come again; temporary
folders."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import hydragraph as hg
from hydragraph.unfinished import Temporary, alone, beside, dead

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no locks")

TraceFunction = Callable[[FrameType, str, Any], Any]


def test_only_what_dead_processes_left_for_this_place_is_cleared(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    mine = [f".building-case-{gone.pid}-ab", f".building-case-{gone.pid}-ab-old"]
    others = [
        f".building-case-{os.getppid()}-ab", f".building-case-2-{gone.pid}-ab", f".writing-case-{gone.pid}-ab",
        f".building-case-{gone.pid}x-ab", "case",
    ]  # fmt: skip
    for name in mine + others:
        (tmp_path / name).mkdir()
    assert [p.name for p in dead(tmp_path / "case", "building")] == mine
    beside(tmp_path / "case", "building")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(others)


def test_what_a_dead_run_of_the_same_number_left_is_cleared(tmp_path: Path) -> None:
    """In a container every run may have the same number of its process."""
    left = tmp_path / f".building-case-{os.getpid()}-ab"
    left.mkdir()
    mine = beside(tmp_path / "case", "building")
    assert not left.exists()
    mine.mkdir()
    beside(tmp_path / "case", "building")
    assert [p.name for p in tmp_path.iterdir()] == [mine.name]
    mine.rename(mine.with_name(f"{mine.name}-old"))
    beside(tmp_path / "case", "building")
    assert [p.name for p in tmp_path.iterdir()] == [f"{mine.name}-old"]


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / ".hydragraph-writing-case").symlink_to(tmp_path / "elsewhere")
    with alone(tmp_path / "case"):
        assert not (tmp_path / "elsewhere").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_place_of_the_lock_is_said(tmp_path: Path) -> None:
    (tmp_path / ".hydragraph-writing-case").mkdir()
    with pytest.raises(hg.NotWritable, match="a folder stands in the place of a file"), alone(tmp_path / "case"):
        pass


def test_a_temporary_folder_stays_while_others_clear_up_at_any_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    others = [0]

    def clear(frame: FrameType, event: str, _: object) -> TraceFunction | None:
        if frame.f_code is not Temporary.__init__.__code__:
            return None
        if event == "line":
            others[0] += 1
            sys.settrace(None)
            Temporary().close()
            sys.settrace(clear)
        return clear

    sys.settrace(clear)
    try:
        held = Temporary()
    finally:
        sys.settrace(None)
    assert others[0] > 5
    Temporary().close()
    assert held.path.is_dir()
    held.close()
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_locked_no_temporary_folder_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("fcntl.flock", no_locks)
    held = Temporary()
    Temporary().close()
    assert list(tmp_path.iterdir()) == [held.path]


def test_temporary_folders_in_use_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first, second = Temporary(), Temporary()
    assert first.path.is_dir()
    assert first.path != second.path
    (tmp_path / "hydragraph-of-somebody").mkdir()
    (tmp_path / "hydragraph-of-somebody" / "file").touch()
    (tmp_path / "hydragraph-link").symlink_to(first.path)
    lost, without = tmp_path / "hydragraph-lost0000", tmp_path / "hydragraph-lost0001"
    for folder in (lost, without):
        folder.mkdir()
        (folder / "rows.parquet").touch()
    (lost / ".lock").touch()
    os.utime(without, (0, 0))
    third = Temporary()
    assert not lost.exists()
    assert not without.exists()
    for one in (first, second, third):
        one.close()
        one.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hydragraph-link", "hydragraph-of-somebody"]
