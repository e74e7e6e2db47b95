"""`hydragraph expand`: who else, from accounts that are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import hydragraph as hg
from hydragraph_cli.layout import heading, masked, section, shown, wrap
from hydragraph_cli.options import case_argument, list_options, stdin_text, talk_options, unmasked_option, utf8
from hydragraph_cli.output import View, print_parts, print_text

if TYPE_CHECKING:
    import polars as pl

PARTS = ("summary", "suggestions", "paths", "known")
FIRST = 20
_SUGGESTED = {
    "account_id": "account", "score": "of the walk", "cluster_id": "cluster", "assessment": "assessment",
    "closed_at": "closed", "steps": "steps", "bits": "bits",
}  # fmt: skip


def _accounts(ctx: click.Context, param: click.Parameter, given: Sequence[str]) -> list[str]:
    """The ids given; `-` stands for those on stdin, one a line."""

    def read() -> Iterator[str]:
        for word in given:
            if word != "-":
                yield utf8(word)
                continue
            yield from (line.strip() for line in stdin_text().split("\n") if line.strip())

    found = list(dict.fromkeys(read()))
    if not found:
        raise click.BadParameter("no account on stdin; give at least one, one a line")
    return found


@click.command("expand")
@case_argument
@click.argument("accounts", metavar="ACCOUNT...", nargs=-1, required=True, callback=_accounts)
@unmasked_option
@list_options(*PARTS)
@talk_options
def command(case: Path, accounts: list[str], unmasked: bool, view: View) -> None:
    """Suggest who else, from accounts that are known.

    ACCOUNT is an id, or - for ids on stdin, one a line. A walk from the known accounts over the identifiers they share
    says who is near (personalised PageRank), and each suggestion comes with its strongest path from a known account. Only
    accounts in clusters can be suggested. The nearest 20 are listed; --limit gives another number, --limit 0 all.

    \b
    Example:
      hydragraph expand case acct-0042 acct-0077
      hydragraph expand case - --format csv < banned.txt
    """
    found = hg.open_case(case).expand(accounts, count=view.limit_or(FIRST) or None)
    parts: dict[str, pl.DataFrame | Mapping[str, Any] | None] = {
        "summary": {
            "known": found.seeds.height,
            "used": int(found.seeds["used"].sum()),
            "reached": found.found,
            "listed": found.accounts.height,
            "answer": found.sentence,
        },
        "suggestions": found.accounts,
        "paths": found.paths if unmasked else masked(found.paths),
        "known": found.seeds,
    }
    if not view.for_people:
        print_parts(
            parts, "suggestions", replace(view, limit=None)
        )  # --limit counts suggestions: their paths stay whole
    else:
        print_text(*_page(parts))


def _page(parts: Mapping[str, Any]) -> list[str]:
    import polars as pl

    suggested = parts["suggestions"].select(*_SUGGESTED).rename(_SUGGESTED)
    silent = parts["known"].filter(~pl.col("used")).select("account_id", "cluster_id")
    blocks = [wrap(parts["summary"]["answer"]), section("Suggestions", suggested, 0)]
    if silent.height:
        blocks.append(section("Known accounts that lead nowhere", silent, FIRST))
    if suggested.height:
        ways = [_way(rows) for _, rows in parts["paths"].group_by("account_id", maintain_order=True)]
        blocks.append("\n".join([heading("The path to each"), *ways]))
    return blocks


def _way(rows: pl.DataFrame) -> str:
    """One path on a line: from, by which identifier, to, by which identifier, to."""
    first, *_ = rows["from_account"].to_list()
    way = [shown(first)]
    for row in rows.iter_rows(named=True):
        way.append(f"-- {shown(row['kind'])} {shown(row['value'])} ({shown(row['bits'], 'bits')} bits) --")
        way.append(shown(row["to_account"]))
    return wrap(" ".join(way), "  ")
