"""What the document says about real tables."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import polars as pl

import hydragraph as hg
from hydragraph.schema import ASSESSMENTS
from quality_words import BOTH, hits, markdown, with_interval

TRUTH = "truth.csv"
_LEADS = 3


def real_section(folder: Path | None) -> str:
    """The section about the sources in the folder, one a sub-folder, with `truth.csv` in it where it has labels (account_id,
    label, and cluster_id for accounts that belong together); empty without a folder."""
    if folder is None:
        return ""
    rows, said = [], []
    for source in sorted(path for path in folder.iterdir() if path.is_dir()):
        with tempfile.TemporaryDirectory() as out:
            try:
                case = hg.analyze(source, Path(out) / "case")
            except hg.HydragraphError as error:
                said += [f"{source.name}: refused. {error}", ""]
                continue
            found = hg.evaluate(case, source / TRUTH) if (source / TRUTH).exists() else None
            rows.append(_row(source.name, case, found))
            said += _leads(source.name, case)
    return "\n".join(
        [
            "## Real tables",
            "",
            "Sources that somebody else collected, which are not part of this repository; any folder of them can be named"
            " with `make bench-quality REAL=FOLDER`. Pairs of accounts are those in one cluster, of any assessment.",
            "",
            markdown(_HEAD, rows),
            "",
            *said,
        ]
    )


_HEAD = ["source", "accounts", *ASSESSMENTS, "accounts in the first two", "of these labelled", "pairwise precision",
         "pairs", "pairwise recall", "B-cubed precision", "B-cubed recall"]  # fmt: skip


def _row(name: str, case: hg.Case, found: hg.Evaluation | None) -> list[str]:
    number = dict(case.clusters.group_by("assessment").len().iter_rows())
    led = case.clusters.filter(pl.col("assessment") != "explained")["size"].sum()
    row = [name, f"{case.accounts.height:,}", *(f"{number.get(a, 0):,}" for a in ASSESSMENTS), f"{led:,}"]
    if found is None:
        return [*row, *["-"] * (len(_HEAD) - len(row))]
    of = "all labelled"
    row += [hits(found, "precision", BOTH), with_interval(found, "pairwise_precision", of)]
    row.append(hits(found, "pairwise_precision", of))
    return row + [with_interval(found, m, of) for m in ("pairwise_recall", "b_cubed_precision", "b_cubed_recall")]


def _leads(name: str, case: hg.Case) -> list[str]:
    """The strongest leads, in the words of the case."""
    first: list[dict[str, Any]] = case.clusters.filter(pl.col("assessment") != "explained").head(_LEADS).to_dicts()
    if not first:
        return [f"{name}: no lead.", ""]
    return [f"{name}, the strongest leads:", "", *(f"- {r['explanation']} ({r['bits']:.1f} bits)" for r in first), ""]
