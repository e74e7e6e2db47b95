"""Clusters across runs: which cluster of a new case is which of an old one, and what became of the others."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from hydragraph.case import LEADS, Case
from hydragraph.schema import EVENTS, OUTPUT

HELD = 1 / 3
"""Share of an old cluster's members that are still in a cluster which the new cluster must hold to be the same one; and
share that the common members must make of the old cluster or of the new one."""

_WORDS = {
    "appeared": "appeared", "grew": "grew", "shrank": "shrank", "merged": "went into another", "split": "split off",
    "gone": "gone", "kept": "as large as before",
}  # fmt: skip


@dataclass(frozen=True, repr=False)
class Difference:
    """What changed between two cases.

    changes: one row a cluster as in ledger.parquet, with assessment and review_state in the new case and, as
    previous_assessment and previous_review_state, in the old one; by event, the largest first, of the kept ones those first
    that are judged otherwise. Clusters that stayed as they were are rows too.
    """

    changes: pl.DataFrame

    @cached_property
    def counts(self) -> dict[str, int]:
        """Clusters by event, in the order appeared, grew, shrank, merged, split, gone, kept."""
        return {event: self.changes.filter(event=event).height for event in EVENTS}

    @cached_property
    def changed(self) -> pl.DataFrame:
        """The rows of `changes` but for clusters that kept their size, their assessment and their review state."""
        return self.changes.filter((pl.col("event") != "kept") | _judged_otherwise())

    @property
    def sentence(self) -> str:
        """The counts, how many kept ones are judged otherwise, and how many leads are new, as sentences."""
        said = ", ".join(f"{number:,} {_WORDS[event]}" for event, number in self.counts.items() if number)
        if not said:
            return "Neither case has a cluster."
        now = self.changes.filter(~pl.col("event").is_in(["merged", "gone"]))
        was = self.changes.height - self.counts["appeared"] - self.counts["split"]
        leads = now.filter(pl.col("assessment").is_in(LEADS))
        fresh = leads.filter(~pl.col("previous_assessment").is_in(LEADS).fill_null(False)).height
        lead = f"{leads.height:,} lead{'' if leads.height == 1 else 's'} now, {fresh:,} of them new"
        judged = self.changed.filter(event="kept").height
        said += f", {judged:,} of these judged otherwise" if judged else ""
        return f"Of {was:,} clusters before and {now.height:,} now: {said}. {lead if leads.height else 'No leads now'}."

    def __repr__(self) -> str:
        return f"<Difference: {self.sentence}>"


def diff(old: Case, new: Case) -> Difference:
    """What became of the clusters of `old` in `new`, by their members, whatever their ids are.

    Every cluster of the new case is kept, grew, shrank, split or appeared once; every cluster of the old one is kept,
    grew, shrank, merged or gone once. kept: as many accounts as before; which ones may have changed, `common` says.
    Not checked: that both cases are of the same source.
    """
    before, after = members_of(old), members_of(new)
    rows = ledger_table(before, after, match_clusters(before, after))
    judged = ("assessment", "review_state")
    named = rows.join(
        new.clusters.select("cluster_id", *judged), on="cluster_id", how="left", maintain_order="left"
    ).join(
        old.clusters.select(previous_id="cluster_id", **{f"previous_{name}": name for name in judged}),
        on="previous_id", how="left", maintain_order="left",
    )  # fmt: skip
    rank = pl.col("event").replace_strict({event: i for i, event in enumerate(EVENTS)}, return_dtype=pl.Int8)
    larger = pl.max_horizontal("accounts_before", "accounts_after")
    ordered = named.sort(
        rank, (pl.col("event") == "kept") & _judged_otherwise(), larger, "cluster_id", "previous_id",
        descending=[False, True, True, False, False], nulls_last=True,
    )  # fmt: skip
    return Difference(ordered)


def _judged_otherwise() -> pl.Expr:
    return pl.any_horizontal(
        pl.col(name).ne_missing(pl.col(f"previous_{name}")) for name in ("assessment", "review_state")
    )


def members_of(case: Case) -> pl.DataFrame:
    """account_id and cluster_id of every account in a cluster."""
    return case.accounts.filter(pl.col("cluster_id").is_not_null()).select("account_id", "cluster_id")


def match_clusters(old: pl.DataFrame, new: pl.DataFrame) -> dict[str, str]:
    """Which cluster of `new` is which of `old`: {id in new: id in old}; no id stands on either side twice.

    old, new: frames of account_id and cluster_id, a row an account in a cluster.

    Pairs are taken by the number of common members, the largest first; of equal ones those with fewer members in all,
    then those whose first account sorts first. A pair counts if the new cluster holds at least a third of the old one's
    members that are still in a cluster, and the common members are a third of the old cluster or of the new one.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for previous, cluster in _overlaps(old, new).filter("same").select("previous_id", "cluster_id").iter_rows():
        if previous not in taken and cluster not in found:
            found[cluster] = previous
            taken.add(previous)
    return found


def _overlaps(old: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """Every old and new cluster with common members, the likeliest first: previous_id, cluster_id, common, before, after,
    and whether the two can be the same."""

    def sizes(frame: pl.DataFrame, size: str, first: str) -> pl.DataFrame:
        return frame.group_by("cluster_id").agg(pl.len().alias(size), pl.col("account_id").min().alias(first))

    both = old.rename({"cluster_id": "previous_id"}).join(new, on="account_id", how="inner")
    pairs = both.group_by("previous_id", "cluster_id").agg(common=pl.len())
    return (
        pairs.with_columns(left=pl.col("common").sum().over("previous_id"))
        .join(sizes(old, "before", "old_first").rename({"cluster_id": "previous_id"}), on="previous_id")
        .join(sizes(new, "after", "new_first"), on="cluster_id")
        .with_columns(
            same=(pl.col("common") >= HELD * pl.col("left"))
            & (pl.col("common") >= HELD * pl.min_horizontal("before", "after"))
        )
        .sort(
            "common", pl.col("before") + pl.col("after"), "old_first", "new_first",
            descending=[True, False, False, False],
        )
    )  # fmt: skip


def ledger_table(old: pl.DataFrame, new: pl.DataFrame, matched: Mapping[str, str]) -> pl.DataFrame:
    """ledger.parquet: what became of every cluster of `old`, and where every cluster of `new` comes from.

    old, new: as in `match_clusters`, which gives `matched`. A matched pair grew, shrank or was kept. Another old cluster
    merged into the new one that could have been it and is another by now, or is gone. Another new cluster split from the
    old one that gave it most members, if these are at least a third of it, or appeared.
    """
    pairs = _overlaps(old, new)
    ids = pl.DataFrame(
        {"cluster_id": list(matched), "previous_id": list(matched.values())},
        schema={"cluster_id": pl.String, "previous_id": pl.String},
    )
    grown = pl.col("after").cast(pl.Int64) - pl.col("before").cast(pl.Int64)
    same = pairs.join(ids, on=["cluster_id", "previous_id"], how="semi").with_columns(
        event=pl.when(grown > 0).then(pl.lit("grew")).when(grown < 0).then(pl.lit("shrank")).otherwise(pl.lit("kept"))
    )
    merged = (
        pairs.filter("same")
        .join(ids, on="previous_id", how="anti")
        .unique("previous_id", keep="first", maintain_order=True)
    )
    split = (
        pairs.join(ids, on="cluster_id", how="anti")
        .filter(pl.col("common") >= HELD * pl.col("after"))
        .unique("cluster_id", keep="first", maintain_order=True)
    )
    gone = (
        old.group_by(previous_id="cluster_id").agg(before=pl.len())
        .join(pl.concat([same.select("previous_id"), merged.select("previous_id")]), on="previous_id", how="anti")
    )  # fmt: skip
    appeared = (
        new.group_by("cluster_id").agg(after=pl.len())
        .join(pl.concat([same.select("cluster_id"), split.select("cluster_id")]), on="cluster_id", how="anti")
    )  # fmt: skip
    rows = pl.concat(
        [
            same,
            merged.with_columns(event=pl.lit("merged")),
            split.with_columns(event=pl.lit("split")),
            gone.with_columns(event=pl.lit("gone")),
            appeared.with_columns(event=pl.lit("appeared")),
        ],
        how="diagonal",
    )
    counted = {"accounts_before": "before", "accounts_after": "after", "common": "common"}
    return OUTPUT["ledger"].conform(
        rows.with_columns(pl.col(column).fill_null(0).alias(name) for name, column in counted.items())
    )


def carried_ids(ids: Collection[str], matched: Mapping[str, str], known: Collection[str]) -> list[str]:
    """The ids of the new clusters once those of the old ones are carried over, in the order of `ids`.

    ids: made from the members. matched: {id in new: id in old}. known: every id of the old case: a cluster that is none
    of them gets none of their ids, even if it has the members that one was named after.
    """
    taken = set(known)
    out = []
    for cluster in ids:
        name = matched.get(cluster)
        if name is None:
            name = cluster
            while name in taken:
                name = "c" + hashlib.sha256(f"after {name}".encode()).hexdigest()[:12]
            taken.add(name)
        out.append(name)
    return out
