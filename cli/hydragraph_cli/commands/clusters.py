"""`hydragraph clusters`: the leads of a case, strongest first."""

from __future__ import annotations

from pathlib import Path

import click

import hydragraph as hg
from hydragraph_cli.layout import cluster_table, tally
from hydragraph_cli.options import assessment_option, case_argument, list_options, pass_talk, talk_options
from hydragraph_cli.output import View, print_frame, print_text
from hydragraph_cli.talk import Talk


@click.command("clusters")
@case_argument
@assessment_option("Only coordinated, review or explained ones; may be repeated.")
@click.option("--min-score", type=click.FloatRange(0, 1), metavar="S", help="Only clusters with a score of at least S.")
@list_options()
@talk_options
@pass_talk
def command(talk: Talk, case: Path, wanted: tuple[str, ...], min_score: float | None, view: View) -> None:
    """List the clusters of a case, strongest lead first.

    \b
    Example:
      hydragraph clusters case --assessment coordinated --min-score 0.8
      hydragraph clusters case --format csv --columns cluster_id,size,tokens
    """
    import polars as pl

    clusters = hg.open_case(case).clusters
    if wanted:
        clusters = clusters.filter(pl.col("assessment").is_in(wanted))
    if min_score is not None:
        clusters = clusters.filter(pl.col("score").fill_nan(None) >= min_score)
    if view.for_people and clusters.height:
        print_text(cluster_table(view.head(clusters)))
    elif view.for_people:
        print_text(
            "No cluster fits these filters." if wanted or min_score is not None else "No clusters: nothing was found."
        )
    else:
        print_frame(clusters, view)
    hidden = clusters.height - view.head(clusters).height
    talk.say(tally(clusters) + (f"; {hidden:,} not shown" if hidden else ""))
