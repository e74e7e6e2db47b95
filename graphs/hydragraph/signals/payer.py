"""Who pays: one instrument for all, or many that overlap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hydragraph.signals.signal import Measured, Signal
from hydragraph.signals.view import View


def _one_payer(view: View) -> Measured | None:
    """Share of each cluster's members with any instrument who use its most common one."""
    code = view.kind("payment")
    if code is None:
        return None
    use = view.use
    of_kind = use.kind == code
    most = np.zeros(view.count)
    np.maximum.at(most, use.cluster[of_kind], use.inside[of_kind])
    who = np.unique(use.account[of_kind])
    holders = np.bincount(view.clusters.label[who], minlength=view.count)
    return Measured(np.where(holders > 0, most / np.maximum(holders, 1), np.nan), _baseline(view))


def _baseline(view: View) -> float:
    degree = view.graph.degree[view.graph.kind_code == view.kind("payment")]
    return float(degree.max(initial=0)) / max(view.graph.accounts.height, 1)


ONE_PAYER = Signal(
    name="one_payer",
    title="One payer",
    definition="Share of members with a payment instrument who use the cluster's most common one.",
    suggests=(
        "{value} of the members pay with one and the same instrument; the most shared instrument of the "
        "source serves {baseline} of all accounts."
    ),
    look_alike="This speaks for a family, a firm or an agency; a stolen card looks the same.",
    measure=_one_payer,
)


def most_in_one_organisation(view: View) -> NDArray[np.int64]:
    """Members of each cluster that name its most common organisation, shape (clusters,)."""
    code = view.graph.accounts["org_id"].rank("dense").fill_null(0).to_numpy().astype(np.int64)
    label = view.clusters.label
    named = (label >= 0) & (code > 0)
    codes = int(code.max(initial=0)) + 1
    pair, number = np.unique(label[named] * codes + code[named], return_counts=True)
    most = np.zeros(view.count, np.int64)
    np.maximum.at(most, pair // codes, number)
    return most


def _one_organisation(view: View) -> Measured | None:
    org = view.graph.accounts["org_id"]
    if org.null_count() == org.len():
        return None
    largest = int(org.drop_nulls().value_counts()["count"].max())  # type: ignore[arg-type]
    return Measured(most_in_one_organisation(view) / np.maximum(view.size, 1), largest / len(org))


ONE_ORGANISATION = Signal(
    name="one_organisation",
    title="One organisation",
    definition="Share of members that name the same organisation as their own.",
    suggests=(
        "{value} of the members name the same organisation; the largest of the source holds {baseline} of all accounts."
    ),
    look_alike="This speaks for a firm; the name is the accounts' own word and proves nothing.",
    measure=_one_organisation,
)
