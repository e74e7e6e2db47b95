"""`hydragraph analyze`: the main job, from a source to a case."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

import hydragraph as hg
from hydragraph_cli.layout import cluster_table, counted, counted_clusters
from hydragraph_cli.options import (
    FOLDER,
    PLACE,
    engine_options,
    pass_talk,
    pseudonymise_option,
    source_options,
    talk_options,
)
from hydragraph_cli.output import print_text
from hydragraph_cli.talk import Talk

FIRST = 10


@click.command("analyze")
@source_options
@click.option("-o", "--out", type=PLACE, required=True, help="Folder of the case to write.")
@click.option(
    "--previous", type=FOLDER, metavar="CASE", help="An earlier case: its cluster ids are carried over; see `diff`."
)
@click.option(
    "--constraints",
    type=FOLDER,
    metavar="FILE",
    help="Pairs of accounts: account_a, account_b, relation (must or cannot).",
)
@click.option("--allow", type=FOLDER, metavar="FILE", help="Identifiers that count as no evidence: kind, value.")
@pseudonymise_option
@click.option("--force", is_flag=True, help="Replace a case that is there already.")
@engine_options
@talk_options
@pass_talk
def command(
    talk: Talk,
    source: Any,
    out: str | Path,
    mapping: Path | None,
    settings: hg.Settings,
    previous: Path | None,
    constraints: Path | None,
    allow: Path | None,
    pseudonymise: Path | None,
    force: bool,
    engine: hg.Spark | None,
) -> None:
    """Find the coordinated clusters in a source and write a case.

    SOURCE is a folder, or files, with any of the tables accounts, api_keys, payments, events, links, ranges, as
    Parquet, CSV, NDJSON or Arrow. The case appears whole or not at all. Constraints and the list of what is allowed
    are kept with the case; --previous brings them along unless others are given. With --engine spark the heavy steps
    run on a Spark cluster, and SOURCE and CASE may be places such as s3://bucket/folder.

    \b
    Example:
      hydragraph analyze exports/ -o case
      hydragraph analyze accounts.csv payments.csv -o case --seed 7 --force
      hydragraph analyze exports/ -o case-june --previous case-may
      hydragraph analyze exports/ -o case --allow our-own.csv
      hydragraph analyze /lake/in -o /lake/case --engine spark --remote sc://host
    """
    with talk.progress() as progress:
        case = hg.analyze(
            source, out, mapping=mapping, settings=settings, previous=previous, constraints=constraints, allow=allow,
            pseudonymise=pseudonymise, force=force, progress=progress, engine=engine,
        )  # fmt: skip
    print_leads(case, talk, out if isinstance(out, str) else None)


def print_leads(case: hg.Case, talk: Talk, store: str | None = None) -> None:
    """The strongest leads to stdout; to stderr what was read, and where to look next. With --quiet nothing at all: the
    case is what was asked for. store: where the case is, if that is no folder of this machine."""
    from hydragraph.case import LEADS, REPORT

    if not talk.level:
        return
    talk.say(f"{counted(case.height('accounts'), 'account')} read; {counted_clusters(case.tally)}")
    for note in case.manifest.get("notes", ()):
        talk.say(str(note))
    if rejected := case.height("rejects"):
        talk.say(f"{counted(rejected, 'row')} could not be read; {store or case.path}/rejects.parquet says why")
    leads, more = case.leads(FIRST), sum(case.tally[name] for name in LEADS) - FIRST
    if leads.is_empty():
        print_text("No leads: no cluster is coordinated or in need of review.")
    else:
        print_text(cluster_table(leads))
        if store is None:
            if more > 0:
                talk.say(f"{more:,} more leads: hydragraph clusters {shlex.quote(str(case.path))}")
            talk.say(f"look closer: hydragraph show {shlex.quote(str(case.path))} {leads['cluster_id'][0]}")
    if store is not None:
        talk.say(f"case: {store}; copy it to a disk to look closer, with hydragraph clusters, show and report")
    elif (case.path / REPORT).is_file():
        talk.say(f"report: {case.path / REPORT}")
