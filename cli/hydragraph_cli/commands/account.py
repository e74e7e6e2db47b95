"""`hydragraph account`: one account, its cluster and what ties it there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import hydragraph as hg
from hydragraph_cli.layout import assessment, heading, masked, section, shown, wrap
from hydragraph_cli.options import case_argument, list_options, talk_options, text_argument, unmasked_option
from hydragraph_cli.output import View, print_parts, print_text

if TYPE_CHECKING:
    import polars as pl

PARTS = ("account", "cluster", "ties", "links")
FIRST = 20


@click.command("account")
@case_argument
@click.argument("account", callback=text_argument)
@unmasked_option
@list_options(*PARTS)
@talk_options
def command(case: Path, account: str, unmasked: bool, view: View) -> None:
    """Show one account, its cluster and what ties it there.

    Printed for people, long lists are cut to 20 rows; --limit 0 prints all. An id that begins with a hyphen goes
    after `--`.

    \b
    Example:
      hydragraph account case acct-0042
      hydragraph account case acct-0042 --part ties --format json
    """
    import polars as pl

    found = hg.open_case(case).account(account)
    cluster = found.cluster
    shared_first = (pl.col("accounts") > 1, "bits", "kind", "value")
    links = found.links.sort(*shared_first, descending=[True, True, False, False], nulls_last=True)
    parts: dict[str, pl.DataFrame | Mapping[str, Any] | None] = {
        "account": found.row,
        "cluster": cluster.row if cluster else None,
        "ties": found.ties,
        "links": links if unmasked else masked(links),
    }
    if not view.for_people:
        print_parts(parts, "links", view)
    else:
        limit = view.limit_or(FIRST)
        print_text(*_page(found.row, cluster.row if cluster else None, parts, limit))


def _page(row: Mapping[str, Any], cluster: Mapping[str, Any] | None, parts: Mapping[str, Any], limit: int) -> list[str]:
    facts = {
        "opened": shown(row["created_at"]),
        "closed": shown(row["closed_at"]) + (f" ({shown(row['close_reason'])})" if row["close_reason"] else ""),
        "seen": f"{shown(row['first_seen'])} to {shown(row['last_seen'])}",
        "use": f"{shown(row['events'])} requests, {shown(row['tokens'])} tokens",
    }
    head = f"{heading(row['account_id'])}\n" + "\n".join(f"  {name:<8}  {fact}" for name, fact in facts.items())
    if cluster is None:
        return [head, "In no cluster: nothing ties this account to others strongly enough."]
    membership = f"{shown(row['membership'])}, {shown(row['bits'], 'bits')} bits"
    return [
        head,
        f"{heading('Cluster')} {heading(cluster['cluster_id'])}  {assessment(cluster['assessment'])} ({membership})\n"
        f"{wrap(cluster['explanation'] or '', '  ')}",
        section("Ties", parts["ties"], limit),
        section("Identifiers", parts["links"].drop("account_id"), limit),
    ]
