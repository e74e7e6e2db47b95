"""The report of a case: one HTML file that opens offline, and figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hydragraph.case import Case
    from hydragraph.report.document import Limits

__all__ = ["write_report"]


def write_report(case: Case, path: str | Path | None = None, *, limits: Limits | None = None) -> Path:
    """Write the report of `case` to `path` (default: report.html inside the case), whole or not at all; returns path.

    limits: how much is shown, see `document.Limits`. The same case and limits give the same bytes. Account ids stand in
    the report as they are, identifiers masked; whoever may read the case may read the report.
    """
    from hydragraph.case import REPORT
    from hydragraph.report.document import Limits, document
    from hydragraph.report.files import write_whole

    content = document(case, limits or Limits())
    return write_whole(case.path / REPORT if path is None else path, content.encode("utf-8"))
