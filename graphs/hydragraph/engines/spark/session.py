"""A Spark session: of one's own, or that of a cluster."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from hydragraph.errors import EngineFailed, HydragraphError, InputRefused

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_NEEDED = {
    # what a task costs is known to Python only: Spark would put together what looks small to it
    "spark.sql.adaptive.coalescePartitions.enabled": "false",
}
"""Settings of a session while an analysis runs in it."""

_WAIT = 10.0
_PARTITIONS = "spark.sql.shuffle.partitions"
_LOCAL = re.compile(r"local(?:\[(?:\*|([0-9]+))\])?")
_ADDRESS = re.compile(r"(sc|spark)://(\[[^]]+\]|[^:/;,]+)(?::([0-9]+))?(?![^/;])")
"""Of one server; a list of masters, of which any may answer, is none."""

_PORTS = {"sc": 15002, "spark": 7077}
_OWN = ("pyspark", "py4j", "grpc")
_CAUSES = {
    "No module named 'hydragraph": "its executors do not have hydragraph; install it where their Python is",
    "No module named 'pyarrow": "the Python of its executors lacks pyarrow; PYSPARK_PYTHON says which Python they use",
    "JAVA_GATEWAY_EXITED": "no such master, or no Java that Spark runs on; Java 17 is needed; JAVA_HOME says where it is",
    "UNSUPPORTED_CLASS_VERSION": "this Java is too old; Java 17 is needed, and JAVA_HOME says where it is",
    "PATH_NOT_FOUND": "what a step wrote is not found by the next; name a folder that every executor reaches with --stages",
    "No space left on device": "a disk of the cluster is full; make room, or name another folder with --stages",
    "Permission denied": "its tasks may not write to, or read from, a folder; name one that they may use with --stages",
    "OutOfMemory": "a task had too little memory; give the executors more, or more of them",
    "CONNECT_URL_NOT_SET": "no server is named, and this PySpark knows no other way; --remote sc://host:15002 names one",
    "RETRIES_EXCEEDED": "the server does not answer any more; start it, and run again to go on",
    "UNAVAILABLE": "the server does not answer any more; start it, and run again to go on",
    "INVALID_CONNECT_URL": "this is no address of a Spark Connect server; such a one is sc://host:15002",
    "Could not parse Master URL": "this is no Spark master; such a one is local[4], spark://host:7077 or yarn",
}
"""What stands in an error of Spark, and what it means."""


@contextmanager
def saying_what_failed(step: str) -> Iterator[None]:
    """Turn an error of Spark, or of a file that is handed on, into EngineFailed. What it says itself is not repeated: it may
    hold what a task read."""
    try:
        yield
    except HydragraphError:
        raise
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else "a file cannot be read or written"
        raise EngineFailed(
            f"Spark, step {step}: {why}; no case was written: make room, or name another folder with --stages"
        ) from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _OWN:
            raise
        text = f"{type(error).__name__} {error}"
        why = next((said for sign, said in _CAUSES.items() if sign in text), "its own log says why")
        raise EngineFailed(f"Spark, step {step}: {why}; no case was written") from None


def _refuse_out_of_reach(address: str) -> None:
    found = _ADDRESS.match(address)
    if found is None:
        return
    host, port = found[2], int(found[3] or _PORTS[found[1]])
    try:
        socket.create_connection((host.strip("[]"), port), _WAIT).close()
    except (OSError, OverflowError):
        raise EngineFailed(
            f"Spark: nobody answers at {host}:{port}; start the server, or name another address"
        ) from None


def open_session(master: str | None = None, remote: str | None = None) -> SparkSession:
    """A session on a master (`local[4]`, `spark://host:7077`, `yarn`), on a Spark Connect server (`sc://host:15002`), or
    without either the one that is there: of spark-submit, of a notebook, or what SPARK_REMOTE names.

    Raises InputRefused where PySpark is not installed, EngineFailed where nobody answers. Not checked:
    whether the executors have hydragraph; the first step fails if they have not.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise InputRefused(
            'the Spark engine needs PySpark; install it with pip install "hydragraph[spark]", and Java 17 for a master'
        ) from None
    active = SparkSession.getActiveSession() if master is None and remote is None else None
    if active is None:
        _refuse_out_of_reach(remote or master or os.environ.get("SPARK_REMOTE", ""))
    builder = SparkSession.builder.appName("hydragraph")
    session: SparkSession
    if remote is not None:
        # a session that is there may be one on another server, which getOrCreate does not look at
        session = builder.remote(remote).create()
    elif active is not None:
        session = active
    elif master is None:
        session = builder.getOrCreate()
    else:
        if master.startswith("local"):
            # the workers of a local master are to find what this process finds
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        there = SparkSession.getActiveSession()
        if there is not None and there.conf.get("spark.master", "") != master:
            raise InputRefused(
                "this process has a Spark session already, on another master; stop it, or name no master"
            )
        session = builder.master(master).config("spark.ui.showConsoleProgress", "false").getOrCreate()
    return session


@contextmanager
def session_for(master: str | None = None, remote: str | None = None) -> Iterator[SparkSession]:
    """A session (see `open_session`) with the settings that an analysis needs. Afterwards it has those it had, or, if it was
    opened on a server of Spark Connect, is stopped."""
    session = open_session(master, remote)
    wanted, cores = dict(_NEEDED), _LOCAL.fullmatch(master or "")
    if cores is not None and session.conf.get(_PARTITIONS) == "200":  # as nobody has said otherwise
        wanted[_PARTITIONS] = str(2 * (int(cores[1] or 0) or os.cpu_count() or 1))
    before = {name: session.conf.get(name, None) for name in wanted}
    try:
        for name, value in wanted.items():
            session.conf.set(name, value)
        yield session
    except BaseException:
        if remote is not None:
            session.release_session_on_close = False  # the server may be gone, and is not waited for once more
        raise
    finally:
        with suppress(Exception):  # what failed is said already
            if remote is not None:
                session.stop()
            else:
                for name, earlier in before.items():
                    if earlier is None:
                        session.conf.unset(name)
                    else:
                        session.conf.set(name, earlier)
