"""`hydragraph show`: one cluster, with everything that speaks for and against it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import hydragraph as hg
from hydragraph_cli.layout import assessment, heading, masked, section, shown, wrap
from hydragraph_cli.options import case_argument, cluster_argument, list_options, talk_options, unmasked_option
from hydragraph_cli.output import View, print_parts, print_text

if TYPE_CHECKING:
    import polars as pl

PARTS = ("cluster", "signals", "identifiers", "members", "ties", "lineage", "takedown")
FIRST = 20
_MEMBER = ("account_id", "membership", "bits", "first_seen", "closed_at")


@click.command("show")
@case_argument
@cluster_argument
@unmasked_option
@list_options(*PARTS)
@talk_options
def command(case: Path, cluster: str, unmasked: bool, view: View) -> None:
    """Show one cluster and the evidence for and against it.

    CLUSTER is its id or the beginning of it. Printed for people, long lists are cut to 20 rows; --limit 0 prints all.

    \b
    Example:
      hydragraph show case c-5f2a91
      hydragraph show case c-5f2a91 --part members --format csv
    """
    found = hg.open_case(case).cluster(cluster)
    hide = (lambda frame: frame) if unmasked else masked
    parts: dict[str, pl.DataFrame | Mapping[str, Any] | None] = {
        "cluster": found.row,
        "signals": found.signals,
        "identifiers": hide(strongest(found.identifiers)),
        "members": found.accounts.sort("bits", "account_id", descending=[True, False], nulls_last=True),
        "ties": found.ties.sort("bits", "account_a", "account_b", descending=[True, False, False]),
        "lineage": found.lineage,
        "takedown": hide(found.takedown),
    }
    if not view.for_people:
        print_parts(parts, "members", view)
    else:
        decided = found.case.decisions.filter(cluster_id=found.id)
        print_text(*_page(found.row, found.holding, parts, decided, view.limit_or(FIRST)))


def strongest(identifiers: pl.DataFrame) -> pl.DataFrame:
    """Shared identifiers by the evidence they carry: bits times the accounts held beyond the first."""
    import polars as pl

    carried = (pl.col("members") - 1) * pl.col("bits").fill_null(0)
    return identifiers.sort(carried, "kind", "value", descending=[True, False, False])


def _page(
    row: Mapping[str, Any], holding: str, parts: Mapping[str, Any], decided: pl.DataFrame, limit: int
) -> list[str]:
    facts = {
        "score": shown(row["score"], "score"),
        "accounts": "{} ({} in the core, {} closed)".format(
            *(shown(row[name]) for name in ("size", "core_size", "accounts_closed"))
        ),
        "holds to": f"{shown(row['bits'], 'bits')} bits",
        "by chance": f"{shown(row['expected_by_chance'])} clusters this strong expected",
        "look-alike": shown(row["hypothesis"]),
        "ties": _in_time(parts["ties"]),
        "seen": f"{shown(row['first_seen'])} to {shown(row['last_seen'])}",
        "use": f"{shown(row['events'])} requests, {shown(row['tokens'])} tokens",
        "review": shown(row["review_state"]),
    }
    signals = [_signal(signal) for signal in parts["signals"].iter_rows(named=True)]
    members = parts["members"]
    return [
        f"{heading(row['cluster_id'])}  {assessment(row['assessment'])}\n{wrap(row['explanation'] or '', '  ')}",
        "\n".join(f"  {name:<10}  {fact}" for name, fact in facts.items()),
        wrap(holding, "  "),
        f"{heading('Against')}\n{wrap(row['against'] or 'Nothing was found that speaks against it.', '  ')}",
        f"{heading('Signals')}\n" + ("\n".join(signals) if signals else "  none"),
        section("Strongest shared identifiers", parts["identifiers"], limit),
        section("Members", members.select(_MEMBER), limit),
        section("Decisions", decided.select("when", "who", "decision", "note"), limit) if decided.height else "",
    ]


def _in_time(ties: pl.DataFrame) -> str:
    """How many ties there are, and how many count bursts of requests that begin together."""
    timed = ties.filter(ties["synchrony_bits"] > 0)["synchrony_bits"]
    in_part = f", {shown(timed.len())} of them in part for synchrony (up to {shown(timed.max(), 'bits')} bits)"
    return shown(ties.height) + (in_part if timed.len() else "")


def _signal(row: Mapping[str, Any]) -> str:
    chance = "" if row["p_value"] is None else f", p {shown(row['p_value'])}"
    lines = [f"  {shown(row['signal'])}: {shown(row['value'])} (all accounts: {shown(row['baseline'])}{chance})"]
    if row["suggests"]:
        lines.append(wrap(row["suggests"], "    "))
    if row["look_alike"]:
        lines.append(wrap(f"Looks the same: {row['look_alike']}", "    "))
    return "\n".join(lines)
