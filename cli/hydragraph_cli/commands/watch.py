"""`hydragraph watch`: which new accounts attach to the clusters of a case, and which closed members have a successor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import hydragraph as hg
from hydragraph_cli.layout import heading, masked, section, shown, table, wrap
from hydragraph_cli.options import (
    FOLDER,
    ClusterId,
    assessment_option,
    case_argument,
    list_options,
    out_option,
    pass_talk,
    pseudonymise_option,
    share,
    talk_options,
    unmasked_option,
)
from hydragraph_cli.output import View, print_parts, print_text
from hydragraph_cli.talk import Talk

if TYPE_CHECKING:
    import polars as pl

PARTS = ("summary", "attached", "identifiers", "regrown")
FIRST = 20
NAMED = 3
"""Identifiers named under an account; --part identifiers has all."""
_ATTACHED = {
    "account_id": "account", "cluster_id": "cluster", "assessment": "assessment", "bits": "bits",
    "first_seen": "first seen",
}  # fmt: skip
_REGROWN = {
    "parent": "closed", "child": "successor", "cluster_id": "cluster", "hours": "hours", "probability": "probability",
    "survived": "both use",
}  # fmt: skip


@click.command("watch")
@case_argument
@click.argument("source", type=FOLDER, nargs=-1, required=True)
@click.option("--mapping", type=FOLDER, help="TOML file that says which file and column means what.")
@click.option(
    "--max-rejects",
    callback=share,
    metavar="SHARE",
    help="Largest share of a table's rows that may be unreadable; as the case was made otherwise.",
)
@assessment_option("Watch clusters assessed so; may be repeated. Otherwise coordinated and review, and confirmed ones.")
@click.option(
    "--cluster",
    "clusters",
    multiple=True,
    type=ClusterId(),
    metavar="ID",
    help="Watch this cluster only, however it is assessed; may be repeated.",
)
@pseudonymise_option
@unmasked_option
@out_option
@list_options(*PARTS)
@talk_options
@pass_talk
def command(
    talk: Talk,
    case: Path,
    source: tuple[Path, ...],
    mapping: Path | None,
    max_rejects: float | None,
    wanted: tuple[str, ...],
    clusters: tuple[str, ...],
    pseudonymise: Path | None,
    unmasked: bool,
    view: View,
) -> None:
    """Say which new accounts attach to the clusters of a case.

    SOURCE is a folder, or files, with the tables of what has come since the case was made, not of the whole history. Listed
    are accounts that join a known cluster by the rules of an analysis, what speaks for each, and closed members whose
    successor is among them. Much quicker than an analysis; new clusters are for the next one. Nothing is written to the
    case.

    \b
    Example:
      hydragraph watch case exports/today
      hydragraph watch case exports/today --cluster c-5f2a91
      hydragraph watch case exports/today --format csv -o attached.csv
    """  # fmt: skip
    opened = hg.open_case(case)
    with talk.progress() as progress:
        found = hg.watch(
            opened, source, mapping=mapping, settings=opened.settings.with_(max_rejects=max_rejects), progress=progress,
            clusters=clusters, pseudonymise=pseudonymise, **({"assessments": wanted} if wanted else {}),
        )  # fmt: skip
    for note in found.notes:
        talk.say(note)
    parts: dict[str, pl.DataFrame | Mapping[str, Any] | None] = {
        "summary": {**found.counts, "said": found.sentence},
        "attached": found.attached,
        "identifiers": found.identifiers if unmasked else masked(found.identifiers),
        "regrown": found.regrown,
    }
    if not view.for_people:
        print_parts(parts, "attached", view)
    else:
        print_text(*_page(parts, view.limit_or(FIRST)))


def _page(parts: Mapping[str, Any], limit: int) -> list[str]:
    import polars as pl

    attached, regrown = parts["attached"], parts["regrown"]
    blocks = [wrap(parts["summary"]["said"])]
    if attached.height:
        rows = attached.sort("bits", "account_id", descending=[True, False]).head(limit or None)
        cut = f", the first {rows.height:,}" if rows.height < attached.height else ""
        listed = rows.select(*_ATTACHED, why=_why(rows, parts["identifiers"]))
        title = f"{heading('Accounts that attach')} ({attached.height:,}{cut})"
        blocks.append(f"{title}\n{table(listed, titles=_ATTACHED, below='why')}")
    if regrown.height:
        by_time = regrown.with_columns(hours=pl.col("gap_seconds") / 3600).select(*_REGROWN).rename(_REGROWN)
        blocks.append(section("Closed accounts with a successor", by_time, limit))
    return blocks


def _why(rows: pl.DataFrame, identifiers: pl.DataFrame) -> pl.Series:
    """Why each of `rows` attaches, with the identifiers that are worth most."""
    import polars as pl

    best: dict[str, list[str]] = {}
    first = identifiers.filter(pl.col("account_id").is_in(rows["account_id"].implode()))
    for row in first.group_by("account_id", maintain_order=True).head(NAMED).iter_rows(named=True):
        named = f"{row['kind']} {shown(row['value'])} ({shown(row['bits'], 'bits')} bits)"
        best.setdefault(row["account_id"], []).append(named)
    said = rows.select("account_id", "because").iter_rows()
    return pl.Series(
        [f"{because or ''}: {', '.join(best.get(account, []))}" for account, because in said], dtype=pl.String
    )
