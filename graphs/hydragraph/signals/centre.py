"""Whether one thing stands behind all members, or a mesh of many."""

from __future__ import annotations

import numpy as np

from hydragraph.signals.payer import most_in_one_organisation
from hydragraph.signals.signal import Measured, Signal
from hydragraph.signals.view import View


def _centre(view: View) -> Measured | None:
    """Share of each cluster's members who use its most common identifier, or name its most common organisation.

    Identifiers worth no bits, and templates, are no centre. NaN where no member has an identifier that could be one, or
    names an organisation. Baseline: the widest such identifier over all accounts.
    """
    use = view.use
    able = view.evidence.bits > 0
    template = view.kind("template")
    if template is not None:
        able &= view.graph.kind_code != template
    counts = able[use.identifier]
    most = np.zeros(view.count)
    np.maximum.at(most, use.cluster[counts], use.inside[counts])
    most = np.maximum(most, most_in_one_organisation(view))
    if not most.any():
        return None
    widest = float(view.graph.degree[able].max(initial=0)) / view.graph.accounts.height
    return Measured(np.where(most > 0, most / np.maximum(view.size, 1), np.nan), widest)


CENTRE = Signal(
    name="centre",
    title="Centre",
    definition=(
        "Share of the members who use the cluster's most common identifier, of any kind but request templates, or name its"
        " most common organisation, whichever is more."
    ),
    suggests=(
        "The most common identifier or organisation among them covers {value} of the members; the widest identifier of the"
        " source serves {baseline} of all accounts."
    ),
    look_alike=(
        "High, it speaks for a family, firm, agency or carrier with one place, payer or name; low, a chain of friends looks"
        " the same."
    ),
    measure=_centre,
)
