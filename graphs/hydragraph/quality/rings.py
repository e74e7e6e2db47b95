"""Clusters held against true rings: pairs, B-cubed, and rings found whole, split or merged."""

from __future__ import annotations

import polars as pl

HALF, WHOLE, PART = 0.5, 0.9, 0.1
"""Share of a ring that one cluster must hold for the ring to be found, to be found whole, and to count as a part."""
AT_LEAST = 2
"""Accounts that found, split and merged also ask for: one account of a ring of three is no part of it."""


def cluster_sums(labelled: pl.DataFrame, of: str) -> pl.DataFrame:
    """One row a true cluster (column `of`), sorted: the sums that pairwise and B-cubed figures are made of.

    labelled: accounts with a true cluster, and `found`, their found cluster or null. With n_r the accounts of true
    cluster r, n_k those of found cluster k, n_rk those in both, and an account without a cluster alone in its own:

    true_pairs = n_r (n_r - 1) / 2
    same_pairs = sum over k of n_rk (n_rk - 1) / 2
    found_pairs = same_pairs + sum over k of n_rk (n_k - n_rk) / 2: a pair across two true clusters is half of each
    precision_sum = sum over k of n_rk * n_rk / n_k + accounts without a cluster
    recall_sum = sum over k of n_rk * n_rk / n_r + accounts without a cluster / n_r

    No pair is ever formed.
    """
    together = _contingency(labelled, of)
    both, found, true = (pl.col(name).cast(pl.Float64) for name in ("both", "in_found", "accounts"))
    sums = (
        together.group_by(of)
        .agg(
            clustered=pl.col("both").sum(),
            same_pairs=(both * (both - 1) / 2).sum(),
            across=(both * (found - both) / 2).sum(),
            precise=(both * both / found).sort().sum(),
            recalled=(both * both / true).sort().sum(),
        )
    )  # fmt: skip
    alone = true - pl.col("clustered")
    return (
        labelled.group_by(of)
        .agg(accounts=pl.len())
        .join(sums, on=of, how="left")
        .with_columns(pl.col("clustered", "same_pairs", "across", "precise", "recalled").fill_null(0))
        .select(
            of,
            pl.col("accounts").cast(pl.Int64),
            true_pairs=true * (true - 1) / 2,
            same_pairs="same_pairs",
            found_pairs=pl.col("same_pairs") + pl.col("across"),
            precision_sum=pl.col("precise") + alone,
            recall_sum=pl.col("recalled") + alone / true,
        )
        .sort(of)
    )


def ring_fates(labelled: pl.DataFrame) -> pl.DataFrame:
    """One row a true ring of at least two accounts, sorted by ring: what became of it.

    labelled: coordinated accounts with columns ring, and found, null for those outside the clusters that count.

    found: one cluster holds at least half of the ring, and two of its accounts.
    whole: one cluster holds at least 90 % of it, and two of its accounts. A whole ring is a found ring.
    split: two or more clusters hold at least 10 % of it each, and two of its accounts each.
    merged: a cluster that holds at least 10 % of it, and two of its accounts, holds as much of another ring.
    A ring that is not found is missed; split and merged may be true of found and of missed rings.

    Columns: ring, accounts, best (the cluster that holds most of it), held (its share of the ring), found, whole,
    split, merged.
    """
    sizes = labelled.group_by("ring").agg(accounts=pl.len().cast(pl.Int64)).filter(pl.col("accounts") >= AT_LEAST)
    together = _contingency(labelled, "ring").with_columns(held=pl.col("both") / pl.col("accounts"))
    large = pl.col("both") >= AT_LEAST
    part = large & (pl.col("held") >= PART)
    together = together.with_columns(part=part, rings=part.sum().over("found"))
    fates = (
        together.sort("both", "found", descending=[True, False])
        .group_by("ring", maintain_order=True)
        .agg(
            best=pl.col("found").first(),
            held=pl.col("held").first(),
            found=(large & (pl.col("held") >= HALF)).any(),
            whole=(large & (pl.col("held") >= WHOLE)).any(),
            split=pl.col("part").sum() > 1,
            merged=(pl.col("part") & (pl.col("rings") > 1)).any(),
        )
    )
    return (
        sizes.join(fates, on="ring", how="left")
        .with_columns(pl.col("held").fill_null(0.0), pl.col("found", "whole", "split", "merged").fill_null(False))
        .sort("ring")
    )


def _contingency(labelled: pl.DataFrame, of: str) -> pl.DataFrame:
    """One row a true and a found cluster with accounts in common: both, in_found, accounts (of the true cluster)."""
    return (
        labelled.with_columns(accounts=pl.len().over(of))
        .filter(pl.col("found").is_not_null())
        .with_columns(in_found=pl.len().over("found"))
        .group_by(of, "found")
        .agg(both=pl.len(), in_found=pl.col("in_found").first(), accounts=pl.col("accounts").first())
    )
