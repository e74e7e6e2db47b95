"""Tables and paragraphs for people: aligned, wrapped, coloured on a terminal only. What leaves here is clean."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydragraph_cli.talk import on_terminal
from hydragraph_cli.values import clean, iso, plain

if TYPE_CHECKING:
    import polars as pl

PIPE_WIDTH = 80
_INDENT = "  "
_FIRST, _OTHER = 40, 12  # columns that the first column of a table and the others keep: ids are there to be copied
_DECIMALS = {"score": 2, "bits": 1, "synchrony_bits": 1, "synchrony": 1}
_COLOURS = {"coordinated": "31", "review": "33", "explained": "32"}
_CLUSTER_TITLES = {
    "cluster_id": "cluster",
    "assessment": "assessment",
    "score": "score",
    "size": "accounts",
    "accounts_closed": "closed",
    "bits": "bits",
    "expected_by_chance": "by chance",
}


def width() -> int:
    """Columns to fill: those of the terminal, 80 where there is none."""
    return shutil.get_terminal_size((PIPE_WIDTH, 24)).columns if on_terminal(sys.stdout) else PIPE_WIDTH


def wrap(text: str, indent: str = "") -> str:
    """`text` made safe and wrapped to the width of the terminal; a number keeps its %."""
    held = clean(text).replace(" %", "\u00a0%")  # textwrap breaks at no such blank
    lines = textwrap.fill(held, width(), initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
    return lines.replace("\u00a0%", " %")


def paint(text: str, code: str) -> str:
    """`text` in an ANSI style, on a terminal that did not ask for NO_COLOR."""
    wanted = on_terminal(sys.stdout) and not os.environ.get("NO_COLOR")
    return f"\x1b[{code}m{text}\x1b[0m" if wanted else text


def heading(text: str) -> str:
    """A safe heading."""
    return paint(clean(text), "1")


def shown(value: Any, column: str = "") -> str:
    """One value as people read it, times to the minute; safe to print."""
    if isinstance(value, dt.datetime):
        return iso(value.replace(second=0, microsecond=0)).replace(":00Z", "Z")
    value = plain(value)
    if value is None:
        return "-"
    if isinstance(value, float):
        return (
            f"{value:,.{_DECIMALS[column]}f}"
            if column in _DECIMALS
            else f"{value:,.0f}"
            if abs(value) >= 100
            else f"{value:.3g}"
        )
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return clean(str(value)) or "-"


def assessment(value: str) -> str:
    """An assessment in its colour."""
    return paint(clean(value), _COLOURS.get(value, "0"))


def section(title: str, frame: pl.DataFrame, limit: int) -> str:
    """A heading with the number of rows, and the first `limit` rows as a table; all for 0."""
    rows = frame.head(limit) if limit else frame
    cut = f", the first {rows.height:,}" if rows.height < frame.height else ""
    return f"{heading(title)} ({frame.height:,}{cut})\n" + (table(rows) if rows.height else f"{_INDENT}none")


def table(frame: pl.DataFrame, *, titles: Mapping[str, str] | None = None, below: str | None = None) -> str:
    """`frame` in aligned columns, numbers to the right. titles: other words for column names.

    below: a column printed, wrapped, under each row instead of beside it. On a terminal long text is
    folded until the table fits; elsewhere a row stays one line, for the sake of grep.
    """
    import polars as pl

    names = [name for name in frame.columns if name != below]
    numeric = [frame.schema[name].is_numeric() for name in names]
    head = [(titles or {}).get(name, clean(name)) for name in names]
    body = [[shown(v, n) for v, n in zip(row, names, strict=True)] for row in frame.select(names).iter_rows()]
    widths = [max(map(cells, column)) for column in zip(head, *body, strict=True)]
    if on_terminal(sys.stdout):
        foldable = [frame.schema[name] == pl.String() for name in names]
        least = [(_FIRST if at == 0 else _OTHER) if foldable[at] else size for at, size in enumerate(widths)]
        _shrink(widths, least, width())
    lines = [paint(_line(head, widths, numeric), "1")]
    notes = frame[below].to_list() if below else [None] * frame.height
    colour = names.index("assessment") if "assessment" in names else None
    for row, note in zip(body, notes, strict=True):
        folded = [fold(cell, size) for cell, size in zip(row, widths, strict=True)]
        for at in range(max(map(len, folded), default=0)):
            line = [column[at] if at < len(column) else "" for column in folded]
            lines.append(_line(line, widths, numeric, colour))
        if note:
            lines.append(wrap(str(note), _INDENT))
    return "\n".join(lines)


def _line(row: Sequence[str], widths: Sequence[int], numeric: Sequence[bool], colour: int | None = None) -> str:
    padded = []
    for at, (cell, size, number) in enumerate(zip(row, widths, numeric, strict=True)):
        gap = " " * (size - cells(cell))
        text = assessment(cell) if at == colour and cell else cell
        padded.append(gap + text if number else text + gap)
    return _INDENT.join(padded).rstrip()


def _shrink(widths: list[int], least: Sequence[int], room: int) -> None:
    """Narrow the widest columns, in place and no further than `least`, until all fit into `room` or none can give."""
    while sum(widths) + len(_INDENT) * (len(widths) - 1) > room:
        able = [at for at, size in enumerate(widths) if size > least[at]]
        if not able:
            break
        widths[max(able, key=lambda at: widths[at])] -= 1


def cells(text: str) -> int:
    """Columns of a terminal that `text` fills: wide characters count two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def fold(text: str, room: int) -> list[str]:
    """`text` cut into pieces of at most `room` columns; nothing is lost."""
    if cells(text) <= room:
        return [text]
    pieces, piece, used = [], "", 0
    for character in text:
        size = cells(character)
        if used + size > room and piece:
            pieces.append(piece)
            piece, used = "", 0
        piece += character
        used += size
    return [*pieces, piece]


def masked(identifiers: pl.DataFrame) -> pl.DataFrame:
    """A frame with kind and value, each value partly hidden as its kind asks."""
    import polars as pl

    from hydragraph.identifiers import mask_value

    values = [mask_value(kind, value) for kind, value in identifiers.select("kind", "value").iter_rows()]
    return identifiers.with_columns(pl.Series("value", values, dtype=pl.String))


def cluster_table(clusters: pl.DataFrame) -> str:
    """The main list: one line a cluster that fits 80 columns, the sentence why below it."""
    titles = _CLUSTER_TITLES | ({"review_state": "decided"} if _decided(clusters) else {})
    return table(clusters.select(*titles, "explanation"), titles=titles, below="explanation")


def _decided(clusters: pl.DataFrame) -> bool:
    return bool((clusters["review_state"].fill_null("unreviewed") != "unreviewed").any())


def tally(clusters: pl.DataFrame) -> str:
    """`3 clusters: 1 coordinated, 1 review, 1 explained`."""
    from hydragraph.schema import ASSESSMENTS

    return counted_clusters({name: clusters.filter(assessment=name).height for name in ASSESSMENTS})


def counted_clusters(by_assessment: Mapping[str, int]) -> str:
    """The same of clusters that are counted already."""
    total = sum(by_assessment.values())
    said = ", ".join(f"{count:,} {name}" for name, count in by_assessment.items())
    return f"{counted(total, 'cluster')}: {said}" if total else "no clusters"


def counted(number: int, word: str) -> str:
    """`1 account`, `2 accounts`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"
