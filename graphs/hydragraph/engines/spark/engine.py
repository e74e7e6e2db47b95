"""The engine for sources that no machine holds alone: the steps up to the ties on Apache Spark."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from hydragraph import __version__
from hydragraph.decisions import read_decisions
from hydragraph.engines.engine import Conclude, Job, Timing
from hydragraph.engines.spark.concluding import Small, conclude_on_executor
from hydragraph.engines.spark.heeding import foreseen_on_spark, kinds_of, set_aside_on_spark
from hydragraph.engines.spark.pieces import pieces_on_spark
from hydragraph.engines.spark.places import files_in, is_uri, remove
from hydragraph.engines.spark.reading import read_tables
from hydragraph.engines.spark.rewiring import rewire_on_spark
from hydragraph.engines.spark.session import open_session, saying_what_failed
from hydragraph.engines.spark.stages import Stages
from hydragraph.engines.spark.tying import tie_on_spark
from hydragraph.engines.spark.weighing import weigh_on_spark
from hydragraph.errors import InputRefused

_OURS = "hydragraph-"
"""Beginning of the names of folders with stages, by which they are known for removal."""


@dataclass(frozen=True)
class Spark:
    """Reading, weighing, tying and the first communities on a Spark cluster, the rest in one task of it.

    master, remote: see `open_session`. stages: folder for what the steps hand on, in a folder of its own there, which
    every executor reaches; None: beside the case, `<case>.stages`. A run that was interrupted goes on where it was, if the
    case, the source, the settings, the version and what is known beforehand are the same. keep: leave the folder there when
    the case is written.
    Not possible: pseudonyms, because what the steps hand on holds raw values.
    """

    master: str | None = None
    remote: str | None = None
    stages: str | Path | None = None
    keep: bool = False

    def carry_out(self, job: Job, conclude: Conclude, timing: Timing) -> None:
        """See Engine.carry_out."""
        _refuse_pseudonyms(job)
        if self.master is not None and self.remote is not None:
            raise InputRefused("a Spark master and the address of a Spark Connect server; name one of the two")
        places = _places(job.source)
        digest = _digest(places, job)
        folder = _absolute(self.stages if self.stages is not None else f"{str(job.out).rstrip('/')}.stages")
        root = f"{folder.rstrip('/')}/{_OURS}{digest[:16]}"
        with _step(timing, "session"):
            session = open_session(self.master, self.remote)
            stages = Stages(session, root, digest)
        with _step(timing, "read"):
            read = read_tables(stages, places, job.mapping, job.settings)
            stages, left = set_aside_on_spark(stages, job.known.allowed, job.settings)
            stages, confirmed, cleared = foreseen_on_spark(stages, job.before)
            kinds = kinds_of(stages) if left else read.kinds
        with _step(timing, "evidence"):
            prior = weigh_on_spark(stages, kinds, job.settings)
        with _step(timing, "ties"):
            formed = tie_on_spark(stages, kinds, prior, read.accounts)
        with _step(timing, "pieces"):
            pieces_on_spark(stages, read.accounts)
        with _step(timing, "rewired"):
            rewired = rewire_on_spark(stages, kinds, job.settings, prior, read.accounts)
        before = None if job.before is None else str(job.before.path.resolve())
        small = Small(
            stages.instead,
            root,
            read.source(),
            prior,
            formed,
            rewired,
            before,
            confirmed,
            [*left, *cleared],
            timing.done,
        )
        with _step(timing, "clusters, groups, signals, case and report, in one task"):
            conclude_on_executor(stages, job, small, conclude)
        if not self.keep:
            # in a folder that somebody named, nothing of other runs is touched
            remove(root if self.stages is not None else folder, named=_OURS)


@contextmanager
def _step(timing: Timing, name: str) -> Iterator[None]:
    with timing.stage(name), saying_what_failed(name):
        yield


def _refuse_pseudonyms(job: Job) -> None:
    if job.key is not None:
        raise InputRefused(
            "the Spark engine keeps raw identifiers in the folders of its steps, so it makes no pseudonyms; use the embedded"
            " engine"
        )


def _places(source: str | Path | Sequence[str | Path]) -> list[str]:
    given = [source] if isinstance(source, (str, Path)) else list(source)
    return [_absolute(place) for place in given]


def _absolute(place: str | Path) -> str:
    """A place as executors, which work in other folders, find it."""
    return str(place) if is_uri(place) else str(Path(place).resolve())


def _digest(places: Sequence[str], job: Job) -> str:
    """Of the case and of all that the stages depend on: the files with their sizes and times, the mapping, the settings,
    the version, and what is known beforehand."""
    files = [file for place in places for file in files_in(place)]
    mapping = None if job.mapping is None else Path(job.mapping).read_text("utf-8")
    decisions = [] if job.before is None else [asdict(d) for d in read_decisions(job.before.path)]
    earlier = None if job.before is None else job.before.digest
    told = json.dumps(
        [_absolute(job.out), __version__, asdict(job.settings), files, mapping, job.known.digest, decisions, earlier],
        sort_keys=True,
    )
    return hashlib.sha256(told.encode()).hexdigest()
