"""What holds a cluster together: the fewest identifiers without which it falls apart.

The cluster is a bipartite graph of its members and the identifiers of its own: those that two or more members use, at
least half of whose users are members, and that tell something (more than 0 bits). Identifiers can be taken out, members
cannot: the wanted set is a minimum vertex cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.grouping import connected
from hydragraph.identifiers import kind as kind_of
from hydragraph.takedown.uses import OWN_SHARE

SMALLEST_SHARE = 0.1
"""A part counts when it holds at least this share of the members that share anything, and two of them."""

_WALKED_LINKS = 400_000
"""Links up to which a chokepoint is looked for at all."""

_TRIED_LINKS = 200_000
"""Identifiers times links up to which every pair of identifiers is tried."""

_FLOW_LINKS = 20_000
"""Links up to which larger cuts are looked for with maximum flows."""

_PARTS_PAIRED = 6
"""Largest communities between which a flow is computed."""

_PAIRED_IDENTIFIERS = 60
"""Identifiers up to which flows between them make the cut exact, where two members are a part that counts."""

_JOINED_PAIRS = 20_000_000
"""Pairs of users of one identifier up to which it is looked for accounts that no small cut parts."""

_LISTED = 5
_AMONG = 3
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True, repr=False)
class Chokepoints:
    """The smallest cut that was found.

    identifiers: kind, value, members, accounts (of the whole source) and bits of each identifier of the cut, widest
    first; none if no cut was found or none is needed. parts: members of each part without them, largest first; the
    cluster as it is when there are none. smallest: members a part must have to count. least: no set of fewer
    identifiers makes two parts that count; `exact` if the cut has no more.
    """

    identifiers: pl.DataFrame
    parts: tuple[int, ...]
    smallest: int
    least: int

    @property
    def found(self) -> bool:
        """Whether the cluster falls apart."""
        return len(self.parts) > 1 and self.parts[1] >= self.smallest

    @property
    def exact(self) -> bool:
        """Whether no smaller cut exists."""
        return self.found and self.identifiers.height == self.least

    def sentence(self, show: Callable[[str, str], str] = lambda kind, value: value) -> str:
        """The counterfactual in words. show: (kind, value) -> how an identifier is written."""
        if not self.parts:
            return "No chokepoint: the members share no identifier of their own."
        if not self.found:
            if self.least < 2:
                return "No chokepoint was looked for: the cluster is too large."
            return (
                f"No chokepoint was found: take out any {_number(self.least - 1)} of its own identifiers, and no part of"
                f" {self.smallest:,} accounts or more comes off."
            )
        fell = _parts(self.parts)
        if not self.identifiers.height:
            return (
                f"Identifiers of its own hold it in {fell}; between these there is only what many others use as well."
            )
        named = [
            f"the {kind_of(kind).title} {show(kind, value)}"
            for kind, value in self.identifiers.select("kind", "value").head(_LISTED).iter_rows()
        ]
        sure = "" if self.exact else f" No fewer than {_number(self.least)} could do it."
        if self.identifiers.height > len(named):
            number = f"{self.identifiers.height:,} identifiers"
            among = _listed(named[:_AMONG])
            return f"Nothing small holds it together: without {number}, {among} among them, it falls into {fell}."
        return f"Without {_listed(named)} it falls into {fell}.{sure}"

    def __repr__(self) -> str:
        return (
            f"<Chokepoints: {self.identifiers.height} identifiers, parts {', '.join(map(str, self.parts[:_LISTED]))}>"
        )


def _number(value: int) -> str:
    return _NUMBERS[value] if value < len(_NUMBERS) else f"{value:,}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _parts(parts: Sequence[int]) -> str:
    """`three parts of 41, 12 and 9 accounts, and 4 accounts alone`."""
    several = [n for n in parts if n > 1]
    alone = len(parts) - len(several)
    shown = [f"{n:,}" for n in several[:_LISTED]]
    if len(several) > _LISTED:
        shown.append("fewer")
    said = f"{_number(len(several))} parts of {_listed(shown)} accounts"
    return said + (f", and {alone:,} account{'s' if alone > 1 else ''} alone" if alone else "")


def cut_cluster(links: pl.DataFrame) -> Chokepoints:
    """The chokepoints of one cluster, `links` being those of its members as in schema.OUTPUT["links"].

    A cut makes two parts or more that hold at least SMALLEST_SHARE of the members each. Of cuts with equally many
    identifiers the one with the smallest largest part is taken. Cuts of one identifier are found by one depth-first
    walk (articulation points), of up to 400,000 links; cuts of two by a walk without each identifier in turn, where
    that is at most 200,000 links walked: these are exact. Larger cuts come from maximum flows (Menger's theorem: as
    many identifiers as disjoint paths) between the insides of the communities of the graph, up to 20,000 links; each is
    the smallest that parts these two communities, but other two might be parted by fewer, so `least` says what is
    proved.
    """
    graph = _Shared.of(links)
    smallest = max(2, int(np.ceil(SMALLEST_SHARE * graph.weight.sum())))
    if graph.known.is_empty():
        return graph.result([], (), smallest, 0)
    whole = graph.parts(np.zeros(0, np.int64))
    if _apart(whole, smallest):
        return graph.result([], whole, smallest, 0)
    if len(graph.account) > _WALKED_LINKS:
        return graph.result([], whole, smallest, 1)
    best = _best(((v,), parts) for v, parts in _articulations(graph, None) if _apart(parts, smallest))
    if best is None and len(graph.known) * len(graph.account) <= _TRIED_LINKS:
        tried = graph.joined(graph.group(2))
        best = _best(
            (tuple(sorted((v, other))), parts)
            for v in tried.between()
            for other, parts in _articulations(tried, v)
            if _apart(parts, smallest)
        )
        least = 2 if best else 3
    else:
        least = 1 if best else 2
    if best is None and len(graph.account) <= _FLOW_LINKS:
        best = _flows(graph, smallest)
        best = best and _lean(graph, best[0], smallest)
        if smallest == 2 and len(graph.known) <= _PAIRED_IDENTIFIERS:
            best = _fewest(graph, best)
            least = len(best[0]) if best else len(graph.known) + 1
    return graph.result(*(best or ([], whole)), smallest, least)


def _lean(graph: _Shared, cut: Sequence[int], smallest: int) -> _Cut:
    """The cut without what it does not need, the least used first."""
    kept = sorted(cut, key=lambda v: (-graph.known["members"][v], v))
    for v in reversed(list(kept)):
        fewer = [other for other in kept if other != v]
        if _apart(graph.parts(np.array(fewer, np.int64)), smallest):
            kept = fewer
    return kept, graph.parts(np.array(kept, np.int64))


_Cut = tuple[Sequence[int], tuple[int, ...]]


def _apart(parts: tuple[int, ...], smallest: int) -> bool:
    return len(parts) > 1 and parts[1] >= smallest


def _best(cuts: Iterator[_Cut]) -> _Cut | None:
    return min(cuts, key=lambda cut: (len(cut[0]), cut[1], tuple(cut[0])), default=None)


@dataclass(frozen=True)
class _Shared:
    """The graph. Members that share the very same identifiers are one node.

    account, identifier: ends of each link, by account; weight: members of each account node; known: kind, value,
    members, accounts and bits of each identifier, by kind and value.
    """

    account: NDArray[np.int64]
    identifier: NDArray[np.int64]
    weight: NDArray[np.int64]
    known: pl.DataFrame

    @classmethod
    def of(cls, links: pl.DataFrame) -> _Shared:
        known = (
            links.group_by("kind", "value")
            .agg(members=pl.len().cast(pl.Int64), accounts=pl.col("accounts").max(), bits=pl.col("bits").max())
            .filter(pl.col("members") > 1, pl.col("bits") > 0, pl.col("members") >= OWN_SHARE * pl.col("accounts"))
            .sort("kind", "value")
        )
        sets = (
            links.select("account_id", "kind", "value")
            .join(known.select("kind", "value").with_row_index("at"), on=["kind", "value"])
            .group_by("account_id")
            .agg(pl.col("at").sort())
            .group_by("at")
            .agg(weight=pl.len(), first=pl.col("account_id").min())
            .sort("first")
        )
        number = sets["at"].list.len().to_numpy().astype(np.int64)
        return cls(
            np.repeat(np.arange(sets.height), number),
            sets["at"].explode(empty_as_null=False).cast(pl.Int64).to_numpy(),
            sets["weight"].cast(pl.Int64).to_numpy(),
            known,
        )

    def parts(self, without: NDArray[np.int64]) -> tuple[int, ...]:
        """Members of each part when these identifiers are taken out, largest first."""
        accounts = len(self.weight)
        stays = np.ones(len(self.known), bool)
        stays[without] = False
        left = stays[self.identifier]
        part = connected(accounts + len(self.known), self.account[left], accounts + self.identifier[left])
        held = np.bincount(part[:accounts], weights=self.weight).astype(np.int64)
        # the members of a node without any link left share nothing any more
        bare = np.bincount(self.account[left], minlength=accounts) == 0
        whole = np.delete(held, part[:accounts][bare]) if bare.any() else held
        return (*sorted(whole[whole > 0].tolist(), reverse=True), *([1] * int(self.weight[bare].sum())))

    def group(self, cut: int) -> NDArray[np.int64]:
        """Group of each account node; no `cut` identifiers part two of the same group.

        Two that share more identifiers are in one, and so are two groups that do.
        """
        from scipy.sparse import csr_array

        group = np.arange(len(self.weight))
        while True:
            count = int(group.max()) + 1
            users = csr_array((np.ones(len(self.account), np.int32), (group[self.account], self.identifier)))
            users.sum_duplicates()
            users.data[:] = 1
            if int((np.bincount(users.indices).astype(np.float64) ** 2).sum()) > _JOINED_PAIRS:
                return group
            common = (users @ users.T).tocoo()
            many = common.data > cut
            part = connected(count, common.row[many], common.col[many])
            if int(part.max()) + 1 == count:
                return group
            group = part[group]

    def joined(self, group: NDArray[np.int64]) -> _Shared:
        """The graph with each `group` as one node: as good where at most its `cut` identifiers are taken out.

        Of the identifiers inside one group only one is kept: the group does not hang on nothing.
        """
        link = np.unique(group[self.account] * len(self.known) + self.identifier)
        account, identifier = np.divmod(link, len(self.known))
        inside = np.bincount(identifier)[identifier] == 1
        kept = ~inside
        kept[np.unique(np.where(inside, account, -1), return_index=True)[1]] = True
        weight = np.bincount(group, weights=self.weight).astype(np.int64)
        return _Shared(account[kept], identifier[kept], weight, self.known)

    def between(self) -> list[int]:
        """Identifiers of two account nodes or more."""
        found: list[int] = np.flatnonzero(np.bincount(self.identifier) > 1).tolist()
        return found

    def result(self, cut: Sequence[int], parts: tuple[int, ...], smallest: int, least: int) -> Chokepoints:
        taken = self.known[list(cut)].sort("members", "kind", "value", descending=[True, False, False])
        return Chokepoints(taken, parts, smallest, least)


def _articulations(graph: _Shared, without: int | None) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Each identifier whose removal, after that of `without`, parts what hangs together: itself and the parts.

    Hopcroft and Tarjan's walk, from account to account; a subtree that reaches no higher than its identifier comes off.
    """
    accounts, nodes = len(graph.weight), len(graph.weight) + len(graph.known)
    left = graph.identifier != (-1 if without is None else without)
    a, v = graph.account[left], graph.identifier[left] + accounts
    order = np.argsort(np.concatenate([a, v]), kind="stable")
    start = np.append(0, np.cumsum(np.bincount(np.concatenate([a, v]), minlength=nodes))).tolist()
    ends = np.concatenate([v, a])[order].tolist()
    held = [*graph.weight.tolist(), *([0] * len(graph.known))]
    seen, low = [0] * nodes, [0] * nodes
    at = start[:-1]
    clock = 0
    trees: list[tuple[int, bool]] = []
    off: list[_Piece] = []
    for first in range(accounts):
        if seen[first]:
            continue
        clock += 1
        seen[first] = low[first] = clock
        path = [first]
        while path:
            node = path[-1]
            if at[node] < start[node + 1]:
                other = ends[at[node]]
                at[node] += 1
                if not seen[other]:
                    clock += 1
                    seen[other] = low[other] = clock
                    path.append(other)
                elif seen[other] < low[node]:
                    low[node] = seen[other]
                continue
            path.pop()
            if path:
                up = path[-1]
                low[up] = min(low[up], low[node])
                held[up] += held[node]
                if up >= accounts and low[node] >= seen[up]:
                    hangs = start[node + 1] - start[node] == 1
                    top = len(path) == 2 and start[first + 1] - start[first] == 1
                    off.append((up - accounts, len(trees), held[node], hangs, top))
        trees.append((held[first], start[first + 1] == start[first]))
    yield from _pieces(trees, off)


_Piece = tuple[int, int, int, bool, bool]
"""A subtree that comes off: its identifier, its tree, its members, whether these then hang on nothing, and whether the
rest of the tree does."""


def _pieces(trees: list[tuple[int, bool]], off: list[_Piece]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """What comes off, by identifier, with the rest of its tree and the other trees. trees: members, whether they hang on
    nothing; such members are a part each."""
    others = [p for tree in trees for p in _sizes(*tree)]
    cuts: dict[int, list[_Piece]] = {}
    for piece in off:
        cuts.setdefault(piece[0], []).append(piece)
    for v, pieces in sorted(cuts.items()):
        _, tree, _, _, top = pieces[0]
        around = list(others)
        around.remove(trees[tree][0])
        around += [p for _, _, members, hangs, _ in pieces for p in _sizes(members, hangs)]
        around += _sizes(trees[tree][0] - sum(piece[2] for piece in pieces), top)
        yield v, tuple(sorted(around, reverse=True))


def _sizes(members: int, bare: bool) -> list[int]:
    return [1] * members if bare else [members]


def _flows(graph: _Shared, smallest: int) -> _Cut | None:
    """The best cut between the inside of a community and that of all others, or those of two of the largest."""
    community = _communities(graph)
    count = int(community.max(initial=-1)) + 1
    accounts = len(graph.weight)
    size = np.bincount(community[:accounts], weights=graph.weight, minlength=count)
    large = np.argsort(-size, kind="stable")[:_PARTS_PAIRED].tolist()
    # an account is inside when all its identifiers have users in its community only
    spread = np.zeros((count, len(graph.known)), bool)
    spread[community[graph.account], graph.identifier] = True
    border = spread.sum(axis=0) > 1
    inside = np.bincount(graph.account, weights=border[graph.identifier], minlength=accounts) == 0
    own = [np.flatnonzero((community[:accounts] == c) & inside) for c in range(count)]
    whole = [np.flatnonzero(community[:accounts] == c) for c in range(count)]
    best = _better(graph, None, (np.flatnonzero(border & spread[c]) for c in large), smallest)
    wanted = []
    for i, c in enumerate(large):
        rest = np.concatenate([own[d] for d in range(count) if d != c] or [own[c][:0]])
        wanted += [(own[c], rest)] if len(own[c]) and len(rest) else []
        for d in large[i + 1 :]:
            wanted.append((own[c] if len(own[c]) else whole[c], own[d] if len(own[d]) else whole[d]))
    # a larger cut than the best is not wanted: what no smaller one parts is one node
    most = len(best[0]) if best else len(graph.known)
    group = graph.group(most)
    fewer = graph.joined(group)
    ends = ((np.unique(group[one]), np.unique(group[other])) for one, other in wanted)
    apart = (_smallest_cut(fewer, *pair) for pair in ends if not np.isin(*pair).any())
    return _better(graph, best, apart, smallest)


def _better(graph: _Shared, best: _Cut | None, cuts: Iterable[NDArray[np.int64]], smallest: int) -> _Cut | None:
    """The best of `best` and those of `cuts` that make parts that count."""
    tried = set()
    for cut in cuts:
        named = tuple(cut.tolist())
        if named in tried or (best is not None and len(named) > len(best[0])):
            continue
        tried.add(named)
        parts = graph.parts(cut)
        if _apart(parts, smallest):
            best = _best(iter([(named, parts), *([best] if best else [])]))
    return best


def _fewest(graph: _Shared, best: _Cut | None) -> _Cut | None:
    """The smallest cut where parts of two members count (Even 1975), `best` being one that is known.

    Each part that counts holds an identifier that stays. A cut of k identifiers misses one of any k + 1, so it is enough
    to part the users of so many from those of every other.
    """
    users = [graph.account[graph.identifier == v] for v in range(len(graph.known))]
    for v, mine in enumerate(users):
        if best is not None and v > len(best[0]):
            break
        for theirs in users[v + 1 :]:
            if not np.isin(mine, theirs).any():
                cut = _smallest_cut(graph, mine, theirs)
                best = _best(iter([(tuple(cut.tolist()), graph.parts(cut)), *([best] if best else [])]))
    return best


def _communities(graph: _Shared) -> NDArray[np.int64]:
    """Leiden's partition (Traag, Waltman and van Eck 2019) of accounts and identifiers by modularity."""
    import graspologic_native

    accounts = len(graph.weight)
    ends = zip(graph.account.tolist(), (graph.identifier + accounts).tolist(), strict=True)
    _, found = graspologic_native.leiden(edges=[(str(a), str(v), 1.0) for a, v in ends], seed=0)
    return np.array([found[str(i)] for i in range(accounts + len(graph.known))], dtype=np.int64)


def _smallest_cut(graph: _Shared, source: NDArray[np.int64], sink: NDArray[np.int64]) -> NDArray[np.int64]:
    """The fewest identifiers that part these accounts from those: maximum flow, one unit through an identifier."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    accounts, known = len(graph.weight), len(graph.known)
    into, out = graph.identifier + accounts, graph.identifier + accounts + known
    s, t = accounts + 2 * known, accounts + 2 * known + 1
    one = np.arange(accounts, accounts + known)
    many = known + 1
    head = np.concatenate([graph.account, out, one, np.full(len(source), s), sink])
    tail = np.concatenate([into, graph.account, one + known, source, np.full(len(sink), t)])
    room = np.concatenate([np.full(2 * len(into), many), np.ones(known), np.full(len(source) + len(sink), many)])
    network = csr_array((room.astype(np.int32), (head, tail)), shape=(t + 1, t + 1))
    flow = maximum_flow(network, s, t).flow
    residual = (network - flow).tocsr()
    residual.data = (residual.data > 0).astype(np.int8)
    residual.eliminate_zeros()
    reached = np.zeros(t + 1, bool)
    reached[breadth_first_order(residual, s, return_predecessors=False)] = True
    cut: NDArray[np.int64] = np.flatnonzero(reached[one] & ~reached[one + known])
    return cut
