"""Rings that leave no telling identifier and keep no common time: own cards and keys, but one set of exits or templates.

Accounts that do most of their work from the same few address ranges, or with the same few templates, are a group; so are
offices, campuses and carriers, which are most of what is found. Nothing but how a group behaves can tell them apart, so
all of them are assessed, and those that look innocent are no clusters. The same holds for the guests of a cluster, who
work where it works: the rest of the ring, or customers of the proxy service that it uses, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hydragraph.activity import Activity
from hydragraph.assess import COORDINATED_AT, REVIEW_AT, estimated_shares, likelihoods, posterior
from hydragraph.bipartite import BipartiteGraph
from hydragraph.blocks import find_pools
from hydragraph.chance import ByChance
from hydragraph.communities import Clusters, Cut
from hydragraph.constraints import Pairs, left_out
from hydragraph.evidence import Evidence
from hydragraph.grouping import connected, in_small, renumber
from hydragraph.joining import SMALL_CORE
from hydragraph.runs import changes, spread
from hydragraph.settings import Settings
from hydragraph.signals import look, measure

SMALLEST_GROUP = 6
"""Accounts of a group, at least."""

POOL_SURE = 0.85
"""A group that has but a pool of ranges in common is believed no further: customers of one proxy service share its pool."""

HOSTS = 8
"""Members of a cluster, at least, who use an identifier for others to be its guests there."""

_HOST_SHARE = 0.2
_OWN_SHARE = 0.75
_GUEST_OF = 2
SOME, MOST, ONE = LOTS = range(3)
"""Lots of guests, see `guests`."""

_GUESTS_EACH = 1.5
_ROUNDS = 4
_USUAL = 0.75
_KINDS = ("ip_range", "template")
_PART = 50_000
_HALF = 500_000
_MOSTLY = 800_000
_WHOLE = 1_000_000


@dataclass(frozen=True)
class Groups:
    """clusters: those given and the groups that were kept, numbered anew. expected: for each cluster how many groups of
    accounts thrown together at random score as high, 0 for those that are no groups; beyond: by what its score is
    multiplied, 1 for those; shape (clusters,) both. shares: of each hypothesis among all groups looked at, shape
    (hypotheses,), None when no group was kept."""

    clusters: Clusters
    expected: NDArray[np.float64]
    beyond: NDArray[np.float64]
    shares: NDArray[np.float64] | None

    def among(self, chance: ByChance) -> ByChance:
        """What chance gives for clusters, and for the groups among them."""
        loose = self.clusters.loose
        return ByChance(np.where(loose, self.expected, chance.expected), np.where(loose, self.beyond, chance.beyond))


def find_groups(
    graph: BipartiteGraph,
    evidence: Evidence,
    clusters: Clusters,
    activity: Activity,
    settings: Settings,
    pairs: Pairs | None = None,
) -> Groups:
    """Add to the clusters their guests who look coordinated, and the groups that do.

    Guests (`guests`) of clusters that by themselves score at least 0.9 are measured by the signals and weighed by the
    hypotheses, those of one cluster and lot together and without it, members of small clusters apart from the others:
    they may be households of customers of the same proxy service. A lot of at least 6 is attached when it scores at least
    0.9, too, and all that are attached to a cluster at a time are no more than three for two of its members: among many
    customers of a proxy service a few of the ring would carry the rest. That is repeated while any are attached, at most
    4 times: a cluster that has become whole holds more of its places. Their own bits are 0. A small cluster is attached
    whole when at least half of its members are, and else not at all.

    Groups are formed of accounts outside clusters of more than 5: those of one stronghold (`strongholds`), and of the
    others those broad ones that share a pool of ranges (blocks.py). Each is measured by the signals and weighed by the
    hypotheses like any cluster, with shares of its own, because groups are other things than clusters. A group stays
    with s / (s + e) times its score of at least 0.3, e being the groups that score as high when the accounts of all
    groups are dealt out anew at random, and s the groups that do as they are. Small clusters go to it whole or stay, too.
    pairs: accounts that must be with others are in no group, and of accounts that must not be together one stays.
    Not checked: rings of fewer than 6 accounts, and those whose members have no place or template in common.
    """
    clusters = _with_guests(graph, evidence, clusters, activity, pairs)
    label = clusters.label
    free = _free(label, pairs)
    group = strongholds(graph, free)
    pool = _common(graph, find_pools(graph, (label < 0) & (group < 0)))
    group = renumber(np.where(pool >= 0, int(group.max(initial=-1)) + 1 + pool, group))
    if pairs is not None:
        group = renumber(np.where(left_out(group, np.full(len(group), -1), pairs), -1, group))
    none = Groups(clusters, np.zeros(len(clusters.breaks)), np.ones(len(clusters.breaks)), None)
    if group.max(initial=-1) < 0:
        return none
    sure = np.ones(int(group.max()) + 1)
    sure[group[(pool >= 0) & (group >= 0)]] = POOL_SURE
    found, shares = _scores(graph, evidence, activity, group, None)
    if (found * sure).max() < REVIEW_AT:
        return none
    member = np.flatnonzero(group >= 0)
    dealt = group.copy()
    dealt[member] = group[np.random.default_rng([settings.seed, 4]).permutation(member)]
    by_chance, _ = _scores(graph, evidence, activity, dealt, shares)
    expected = len(by_chance) - np.searchsorted(np.sort(by_chance), found, "left").astype(np.float64)
    as_high = len(found) - np.searchsorted(np.sort(found), found, "left")
    beyond = sure * as_high / (as_high + expected)
    kept = found * beyond >= REVIEW_AT
    if not kept.any():
        return none
    going = _in_company(label, np.where(kept[group] & (group >= 0), group, -1), free)
    return _added(clusters, going, expected, beyond, shares)


def _free(label: NDArray[np.int64], pairs: Pairs | None) -> NDArray[np.bool_]:
    """Accounts that may go to a group: those outside clusters of more than 5, unless they must be with others."""
    free = (label < 0) | in_small(label, SMALL_CORE)
    return free if pairs is None else free & (pairs.together < 0)


def _with_guests(
    graph: BipartiteGraph, evidence: Evidence, clusters: Clusters, activity: Activity, pairs: Pairs | None
) -> Clusters:
    """The clusters with those of their guests who look coordinated."""
    for _ in range(_ROUNDS):
        label = clusters.label
        free = _free(label, pairs)
        of, lots = guests(graph, label, free)
        host = renumber(np.where(np.isin(label, of[of >= 0]), label, -1))
        if host.max(initial=-1) < 0:
            break
        # only those may have guests who are coordinated by themselves
        found, _ = _scores(graph, evidence, activity, host, None)
        is_host = np.zeros(int(label.max()) + 1, bool)
        is_host[label[(host >= 0) & (found >= COORDINATED_AT)[host]]] = True
        # those who have company of their own, as in a household, are judged apart
        lot = np.where((of >= 0) & is_host[of], 2 * (len(LOTS) * of + lots) + (label >= 0), -1)
        lot = renumber(np.where(in_small(lot, SMALLEST_GROUP - 1), -1, lot))
        if lot.max(initial=-1) < 0:
            break
        found, _ = _scores(graph, evidence, activity, lot, None)
        joins = (lot >= 0) & (found >= COORDINATED_AT)[lot]
        members, new = (np.bincount(x, minlength=len(is_host)) for x in (label[label >= 0], of[joins]))
        joins &= (new <= _GUESTS_EACH * members)[of]
        to = _in_company(label, np.where(joins, of, -1), free)
        if pairs is not None:
            stays = left_out(np.where(to >= 0, to, label), np.where(to >= 0, -1, label), pairs)
            to = _in_company(label, np.where(stays, -1, to), free & ~stays)
        if to.max(initial=-1) < 0:
            break
        clusters = _joined(clusters, to)
    return clusters


def _in_company(label: NDArray[np.int64], to: NDArray[np.int64], free: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The number of the cluster that each account goes to when those with a number in `to` do: a small cluster goes whole if
    all its members are free and at least half of them go to the same, and stays otherwise; shape (accounts,)."""
    held = label >= 0
    of = label[held]
    count = int(label.max(initial=-1)) + 1
    least, most = np.full(count, np.iinfo(np.int64).max), np.full(count, -1)
    goes = held & (to >= 0)
    np.minimum.at(least, label[goes], to[goes])
    np.maximum.at(most, label[goes], to[goes])
    size, going, able = (np.bincount(of[x[held]], minlength=count) for x in (held, goes, free))
    together = np.where((2 * going >= size) & (going > 0) & (least == most) & (able == size), most, -1)
    out = to.copy()
    out[held] = together[of]
    return out


def guests(
    graph: BipartiteGraph, label: NDArray[np.int64], free: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number of the cluster of which each of the `free` accounts is a guest, -1 for none, and its lot; shape (accounts,)
    both.

    A cluster of more than 5 accounts is host at the address ranges and templates that at least 8 of its members use, and
    that these are at least a fifth of the users of. Its guests do at least half of their requests of one kind there. Lot
    MOST: they use at least two of them, and do at least four fifths of their requests there; SOME: two, and less; ONE: a
    single one, of which the cluster holds at least three quarters of the users, and at least four fifths, but not all:
    who works at one place only may just be at home there. Who could be a guest of several is one where that
    share is largest, and of those the one of the smallest number. Guests of one cluster are at least 6.

    Two of them may be a range and a template. Links in passing (BipartiteGraph.passing) are no use, but their accounts are
    among the users. A link without a count is one request. Ranges known to be shared are places like others.
    """
    links, out, lot = graph.links, np.full(len(label), -1, np.int64), np.zeros(len(label), np.int64)
    codes = [k for k, name in enumerate(graph.kinds) if name in _KINDS]
    at = np.flatnonzero(np.isin(graph.kind_code, codes)[links["identifier"].to_numpy()] & ~graph.passing)
    account, identifier = (links[c].to_numpy()[at].astype(np.int64) for c in ("account", "identifier"))
    kind, count = graph.kind_code[identifier], int(label.max(initial=-1)) + 1
    host = np.where(free, -1, label)
    inside = host[account] >= 0
    place, members = np.unique(identifier[inside] * count + host[account[inside]], return_counts=True)
    users = graph.degree[place // max(count, 1)]
    keep = (members >= HOSTS) & (members >= _HOST_SHARE * users)
    place, held = place[keep], (members >= _OWN_SHARE * users)[keep]
    if not len(place):
        return out, lot
    # each link of a free account to such an identifier, once for each cluster that is host there
    theirs = np.flatnonzero(free[account])
    v, cluster = np.divmod(place, count)
    low, high = (np.searchsorted(v, identifier[theirs], side) for side in ("left", "right"))
    row, used = np.repeat(theirs, high - low), spread(low, high - low)
    pairs, of = np.unique(account[row] * count + cluster[used], return_inverse=True)
    number = np.bincount(of, minlength=len(pairs))
    own = np.bincount(of, weights=held[used], minlength=len(pairs)) > 0
    who, cluster = np.divmod(pairs, count)
    uses, share = np.maximum(links["count"].fill_null(1).to_numpy()[at], 1), np.zeros(len(pairs), np.int64)
    for k in codes:
        this, all_of = kind[row] == k, np.flatnonzero(kind == k)
        there = np.bincount(of[this], weights=uses[row[this]], minlength=len(pairs))
        total = np.bincount(account[all_of], weights=uses[all_of], minlength=len(label))[who]
        share = np.maximum(share, np.rint(there / np.maximum(total, 1) * _WHOLE).astype(np.int64))
    several, most = number >= _GUEST_OF, share >= _MOSTLY
    of_lot = np.where(several, np.where(most, MOST, SOME), ONE)
    keep = (share >= _HALF) & (several | (own & most & (share < _WHOLE)))
    who, cluster, share, of_lot = who[keep], cluster[keep], share[keep], of_lot[keep]
    order = np.lexsort((cluster, -share, who))
    first = order[changes(who[order])]
    out[who[first]] = cluster[first]
    lot[who[first]] = of_lot[first]
    return np.where(in_small(out, SMALLEST_GROUP - 1), -1, out), lot


def _joined(clusters: Clusters, of: NDArray[np.int64]) -> Clusters:
    """The clusters with the guests in `of` attached; small cores whose members they were are gone."""
    moved = of >= 0
    label, old = _numbered(np.where(moved, of, clusters.label))
    cut = Cut(clusters.cut.smaller[old], clusters.cut.larger[old], clusters.cut.ties[old])
    bits = np.where(moved | (label < 0), 0.0, clusters.bits)
    return Clusters(
        label, clusters.core & ~moved & (label >= 0), bits, clusters.breaks[old], clusters.strength[old], cut
    )


def _numbered(label: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels numbered anew (grouping.renumber), and the number that each of these had."""
    new = renumber(label)
    old = np.zeros(int(new.max(initial=-1)) + 1, np.int64)
    old[new[new >= 0]] = label[new >= 0]
    return new, old


def strongholds(graph: BipartiteGraph, free: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number of the stronghold in which each account does at least half of its work, -1 for none; shape (accounts,).

    Address ranges and templates with at least 6 of the `free` accounts that each do a twentieth of their work there belong
    to one stronghold when the cosine of their users is at least 1/2. An account is in the stronghold that holds the
    largest share of its requests of a kind, if that is at least half; strongholds have at least 6 accounts.
    """
    links = graph.links
    account, identifier = (links[c].to_numpy().astype(np.int64) for c in ("account", "identifier"))
    uses = np.maximum(links["count"].fill_null(1).to_numpy(), 1)
    kind = graph.kind_code[identifier]
    at = np.flatnonzero(np.isin(kind, [k for k, name in enumerate(graph.kinds) if name in _KINDS]) & free[account])
    account, identifier, kind, uses = account[at], identifier[at], kind[at], uses[at]
    of_kind = account * len(graph.kinds) + kind
    total = np.bincount(of_kind, weights=uses, minlength=1)[of_kind]
    part = np.rint(uses / total * _WHOLE).astype(np.int64)
    users = np.bincount(identifier[part >= _PART], minlength=graph.identifiers.height)
    keep = (part >= _PART) & (users[identifier] >= SMALLEST_GROUP)
    out = np.full(len(free), -1, np.int64)
    if not keep.any():
        return out
    account, identifier, kind, part = account[keep], identifier[keep], kind[keep], part[keep]
    names, column = np.unique(identifier, return_inverse=True)
    hold = _alike(account, column, len(free), len(names))[column]
    cells, at = np.unique((account * len(names) + hold) * len(graph.kinds) + kind, return_inverse=True)
    share = np.bincount(at, weights=part).astype(np.int64)
    cells, share = cells[share >= _HALF] // len(graph.kinds), share[share >= _HALF]
    account, hold = np.divmod(cells, len(names))
    order = np.lexsort((hold, -share, account))
    account, hold = account[order], hold[order]
    first = changes(account)
    out[account[first]] = hold[first]
    return np.where(in_small(out, SMALLEST_GROUP - 1), -1, out)


def _alike(account: NDArray[np.int64], column: NDArray[np.int64], accounts: int, columns: int) -> NDArray[np.int64]:
    """Component of each column when those with a cosine of at least 1/2 between their users are joined."""
    from scipy.sparse import csr_array

    users = csr_array((np.ones(len(account), np.int64), (account, column)), shape=(accounts, columns))
    both = (users.T @ users).tocoo()
    number = np.bincount(column, minlength=columns)
    # in whole numbers: 4 common^2 >= users of one * users of the other
    alike = (both.row < both.col) & (4 * both.data**2 >= number[both.row] * number[both.col])
    return connected(columns, both.row[alike], both.col[alike])


def _scores(
    graph: BipartiteGraph,
    evidence: Evidence,
    activity: Activity,
    group: NDArray[np.int64],
    shares: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probability of the coordinated hypothesis for each group, and the shares of the hypotheses, estimated if None."""
    none = np.zeros(int(group.max()) + 1)
    counts = np.zeros(len(none), np.int64)
    groups = Clusters(group, group >= 0, np.zeros(len(group)), none, none, Cut(counts, counts, counts))
    view = look(graph, evidence, groups, activity)
    likelihood, discerned = likelihoods(view, measure(view))
    if shares is None:
        shares = estimated_shares(likelihood[discerned])
    return np.where(discerned, posterior(likelihood, shares)[:, 0], 0.0).round(4), shares


def _added(
    clusters: Clusters,
    group: NDArray[np.int64],
    expected: NDArray[np.float64],
    beyond: NDArray[np.float64],
    shares: NDArray[np.float64],
) -> Groups:
    """The clusters with the groups as further cores, whole; small cores go to them whole."""
    own = len(clusters.breaks)
    new, old = _numbered(np.where(group >= 0, own + group, clusters.label))
    kept, at = old < own, np.minimum(old, max(own - 1, 0))

    def taken(values: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.where(kept, values[at], 0) if own else np.zeros(len(old), np.int64)

    def bits_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(kept, values[at], 0.0) if own else np.zeros(len(old))

    inside = group >= 0
    joined = Clusters(
        new,
        np.where(inside, True, clusters.core) & (new >= 0),
        np.where(inside | (new < 0), 0.0, clusters.bits),
        bits_of(clusters.breaks),
        bits_of(clusters.strength),
        Cut(taken(clusters.cut.smaller), taken(clusters.cut.larger), taken(clusters.cut.ties)),
    )
    number = np.maximum(old - own, 0)
    return Groups(joined, np.where(kept, 0.0, expected[number]), np.where(kept, 1.0, beyond[number]), shares)


def _common(graph: BipartiteGraph, pool: NDArray[np.int64]) -> NDArray[np.int64]:
    """The pools without the accounts of which fewer ranges are common to the pool than three quarters of what is usual in
    it; -1 for all others."""
    if "ip_range" not in graph.kinds:
        return pool
    account, identifier = (graph.links[c].to_numpy().astype(np.int64) for c in ("account", "identifier"))
    at = np.flatnonzero((graph.kind_code[identifier] == graph.kinds.index("ip_range")) & (pool[account] >= 0))
    account, identifier = account[at], identifier[at]
    _, cell, users = np.unique(
        pool[account] * graph.identifiers.height + identifier, return_inverse=True, return_counts=True
    )
    common = np.bincount(account[users[cell] > 1], minlength=len(pool))
    held = np.bincount(account, minlength=len(pool))
    out = pool.copy()
    for members in (np.flatnonzero(pool == c) for c in np.unique(pool[pool >= 0]).tolist()):
        share = common[members] / held[members]
        out[members[share < _USUAL * np.median(share)]] = -1
    return np.where(in_small(out, SMALLEST_GROUP - 1), -1, out)
