"""`hydragraph lineage`: who replaced whom after closings, how soon, and with which identifiers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import hydragraph as hg
from hydragraph_cli.layout import assessment, heading, masked, section, wrap
from hydragraph_cli.options import (
    ClusterId,
    assessment_option,
    case_argument,
    list_options,
    talk_options,
    unmasked_option,
)
from hydragraph_cli.output import View, print_parts, print_text

if TYPE_CHECKING:
    import polars as pl

PARTS = ("summary", "clusters", "replacements", "waves", "survivors", "kinds")
FIRST = 20
_CLUSTERS = {
    "cluster_id": "cluster", "assessment": "assessment", "size": "accounts", "closed": "closed", "replaced": "replaced",
    "median": "median h",
}  # fmt: skip
_REPLACEMENTS = {
    "parent": "closed", "child": "successor", "hours": "hours", "probability": "probability", "survived": "both use",
}  # fmt: skip
_WAVES = {
    "wave": "wave", "start": "start", "end": "end", "open_before": "open before", "closed": "closed",
    "replaced": "replaced", "median": "median h", "open_after": "a week later",
}  # fmt: skip
_SURVIVORS = {"kind": "kind", "value": "identifier", "replacements": "replacements", "members": "members",
              "accounts": "accounts"}  # fmt: skip


@click.command("lineage")
@case_argument
@click.argument("cluster", required=False, type=ClusterId())
@assessment_option("Without CLUSTER: clusters assessed so; may be repeated. Otherwise coordinated and review.")
@unmasked_option
@list_options(*PARTS)
@talk_options
def command(case: Path, cluster: str | None, wanted: tuple[str, ...], unmasked: bool, view: View) -> None:
    """Show who replaced whom after closings.

    CLUSTER is its id or the beginning of it; without it all leads are looked at. A closing is one that was not the
    account holder's own will. Waves are closings at most 12 hours apart. Survivors are identifiers, mostly the
    clusters' own, that a closed account and its successor both use.

    \b
    Example:
      hydragraph lineage case
      hydragraph lineage case c-5f2a91 --part replacements --format csv
    """
    opened = hg.open_case(case)
    found = None if cluster is None else opened.cluster(cluster)
    regrown = found.regrowth if found else opened.regrowth(*([wanted] if wanted else []))
    hide = (lambda frame: frame) if unmasked else masked
    parts: dict[str, pl.DataFrame | Mapping[str, Any] | None] = {
        "summary": {**regrown.summary, "said": regrown.sentence},
        "clusters": regrown.clusters,
        "replacements": regrown.lineage,
        "waves": regrown.waves,
        "survivors": hide(regrown.survivors),
        "kinds": regrown.kinds,
    }
    if not view.for_people:
        print_parts(parts, "replacements", view)
    else:
        head = f"{heading(found.id)}  {assessment(found.assessment)}" if found else heading("Closings and regrowth")
        print_text(f"{head}\n{wrap(regrown.sentence, '  ')}", *_page(parts, found is None, view.limit_or(FIRST)))


def _page(parts: Mapping[str, Any], several: bool, limit: int) -> list[str]:
    import polars as pl

    if not parts["clusters"].height:
        return []
    survivors = section("Identifiers that survive", _titled(parts["survivors"], _SURVIVORS), limit)
    if several:
        return [section("Clusters", _titled(parts["clusters"], _CLUSTERS), limit), survivors]
    by_time = parts["replacements"].sort("probability", "parent", descending=[True, False])
    hours = by_time.with_columns(hours=pl.col("gap_seconds") / 3600)
    return [
        section("Replacements, the surest first", _titled(hours, _REPLACEMENTS), limit),
        section("Waves of closings", _titled(parts["waves"], _WAVES), limit),
        survivors,
    ]


def _titled(frame: pl.DataFrame, titles: Mapping[str, str]) -> pl.DataFrame:
    return frame.select(*titles).rename(titles)
