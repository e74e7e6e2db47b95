"""`hydragraph diff`: what became of the clusters of one case in a later one."""

from __future__ import annotations

from pathlib import Path

import click

import hydragraph as hg
from hydragraph_cli.layout import section, wrap
from hydragraph_cli.options import FOLDER, OneOf, list_options, talk_options
from hydragraph_cli.output import View, print_parts, print_text

PARTS = ("changes", "summary")
FIRST = 20
_COLUMNS = {
    "event": "event", "cluster_id": "cluster", "previous_id": "before", "accounts_before": "accounts before",
    "accounts_after": "now", "common": "common", "assessment": "assessment", "previous_assessment": "assessment before",
}  # fmt: skip
_DECIDED = {"review_state": "decided", "previous_review_state": "decided before"}


@click.command("diff")
@click.argument("old", type=FOLDER)
@click.argument("new", type=FOLDER)
@click.option(
    "--event",
    "wanted",
    multiple=True,
    type=OneOf("hydragraph.schema", "EVENTS"),
    metavar="WORD",
    help="Only appeared, grew, shrank, merged, split, gone or kept; may be repeated. Otherwise all but what is kept and"
    " judged as before.",
)
@list_options(*PARTS)
@talk_options
def command(old: Path, new: Path, wanted: tuple[str, ...], view: View) -> None:
    """Show what changed between two cases.

    Clusters are told apart by their members, whatever their ids are. One with as many accounts as before is listed when its
    assessment changed, or what a person decided about it. Printed for people, the list is cut to 20 rows;
    --limit 0 prints all.

    \b
    Example:
      hydragraph diff case-may case-june
      hydragraph diff case-may case-june --event appeared --format csv
    """
    import polars as pl

    found = hg.diff(_opened(old, "OLD"), _opened(new, "NEW"))
    changes = found.changes.filter(pl.col("event").is_in(wanted)) if wanted else found.changed
    if not view.for_people:
        print_parts({"changes": changes, "summary": {**found.counts, "said": found.sentence}}, "changes", view)
    else:
        now, before = (changes[name].fill_null("unreviewed") for name in _DECIDED)
        titles = _COLUMNS | (_DECIDED if (now != before).any() else {})
        shown = changes.select(*titles).rename(titles)
        print_text(wrap(found.sentence), section("Changes", shown, view.limit_or(FIRST)) if changes.height else "")


def _opened(folder: Path, which: str) -> hg.Case:
    try:
        return hg.open_case(folder)
    except hg.NotACase as error:
        raise hg.NotACase(f"{which}: {error}") from None
