"""The engine that needs nothing but this process: polars and numpy."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from hydragraph.activity import read_activity
from hydragraph.bipartite import BipartiteGraph
from hydragraph.chance import Chance, found_by_chance
from hydragraph.constraints import coded_pairs, set_aside
from hydragraph.engines.engine import Conclude, Job, Tied, Timing
from hydragraph.evidence import Evidence, weigh
from hydragraph.hiding import hide
from hydragraph.limits import read_limits
from hydragraph.links import not_yet_closed, read_links
from hydragraph.loaders import open_source
from hydragraph.memory import release_memory
from hydragraph.review import foreseen
from hydragraph.settings import Settings
from hydragraph.ties import find_ties


@dataclass(frozen=True)
class Embedded:
    """Everything in this process."""

    def carry_out(self, job: Job, conclude: Conclude, timing: Timing) -> None:
        """See Engine.carry_out."""
        conclude(job, partial(_tie, job, timing), timing)


def _tie(job: Job, timing: Timing) -> Tied:
    settings, known = job.settings, job.known
    with timing.stage("read"):
        opened = open_source(job.source, mapping=job.mapping, settings=settings, private=job.key is not None)
    with timing.stage("links"):
        with opened.reading():
            graph, requests, limits = read_links(opened, settings)
            graph, never = not_yet_closed(graph)
        opened = opened.without_tables()
        if job.key is None:
            graph, left = set_aside(graph, known.allowed, settings)
        else:
            graph, known, left = hide(graph, known, job.key, settings)
        graph, confirmed, cleared = foreseen(graph, job.before)
        pairs, unknown = coded_pairs(graph, known.pairs, confirmed)
    release_memory()
    with timing.stage("evidence"):
        evidence = weigh(graph, settings)
    by_chance = _chance_meanwhile(graph, evidence, settings)
    with timing.stage("activity"):
        activity = read_activity(requests, graph.accounts.height)
        met = read_limits(limits, requests, activity)
        del requests, limits
    with timing.stage("ties"):
        ties = find_ties(graph, evidence, activity)
    notes = [*never, *known.said, *left, *cleared, *unknown]
    return Tied(opened, graph, known, pairs, evidence, activity, met, ties, by_chance, notes)


def _chance_meanwhile(graph: BipartiteGraph, evidence: Evidence, settings: Settings) -> Callable[[], Chance]:
    """What chance gives (chance.found_by_chance), begun now on another core: it depends on no later step."""
    pool = ThreadPoolExecutor(1)
    found = pool.submit(found_by_chance, graph, evidence, settings)
    pool.shutdown(wait=False)
    return found.result
