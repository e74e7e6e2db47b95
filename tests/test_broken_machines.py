"""Broken machines: killed, out of disk, out of memory, read-only, two runs at once, a source that changes meanwhile.

Each time the old case stays whole, the new one is whole or absent, and the next run leaves nothing lying about.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

import hydragraph as hg
from broken import every_change, moments, run
from case_contract import breaks
from hydragraph.pipeline import analyze
from hydragraph.unfinished import FULL, alone, not_writable
from hydragraph_cli.main import cli

pytestmark = [
    pytest.mark.xdist_group("broken"),  # one worker: processes that are ready to be forked
    pytest.mark.skipif(sys.platform == "win32", reason="no signals, no limits"),
]

KILLS_BY_TIME = 16


def source_of_rows(folder: Path, lone: int) -> Path:
    """Six accounts that share a device and a wallet, and some that share nothing; one line only the careful reader reads."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [(f"acct-{i}", kind, f"{kind}-1") for i in range(6) for kind in ("device", "wallet")]
    rows += [(f"lone-{i}", "device", f"own-{i}") for i in range(lone)]
    text = pl.DataFrame(rows, schema=["account_id", "kind", "value"], orient="row").write_csv()
    (folder / "links.csv").write_text(text + 'odd,device,"x"y\n', "utf-8")
    return folder


class Machine:
    """A place with a source, a changed source, an old case, and a folder for temporary files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.temporary = folder / "place", folder / "temporary"
        self.temporary.mkdir()
        self.source = source_of_rows(folder / "in", 300)
        self.other = source_of_rows(folder / "other", 299)
        self.case = self.folder / "case"
        old = analyze(self.source, self.case)
        self.old, self.accounts = content(self.case), old.accounts.height
        self.again: list[object] = ["analyze", self.other, "-o", self.case, "--force"]

    def check(self) -> None:
        """The case is the old one, bit for bit, or the new one, whole."""
        assert self.case.is_dir()
        if content(self.case) != self.old:
            assert hg.open_case(self.case).accounts.height == self.accounts - 1
            assert breaks(self.case) == []

    def check_tidy(self) -> None:
        """A run that is let be makes the new case and clears away what the killed ones left."""
        self.grow_old()
        done = run(self.again, self.temporary)
        assert done is not None
        assert done[0] == 0, done[1]
        self.check_nothing_else()
        assert hg.open_case(self.case).accounts.height == self.accounts - 1

    def grow_old(self) -> None:
        """A temporary folder that has no lock yet is left alone for a minute."""
        for left in self.temporary.iterdir():
            os.utime(left, (0, 0))

    def check_nothing_else(self) -> None:
        assert [p.name for p in self.folder.iterdir()] == ["case"]
        assert list(self.temporary.iterdir()) == []


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# --- killed


def test_killed_at_every_change_of_the_file_system(machine: Machine) -> None:
    """Before every file and folder that is made, moved or removed, in every stage (each opens a file of the kernel)."""

    def killed(number: int) -> bool:
        done = run(machine.again, machine.temporary, kill_at=number)
        machine.check()
        return done is None

    assert every_change(killed) > 25
    machine.check_tidy()


def test_killed_at_any_moment(machine: Machine) -> None:
    whole = run(["analyze", machine.other, "-o", machine.folder / "first"], machine.temporary)
    assert whole is not None
    killed, seconds = 0, whole[3]
    for number, share in enumerate(2 * moments(1, KILLS_BY_TIME, seed=1)):
        if number >= KILLS_BY_TIME and killed > KILLS_BY_TIME // 2:
            break
        done = run(machine.again, machine.temporary, kill_after=share * seconds)
        machine.check()
        killed += done is None
        # a run that came to its end says how quick the machine is by now
        seconds = done[3] if done else seconds
    assert killed > KILLS_BY_TIME // 2
    shutil.rmtree(machine.folder / "first")
    machine.check_tidy()


def test_killed_before_there_is_a_case(machine: Machine) -> None:
    """A case is there whole or not at all, and no folder that looks like one."""
    new = machine.folder / "deep" / "new"
    arguments: list[object] = ["analyze", machine.other, "-o", new]

    def killed(number: int) -> bool:
        if new.exists():
            assert breaks(new) == []
            return False
        return run(arguments, machine.temporary, kill_at=number) is None

    assert every_change(killed, step=2) > 10
    assert hg.open_case(new).accounts.height == machine.accounts - 1


@pytest.mark.parametrize("form", ["csv", "graphml"])
def test_an_export_is_killed_at_every_change(machine: Machine, form: str) -> None:
    out = machine.folder / "exported"
    hg.export(hg.open_case(machine.case), form, out)
    old = content(out) if out.is_dir() else {"": out.read_bytes()}

    def killed(number: int) -> bool:
        done = run(["export", machine.case, "--format", form, "-o", out, "--force"], machine.temporary, kill_at=number)
        assert (content(out) if out.is_dir() else {"": out.read_bytes()}) == old  # the same case, the same bytes
        return done is None

    assert every_change(killed) > 2
    assert sorted(p.name for p in machine.folder.iterdir()) == ["case", "exported"]


def test_a_report_is_killed_at_every_change(machine: Machine) -> None:
    def killed(number: int) -> bool:
        done = run(["report", machine.case], machine.temporary, kill_at=number)
        assert (machine.case / "report.html").read_bytes() == machine.old["report.html"]
        return done is None

    assert every_change(killed) > 1
    assert content(machine.case) == machine.old


def test_a_world_is_killed_at_every_change(machine: Machine) -> None:
    world = machine.folder / "world"
    arguments: list[object] = ["simulate", world, "--accounts", 200, "--scenario", "small", "--force"]
    assert run(arguments, machine.temporary) is not None
    old = content(world)

    def killed(number: int) -> bool:
        done = run(arguments, machine.temporary, kill_at=number)
        assert content(world) == old
        return done is None

    assert every_change(killed) > 3
    assert sorted(p.name for p in machine.folder.iterdir()) == ["case", "world"]


# --- no room


def test_a_disk_that_is_full(machine: Machine) -> None:
    """Files may only be so large: the same errors as without room, at every size up to that at which it fits."""
    refused = 0
    for most in (0, 100, 1_000, 2_000, 4_000, 8_000, 20_000, 40_000, 10**6):
        done = run(machine.again, machine.temporary, limits={"RLIMIT_FSIZE": most})
        assert done is not None
        machine.check_nothing_else()
        if done[0] == 0:
            break
        refused += 1
        assert content(machine.case) == machine.old
        assert done[0] == 1
        assert "nothing was changed: " in done[1]
        assert len(done[1].splitlines()) == 1, done[1]
    assert refused >= 5
    machine.check()
    machine.check_tidy()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", disk], capture_output=True).returncode
    ):
        pytest.skip("only root may mount")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_disk_without_room(machine: Machine, small_disk: Path) -> None:
    done = run(["analyze", machine.source, "-o", small_disk / "case"], machine.temporary)
    assert done is not None
    assert done[0] == 0, done[1]
    before = content(small_disk / "case")
    for room in (0, 8 << 10, 40 << 10):  # a case takes more
        free = os.statvfs(small_disk)
        ballast = small_disk / "ballast"
        ballast.write_bytes(b"x" * (free.f_bavail * free.f_frsize - room))
        again: list[object] = ["analyze", machine.other, "-o", small_disk / "case", "--force"]
        done = run(again, machine.temporary)
        assert done is not None
        assert (done[0], done[1]) == (
            1, "hydragraph: the disk is full; nothing was changed: make room, or choose an output on another disk, and run"
            " again\n",
        )  # fmt: skip
        assert content(small_disk / "case") == before
        ballast.unlink()
        assert [p.name for p in small_disk.iterdir()] == ["case"]


def test_room_runs_out_for_temporary_files(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    done = CliRunner().invoke(cli, [str(a) for a in machine.again])
    assert (done.exit_code, done.stderr) == (
        1, "hydragraph: temporary files: the disk is full; nothing was changed: set TMPDIR to a folder with room, and run"
        " again\n",
    )  # fmt: skip
    assert content(machine.case) == machine.old


@pytest.mark.parametrize("code", FULL)
def test_errors_of_polars_are_known_by_their_words(code: int) -> None:
    found = not_writable(pl.exceptions.ComputeError(f"{os.strerror(code)} (os error {code})"), "case")
    assert found is not None
    assert str(found).startswith(FULL[code])
    assert not_writable(pl.exceptions.ComputeError("something else"), "case") is None


def test_a_disk_that_is_full_at_the_end_of_a_table(tmp_path: Path) -> None:
    """Where the last bytes of a Parquet file find no room polars says something else."""
    import resource

    frame, path = pl.DataFrame({f"column {i}": [i] for i in range(300)}), tmp_path / "x.parquet"
    frame.write_parquet(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    said = set()
    for most in range(0, path.stat().st_size, 500):
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
        try:
            with pytest.raises((pl.exceptions.PolarsError, OSError)) as caught:
                frame.write_parquet(path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        said.add(str(not_writable(caught.value, "case")))
    assert {one.partition(";")[2] for one in said} == {
        " nothing was changed: make room, or choose an output on another disk, and run again"
    }


@pytest.mark.parametrize("command", [["decide", "case", "c", "--as", "innocent"], ["keygen", "key"],
                                     ["evaluate", "case", "in", "-o", "figures"]])  # fmt: skip
def test_what_writes_little_says_what_to_do_as_well(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    labels = pl.DataFrame({"account_id": ["acct-1", "lone-1"], "label": [1, 0]})
    labels.write_parquet(machine.folder / "truth.parquet")
    places = {"case": machine.case, "in": machine.folder / "truth.parquet", "key": machine.folder / "key",
              "figures": machine.folder / "figures"}  # fmt: skip
    real, mkdir = os.open, Path.mkdir

    def full(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if str(path).startswith(str(machine.folder)) and flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, flags, *rest, **more)

    def no_folder(path: Path, *rest: Any, **more: Any) -> None:
        if path.name == "figures":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        mkdir(path, *rest, **more)

    monkeypatch.setattr(os, "open", full)
    monkeypatch.setattr(Path, "mkdir", no_folder)
    done = CliRunner().invoke(cli, [str(places.get(word, word)) for word in command])
    assert (done.exit_code, done.stderr) == (
        1, "hydragraph: the disk is full; nothing was changed: make room, or choose an output on another disk, and run"
        " again\n",
    )  # fmt: skip
    assert content(machine.case) == machine.old


def test_a_disk_itself_is_no_output(machine: Machine, small_disk: Path) -> None:
    """As `-v disk:/out` makes it in a container: said before anything is read."""
    stages: list[str] = []
    with pytest.raises(hg.CaseExists, match="a disk of its own, which cannot be replaced; name a folder inside it"):
        analyze(machine.other, small_disk, progress=stages.append)
    assert stages == []


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="nobody tells how much memory there is")
def test_memory_that_runs_out(machine: Machine) -> None:
    """Where memory ends the process may end as well; the case does not."""
    ended = 0
    for mebibytes in (0, 64, 256, 512):
        done = run(machine.again, machine.temporary, limits={"RLIMIT_AS": mebibytes << 20})
        ended += done is None or done[0] != 0
        machine.check()
    assert ended > 0
    machine.check_tidy()


def test_out_of_memory_is_one_sentence(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("hydragraph.engines.embedded.weigh", full)
    done = CliRunner().invoke(cli, [str(a) for a in machine.again])
    assert (done.exit_code, done.stderr) == (
        1, "hydragraph: out of memory; nothing was changed: close other programs, or give fewer tables or days\n",
    )  # fmt: skip
    assert content(machine.case) == machine.old


# --- no permission


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_read_only_place_is_said_before_anything_is_read(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    real = os.open

    def closed(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if str(path).startswith(str(machine.folder)) and flags & os.O_CREAT:
            raise OSError(code, os.strerror(code))
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", closed)
    stages: list[str] = []
    with pytest.raises(hg.NotWritable, match=r"^the output case cannot be written: .*; choose another place$"):
        analyze(machine.other, machine.case, force=True, progress=stages.append)
    assert stages == []
    assert content(machine.case) == machine.old


@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(machine: Machine) -> None:
    machine.folder.chmod(0o500)
    try:
        with pytest.raises(hg.NotWritable, match="permission denied"):
            analyze(machine.other, machine.case, force=True)
    finally:
        machine.folder.chmod(0o700)
    assert content(machine.case) == machine.old


def test_a_place_inside_a_file(machine: Machine) -> None:
    with pytest.raises(hg.NotWritable, match="a part of its path is no folder"):
        analyze(machine.other, machine.source / "links.csv" / "case")


# --- a source that changes


def more_rows(path: Path) -> None:
    with path.open("a") as file:
        file.write("late,device,x\n")


def cut_off(path: Path) -> None:
    os.truncate(path, 20)


def taken_away(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    """By one as long and as old."""
    state = path.stat()
    new = path.with_name("new")
    new.write_bytes(path.read_bytes().replace(b"own-7", b"own-9"))
    os.utime(new, ns=(state.st_atime_ns, state.st_mtime_ns))
    new.replace(path)


def overwritten(path: Path) -> None:
    """In its place, as long as it was, and the time of change set back."""
    state = path.stat()
    with path.open("r+b") as file:
        file.write(path.read_bytes().replace(b"own-7", b"own-9"))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize("change", [more_rows, cut_off, taken_away, replaced, overwritten])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_source_that_changes_while_it_is_read(machine: Machine, change: Callable[[Path], None], suffix: str) -> None:
    path = machine.other / "links.csv"
    if suffix == "parquet":
        frame = pl.read_csv(path, quote_char=None)
        path.unlink()
        path = machine.other / "links.parquet"
        frame.write_parquet(path, compression="uncompressed")

    def changed(stage: str) -> None:
        if stage == "links":
            change(path)

    with pytest.raises(hg.InputRefused) as caught:
        analyze(machine.other, machine.case, force=True, progress=changed)
    assert str(caught.value) == (f"{path.name} changed while being read; run again when nothing writes to the source")
    assert content(machine.case) == machine.old
    machine.check_nothing_else()


# --- two runs


def holding(place: Path, ready: Any, done: Any) -> None:
    with alone(place):
        ready.set()
        done.wait(60)


def test_a_second_run_is_told_to_wait(machine: Machine) -> None:
    context = multiprocessing.get_context("forkserver")
    ready, done = context.Event(), context.Event()
    first = context.Process(target=holding, args=(machine.case, ready, done))
    first.start()
    assert ready.wait(60)
    second = CliRunner().invoke(cli, [str(a) for a in machine.again])
    assert (second.exit_code, second.stderr) == (
        1, "hydragraph: another run is writing this output; wait until it is done, or choose another place\n",
    )  # fmt: skip
    assert content(machine.case) == machine.old
    assert analyze(machine.other, machine.folder / "elsewhere").accounts.height == machine.accounts - 1
    first.kill()  # its lock ends with it
    first.join()
    assert analyze(machine.other, machine.case, force=True).accounts.height == machine.accounts - 1
    assert sorted(p.name for p in machine.folder.iterdir()) == ["case", "elsewhere"]


def test_one_process_holds_a_place_once(tmp_path: Path) -> None:
    with alone(tmp_path / "case"), pytest.raises(hg.BeingWritten), alone(tmp_path / "case"):
        pass
    with alone(tmp_path / "case"), alone(tmp_path / "case-2"), alone(tmp_path / "deep" / "case"):
        assert len(list(tmp_path.iterdir())) == 3
    assert list(tmp_path.iterdir()) == []
