"""What must hold of a cluster before anything is read: that its tasks find what the driver writes, and run this version."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from hydragraph import __version__
from hydragraph.case import MANIFEST
from hydragraph.engines.spark.arrays import batches_of
from hydragraph.engines.spark.places import open_place
from hydragraph.engines.spark.tasks import discreetly
from hydragraph.errors import EngineFailed, InputRefused

if TYPE_CHECKING:
    import pyarrow as pa

    from hydragraph.engines.spark.stages import Stages

TASKS = 16
"""Tasks that look; which executors they come to is the cluster's affair."""

UNSEEN = (
    "Spark: what one side writes the other does not find; name a folder that all executors and this machine reach with"
    " --stages"
)

_PROBED = "version string, found boolean, previous boolean"


def refuse_cluster_apart(stages: Stages, previous: str | None) -> None:
    """Raise EngineFailed unless tasks find a file that is written here beside the stages, and have this version of
    hydragraph; InputRefused unless they find the earlier case, whose folder `previous` is.

    Not checked: executors that none of the tasks came to.
    """
    token = secrets.token_hex(8)
    file = f"{stages.root}/reached-{token}"
    system, path = open_place(file)
    with system.open_output_stream(path) as out:
        out.write(token.encode())
    try:
        look = partial(_looked, file=file, token=token, previous=previous)
        rows = stages.spark.range(0, TASKS, 1, TASKS).mapInArrow(look, _PROBED).distinct().collect()
    finally:
        with suppress(OSError):
            system.delete_file(path)
    other = sorted({row["version"] for row in rows} - {__version__})
    if other:
        raise EngineFailed(
            f"Spark: its executors have hydragraph {other[0]}, and here is {__version__}; install the same"
        )
    if not rows or not all(row["found"] for row in rows):
        raise EngineFailed(UNSEEN)
    if not all(row["previous"] for row in rows):
        raise InputRefused("previous: the executors do not find this case; name a folder that they reach, too")


def _looked(batches: Iterator[pa.RecordBatch], file: str, token: str, previous: str | None) -> Iterator[pa.RecordBatch]:
    for _ in batches:
        with discreetly():
            there = previous is None or _holds(f"{previous}/{MANIFEST}")
            yield from batches_of(_PROBED, [__version__], [_holds(file, token)], [there])


def _holds(file: str, text: str | None = None) -> bool:
    """Whether a file can be read, and says this."""
    system, path = open_place(file)
    try:
        with system.open_input_stream(path) as said:
            return text is None or bool(said.read() == text.encode())
    except OSError:
        return False
