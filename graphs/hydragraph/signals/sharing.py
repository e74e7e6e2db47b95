"""Identifiers that members share with each other: payment instruments, API keys, templates, address ranges."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from hydragraph.identifiers import is_circumstantial
from hydragraph.signals.signal import Measured, Signal
from hydragraph.signals.view import View

_MOSTLY_INSIDE = 0.5
"""Share of an identifier's users that must be members before sharing it says something about the cluster."""


def _reuse(view: View, kinds: Iterable[str]) -> Measured | None:
    """Share of the members with any of `kinds` who share one with another member, its users being mostly members.

    Baseline: the same share over all accounts, members or not, of sharing one of these kinds with anybody.
    """
    codes = [code for code in map(view.kind, kinds) if code is not None]
    if not codes:
        return None
    use = view.use
    of_kind = np.isin(use.kind, codes)
    shared = of_kind & (use.inside > 1) & (use.inside >= _MOSTLY_INSIDE * use.users)
    figure = np.full(view.graph.accounts.height, np.nan)
    figure[use.account[of_kind]] = 0.0
    figure[use.account[shared]] = 1.0
    holders, sharers = (held[:, codes].any(axis=1).sum() for held in view.holds)
    return Measured(view.per_cluster(figure), float(sharers) / max(int(holders), 1))


def _payment(view: View) -> Measured | None:
    return _reuse(view, ["payment"])


def _key(view: View) -> Measured | None:
    return _reuse(view, ["api_key"])


def _template(view: View) -> Measured | None:
    return _reuse(view, ["template"])


def _range(view: View) -> Measured | None:
    return _reuse(view, ["ip_range"])


def _other(view: View) -> Measured | None:
    own_signal = {"payment", "api_key", "template", "ip_range"}
    return _reuse(view, [k for k in view.graph.kinds if k not in own_signal and not is_circumstantial(k)])


PAYMENT_REUSE = Signal(
    name="payment_reuse",
    title="Payment reuse",
    definition="Share of members with a payment instrument who share one with another member.",
    suggests=(
        "{value} of the members share a payment instrument with another member; {baseline} of all accounts share one."
    ),
    look_alike="A family or a firm that pays for several accounts with one card.",
    measure=_payment,
)
KEY_SHARING = Signal(
    name="key_sharing",
    title="Key sharing",
    definition="Share of members with an API key who use one that another member uses too.",
    suggests="{value} of the members use an API key of another member; {baseline} of all accounts share a key.",
    look_alike="A build server whose key several colleagues registered.",
    measure=_key,
)
TEMPLATE_REUSE = Signal(
    name="template_reuse",
    title="Template reuse",
    definition="Share of members who send a request template used by other members and by few others.",
    suggests=(
        "{value} of the members send request templates that hardly anyone outside sends; {baseline} of "
        "all accounts share any template."
    ),
    look_alike="A firm's internal tool, or a small open-source project's prompt.",
    measure=_template,
)
RANGE_REUSE = Signal(
    name="range_reuse",
    title="Range reuse",
    definition="Share of members who come from an address range used by other members and by few others.",
    suggests=(
        "{value} of the members come from address ranges that hardly anyone outside uses; {baseline} of "
        "all accounts share a range."
    ),
    look_alike="A household, an office or a campus on its own range.",
    measure=_range,
)
OTHER_REUSE = Signal(
    name="other_reuse",
    title="Other reuse",
    definition="Share of members with a device, phone, e-mail or other identifier who share one with another member.",
    suggests=(
        "{value} of the members share a device, phone, e-mail or the like with another member; {baseline} of all"
        " accounts share one."
    ),
    look_alike="A family computer, or a firm's switchboard and mailbox.",
    measure=_other,
)
