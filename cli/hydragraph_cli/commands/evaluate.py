"""`hydragraph evaluate`: how good a case is, held against labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import hydragraph as hg
from hydragraph_cli.layout import heading, section, table, wrap
from hydragraph_cli.options import FOLDER, case_argument, given, list_options, pass_talk, stdin_text, talk_options
from hydragraph_cli.output import View, emit, json_text, print_parts, print_text
from hydragraph_cli.talk import Talk

if TYPE_CHECKING:
    import polars as pl

PARTS = ("headline", "counts", "tactics", "innocents", "rings", "ranks", "curve", "reliability")
FIRST = 20
_PAGE = {
    "tactics": ("Recall by tactic", ("tactic", "accounts", "recall", "low", "high", "rings", "rings_found")),
    "innocents": (
        "Innocent accounts, by kind of group",
        ("group_kind", "accounts", "coordinated", "review", "groups", "groups_accused"),
    ),
}


@click.command("evaluate")
@case_argument
@click.argument("truth", type=FOLDER)
@click.option("--positive", metavar="NAMES", help="Names in the column label that mean coordinated, comma separated.")
@click.option("--complete", is_flag=True, default=None, help="An empty parent means none, not unknown, as in a world.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Start of the random numbers of the intervals.")
@click.option("--resamples", type=int, metavar="N", help="Draws for the bootstrap, at least 20; 0: none.")
@click.option(
    "-o", "--figures", "out", type=click.Path(path_type=Path), metavar="DIR",
    help="Write evaluation.json and figures into this folder.",
)  # fmt: skip
@list_options(*PARTS)
@talk_options
@pass_talk
def command(
    talk: Talk, /, case: Path, truth: Path, positive: str | None, out: Path | None, view: View, **more: Any
) -> None:
    """Measure a case against labels.

    TRUTH is a table with account_id and label (1/0, true/false, or names with --positive), and if known cluster,
    tactic, group, group_kind, parent; or the folder of a world made by `simulate`; or - for such a table on stdin, as
    CSV or NDJSON. An account without a label is not taken as innocent: figures are over labelled accounts only. Low and
    high bound the 95% interval, over rings and clusters; "-" is a figure that the labels cannot tell.

    An empty parent means not known, but in a world, or with --complete, that the account replaced none.

    \b
    What the figures are (of: which accounts or clusters they are over):
      precision            accused accounts that are coordinated
      recall               coordinated accounts that are accused
      f1                   harmonic mean of the two
      false_positive_rate  innocent accounts that are accused
      clusters_right       accused clusters, at least half coordinated
      rings_found          rings of which one cluster holds half
      rings_whole          rings of which one cluster holds 90%
      rings_split          rings of which two clusters hold 10% each
      rings_merged         rings that share a cluster with another ring
      innocent_groups_accused  households, offices, ... with accused members
      roc_auc              chance that a ring account outranks an innocent one
      average_precision    mean precision down the list by score
      pairwise_...         pairs of accounts in one cluster and in one ring
      b_cubed_...          the same, averaged over accounts
      lineage_precision    named parents that are right
      lineage_recall       children in the data whose parent is named right
      lineage_same_ring    named pairs within one ring
      lineage_singled_out  closed accounts singled out by own things, rightly
      lineage_identifiable children whose own things tell the parent
      lineage_identifiable_recall  those of them whose parent is named right

    \b
    Example:
      hydragraph evaluate case world/truth.parquet
      hydragraph evaluate case reviewed.csv --positive reseller,proxy -o quality
      hydragraph evaluate case - < reviewed.csv
    """
    names = None if positive is None else [name for name in positive.split(",") if name.strip()]
    if names == []:
        raise click.BadParameter("name at least one label", param_hint="--positive")
    with _named(truth) as labels:
        found = hg.evaluate(hg.open_case(case), labels, positive=names, **given(**more))
    if out is not None:
        for written in found.write(out):
            talk.say(f"written: {written}")
    if view.for_people:
        print_text(*_page(found, view.limit_or(FIRST)))
    elif view.format == "json" and view.part is None and view.columns is None and view.limit is None:
        emit(json_text(found.to_dict(), indent=2) + "\n", encoding="utf-8")
    else:
        print_parts({"counts": found.counts, **found.tables}, "headline", view)
    for note in found.notes:
        talk.say(note)


@contextmanager
def _named(truth: Path) -> Iterator[Path]:
    """`truth`; for - a file with what stands on stdin, as long as it is needed."""
    if str(truth) != "-":
        yield truth
        return
    from hydragraph.unfinished import Temporary

    with closing(Temporary()) as folder:
        labels = stdin_text()
        path = folder.path / f"labels.{'ndjson' if labels.lstrip().startswith('{') else 'csv'}"
        path.write_text(labels, "utf-8", newline="")
        yield path


def _page(found: hg.Evaluation, limit: int) -> list[str]:
    counts = found.counts
    labels = (
        f"{counts['labelled']:,} of {counts['accounts_in_case']:,} accounts have a label:"
        f" {counts['labelled_coordinated']:,} coordinated, {counts['labelled_innocent']:,} innocent."
    )
    listed = [
        section(title, frame.select(columns), limit)
        for name, (title, columns) in _PAGE.items()
        if not (frame := _said(found.tables[name])).is_empty()
    ]
    return [f"{heading('Labels')}\n{wrap(labels, '  ')}", f"{heading('Quality')}\n{table(found.headline)}", *listed]


def _said(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows that name a tactic or a kind of group."""
    return frame.filter(frame[frame.columns[0]].is_not_null())
