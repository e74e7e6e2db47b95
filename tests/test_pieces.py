"""Pieces of strong ties: of components by themselves, in threads, and handed in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hydragraph import communities, simulate
from hydragraph.activity import read_activity
from hydragraph.communities import CORE_NET, find_clusters, find_pieces
from hydragraph.evidence import weigh
from hydragraph.grouping import connected, modularity_parts
from hydragraph.links import read_links
from hydragraph.loaders import open_source
from hydragraph.settings import Settings
from hydragraph.ties import Ties, find_ties

SETTINGS = Settings()


def offices(number: int, size: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ties a < b to about six others of one's office each, and of everybody to the next."""
    random = np.random.default_rng(seed)
    n, office = number * size, np.repeat(np.arange(number), 3 * size)
    a, b = (office * size + random.integers(0, size, len(office)) for _ in range(2))
    a, b = np.append(a, np.arange(n - 1)), np.append(b, np.arange(1, n))
    keys = np.unique((np.minimum(a, b) * n + np.maximum(a, b))[a != b])
    return keys // n, keys % n


def test_components_by_themselves_fall_into_the_same_pieces() -> None:
    """That is what lets tasks take some of the components each."""
    a, b = offices(60, 14, seed=1)
    random = np.random.default_rng(2)
    stays = random.random(len(a)) < 0.9
    a, b = a[stays], b[stays]
    none = np.zeros(len(a), np.int64)
    ties = Ties(a, b, random.choice([1.0, 3.0, 5.0, 9.0], len(a)), none, none, none.astype(float), 0)
    n = 60 * 14
    whole, component = find_pieces(n, ties), connected(n, a, b)
    assert 2 < len(np.unique(component)) < whole.max()

    for some in (component % 2 == 0, component % 2 == 1):
        account = np.flatnonzero(some)
        ours = ties.select(some[ties.a])
        codes = [np.searchsorted(account, end) for end in (ours.a, ours.b)]
        label = find_pieces(len(account), Ties(*codes, ours.net, ours.shared, ours.kinds, ours.synchrony, 0))
        first = {int(of): int(account[at]) for at, of in reversed(list(enumerate(label)))}
        expected = {int(of): int(at) for at, of in reversed(list(enumerate(whole))) if some[at]}
        assert [first[of] if of >= 0 else -1 for of in label.tolist()] == [
            expected[of] if of >= 0 else -1 for of in whole[account].tolist()
        ]


def test_communities_do_not_depend_on_what_other_threads_do() -> None:
    """Leiden's random numbers are of each call: engines that run tasks as threads need no lock around it."""
    graphs = [(size * 12, *offices(12, size, seed)) for seed, size in enumerate([15, 40, 90, 25] * 6)]
    alone = [modularity_parts(*graph).tolist() for graph in graphs]

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda graph: modularity_parts(*graph).tolist(), graphs)) == alone


def test_pieces_that_are_handed_in_are_not_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(tmp_path, accounts=600, seed=3, scenario="small")
    graph, requests, _ = read_links(open_source(tmp_path, settings=SETTINGS), SETTINGS)
    evidence, activity = weigh(graph, SETTINGS), read_activity(requests, graph.accounts.height)
    ties = find_ties(graph, evidence, activity)
    expected = find_clusters(graph, evidence, ties, activity)
    pieces = find_pieces(graph.accounts.height, ties.select(ties.net >= CORE_NET))
    monkeypatch.setattr(communities, "find_pieces", None)

    other_numbers = np.where(pieces < 0, -1, 7 * (int(pieces.max()) - pieces))
    found = find_clusters(graph, evidence, ties, activity, pieces=other_numbers)
    assert found.label.tolist() == expected.label.tolist()
    assert found.bits.tolist() == expected.bits.tolist()
