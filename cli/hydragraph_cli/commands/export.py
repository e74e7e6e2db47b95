"""`hydragraph export`: a case, or one cluster, in a format of another tool."""

from __future__ import annotations

from pathlib import Path

import click

import hydragraph as hg
from hydragraph_cli.options import ClusterId, OneOf, case_argument, pass_talk, talk_options
from hydragraph_cli.talk import Talk


@click.command("export")
@case_argument
@click.option(
    "--format",
    required=True,
    type=OneOf("hydragraph.exports", "FORMATS"),
    metavar="FORMAT",
    help="graphml, json, csv, stix, ...",
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), metavar="PATH", required=True, help="File or folder to write."
)
@click.option("--cluster", type=ClusterId(), metavar="ID", help="Only this cluster.")
@click.option("--force", is_flag=True, help="Replace an earlier export.")
@talk_options
@pass_talk
def command(talk: Talk, case: Path, format: str, out: Path, cluster: str | None, force: bool) -> None:
    """Write a case, or one cluster, for another tool.

    Graphs are written as graphml, gexf, json (node-link) or cypher, tables as parquet or csv, a lead to share as stix, what
    happened when as timesketch.

    \b
    Example:
      hydragraph export case --format graphml -o leads.graphml
      hydragraph export case --format csv --cluster c-5f2a91 -o tables/
    """
    written = hg.export(hg.open_case(case), format, out, cluster=cluster, force=force)
    talk.say(f"written: {written}")
