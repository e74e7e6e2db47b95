"""Processes that are killed or run out of something on the way, for test_broken_machines.py. Started anew for each attempt,
with the library imported already."""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from click.testing import CliRunner

_CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree", "tempfile.mkdtemp")
_PRELOADED = [
    "hydragraph.pipeline", "hydragraph.exports", "hydragraph.report.document", "hydragraph.worlds", "hydragraph_cli.main",
    "hydragraph_cli.commands.analyze", "broken", "scipy.sparse.csgraph",
    "graspologic_native", "jinja2",
]  # fmt: skip

Limits = dict[str, int]
"""Limits of the operating system by name; RLIMIT_AS is how much more than what the process has already."""


def _processes() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def _command(
    arguments: list[str], temporary: Path, limits: Limits, kill_at: int, kill_after: float | None, told: Connection
) -> None:
    """Run a command; kill this process at a change of the file system or after some seconds."""
    tempfile.tempdir = str(temporary)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115 -- what a killed process says is not wanted
    from hydragraph_cli.main import cli

    seen = 0

    def watch(event: str, found: tuple[Any, ...]) -> None:
        nonlocal seen
        writes = event == "open" and isinstance(found[2], int) and found[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if event in _CHANGES or writes:
            seen += 1
            if seen == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    for name, most in limits.items():
        if name == "RLIMIT_AS":
            most += int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(getattr(resource, name), (most, resource.RLIM_INFINITY))
    if kill_after is not None:
        threading.Timer(kill_after, os.kill, (os.getpid(), signal.SIGKILL)).start()
    start = time.perf_counter()
    done = CliRunner().invoke(cli, arguments)
    told.send((done.exit_code, done.stderr, seen, time.perf_counter() - start))
    told.close()
    os._exit(0)


def run(
    arguments: list[object], temporary: Path, *, limits: Limits | None = None, kill_at: int = 0,
    kill_after: float | None = None,
) -> tuple[int, str, int, float] | None:  # fmt: skip
    """Exit code, stderr, changes of the file system and seconds of a command; None if its process did not live to tell.

    kill_at: number of the change at which it is killed. kill_after: seconds.
    """
    context = _processes()
    here, there = context.Pipe(duplex=False)
    words = [str(a) for a in arguments]
    process = context.Process(target=_command, args=(words, temporary, limits or {}, kill_at, kill_after, there))
    process.start()
    there.close()
    try:
        return here.recv()  # type: ignore[no-any-return]
    except EOFError:
        return None
    finally:
        process.join()
        here.close()


def every_change(attempt: Callable[[int], bool], *, step: int = 1) -> int:
    """Call `attempt` with 1, 1 + step, ... until it says that nothing was left to be killed at; how often it was killed."""
    killed = 0
    while attempt(1 + killed * step):
        killed += 1
    return killed


def moments(longest: float, number: int, seed: int) -> list[float]:
    """Random moments within `longest` seconds, one in each of `number` equal parts of it."""
    some = random.Random(seed)
    return [(i + some.random()) * longest / number for i in range(number)]
