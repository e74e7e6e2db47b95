"""`hydragraph reveal`: what the pseudonyms of a case stand for."""

from __future__ import annotations

from pathlib import Path

import click

import hydragraph as hg
from hydragraph_cli.options import (
    FOLDER,
    ClusterId,
    case_argument,
    list_options,
    out_option,
    pass_talk,
    talk_options,
)
from hydragraph_cli.output import View, print_frame
from hydragraph_cli.talk import Talk


@click.command("reveal")
@case_argument
@click.argument("source", type=FOLDER, nargs=-1)
@click.option("--key", "key", type=FOLDER, metavar="KEYFILE", required=True, help="The key of the case, or env:NAME.")
@click.option("--mapping", type=FOLDER, help="TOML file that says which file and column means what.")
@click.option(
    "--cluster", "clusters", multiple=True, type=ClusterId(), metavar="ID", help="This cluster only; may be repeated."
)
@click.option("--only", multiple=True, metavar="PSEUDONYM", help="This pseudonym only; may be repeated.")
@out_option
@list_options()
@talk_options
@pass_talk
def command(
    talk: Talk,
    case: Path,
    source: tuple[Path, ...],
    key: Path,
    mapping: Path | None,
    clusters: tuple[str, ...],
    only: tuple[str, ...],
    view: View,
) -> None:
    """Say what the pseudonyms of a case stand for.

    SOURCE is what the case was made of: a hash cannot be turned round, so the tables are read again and hashed with the
    key. Listed are kind (account for account ids), pseudonym and value.

    \b
    Example:
      hydragraph reveal case exports/ --key pseudonyms.key --cluster c-5f2a91
      hydragraph reveal case exports/ --key pseudonyms.key --format csv -o who.csv
    """
    if not source and mapping is None:
        raise click.MissingParameter(param_hint="'SOURCE...'", param_type="argument")
    with talk.progress() as progress:
        found = hg.reveal(
            case, source[0] if len(source) == 1 else source, key, mapping=mapping, clusters=clusters, only=only,
            progress=progress,
        )  # fmt: skip
    talk.say(f"{found.height:,} pseudonyms revealed")
    print_frame(found, view)
