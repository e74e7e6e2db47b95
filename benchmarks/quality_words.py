"""Figures of an evaluation in words and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

import hydragraph as hg

AT, BOTH = "coordinated", "coordinated+review"


def number(value: float | None) -> str:
    """A figure of three decimals; 0 and 1 as they are, - for none."""
    return "-" if value is None else f"{value:.3f}".rstrip("0").rstrip(".") if value in (0, 1) else f"{value:.3f}"


def capital(text: str) -> str:
    """The text with a capital letter first."""
    return text[:1].upper() + text[1:]


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A figure and, if known, its interval."""
    return number(value) + ("" if low is None or high is None else f" ({number(low)} to {number(high)})")


def headline_row(found: hg.Evaluation, measure: str, of: str) -> dict[str, Any]:
    """The row of a measure in the headline of an evaluation; every entry None when it has none."""
    rows = found.headline.filter((pl.col("measure") == measure) & (pl.col("of") == of)).to_dicts()
    return rows[0] if rows else dict.fromkeys(found.headline.columns)


def with_interval(found: hg.Evaluation, measure: str, of: str) -> str:
    """A measure of the headline, with its interval."""
    row = headline_row(found, measure, of)
    return interval(row["value"], row["low"], row["high"])


def hits(found: hg.Evaluation, measure: str, of: str) -> str:
    """The two counts of a measure of the headline."""
    row = headline_row(found, measure, of)
    return "-" if row["out_of"] is None else f"{row['hits']:,.0f} of {row['out_of']:,.0f}"


def out_of(found: hg.Evaluation, measure: str, of: str) -> str:
    """What the counts of a measure are out of."""
    return f"{headline_row(found, measure, of)['out_of'] or 0:,.0f}"


def in_review(found: hg.Evaluation) -> str:
    """Number of clusters in review."""
    both, one = (headline_row(found, "clusters_right", of)["out_of"] or 0 for of in (BOTH, AT))
    return f"{both - one:,.0f}"


def review_accounts(found: hg.Evaluation) -> int:
    """Labelled accounts in clusters in review."""
    return found.counts["accused_or_review_labelled"] - found.counts["accused_labelled"]


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [list(head), ["---"] * len(head), *map(list, lines)])
