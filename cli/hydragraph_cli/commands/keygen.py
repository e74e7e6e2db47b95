"""`hydragraph keygen`: a new key for pseudonyms."""

from __future__ import annotations

from pathlib import Path

import click

import hydragraph as hg
from hydragraph_cli.options import FOLDER, pass_talk, talk_options
from hydragraph_cli.talk import Talk


@click.command("keygen")
@click.argument("file", type=FOLDER)
@talk_options
@pass_talk
def command(talk: Talk, file: Path) -> None:
    """Make a key for pseudonyms.

    It is random, and only you can read FILE. Keep it apart from the cases: who has the key and the tables can tell who is
    meant. Without it nobody can, and no later case has the same pseudonyms. A file that is there is never replaced.

    \b
    Example:
      hydragraph keygen pseudonyms.key
      hydragraph analyze exports/ -o case --pseudonymise pseudonyms.key
    """
    talk.say(f"key {hg.make_key(file).id} written; keep it apart from the cases")
