"""`hydragraph simulate`: a made-up world with known rings in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import hydragraph as hg
from hydragraph_cli.options import OneOf, given, pass_talk, talk_options
from hydragraph_cli.talk import Talk


@click.command("simulate")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--accounts", type=int, metavar="N", help="Accounts in the world.")
@click.option("--events", type=int, metavar="N", help="Requests in the world, about.")
@click.option("--seed", type=int, metavar="N", help="Another seed, another world.")
@click.option(
    "--scenario",
    type=OneOf("hydragraph.worlds", "SCENARIOS"),
    metavar="NAME",
    help="Which rings and innocent groups live in it: mixed, innocent, hard, small, or one tactic.",
)
@click.option("--no-templates", is_flag=True, help="Leave template_hash empty.")
@click.option("--ring-size", type=float, metavar="N", help="Median accounts of a ring, where a tactic has so many.")
@click.option(
    "--camouflage", type=float, metavar="SHARE", help="Share of a ring's work hidden behind carriers and VPNs."
)
@click.option("--jitter", type=float, metavar="HOURS", help="How far a ring's simultaneous work strays.")
@click.option("--replacement-delay", type=float, metavar="HOURS", help="Median time from a ban to the next account.")
@click.option(
    "--hand-on", type=float, metavar="SHARE", help="Share of successors that go on with the closed account's things."
)
@click.option(
    "--sweep", type=float, metavar="DAY", help="On this day of the world every ring account at work is banned."
)
@click.option("--since", type=float, metavar="DAY", help="Only what happened from this day of the world on, 0 to 60.")
@click.option("--until", type=float, metavar="DAY", help="Only what was known at the beginning of this day.")
@click.option("--force", is_flag=True, help="Replace a world that is there already.")
@talk_options
@pass_talk
def command(talk: Talk, /, folder: Path, no_templates: bool, force: bool, **figures: Any) -> None:
    """Make a world whose rings are known.

    DIR gets tables as a provider has them and, beside them, the truth about every account. Figures that are not given
    are the scenario's own.

    \b
    Example:
      hydragraph simulate world --accounts 20000 --seed 7
      hydragraph analyze world -o case
      hydragraph simulate week-7 --accounts 20000 --seed 7 --since 42 --until 49
    """
    with talk.progress() as progress:
        world = hg.simulate(folder, templates=not no_templates, force=force, progress=progress, **given(**figures))
    talk.say(f"written: {world.folder} ({', '.join(f'{count:,} {what}' for what, count in world.counts.items())})")
    for note in world.notes:
        talk.say(note)
