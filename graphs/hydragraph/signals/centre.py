"""Whether one thing stands behind all members, or a mesh of many."""

from __future__ import annotations

import numpy as np

from hydragraph.signals.signal import Measured, Signal
from hydragraph.signals.view import View


def _centre(view: View) -> Measured | None:
    """Share of each cluster's members who use its most common identifier, or name its most common organisation.

    Identifiers worth no bits, and templates, are no centre. Baseline: the same over all accounts, as if they were one
    cluster.
    """
    use = view.use
    if not len(use.cluster):
        return None
    counts = view.evidence.bits > 0
    template = view.kind("template")
    if template is not None:
        counts &= view.graph.kind_code != template
    anchors = counts[use.identifier]
    most = np.zeros(view.count)
    np.maximum.at(most, use.cluster[anchors], use.inside[anchors])
    org = view.graph.accounts["org_id"].rank("dense").fill_null(0).to_numpy().astype(np.int64)
    label = view.clusters.label
    known = (label >= 0) & (org > 0)
    pair, number = np.unique(label[known] * (int(org.max(initial=0)) + 1) + org[known], return_counts=True)
    np.maximum.at(most, pair // (int(org.max(initial=0)) + 1), number)
    return Measured(
        most / np.maximum(view.size, 1), float(view.graph.degree[counts].max(initial=0)) / max(len(label), 1)
    )


CENTRE = Signal(
    name="centre",
    title="Centre",
    definition="Share of the members who use the cluster's most common identifier, of whatever kind.",
    suggests=(
        "The one thing that most of them have in common covers {value} of the members; the widest identifier of the"
        " source serves {baseline} of all accounts."
    ),
    look_alike="A family, firm, agency or carrier has one place, payer or name; a chain of friends need not.",
    measure=_centre,
)
