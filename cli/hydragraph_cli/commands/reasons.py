"""`hydragraph reasons`: the draft of a statement of reasons for one account."""

from __future__ import annotations

from pathlib import Path

import click

import hydragraph as hg
from hydragraph_cli.options import FOLDER, case_argument, out_option, talk_options, text_argument
from hydragraph_cli.output import emit


@click.command("reasons")
@case_argument
@click.argument("account", callback=text_argument)
@click.option(
    "--blanks", type=FOLDER, metavar="FILE", help="TOML file with ground, scope, reviewer and redress, as text."
)
@click.option("--final", is_flag=True, help="Without the marks of a draft; refused while a blank is empty.")
@out_option
@talk_options
def command(case: Path, account: str, blanks: Path | None, final: bool) -> None:
    """Draft a statement of reasons for an account.

    Markdown for the holder of ACCOUNT: the facts, the identifiers it shares with others (masked), what speaks against the
    finding, what was automated, and what only a person can fill in. No other account is named.

    \b
    Example:
      hydragraph reasons case acct-0042
      hydragraph reasons case acct-0042 --blanks blanks.toml --final -o reasons.md
    """
    from hydragraph.report.reasons import read_blanks

    filled = None if blanks is None else read_blanks(blanks)
    emit(hg.statement_of_reasons(hg.open_case(case), account, filled, final=final), encoding="utf-8")
