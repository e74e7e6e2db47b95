"""The engine for sources that no machine holds alone: the steps up to the ties on Apache Spark."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hydragraph import __version__
from hydragraph.decisions import read_decisions
from hydragraph.engines.engine import Conclude, Job, Timing
from hydragraph.engines.spark.concluding import READ, Small, conclude_on_executor
from hydragraph.engines.spark.heeding import foreseen_on_spark, set_aside_on_spark
from hydragraph.engines.spark.pieces import pieces_on_spark
from hydragraph.engines.spark.places import is_uri, open_place, remove, remove_empty, stamps_in
from hydragraph.engines.spark.probing import refuse_cluster_apart
from hydragraph.engines.spark.reading import read_tables
from hydragraph.engines.spark.rewiring import rewire_on_spark
from hydragraph.engines.spark.session import saying_what_failed, session_for
from hydragraph.engines.spark.stages import IDENTIFIERS, Stages, kinds_in
from hydragraph.engines.spark.tying import tie_on_spark
from hydragraph.engines.spark.weighing import weigh_on_spark
from hydragraph.errors import InputRefused, NotWritable

_PATTERN = frozenset("*?[]{}\\")
_OURS = "hydragraph-"
"""Beginning of the names of folders with stages, by which they are known for removal."""


@dataclass(frozen=True)
class Spark:
    """Reading, weighing, tying and the first communities on a Spark cluster, the rest in one task of it.

    master, remote: see session.open_session. stages: folder for what the steps hand on, in a folder of its own there, which
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
        job = replace(job, out=_absolute(job.out))  # executors work in other folders
        digest = _digest(places, job)
        folder = _local(_absolute(f"{job.out}.stages" if self.stages is None else self.stages))
        _refuse_folder(folder, places, job)
        own = f"{_OURS}{digest[:16]}"
        with ExitStack() as stack:
            with _step(timing, "session"):
                session = stack.enter_context(session_for(self.master, self.remote))
                stages = Stages(session, f"{folder}/{own}", digest)
                stages.prepare()
                try:
                    refuse_cluster_apart(stages, _previous(job))
                except BaseException:
                    with suppress(OSError):
                        remove_empty(stages.root)
                        if self.stages is None:
                            remove_empty(folder)
                    raise
            with _step(timing, "read"), self._leaving_nothing(folder, own):
                read = read_tables(stages, places, job.mapping, job.settings)
                stages, left = set_aside_on_spark(stages, job.known.allowed, job.settings)
                stages, confirmed, cleared = foreseen_on_spark(stages, job.before)
                kinds = kinds_in(stages.read("identifiers", IDENTIFIERS)) if left else read.kinds
            with _step(timing, "evidence"):
                prior = weigh_on_spark(stages, kinds, job.settings)
            with _step(timing, "ties"):
                formed = tie_on_spark(stages, kinds, prior, read.accounts)
            with _step(timing, "pieces"):
                pieces_on_spark(stages, read.accounts)
            with _step(timing, "rewired"):
                rewired = rewire_on_spark(stages, kinds, job.settings, prior, read.accounts)
            small = Small(
                {name: stages.written(name) for name in READ},
                read.source(),
                prior,
                formed,
                rewired,
                _previous(job),
                None if job.before is None else job.before.digest,
                confirmed,
                [*left, *cleared],
                timing.done,
            )
            with _step(timing, "clusters, groups, signals, case and report, in one task"):
                conclude_on_executor(stages, job, small, conclude)
        if not self.keep:
            # in a folder that somebody named, nothing of other runs is touched
            self._remove(folder, own if self.stages is not None else _OURS)

    @contextmanager
    def _leaving_nothing(self, folder: str, own: str) -> Iterator[None]:
        """A block that leaves nothing of this run behind when it refuses the source: it may be refused for what it holds."""
        try:
            yield
        except InputRefused:
            if not self.keep:
                self._remove(folder, own)
            raise

    def _remove(self, folder: str, named: str) -> None:
        try:
            remove(folder, named, empty=self.stages is None)
        except FileNotFoundError:
            pass  # another run took it away meanwhile
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else "its store does not let it go"
            raise NotWritable(
                f"the folder of Spark's steps cannot be removed ({why}); it holds raw identifiers: remove it by hand"
            ) from None


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


def _previous(job: Job) -> str | None:
    return None if job.before is None else str(job.before.path.resolve())


def _places(source: str | Path | Sequence[str | Path]) -> list[str]:
    given = [source] if isinstance(source, (str, Path)) else list(source)
    return [_absolute(place) for place in given]


def _absolute(place: str | Path) -> str:
    """A place as executors, which work in other folders, find it. A link keeps its name, which may be that of a table."""
    if is_uri(place):
        return str(place).rstrip("/")
    path = Path(place)
    return str(path.resolve() if path.name in ("", "..") else path.parent.resolve() / path.name)


def _local(place: str) -> str:
    """The path of a `file://` URI, any other place as it is: Spark and Arrow read `%20` in such a URI differently."""
    return open_place(place)[1].rstrip("/") if place.startswith("file://") else place


def _refuse_folder(folder: str, places: Sequence[str], job: Job) -> None:
    """Raise InputRefused for a folder in which steps cannot keep what they hand on."""
    if set(folder) & _PATTERN:
        raise InputRefused(
            "the folder of Spark's steps has one of * ? [ ] { } \\ in its name, which Spark takes for a pattern; name"
            " another with --stages"
        )
    inside = [_local(str(place)) for place in (job.out, *places)]
    if any(f"{folder}/".startswith(f"{place}/") for place in inside):
        raise InputRefused("the folder of Spark's steps lies in the source or in the case; name another with --stages")


def _digest(places: Sequence[str], job: Job) -> str:
    """Of the case and of all that the stages depend on: the files with their sizes and times, the mapping, the settings,
    the version, and what is known beforehand."""
    files = [(place, file) for place in places for file in stamps_in(place)]
    decisions = [] if job.before is None else [asdict(d) for d in read_decisions(job.before.path)]
    earlier = None if job.before is None else job.before.digest
    known = [_mapping(job), job.known.digest, decisions, earlier]
    told = json.dumps([job.out, __version__, asdict(job.settings), files, known], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def _mapping(job: Job) -> str | None:
    """The digest of the mapping file; whoever reads it says what is wrong if it cannot be read."""
    try:
        return None if job.mapping is None else hashlib.sha256(Path(job.mapping).read_bytes()).hexdigest()
    except OSError:
        return None
