"""Where members come from: one place, or many ranges each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hydragraph.signals.signal import Measured, Signal
from hydragraph.signals.view import View


def largest_share(view: View, kind: str) -> NDArray[np.float64] | None:
    """Share of each cluster's members with any `kind` who use its most common one."""
    code = view.kind(kind)
    if code is None:
        return None
    use = view.use
    of_kind = use.kind == code
    most = np.zeros(view.count)
    np.maximum.at(most, use.cluster[of_kind], use.inside[of_kind])
    holders = np.zeros(view.count)
    who = np.unique(use.account[of_kind])
    np.add.at(holders, view.clusters.label[who], 1)
    return np.where(holders > 0, most / np.maximum(holders, 1), np.nan)


def _one_place(view: View) -> Measured | None:
    share = largest_share(view, "ip_range")
    if share is None:
        return None
    degree = view.graph.degree[view.graph.kind_code == view.kind("ip_range")]
    return Measured(share, float(degree.max(initial=0)) / max(view.graph.accounts.height, 1))


def _breadth(view: View) -> Measured | None:
    code = view.kind("ip_range")
    if code is None:
        return None
    n = view.graph.accounts.height
    identifier = view.graph.links["identifier"].to_numpy()
    account = view.graph.links["account"].to_numpy()
    ranges = np.bincount(account[view.graph.kind_code[identifier] == code], minlength=n).astype(float)
    ranges[ranges == 0] = np.nan
    return Measured(view.per_cluster(ranges), float(np.nanmean(ranges)))


ONE_PLACE = Signal(
    name="one_place",
    title="One place",
    definition="Share of members who use the cluster's most common address range.",
    suggests=(
        "{value} of the members use one and the same address range; the widest range of the source "
        "holds {baseline} of all accounts."
    ),
    look_alike="This speaks for a household, an office or a campus; a single proxy looks the same.",
    measure=_one_place,
)
RANGE_BREADTH = Signal(
    name="range_breadth",
    title="Range breadth",
    definition="Mean number of address ranges a member uses.",
    suggests="A member uses {value} address ranges on average; all accounts use {baseline}.",
    look_alike="People who travel, or who use a commercial VPN.",
    measure=_breadth,
    percent=False,
)
