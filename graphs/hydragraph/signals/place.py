"""Where members come from: one place, or many ranges each."""

from __future__ import annotations

import numpy as np

from hydragraph.signals.signal import Measured, Signal
from hydragraph.signals.view import View


def _one_place(view: View) -> Measured | None:
    """Over the members with any range: mean share of a member's uses of ranges that the cluster's main range carries.

    The main range is the one with the largest such share, so that an exit which everybody uses now and then is no
    place. Baseline: the same over all accounts, as if they were one cluster.
    """
    code = view.kind("ip_range")
    if code is None:
        return None
    links = view.graph.links
    identifier = links["identifier"].to_numpy().astype(np.int64)
    of_kind = view.graph.kind_code[identifier] == code
    account, identifier = links["account"].to_numpy()[of_kind], identifier[of_kind]
    uses = np.maximum(links["count"].fill_null(1).to_numpy()[of_kind], 1)
    accounts = view.graph.accounts.height
    total = np.bincount(account, weights=uses, minlength=accounts)
    # whole millionths, so that sums do not depend on their order
    part = np.round(uses / total[account] * 1e6).astype(np.int64)
    label = view.clusters.label[account]
    inside = label >= 0
    cell, at = np.unique(identifier[inside] * max(view.count, 1) + label[inside], return_inverse=True)
    largest = np.zeros(view.count)
    np.maximum.at(largest, cell % max(view.count, 1), np.bincount(at, weights=part[inside]))
    holders = np.bincount(view.clusters.label[(view.clusters.label >= 0) & (total > 0)], minlength=view.count)
    value = np.where(holders > 0, largest / np.maximum(holders, 1) / 1e6, np.nan)
    everyone = float(np.bincount(identifier, weights=part).max(initial=0)) / 1e6 / max(int((total > 0).sum()), 1)
    return Measured(value, everyone)


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
    definition="Mean share of a member's requests that come from the cluster's main address range.",
    suggests=(
        "A member sends {value} of its requests from one and the same address range; the widest range of the source "
        "carries {baseline} of all."
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
