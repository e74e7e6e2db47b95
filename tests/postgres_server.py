"""A PostgreSQL server for tests: a new one in a temporary folder, on a free port of this machine only, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

USER, PASSWORD = "tester", "hush hush/@:?#"
WHY_NOT = "no PostgreSQL server here (initdb and pg_ctl); on Debian and Ubuntu: apt install postgresql"


def programs() -> Path | None:
    """The folder with initdb and pg_ctl, the newest if there are several; None if no server is installed."""
    known = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name), reverse=True)
    found = shutil.which("initdb")
    folders = [*known, *([Path(found).parent] if found else [])]
    return next((f for f in folders if (f / "initdb").exists() and (f / "pg_ctl").exists()), None)


@contextmanager
def server() -> Iterator[int]:
    """The port of a running server with one user, who needs the password. It refuses to run as root, so another does."""
    folder = programs()
    assert folder is not None, WHY_NOT
    home = Path(tempfile.mkdtemp(prefix="hydragraph-postgres-", dir="/tmp"))
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0:
        names = {entry.pw_name for entry in pwd.getpwall()}
        as_user = {"user": "postgres" if "postgres" in names else "nobody"}
        shutil.chown(home, **as_user)
    (home / "password").write_text(PASSWORD)
    (home / "password").chmod(0o644)

    def run(*command: str) -> None:
        subprocess.run(
            [folder / command[0], *command[1:]], cwd=home, check=True, capture_output=True, timeout=120, **as_user
        )

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data, log = str(home / "data"), str(home / "log")
    options = (
        f"-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories='' -c fsync=off -c timezone=Asia/Tokyo"
    )
    try:
        run(
            "initdb",
            "-D",
            data,
            "-U",
            USER,
            "-A",
            "scram-sha-256",
            f"--pwfile={home / 'password'}",
            "-E",
            "UTF8",
            "--locale=C",
        )
        run("pg_ctl", "-D", data, "-l", log, "-w", "-o", options, "start")
        try:
            yield port
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)
