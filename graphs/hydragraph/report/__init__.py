"""The report of a case: one HTML file that opens offline, its Markdown twin, figures, and drafts of reasons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hydragraph.case import Case
    from hydragraph.report.document import Limits

__all__ = ["report_text", "write_report"]


def write_report(case: Case, path: str | Path | None = None, *, limits: Limits | None = None, **instead: int) -> Path:
    """Write the report of `case` to `path` (default: report.html inside the case), whole or not at all; returns path.

    limits: how much is shown, see `document.Limits`; instead: single ones of them, as `clusters=10` or `nodes=2000` (a
    picture takes time and memory with the square of its nodes). The same case and limits give the same bytes. Account ids
    stand in the report as they are, identifiers masked; whoever may read the case may read the report.
    """
    from hydragraph.case import REPORT
    from hydragraph.report.document import Limits, document
    from hydragraph.report.files import write_whole

    content = document(case, replace(limits or Limits(), **instead))
    return write_whole(case.path / REPORT if path is None else path, content.encode("utf-8"))


def report_text(case: Case, cluster_id: str | None = None) -> str:
    """The report of `case` as Markdown for tickets: its opening and leads, or one cluster with its tables.

    cluster_id: an id or an unambiguous beginning of one. Identifiers are masked, and nothing of a case becomes a mark, a
    link or HTML. The same case gives the same text. Raises UnknownName.
    """
    from hydragraph.report.markdown import cluster_markdown, report_markdown

    return report_markdown(case) if cluster_id is None else cluster_markdown(case.cluster(cluster_id))
