"""How evenly work is spread over members."""

from __future__ import annotations

import numpy as np

from hydragraph.signals.signal import Measured, Signal
from hydragraph.signals.view import View

_LEAST = 5


def _even_load(view: View) -> Measured | None:
    """1 / (1 + variance of the natural logarithm of requests per active day), members with any request."""
    accounts = view.graph.accounts
    events = accounts["events"].to_numpy().astype(float)
    if not events.any():
        return None
    days = (accounts["last_seen"] - accounts["first_seen"]).dt.total_seconds().fill_null(0).to_numpy() / 86_400
    active = events > 0
    rate = np.full(len(events), np.nan)
    rate[active] = np.log(events[active] / (np.floor(days[active]) + 1))
    mean = view.per_cluster(rate)
    square = view.per_cluster(rate**2)
    label = view.clusters.label
    number = np.bincount(label[(label >= 0) & active], minlength=view.count)
    even = 1 / (1 + np.maximum(square - mean**2, 0))
    return Measured(np.where(number >= _LEAST, even, np.nan), float(1 / (1 + np.nanvar(rate))))


EVEN_LOAD = Signal(
    name="even_load",
    title="Even load",
    definition=(
        "1 / (1 + variance of the logarithm of requests per active day) over the members: 1 is perfectly even."
    ),
    suggests="Members' daily volumes are even to {value}; those of all accounts to {baseline}.",
    look_alike="Staff who do the same job with the same tool.",
    measure=_even_load,
)
