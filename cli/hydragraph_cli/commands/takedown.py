"""`hydragraph takedown`: what to block so that a cluster is stopped, whom that hits, and what holds it together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import hydragraph as hg
from hydragraph_cli.layout import assessment, heading, masked, section, wrap
from hydragraph_cli.options import (
    case_argument,
    cluster_argument,
    list_options,
    share,
    talk_options,
    unmasked_option,
)
from hydragraph_cli.output import View, print_parts, print_text

if TYPE_CHECKING:
    import polars as pl

PARTS = ("summary", "steps", "alone", "chokepoints")
FIRST = 20
_CARE = {
    "review": "Nobody has decided yet that this cluster is coordinated: look at `hydragraph show` first.",
    "explained": "An innocent explanation fits this cluster: there is no reason to block anything.",
}
_STEPS = {
    "step": "step", "kind": "kind", "value": "identifier", "accounts_covered": "stops", "accounts_open": "open",
    "share_of_use": "use", "collateral": "collateral",
    "elsewhere": "others", "remaining": "left", "largest_part": "largest",
}  # fmt: skip


@click.command("takedown")
@case_argument
@cluster_argument
@click.option(
    "--max-collateral",
    type=click.IntRange(0),
    metavar="N",
    help="Block nothing that more than N accounts outside use; as the case was made otherwise.",
)
@click.option(
    "--max-share",
    callback=share,
    metavar="SHARE",
    help="Accounts outside that all steps may hit, as a share of the members; as the case was made otherwise.",
)
@unmasked_option
@list_options(*PARTS)
@talk_options
def command(
    case: Path, cluster: str, max_collateral: int | None, max_share: float | None, unmasked: bool, view: View
) -> None:
    """Plan what to block so that a cluster is stopped.

    CLUSTER is its id or the beginning of it. Each step is an identifier to block: the members it stops that no earlier
    step does, those of them that are not closed (open), how much of their use of such identifiers went through it, the
    accounts outside that it hits (collateral), those in other coordinated clusters (others, no collateral), the members
    left, and the largest part of these that still hangs together.

    \b
    Example:
      hydragraph takedown case c-5f2a91
      hydragraph takedown case c-5f2a91 --max-collateral 0 --unmasked --format csv
    """
    found = hg.open_case(case).cluster(cluster)
    plan = found.plan(max_collateral=max_collateral, max_share=max_share)
    hide = (lambda frame: frame) if unmasked else masked
    parts: dict[str, pl.DataFrame | Mapping[str, Any] | None] = {
        "summary": _summary(found, plan, unmasked),
        "steps": hide(plan.steps),
        "alone": _alone(found, plan),
        "chokepoints": hide(found.chokepoints.identifiers),
    }
    if not view.for_people:
        print_parts(parts, "steps", view)
    else:
        print_text(*_page(found, parts, view.limit_or(FIRST)))


def _alone(found: hg.Cluster, plan: Any) -> pl.DataFrame:
    """The accounts that no step stops, those still open first."""
    members = found.accounts.select("account_id", "last_seen", "closed_at", "close_reason")
    left = members.filter(members["account_id"].is_in(plan.alone.implode()))
    return left.sort(left["closed_at"].is_not_null(), "account_id")


def _summary(found: hg.Cluster, plan: Any, unmasked: bool) -> dict[str, Any]:
    from hydragraph.identifiers import mask_value

    return {
        "cluster_id": found.id,
        "assessment": found.assessment,
        "accounts": found.row["size"],
        "steps": plan.steps.height,
        "stopped": found.row["size"] - len(plan.alone),
        "alone": len(plan.alone),
        "collateral": plan.collateral,
        "cost": plan.cost,
        "least": plan.least,
        "bound": plan.bound,
        "plan": plan.sentence,
        "chokepoint": found.chokepoints.sentence((lambda kind, value: value) if unmasked else mask_value),
    }


def _page(found: hg.Cluster, parts: Mapping[str, Any], limit: int) -> list[str]:
    summary, steps = parts["summary"], parts["steps"].select(*_STEPS).rename(_STEPS)
    care = _CARE.get(found.assessment)
    return [
        f"{heading(found.id)}  {assessment(found.assessment)}\n{wrap(summary['plan'], '  ')}",
        wrap(care, "  ") if care else "",
        section("Steps", steps, limit),
        section("Accounts to close one by one", parts["alone"], limit) if summary["alone"] else "",
        f"{heading('What holds it together')}\n{wrap(summary['chokepoint'], '  ')}",
    ]
