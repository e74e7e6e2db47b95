"""Work on units of the source, in tasks of Spark, and what it has to say when the source is refused."""

from __future__ import annotations

import os
import pickle
import re
import traceback
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING

from hydragraph.engines.spark.units import Unit, packed
from hydragraph.errors import HydragraphError, InputRefused

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

Work = Callable[[int, Unit], "Iterator[pa.RecordBatch]"]
"""What is done with the number of a unit, and the unit; a function of a module with its first arguments given."""

_SAID = re.compile(r"hydragraph\.errors\.InputRefused: (.*)")


def on_units(spark: SparkSession, units: Sequence[Unit], which: Sequence[int], work: Work, schema: str) -> DataFrame:
    """The rows that the work gives of some units, by number; each task has neighbours among them. which: one at least."""
    tasks = [[(which[at], units[which[at]]) for at in task] for task in packed([units[i] for i in which])]
    number = len(tasks)
    # what is told of thousands of files is much the same text
    told = zlib.compress(pickle.dumps((tasks, work)))
    return spark.range(0, number, 1, number).mapInArrow(partial(_run, told), schema)


def _run(told: bytes, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    tasks, work = pickle.loads(zlib.decompress(told))
    with discreetly():
        for batch in batches:
            for task in batch.column(0).to_pylist():
                for number, unit in tasks[task]:
                    yield from work(number, unit)


@contextmanager
def discreetly() -> Iterator[None]:
    """A block in a task whose unforeseen errors come without their text: it may quote the data, and Spark writes it into its
    logs, which may be the terminal. What is left is the kind of error, the system's reason, and where it arose."""
    try:
        yield
    except HydragraphError:
        raise
    except Exception as error:
        why = f": {os.strerror(error.errno)}" if isinstance(error, OSError) and error.errno else ""
        frames = traceback.extract_tb(error.__traceback__)
        where = "\n".join(f"  {PurePath(at.filename).name}, line {at.lineno}, in {at.name}" for at in frames)
        raise RuntimeError(f"{type(error).__name__}{why}, raised at (most recent call last):\n{where}") from None


@contextmanager
def saying_why() -> Iterator[None]:
    """A block in which Spark works: what a task refused is refused here, with the same sentence."""
    from pyspark.errors import PySparkException

    try:
        yield
    except PySparkException as error:
        said = _SAID.search(str(error))
        if said is None:
            raise
        raise InputRefused(said[1].strip()) from None
