"""What the document says about worlds that somebody else made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

_FEWEST = 20
"""Accounts of a tactic or group in all, at least, to be named."""


def elsewhere_section(rows: Sequence[Any], table: str) -> str:
    """The section about `rows` (title, runs, found: an evaluation); empty without any. table: their headline."""
    if not rows:
        return ""
    parts = [
        "## Worlds of other makers",
        "",
        "Made from a description of the tables and of how such rings and innocent groups behave, by makers who had not"
        " seen the detection; none of these worlds was used for tuning, but earlier ones of the same makers were. They"
        " are not part of this repository: any folder of worlds can be named with `make bench-quality OTHERS=FOLDER`."
        " Their rings hide differently from those of `simulate`, and each maker says that some members leave nothing in"
        " the tables.",
        "",
        table,
        "",
    ]
    for row in rows:
        parts += [f"Of {row.title}, recall by tactic, with review in brackets: {_tactics(row.found.tactics)}.", ""]
        accused = row.found.innocents.filter(pl.col("coordinated") > 0)
        listed = ", ".join(
            f"{n:,} of {of:,} {k}" for k, n, of in accused.select("group_kind", "coordinated", "accounts").rows()
        )
        parts += [f"Innocent accounts accused: {listed or 'none'}.", ""]
        scores = [
            f"{r['mean_score']:.2f}: {round(r['share_right'] * r['clusters']):,} of {r['clusters']:,}"
            for r in row.found.reliability.to_dicts()
        ]
        parts += [f"Clusters that are rings, by mean score: {'; '.join(scores)}.", ""]
    return "\n".join(parts)


def _tactics(tactics: pl.DataFrame) -> str:
    large = tactics.filter(pl.col("accounts") >= _FEWEST).sort("recall", "tactic", descending=[True, False])
    return ", ".join(
        f"{t} {at:.2f} ({both:.2f})" for t, at, both in large.select("tactic", "recall", "recall_with_review").rows()
    )
