"""Worlds as data: every tactic and every scenario is one declared object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from hydragraph.errors import InputRefused, UnknownName

DAYS = 60.0
"""Length of every world in days."""


@dataclass(frozen=True, kw_only=True)
class Tactic:
    """How a ring works. One generator reads these figures; no tactic has code of its own.

    share: share of all accounts that its rings hold in the scenario `mixed`.
    size, spread, least, most: accounts per ring, log-normal (median, sigma), bounded; size 0: one ring holds all.
    pairs: rings come in twos that rent the same compact proxy provider and share nothing else.
    cards: `shared` (each card serves about per_card accounts), `own` (one each), `chain` (each card is handed on to
        the next account, so it serves exactly two).
    per_key: accounts under one API key; 1: every account has its own keys.
    network: `own` (the ring's own proxies), `residential` (a rented wide pool of home addresses), `provider` (a rented
        compact pool), `home` (the reseller's home and one server).
    per_proxy, breadth: accounts per proxy and proxies per account, for own and provider networks.
    turnover: accounts that one slot uses up over the world, on average; at_once: (low, high) slots, whatever the size.
    delay: median hours from a closure to the successor's first request.
    hand_on: share of successors that go on with a card, a device, a phone, a proxy of the closed account: each drawn apart.
    camouflage: share of a member's bursts through carriers and VPNs that innocent people use; smear: through offices.
    scripted: share of bursts with the ring's own templates; customers: share with resold customers' own templates.
    per_device: accounts per device; sync: share of bursts sent as simultaneous waves; jitter: hours (standard
        deviation) by which a burst of a wave, and an account of a creation batch, strays.
    fail_over: share of the bursts handed from one slot to the next that are handed on because of a rate limit: the account
        is refused, stops, and the next goes on within minutes.
    volume: requests per account relative to the average account; aged: share of accounts opened long before use.
    channels: cloud channels the ring is spread over; 1: direct only.
    """

    name: str
    meaning: str
    share: float = 0.0023
    size: float = 40.0
    spread: float = 0.8
    least: int = 8
    most: int = 2500
    pairs: bool = False
    cards: Literal["shared", "own", "chain"] = "shared"
    per_card: float = 3.2
    per_key: float = 1.0
    network: Literal["own", "residential", "provider", "home"] = "own"
    per_proxy: float = 3.0
    breadth: float = 3.0
    turnover: float = 1.5
    at_once: tuple[int, int] | None = None
    delay: float = 20.0
    hand_on: float = 0.0
    camouflage: float = 0.12
    smear: float = 0.0
    scripted: float = 0.6
    customers: float = 0.0
    per_device: float = 2.5
    sync: float = 0.5
    jitter: float = 0.05
    fail_over: float = 0.5
    volume: float = 2.0
    aged: float = 0.35
    channels: int = 1


TACTICS: Mapping[str, Tactic] = MappingProxyType({
    t.name: t
    for t in (
        Tactic(
            name="hub_ring", meaning="one ring so large that its own proxies are hubs",
            share=0.02, size=0, most=10**9, per_proxy=120.0, breadth=4.0, per_card=4.0, turnover=1.6, per_device=2.0,
        ),
        Tactic(
            name="own_card_pool", meaning="an own virtual card for every account, behind a wide residential proxy pool",
            cards="own", network="residential", size=60, per_device=1.6,
        ),
        Tactic(
            name="card_chain", meaning="cards handed along a chain of accounts",
            cards="chain", per_device=1.3, breadth=2.0, turnover=2.0,
        ),
        Tactic(
            name="pooled_keys", meaning="many accounts behind one pool of API keys",
            per_key=7.0, cards="own", per_device=1.5, size=50, fail_over=0.8,
        ),
        Tactic(
            name="few_at_a_time", meaning="few accounts at a time, each ban replaced within hours",
            at_once=(2, 6), delay=3.0, size=30, spread=0.5, most=90, aged=0.1, volume=3.0, per_proxy=2.0,
        ),
        Tactic(
            name="carrier_hidden", meaning="most traffic through carrier NAT and VPN exits",
            camouflage=0.85, per_proxy=5.0, breadth=2.0,
        ),
        Tactic(
            name="smeared", meaning="members also log in through innocent offices",
            smear=0.25, size=50,
        ),
        Tactic(
            name="tiny_resellers", meaning="many rings of 3 to 8 accounts",
            size=5, spread=0.35, least=3, most=8, network="home", per_card=2.5, turnover=1.2, scripted=0.35, sync=0.2,
            fail_over=0.25,
        ),
        Tactic(
            name="mixed_traffic", meaning="resold customers' own prompts beside scripted extraction",
            scripted=0.2, customers=0.65, sync=0.25, size=60, volume=3.0, fail_over=0.8,
        ),
        Tactic(
            name="slow_jitter", meaning="slow operators with jitter",
            jitter=14.0, volume=1.0, turnover=1.1, per_card=2.6, aged=0.6, sync=0.3, fail_over=0.0,
        ),
        Tactic(
            name="cloud_channels", meaning="a ring spread over third-party cloud channels",
            channels=4, size=50,
        ),
        Tactic(
            name="two_rings_one_proxy", meaning="two rings that rent the same proxy provider and are not one",
            pairs=True, network="provider", breadth=4.0, size=45, spread=0.5,
        ),
    )
})  # fmt: skip


INNOCENTS: Mapping[str, float] = MappingProxyType(
    {
        "lone": 0.435,
        "trial": 0.12,
        "person": 0.025,
        "household": 0.07,
        "office": 0.16,
        "agency": 0.025,
        "campus": 0.05,
        "course": 0.01,
        "coworking": 0.015,
        "carrier": 0.04,
        "vpn": 0.025,
        "build": 0.02,
        "proxy": 0.005,
    }
)
"""Share of the innocent accounts in each kind of group. lone and trial belong to no group."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One world: which tactics with what share of the accounts, and what is turned up in all of them.

    camouflage, jitter, replacement_delay, hand_on, ring_size replace the tactic's own figure when set; scripted and reuse
    multiply the share of scripted bursts and the accounts per card and device.
    """

    name: str
    meaning: str
    tactics: Mapping[str, float]
    innocents: Mapping[str, float] = field(default_factory=lambda: INNOCENTS)
    camouflage: float | None = None
    jitter: float | None = None
    replacement_delay: float | None = None
    hand_on: float | None = None
    ring_size: float | None = None
    scripted: float = 1.0
    reuse: float = 1.0

    def tactic(self, name: str) -> Tactic:
        """The tactic as this scenario plays it."""
        base = TACTICS[name]
        median = base.size if self.ring_size is None else self.ring_size
        resized = self.ring_size is not None
        return replace(
            base,
            camouflage=base.camouflage if self.camouflage is None else self.camouflage,
            jitter=base.jitter if self.jitter is None else self.jitter,
            delay=base.delay if self.replacement_delay is None else self.replacement_delay,
            hand_on=base.hand_on if self.hand_on is None else self.hand_on,
            size=median,
            spread=0.15 if resized else base.spread,
            least=min(base.least, max(2, int(median))) if resized else base.least,
            most=max(base.most, int(2 * median)) if resized else base.most,
            scripted=base.scripted * self.scripted,
            per_card=max(1.5, base.per_card * self.reuse),
            per_device=max(1.1, base.per_device * self.reuse),
        )


_ALL = {t.name: t.share for t in TACTICS.values()}

SCENARIOS: Mapping[str, Scenario] = MappingProxyType({
    s.name: s
    for s in (
        Scenario(name="mixed", meaning="every tactic beside every kind of innocent group", tactics=_ALL),
        Scenario(name="innocent", meaning="no ring at all", tactics={}),
        Scenario(
            name="hard", meaning="every tactic, well hidden: more camouflage and jitter, less reuse",
            tactics=_ALL, camouflage=0.6, jitter=6.0, scripted=0.5, reuse=0.7,
        ),
        Scenario(
            name="small", meaning="a small world with a few rings, for a first look",
            tactics={
                "hub_ring": 0.02, "own_card_pool": 0.01, "card_chain": 0.008, "few_at_a_time": 0.008,
                "tiny_resellers": 0.006, "mixed_traffic": 0.01,
            },
        ),
        *(
            Scenario(name=t.name, meaning=t.meaning, tactics={t.name: 0.02 if t.size == 0 else 0.03})
            for t in TACTICS.values()
        ),
    )
})  # fmt: skip


def scenario_named(name: str) -> Scenario:
    """The scenario called `name`. Raises UnknownName."""
    if name not in SCENARIOS:
        raise UnknownName(f"no scenario has this name; known are {', '.join(SCENARIOS)}")
    return SCENARIOS[name]


def checked(value: float | None, low: float, high: float, what: str) -> float | None:
    """`value` if it is None or lies between the bounds. what: the argument's name, which gives the option's. Raises
    InputRefused."""
    if value is not None and not low <= value <= high:
        least, most = (f"{int(v)}" if v == int(v) else f"{v:g}" for v in (low, high))
        raise InputRefused(f"{what} (--{what.replace('_', '-')}) must lie between {least} and {most}")
    return value
