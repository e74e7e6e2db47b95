"""What an engine is: it takes a source up to the ties, and hands what it found to the steps that conclude."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hydragraph.activity import Activity
from hydragraph.bipartite import BipartiteGraph
from hydragraph.case import Case
from hydragraph.chance import Chance
from hydragraph.constraints import Constraints, Pairs
from hydragraph.evidence import Evidence
from hydragraph.limits import Limits
from hydragraph.loaders import Source
from hydragraph.memory import peak_memory, reset_peak
from hydragraph.pseudonyms import Key
from hydragraph.settings import Settings
from hydragraph.ties import Ties

Progress = Callable[[str], None]


@dataclass
class Timing:
    """Times and peak memory of the stages, for the manifest; the only figures that differ from run to run."""

    progress: Progress | None = None
    done: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A block that is a stage."""
        if self.progress is not None:
            self.progress(name)
        reset_peak()
        start = perf_counter()
        yield
        self.done.append(
            {"name": name, "seconds": round(perf_counter() - start, 3), "peak_memory_bytes": peak_memory()}
        )


@dataclass(frozen=True)
class Job:
    """What is to be analysed, and what is known beforehand. The fields are the arguments of pipeline.analyze; known: its
    constraints and allow list, read; before: the earlier case; key: of the pseudonyms."""

    source: str | Path | Sequence[str | Path]
    out: str | Path
    mapping: str | Path | None
    settings: Settings
    before: Case | None
    known: Constraints
    key: Key | None
    force: bool


@dataclass(frozen=True)
class Tied:
    """A source up to its ties.

    source: what the manifest and the rejects say of it. graph: without what is allowed, with pseudonyms if there is a key.
    known: constraints, with pseudonyms likewise; pairs: those between accounts that are there. met: which bursts met a rate
    limit. by_chance: gives what chance finds in the same graph; it may take its time. notes: sentences for the manifest on
    what was left out. pieces: the piece of each account (communities.find_pieces), None where it is still to be found.
    """

    source: Source
    graph: BipartiteGraph
    known: Constraints
    pairs: Pairs | None
    evidence: Evidence
    activity: Activity
    met: Limits
    ties: Ties
    by_chance: Callable[[], Chance]
    notes: Sequence[str]
    pieces: NDArray[np.int64] | None = None


Conclude = Callable[[Job, Callable[[], Tied], Timing], None]
"""Find clusters in what the second argument gives, and write the case. Called once: nobody else holds what it gives."""


class Engine(Protocol):
    """Where a source is read, weighed and tied."""

    def carry_out(self, job: Job, conclude: Conclude, timing: Timing) -> None:
        """Take the source up to the ties, and conclude."""
