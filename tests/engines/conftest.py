"""A Spark session for the tests of the Spark engine.

HYDRAGRAPH_SPARK says what it runs on: a Spark Connect address (sc://localhost:15002), a master (local[2]), or the word
sail or connect for a Sail server, or Spark's own Connect server, that is started for these tests. Where PySpark is not
installed no test is collected.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
import servers

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RUNS_ON = os.environ.get("HYDRAGRAPH_SPARK", "")

collect_ignore_glob = [] if find_spec("pyspark") else ["test_*.py"]


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """A session on what HYDRAGRAPH_SPARK says; four partitions, as two cores and small tables want."""
    if not RUNS_ON or RUNS_ON == "cluster":
        pytest.skip("HYDRAGRAPH_SPARK does not say what Spark to test on")
    from hydragraph.engines.spark.session import open_session

    with ExitStack() as stack:
        if RUNS_ON == "sail" or RUNS_ON.startswith("sc://"):
            session = open_session(remote=stack.enter_context(servers.sail()) if RUNS_ON == "sail" else RUNS_ON)
        elif (home := servers.java_home()) is None:
            pytest.skip(servers.NO_JAVA)
        elif RUNS_ON == "connect":
            session = open_session(remote=stack.enter_context(servers.connect(home)))
        else:
            os.environ |= servers.quiet(home)
            session = open_session(master=RUNS_ON)
        session.conf.set("spark.sql.shuffle.partitions", "4")
        stack.callback(session.stop)
        yield session
