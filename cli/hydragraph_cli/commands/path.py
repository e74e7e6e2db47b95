"""`hydragraph path`: why two accounts are tied, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import hydragraph as hg
from hydragraph_cli.layout import heading, masked, section, shown, wrap
from hydragraph_cli.options import case_argument, list_options, talk_options, text_argument, unmasked_option
from hydragraph_cli.output import View, print_parts, print_text

if TYPE_CHECKING:
    import polars as pl

PARTS = ("summary", "paths", "steps")
FIRST = 20
_STEPS = {
    "from_account": "from", "kind": "kind", "value": "identifier", "bits": "bits", "accounts": "users",
    "to_account": "to", "synchrony_bits": "synchrony",
}  # fmt: skip


@click.command("path")
@case_argument
@click.argument("account_a", metavar="A", callback=text_argument)
@click.argument("account_b", metavar="B", callback=text_argument)
@click.option(
    "--alternatives",
    type=click.IntRange(0),
    default=2,
    show_default=True,
    metavar="N",
    help="Other paths to look for, none over an identifier of those before.",
)
@unmasked_option
@list_options(*PARTS)
@talk_options
def command(case: Path, account_a: str, account_b: str, alternatives: int, unmasked: bool, view: View) -> None:
    """Show why two accounts are tied: the strongest evidence path.

    Each step leads from an account over an identifier to another account. The strongest path is the one whose weakest
    step is worth most. Synchrony: bits that beginning at the same moments adds to the tie of a step's two accounts. That
    there is no path is an answer, too. An id that begins with a hyphen goes after `--`.

    \b
    Example:
      hydragraph path case acct-0042 acct-0077
      hydragraph path case acct-0042 acct-0077 --alternatives 0 --format json
    """
    if account_a == account_b:
        raise click.UsageError("A and B are the same account; name two")
    found = hg.open_case(case).evidence_path(account_a, account_b, alternatives=alternatives)
    parts: dict[str, pl.DataFrame | Mapping[str, Any] | None] = {
        "summary": {
            "account_a": found.a,
            "account_b": found.b,
            "cluster_a": found.clusters[0],
            "cluster_b": found.clusters[1],
            "paths": found.summary.height,
            "bits": found.summary["bits"].max(),
            "tie_bits": found.tie and found.tie[0],
            "synchrony_bits": found.tie and found.tie[1],
            "answer": found.sentence,
        },
        "paths": found.summary,
        "steps": found.steps if unmasked else masked(found.steps),
    }
    if not view.for_people:
        print_parts(parts, "steps", view)
    else:
        print_text(*_page(parts, view.limit_or(FIRST)))


def _page(parts: Mapping[str, Any], limit: int) -> list[str]:
    summary, steps = parts["summary"], parts["steps"]
    whose = [
        f"  {shown(summary[f'account_{end}'])}  {shown(summary[f'cluster_{end}'] or 'in no cluster')}" for end in "ab"
    ]
    blocks = ["\n".join([heading("From and to"), *whose]), wrap(summary["answer"])]
    for row in parts["paths"].iter_rows(named=True):
        title = f"Steps of path {row['path']}, as strong as {shown(row['bits'], 'bits')} bits"
        blocks.append(section(title, steps.filter(path=row["path"]).select(*_STEPS).rename(_STEPS), limit))
    return blocks
