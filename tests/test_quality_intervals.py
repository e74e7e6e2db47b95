"""Intervals: which figures have one, and what a draw must hold to count."""

from __future__ import annotations

import numpy as np
import pytest

import hydragraph as hg
from hydragraph.errors import InputRefused
from hydragraph.quality.bootstrap import Floats, Key, Stratum, estimate, ratio
from quality_case import case_of, truth_of


def bounds(found: hg.Evaluation, measure: str, of: str = "coordinated") -> tuple[float | None, float | None]:
    low, high = found.headline.filter(measure=measure, of=of).select("low", "high").row(0)
    return low, high


def units(*rows: tuple[int, ...]) -> Stratum:
    return Stratum(np.array(rows, dtype=np.float64), np.ones(len(rows), np.int64))


def two_shares(sums: Floats) -> dict[Key, Floats]:
    return {("first", ""): ratio(sums[:, 0], sums[:, 1]), ("second", ""): ratio(sums[:, 2], sums[:, 3])}


@pytest.mark.parametrize("single_first", [True, False])
def test_a_figure_that_rests_on_a_stratum_of_one_unit_has_no_interval(single_first: bool) -> None:
    # the first figure needs both strata, the second one only that of many units
    one, many = units((3, 4, 0, 0)), units(*((i % 2, 1, i % 3 == 0, 1) for i in range(30)))
    strata = [one, many] if single_first else [many, one]
    found = estimate(strata, two_shares, resamples=200, rng=np.random.default_rng(0))

    assert (found["first", ""].value, found["first", ""].low, found["first", ""].high) == (18 / 34, None, None)
    second = found["second", ""]
    assert second.low is not None
    assert second.high is not None
    assert second.low < 1 / 3 < second.high


def one_ring_and(innocents: int) -> tuple[hg.Case, list[tuple[object, ...]]]:
    """A ring of three of which two are accused beside an innocent account, and innocent accounts on their own."""
    alone = [f"h{i}" for i in range(innocents)]
    case = case_of({"k": ("coordinated", 0.9, ["a", "b", "h"])}, ["c", *alone])
    return case, [*((x, 1, "r") for x in "abc"), *((x, 0, None) for x in ["h", *alone])]


def test_one_ring_says_nothing_about_other_rings() -> None:
    case, rows = one_ring_and(200)
    found = hg.evaluate(case, truth_of(rows, "cluster"))

    for measure in ("precision", "recall", "f1"):
        assert found.value(measure) is not None
        assert bounds(found, measure) == (None, None)
    assert bounds(found, "pairwise_recall", found.headline.filter(measure="pairwise_recall")["of"][0]) == (None, None)
    assert bounds(found, "roc_auc", "score") == (None, None)
    low, high = bounds(found, "false_positive_rate")  # of the innocent ones only
    assert low is not None
    assert high is not None
    assert low < high


def test_one_cluster_without_a_known_ring_has_no_interval_either() -> None:
    case, rows = one_ring_and(200)
    found = hg.evaluate(case, truth_of([row[:2] for row in rows]))

    assert found.value("recall") == pytest.approx(2 / 3)
    assert bounds(found, "precision") == (None, None)


def test_precision_at_k_is_of_draws_that_have_k_accounts() -> None:
    # four rings of five accounts in clusters of their own, perfectly ranked before thirty innocent accounts
    clusters = {f"k{i}": ("coordinated", 0.9 - i / 10, [f"a{i}{j}" for j in range(5)]) for i in range(4)}
    rows = [(f"a{i}{j}", 1, f"r{i}") for i in range(4) for j in range(5)]
    innocents = [f"h{i}" for i in range(30)]
    found = hg.evaluate(case_of(clusters, innocents), truth_of([*rows, *((h, 0, None) for h in innocents)], "cluster"))
    ranks = {row["k"]: row for row in found.ranks.filter(of="accounts").to_dicts()}

    # every coordinated account ranks before every innocent one, however many were drawn
    assert (ranks[20]["precision"], ranks[20]["low"], ranks[20]["high"]) == (1.0, 1.0, 1.0)
    assert (ranks[10]["precision"], ranks[10]["low"], ranks[10]["high"]) == (1.0, 1.0, 1.0)


def test_a_rank_that_many_draws_do_not_reach_has_no_interval() -> None:
    # rings of 8, 1 and 1 and no more than two innocent accounts: most draws have fewer than ten
    members = [[f"a{i}" for i in range(8)], ["b"], ["c"]]
    clusters = {f"k{i}": ("coordinated", 0.9, m) for i, m in enumerate(members)}
    rows = [(a, 1, f"r{i}") for i, m in enumerate(members) for a in m]
    found = hg.evaluate(case_of(clusters, "hi"), truth_of([*rows, ("h", 0, None), ("i", 0, None)], "cluster"))
    rank = found.ranks.filter(of="accounts", k=10).row(0, named=True)

    assert rank["precision"] == 1.0
    assert rank["low"] == rank["high"] == 1.0  # ten is all coordinated accounts: each draw takes as many as it has

    rows[1:8] = [(a, 0, None) for a in members[0][1:]]
    rows += [(f"x{i}", 1, f"x{i}") for i in range(8)]
    case = case_of(clusters, ["h", "i", *(f"x{i}" for i in range(8))])
    short = hg.evaluate(case, truth_of([*rows, ("h", 0, None), ("i", 0, None)], "cluster")).ranks
    assert short.filter(of="accounts", k=20).row(0, named=True)["low"] is None  # of twenty accounts a draw may have 12


@pytest.mark.parametrize("resamples", [1, 19, 1_000_001])
def test_too_few_draws_are_refused(resamples: int) -> None:
    case, rows = one_ring_and(3)
    with pytest.raises(InputRefused, match=r"resamples \(--resamples\) must be 0 or lie between 20 and 1000000"):
        hg.evaluate(case, truth_of(rows, "cluster"), resamples=resamples)
