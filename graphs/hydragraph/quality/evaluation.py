"""evaluate(): a case against the truth about its accounts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from hydragraph.case import Case
from hydragraph.errors import InputRefused, UnknownName
from hydragraph.quality.labelled import AT, COORDINATED, join, listing, said, tally
from hydragraph.quality.measures import ANY, EVERY, SCORE, Figures, entities, headline, sums_of
from hydragraph.quality.parents import PARENTS, lineage, parents_given
from hydragraph.quality.tables import (
    GROUPS,
    clusters_right,
    curve_table,
    groups_accused,
    innocent_table,
    leads,
    rank_table,
    reliability_table,
    ring_shares,
    ring_table,
    tactic_table,
)
from hydragraph.quality.truth import Truth, read_truth

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESAMPLES = 1000
FEWEST_RESAMPLES = 20
"""The 2.5th percentile of fewer draws is the lowest of them, or no percentile at all."""

TABLES = ("headline", "tactics", "innocents", "rings", "ranks", "curve", "reliability")

_HEADLINE = {
    "measure": pl.String(),
    "of": pl.String(),
    "value": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "hits": pl.Float64(),
    "out_of": pl.Float64(),
}
_ORDER = (
    "precision", "recall", "f1", "false_positive_rate", "clusters_right", "rings_found", "rings_whole", "rings_split",
    "rings_merged", "innocent_groups_accused", "roc_auc", "average_precision", "pairwise_precision", "pairwise_recall",
    "pairwise_f1", "b_cubed_precision", "b_cubed_recall", "b_cubed_f1", "lineage_precision", "lineage_recall",
    "lineage_same_ring", "lineage_singled_out", "lineage_identifiable", "lineage_identifiable_recall",
)  # fmt: skip
_NO_COUNTS = (None, None)
_OF = (*AT, GROUPS, SCORE, ANY, EVERY, PARENTS)


@dataclass(frozen=True, repr=False)
class Evaluation:
    """How good a case is, as far as the labels say.

    counts: accounts and labels, by name. notes: what a reader must know about the labels, a sentence each.
    headline: measure, of, value, low, high (95 % interval over rings and clusters), hits and out_of (the counts that
        are divided). `of` is `coordinated` or `coordinated+review` where accused clusters are meant, `ring accounts` and
        `all labelled` for pairwise and B-cubed figures, `score`, `parents`, `groups`. A value that cannot be known is
        null, never 0.
    tactics, innocents, rings, ranks, curve, reliability: as the functions of `quality.tables` say.
    """

    counts: Mapping[str, int]
    notes: tuple[str, ...]
    headline: pl.DataFrame = field(compare=False)
    tactics: pl.DataFrame = field(compare=False)
    innocents: pl.DataFrame = field(compare=False)
    rings: pl.DataFrame = field(compare=False)
    ranks: pl.DataFrame = field(compare=False)
    curve: pl.DataFrame = field(compare=False)
    reliability: pl.DataFrame = field(compare=False)

    @property
    def tables(self) -> dict[str, pl.DataFrame]:
        """The frames by name."""
        return {name: getattr(self, name) for name in TABLES}

    def value(self, measure: str, of: str = COORDINATED) -> float | None:
        """One figure of the headline, None where it cannot be known. Raises UnknownName."""
        row = self.headline.filter((pl.col("measure") == measure) & (pl.col("of") == of))
        if row.is_empty():
            raise UnknownName("no figure of this name in the headline; `evaluation.headline` lists them")
        found: float | None = row["value"][0]
        return found

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values: counts, notes, and a list of rows for each table."""
        return {
            "counts": dict(self.counts),
            "notes": list(self.notes),
            **{name: frame.to_dicts() for name, frame in self.tables.items()},
        }

    def figures(self) -> dict[str, Figure]:
        """Name -> matplotlib figure: precision_recall, roc, tactics, reliability; those there is something to draw."""
        from hydragraph.quality.figures import figures

        return figures(self)

    def write(self, folder: str | Path, format: str = "png") -> list[Path]:
        """Write evaluation.json and the figures (png, svg or pdf) into `folder`, each file whole or not at all."""
        from hydragraph.report.figures import save_figure
        from hydragraph.report.files import write_whole

        folder = Path(folder)
        text = json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"
        drawn = [save_figure(figure, folder / f"{name}.{format}") for name, figure in self.figures().items()]
        return [write_whole(folder / "evaluation.json", text.encode("utf-8")), *drawn]

    def __repr__(self) -> str:
        figures = [(m, self.value(m)) for m in ("precision", "recall")]
        known = ", ".join(f"{name} {value:.3f}" for name, value in figures if value is not None)
        return f"<Evaluation {self.counts['labelled']} labelled accounts, {known or 'no figure known'}>"


def evaluate(
    case: Case,
    truth: str | Path | pl.DataFrame,
    *,
    positive: Sequence[str] | None = None,
    complete: bool = False,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Evaluation:
    """Measure a case against labels: of a synthetic world, or of an investigator's own list.

    truth: a Parquet, CSV, NDJSON or Arrow file, a folder that holds one called truth, or a frame. Columns: account_id,
    label (1/0, true/false, or names of which `positive` mean coordinated; empty: not known), and, if known, cluster or
    cluster_id, tactic, group, group_kind, parent.
    complete: the truth knows every parent, so that an account without one replaced none. Without it an empty parent
    means not known. The truth of a world, with its world.json beside it, is complete as it is.

    Precision and recall are over accounts: an account is accused when its cluster is assessed coordinated, or also
    review. An account without a label is not taken as innocent; it counts nowhere but in `counts` and `notes`. What a
    ring found, whole, split or merged is, `quality.rings.ring_fates` says; what accused innocent groups are,
    `quality.tables.innocent_table`. A cluster is right when at least half of its labelled accounts are coordinated.

    Intervals (95 %): of shares of rings, clusters or groups Wilson's; of all other figures the percentiles of a
    bootstrap with `resamples` draws from `seed`. What is drawn are true rings, and for accounts without one found
    clusters and single accounts, because members of one ring are found or missed together. The bootstrap cannot see
    what never occurred: its interval of a figure that nothing contradicts, such as a precision of 1, has no width. A
    figure that rests on a single ring or unit has no interval. `resamples`: 0 (no such intervals), or at least 20. The
    same input gives the same figures.

    Raises InputRefused for a truth that cannot be used, or none of whose accounts the case holds.
    """
    if resamples and not FEWEST_RESAMPLES <= resamples <= 1_000_000:
        raise InputRefused(f"resamples (--resamples) must be 0 or lie between {FEWEST_RESAMPLES} and 1000000")
    known = read_truth(truth, positive, complete=complete)
    accounts = listing(case)
    labelled = join(accounts, known)
    if labelled.is_empty():
        raise InputRefused(
            "truth: none of its labels is of an account of this case; is it the truth of another source?"
        )
    counts = tally(accounts, known, labelled)
    # each part has its own random numbers, so that one figure does not depend on whether another is there
    own = iter(np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(10))
    sums = sums_of(labelled)
    found = headline(sums, resamples=resamples, rng=next(own))
    rng = next(own)
    if labelled["entity"].null_count() == 0:
        found |= entities(labelled, resamples=resamples, rng=rng)
    ranked, rings = leads(case, labelled), ring_table(labelled)
    found |= ring_shares(rings)
    if counts["labelled_innocent"]:
        found |= {("clusters_right", at): clusters_right(ranked, at) for at in AT}
    if "group" in known.given:
        found["innocent_groups_accused", GROUPS] = groups_accused(labelled)
    found |= lineage(case, labelled, known, resamples=resamples, rng=next(own))
    return Evaluation(
        counts=counts,
        notes=(*said(counts, known), *_said_of_parents(case, labelled, known)),
        headline=_frame(found),
        tactics=tactic_table(labelled, rings, resamples=resamples, rng=next(own)),
        innocents=innocent_table(labelled),
        rings=rings,
        ranks=rank_table(ranked, sums, resamples=resamples, rng=next(own)),
        curve=curve_table(sums),
        reliability=reliability_table(ranked),
    )


def _said_of_parents(case: Case, labelled: pl.DataFrame, truth: Truth) -> list[str]:
    if case.lineage.is_empty() or truth.complete:
        return []
    if not parents_given(labelled, truth):
        return ["The truth gives no parent (column parent): lineage figures are empty."]
    without = labelled.filter(pl.col("positive") & pl.col("parent").is_null()).height
    if not without:
        return []
    return [
        f"{without:,} of {int(labelled['positive'].sum()):,} coordinated accounts have no parent in the truth. It is taken"
        " as not known: whether a parent named for them is right does not count."
    ]


def _frame(found: Figures) -> pl.DataFrame:
    """The headline, in the order of what the figures are of."""
    rows = [
        (
            measure,
            of,
            value.value,
            value.low,
            value.high,
            *(counts if counts and value.value is not None else _NO_COUNTS),
        )
        for (measure, of), (value, counts) in sorted(
            found.items(), key=lambda item: (_OF.index(item[0][1]), _ORDER.index(item[0][0]))
        )
    ]
    return pl.DataFrame(rows, schema=_HEADLINE, orient="row")
