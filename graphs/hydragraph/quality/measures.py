"""The headline figures of accounts, score and pairs: each from sums over units that can be drawn again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.quality.bootstrap import Estimate, Floats, Key, Stratum, estimate, ratio
from hydragraph.quality.labelled import AT, accused
from hydragraph.quality.rings import cluster_sums

ANY, EVERY, SCORE = "ring accounts", "all labelled", "score"
"""What a figure that is not of accused clusters is of: found clusters of any assessment, over coordinated accounts with
a true ring; the same over all labelled accounts; the score."""

_PAIRS = ("accounts", "true_pairs", "same_pairs", "found_pairs", "precision_sum", "recall_sum")

Shares = dict[Key, tuple[Floats, Floats]]


@dataclass(frozen=True)
class Sums:
    """What the headline is made of.

    rings, rest: the units. columns: names of the columns of their counts, in order; behind them come labelled
    coordinated accounts per score level, then labelled innocent ones. levels: the scores, ascending.
    """

    rings: Stratum
    rest: Stratum
    columns: tuple[str, ...]
    levels: Floats

    @property
    def whole(self) -> Floats:
        """The sums over the data themselves, shape (1, columns)."""
        return self.rings.whole + self.rest.whole

    def named(self, sums: Floats) -> dict[str, Floats]:
        """Sums by column, each of shape (resamples,)."""
        return {name: sums[:, i] for i, name in enumerate(self.columns)}

    def by_level(self, sums: Floats) -> tuple[Floats, Floats]:
        """Coordinated and innocent accounts per score level, ascending, shape (resamples, levels) each."""
        first, count = len(self.columns), len(self.levels)
        return sums[:, first : first + count], sums[:, first + count :]


def sums_of(labelled: pl.DataFrame) -> Sums:
    """Gather the counts of every unit.

    A unit is what one controller or one decision of the tool makes: a coordinated account with a true ring counts with
    its ring; any other labelled account with its found cluster; an account with neither is a unit of its own.
    """
    rows = labelled.with_columns(level=pl.col("score").rank("dense").cast(pl.Int64) - 1)
    levels = labelled["score"].unique().sort().to_numpy()
    in_rings = rows.filter(pl.col("ring").is_not_null())
    rings = _accounts(in_rings, "ring").join(cluster_sums(in_rings, "ring"), on="ring", how="left")
    rings = rings.sort("ring").with_columns(pl.exclude("ring").cast(pl.Float64).fill_null(0.0))
    columns = tuple(name for name in rings.columns if name != "ring")
    number = rings.select("ring", unit=pl.int_range(pl.len()))
    at_level = in_rings.join(number, on="ring", how="left").group_by("unit", "level").agg(count=pl.len())
    ring_levels = (at_level["unit"].to_numpy(), at_level["level"].to_numpy(), at_level["count"].to_numpy())

    # units that count the same are one class: a million accounts outside every cluster are two
    rest = rows.filter(pl.col("ring").is_null())
    clusters = _accounts(rest.filter(pl.col("found").is_not_null()), "found").drop("found")
    alone = _accounts(rest.filter(pl.col("found").is_null()), "account_id").drop("account_id")
    units = pl.concat([clusters, alone])
    classes = units.group_by(units.columns).agg(times=pl.len()).sort(units.columns)
    counts = classes.select(
        (pl.col(name) if name in classes.columns else pl.lit(0)).cast(pl.Float64).alias(name) for name in columns
    )
    unit, level = np.arange(classes.height), classes["level"].to_numpy()
    rest_levels = (
        np.concatenate([unit, unit]),
        np.concatenate([level, level + len(levels)]),
        np.concatenate([classes["positive"].to_numpy(), classes["innocent"].to_numpy()]),
    )
    return Sums(
        rings=_stratum(rings.select(columns), np.ones(rings.height, np.int64), ring_levels, len(levels)),
        rest=_stratum(counts, classes["times"].cast(pl.Int64).to_numpy(), rest_levels, len(levels)),
        columns=columns,
        levels=levels,
    )


def _accounts(rows: pl.DataFrame, by: str) -> pl.DataFrame:
    """Labelled accounts of each unit: coordinated, innocent, accused and rightly accused; level of one of them."""
    return rows.group_by(by).agg(
        pl.col("positive").sum().cast(pl.Int64),
        (~pl.col("positive")).sum().cast(pl.Int64).alias("innocent"),
        *(accused(at).sum().cast(pl.Int64).alias(f"accused {at}") for at in AT),
        *((accused(at) & pl.col("positive")).sum().cast(pl.Int64).alias(f"rightly {at}") for at in AT),
        *([] if by == "ring" else [pl.col("level").first()]),
    )


def _stratum(
    counts: pl.DataFrame,
    times: NDArray[np.int64],
    levels: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    count: int,
) -> Stratum:
    from scipy.sparse import csr_array, hstack

    unit, level, accounts = levels
    held = csr_array((accounts.astype(np.float64), (unit, level)), shape=(len(times), 2 * count))
    return Stratum(csr_array(hstack([csr_array(counts.to_numpy()), held])), times)


Figures = dict[Key, tuple[Estimate, tuple[float, float] | None]]
"""(measure, what it is of) -> the estimate, and the two counts it divides, if it is a share of a count."""


def headline(sums: Sums, *, resamples: int, rng: np.random.Generator) -> Figures:
    """Figures of accused accounts, of the score, and of pairs of accounts in rings."""

    def shares(drawn: Floats) -> Shares:
        named = sums.named(drawn)
        return _accused_shares(named) | _pair_shares(named, ANY)

    def statistic(drawn: Floats) -> Mapping[Key, Floats]:
        return _divided(shares(drawn), ANY) | _of_score(*sums.by_level(drawn))

    found = estimate([sums.rings, sums.rest], statistic, resamples=resamples, rng=rng)
    return _with_counts(found, shares(sums.whole))


def entities(labelled: pl.DataFrame, *, resamples: int, rng: np.random.Generator) -> Figures:
    """Pairwise and B-cubed figures over all labelled accounts, every one of which has a true cluster (`entity`)."""
    frame = cluster_sums(labelled, "entity")
    classes = frame.group_by(_PAIRS).agg(times=pl.len().cast(pl.Int64)).sort(_PAIRS)
    stratum = Stratum(classes.select(pl.col(_PAIRS).cast(pl.Float64)).to_numpy(), classes["times"].to_numpy())

    def shares(drawn: Floats) -> Shares:
        return _pair_shares({name: drawn[:, i] for i, name in enumerate(_PAIRS)}, EVERY)

    found = estimate([stratum], lambda drawn: _divided(shares(drawn), EVERY), resamples=resamples, rng=rng)
    return _with_counts(found, shares(stratum.whole))


def _accused_shares(named: Mapping[str, Floats]) -> Shares:
    positive, innocent = named["positive"], named["innocent"]
    shares: Shares = {}
    for at in AT:
        right, said = named[f"rightly {at}"], named[f"accused {at}"]
        known = innocent > 0  # without innocent labels no accusation can be wrong, and precision says nothing
        shares["precision", at] = right, said * known
        shares["recall", at] = right, positive
        shares["f1", at] = 2 * right, (said + positive) * known * (positive > 0)
        shares["false_positive_rate", at] = said - right, innocent
    return shares


def _pair_shares(named: Mapping[str, Floats], of: str) -> Shares:
    """From the sums of `cluster_sums`: pairs found together that truly are, pairs truly together that are found, and
    the means over accounts of B-cubed precision and recall."""
    same, found, true = (named[f"{name}_pairs"] for name in ("same", "found", "true"))
    return {
        ("pairwise_precision", of): (same, found),
        ("pairwise_recall", of): (same, true),
        ("pairwise_f1", of): (2 * same, (found + true) * (true > 0)),
        ("b_cubed_precision", of): (named["precision_sum"], named["accounts"]),
        ("b_cubed_recall", of): (named["recall_sum"], named["accounts"]),
    }


def _divided(shares: Shares, of: str) -> dict[Key, Floats]:
    values = {key: ratio(hits, all_) for key, (hits, all_) in shares.items()}
    precision, recall = values["b_cubed_precision", of], values["b_cubed_recall", of]
    values["b_cubed_f1", of] = ratio(2 * precision * recall, precision + recall)
    return values


def _of_score(positive: Floats, innocent: Floats) -> dict[Key, Floats]:
    """Area under the ROC curve (ties count half) and average precision (accounts of one score rank together)."""
    below = np.cumsum(innocent, axis=1) - innocent / 2
    pairs = positive.sum(axis=1) * innocent.sum(axis=1)
    gained, taken = positive[:, ::-1], (positive + innocent)[:, ::-1]
    precision = np.cumsum(gained, axis=1) / np.maximum(np.cumsum(taken, axis=1), 1)
    return {
        ("roc_auc", SCORE): ratio((positive * below).sum(axis=1), pairs),
        ("average_precision", SCORE): ratio((gained * precision).sum(axis=1), positive.sum(axis=1) * (pairs > 0)),
    }


def _with_counts(found: Mapping[Key, Estimate], shares: Shares) -> Figures:
    of_counts = {key for key in shares if not key[0].startswith(("b_cubed", "f1", "pairwise_f1"))}
    return {
        key: (value, (float(shares[key][0][0]), float(shares[key][1][0])) if key in of_counts else None)
        for key, value in found.items()
    }
