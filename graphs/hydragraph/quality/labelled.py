"""A case joined with the truth about its accounts: what every measure starts from."""

from __future__ import annotations

import polars as pl

from hydragraph.case import Case
from hydragraph.quality.truth import Truth

COORDINATED, LISTED = "coordinated", "coordinated+review"
"""What counts as accused: clusters assessed coordinated; or also those a person is asked to look at."""

AT = (COORDINATED, LISTED)
_RANK = {"coordinated": 2, "review": 1}


def accused(at: str) -> pl.Expr:
    """Whether an account counts as accused."""
    return pl.col("rank") >= (2 if at == COORDINATED else 1)


def listing(case: Case) -> pl.DataFrame:
    """Every account of the case: account_id, found (its cluster or null), rank (2 coordinated, 1 review, 0 neither),
    score (of its cluster, 0 outside clusters)."""
    clusters = case.clusters.select(
        "cluster_id",
        pl.col("assessment").replace_strict(_RANK, default=0, return_dtype=pl.Int8).alias("rank"),
        pl.col("score").fill_nan(None).fill_null(0.0),
    )
    return (
        case.accounts.select("account_id", "cluster_id")
        .join(clusters, on="cluster_id", how="left")
        .select("account_id", pl.col("cluster_id").alias("found"), pl.col("rank", "score").fill_null(0))
    )


def join(accounts: pl.DataFrame, truth: Truth) -> pl.DataFrame:
    """The accounts of `listing` that have a label, sorted: its columns, and positive (Boolean), ring (the true cluster
    of a coordinated account), entity (the true cluster of any account), tactic, group, group_kind, parent."""
    known = truth.frame.filter(pl.col("label").is_not_null())
    return (
        accounts.join(known, on="account_id", how="inner")
        .rename({"label": "positive", "cluster": "entity"})
        .with_columns(ring=pl.when("positive").then("entity"))
        .sort("account_id")
    )


def tally(accounts: pl.DataFrame, truth: Truth, labelled: pl.DataFrame) -> dict[str, int]:
    """How many accounts of what there are, labelled and not."""
    with_label = truth.frame.filter(pl.col("label").is_not_null())
    unlabelled = accounts.join(labelled, on="account_id", how="anti")
    counts = {
        "accounts_in_case": accounts.height,
        "labelled": labelled.height,
        "labelled_coordinated": int(labelled["positive"].sum()),
        "labelled_innocent": int((~labelled["positive"]).sum()),
        "unlabelled": unlabelled.height,
        "labels_of_unknown_accounts": with_label.height - labelled.height,
        "rows_without_label": truth.frame.height - with_label.height,
        "rows_without_account": truth.nameless,
        "rings_of_one": labelled["ring"].drop_nulls().value_counts().filter(pl.col("count") == 1).height,
    }
    for at in AT:
        name = "accused" if at == COORDINATED else "accused_or_review"
        counts[f"{name}_labelled"] = labelled.filter(accused(at)).height
        counts[f"{name}_unlabelled"] = unlabelled.filter(accused(at)).height
    return counts


def said(counts: dict[str, int], truth: Truth) -> list[str]:
    """What a reader must know about the labels before trusting a figure, a sentence each."""
    notes = []
    if counts["unlabelled"]:
        notes.append(
            f"{counts['unlabelled']:,} of {counts['accounts_in_case']:,} accounts"
            f" {'has' if counts['unlabelled'] == 1 else 'have'} no label. They are not taken as innocent: every figure is"
            " over labelled accounts only."
        )
    if counts["accused_unlabelled"]:
        every = counts["accused_unlabelled"] + counts["accused_labelled"]
        notes.append(
            f"{counts['accused_unlabelled']:,} of the {every:,} accounts in coordinated clusters"
            f" {'has' if counts['accused_unlabelled'] == 1 else 'have'} no label; whether they are right is not known."
        )
    if counts["labels_of_unknown_accounts"]:
        strangers = _some(counts["labels_of_unknown_accounts"], "label is of an account", "labels are of accounts")
        notes.append(f"{strangers} the case does not hold; left out.")
    if counts["rows_without_label"]:
        notes.append(
            f"{_some(counts['rows_without_label'], 'row of the truth has', 'rows of the truth have')} no label; left out."
        )
    if counts["rows_without_account"]:
        nameless = _some(counts["rows_without_account"], "row of the truth names", "rows of the truth name")
        notes.append(f"{nameless} no account; left out.")
    if not counts["labelled_innocent"]:
        notes.append(
            "No account of the case is labelled innocent: precision, ROC and precision at k cannot be known, and are"
            " empty."
        )
    if not counts["labelled_coordinated"]:
        notes.append("No account of the case is labelled coordinated: recall cannot be known, and is empty.")
    if counts["labelled_coordinated"] and "cluster" not in truth.given:
        notes.append("The truth names no rings (column cluster): ring, pairwise and B-cubed figures are empty.")
    if counts["rings_of_one"]:
        alone = _some(counts["rings_of_one"], "ring has", "rings have")
        notes.append(
            f"{alone} a single labelled account: left out of the shares of rings found, whole, split and merged."
        )
    return notes


def _some(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
