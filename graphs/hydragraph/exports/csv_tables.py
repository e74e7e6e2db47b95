"""CSV: a folder with nodes.csv and edges.csv, for spreadsheets and anything else.

Columns as in `hydragraph.exports.content`. UTF-8 with a header, commas, fields quoted where needed; times are ISO 8601
text; a missing value is an empty field, an empty text is `""`. Text that a spreadsheet could take for a formula has a
`'` before it: `hydragraph.exports.fit.restore_csv` takes it off again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hydragraph.exports.content import Content

FILES = ("nodes.csv", "edges.csv")


def write(content: Content, path: Path) -> None:
    """Write nodes and edges into the folder `path`, which must exist."""
    from hydragraph.exports.fit import iso_times, safe_csv

    for name, frame in zip(FILES, (content.nodes, content.edges), strict=True):
        safe_csv(iso_times(frame)).write_csv(path / name)
