"""Meshes: the cards, keys or devices of one controller, dealt out over many accounts so that each shares several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hydragraph.bipartite import BipartiteGraph
from hydragraph.identifiers import kind as kind_of

WIDEST_WOVEN = 64
"""Accounts that use an identifier of a mesh, at most."""

_RARELY_SHARED_BITS = 2.0
_FEWEST_WOVEN = 4
_WOVEN_ACCOUNTS = 0.5
_LINKED_ACCOUNTS = 0.8
_WOVEN_PAIRS = 0.7


@dataclass(frozen=True)
class Meshes:
    """What is dealt out and to whom. Rare: of a kind that strangers rarely share (chance_bits of at most 2), with 2 to 64
    users.

    woven: the identifiers of meshes, shape (identifiers,): rare, with at least 4 users, of whom at least half share a second
        rare identifier with another user of the first, and of whose pairs at most seven in ten do.
    linked: rare identifiers of whose users at least four in five have another rare identifier, shape (identifiers,).
    several: accounts that have at least two rare identifiers, shape (accounts,).
    """

    woven: NDArray[np.bool_]
    linked: NDArray[np.bool_]
    several: NDArray[np.bool_]


def find_meshes(graph: BipartiteGraph) -> Meshes:
    """The meshes of a graph.

    Strangers on one value (a billing service, a test key) share no second one, and so are not woven. Nor are two values
    that always come together, which are one fact: a device and its cookie. Time O(pairs of users of rare identifiers).
    Not checked: whether a mesh is one controller's; families and firms deal out cards and devices as well. Whether all that
    an account has several of is of the same mesh: a stranger on a value of one, with rare things of his own, counts as its.
    """
    woven, linked = (np.zeros(graph.identifiers.height, bool) for _ in range(2))
    rare = np.flatnonzero(
        rarely_shared(graph.kinds)[graph.kind_code] & (graph.degree > 1) & (graph.degree <= WIDEST_WOVEN)
    )
    if not len(rare):
        return Meshes(woven, linked, np.zeros(graph.accounts.height, bool))
    incidence = graph.matrix[:, rare].astype(np.int32)
    several = np.asarray(incidence.sum(axis=1)).ravel() > 1
    degree = graph.degree[rare]
    linked[rare] = are_linked(degree, np.asarray(incidence.multiply(several[:, None]).sum(axis=0)).ravel())
    common = (incidence @ incidence.T).tocoo()
    twice = (common.row < common.col) & (common.data > 1)
    a, b = common.row[twice].astype(np.int64), common.col[twice].astype(np.int64)
    # one entry for each pair that shares two and each rare identifier that it shares
    both = incidence[a].multiply(incidence[b]).tocsr()
    pair = np.repeat(np.arange(len(a)), np.diff(both.indptr))
    v = both.indices.astype(np.int64)
    pairs = np.bincount(v, minlength=len(rare))
    number = np.int64(incidence.shape[0])
    users = np.unique(np.concatenate([v * number + a[pair], v * number + b[pair]])) // number
    woven[rare] = are_woven(degree, np.bincount(users, minlength=len(rare)), pairs)
    return Meshes(woven, linked, several)


def rarely_shared(kinds: Sequence[str]) -> NDArray[np.bool_]:
    """Which kinds strangers rarely share."""
    return np.array([kind_of(k).chance_bits <= _RARELY_SHARED_BITS for k in kinds], bool)


def are_linked(degree: NDArray[np.int64], several: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rare identifiers are linked. degree: users of each; several: of them, those with another rare identifier."""
    return several >= _LINKED_ACCOUNTS * degree


def are_woven(degree: NDArray[np.int64], users: NDArray[np.int64], pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rare identifiers are of a mesh. degree: users of each; pairs: pairs of them that share a second rare identifier;
    users: those in such a pair."""
    dealt = (degree >= _FEWEST_WOVEN) & (users >= _WOVEN_ACCOUNTS * degree)
    return dealt & (pairs <= _WOVEN_PAIRS * degree * (degree - 1) / 2)
