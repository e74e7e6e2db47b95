"""`hydragraph report`: writes the report of a case again."""

from __future__ import annotations

from pathlib import Path

import click

import hydragraph as hg
from hydragraph_cli.options import case_argument, pass_talk, talk_options
from hydragraph_cli.talk import Talk


@click.command("report")
@case_argument
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write here, not into the case.")
@talk_options
@pass_talk
def command(talk: Talk, case: Path, out: Path | None) -> None:
    """Write the report of a case again.

    The report is one HTML file that opens offline.

    \b
    Example:
      hydragraph report case
      hydragraph report case -o leads.html
    """
    written = hg.write_report(hg.open_case(case), out)
    talk.say(f"report: {written}")
