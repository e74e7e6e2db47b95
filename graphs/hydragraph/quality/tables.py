"""The tables behind the headline: rings, tactics, innocent groups, ranks, the curve of the score, its reliability."""

from __future__ import annotations

import numpy as np
import polars as pl

from hydragraph.case import Case
from hydragraph.quality.bootstrap import Estimate, Floats, Key, Stratum, estimate, ratio, share
from hydragraph.quality.labelled import AT, COORDINATED, LISTED, accused
from hydragraph.quality.measures import Figures, Sums
from hydragraph.quality.rings import HALF, ring_fates

Rng = np.random.Generator

GROUPS = "groups"
"""What figures of innocent groups are of."""

FATES = ("found", "whole", "split", "merged")
_LISTED = "_or_review"
_RANKS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)
_BINS = 10
_ACCUSED_MEMBERS = 2


def ring_table(labelled: pl.DataFrame) -> pl.DataFrame:
    """One row a true ring of at least two accounts, largest first: its tactic, `ring_fates` in coordinated clusters, and
    with `_or_review` behind the name in coordinated and review ones."""
    members = labelled.filter(pl.col("ring").is_not_null())
    fates, listed = (ring_fates(members.with_columns(found=pl.when(accused(at)).then("found"))) for at in AT)
    tactics = members.sort("account_id").group_by("ring").agg(pl.col("tactic").drop_nulls().first())
    return (
        fates.join(listed.select("ring", *FATES), on="ring", how="left", suffix=_LISTED)
        .join(tactics, on="ring", how="left")
        .select("ring", "tactic", "accounts", "best", "held", *FATES, *(f"{fate}{_LISTED}" for fate in FATES))
        .sort("accounts", "ring", descending=[True, False])
    )


def ring_shares(rings: pl.DataFrame) -> Figures:
    """Share of the rings of `ring_table` that are found, whole, split and merged."""
    columns = {(f"rings_{fate}", at): f"{fate}{_LISTED if at == LISTED else ''}" for at in AT for fate in FATES}
    return {key: _share(rings[name]) for key, name in columns.items()}


def _share(true: pl.Series) -> tuple[Estimate, tuple[float, float]]:
    hits, of = int(true.sum()), len(true)
    return share(hits, of), (hits, of)


def tactic_table(labelled: pl.DataFrame, rings: pl.DataFrame, *, resamples: int, rng: Rng) -> pl.DataFrame:
    """Recall by tactic: coordinated accounts, the share of them in coordinated clusters (with its interval over rings)
    and in coordinated or review ones, and what became of the tactic's rings."""
    members = labelled.filter(pl.col("positive") & pl.col("tactic").is_not_null()).with_columns(
        unit=pl.coalesce("ring", "found", "account_id")
    )
    per_unit = (
        members.group_by("tactic", "unit")
        .agg(accounts=pl.len(), coordinated=accused(COORDINATED).sum(), listed=accused(LISTED).sum())
        .sort("tactic", "unit")
    )
    rows = []
    for (tactic,), units in per_unit.group_by("tactic", maintain_order=True):
        counts = units.select("coordinated", "listed", "accounts").cast(pl.Float64).to_numpy()
        found = estimate(
            [Stratum(counts, np.ones(len(counts), np.int64))], _recalls, resamples=resamples, rng=rng
        )  # fmt: skip
        recall, listed = found["recall", COORDINATED], found["recall", LISTED]
        rows.append((tactic, int(counts[:, 2].sum()), recall.value, recall.low, recall.high, listed.value))
    whole, number = pl.Int64(), pl.Float64()
    table = pl.DataFrame(
        rows,
        schema={"tactic": pl.String(), "accounts": whole, "recall": number, "low": number, "high": number,
                "recall_with_review": number},
        orient="row",
    )  # fmt: skip
    of_rings = rings.group_by("tactic").agg(
        rings=pl.len().cast(pl.Int64),
        **{f"rings_{f}": pl.col(f).sum().cast(pl.Int64) for f in FATES},
    )
    joined = table.join(of_rings, on="tactic", how="left").with_columns(pl.col("^rings.*$").fill_null(0))
    return joined.sort("recall", "tactic")


def _recalls(sums: Floats) -> dict[Key, Floats]:
    return {("recall", at): ratio(sums[:, i], sums[:, 2]) for i, at in enumerate(AT)}


def innocent_table(labelled: pl.DataFrame) -> pl.DataFrame:
    """False positives by kind of innocent group: labelled innocent accounts, those in coordinated clusters and in
    review; groups of at least two accounts, groups accused (two members, or at least half of them, in coordinated
    clusters) and groups mostly accused (at least half). The row without group_kind is of accounts whose kind is not
    said."""
    innocent = labelled.filter(~pl.col("positive"))
    groups = _groups(innocent).group_by("group_kind").agg(
        groups=pl.len().cast(pl.Int64),
        groups_accused=pl.col("accused").sum().cast(pl.Int64),
        groups_mostly_accused=pl.col("mostly").sum().cast(pl.Int64),
    )  # fmt: skip
    return (
        innocent.group_by("group_kind")
        .agg(
            accounts=pl.len().cast(pl.Int64),
            coordinated=accused(COORDINATED).sum().cast(pl.Int64),
            review=(accused(LISTED) & ~accused(COORDINATED)).sum().cast(pl.Int64),
        )
        .with_columns(share=pl.col("coordinated") / pl.col("accounts"))
        .join(groups, on="group_kind", how="left", nulls_equal=True)
        .with_columns(pl.col("groups", "groups_accused", "groups_mostly_accused").fill_null(0))
        .sort("coordinated", "accounts", "group_kind", descending=[True, True, False])
    )


def groups_accused(labelled: pl.DataFrame) -> tuple[Estimate, tuple[float, float]]:
    """Share of the innocent groups of at least two accounts that are accused."""
    return _share(_groups(labelled.filter(~pl.col("positive")))["accused"])


def _groups(innocent: pl.DataFrame) -> pl.DataFrame:
    inside = accused(COORDINATED).sum()
    return (
        innocent.filter(pl.col("group").is_not_null())
        .group_by("group")
        .agg(
            pl.col("group_kind").drop_nulls().sort().first(),
            size=pl.len(),
            mostly=2 * inside >= pl.len(),
            accused=(inside >= _ACCUSED_MEMBERS) | (2 * inside >= pl.len()),
        )
        .filter(pl.col("size") > 1)
    )


def leads(case: Case, labelled: pl.DataFrame) -> pl.DataFrame:
    """The clusters with a labelled account, in the order of the case: score, rank, labelled, positive, and right:
    whether at least half of the labelled accounts are coordinated."""
    found = labelled.filter(pl.col("found").is_not_null()).group_by("found").agg(
        labelled=pl.len(), positive=pl.col("positive").sum(), rank=pl.col("rank").first(), score=pl.col("score").first()
    )  # fmt: skip
    order = case.clusters.select(found="cluster_id", place=pl.int_range(pl.len()))
    joined = found.join(order, on="found", how="inner").sort("place")
    return joined.with_columns(right=pl.col("positive") >= HALF * pl.col("labelled"))


def clusters_right(leads: pl.DataFrame, at: str) -> tuple[Estimate, tuple[float, float]]:
    """Share of the accused clusters that are right."""
    return _share(leads.filter(accused(at))["right"])


def rank_table(leads: pl.DataFrame, sums: Sums, *, resamples: int, rng: Rng) -> pl.DataFrame:
    """Precision among the first k: `of` clusters, in the order in which the case lists them; and `of` accounts, by the
    score of their cluster. Accounts of one score have no order among each other: the figure is what a random one gives
    on average. For accounts k also takes the number of labelled coordinated ones; there each draw of the interval takes
    as many accounts as it has coordinated ones. A draw of fewer than k accounts has no first k and is left out. Empty
    without innocent labels."""
    positive, innocent = (float(v.sum()) for v in sums.by_level(sums.whole))
    schema = {"of": pl.String(), "k": pl.Int64(), "precision": pl.Float64(), "low": pl.Float64(), "high": pl.Float64()}
    rows: list[tuple[str, int, float | None, float | None, float | None]] = []
    if not innocent:
        return pl.DataFrame(schema=schema)
    right = np.cumsum(leads["right"].to_numpy())
    for k in (k for k in _RANKS if k <= len(right)):
        found = share(int(right[k - 1]), k)
        rows.append(("clusters", k, found.value, found.low, found.high))
    ranks = sorted({k for k in _RANKS if k <= min(positive + innocent, 2 * positive)} | {int(positive)} - {0})

    def statistic(drawn: Floats) -> dict[Key, Floats]:
        coordinated, innocents = sums.by_level(drawn)
        nothing = np.zeros((len(drawn), 1))
        both = (coordinated, coordinated + innocents)
        right, taken = (np.cumsum(np.hstack([nothing, v[:, ::-1]]), axis=1) for v in both)
        wanted = np.tile(np.array(ranks, dtype=np.float64), (len(drawn), 1))
        wanted[:, ranks.index(int(positive))] = coordinated.sum(axis=1)
        at = np.array([np.interp(wanted[i], taken[i], right[i]) for i in range(len(drawn))])
        found = ratio(np.where(wanted <= taken[:, -1:], at, np.nan), wanted)
        return {("precision", str(k)): found[:, i] for i, k in enumerate(ranks)}

    estimates = estimate([sums.rings, sums.rest], statistic, resamples=resamples, rng=rng) if ranks else {}
    for k in ranks:
        found = estimates["precision", str(k)]
        rows.append(("accounts", k, found.value, found.low, found.high))
    return pl.DataFrame(rows, schema=schema, orient="row")


def curve_table(sums: Sums) -> pl.DataFrame:
    """One row a threshold of the score, from high to low: accounts of at least that score that are labelled coordinated
    and innocent, and precision, recall (true positive rate) and false positive rate there; null where not known."""
    positive, innocent = (np.cumsum(v[0, ::-1]) for v in sums.by_level(sums.whole))
    known = innocent[-1] > 0 if len(innocent) else False
    total = np.full(len(positive), positive[-1] if len(positive) else 0.0)
    accounts = positive + innocent
    return pl.DataFrame(
        {
            "score": sums.levels[::-1],
            "coordinated": positive.astype(np.int64),
            "innocent": innocent.astype(np.int64),
            "precision": ratio(positive, accounts * known),
            "recall": ratio(positive, total),
            "false_positive_rate": ratio(innocent, np.full(len(innocent), innocent[-1] if known else 0.0)),
        }
    ).with_columns(pl.col("precision", "recall", "false_positive_rate").fill_nan(None))


def reliability_table(leads: pl.DataFrame) -> pl.DataFrame:
    """Score against what is true, in ten bins of the score: clusters with a labelled account, their mean score, the
    share that is right with its interval, their labelled accounts and the share of coordinated ones among those."""
    bins = leads.with_columns(bin=(pl.col("score") * _BINS).floor().clip(0, _BINS - 1).cast(pl.Int64))
    table = (
        bins.group_by("bin")
        .agg(
            clusters=pl.len().cast(pl.Int64),
            mean_score=pl.col("score").sort().mean(),
            right=pl.col("right").sum().cast(pl.Int64),
            accounts=pl.col("labelled").sum().cast(pl.Int64),
            positive=pl.col("positive").sum(),
        )
        .sort("bin")
    )
    shares = [share(r, n) for r, n in table.select("right", "clusters").iter_rows()]
    number = pl.Float64()
    return table.select(
        score_from=pl.col("bin") / _BINS,
        score_to=(pl.col("bin") + 1) / _BINS,
        clusters="clusters",
        mean_score="mean_score",
        share_right=pl.Series([s.value for s in shares], dtype=number),
        low=pl.Series([s.low for s in shares], dtype=number),
        high=pl.Series([s.high for s in shares], dtype=number),
        accounts="accounts",
        share_coordinated=pl.col("positive") / pl.col("accounts"),
    )
