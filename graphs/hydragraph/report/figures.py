"""Figures of a cluster for papers, notebooks and tickets (the only place that uses matplotlib)."""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydragraph import identifiers
from hydragraph.errors import UnknownName
from hydragraph.report import text
from hydragraph.report.document import masked
from hydragraph.report.files import write_whole
from hydragraph.report.lifespans import WIDTH as LIVES_WIDTH
from hydragraph.report.lifespans import lifespans
from hydragraph.report.picture import HEIGHT, KIND_COLOURS, SHAPES, WIDTH, Picture, draw, kind_order

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hydragraph.case import Cluster

FORMATS = ("png", "svg", "pdf")

_INK, _SOFT, _LINE, _LIFE = "#1d2126", "#5b626b", "#8d8a83", "#d39b4a"


def cluster_figure(cluster: Cluster, *, nodes: int = 150, labels: int = 10) -> Figure:
    """The accounts of `cluster` and the identifiers they share, as a matplotlib figure (light paper, 9 x 6 inches).

    Circles are accounts (filled: core, open: attached, crossed: closed); shapes are identifiers, one colour and outline
    a kind, larger when more of the drawn accounts use them. nodes: most accounts and identifiers drawn; a caption says
    what was left out. labels: how many of the most used identifiers are named, masked. Account ids are not drawn.
    The figure belongs to no window and no global state; `save_figure` writes it.
    """
    import matplotlib

    kinds = kind_order(cluster.case.links["kind"].drop_nulls().unique().to_list())
    picture = draw(cluster.accounts, cluster.links, kinds, nodes=nodes)
    # ids and labels are text, whatever dollar signs and backslashes they hold
    with matplotlib.rc_context({"text.parse_math": False, "text.usetex": False, "font.family": ["DejaVu Sans"]}):
        figure = _figure_class()(figsize=(9, 6), dpi=120, facecolor="white")
        axes = figure.add_axes((0.02, 0.12, 0.96, 0.76))
        axes.set_axis_off()
        axes.set_xlim(0, WIDTH)
        axes.set_ylim(HEIGHT, 0)
        axes.set_aspect("equal")
        _links(axes, picture)
        handles = _nodes(axes, picture)
        _labels(axes, picture, labels)
        size = text.plural(cluster.row["size"] or cluster.accounts.height, "account")
        title = f"Cluster {text.visible(cluster.id, 60)}: {text.visible(cluster.assessment, 40)}, {size}"
        figure.text(0.03, 0.95, title, fontsize=13, fontweight="bold", color=_INK, va="center")
        figure.text(0.03, 0.905, _wrapped(text.visible(cluster.explanation, 300)), fontsize=9, color=_SOFT, va="top")
        if handles:
            figure.legend(
                handles=handles,
                loc="lower left",
                bbox_to_anchor=(0.02, 0.06),
                ncols=7,
                columnspacing=1.4,
                handletextpad=0.3,
                frameon=False,
                fontsize=8,
            )
        note = f"A lead for a person to review. {picture.left_out}"
        figure.text(0.03, 0.015, _wrapped(note, 150), fontsize=7.5, color=_SOFT, va="bottom")
    return figure


def lives_figure(members: pl.DataFrame, lineage: pl.DataFrame, title: str, said: str, *, limit: int = 60) -> Figure:
    """Lives along time, as a matplotlib figure 9 inches wide: a bar an account, an arrow to who took its place.

    members: rows of the accounts table; lineage: their rows of the lineage table. title, said: what stands above.
    limit: most accounts drawn, the replaced and their successors first; a caption says how many there are. Account ids
    are not drawn. Raises UnknownName when fewer than two accounts have times.
    """
    import matplotlib

    strongest = lineage.sort("bits", "parent", "child", descending=[True, False, False], nulls_last=True)
    lives = lifespans(
        members.sort("bits", "account_id", descending=[True, False], nulls_last=True), strongest, limit=limit
    )
    if lives is None:
        raise UnknownName("no picture of lives: fewer than two of these accounts have a time of activity")
    height = 1.3 + 0.11 * len(lives.lines)
    with matplotlib.rc_context({"text.parse_math": False, "text.usetex": False, "font.family": ["DejaVu Sans"]}):
        figure = _figure_class()(figsize=(9, height), dpi=120, facecolor="white")
        axes = figure.add_axes((0.045, 0.45 / height, 0.91, 1 - 1.25 / height))
        axes.set_xlim(0, LIVES_WIDTH)
        axes.set_ylim(lives.height, 0)
        axes.set_yticks([])
        for side in ("top", "left", "right"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(_LINE)
        whole = lives.end - lives.start
        at = [lives.start + whole * part / 4 for part in range(5)]
        axes.set_xticks([6 + (LIVES_WIDTH - 12) * part / 4 for part in range(5)], [text.minute(t)[:10] for t in at])
        axes.tick_params(labelsize=7.5, colors=_SOFT, length=3)
        for line in lives.lines:
            axes.plot([line.x1, max(line.x2, line.x1 + 2)], [line.y, line.y], color=_LIFE, linewidth=2.4)
            if line.closed is not None:
                axes.plot([line.x2, line.closed], [line.y, line.y], color=_LINE, linewidth=0.6, zorder=1)
                axes.plot([line.closed], [line.y], "o", color=_INK, markersize=2.6, zorder=3)
        for x1, y1, x2, y2 in lives.steps:
            axes.plot([x1, x2], [y1, y1], color=_INK, linewidth=0.6, zorder=2)
            arrow = {
                "arrowstyle": "-|>",
                "color": _INK,
                "linewidth": 0.6,
                "shrinkA": 0,
                "shrinkB": 0,
                "mutation_scale": 5,
            }
            axes.annotate("", (x2, y2), (x2, y1), arrowprops=arrow, zorder=2)
        figure.text(
            0.03, 1 - 0.2 / height, text.visible(title, 110), fontsize=12, fontweight="bold", color=_INK, va="center"
        )
        figure.text(0.03, 1 - 0.36 / height, _wrapped(said, 140), fontsize=8, color=_SOFT, va="top")
        drawn = f"{len(lives.lines)} of {lives.total:,} accounts. " if len(lives.lines) < lives.total else ""
        note = f"{drawn}A bar: first to last activity. A dot: closed. An arrow: the account that took its place."
        figure.text(0.03, 0.08 / height, note, fontsize=7.5, color=_SOFT, va="bottom")
    return figure


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write `figure` as PNG, SVG or PDF, by the ending of `path`; whole or not at all. The same figure, the same bytes.

    Raises UnknownName for another ending.
    """
    path = Path(path)
    return write_whole(path, figure_bytes(figure, path.suffix.removeprefix(".").lower()))


def figure_bytes(figure: Figure, format: str) -> bytes:
    """`figure` as the bytes of a png, svg or pdf file, without dates or random ids. Raises UnknownName."""
    if format not in FORMATS:
        raise UnknownName(f"no figure format of that name; there are {', '.join(FORMATS)}")
    import matplotlib

    dates: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
    out = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "hydragraph", "svg.fonttype": "path"}), warnings.catch_warnings():
        # a letter the font lacks is drawn as a box; that is no reason to warn whoever saves a picture
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(out, format=format, metadata=dates[format])
    return out.getvalue()


@functools.cache
def _figure_class() -> type[Figure]:
    from matplotlib.figure import Figure

    class ClusterFigure(Figure):
        """A figure that shows itself in a notebook, also where pyplot was never imported."""

        def _repr_png_(self) -> bytes:
            return figure_bytes(self, "png")

    return ClusterFigure


def _links(axes: Axes, picture: Picture) -> None:
    from matplotlib.collections import LineCollection

    at = picture.place
    ends = picture.links.select("account", "identifier").to_numpy().reshape(-1, 2)
    lines = [(at[a], at[picture.accounts.height + i]) for a, i in ends]
    alpha = max(0.25, 0.6 - len(lines) / 2500)
    axes.add_collection(LineCollection(lines, colors=_LINE, linewidths=0.7, alpha=alpha, zorder=1))


def _nodes(axes: Axes, picture: Picture) -> list[Any]:
    """Draw the nodes; returns the legend's handles."""
    from matplotlib.lines import Line2D

    accounts = picture.accounts.height
    crowd = min(1.0, max(0.5, (110 / max(len(picture.place), 1)) ** 0.5))
    handles: list[Any] = []

    def legend(label: str, **look: Any) -> None:
        handles.append(Line2D([], [], linestyle="none", markersize=6, label=label, **look))

    at = picture.place[:accounts]
    core = (picture.accounts["membership"] == "core").fill_null(False).to_numpy()
    closed = picture.accounts["closed_at"].is_not_null().to_numpy()
    for part, label, face in ((core, "core account", _INK), (~core, "attached account", "white")):
        if part.any():
            look = {"marker": "o", "markeredgecolor": _INK, "markerfacecolor": face}
            axes.scatter(at[part, 0], at[part, 1], s=55 * crowd, c=face, edgecolors=_INK, linewidths=1.1, zorder=3)
            legend(label, **look)
    for part, colour in ((closed & core, "white"), (closed & ~core, _INK)):
        if part.any():
            axes.scatter(at[part, 0], at[part, 1], s=14 * crowd, c=colour, marker="x", linewidths=1.0, zorder=4)
    if closed.any():
        legend("closed", marker="x", color=_INK)
    at = picture.place[accounts:]
    used = _uses(picture)
    for i in picture.present:
        part = (picture.identifiers["kind"] == picture.kinds[i]).to_numpy()
        outline = _outline(i)
        colour = KIND_COLOURS[i % len(KIND_COLOURS)][0]
        sizes = [crowd * min(38 + 14 * u, 320) for u, yes in zip(used, part, strict=True) if yes]
        axes.scatter(
            at[part, 0], at[part, 1], s=sizes, c=colour, marker=outline, edgecolors="white", linewidths=0.6, zorder=2
        )
        legend(_named(picture.kinds[i]), marker=outline, color=colour, markeredgecolor="white")
    return handles


def _labels(axes: Axes, picture: Picture, most: int) -> None:
    used = _uses(picture)
    order = sorted(range(len(used)), key=lambda i: (-used[i], i))[: 3 * most]
    rows = masked(picture.identifiers[order]) if order else []
    taken: list[tuple[float, float, float]] = []
    for i, row in zip(order, rows, strict=True):
        x, y = picture.place[picture.accounts.height + i]
        right = x < WIDTH * 0.8
        long = 8.0 * len(text.visible(row["label"], 28)) + 10
        left = x if right else x - long
        if len(taken) == most or any(abs(y - v) < 20 and left < w and u < left + long for u, w, v in taken):
            continue  # this label would cover another one
        taken.append((left, left + long, y))
        axes.annotate(
            text.visible(row["label"], 28),
            (x, y),
            (7 if right else -7, 0),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            fontsize=7.5,
            color=_SOFT,
            zorder=5,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.7},
        )


def _outline(i: int) -> Any:
    """Marker of the i-th kind: its polygon, y upwards, closed."""
    corners = [(x, -y) for x, y in SHAPES[i % len(SHAPES)]]
    return [*corners, corners[0]]


def _uses(picture: Picture) -> list[int]:
    """Drawn accounts that use each drawn identifier."""
    uses = [0] * picture.identifiers.height
    for i in picture.links["identifier"]:
        uses[i] += 1
    return uses


def _named(kind: str) -> str:
    return text.visible(identifiers.kind(kind).title, 40)


def _wrapped(sentence: str, width: int = 120) -> str:
    from textwrap import wrap

    lines: Sequence[str] = wrap(sentence, width)
    return "\n".join(lines[:2]) + ("…" if len(lines) > 2 else "")
