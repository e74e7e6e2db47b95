"""A case and newer tables as one graph, weighed as the case was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.activity import Activity, read_activity
from hydragraph.bipartite import BipartiteGraph
from hydragraph.case import Case
from hydragraph.constraints import PAIRS, belonging
from hydragraph.errors import NotACase
from hydragraph.evidence import KNOWN_SHARED_BITS, TOGETHER_BITS, Evidence, weigh
from hydragraph.identifiers import is_circumstantial
from hydragraph.identifiers import kind as kind_of

WIDE = 512
"""An identifier that more accounts use brings nobody near, unless watched members are a twentieth of them."""

NARROW = 64
"""An identifier of a telling kind that at most this many accounts use brings near who shares it with somebody near."""

_HELD = 0.05
_LEVELS = 64
_KEY = ["kind", "value"]

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Newer:
    """The members of a case's clusters, and the accounts of newer tables that come near some of them, in one graph.

    graph: links of the case and of the newer tables together; `beyond` are the accounts of both that use an identifier
    and are not here. evidence: as in the case, see `carried`. activity: requests of the newer tables. label: number of
    each account's cluster in the case, -1 for those that come near, shape (accounts,). ids: of the clusters, by number.
    """

    graph: BipartiteGraph
    evidence: Evidence
    activity: Activity
    label: Ints
    ids: list[str]


def newer(
    case: Case,
    watched: Sequence[str],
    source: BipartiteGraph,
    requests: pl.DataFrame,
    pairs: pl.DataFrame | None = None,
) -> Newer:
    """A case and the graph and requests of newer tables (links.read_links), put together around the `watched` clusters.

    Of the newer tables' accounts in no cluster those come near that use an identifier of a telling kind, or two of any
    kind, which members of watched clusters use as well: one of at most 512 accounts, or of which these members are a
    twentieth; who shares a telling identifier of at most 64 accounts with somebody near; and who by `pairs` (as in
    constraints.Constraints) must be with somebody near, or with such a member. Nobody else could be tied or attached to
    them, but for single address ranges with bursts begun together. Of all other clusters there is what
    their members share with those who come near, who may belong there.
    Raises NotACase when the manifest lacks the calibration.
    """
    calibration = case.manifest.get("calibration")
    if not calibration:
        raise NotACase("the manifest of the case holds no calibration; analyse its source again")
    members = case.accounts.filter(pl.col("cluster_id").is_not_null())
    mine = members.filter(pl.col("cluster_id").is_in(list(watched)))
    known, member, seen = (
        source.accounts["account_id"].is_in(frame["account_id"].implode()).to_numpy()
        for frame in (case.accounts, members, mine)
    )
    of_mine = case.links.join(mine, on="account_id", how="semi")
    near = _near(source, of_mine, ~known, member, seen, *_bound(source, mine, pairs))
    account, identifier = (source.links[c].to_numpy() for c in ("account", "identifier"))
    used = np.zeros(source.identifiers.height, bool)
    used[identifier[near[account]]] = True
    of_others = case.links.join(mine, on="account_id", how="anti").join(
        source.identifiers.filter(pl.Series(used)), on=_KEY, how="semi"
    )
    earlier = pl.concat([of_mine, of_others])
    kept = near[account] | seen[account] | (member[account] & used[identifier])

    accounts = _accounts(case.accounts, members, source.accounts.filter(pl.Series(near | member)))
    place = accounts.select("account_id").with_row_index("account")
    code = _codes(source.accounts.select("account_id"), place, "account")
    identifiers = (
        pl.concat([earlier.select(_KEY), source.identifiers[np.unique(identifier[kept])].select(_KEY)])
        .unique()
        .sort(_KEY)
        .join(source.identifiers, on=_KEY, how="left", maintain_order="left")
    )
    spot = identifiers.select(_KEY).with_row_index("identifier")
    at = _codes(source.identifiers.select(_KEY), spot, "identifier")
    then = (
        earlier.group_by(_KEY)
        .agg(users=pl.len().cast(pl.Int64), accounts=pl.col("accounts").max(), bits=pl.col("bits").max())
        .join(spot, on=_KEY)
        .sort("identifier")
    )
    columns = ["account", "identifier", "count", "first_seen", "last_seen"]
    later = source.links.filter(pl.Series(kept)).with_columns(
        account=code.gather(pl.Series(account[kept])), identifier=at.gather(pl.Series(identifier[kept]))
    )
    links = (
        pl.concat([earlier.join(spot, on=_KEY).join(place, on="account_id").select(columns), later.select(columns)])
        .group_by("account", "identifier")
        .agg(pl.col("count").sum(), pl.col("first_seen").min(), pl.col("last_seen").max())
        .sort("account", "identifier")
    )
    # of the accounts that are not here: those the case did not know, and those it did, who may have used it before
    fresh, elsewhere, again = (
        _users(at, identifier[of], identifiers.height)
        for of in ((~known & ~near)[account], known[account] & ~kept, (known & near)[account])
    )
    before = np.zeros(identifiers.height, np.int64)
    before[then["identifier"].to_numpy()] = (then["accounts"] - then["users"]).to_numpy()
    beyond = fresh + np.maximum(before - again, elsewhere)

    graph = BipartiteGraph(accounts, identifiers, links, beyond)
    ids = members["cluster_id"].unique().sort()
    label = _codes(_codes_of(accounts, members), ids.to_frame("cluster_id").with_row_index("number"), "number")
    here = code.gather(requests["account"])
    moved = requests.with_columns(account=here).filter(here.is_not_null()).sort("account", "slot")
    return Newer(
        graph=graph,
        evidence=carried(
            weigh(graph, case.settings), graph, calibration, then, len(np.unique(account[~known[account]]))
        ),
        activity=read_activity(moved, accounts.height),
        label=label.cast(pl.Int64).fill_null(-1).to_numpy(),
        ids=ids.to_list(),
    )


def _bound(source: BipartiteGraph, mine: pl.DataFrame, pairs: pl.DataFrame | None) -> tuple[Ints, Ints]:
    """For each account of the newer tables the group of those that must be together, -1: none; and the groups that hold a
    member of a watched cluster."""
    groups = belonging(pl.DataFrame(schema=PAIRS) if pairs is None else pairs)
    group = _codes(source.accounts.select("account_id"), groups, "group").fill_null(-1).to_numpy()
    return group, groups.join(mine, on="account_id", how="semi")["group"].unique().to_numpy()


def _near(
    source: BipartiteGraph, of_mine: pl.DataFrame, fresh: Flags, member: Flags, seen: Flags, group: Ints, held: Ints
) -> Flags:
    """Which accounts of the newer tables come near, see `newer`; shape (accounts,). of_mine: the case's links of members of
    watched clusters. fresh, member, seen: not in the case; in a cluster of it; in a watched one. group, held: see
    `_bound`."""
    account, identifier = (source.links[c].to_numpy() for c in ("account", "identifier"))
    size = source.identifiers.height
    then = source.identifiers.select(_KEY).with_row_index("identifier").join(
        of_mine.group_by(_KEY).agg(users=pl.len(), accounts=pl.col("accounts").max()), on=_KEY
    )  # fmt: skip
    total, inside = (np.bincount(identifier[of[account]], minlength=size) for of in (fresh, seen))
    total[then["identifier"].to_numpy()] += then["accounts"].to_numpy()
    inside[then["identifier"].to_numpy()] += then["users"].to_numpy()
    speaks = (inside > 0) & ((total <= WIDE) | (inside >= _HELD * total))
    telling = np.array([not is_circumstantial(k) for k in source.kinds], bool)[source.kind_code]
    any_kind, tells = (np.bincount(account[of[identifier]], minlength=len(fresh)) for of in (speaks, speaks & telling))
    near = ~member & ((tells > 0) | (any_kind > 1) | np.isin(group, held))
    narrow = telling & (source.degree > 1) & (source.degree <= NARROW)
    while True:
        reached = np.zeros(size, bool)
        reached[identifier[near[account]]] = True
        more = near.copy()
        more[account[(reached & narrow)[identifier]]] = True
        more |= (group >= 0) & np.isin(group, group[near])
        more &= ~member
        if (more == near).all():
            return near
        near = more


def _codes(names: pl.DataFrame, coded: pl.DataFrame, code: str) -> pl.Series:
    """Code of each row of `names`, null where `coded` has none."""
    return names.join(coded, on=names.columns, how="left", maintain_order="left")[code]


def _codes_of(accounts: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    ids = members.select("account_id", "cluster_id")
    return (
        accounts.select("account_id").join(ids, on="account_id", how="left", maintain_order="left").select("cluster_id")
    )


def _users(at: pl.Series, identifier: Ints, size: int) -> Ints:
    """How often each identifier of the graph occurs; those that are not in it are left out."""
    return np.bincount(at.gather(pl.Series(identifier)).drop_nulls().to_numpy(), minlength=size)


def _accounts(of_case: pl.DataFrame, members: pl.DataFrame, of_source: pl.DataFrame) -> pl.DataFrame:
    """Members and accounts of the newer tables, sorted by id, with columns as links.read_links has them: earliest opening
    and first activity, latest closing and last activity of both."""
    columns = ["account_id", "created_at", "closed_at", "close_reason", "first_seen", "last_seen", "events", "tokens"]
    loose = of_case.filter(pl.col("cluster_id").is_null()).join(of_source, on="account_id", how="semi")
    both = (
        pl.concat([members.select(columns), loose.select(columns)])
        .join(of_source, on="account_id", how="full", coalesce=True, suffix="_now")
        .sort("account_id")
    )

    def of(name: str, pick: Any) -> pl.Expr:
        found: pl.Expr = pick(name, f"{name}_now")
        return found.alias(name)

    return both.select(
        "account_id",
        of("created_at", pl.min_horizontal),
        of("closed_at", pl.max_horizontal),
        pl.coalesce("close_reason_now", "close_reason").alias("close_reason"),
        "org_id",
        "channel",
        of("first_seen", pl.min_horizontal),
        of("last_seen", pl.max_horizontal),
        of("events", pl.sum_horizontal),
        of("tokens", pl.sum_horizontal),
        pl.col("limited").fill_null(0),
    )


def carried(
    own: Evidence, graph: BipartiteGraph, calibration: Mapping[str, Any], then: pl.DataFrame, fresh: int
) -> Evidence:
    """Evidence of every identifier of `graph` by the calibration of a case, which saw all accounts and not a few.

    An identifier whose bits the case knows is worth as much, less log2 of how many times as many accounts use it by now;
    any other what its class (kind and width) was worth in the case. N: the accounts of the case that use anything, and
    the `fresh` ones. own: what evidence.weigh says of this graph alone, for all that belongs to no class. then:
    identifier, bits and accounts as in the case, sorted.
    Not checked: worth that has changed since.
    """
    prior_then = float(calibration["prior_bits"])
    prior = float(np.log2(np.exp2(prior_then) + fresh))
    width = np.maximum(graph.degree, 2)
    level = np.log2(width).astype(np.int64)
    chance = np.array([kind_of(k).chance_bits for k in graph.kinds])
    usual = TOGETHER_BITS - chance[:, None] - (np.arange(_LEVELS) - 1)[None, :]
    repeat = np.zeros_like(usual)
    for row in calibration["classes"]:
        if row["kind"] in graph.kinds:
            cell = graph.kinds.index(row["kind"]), row["level"]
            usual[cell] = row["logit"]
            repeat[cell] = -np.log2((row["again"] + 0.5) / (row["pairs"] + 1.0))
    logit = usual[graph.kind_code, level] - (np.log2(width) - level)
    logit -= np.where(graph.identifiers["known"].is_not_null().to_numpy(), KNOWN_SHARED_BITS, 0.0)
    at, bits, accounts = (then.filter(pl.col("accounts") > 1)[c].to_numpy() for c in ("identifier", "bits", "accounts"))
    logit[at] = np.where(bits > 0, bits, -np.inf) - prior_then - np.log2(graph.degree[at] / accounts)
    logit = np.round(logit, 3)
    worth = np.maximum(prior + logit, 0.0).round(3)
    further = np.minimum(repeat[graph.kind_code, level], worth).round(3)
    return replace(own, logit=logit, bits=worth, further=further, prior=prior)
