"""Why two accounts are tied, and who else is near accounts that are known: paths and walks over a case's links.

Both look at the bipartite graph of accounts and identifiers in `links` (schema.OUTPUT["links"]). Identifiers of 0 bits
tell nothing and are left out, and so are those that one account alone uses: they lead nowhere. Circumstantial kinds
(addresses and the like) support a tie and never make one: the walk does not go over them, and a path that does says so. A
case holds the links of accounts in clusters only, so nothing is found for an account outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.errors import InputRefused
from hydragraph.identifiers import is_circumstantial
from hydragraph.identifiers import kind as kind_of
from hydragraph.runs import spread

if TYPE_CHECKING:
    from scipy.sparse import csr_array

DAMPING = 0.85
"""Chance that the walk goes on along a link; otherwise it starts again at a known account."""

_TOLERANCE = 1e-12
"""The walk has settled when one round moves less than this in all."""

_DECIMALS = 9
"""Decimals of a score: far above the tolerance, so that equals stay equal."""

_PER_BIT = 1000
"""Bits are compared and added as whole thousandths, as a case holds them."""

_STEP = {
    "step": pl.Int64, "from_account": pl.String, "kind": pl.String, "value": pl.String, "bits": pl.Float64,
    "accounts": pl.Int64, "to_account": pl.String,
}  # fmt: skip
_NEAR = {"account_id": pl.String, "score": pl.Float64, "seed": pl.String, "steps": pl.Int64, "bits": pl.Float64}
_OF_MEMBER = ("cluster_id", "assessment", "closed_at")
_ONLY_CLUSTERS = "a case holds the links of accounts in clusters only"


@dataclass(frozen=True, repr=False)
class Paths:
    """The strongest evidence path between two accounts, and others that share no identifier with it or each other.

    steps: a row a step: path (1 is the strongest), step, from_account, kind, value, bits, accounts (of the whole source
    that use the identifier), to_account; each path leads from `a` to `b`. `with_ties` adds synchrony_bits. in_links:
    whether each of the two has any link here. clusters: theirs, where known. detour: whether both are in one cluster and
    only a way outside it was found. tie: bits of the tie between `a` and `b` themselves, and what synchrony
    adds to them; None: no tie between them is known.
    """

    a: str
    b: str
    steps: pl.DataFrame
    in_links: tuple[bool, bool]
    clusters: tuple[str | None, str | None] = (None, None)
    detour: bool = False
    tie: tuple[float, float] | None = None

    def with_ties(self, ties: pl.DataFrame) -> Paths:
        """The same with what ties (schema.OUTPUT["ties"]) add to identifiers: bursts of requests begun at the same moments.

        steps get synchrony_bits, of the tie between the two accounts of the step; empty where they have none.
        """
        ends = ("account_a", "account_b")
        of = [self.a, self.b, *self.steps["from_account"]]
        known = ties.filter(pl.col(end).is_in(of) for end in ends).select(*ends, "bits", "synchrony_bits")
        from_first = pl.col("from_account") < pl.col("to_account")
        steps = self.steps.with_columns(
            account_a=pl.when(from_first).then("from_account").otherwise("to_account"),
            account_b=pl.when(from_first).then("to_account").otherwise("from_account"),
        )
        steps = steps.join(known.drop("bits"), on=ends, how="left", maintain_order="left").drop(*ends)
        own = known.filter(account_a=min(self.a, self.b), account_b=max(self.a, self.b)).drop(*ends)
        return replace(self, steps=steps, tie=own.row(0) if own.height else None)

    @cached_property
    def summary(self) -> pl.DataFrame:
        """A row a path: path, steps, bits (of its weakest step), total (bits of all its steps), circumstantial (whether a
        step is over an identifier of such a kind)."""
        return (
            self.steps.with_columns(circumstantial=~_telling(self.steps["kind"]))
            .group_by("path")
            .agg(
                steps=pl.len().cast(pl.Int64),
                bits=pl.col("bits").min(),
                total=pl.col("bits").sum().round(3),
                circumstantial=pl.col("circumstantial").any(),
            )
            .sort("path")
        )

    @property
    def sentence(self) -> str:
        """The answer in words; names no account and no identifier."""
        if self.steps.is_empty():
            return f"No path: {self._why_not()}."
        best = self.steps.filter(path=1)
        weak = best.sort("bits", "step").row(0, named=True)
        what = f"{kind_of(weak['kind']).title} that {_counted(weak['accounts'], 'account')} use"
        said = (
            f"They share one {what}, worth {weak['bits']:.1f} bits."
            if best.height == 1
            else f"The strongest path has {best.height} steps; the weakest of them, one {what}, is worth"
            f" {weak['bits']:.1f} bits."
        )
        if self.tie is not None and self.tie[1]:
            said += (
                f" Their tie is worth {self.tie[0]:.1f} bits in all; that both begin their bursts of requests at the same"
                f" moments adds {self.tie[1]:.1f}."
            )
        if self.summary["circumstantial"][0]:
            said += " An address or the like, as it needs, supports a tie and never makes one."
        if self.detour:
            said += " It leads over accounts outside their cluster; inside there is none."
        more = self.summary.height - 1
        if more:
            said += f" {more} other path{'s share' if more > 1 else ' shares'} no identifier with it."
        if self._apart:
            said += " The two are in different clusters."
        return said

    @property
    def _apart(self) -> bool:
        return None not in self.clusters and self.clusters[0] != self.clusters[1]

    def _why_not(self) -> str:
        if not all(self.in_links):
            which = "neither account is" if not any(self.in_links) else "one of the accounts is not"
            return f"{which} in a cluster, and {_ONLY_CLUSTERS}"
        where = "the accounts are in different clusters, and " if self._apart else ""
        return f"{where}no chain of identifiers that tell something leads from one to the other"

    def __repr__(self) -> str:
        return f"<Paths: {self.summary.height}, the strongest of {self.steps.filter(path=1).height} steps>"


@dataclass(frozen=True, repr=False)
class Suggestions:
    """Accounts near known ones, nearest first.

    accounts: account_id, score, seed (the known account it is tied to most strongly), steps and bits (of the weakest
    step) of the path from there; with_members adds cluster_id, assessment, closed_at. paths: that path, step by step:
    account_id, step, from_account, kind, value, bits, accounts, to_account. seeds: account_id of each known account and
    whether it was `used`: one without links says nothing. found: accounts that the walk reached, listed or not.
    """

    accounts: pl.DataFrame
    paths: pl.DataFrame
    seeds: pl.DataFrame
    found: int

    def with_members(self, members: pl.DataFrame) -> Suggestions:
        """The same with cluster_id, assessment and closed_at of each account, from schema.OUTPUT["accounts"]."""
        more = members.select("account_id", *_OF_MEMBER)
        joined = [f.join(more, on="account_id", how="left", maintain_order="left") for f in (self.accounts, self.seeds)]
        return replace(self, accounts=joined[0], seeds=joined[1])

    @property
    def sentence(self) -> str:
        """The answer in words; names no account."""
        given, used = self.seeds.height, int(self.seeds["used"].sum())
        if not used:
            said = "Nobody can be suggested."
        elif not self.found:
            said = "Nobody else uses what the known accounts use."
        else:
            listed = self.accounts.height
            shown = "" if listed == self.found else f", the nearest {listed:,} are listed"
            said = f"From {_counted(used, 'known account')} the walk reached {_counted(self.found, 'other')}{shown}."
        if used < given:
            silent = given - used
            whom = "The known account" if given == 1 else f"{silent:,} of {given:,} known accounts"
            said += (
                f" {whom} {'is' if silent == 1 else 'are'} in no cluster, or share{'s' if silent == 1 else ''} nothing that"
                f" tells; {_ONLY_CLUSTERS}, so nothing leads on from there."
            )
        return said

    def __repr__(self) -> str:
        return f"<Suggestions: {self.accounts.height} of {self.found}, from {self.seeds.height} known accounts>"


def evidence_path(
    links: pl.DataFrame,
    a: str,
    b: str,
    *,
    alternatives: int = 2,
    clusters: tuple[str | None, str | None] = (None, None),
) -> Paths:
    """The strongest evidence path from account `a` to account `b`, and up to `alternatives` more.

    A step leads from an account over an identifier to another account and is worth the bits of the identifier. A path is
    as strong as its weakest step, and the strongest path is the one whose weakest step is worth most (maximum
    bottleneck, found on a maximum spanning forest, Hu 1961). Of several as strong: the one with fewest steps, then with
    most bits in all, then the first in canonical order, seen from the account that sorts first; so the way back is the
    same. An alternative is the strongest path without any identifier of those before it.

    links: as in schema.OUTPUT["links"], each pair of account and identifier once. clusters: of the two, for the sentence.
    Raises InputRefused when `a` is `b` or `alternatives` is negative.
    Not checked: whether another choice of paths would have given more alternatives; whether what is said of each step
    holds for the path as a whole: the controller may change on the way.
    """
    if a == b:
        raise InputRefused("a path leads between two accounts, and the same one was given twice; name two")
    if alternatives < 0:
        raise InputRefused("the number of alternatives is negative; give 0 or more")
    graph = _Shared.of(links)
    known = links.filter(pl.col("account_id").is_in([a, b]))["account_id"].unique().to_list()
    ends = graph.codes([a, b])
    steps: list[pl.DataFrame] = []
    left = np.ones(len(graph.worth), bool)
    while len(ends) == 2 and len(steps) <= alternatives:
        first, second = sorted(ends)
        strength = int(graph.widths([first], left)[second])
        if not strength:
            break
        path = graph.between(first, second, left & (graph.worth >= strength))
        left[[v for _, v, _ in path]] = False
        path = path if a < b else _turned(path)
        steps.append(graph.steps(path).select(pl.lit(len(steps) + 1, pl.Int64).alias("path"), *_STEP))
    empty = pl.DataFrame(schema={"path": pl.Int64, **_STEP})
    return Paths(a, b, pl.concat([empty, *steps]), (a in known, b in known), clusters)


def suggest(links: pl.DataFrame, seeds: Iterable[str], *, count: int | None = 20) -> Suggestions:
    """The accounts nearest to the known accounts `seeds`, by personalised PageRank, each with its path to one of them.

    x = (1 - DAMPING) s + DAMPING W x over accounts and identifiers (Page et al. 1999, Haveliwala 2002): a walk starts at a
    known account, each as likely; goes on along a link with chance DAMPING, from an account to one of its identifiers in
    proportion to the bits, from an identifier to any account here that uses it; and else starts again. Circumstantial
    kinds are left out. The score is the share of its time that it spends at an account. Iterated until nothing moves by
    more than 1e-12, rounded to 9 decimals; equal scores by account_id. Known accounts are not suggested. Scores tell who
    comes before whom; they are no probabilities, and they fall as more accounts share the walk's time.

    count: accounts listed; None: all that the walk reaches. The path of each is as in `evidence_path`, without
    circumstantial kinds, from the known account that has the strongest. Raises InputRefused for no seed or a negative count.
    Not checked: whether the seeds belong together.
    """
    wanted = list(dict.fromkeys(seeds))
    if not wanted:
        raise InputRefused("no known account was given; name at least one")
    if count is not None and count < 0:
        raise InputRefused("the number of suggestions is negative; give 0 or more")
    graph = _Shared.of(links.filter(_telling(links["kind"])))
    at = graph.codes(wanted)
    told = pl.DataFrame({"account_id": wanted}, schema={"account_id": pl.String}).with_columns(
        used=pl.col("account_id").is_in(graph.accounts[at].implode())
    )
    score = np.round(graph.walk(at), _DECIMALS)
    score[at] = 0
    order = np.lexsort((np.arange(len(score)), -score))
    near = order[: int((score > 0).sum())]
    listed = near[:count].tolist()
    strength = graph.widths(at, graph.worth > 0) if listed else score
    rows, steps = [], []
    for account in listed:
        path = graph.nearest(at, account, graph.worth >= strength[account])
        worth = min(int(graph.worth[v]) for _, v, _ in path) / _PER_BIT
        name: str = graph.accounts[account]
        rows.append((name, float(score[account]), str(graph.accounts[path[0][0]]), len(path), worth))
        steps.append(graph.steps(path).select(pl.lit(name, pl.String).alias("account_id"), *_STEP))
    empty = pl.DataFrame(schema={"account_id": pl.String, **_STEP})
    return Suggestions(pl.DataFrame(rows, schema=_NEAR, orient="row"), pl.concat([empty, *steps]), told, len(near))


_Path = list[tuple[int, int, int]]
"""Steps as account, identifier, account."""


def _turned(path: _Path) -> _Path:
    return [(b, v, a) for a, v, b in reversed(path)]


@dataclass(frozen=True)
class _Shared:
    """The graph, integer coded in canonical order, so that no order of rows shows.

    accounts: ids, sorted; known: kind, value, accounts (of the source) of each identifier, sorted; worth: thousandths of
    a bit of each identifier; matrix: accounts x identifiers, 0/1 in compressed rows; users: its transpose.
    """

    accounts: pl.Series
    known: pl.DataFrame
    worth: NDArray[np.int64]
    matrix: csr_array
    users: csr_array

    @classmethod
    def of(cls, links: pl.DataFrame) -> _Shared:
        from scipy.sparse import csr_array

        known = (
            links.group_by("kind", "value")
            .agg(
                users=pl.len(),
                accounts=pl.col("accounts").max().cast(pl.Int64),
                worth=(pl.col("bits").max().fill_null(0.0) * _PER_BIT).round().cast(pl.Int64),
            )
            .filter(pl.col("users") > 1, pl.col("worth") > 0)
            .sort("kind", "value")
        )
        used = links.select("account_id", "kind", "value").join(
            known.select("kind", "value").with_row_index("identifier"), on=["kind", "value"]
        )
        accounts = used["account_id"].unique().sort()
        coded = used.join(accounts.to_frame().with_row_index("account"), on="account_id").sort("account", "identifier")
        account, identifier = (coded[name].cast(pl.Int32).to_numpy() for name in ("account", "identifier"))
        shape = (len(accounts), known.height)
        matrix = csr_array((np.ones(len(account)), (account, identifier)), shape=shape)
        turned = csr_array(matrix.T)
        turned.sort_indices()
        return cls(accounts, known.drop("users", "worth"), known["worth"].to_numpy(), matrix, turned)

    def codes(self, names: Sequence[str]) -> list[int]:
        """The codes of those accounts that are here."""
        at = self.accounts.to_frame().with_row_index("at").filter(pl.col("account_id").is_in(list(names)))
        return [int(code) for code in at["at"].to_list()]

    def steps(self, path: _Path) -> pl.DataFrame:
        """A path as rows of _STEP."""
        a, v, b = (list(column) for column in zip(*path, strict=True))
        return self.known[v].select(
            pl.Series("step", range(1, len(path) + 1), pl.Int64),
            self.accounts[a].alias("from_account"),
            "kind",
            "value",
            pl.Series("bits", self.worth[v] / _PER_BIT),
            "accounts",
            self.accounts[b].alias("to_account"),
        )

    def widths(self, sources: Sequence[int], left: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Worth of the weakest step of the strongest path from any source to each account; 0: there is none.

        left: identifiers that may be used. Every strongest path is in a maximum spanning forest, here rooted at one node
        beside all sources.
        """
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

        accounts, root = len(self.accounts), len(self.accounts) + len(self.worth)
        links = self.matrix.tocoo()
        stays = left[links.col]
        a = np.concatenate([links.row[stays], np.full(len(sources), root)])
        b = np.concatenate([links.col[stays] + accounts, np.array(sources, np.int64)])
        top = int(self.worth.max(initial=0)) + 1
        cost = np.concatenate([(top - self.worth[links.col[stays]]).astype(float), np.full(len(sources), 0.5)])
        tree = minimum_spanning_tree(coo_array((cost, (a, b)), shape=(root + 1, root + 1)).tocsr())
        order, before = breadth_first_order(tree, root, directed=False)
        through = [top] * accounts + self.worth.tolist() + [top]  # an account does not narrow a path
        width = [0] * root + [top]
        came = before.tolist()
        for node in order[1:].tolist():
            width[node] = min(width[came[node]], through[node])
        return np.array(width[:accounts], np.int64)

    def between(self, a: int, b: int, left: NDArray[np.bool_]) -> _Path:
        """The path with fewest steps, then most bits, then first in canonical order from `a`; there must be one."""
        return self._down(a, *self._levels(b, [a], left))

    def nearest(self, sources: Sequence[int], b: int, left: NDArray[np.bool_]) -> _Path:
        """Such a path to `b` from the source that is nearest by the same order; there must be one."""
        step, total, entered, best = self._levels(b, sources, left)
        near = min(sources, key=lambda a: (step[a] if step[a] >= 0 else len(step), -total[a], a))
        if near < b:
            return self._down(near, step, total, entered, best)
        return _turned(self.between(b, near, left))

    def _levels(self, b: int, until: Sequence[int], left: NDArray[np.bool_]) -> tuple[NDArray[np.int64], ...]:
        """Steps to `b` (-1: not seen) and most bits on so few, of accounts, then of identifiers; up to the first `until`."""
        step, total = np.full(len(self.accounts), -1), np.zeros(len(self.accounts), np.int64)
        entered, best = np.full(len(self.worth), -1), np.zeros(len(self.worth), np.int64)
        step[b] = 0
        reached, level = np.array([b]), 0
        while len(reached) and (step[until] < 0).all():
            here, there = _next(self.matrix, reached)
            new = (entered[there] < 0) & left[there]
            np.maximum.at(best, there[new], total[reached[here[new]]])
            fresh = np.unique(there[new])
            entered[fresh] = level
            best[fresh] += self.worth[fresh]
            level += 1
            here, there = _next(self.users, fresh)
            new = step[there] < 0
            np.maximum.at(total, there[new], best[fresh[here[new]]])
            reached = np.unique(there[new])
            step[reached] = level
        return step, total, entered, best

    def _down(
        self, a: int, step: NDArray[np.int64], total: NDArray[np.int64], entered: NDArray[np.int64],
        best: NDArray[np.int64],
    ) -> _Path:  # fmt: skip
        """The way from `a` down the levels, over the first of those that lose no bits."""
        path: _Path = []
        while step[a]:
            level = step[a] - 1
            own = self.matrix.indices[self.matrix.indptr[a] : self.matrix.indptr[a + 1]]
            v = int(own[(entered[own] == level) & (best[own] == total[a])].min())
            users = self.users.indices[self.users.indptr[v] : self.users.indptr[v + 1]]
            after = int(users[(step[users] == level) & (total[users] == best[v] - self.worth[v])].min())
            path.append((a, v, after))
            a = after
        return path

    def walk(self, seeds: Sequence[int]) -> NDArray[np.float64]:
        """Share of its time that the walk from `seeds` spends at each account, see `suggest`."""
        start = np.zeros(len(self.accounts))
        if not seeds:
            return start
        start[list(seeds)] = (1 - DAMPING) / len(seeds)
        out = self.matrix @ self.worth
        degree = np.diff(self.users.indptr)
        at, moved = start, 1.0
        while moved > _TOLERANCE:  # two links a round: each round moves DAMPING squared of the one before, at most
            identifiers = self.worth * (self.users @ (at / out))
            after = start + DAMPING**2 * (self.matrix @ (identifiers / degree))
            at, moved = after, float(np.abs(after - at).sum())
        return at


def _next(rows: csr_array, nodes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each link of `nodes`: position of its node in `nodes`, and its other end."""
    start, number = rows.indptr[nodes], np.diff(rows.indptr)[nodes]
    here = np.repeat(np.arange(len(nodes)), number)
    return here, rows.indices[spread(start, number)].astype(np.int64)


def _telling(kinds: pl.Series) -> pl.Series:
    """Whether each kind can make a tie by itself."""
    able = [name for name in kinds.unique().to_list() if not is_circumstantial(name)]
    return kinds.is_in(able)


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
