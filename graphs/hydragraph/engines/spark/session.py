"""A Spark session: of one's own, or that of a cluster."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from hydragraph.errors import InputRefused

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_NEEDED = {
    # times are numbers of microseconds in all that is passed on; this is for what people look at in between
    "spark.sql.session.timeZone": "UTC",
    # codes are assigned by position: partitions must be those that were asked for
    "spark.sql.adaptive.coalescePartitions.enabled": "false",
}


def open_session(master: str | None = None, remote: str | None = None) -> SparkSession:
    """A session on a master (`local[4]`, `spark://host:7077`, `yarn`), on a Spark Connect server (`sc://host:15002`), or
    without either the one that is there: of spark-submit, of a notebook, or what SPARK_REMOTE names.

    Raises InputRefused where PySpark is not installed. Not checked: whether the executors have hydragraph; the first step
    fails if they have not.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise InputRefused(
            'the Spark engine needs PySpark; install it with pip install "hydragraph[spark]", and Java 17 for a master'
        ) from None
    active = SparkSession.getActiveSession() if master is None and remote is None else None
    builder = SparkSession.builder.appName("hydragraph")
    if remote is not None:
        builder = builder.remote(remote)
    elif master is not None:
        builder = builder.master(master).config("spark.ui.showConsoleProgress", "false")
        if master.startswith("local"):
            # the workers of a local master are to find what this process finds
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    session: SparkSession = active or builder.getOrCreate()
    for name, value in _NEEDED.items():
        session.conf.set(name, value)
    return session
