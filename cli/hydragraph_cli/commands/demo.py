"""`hydragraph demo`: a small made-up world, analysed."""

from __future__ import annotations

from pathlib import Path

import click

import hydragraph as hg
from hydragraph_cli.commands.analyze import print_leads
from hydragraph_cli.options import given, pass_talk, talk_options
from hydragraph_cli.talk import Talk


@click.command("demo")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default="hydragraph-demo")
@click.option("--accounts", type=click.IntRange(min=1), metavar="N", help="Accounts in the world.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Another seed, another world.")
@click.option("--force", is_flag=True, help="Replace a demo that is there already.")
@talk_options
@pass_talk
def command(talk: Talk, folder: Path, accounts: int | None, seed: int | None, force: bool) -> None:
    """Make a small world, analyse it, and say where the report is.

    DIR is "hydragraph-demo" unless you name another. It will hold the world's tables and the case.

    \b
    Example:
      hydragraph demo
      hydragraph demo /tmp/demo --seed 7
    """
    with talk.progress() as progress:
        case = hg.demo(folder, force=force, progress=progress, **given(accounts=accounts, seed=seed))
    print_leads(case, talk)
