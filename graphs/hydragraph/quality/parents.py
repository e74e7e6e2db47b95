"""Named parents held against true ones: how many are right, and how many could be known at all."""

from __future__ import annotations

import numpy as np
import polars as pl

from hydragraph.case import Case
from hydragraph.identifiers import is_circumstantial
from hydragraph.quality.bootstrap import NOTHING, Floats, Key, Stratum, estimate, ratio
from hydragraph.quality.measures import Figures
from hydragraph.quality.truth import Truth

PARENTS = "parents"
"""What figures of named parents are of."""

NARROW = 64
"""An identifier that more accounts use singles nobody out."""

LONGEST_DAYS = 30
"""Closings so long before an account's beginning are the ones among which a parent is to be told."""

Rng = np.random.Generator

_SHARES = {
    "lineage_precision": ("right", "named"),
    "lineage_recall": ("right", "child"),
    "lineage_same_ring": ("same_ring", "in_ring"),
    "lineage_singled_out": ("fits", "singled"),
    "lineage_identifiable": ("identifiable", "child"),
    "lineage_identifiable_recall": ("told", "identifiable"),
}
"""Measure -> the two counts that it divides."""


def lineage(case: Case, labelled: pl.DataFrame, truth: Truth, *, resamples: int, rng: Rng) -> Figures:
    """Parents named right, drawn by ring, else cluster, else account.

    precision: of the labelled accounts for which the case names a parent; when the truth is not complete, of those whose
    parent is known, or who are labelled innocent and so replaced nobody. recall: of the labelled accounts with a true
    parent in the case. same_ring: of the named pairs of which one is in a ring, those of which both are in the same;
    only pairs of which both have a label, and a ring where they are coordinated.
    singled_out: of the children whose own identifiers single out one closed account, those whose true parent it is: how
    far identifiers alone can be trusted. identifiable: children whose own identifiers tell the true parent, see
    `singled_out`, of the labelled accounts with a true parent in the case; identifiable_recall: of these, parents named
    right. Not known, and null, when the case names no parent at all, or when the truth gives none and is not complete.
    """
    keys: tuple[Key, ...] = tuple((measure, PARENTS) for measure in _SHARES)
    named = case.lineage.select(account_id="child", named="parent").unique("account_id", keep="none")
    if named.is_empty() or not parents_given(labelled, truth):
        return dict.fromkeys(keys, (NOTHING, None))
    in_case = case.accounts.select(parent="account_id", in_case=pl.lit(True))
    ring_of = labelled.select(named="account_id", ring_of_named="ring", placed_named=_placed())
    own = singled_out(case, labelled)
    right = (pl.col("named") == pl.col("parent")).fill_null(False)
    judged = pl.lit(truth.complete) | pl.col("parent").is_not_null() | ~pl.col("positive")
    some_ring = pl.col("ring").is_not_null() | pl.col("ring_of_named").is_not_null()
    columns = sorted({name for pair in _SHARES.values() for name in pair})
    rows = (
        labelled.join(named, on="account_id", how="left")
        .join(in_case, on="parent", how="left")
        .join(ring_of, on="named", how="left")
        .join(own, on="account_id", how="left")
        .with_columns(pl.col("in_case", "singled", "fits", "identifiable", "placed_named").fill_null(False))
        .select(
            unit=pl.coalesce("ring", "found", "account_id"),
            right=right,
            named=pl.col("named").is_not_null() & judged,
            child=pl.col("in_case"),
            same_ring=(pl.col("ring") == pl.col("ring_of_named")).fill_null(False),
            in_ring=pl.col("named").is_not_null() & some_ring & _placed() & pl.col("placed_named"),
            singled=pl.col("in_case") & pl.col("singled"),
            fits=pl.col("in_case") & pl.col("fits"),
            identifiable=pl.col("in_case") & pl.col("identifiable"),
            told=pl.col("in_case") & pl.col("identifiable") & right,
        )
        .group_by("unit")
        .agg(pl.col(columns).sum().cast(pl.Int64))
        .group_by(columns)
        .agg(times=pl.len().cast(pl.Int64))
        .sort(columns)
    )
    stratum = Stratum(rows.select(pl.col(columns).cast(pl.Float64)).to_numpy(), rows["times"].to_numpy())
    at = {name: i for i, name in enumerate(columns)}

    def statistic(sums: Floats) -> dict[Key, Floats]:
        return {
            (measure, PARENTS): ratio(sums[:, at[hits]], sums[:, at[of]]) for measure, (hits, of) in _SHARES.items()
        }

    found = estimate([stratum], statistic, resamples=resamples, rng=rng)
    whole = stratum.whole[0]
    return {
        (measure, PARENTS): (found[measure, PARENTS], (float(whole[at[hits]]), float(whole[at[of]])))
        for measure, (hits, of) in _SHARES.items()
    }


def parents_given(labelled: pl.DataFrame, truth: Truth) -> bool:
    """Whether the truth can tell a right parent from a wrong one."""
    return truth.complete or labelled["parent"].count() > 0


def _placed() -> pl.Expr:
    """Whether the truth says which ring the account belongs to, or that it belongs to none."""
    return ~pl.col("positive") | pl.col("ring").is_not_null()


def singled_out(case: Case, labelled: pl.DataFrame) -> pl.DataFrame:
    """Accounts of true rings whose own identifiers single out one closed account: account_id, singled (True), fits (it is
    the true parent) and identifiable.

    An identifier of a telling kind that at most 64 accounts use singles out an account when it is the only one of the
    ring that used it and was closed in the 30 days before the child began. All of a child's identifiers that single out
    anybody must agree. Where members draw from a common pool such an agreement is an accident: the parent is identifiable
    only in a ring in which those singled out are the true parents of at least half of the children who single out
    anybody. Accounts outside the clusters of the case have no links there and single out nobody.
    """
    times = case.accounts.select("account_id", "first_seen", "closed_at")
    members = (
        labelled.filter(pl.col("ring").is_not_null())
        .select("account_id", "ring", "parent")
        .join(times, on="account_id")
    )
    telling = [kind for kind in case.links["kind"].unique().drop_nulls().sort() if not is_circumstantial(kind)]
    narrow = pl.col("kind").is_in(telling) & (pl.col("accounts") <= NARROW)
    links = case.links.filter(narrow).select("account_id", "kind", "value").join(members, on="account_id")
    children = links.filter(pl.col("parent").is_not_null()).select(
        "account_id", "ring", "kind", "value", "parent", "first_seen"
    )
    closed = links.filter(pl.col("closed_at").is_not_null()).select(
        "ring", "kind", "value", "closed_at", candidate="account_id"
    )
    before = pl.col("first_seen") - pl.col("closed_at")
    return (
        children.join(closed, on=["ring", "kind", "value"])
        .filter((before > pl.duration()) & (before <= pl.duration(days=LONGEST_DAYS)))
        .group_by("account_id", "ring", "kind", "value")
        .agg(pl.col("candidate", "parent").first(), others=pl.len() - 1)
        .filter(others=0)
        .group_by("account_id", "ring")
        .agg(pl.col("candidate", "parent").first(), several=pl.col("candidate").n_unique() > 1)
        .filter(~pl.col("several"))
        .with_columns(singled=pl.lit(True), fits=pl.col("candidate") == pl.col("parent"))
        .select(
            "account_id", "singled", "fits",
            identifiable=pl.col("fits") & (2 * pl.col("fits").sum().over("ring") >= pl.len().over("ring")),
        )
        .sort("account_id")
    )  # fmt: skip
