"""`hydragraph check`: reads and validates a source, says what it understood, writes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import hydragraph as hg
from hydragraph_cli.layout import heading, section, wrap
from hydragraph_cli.options import list_options, pass_talk, source_options, talk_options
from hydragraph_cli.output import View, print_parts, print_text
from hydragraph_cli.talk import Talk

if TYPE_CHECKING:
    import polars as pl

FIRST = 20
PARTS = ("tables", "files", "rejects", "notes")


@click.command("check")
@source_options
@list_options(*PARTS)
@talk_options
@pass_talk
def command(talk: Talk, source: Any, mapping: Path | None, settings: hg.Settings, view: View) -> None:
    """Read a source and say what was understood; write nothing.

    SOURCE is a folder, or files, with any of the tables accounts, api_keys, payments, events, links, ranges.

    \b
    Example:
      hydragraph check exports/
      hydragraph check exports/ --mapping columns.toml --part rejects
    """
    with talk.progress() as progress:
        found = hg.check(source, mapping=mapping, settings=settings, progress=progress)
        parts = _parts(found)
    if not view.for_people:
        print_parts(parts, "tables", view)
        return
    notes = parts["notes"]["note"].to_list()
    print_text(
        section("Tables", parts["tables"], 0),
        section("Rows that cannot be read", parts["rejects"], view.limit_or(FIRST)),
        "\n".join([heading("Notes"), *(wrap(note, "  ") for note in notes)]) if notes else "",
    )


def _parts(source: hg.Source) -> dict[str, pl.DataFrame]:
    import polars as pl

    from hydragraph.schema import INPUT

    text, count = pl.String(), pl.Int64()
    schema = {"table": text, "read": count, "kept": count, "rejected": count, "set_aside": count, "columns": text}
    tables = [
        (name, rows.read, rows.kept, rows.rejected, rows.set_aside, _columns(source, name))
        for name, rows in sorted(source.rows.items(), key=lambda item: list(INPUT).index(item[0]))
    ]
    files = [(i.table, i.file, i.rows, i.bytes, i.digest) for i in source.inputs]
    rejects = (
        source.rejects.group_by("table", "file", "column", "reason")
        .agg(rows=pl.len(), first_row=pl.col("row").min())
        .sort("rows", "table", "file", "column", "reason", descending=[True, False, False, False, False])
    )
    return {
        "tables": pl.DataFrame(tables, schema=schema, orient="row"),
        "files": pl.DataFrame(
            files, schema={"table": text, "file": text, "rows": count, "bytes": count, "digest": text}, orient="row"
        ),
        "rejects": rejects,
        "notes": pl.DataFrame({"note": list(source.notes)}, schema={"note": text}),
    }


def _columns(source: hg.Source, table: str) -> str:
    return ", ".join(source.tables[table].collect_schema().names()) if table in source.tables else ""
