"""Pairs of accounts that belong together or apart, applied to clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.bipartite import BipartiteGraph
from hydragraph.constraints.tables import MUST
from hydragraph.grouping import connected, renumber
from hydragraph.ties import Ties

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_MILLI = 1000


@dataclass(frozen=True)
class Pairs:
    """Constraints by account code.

    together: number of the group of accounts that must be in one cluster, -1 for none, shape (accounts,). a, b: pairs that
    must not be; none of them is in one group.
    """

    together: Ints
    a: Ints
    b: Ints

    def broken(self, label: Ints) -> Flags:
        """Which of the pairs are in one cluster."""
        found: Flags = (label[self.a] == label[self.b]) & (label[self.a] >= 0)
        return found


def coded_pairs(
    graph: BipartiteGraph, pairs: pl.DataFrame, groups: Sequence[pl.Series] = ()
) -> tuple[Pairs | None, list[str]]:
    """`pairs` (account_a, account_b, relation) by account code, None if nothing holds here, and a sentence if some name
    accounts that are not in the graph.

    An account that is not there still puts others together: a with x and x with b is a with b; and apart. groups: ids of
    further accounts that belong together, as far as the pairs allow: whoever may not be with those before it in a group is
    left out of it.
    """
    ids = graph.accounts["account_id"]
    names = pl.concat([pairs["account_a"], pairs["account_b"]]).unique().sort()
    code = _codes(names, ids)
    x, y = (_codes(pairs[end], names) for end in ("account_a", "account_b"))
    must = (pairs["relation"] == MUST).to_numpy()
    part = connected(len(names), x[must], y[must])
    known = np.flatnonzero(code >= 0)
    # each part goes by the first of its accounts that is there
    first = np.full(int(part.max(initial=-1)) + 1, -1)
    first[part[known][::-1]] = code[known][::-1]
    stands = first[part]
    a, b = stands[x[~must]], stands[y[~must]]
    there = (a >= 0) & (b >= 0)
    edges = [(stands[known], code[known])]
    for group in groups:
        members = np.sort(_codes(group, ids))
        members = members[members >= 0]
        edges.append((np.repeat(members[:1], len(members)), members))
    one, other = (np.concatenate([edge[i] for edge in edges]).astype(np.int64) for i in (0, 1))
    together = _united(len(ids), one, other, a[there], b[there])
    size = np.bincount(together, minlength=1)
    found = Pairs(renumber(np.where(size[together] > 1, together, -1)), a[there], b[there])
    lost = int(((code[x] < 0) | (code[y] < 0)).sum())
    said = (
        [f"constraints: {lost:,} of {pairs.height:,} pairs name an account that is not in the source"] if lost else []
    )
    nothing = not len(found.a) and bool((found.together < 0).all())
    return None if nothing else found, said


def belonging(pairs: pl.DataFrame) -> pl.DataFrame:
    """Which accounts of `pairs` must be in one cluster, by way of others as well: account_id and group, sorted."""
    must = pairs.filter(relation=MUST)
    names = pl.concat([must["account_a"], must["account_b"]]).unique().sort().alias("account_id")
    part = connected(len(names), *(_codes(must[end], names) for end in ("account_a", "account_b")))
    return names.to_frame().with_columns(group=pl.Series(part, dtype=pl.Int64))


def _codes(names: pl.Series, among: pl.Series) -> Ints:
    """Position of each name among others, -1 for none."""
    coded = among.to_frame("name").with_row_index("code")
    found = names.to_frame("name").join(coded, on="name", how="left", maintain_order="left")["code"]
    return found.cast(pl.Int64).fill_null(-1).to_numpy()


def untied(ties: Ties, pairs: Pairs) -> Ties:
    """The ties without those between accounts that belong apart."""
    n = np.int64(len(pairs.together))
    apart = np.minimum(pairs.a, pairs.b) * n + np.maximum(pairs.a, pairs.b)
    return ties.select(~np.isin(ties.a * n + ties.b, apart))


def settled(label: Ints, ties: Ties, pairs: Pairs) -> Ints:
    """Cores once the pairs are heeded.

    Groups become one core each, together with all cores of their members. A core with a pair that belongs apart is then
    built anew from its ties, the strongest first, leaving out every tie that would put such a pair together, the tie of
    the two among them: it comes apart at the weakest ties of the paths between the two. ties: those that make cores.
    Accounts without a tie left are in no core.
    """
    label = _with_groups(label, pairs.together)
    hit = np.zeros(int(label.max(initial=-1)) + 1, bool)
    hit[label[pairs.a[pairs.broken(label)]]] = True
    if not hit.any():
        return label
    inside = np.flatnonzero((label[ties.a] == label[ties.b]) & (label[ties.a] >= 0))
    inside = inside[hit[label[ties.a[inside]]]]
    inside = inside[np.lexsort((ties.b[inside], ties.a[inside], -np.round(ties.net[inside] * _MILLI)))]
    member = np.flatnonzero(pairs.together >= 0)
    _, first, at = np.unique(pairs.together[member], return_index=True, return_inverse=True)
    part = _united(
        len(label),
        np.concatenate([member[first][at], ties.a[inside]]),
        np.concatenate([member, ties.b[inside]]),
        pairs.a,
        pairs.b,
    )
    again = (label >= 0) & hit[label]
    return renumber(np.where(again, len(hit) + part, label))


def _with_groups(label: Ints, together: Ints) -> Ints:
    """Labels in which each group is in one core with all the cores of its members."""
    member = np.flatnonzero(together >= 0)
    if not len(member):
        return label
    # cores and groups are nodes; a member joins its core and its group
    cores = int(label.max(initial=-1)) + 1
    in_core = member[label[member] >= 0]
    part = connected(cores + int(together.max()) + 1, label[in_core], cores + together[in_core])
    out = np.where(label >= 0, part[label], -1)
    out[member] = part[cores + together[member]]
    return renumber(out)


def left_out(label: Ints, pieces: Ints, pairs: Pairs) -> Flags:
    """Which accounts must leave their cluster because it holds a pair that belongs apart, shape (accounts,).

    pieces: the cores from which the clusters were put together, -1 for accounts by themselves; none holds such a pair. The
    largest piece stays; the others, in falling size, stay unless they hold an account that may not be with one that stays.
    """
    out = np.zeros(len(label), bool)
    hit = np.unique(label[pairs.a[pairs.broken(label)]])
    for cluster in hit.tolist():
        members = np.flatnonzero(label == cluster)
        piece = np.where(pieces[members] >= 0, len(label) + pieces[members], members)
        names, first, at, size = np.unique(piece, return_index=True, return_inverse=True, return_counts=True)
        order = np.lexsort((first, -size))
        own = np.full(len(label), -1)
        own[members] = at
        inside = (own[pairs.a] >= 0) & (own[pairs.b] >= 0)
        largest = np.full(len(names), order[0])
        part = _united(len(names), largest, order, own[pairs.a[inside]], own[pairs.b[inside]])
        out[members] = (part != part[order[0]])[at]
    return out


def _united(nodes: int, a: Ints, b: Ints, foe_a: Ints, foe_b: Ints) -> Ints:
    """Part of each node once the pairs a, b are joined one after the other, but for those that would put two foes into
    one part; a part goes by its smallest node. Foes that are one node are disregarded."""
    part = np.arange(nodes)
    involved, code = np.unique(np.concatenate([a, b, foe_a, foe_b]), return_inverse=True)
    above = list(range(len(involved)))

    def root(node: int) -> int:
        while above[node] != node:
            above[node] = above[above[node]]
            node = above[node]
        return node

    foes: list[set[int]] = [set() for _ in above]
    x, y, p, q = (column.tolist() for column in np.split(code, np.cumsum([len(a), len(b), len(foe_a)])))
    for one, other in zip(p, q, strict=True):
        if one != other:
            foes[one].add(other)
            foes[other].add(one)
    for one, other in zip(x, y, strict=True):
        one, other = sorted((root(one), root(other)))
        if one == other or other in foes[one]:
            continue
        above[other] = one
        for foe in foes[other]:
            foes[foe].discard(other)
            foes[foe].add(one)
        foes[one] |= foes[other]
    part[involved] = involved[[root(node) for node in range(len(involved))]]
    return part
