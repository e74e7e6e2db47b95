"""What the tests of the Spark engine run on, this machine only: a Java for PySpark, a Sail server, Spark's own Connect
server, a cluster of processes, a store.

Run as a program it says why PySpark cannot run here, and nothing if it can.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

NO_JAVA = "no Java 17 here, which PySpark needs; on Debian and Ubuntu: apt install openjdk-17-jre-headless"

# most of a short run would be compiling
_SMALL = (
    "spark.ui.enabled=false",
    "spark.sql.codegen.wholeStage=false",
    "spark.driver.extraJavaOptions=-XX:TieredStopAtLevel=1",
)
_OLDEST = 17
_START = 120


def java_home() -> Path | None:
    """The home of a Java that runs Spark: of JAVA_HOME, else the oldest that is new enough; None without any."""
    known = [path.parent.parent for path in sorted(Path("/usr/lib/jvm").glob("*/bin/java"))]
    found = shutil.which("java")
    if found:
        known.append(Path(found).resolve().parent.parent)
    usable = [(version, home) for home in known if (version := _version(home)) >= _OLDEST]
    given = os.environ.get("JAVA_HOME")
    if given and _version(Path(given)) >= _OLDEST:
        return Path(given)
    return min(usable)[1] if usable else None


def _version(home: Path) -> int:
    """The number before the first dot of the version; 0 where there is no Java, or one that still counts as 1.8."""
    try:
        done = subprocess.run(
            [home / "bin" / "java", "-version"], capture_output=True, text=True, timeout=60, check=False
        )
    except OSError:
        return 0
    said = re.search(r'version "(\d+)', done.stderr)
    return int(said[1]) if said else 0


def quiet(home: Path, *more: str) -> dict[str, str]:
    """The environment of a PySpark that stays on this machine; home: of its Java. more: settings, `name=value`, instead of
    those for small tables."""
    settings = ("spark.driver.bindAddress=127.0.0.1", "spark.driver.memory=1g", *(more or _SMALL))
    said = [word for one in settings for word in ("--conf", one)]
    return {
        "JAVA_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_SUBMIT_ARGS": " ".join([*said, "pyspark-shell"]),
    }


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def _serving(name: str, port: int, command: Sequence[str | Path], **around: str) -> Iterator[None]:
    """A server that is running, in a folder of its own. around: variables of its environment beside those that are there."""
    with tempfile.TemporaryDirectory(prefix=f"hydragraph-{name}-") as home, (Path(home) / "log").open("w") as log:
        server = subprocess.Popen(
            command,
            cwd=home,
            env=os.environ | around,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            answers(port, server)
            yield
        finally:
            ended(server)


@contextmanager
def sail(**around: str) -> Iterator[str]:
    """The address of a running Sail server; its tasks run as on a cluster, in threads of one process. around: variables of
    its environment beside those that are there."""
    port = free_port()
    command = [Path(sys.executable).with_name("sail"), "spark", "server", "--port", str(port)]
    with _serving("sail", port, command, SAIL_MODE="local-cluster", **around):
        yield f"sc://localhost:{port}"


@contextmanager
def store() -> Iterator[dict[str, str]]:
    """A store that speaks S3, in memory: the variables by which Arrow and Sail find it."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with _serving("store", port, [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]):
        yield {
            "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": address, "AWS_ENDPOINT": address,
            "AWS_ALLOW_HTTP": "true", "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip


@contextmanager
def connect(java: Path) -> Iterator[str]:
    """The address of a running server of Spark Connect, Spark's own, with two cores. java: its home."""
    import pyspark

    port = free_port()
    settings = (*_SMALL, "spark.driver.bindAddress=127.0.0.1", f"spark.connect.grpc.binding.port={port}")
    said = [word for one in (*settings, "spark.connect.grpc.binding.address=127.0.0.1") for word in ("--conf", one)]
    submit = Path(pyspark.__file__).parent / "bin" / "spark-submit"
    role = ("--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "--master", "local[2]")
    around = {"JAVA_HOME": str(java), "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    with _serving("connect", port, [submit, *role, *said], **around):
        yield f"sc://localhost:{port}"


@dataclass(frozen=True)
class Cluster:
    """A standalone Spark cluster of processes on this machine. home: its folder, with one for each worker by its name."""

    address: str
    home: Path
    start: Callable[[str, str, *tuple[str, ...]], subprocess.Popen[bytes]]
    workers: dict[str, subprocess.Popen[bytes]]

    def add(self, name: str, memory: str = "1g") -> None:
        """Start a worker of one core. memory: of the Java machine of its executor."""
        given = ("--cores", "1", "--memory", memory, "--work-dir", str(self.home / name), self.address)
        self.workers[name] = self.start(name, "worker.Worker", *given)

    def holder(self, executor: str) -> str:
        """The name of the worker that started an executor."""
        (found,) = {path.parts[-3] for path in self.home.glob(f"*/app-*/{executor}")}
        return found

    def tell(self, name: str, what: signal.Signals) -> None:
        """Send a worker and its executors a signal."""
        os.killpg(self.workers[name].pid, what)


@contextmanager
def cluster(java: Path) -> Iterator[Cluster]:
    """A master, and no worker yet. java: its home."""
    import pyspark

    spark_class = Path(pyspark.__file__).parent / "bin" / "spark-class"
    around = os.environ | {"JAVA_HOME": str(java), "SPARK_LOCAL_IP": "127.0.0.1"}
    port = free_port()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hydragraph-cluster-")))

        def started(name: str, role: str, *given: str) -> subprocess.Popen[bytes]:
            log = stack.enter_context((home / f"{name}.log").open("w"))
            server = subprocess.Popen(
                [spark_class, f"org.apache.spark.deploy.{role}", "--host", "127.0.0.1", "--webui-port", "0", *given],
                env=around,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            stack.callback(ended, server)
            return server

        answers(port, started("master", "master.Master", "--port", str(port)))
        yield Cluster(f"spark://127.0.0.1:{port}", home, started, {})


def ended(server: subprocess.Popen[bytes]) -> None:
    """End a server, with all that it started in its process group."""
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def answers(port: int, server: subprocess.Popen[bytes]) -> None:
    """Wait until a server of this machine can be reached."""
    for _ in range(_START * 10):
        assert server.poll() is None, f"the server ended with {server.returncode}"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"no server after {_START} seconds")


if __name__ == "__main__":
    if java_home() is None:
        print(NO_JAVA)
