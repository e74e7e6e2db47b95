"""`hydragraph report`: the report of a case again, as Markdown for tickets, or a picture of one cluster."""

from __future__ import annotations

from pathlib import Path

import click

import hydragraph as hg
from hydragraph_cli.options import FOLDER, ClusterId, case_argument, given, pass_talk, talk_options
from hydragraph_cli.output import emit, into
from hydragraph_cli.talk import Talk

PICTURES = ("png", "svg", "pdf")
ENDINGS = {"": "html", "html": "html", "htm": "html", "md": "md"} | {kind: kind for kind in PICTURES}


@click.command("report")
@case_argument
@click.option("-o", "--out", type=FOLDER, metavar="FILE", help="Write here; its ending gives the format.")
@click.option(
    "--format", "format_", type=click.Choice(("html", "md", *PICTURES)), help="Otherwise by the ending of -o; or html."
)
@click.option("--cluster", type=ClusterId(), metavar="ID", help="One cluster only; not for html.")
@click.option("--lives", is_flag=True, help="Draw the lives of accounts and who took whose place.")
@click.option("--clusters", type=click.IntRange(1), metavar="N", help="Of html: N clusters in full.")
@click.option(
    "--nodes", type=click.IntRange(10, 5000), metavar="N",
    help="Of html: at most N accounts and identifiers in a picture; 2,000 still move smoothly.",
)  # fmt: skip
@click.option("--links", type=click.IntRange(10, 50_000), metavar="N", help="Of html: at most N links in a picture.")
@talk_options
@pass_talk
def command(
    talk: Talk,
    case: Path,
    out: Path | None,
    format_: str | None,
    cluster: str | None,
    lives: bool,
    clusters: int | None,
    nodes: int | None,
    links: int | None,
) -> None:
    """Write the report again, or parts for tickets and papers.

    html is one file that opens offline; without -o it goes into the case. md is Markdown for tickets, on stdout without
    -o: the opening and the leads, or one cluster. png, svg and pdf are a picture of one cluster or, with --lives, of the
    lives of its accounts, or of all leads.

    \b
    Example:
      hydragraph report case
      hydragraph report case --format md --cluster c-5f2a91
      hydragraph report case --cluster c-5f2a91 -o ring.svg
      hydragraph report case --lives -o lives.png
      hydragraph report case --clusters 10 --nodes 2000 --links 8000 -o large.html
    """  # fmt: skip
    ending = "" if out is None else out.suffix.lower().removeprefix(".")
    if format_ is None and ending not in ENDINGS:
        raise click.UsageError(
            f"no format has the ending of -o; there are {', '.join(filter(None, ENDINGS))}; or say --format"
        )
    kind = format_ or ENDINGS[ending]
    if kind in PICTURES:
        if out is None:
            raise click.UsageError(f"a {kind} picture goes into a file: -o FILE")
        if cluster is None and not lives:
            raise click.UsageError("a picture shows one cluster: --cluster ID; or --lives for all leads")
    elif lives:
        raise click.UsageError("--lives draws a picture: -o FILE that ends in .png, .svg or .pdf")
    elif kind == "html" and cluster is not None:
        raise click.UsageError("--cluster is for md and pictures; the html report holds all leads")
    shown = given(clusters=clusters, nodes=nodes, links=links)
    if shown and kind != "html":
        raise click.UsageError(f"--{min(shown)} is for html")
    opened = hg.open_case(case)
    if kind == "html":
        talk.say(f"report: {hg.write_report(opened, out, **shown)}")
    elif kind == "md":
        with into(out):
            emit(hg.report_text(opened, cluster), encoding="utf-8")
    else:
        talk.say(f"picture: {_drawn(opened, cluster, lives, out or Path(), kind)}")


def _drawn(case: hg.Case, cluster: str | None, lives: bool, out: Path, kind: str) -> Path:
    from hydragraph.report.figures import figure_bytes
    from hydragraph.report.files import write_whole

    shown = case if cluster is None else case.cluster(cluster)
    figure = shown.plot_lives() if lives or isinstance(shown, hg.Case) else shown.plot()
    return write_whole(out, figure_bytes(figure, kind))
