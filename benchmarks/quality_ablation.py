"""What each part of the method adds: the steps of `analyze` with all parts, and again with one part taken out at a time.

The library has no switch for a part. It is taken out here, by patches that are undone when the run is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

import hydragraph.assess
import hydragraph.chance
import hydragraph.communities
import hydragraph.evidence
import hydragraph.meshes
import hydragraph.ties
from hydragraph.activity import Activity, read_activity
from hydragraph.assess import SMALLEST_LEAD, assess
from hydragraph.bipartite import BipartiteGraph
from hydragraph.chance import blocks_by_chance, compare, found_by_chance
from hydragraph.communities import find_clusters
from hydragraph.evidence import Evidence, weigh
from hydragraph.groups import find_groups
from hydragraph.limits import Limits, read_limits
from hydragraph.links import read_links
from hydragraph.loaders import open_source
from hydragraph.settings import Settings
from hydragraph.signals import look, measure
from hydragraph.ties import find_ties

EVERYTHING = "everything"

PARTS = {
    "calibration": "the declared worth of each kind stands, whatever the source shows",
    "own users": "an identifier is weighed by its class alone, and meshes of keys, cards and devices are not told apart",
    "discounts": "further identifiers of a kind count in full, declared shared ranges like others, and neither how many"
    " identifiers an account uses nor how much it uses each counts",
    "joining": "no cores are joined or merged, and no account is attached",
    "blocks": "no cores of accounts that only waves of work hold together",
    "groups": "no rings that leave only common exits or templates",
    "time": "no synchrony, in ties, clusters or signals; and so no blocks",
    "chance": "as if chance gave no cluster",
    "source shares": "each hypothesis as common as declared, whatever the source shows",
    "hypotheses": f"every cluster of at least {SMALLEST_LEAD} accounts is accused, of whose kind chance gives fewer than one"
    " in ten",
}
"""Parts by name, and what remains when each is taken out."""

Counts = Mapping[str, tuple[float, float]]
"""Measure -> its two counts: hits, and what they are out of."""


def _all_zero(graph: BipartiteGraph) -> NDArray[np.float32]:
    return np.zeros(graph.links.height, np.float32)


def _no_breadth(graph: BipartiteGraph, key: NDArray[np.int64], kind: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.zeros(len(key), np.int64)


def _no_blocks(_: BipartiteGraph, label: NDArray[np.int64], *__: object) -> tuple[NDArray[np.int64], NDArray[Any]]:
    return label, np.zeros(len(label))


def _not_merged(_: BipartiteGraph, label: NDArray[np.int64], *__: object) -> NDArray[np.int64]:
    return label


def _not_joined(label: NDArray[np.int64], *_: object) -> NDArray[np.int64]:
    return label


def _in_full(graph: BipartiteGraph, settings: Settings, prior: float | None = None) -> Evidence:
    evidence = weigh(graph, settings, prior)
    return replace(evidence, further=evidence.bits)


def _not_attached(
    _: BipartiteGraph, __: object, label: NDArray[np.int64], *___: object
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    return label, np.zeros(len(label))


_OF_TIME = ("synchrony", "hand_off")
_MOSTLY = 0.9

_PATCHES: dict[str, tuple[tuple[object, str, object], ...]] = {
    "calibration": (
        (hydragraph.evidence, "_LARGEST_SHIFT", 0.0),
        (hydragraph.evidence, "_CORROBORATING_CLASS", 2.0),
    ),
    "own users": (
        (hydragraph.evidence, "_CORROBORATING_CLASS", 2.0),
        (hydragraph.meshes, "_WOVEN_ACCOUNTS", 2.0),
    ),
    "discounts": (
        (hydragraph.evidence, "KNOWN_SHARED_BITS", 0.0),
        (hydragraph.chance, "weigh", _in_full),
        (hydragraph.ties, "_breadth", _no_breadth),
        # a property goes before what a graph has cached, and the rewired graph has it, too
        (BipartiteGraph, "focus", property(_all_zero)),
    ),
    "joining": (
        (hydragraph.communities, "rejoin", _not_joined),
        (hydragraph.communities, "join_in_waves", _not_joined),
        (hydragraph.communities, "merge_cores", _not_merged),
        (hydragraph.communities, "attach", _not_attached),
    ),
    "blocks": ((hydragraph.communities, "find_blocks", _no_blocks),),
    "source shares": ((hydragraph.assess, "DECLARED_CLUSTERS", 1e15),),
}


def accused(
    graph: BipartiteGraph, activity: Activity, limits: Limits, without: str | None = None
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Cluster of each account, -1 for none, and whether it is accused, as `analyze` finds them but for one part."""
    settings = Settings()
    with ExitStack() as patched:
        for where, name, value in _PATCHES.get(without or "", ()):
            patched.enter_context(patch.object(where, name, value))
        evidence = _in_full(graph, settings) if without == "discounts" else weigh(graph, settings)
        times = None if without == "time" else activity
        ties = find_ties(graph, evidence, times)
        clusters = find_clusters(graph, evidence, ties, times)
        shares = None
        given = np.ones(len(clusters.breaks))
        if without not in ("groups", "time"):
            groups = find_groups(graph, evidence, clusters, activity, settings)
            clusters, shares, given = groups.clusters, groups.shares, groups.beyond
        view = look(graph, evidence, clusters, activity, limits)
        block, blocks = blocks_by_chance(graph, evidence, clusters, ties, activity, settings)
        chance = compare(clusters, found_by_chance(graph, evidence, settings), block, blocks)
        beyond = np.where(clusters.loose, given, 1.0 if without == "chance" else chance.beyond)
        if without == "hypotheses":
            chosen = (view.size >= SMALLEST_LEAD) & (beyond > _MOSTLY)
        else:
            measured = {n: m for n, m in measure(view).items() if without != "time" or n not in _OF_TIME}
            chosen = np.array([a == "coordinated" for a in assess(view, measured, beyond, shares).assessment], bool)
    return clusters.label, (clusters.label >= 0) & np.append(chosen, False)[clusters.label]


def ablations(source: Path) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.bool_]]]:
    """EVERYTHING and each of PARTS taken out: its name, the cluster of each account by id, whether it is accused."""
    graph, requests, limits = read_links(open_source(source), Settings())
    activity = read_activity(requests, graph.accounts.height)
    met = read_limits(limits, requests, activity)
    yield EVERYTHING, *accused(graph, activity, met)
    for part in PARTS:
        yield part, *accused(graph, activity, met, part)


def ablation_section(worlds: Iterable[tuple[str, Mapping[str, Counts]]]) -> str:
    """The section about what each part adds. worlds: title, and the counts of EVERYTHING and without each of PARTS."""
    every = [(title, counts) for title, counts in worlds if counts]
    if not every:
        return ""
    columns: list[tuple[str, Callable[[str], str]]] = []
    for title, counts in every:
        if counts[EVERYTHING]["recall"][1]:
            for name, measure_ in (("precision", "precision"), ("recall", "recall"), ("rings whole", "rings_whole")):
                columns.append((f"{title}: {name}", lambda p, c=counts, m=measure_: _share(*c[p][m])))  # type: ignore[misc]
        columns.append((f"{title}: innocent accounts accused", lambda p, c=counts: _wrong(c[p])))  # type: ignore[misc]
    lines = [
        [EVERYTHING if part == EVERYTHING else f"without {part}", *(show(part) for _, show in columns)]
        for part in (EVERYTHING, *PARTS)
    ]
    head = ["", *(name for name, _ in columns)]
    return "\n".join(
        [
            "## What each part adds",
            "",
            "The same worlds, analysed again with one part taken out at a time, on the first seed only. What a part adds"
            " is the difference from the first row; parts overlap, so the differences do not add up.",
            "",
            *(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *lines]),
            "",
            *(f"- Without {part}: {meaning}." for part, meaning in PARTS.items()),
            "",
        ]
    )


def _wrong(counts: Counts) -> str:
    right, said = counts["precision"]
    return f"{said - right:,.0f}"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.3f}" if whole else "-"
