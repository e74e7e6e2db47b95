"""Positions of a bipartite graph's nodes: small, fast and the same every time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.float64]
Codes = NDArray[np.int64]

_STEPS, _FEWER_STEPS = 80, 50
_MANY_NODES = 150

_GOLDEN = np.pi * (3 - np.sqrt(5))


def bipartite_layout(accounts: int, identifiers: int, links: Codes) -> Positions:
    """Positions of `accounts` + `identifiers` nodes, shape (accounts + identifiers, 2), arbitrary scale.

    links: shape (m, 2), account code and identifier code. Accounts start on a spiral in the order of their codes,
    identifiers in the middle of their accounts; a few sweeps move every node towards the middle of its neighbours; then
    80 steps (50 from 150 nodes on) of a force layout (Fruchterman & Reingold 1991: repulsion 1/d, attraction d^2, falling
    temperature) with a pull to the middle that keeps loose pieces near. O(nodes^2) a step: meant for some 600 nodes.
    No random numbers and no linear algebra library, so that the same graph gives the same picture.
    """
    n = accounts + identifiers
    if n == 0:
        return np.zeros((0, 2))
    ends = np.column_stack([links[:, 0], links[:, 1] + accounts]) if len(links) else np.zeros((0, 2), np.int64)
    place = _start(accounts, n, ends)
    return _forces(place, ends, _STEPS if n < _MANY_NODES else _FEWER_STEPS)


def fit(place: Positions, width: float, height: float, margin: float) -> Positions:
    """`place` turned, spread and scaled into width x height; shape kept, rounded to one decimal.

    The longest axis is laid along the longer side. Large graphs are spread: each coordinate is mixed with its rank, by
    half from 300 nodes on, because force layouts crowd the middle and leave a few nodes far out. The axes may
    be stretched apart by 1.2, in large graphs by 1.7, to use the paper, and a small graph is not blown up beyond 110
    a link.
    """
    n = len(place)
    if n == 0:
        return place
    centred = place - place.mean(axis=0)
    xx, yy, xy = (centred[:, 0] ** 2).sum(), (centred[:, 1] ** 2).sum(), (centred[:, 0] * centred[:, 1]).sum()
    angle = -0.5 * np.arctan2(2 * xy, xx - yy)
    cos, sin = np.cos(angle), np.sin(angle)
    turned = np.column_stack(
        [
            centred[:, 0] * cos - centred[:, 1] * sin,
            centred[:, 0] * sin + centred[:, 1] * cos,
        ]
    )
    turned -= (turned.min(axis=0) + turned.max(axis=0)) / 2
    reach = np.maximum(np.abs(turned).max(axis=0), 1e-9)
    ranks = np.argsort(np.argsort(turned, axis=0, kind="stable"), axis=0, kind="stable")
    mixed = min(0.5, max(0.0, (n - 40) / 520))
    spread = (1 - mixed) * turned + mixed * reach * (2 * ranks / max(n - 1, 1) - 1)
    scale = np.array([width / 2 - margin, height / 2 - margin]) / reach
    scale = np.minimum(np.minimum(scale, scale.min() * (1.2 + min(0.5, n / 400))), 110.0)
    out: Positions = np.round(spread * scale + np.array([width / 2, height / 2]), 1) + 0.0
    return out


def _start(accounts: int, n: int, ends: Codes) -> Positions:
    order = np.arange(n, dtype=np.float64)
    spiral = np.sqrt(order + 0.5)[:, None] * np.column_stack([np.cos(order * _GOLDEN), np.sin(order * _GOLDEN)])
    place: Positions = spiral / np.sqrt(n)
    if not len(ends):
        return place
    linked = np.bincount(ends.ravel(), minlength=n)
    free = linked == 0
    for sweep in range(12):
        middle = _sum_at(ends[:, 0], place[ends[:, 1]], n) + _sum_at(ends[:, 1], place[ends[:, 0]], n)
        middle /= np.maximum(linked, 1)[:, None]
        keep = 0.0 if sweep == 0 else 0.5
        moved = keep * place + (1 - keep) * middle
        moved[free] = place[free]
        if sweep == 0:  # identifiers have no place of their own yet, accounts have
            moved[:accounts] = place[:accounts]
        moved -= moved.mean(axis=0)
        spread = np.sqrt((moved**2).sum(axis=1).mean())
        place = moved / max(spread, 1e-9)
    place += 0.05 * spiral / np.sqrt(n)
    return place


def _forces(place: Positions, ends: Codes, iterations: int) -> Positions:
    n = len(place)
    place = place * np.sqrt(n) * 0.5
    # busy nodes are pulled less by each of their links and push the others harder: hubs neither swallow their accounts
    # nor lie on each other
    busy = np.maximum(np.bincount(ends.ravel(), minlength=n), 1) if len(ends) else np.ones(n)
    weight, mass = 1 / np.sqrt(busy), np.sqrt(np.sqrt(busy)).astype(np.float32)
    heat = 0.35 * np.sqrt(n)
    near, other = np.empty((n, n), np.float32), np.empty((n, n), np.float32)  # filled anew in each step
    for step in range(iterations):
        x, y = (np.ascontiguousarray(place[:, axis], dtype=np.float32) for axis in (0, 1))
        np.subtract.outer(x, x, out=near)
        np.multiply(near, near, out=near)
        np.subtract.outer(y, y, out=other)
        np.multiply(other, other, out=other)
        near += other
        np.maximum(near, 0.01, out=near)
        np.divide(1.0, near, out=near)
        # the sum over j of mass_j (p_i - p_j) / d^2; einsum, because a matrix product may add in another order when it
        # has other threads
        total = np.einsum("ij,j->i", near, mass)
        force = np.column_stack([one * total - np.einsum("ij,j->i", near, mass * one) for one in (x, y)])
        force = force.astype(np.float64) * mass[:, None]
        if len(ends):
            gap = place[ends[:, 0]] - place[ends[:, 1]]
            pull = gap * np.sqrt((gap**2).sum(axis=1))[:, None]
            force -= _sum_at(ends[:, 0], pull, n) * weight[:, None]
            force += _sum_at(ends[:, 1], pull, n) * weight[:, None]
        force -= place * 0.12
        length = np.sqrt((force**2).sum(axis=1))
        limit = heat * (1 - step / iterations) + 0.02
        place += force * (np.minimum(length, limit) / np.maximum(length, 1e-9))[:, None]
    return place


def _sum_at(index: Codes, values: Positions, n: int) -> Positions:
    return np.column_stack([np.bincount(index, values[:, axis], minlength=n) for axis in (0, 1)])
