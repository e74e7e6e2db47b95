"""Pictures of an evaluation, as matplotlib figures that belong to no window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from hydragraph.quality.labelled import AT
from hydragraph.report.text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hydragraph.quality.evaluation import Evaluation

_INK, _SOFT, _GRID, _MAIN, _SECOND = "#1d2126", "#5b626b", "#dcdad5", "#0b6e99", "#c8553d"
_MARKS = {AT[0]: ("o", _MAIN), AT[1]: ("s", _SECOND)}


def figures(evaluation: Evaluation) -> dict[str, Figure]:
    """precision_recall, roc, tactics, reliability; a figure without anything to draw is left out."""
    import matplotlib

    # names of tactics are text, whatever dollar signs and backslashes they hold
    with matplotlib.rc_context({"text.parse_math": False, "text.usetex": False, "font.family": ["DejaVu Sans"]}):
        drawn = {
            "precision_recall": _precision_recall(evaluation),
            "roc": _roc(evaluation),
            "tactics": _tactics(evaluation),
            "reliability": _reliability(evaluation),
        }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _precision_recall(evaluation: Evaluation) -> Figure | None:
    """Precision against recall as the threshold of the score falls, and the two lists people act on as points."""
    # accounts outside every cluster are no list: no threshold takes them one by one
    inside = evaluation.curve.filter(pl.col("score") > 0).drop_nulls(["precision", "recall"])
    if inside.is_empty():
        return None
    figure, axes = _paper("Precision and recall of the score", (6, 4.5))
    axes.step(inside["recall"], inside["precision"], where="post", color=_INK, linewidth=1.4)
    for at, (marker, colour) in _MARKS.items():
        at_point = evaluation.value("recall", at), evaluation.value("precision", at)
        if None not in at_point:
            axes.plot(*at_point, marker, color=colour, markersize=7, label=at, linestyle="none")  # type: ignore[arg-type]
    _unit(axes, "recall", "precision")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left", frameon=False, fontsize=9)
    return figure


def _roc(evaluation: Evaluation) -> Figure | None:
    """Recall against the share of innocent accounts with at least that score."""
    curve = evaluation.curve.drop_nulls(["false_positive_rate", "recall"])
    if curve.is_empty():
        return None
    figure, axes = _paper("ROC curve of the score", (6, 4.5))
    axes.plot([0, *curve["false_positive_rate"]], [0, *curve["recall"]], color=_INK, linewidth=1.4)
    axes.plot([0, 1], [0, 1], color=_SOFT, linewidth=0.8, linestyle=":")
    area = evaluation.value("roc_auc", "score")
    if area is not None:
        axes.text(0.97, 0.06, f"area {area:.3f}", ha="right", color=_SOFT, fontsize=10)
    _unit(axes, "share of innocent accounts accused", "recall")
    return figure


def _tactics(evaluation: Evaluation) -> Figure | None:
    """Recall in coordinated clusters by tactic, with its interval; the open mark adds clusters in review."""
    table = evaluation.tactics.filter(pl.col("recall").is_not_null()).reverse()
    if table.is_empty():
        return None
    figure, axes = _paper("Recall by tactic", (7, 1.4 + 0.32 * table.height))
    places = list(range(table.height))
    marker, colour = _MARKS[AT[0]]
    for place, row in zip(places, table.iter_rows(named=True), strict=True):
        if row["low"] is not None:
            axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2.2, alpha=0.45)
    axes.plot(table["recall_with_review"], places, "s", color=_MARKS[AT[1]][1], fillstyle="none", label=AT[1])
    axes.plot(table["recall"], places, marker, color=colour, label=AT[0])
    axes.set_yticks(
        places, [f"{visible(t, 40)}  ({n:,})" for t, n in table.select("tactic", "accounts").iter_rows()], fontsize=9
    )
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.7, table.height - 0.3)
    axes.set_xlabel("share of the tactic's accounts found", color=_SOFT)
    axes.grid(axis="x", color=_GRID, linewidth=0.7)
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, -1.0 / (1.4 + 0.32 * table.height) * 0.55), ncols=2,
                frameon=False, fontsize=9)  # fmt: skip
    return figure


def _reliability(evaluation: Evaluation) -> Figure | None:
    """Share of right clusters against the mean score, in ten bins; numbers are clusters."""
    table = evaluation.reliability
    if table.is_empty() or not evaluation.counts["labelled_innocent"]:
        return None
    figure, axes = _paper("Reliability of the score", (6, 4.5))
    axes.plot([0, 1], [0, 1], color=_SOFT, linewidth=0.8, linestyle=":")
    for row in table.iter_rows(named=True):
        if row["low"] is not None:
            axes.plot([row["mean_score"]] * 2, [row["low"], row["high"]], color=_MAIN, linewidth=2.2, alpha=0.45)
        side = "left" if row["mean_score"] < 0.85 else "right"
        gap = 0.015 if side == "left" else -0.015
        axes.text(row["mean_score"] + gap, row["share_right"] + 0.015, f"{row['clusters']:,}", ha=side, fontsize=8,
                  color=_SOFT)  # fmt: skip
    axes.plot(table["mean_score"], table["share_right"], "o-", color=_MAIN, linewidth=1.2)
    _unit(axes, "mean score of the clusters", "share of them that is right")
    return figure


def _paper(title: str, size: tuple[float, float]) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=110, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=12, color=_INK, loc="left")
    axes.tick_params(colors=_SOFT, labelsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _unit(axes: Axes, x: str, y: str) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.04)
    axes.set_xlabel(x, color=_SOFT)
    axes.set_ylabel(y, color=_SOFT)
    axes.grid(color=_GRID, linewidth=0.7)
