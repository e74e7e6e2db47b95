"""What a picture of one cluster shows: which accounts, identifiers and links, and where they stand."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph import identifiers
from hydragraph.report.layout import Positions, bipartite_layout, fit
from hydragraph.report.text import count

WIDTH, HEIGHT, MARGIN = 1000.0, 560.0, 40.0

KIND_COLOURS = (
    ("#0f766e", "#5cc8bd"),
    ("#6d4fc0", "#b3a1f5"),
    ("#a3470a", "#f0a36b"),
    ("#2563a8", "#86b6f2"),
    ("#4d7210", "#a5cc5f"),
    ("#a8286f", "#f08fc4"),
    ("#7a5c12", "#d9bd66"),
    ("#3d6b80", "#8fc1d6"),
)
"""One colour a kind, for light and for dark paper; each at least 3:1 against its paper."""

_OUTLINES = (
    ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    ((0.0, -1.2), (1.2, 0.0), (0.0, 1.2), (-1.2, 0.0)),
    ((0.0, -1.15), (1.1, 0.85), (-1.1, 0.85)),
    ((0.55, -0.95), (1.1, 0.0), (0.55, 0.95), (-0.55, 0.95), (-1.1, 0.0), (-0.55, -0.95)),
)
SHAPES = tuple(_OUTLINES[(i + i // 4) % 4] for i in range(16))
"""One outline a kind (y downwards), so that no kind is told by its colour alone; no two of sixteen kinds share both.
Accounts are circles."""


@dataclass(frozen=True)
class Picture:
    """The drawn part of a cluster.

    accounts: member rows in the order drawn. identifiers: number (its place in the evidence table, from 1), kind,
    value, members, accounts, bits. links: account, identifier (row numbers of the two frames), count.
    place: shape (accounts + identifiers, 2) inside WIDTH x HEIGHT. kinds: kinds in the order of their colours.
    """

    accounts: pl.DataFrame
    identifiers: pl.DataFrame
    links: pl.DataFrame
    place: Positions
    kinds: tuple[str, ...]
    accounts_total: int
    identifiers_total: int
    links_total: int

    @property
    def present(self) -> list[int]:
        """Positions in `kinds` of the kinds drawn."""
        drawn = set(self.identifiers["kind"])
        return [i for i, kind in enumerate(self.kinds) if kind in drawn]

    @property
    def left_out(self) -> str:
        """A sentence about what is not drawn; empty when everything is."""
        parts = [
            f"{count(drawn)} of {count(total)} {what}"
            for drawn, total, what in (
                (self.accounts.height, self.accounts_total, "accounts"),
                (self.identifiers.height, self.identifiers_total, "shared identifiers"),
                (self.links.height, self.links_total, "links"),
            )
            if drawn < total
        ]
        if not parts:
            return ""
        said = parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
        return f"The picture is cut down to {said}: the part that hangs together most strongly."


def kind_order(kinds: Sequence[str]) -> tuple[str, ...]:
    """Kinds in the order of the registry, unknown ones after it by name: the order of their colours."""
    known = {name: i for i, name in enumerate(identifiers.KINDS)}
    return tuple(sorted(set(kinds), key=lambda k: (known.get(k, len(known)), k)))


def ranked_members(members: pl.DataFrame) -> pl.DataFrame:
    """Members, the best tied first: core, then bits, then account_id."""
    return members.sort(
        pl.col("membership") != "core", "bits", "account_id", descending=[False, True, False], nulls_last=True
    )


def shared_identifiers(links: pl.DataFrame) -> pl.DataFrame:
    """Identifiers that two or more accounts of `links` share: number, kind, value, members, accounts, bits.

    The strongest three of each kind, then the next three of each kind and so on, inside a turn by strength:
    bits x members using it. So no kind hides the others. number counts from 1 in this order.
    """
    weight = ["weight", "bits", "members", "kind", "value"]
    down = [True, True, True, False, False]
    return (
        links.group_by("kind", "value")
        .agg(members=pl.len(), accounts=pl.col("accounts").max(), bits=pl.col("bits").max())
        .filter(pl.col("members") > 1)
        .with_columns(weight=pl.col("bits").fill_nan(None).fill_null(0) * pl.col("members"))
        .sort(weight, descending=down, nulls_last=True)
        .with_columns(turn=pl.int_range(pl.len()).over("kind") // 3)
        .sort("turn", *weight, descending=[False, *down], nulls_last=True)
        .drop("turn", "weight")
        .with_row_index("number", offset=1)
    )


def draw(
    members: pl.DataFrame,
    links: pl.DataFrame,
    kinds: Sequence[str],
    *,
    shared: pl.DataFrame | None = None,
    nodes: int = 400,
    edges: int = 1500,
) -> Picture:
    """The picture of one cluster: at most `nodes` accounts and shared identifiers and `edges` links.

    members: rows of the accounts table; links: their rows of the links table; kinds: order of the colours;
    shared: `shared_identifiers(links)` if the caller has it already. Too large a cluster is cut down to the part grown
    from its best tied account along the rarest shared identifiers, then the identifiers most shared inside that part.
    """
    members = ranked_members(members)
    if shared is None:
        shared = shared_identifiers(links)
    coded = (
        links.join(members.select("account_id").with_row_index("account"), on="account_id")
        .join(shared.select("kind", "value").with_row_index("identifier"), on=["kind", "value"])
        .select(pl.col("account", "identifier").cast(pl.Int64), pl.col("count").fill_null(0))
        .sort("account", "identifier")
    )
    pairs = coded.select("account", "identifier").to_numpy().reshape(-1, 2)
    worth = shared["bits"].fill_null(0).fill_nan(0).to_numpy()
    accounts, chosen = _choose(pairs, members.height, shared.height, worth, nodes)
    new_account, new_identifier = np.full(members.height, -1), np.full(shared.height, -1)
    new_account[accounts], new_identifier[chosen] = np.arange(len(accounts)), np.arange(len(chosen))
    drawn = (
        coded.with_columns(
            account=pl.Series(new_account[pairs[:, 0]], dtype=pl.Int64),
            identifier=pl.Series(new_identifier[pairs[:, 1]], dtype=pl.Int64),
            bits=pl.Series(worth[pairs[:, 1]], dtype=pl.Float64),
        )
        .filter(pl.col("account") >= 0, pl.col("identifier") >= 0)
        .sort("bits", "account", "identifier", descending=[True, False, False])
        .head(edges)
        .select("account", "identifier", "count")
        .sort("account", "identifier")
    )
    ends = drawn.select("account", "identifier").to_numpy().reshape(-1, 2)
    place = fit(bipartite_layout(len(accounts), len(chosen), ends), WIDTH, HEIGHT, MARGIN)
    return Picture(
        accounts=members[accounts],
        identifiers=shared[chosen],
        links=drawn,
        place=place,
        kinds=tuple(kinds),
        accounts_total=members.height,
        identifiers_total=shared.height,
        links_total=coded.height,
    )


def _choose(
    pairs: NDArray[np.int64], accounts: int, shared: int, worth: NDArray[np.float64], nodes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Codes of the accounts and of the identifiers to draw, each in rising order."""
    if accounts + shared <= nodes:
        return np.arange(accounts), np.arange(shared)
    take = min(accounts, max(nodes * 3 // 5, nodes - shared))
    grown = np.arange(accounts) if take == accounts else _grow(pairs, accounts, shared, worth, take)
    inside = np.zeros(accounts, dtype=bool)
    inside[grown] = True
    used = np.bincount(pairs[inside[pairs[:, 0]], 1], minlength=shared)
    # lexsort: last key first; ties go to the smaller code, the stronger identifier
    order = np.lexsort((np.arange(shared), -used * np.maximum(worth, 0.1)))
    order = order[used[order] > 1][: nodes - take]
    return np.sort(grown), np.sort(order)


def _grow(
    pairs: NDArray[np.int64], accounts: int, shared: int, worth: NDArray[np.float64], take: int
) -> NDArray[np.int64]:
    """`take` accounts, grown from account 0 along the identifiers worth most (Prim's way on the bipartite graph)."""
    by_account = pairs[:, 1]
    start = np.searchsorted(pairs[:, 0], np.arange(accounts + 1))
    turned = pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]
    by_identifier = turned[:, 0]
    begin = np.searchsorted(turned[:, 1], np.arange(shared + 1))
    taken: list[int] = []
    seen_account, seen_identifier = np.zeros(accounts, dtype=bool), np.zeros(shared, dtype=bool)
    heap: list[tuple[float, int, int]] = []  # (-bits, identifier, how many of its accounts were offered)
    following = iter(range(accounts))
    while len(taken) < take:
        account = -1
        while heap and account < 0:
            cost, identifier, offered = heapq.heappop(heap)
            at = begin[identifier] + offered
            while at < begin[identifier + 1] and seen_account[by_identifier[at]]:
                at += 1
            if at < begin[identifier + 1]:
                account = int(by_identifier[at])
                heapq.heappush(heap, (cost, identifier, int(at - begin[identifier]) + 1))
        if account < 0:
            account = next(a for a in following if not seen_account[a])
        seen_account[account] = True
        taken.append(account)
        for identifier in by_account[start[account] : start[account + 1]]:
            if not seen_identifier[identifier]:
                seen_identifier[identifier] = True
                heapq.heappush(heap, (-float(worth[identifier]), int(identifier), 0))
    return np.array(taken, dtype=np.int64)
