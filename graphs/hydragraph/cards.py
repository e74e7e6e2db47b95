"""What a notebook or a prompt shows of a case and of a cluster: short, escaped, and no identifier or account among it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

LISTED = 10
"""Clusters that the card of a case names."""

_CLUSTERS = {
    "cluster_id": "cluster", "assessment": "assessment", "score": "score", "size": "accounts",
    "accounts_closed": "closed", "bits": "bits", "review_state": "decided",
}  # fmt: skip
_SIGNALS = {"signal": "signal", "value": "value", "baseline": "all accounts", "p_value": "p"}


def printable(text: str) -> str:
    """`text` in which control, bidi and invisible characters are written out, so that none acts on a terminal or page."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def case_card(said: str, clusters: pl.DataFrame) -> str:
    """HTML of a case: `said`, and the first clusters. clusters: the table of the case."""
    more = clusters.height - LISTED
    below = f"<p>{more:,} more in <code>case.clusters</code></p>" if more > 0 else ""
    return f"<p><b>{_text(said)}</b></p>{_table(clusters.head(LISTED), _CLUSTERS)}{below}"


def cluster_card(said: str, row: Mapping[str, Any], signals: pl.DataFrame) -> str:
    """HTML of a cluster: `said`, the sentence why, what speaks against it, and its signals."""
    against = f"<p>Against: {_text(row['against'])}</p>" if row["against"] else ""
    return f"<p><b>{_text(said)}</b></p><p>{_text(row['explanation'])}</p>{against}{_table(signals, _SIGNALS)}"


def _table(frame: pl.DataFrame, titles: Mapping[str, str]) -> str:
    head = _row("th", titles.values())
    body = "".join(_row("td", row) for row in frame.select(*titles).iter_rows())
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"


def _row(tag: str, cells: Iterable[Any]) -> str:
    return f"<tr>{''.join(f'<{tag}>{_text(cell)}</{tag}>' for cell in cells)}</tr>"


def _text(value: Any) -> str:
    if value is None or value != value:  # NaN
        return "-"
    return escape(printable(f"{value:.3g}" if isinstance(value, float) else str(value)))
