"""Which closed account may have been replaced by which later one, and what the two have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.bipartite import BipartiteGraph
from hydragraph.runs import changes

OWN_WILL = frozenset({"voluntary"})
"""Reasons of closing that are the account holder's own: such an account is not replaced. Any other, or none, may be."""

LONGEST_DAYS = 30.0
"""A successor begins at most this many days after the closing."""

NEAREST = 32
"""Closings of its cluster, the latest before its beginning, that are looked at for each account."""

RARE = 12
"""An identifier that at most this many members use brings in all its pairs beyond the nearest."""

HOUR = 3_600_000_000
_LONGEST = round(LONGEST_DAYS * 24 * HOUR)
_CHUNK = 300_000

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Lives:
    """Accounts of clusters in which one was closed. All arrays have shape (accounts,).

    label: number of the cluster, -1 for none or one without closings. end: when an account that may be replaced was
    closed; begin: when an account that may have taken a place began; in microseconds, -1 where there is none.
    """

    label: Ints
    end: Ints
    begin: Ints


@dataclass(frozen=True)
class Pairs:
    """Closed accounts a and accounts b of the same cluster that began later; sorted by a, then b; shape (pairs,)."""

    a: Ints
    b: Ints

    def select(self, wanted: NDArray[np.bool_]) -> Pairs:
        """The wanted ones."""
        return Pairs(self.a[wanted], self.b[wanted])


@dataclass(frozen=True)
class Used:
    """Links of members, sorted by identifier, cluster, account; shape (links,).

    kind: of the identifier. number: members of the cluster that use it. first: where each identifier and cluster begins.
    kinds: how many there are.
    """

    account: Ints
    identifier: Ints
    kind: Ints
    number: Ints
    first: Ints
    kinds: int


@dataclass(frozen=True)
class Shared:
    """What pairs share.

    both: kinds that both accounts use, as bits, shape (pairs,). at, kind, ratio: an entry for each pair and kind with a
    shared identifier: (1 / m) * sum of 1 / q over the identifiers shared, see find_lineage.
    """

    both: Ints
    at: Ints
    kind: Ints
    ratio: Floats


def lives(graph: BipartiteGraph, label: Ints) -> Lives:
    """Beginnings and ends of the accounts of all clusters with a closing. An account begins with its first activity; where
    none is known, with its opening. Times before 1970 count as unknown.

    Of an account that was closed before anything is known of it (requests sent after a ban) nobody knows when it began: it
    took no place. So every chain of replacements goes on in time, and none comes back to where it was.
    """
    reason = pl.col("close_reason").str.strip_chars().str.to_lowercase()
    began = pl.coalesce("first_seen", "created_at")
    frame = graph.accounts.select(
        end=pl.when(~reason.is_in(sorted(OWN_WILL)).fill_null(False)).then(pl.col("closed_at").cast(pl.Int64)),
        begin=pl.when((began > pl.col("closed_at")).fill_null(False).not_()).then(began.cast(pl.Int64)),
    ).fill_null(-1)
    end, begin = frame["end"].to_numpy(), frame["begin"].to_numpy()
    hit = np.zeros(int(label.max(initial=-1)) + 1, bool)
    hit[label[(label >= 0) & (end >= 0)]] = True
    inside = np.flatnonzero(label >= 0)
    kept = np.full(len(label), -1)
    kept[inside] = np.where(hit[label[inside]], (np.cumsum(hit) - 1)[label[inside]], -1)
    return Lives(kept, end, begin)


def used_by_members(graph: BipartiteGraph, known: Lives) -> Used:
    """The links of members, without identifiers that an account first used after it was closed."""
    account = graph.links["account"].to_numpy()
    at = np.flatnonzero((known.label >= 0)[account])
    account = account[at].astype(np.int64)
    since = graph.links["first_seen"].gather(at).cast(pl.Int64).fill_null(0).to_numpy()
    in_time = (known.end[account] < 0) | (since <= known.end[account])
    account = account[in_time]
    identifier = graph.links["identifier"].to_numpy()[at[in_time]].astype(np.int64)
    key = identifier * (int(known.label.max(initial=0)) + 1) + known.label[account]
    order = np.argsort(key, kind="stable")
    account, identifier = account[order], identifier[order]
    first = np.flatnonzero(changes(key[order]))
    number = np.diff(np.append(first, len(key)))
    return Used(account, identifier, graph.kind_code[identifier], np.repeat(number, number), first, len(graph.kinds))


def candidates(known: Lives, used: Used) -> Pairs:
    """The pairs that are looked at."""
    label, end, begin = known.label, known.end, known.begin
    ended, began = (np.flatnonzero((label >= 0) & (when >= 0)) for when in (end, begin))
    ended = ended[np.lexsort((ended, end[ended], label[ended]))]
    # a cluster and a time as one number: times by their rank, so that it cannot overflow
    earliest = begin[began] - _LONGEST
    time = _distinct(np.concatenate([end[ended], begin[began], earliest]))
    closed, opened, since = (
        label[of] * (len(time) + 1) + np.searchsorted(time, when)
        for of, when in ((ended, end[ended]), (began, begin[began]), (began, earliest))
    )
    start, stop = (np.searchsorted(closed, when, "left") for when in (since, opened))
    reach = np.minimum(stop - start, NEAREST)
    b = np.repeat(began, reach)
    a = ended[np.arange(len(b)) - np.repeat(np.cumsum(reach) - stop, reach)]
    x, y = _by_identifier(known, used)
    key = _distinct(np.concatenate([a, x]) * len(label) + np.concatenate([b, y]))
    return Pairs(*np.divmod(key, max(len(label), 1)))


def _distinct(values: Ints) -> Ints:
    """What np.unique gives, which hashes first: several times as slow where few are equal."""
    values = np.sort(values)
    new: Ints = values[np.diff(values, prepend=values[:1] - 1) != 0]
    return new


def _by_identifier(known: Lives, used: Used) -> tuple[Ints, Ints]:
    """Closed accounts and later ones that share a rare identifier."""
    number = used.number[used.first]
    few = (number >= 2) & (number <= RARE)
    first, number = used.first[few], number[few]
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for i in range(RARE):
        for j in range(i + 1, RARE):
            at = first[number > j]
            one, other = used.account[at + i], used.account[at + j]
            for a, b in ((one, other), (other, one)):
                gap = known.begin[b] - known.end[a]
                keep = (known.end[a] >= 0) & (known.begin[b] >= 0) & (gap > 0) & (gap <= _LONGEST)
                found.append((a[keep], b[keep]))
    return np.concatenate([a for a, _ in found]), np.concatenate([b for _, b in found])


def what_is_shared(used: Used, label: Ints, pairs: Pairs) -> Shared:
    """What the pairs share, kind by kind."""
    from scipy.sparse import csr_array

    accounts = len(label)
    has = np.bincount(used.account * used.kinds + used.kind, minlength=accounts * used.kinds)
    has = has.reshape(accounts, used.kinds)
    bits = ((has > 0) << np.arange(used.kinds, dtype=np.int64)).sum(axis=1)
    several = used.number > 1
    account, identifier = used.account[several], used.identifier[several]
    members = np.bincount(label[label >= 0], minlength=1)[label[account]]
    rarity = (members - 1.0) / (used.number[several] - 1.5)  # 1 / q
    # fewer columns make no difference but for memory
    identifier = np.cumsum(np.diff(identifier, prepend=identifier[:1]) != 0)
    columns = int(identifier.max(initial=-1)) + 1
    shape = (accounts, columns)
    one, rare = (csr_array((x, (account, identifier)), shape=shape) for x in (np.ones(len(account)), rarity))
    kind = np.zeros(columns, np.int64)
    kind[identifier] = used.kind[several]
    cell: list[Ints] = [np.zeros(0, np.int64)]
    worth: list[Floats] = [np.zeros(0)]
    for low in range(0, len(pairs.a), _CHUNK):
        a, b = pairs.a[low : low + _CHUNK], pairs.b[low : low + _CHUNK]
        both = one[a].multiply(rare[b]).tocsr()
        key = np.repeat(np.arange(len(a)), np.diff(both.indptr)) * used.kinds + kind[both.indices]
        total = np.bincount(key, both.data)
        found = np.flatnonzero(total)
        cell.append(found + low * used.kinds)
        worth.append(total[found].astype(np.float64))
    at, code = np.divmod(np.concatenate(cell), max(used.kinds, 1))
    ratio = np.concatenate(worth) / has[pairs.a[at], code]
    return Shared(bits[pairs.a] & bits[pairs.b], at, code, ratio)


def surviving_kinds(graph: BipartiteGraph, used: Used, a: Ints, b: Ints) -> Ints:
    """Kinds of which each pair shares an identifier of the cluster's own, as bits."""
    from scipy.sparse import csr_array

    own = (used.number > 1) & (2 * used.number >= graph.degree[used.identifier])
    entries = (np.ones(int(own.sum()), bool), (used.account[own], used.identifier[own]))
    matrix = csr_array(entries, shape=(graph.accounts.height, graph.identifiers.height))
    both = matrix[a].multiply(matrix[b]).tocsr()
    pair = np.repeat(np.arange(len(a)), np.diff(both.indptr))
    found = np.zeros(len(a), np.int64)
    np.bitwise_or.at(found, pair, np.int64(1) << graph.kind_code[both.indices])
    return found
