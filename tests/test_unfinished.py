"""Unfinished work in a place where others may write, and in containers, where numbers of processes come again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import hydragraph as hg
from hydragraph.unfinished import alone, beside, dead

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no locks")


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
