"""`hydragraph decide`: what a person decided about a cluster, kept with the case and heeded by the next run."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

import hydragraph as hg
from hydragraph_cli.layout import counted
from hydragraph_cli.options import (
    case_argument,
    cluster_argument,
    pass_talk,
    talk_options,
    text_argument,
    text_or_stdin,
)
from hydragraph_cli.output import print_text
from hydragraph_cli.talk import Talk
from hydragraph_cli.values import clean


@click.command("decide")
@case_argument
@cluster_argument
@click.option(
    "--as",
    "decision",
    type=click.Choice(("confirmed", "innocent", "unreviewed")),
    required=True,
    help="What was decided; unreviewed takes an earlier decision back.",
)
@click.option("--note", default="", callback=text_or_stdin, help="Why, in your words; - for those on stdin.")
@click.option("--by", callback=text_argument, metavar="NAME", help="Who decided; otherwise the name of the user.")
@talk_options
@pass_talk
def command(talk: Talk, case: Path, cluster: str, decision: str, note: str, by: str | None) -> None:
    """Keep what a person decided about a cluster.

    CLUSTER is its id or the beginning of it. The decision is added to decisions.ndjson in the case, and the last one
    about a cluster holds. `analyze --previous CASE` takes decisions along: confirmed clusters stay leads, innocent ones
    stay cleared until evidence of another kind appears.

    \b
    Example:
      hydragraph decide case c-5f2a91 --as confirmed --note "same card as in May"
      hydragraph decide case c-81be02 --as innocent --by ann
      hydragraph decide case c-81be02 --as innocent --note - < ticket.txt
    """
    opened = hg.open_case(case)
    found = hg.decide(opened, cluster, decision, note=note, by=by)
    if talk.level:
        print_text(f"{clean(found.id)}  {clean(str(found.row['review_state']))}")
    kept = counted(opened.decisions.height, "decision")
    talk.say(f"{kept} in this case; to show it in the report: hydragraph report {shlex.quote(str(case))}")
