"""The document about quality, made from what was measured: every figure and every sentence that depends on one."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

import hydragraph as hg
from hydragraph.quality import RESAMPLES
from peers import PEERS
from quality_ablation import ablation_section
from quality_elsewhere import elsewhere_section
from quality_follow import follow_section
from quality_runs import ORACLE, Run, code_digest, share
from quality_takedown import takedown_section
from quality_words import (
    AT,
    BOTH,
    REASONS,
    capital,
    hits,
    in_review,
    interval,
    markdown,
    number,
    out_of,
    review_accounts,
    with_interval,
)

REPORTED_FROM = 1000
"""Seeds below 100 are for tuning; the document takes none below this one."""

GOOD_PRECISION, GOOD_RECALL = 0.98, 0.9
"""Below these a result is listed among the failures."""

_PACKAGES = ("polars", "numpy", "scipy", "networkx", "graspologic-native")
_LINES = (("recall", "#0b6e99", "o"), ("precision", "#c8553d", "s"))


@dataclass(frozen=True)
class Row:
    """Worlds of one kind, measured over several seeds: a title, the runs and their evaluation as one."""

    title: str
    runs: Sequence[Run]
    found: hg.Evaluation

    @property
    def innocent(self) -> bool:
        """Whether there is no ring in these worlds."""
        return self.found.counts["labelled_coordinated"] == 0


@dataclass(frozen=True)
class Curve:
    """One parameter turned: its name, what it is, and the runs at each value. drawn: whether the values are a scale."""

    name: str
    meaning: str
    points: Mapping[str, Sequence[Run]]
    drawn: bool = True


Peers = Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Results:
    """All that the document is made of. peers: (title, runs, what each run's peers found).
    elsewhere: worlds of other makers, a row each. followed: what was measured from run to run, a world each.
    real: the section about real tables."""

    command: str
    rows: Sequence[Row]
    peers: Sequence[tuple[str, Sequence[Run], Sequence[Peers]]]
    curves: Sequence[Curve] = field(default_factory=list)
    elsewhere: Sequence[Row] = field(default_factory=list)
    followed: Sequence[Mapping[str, float]] = field(default_factory=list)
    real: str = ""


def document(results: Results, figures: str) -> str:
    """The whole document. figures: the folder of the pictures, as links in it begin."""
    rings = [row for row in results.rows if not row.innocent]
    none = [row for row in results.rows if row.innocent]
    parts = [
        _head(results),
        _headline(rings),
        elsewhere_section(results.elsewhere, _table(results.elsewhere, _FOUND)),
        _innocent_worlds(none),
        results.real,
        _failures(results),
        REASONS,
        _tactics(rings),
        _groups([*rings, *none]),
        _fates(rings),
        takedown_section((row.title, [run.takedown for run in row.runs]) for row in rings),
        follow_section(results.followed),
        ablation_section((row.title, row.runs[0].ablation) for row in [*rings, *results.elsewhere, *none]),
        _score(rings, figures),
        _curves(results.curves, figures),
        _peers(results.peers),
        _definitions(),
    ]
    return "\n".join(part for part in parts if part).rstrip("\n") + "\n"


def _head(results: Results) -> str:
    seeds = sorted({run.world.seed for row in results.rows for run in row.runs})
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return "\n".join(
        [
            "# Quality",
            "",
            f"Made by `{results.command}`; no figure here is typed. hydragraph {hg.__version__}, code {code_digest()},"
            f" Python {platform.python_version()}, {versions}; {os.cpu_count()} cores.",
            "",
            "The worlds are made by `hydragraph simulate`, so the truth is known. The same people wrote the worlds and"
            " the detection: rings that work as none of the tactics below does are not measured, and no figure here"
            " promises what will be found in real data. Measure on your own labels with `hydragraph evaluate`.",
            "",
            f"Seeds: {', '.join(map(str, seeds))}. {_rule(seeds)} Brackets hold 95 % intervals over rings and clusters;"
            " worlds of several seeds count as one. Accounts accused are those in clusters assessed `coordinated`.",
            "",
        ]
    )


def _rule(seeds: Sequence[int]) -> str:
    if min(seeds) < REPORTED_FROM:
        return f"**Seeds below {REPORTED_FROM} are not for reports: what was tuned on them looks better than it is.**"
    return "Seeds below 100 are for tuning, and none of them is reported."


def _headline(rows: Sequence[Row]) -> str:
    more: list[tuple[str, Callable[[Row], str]]] = [
        ("worlds", lambda r: r.title),
        ("ROC area", lambda r: with_interval(r.found, "roc_auc", "score")),
        ("average precision", lambda r: with_interval(r.found, "average_precision", "score")),
        ("pairwise F1", lambda r: with_interval(r.found, "pairwise_f1", "ring accounts")),
        ("B-cubed precision", lambda r: with_interval(r.found, "b_cubed_precision", "ring accounts")),
        ("B-cubed recall", lambda r: with_interval(r.found, "b_cubed_recall", "ring accounts")),
        ("parents named right", lambda r: with_interval(r.found, "lineage_precision", "parents")),
        ("parents found", lambda r: with_interval(r.found, "lineage_recall", "parents")),
        ("in the same ring", lambda r: with_interval(r.found, "lineage_same_ring", "parents")),
        ("singled out rightly", lambda r: _pooled_share(r, "lineage_singled_out", "parents")),
        ("parents identifiable", lambda r: _pooled_share(r, "lineage_identifiable", "parents")),
        ("of these found", lambda r: _pooled_share(r, "lineage_identifiable_recall", "parents")),
        ("seconds", lambda r: f"{max(run.seconds for run in r.runs):.0f}"),
        ("peak memory", lambda r: f"{max(run.memory for run in r.runs) / 2**30:.1f} GiB"),
    ]
    return "\n".join(["## Headline", "", _table(rows, _FOUND), "", _table(rows, more), "",
                      "Seconds and memory are those of `hydragraph analyze` without the report, the largest of the"
                      " seeds. Pairwise and B-cubed figures are over ring accounts, in clusters of any assessment.",
                      ""])  # fmt: skip


_FOUND: list[tuple[str, Callable[[Row], str]]] = [
    ("worlds", lambda r: r.title),
    ("seeds", lambda r: str(len(r.runs))),
    ("rings", lambda r: f"{r.found.rings.height:,}"),
    ("precision", lambda r: with_interval(r.found, "precision", AT)),
    ("recall", lambda r: with_interval(r.found, "recall", AT)),
    ("F1", lambda r: with_interval(r.found, "f1", AT)),
    ("innocent groups accused", lambda r: hits(r.found, "innocent_groups_accused", "groups")),
    ("precision with review", lambda r: with_interval(r.found, "precision", BOTH)),
    ("recall with review", lambda r: with_interval(r.found, "recall", BOTH)),
]


def _innocent_worlds(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    columns: list[tuple[str, Callable[[Row], str]]] = [
        ("worlds", lambda r: r.title),
        ("seeds", lambda r: str(len(r.runs))),
        ("accounts", lambda r: f"{r.found.counts['labelled']:,}"),
        ("coordinated clusters", lambda r: out_of(r.found, "clusters_right", AT)),
        ("accounts in them", lambda r: f"{r.found.counts['accused_labelled']:,}"),
        ("clusters in review", lambda r: in_review(r.found)),
        ("accounts in them ", lambda r: f"{review_accounts(r.found):,}"),
        ("innocent groups accused", lambda r: hits(r.found, "innocent_groups_accused", "groups")),
    ]
    return "\n".join(
        ["## Worlds without a ring", "", "Whatever is accused here is wrong.", "", _table(rows, columns), ""]
    )


def _failures(results: Results) -> str:
    """Every place where the figures fall short, in words made from the figures."""
    said: list[str] = []
    for row in results.rows:
        for measure, floor in (("precision", GOOD_PRECISION), ("recall", GOOD_RECALL)):
            value = row.found.value(measure)
            if value is not None and value < floor:
                said.append(f"{row.title}: {measure} {number(value)}.")
        poor = row.found.tactics.filter(pl.col("recall") < GOOD_RECALL)
        if poor.height:
            listed = (f"{t} {number(r)}" for t, r in poor.select("tactic", "recall").iter_rows())
            said.append(f"{row.title}: recall below {GOOD_RECALL} for {', '.join(listed)}.")
        accused = row.found.innocents.filter(pl.col("coordinated") > 0)
        if accused.height:
            listed = (f"{n:,} {k}" for k, n in accused.select("group_kind", "coordinated").iter_rows())
            said.append(f"{row.title}: innocent accounts accused: {', '.join(listed)}.")
        off = [
            f"{number(r['mean_score'])} ({round(r['share_right'] * r['clusters']):,} of {r['clusters']:,} right)"
            for r in row.found.reliability.to_dicts()
            if _surprising(r["share_right"] * r["clusters"], r["clusters"], r["mean_score"])
        ]
        if off and not row.innocent:
            said.append(f"{row.title}: the score is no probability around {', '.join(off)}.")
    for curve in results.curves:
        for measure, floor in (("precision", GOOD_PRECISION), ("recall", GOOD_RECALL)):
            at = {value: _of(runs, measure) for value, runs in curve.points.items()}
            poor_at = [f"{value} ({number(v)})" for value, v in at.items() if v is not None and v < floor]
            if poor_at:
                said.append(f"{capital(curve.meaning)}: {measure} below {floor} at {', '.join(poor_at)}.")
    listed_all = [f"- {sentence}" for sentence in said] or ["Nowhere in the worlds measured."]
    title = (
        f"Precision below {GOOD_PRECISION}, recall below {GOOD_RECALL}, innocent accounts accused, scores that mislead:"
    )
    return "\n".join(["## Where it falls short", "", title, "", *listed_all, ""])


def _surprising(right: float, clusters: int, score: float) -> bool:
    """Whether so many right ones would come about in fewer than 1 of 100 sets of clusters if the score were right."""
    from scipy.stats import binomtest

    return bool(binomtest(round(right), clusters, score).pvalue < 0.01)


def _tactics(rows: Sequence[Row]) -> str:
    names = sorted({t for row in rows for t in row.found.tactics["tactic"]})
    first = rows[0].found.tactics if rows else pl.DataFrame({"tactic": []})
    meaning = _meanings()
    order = [*first.sort("recall", "tactic")["tactic"], *(n for n in names if n not in set(first["tactic"]))]
    lines = []
    for name in order:
        cells = []
        for row in rows:
            of = row.found.tactics.filter(tactic=name)
            cells.append("" if of.is_empty() else interval(*of.select("recall", "low", "high").row(0)))
        lines.append([name, meaning.get(name, ""), *cells])
    head = ["tactic", "what its rings do", *(row.title for row in rows)]
    return "\n".join(["## Recall by tactic", "", "Share of a tactic's accounts in coordinated clusters.", "",
                      markdown(head, lines), ""])  # fmt: skip


def _meanings() -> dict[str, str]:
    from hydragraph.worlds import TACTICS

    return {name: tactic.meaning for name, tactic in TACTICS.items()}


def _groups(rows: Sequence[Row]) -> str:
    kinds = sorted({k for row in rows for k in row.found.innocents["group_kind"] if k})
    lines = []
    for kind in kinds:
        cells = []
        for row in rows:
            of = row.found.innocents.filter(group_kind=kind)
            if of.is_empty():
                cells.append("")
                continue
            accounts, coordinated, review, groups, accused = of.select(
                "accounts", "coordinated", "review", "groups", "groups_accused"
            ).row(0)
            in_groups = f"; {accused:,} of {groups:,} groups" if groups and accused else ""
            cells.append(f"{coordinated:,} + {review:,} of {accounts:,}{in_groups}")
        lines.append([kind, *cells])
    return "\n".join(["## Innocent accounts accused, by kind of group", "",
                      "Accounts in coordinated clusters + in clusters for review, of all; groups accused, if any: those with"
                      " two members, or at least half of them, in coordinated clusters.", "",
                      markdown(["kind", *(row.title for row in rows)], lines), ""])  # fmt: skip


def _fates(rows: Sequence[Row]) -> str:
    columns: list[tuple[str, Callable[[Row], str]]] = [("worlds", lambda r: r.title)]
    for fate in ("found", "whole", "split", "merged"):
        columns.append((fate, lambda r, fate=fate: hits(r.found, f"rings_{fate}", AT)))  # type: ignore[misc]
    columns.append(("found with review", lambda r: hits(r.found, "rings_found", BOTH)))
    columns.append(("right among coordinated clusters", lambda r: hits(r.found, "clusters_right", AT)))
    return "\n".join(["## Rings", "", _table(rows, columns), ""])


def _score(rows: Sequence[Row], figures: str) -> str:
    if not rows:
        return ""
    row = rows[0]
    columns = {"score_from": "score from", "score_to": "to", "clusters": "clusters", "mean_score": "mean score",
               "share_right": "share right", "accounts": "accounts", "share_coordinated": "share coordinated"}  # fmt: skip
    lines = [
        [_value(r["score_from"]), _value(r["score_to"]), f"{r['clusters']:,}", number(r["mean_score"]),
         interval(r["share_right"], r["low"], r["high"]), f"{r['accounts']:,}", number(r["share_coordinated"])]
        for r in row.found.reliability.to_dicts()
    ]  # fmt: skip
    ranks = [
        [of, f"{k:,}", interval(p, low, high)]
        for of, k, p, low, high in row.found.ranks.select("of", "k", "precision", "low", "high").iter_rows()
    ]
    return "\n".join(
        [
            "## The score",
            "",
            f"{row.title}, all seeds. A score is right as often as it says when the points lie on the dotted line.",
            "",
            f"![Reliability of the score]({figures}/quality-reliability.png)"
            f" ![Precision and recall]({figures}/quality-precision_recall.png)",
            "",
            markdown(list(columns.values()), lines),
            "",
            "Precision among the first k:",
            "",
            markdown(["of", "k", "precision"], ranks),
            "",
        ]
    )


def _curves(curves: Sequence[Curve], figures: str) -> str:
    if not curves:
        return ""
    first = next(iter(curves[0].points.values()))
    said = [
        "## Curves",
        "",
        f"Worlds of {first[0].world.accounts:,} accounts with every tactic, {len(first)} seeds a point; one figure is turned"
        " for all tactics, the others stay as they are. Bands reach from the lowest to the highest seed.",
        "",
        f"![Recall and precision as camouflage, jitter and ring size change]({figures}/quality-curves.png)",
        "",
    ]
    for curve in curves:
        lines = [
            [value, number(_of(runs, "precision")), number(_of(runs, "recall")),
             number(_of(runs, "recall", BOTH)), number(_of(runs, "rings_found"))]
            for value, runs in curve.points.items()
        ]  # fmt: skip
        said += [markdown([curve.meaning, "precision", "recall", "recall with review", "rings found"], lines), ""]
    return "\n".join(said)


def _peers(measured: Sequence[tuple[str, Sequence[Run], Sequence[Peers]]]) -> str:
    if not measured:
        return ""
    said = [
        "## What one would do otherwise",
        "",
        "The usual methods on the same worlds and the same links, in the same run. They find clusters and do not judge"
        " them, so each is measured twice: with every cluster of at least three accounts accused, as whoever has no labels"
        " must; and with an oracle that knows the truth and accuses the clusters that give the highest F1, which nobody has"
        " and no other choice among these clusters beats. hydragraph's first line is what it says itself, without any"
        " label; the second, with the oracle, shows what its assessment costs. hydragraph's seconds are with reading and"
        " assessing, the others' without.",
        "",
    ]
    for title, runs, found in measured:
        lines = []
        mine = {m: [run.counts(m, "groups" if "group" in m else AT) for run in runs] for m in _MEASURES}
        lines.append(["**hydragraph**", "its own", *_cells(mine), f"{max(r.seconds for r in runs):.0f}"])
        chosen = {m: [tuple(run.oracle[m]) for run in runs] for m in _MEASURES}
        lines.append(["hydragraph", ORACLE, *_cells(chosen), ""])
        for peer in PEERS:
            if peer.name not in found[0]:
                continue
            for how in ("every", ORACLE):
                counts = {m: [tuple(one[peer.name][how][m]) for one in found] for m in _MEASURES}
                seconds = f"{max(float(one[peer.name]['seconds']) for one in found):.0f}" if how == "every" else ""  # type: ignore[arg-type]
                lines.append([peer.title, how, *_cells(counts), seconds])
        head = ["method", "chosen by", "precision", "recall", "F1", "rings found", "whole", "merged",
                "innocent groups accused", "seconds"]  # fmt: skip
        said += [f"### {title}", "", markdown(head, lines), ""]
    slow = [f"{p.title}, beyond {p.largest:,} accounts" for p in PEERS if p.largest < 10**9]
    return "\n".join([*said, *([f"Not run, because it takes too long: {'; '.join(slow)}.", ""] if slow else [])])


_MEASURES = ("precision", "recall", "rings_found", "rings_whole", "rings_merged", "innocent_groups_accused")


def _cells(counts: Mapping[str, Sequence[tuple[float, float]]]) -> list[str]:
    said = sum(of for _, of in counts["precision"])
    right, positive = (sum(c[i] for c in counts["recall"]) for i in (0, 1))
    f1 = 2 * right / (said + positive) if said + positive else None
    shares = {measure: number(share(values)) for measure, values in counts.items()}
    accused = sum(hits for hits, _ in counts["innocent_groups_accused"])
    return [shares["precision"], shares["recall"], number(f1), shares["rings_found"], shares["rings_whole"],
            shares["rings_merged"], f"{accused:,.0f}"]  # fmt: skip


def _definitions() -> str:
    return "\n".join(
        [
            "## What the figures are",
            "",
            "- Precision: ring accounts among the accounts accused. Recall: accounts accused among the ring accounts. With"
            " review: clusters in review count as accused.",
            "- A ring is *found* when one coordinated cluster holds at least half of it, *whole* when one holds at least"
            " 90 %, *split* when two or more hold at least 10 % each, *merged* when a cluster that holds at least 10 % of"
            " it holds as much of another ring; two accounts at least, each time.",
            "- A cluster is *right* when at least half of its accounts are in rings.",
            "- Pairwise: pairs of ring accounts found together and truly together. B-cubed: the same seen from each"
            " account, averaged over accounts; an account outside every cluster is a cluster of its own.",
            "- ROC area and average precision: of the score of an account's cluster, 0 outside clusters.",
            "- Parents named right: of the successors for which a closed account is named; parents found: of all successors"
            " of an account in the world; in the same ring: of the named pairs with an account of a ring, those inside one.",
            "- Singled out: of the successors whose telling identifiers of at most 64 accounts are shared with one account"
            " of the ring closed in the 30 days before, and no other, those whose parent it is. Only where half is handed on"
            " do successors go on with a card, device, phone or proxy of the closed account; elsewhere they draw from the"
            " ring's pool like everybody in it, and what they share with a closed account is mostly an accident.",
            "- Parents identifiable: those singled out rightly, in rings where at least half of all singled out are. In the"
            " others identifiers tell nothing, and only time and the place in the rota can.",
            "- Intervals: Wilson's for shares of rings, clusters and groups. For all else a bootstrap: rings are drawn as"
            f" wholes, all other accounts with the cluster they were found in or alone, {RESAMPLES:,} times. There, a figure"
            " that no account contradicts has an interval of no width: what never occurred cannot be drawn.",
            "",
        ]
    )


def draw(results: Results, folder: Path) -> list[Path]:
    """Write the pictures of the document into `folder`; returns their paths."""
    from hydragraph.report.figures import save_figure

    written = []
    rings = [row for row in results.rows if not row.innocent]
    if rings:
        figures = rings[0].found.figures()
        for name in ("reliability", "precision_recall"):
            if name in figures:
                written.append(save_figure(figures[name], folder / f"quality-{name}.png"))
    drawn = [curve for curve in results.curves if curve.drawn]
    if drawn:
        written.append(save_figure(_curve_figure(drawn), folder / "quality-curves.png"))
    return written


def _curve_figure(curves: Sequence[Curve]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(curves), 3.6), dpi=110, facecolor="white", layout="constrained")
    for axes, curve in zip(figure.subplots(1, len(curves), sharey=True, squeeze=False)[0], curves, strict=True):
        places = list(range(len(curve.points)))
        for measure, colour, marker in _LINES:
            each = [[share([run.counts(measure, AT)]) or 0.0 for run in runs] for runs in curve.points.values()]
            axes.fill_between(places, [min(e) for e in each], [max(e) for e in each], color=colour, alpha=0.18, lw=0)
            pooled = [_of(runs, measure) or 0.0 for runs in curve.points.values()]
            axes.plot(places, pooled, marker=marker, color=colour, label=measure, markersize=5)
        axes.set_xticks(places, [value.split(" (")[0] for value in curve.points])
        axes.set_xlabel(curve.meaning)
        axes.set_ylim(-0.02, 1.04)
        axes.grid(color="#dcdad5", linewidth=0.7)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.axes[0].legend(loc="lower left", frameon=False)
    return figure


def _of(runs: Iterable[Run], measure: str, of: str = AT) -> float | None:
    return share(run.counts(measure, of) for run in runs)


# Words and tables


def _value(value: float) -> str:
    return f"{value:g}"


def _pooled_share(row: Row, measure: str, of: str) -> str:
    """A share that needs the links of the case, which are not kept: hits and all, added up over the worlds."""
    counts = [run.counts(measure, of) for run in row.runs]
    hits, all_ = (sum(column) for column in zip(*counts, strict=True))
    return f"{hits / all_:.3f} ({hits:,.0f} of {all_:,.0f})" if all_ else "-"


def _table(rows: Sequence[Row], columns: Sequence[tuple[str, Callable[[Row], str]]]) -> str:
    return markdown([name for name, _ in columns], [[cell(row) for _, cell in columns] for row in rows])
