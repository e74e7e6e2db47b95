"""Rings: one generator for all tactics, driven by the figures of `scenarios.Tactic`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hydragraph.worlds.draft import BANNED, OPEN, UNPAID, Draft, Floats, Ints, Ring, Rng, sizes, skewed
from hydragraph.worlds.people import DEVICE, PHONE, TLS, card_kinds, give_keys, share_links
from hydragraph.worlds.places import hosts
from hydragraph.worlds.scenarios import DAYS, TACTICS, Scenario, Tactic
from hydragraph.worlds.shared import popular

CODE = {name: code for code, name in enumerate(TACTICS)}


@dataclass(frozen=True)
class Order:
    """One ring to be built: its tactic, its accounts, and for a pair which of the two it is (else -1)."""

    tactic: Tactic
    size: int
    pair: int = -1


def plan_rings(rng: Rng, scenario: Scenario, accounts: int) -> list[Order]:
    """How many rings of which size the world holds. Every tactic of the scenario has at least one."""
    orders: list[Order] = []
    for name, share in scenario.tactics.items():
        tactic = scenario.tactic(name)
        total = max(
            tactic.least * (2 if tactic.pairs else 1), round(accounts * share * np.exp(0.12 * rng.standard_normal()))
        )
        if tactic.size == 0:
            orders.append(Order(tactic, total))
            continue
        drawn = sizes(rng, total, tactic.size, tactic.spread, tactic.least, tactic.most)
        if tactic.pairs:
            if len(drawn) % 2:
                half = int(drawn[-1]) // 2
                drawn = np.concatenate([drawn[:-1], [half, int(drawn[-1]) - half]])
            orders += [Order(tactic, int(n), i % 2) for i, n in enumerate(drawn)]
        else:
            orders += [Order(tactic, int(n)) for n in drawn]
    return orders


def build_rings(d: Draft, seeds: np.random.SeedSequence, orders: Sequence[Order], sweep: float | None = None) -> None:
    """Add every ring of `orders`, each from its own random stream. sweep: a day on which all of their accounts that are at
    work are banned."""
    provider = -1
    for order, seed in zip(orders, seeds.spawn(len(orders)), strict=True):
        rng = np.random.default_rng(seed)
        if order.pair <= 0:
            provider = int(rng.integers(0, len(d.shared.compact)))
        swept = None if sweep is None else (sweep, np.random.default_rng(seed.spawn(1)[0]))
        build_ring(d, rng, order.tactic, order.size, provider, swept)


def build_ring(
    d: Draft, rng: Rng, tactic: Tactic, size: int, provider: int, swept: tuple[float, Rng] | None = None
) -> None:
    """One ring of `size` accounts. `provider`: the proxy provider it rents from, if its tactic rents. swept: the day on
    which all of it that is at work is banned, and a random stream of its own for it."""
    slot, start, end, reason, before = _slots(rng, tactic, size)
    if swept is not None:
        start, end, reason = _swept(swept[1], tactic, swept[0], start, end, reason, before)
    born = _births(rng, tactic, slot, start, before)
    spread = tactic.channels > 1
    elsewhere = 0.0 if tactic.cards == "chain" else 0.08
    some = np.where(rng.random(size) < elsewhere, rng.integers(1, 4, size), 0)
    channel = rng.integers(0, tactic.channels, size) if spread else some
    who = d.add_accounts(
        size,
        created=born, closed=np.where(reason > OPEN, end, np.inf), reason=reason, channel=channel,
        org=np.where(rng.random(size) < 0.06, d.fresh("org", size), -1),
        volume=0.0, start=start, end=end, label=1, cluster=d.fresh("cluster", 1)[0], tactic=CODE[tactic.name],
    )  # fmt: skip
    d.accounts.column("parent")[who] = np.where(before >= 0, who[0] + before, -1)
    keeps = _Handing(rng, tactic.hand_on, before)
    _network(d, rng, tactic, who, provider, keeps)
    _hide(d, rng, tactic, who)
    _pay(d, rng, tactic, who, start, end, keeps)
    _keys(d, rng, tactic, who)
    _prompts(d, rng, tactic, who)
    _devices(d, rng, tactic, who, keeps)
    d.rings.append(
        Ring(
            accounts=who, slot=slot, start=start, end=end,
            phase=float(rng.uniform(0, 24)), flat=float(rng.uniform(0.6, 0.95)), sync=tactic.sync, jitter=tactic.jitter,
            fail_over=tactic.fail_over,
            burst=float(1.4 + rng.gamma(2.0, 0.6)), volume=tactic.volume * float(np.exp(0.25 * rng.standard_normal())),
        )
    )  # fmt: skip


def _slots(rng: Rng, tactic: Tactic, size: int) -> tuple[Ints, Floats, Floats, Ints, Ints]:
    """Slot, first and last day, why closed, and predecessor in the slot (row in the ring, -1: none) of each member.

    A ring keeps some slots filled: an account that is closed is replaced after the tactic's delay. Slots are filled
    one place after the other, so that a wave of bans that takes several accounts at once moves all that follow.
    """
    if tactic.at_once is None:
        count = max(2, round(size / tactic.turnover))
    else:
        count = int(rng.integers(tactic.at_once[0], tactic.at_once[1] + 1))
    count = min(count, size)
    extra = rng.choice(count, size - count) if tactic.at_once is None else np.arange(size - count) % count
    slot = np.sort(np.concatenate([np.arange(count), extra]))
    length = np.bincount(slot, minlength=count)
    place = np.arange(size) - np.repeat(np.cumsum(length) - length, length)
    begins = rng.uniform(0, 6 if tactic.at_once else 22)
    window = np.full(count, rng.uniform(50 if tactic.at_once else 36, 66))
    launched = np.sort(rng.uniform(begins, begins + 8.0, max(1, count // 12 + 1)))
    opened = np.minimum(launched[rng.integers(0, len(launched), count)], DAYS - 12.0)
    if tactic.at_once:
        opened = begins + rng.exponential(0.5, count)
    share = rng.gamma(2.5, 1.0, size)
    share /= np.bincount(slot, share)[slot]
    waves = np.sort(rng.uniform(10, DAYS, 3))
    start, end = np.zeros(size), np.zeros(size)
    before = np.full(size, -1)
    now = opened.copy()
    for step in range(int(length.max())):
        rows = np.flatnonzero(place == step)
        mine = slot[rows]
        room = np.maximum(window[mine] - opened[mine], 8.0)
        start[rows] = now[mine]
        stop = now[mine] + np.maximum(share[rows] * room, 0.25)
        wave = waves[np.abs(stop[:, None] - waves).argmin(axis=1)]
        caught = (np.abs(stop - wave) < 2.5) & (wave > now[mine] + 0.3) & (rng.random(len(rows)) < 0.5)
        stop = np.where(caught, wave + rng.exponential(0.04, len(rows)), stop)
        end[rows] = stop
        if step:
            before[rows] = np.searchsorted(slot, mine) + step - 1
        gap = tactic.delay / 24 * np.exp(0.5 * rng.standard_normal(len(rows)))
        now[mine] = stop + np.minimum(gap, 4 * tactic.delay / 24)
    return (*_fit(rng, slot, place, length, start, end), before)


def _fit(
    rng: Rng, slot: Ints, place: Ints, length: Ints, start: Floats, end: Floats
) -> tuple[Ints, Floats, Floats, np.ndarray]:
    """Squeeze slots that run past the world's end, and decide who is closed: all that are replaced, some others."""
    last = place == length[slot] - 1
    latest = np.zeros(len(length))
    latest[slot[last]] = start[last]
    limit = DAYS - 0.6
    first = start[place == 0]
    squeeze = np.minimum(1.0, np.maximum(limit - first, 0.1) / np.maximum(latest - first, 0.1))
    if (squeeze < 1).any():
        start = first[slot] + (start - first[slot]) * squeeze[slot]
        end = first[slot] + (end - first[slot]) * squeeze[slot]
    shut = last & (end < DAYS)
    luck = rng.random(len(slot))
    reason = np.where(~last | (shut & (luck < 0.4)), BANNED, np.where(shut & (luck < 0.5), UNPAID, OPEN))
    return slot, start, np.where((reason > OPEN) | (shut & (luck > 0.8)), end, np.inf), reason


def _swept(
    rng: Rng, tactic: Tactic, day: float, start: Floats, end: Floats, reason: Ints, before: Ints
) -> tuple[Floats, Floats, np.ndarray]:
    """Beginning, end and why closed when every member at work on `day` is banned within hours: who was to follow it later
    follows after the tactic's usual delay, and a slot that nobody was to fill again stays empty."""
    hit = (start < day) & (end > day)
    end = np.where(hit, day + rng.exponential(0.04, len(end)), end)
    gap = np.minimum(tactic.delay / 24 * np.exp(0.5 * rng.standard_normal(len(end))), 4 * tactic.delay / 24)
    follows = (before >= 0) & hit[before]
    start = np.where(follows, np.minimum(end[before] + gap, start), start)
    return start, end, np.where(hit, BANNED, reason)


def _births(rng: Rng, tactic: Tactic, slot: Ints, start: Floats, before: Ints) -> Floats:
    """Days of creation: batches shortly before use, a share bought aged, successors made when they are needed."""
    lead = rng.exponential(0.05, len(start)) + np.abs(rng.normal(0, tactic.jitter / 24, len(start)))
    aged = rng.random(len(start)) < tactic.aged
    lead = np.where(aged, lead + rng.exponential(70.0, len(start)), lead)
    hurried = (before >= 0) & ~aged
    return start - np.where(hurried, np.minimum(lead, tactic.delay / 24 * 0.5), lead)


@dataclass(frozen=True)
class _Handing:
    """What successors take over from the account before them.

    share: of the successors, drawn anew for every sort of thing. before: predecessor of each member, -1: none.
    """

    rng: Rng
    share: float
    before: Ints

    def over(self, drawn: Ints, rows: Ints) -> Ints:
        """`drawn`, with what a successor has drawn replaced by what its predecessor has. rows: member of each entry."""
        if not self.share:
            return drawn
        has = np.full(len(self.before), -1)
        has[rows] = drawn
        takes = (self.before >= 0) & (self.rng.random(len(self.before)) < self.share)
        # the members of a slot stand in the order of their lives
        for row in np.flatnonzero(takes & (has >= 0)).tolist():
            if has[self.before[row]] >= 0:
                has[row] = has[self.before[row]]
        return has[rows]


def _network(d: Draft, rng: Rng, tactic: Tactic, who: Ints, provider: int, keeps: _Handing) -> None:
    """Where the ring's own requests come from."""
    open_share = max(0.0, 1.0 - tactic.camouflage - tactic.smear)
    size = len(who)
    if tactic.network == "residential":
        sites = d.shared.providers[int(rng.integers(0, len(d.shared.providers)))]
        part = min(len(sites), max(60, int(rng.uniform(0.1, 0.5) * len(sites))), 1500)  # the regions it has paid for
        pool = d.places.pool(rng.choice(sites, part, replace=False), rotates=bool(rng.random() < 0.5))
        d.habits.add(size, account=who, pool=pool, work=open_share, rest=open_share)
        return
    if tactic.network == "provider":
        sites = d.shared.compact[provider]
    elif tactic.network == "home":
        homes, servers = int(rng.integers(1, 3)), 1
        nets = np.concatenate([d.shared.home_nets(rng, homes), rng.choice(d.shared.hosting, servers)])
        six = d.places.add_sites(d.shared.space.homes6(int(rng.random() < 0.32)), 0, six=True)
        sites = np.concatenate([d.places.add_sites(nets, hosts(rng, homes + servers)), six])
    else:
        count = max(2, round(size / tactic.per_proxy * float(np.exp(0.2 * rng.standard_normal()))))
        ranges = max(2, round(count / rng.uniform(1.2, 2.5)))
        luck = rng.random(ranges)
        nets = np.where(
            luck < 0.35,
            rng.choice(d.shared.hosting, ranges),
            np.where(luck < 0.65, d.shared.home_nets(rng, ranges), d.shared.space.take(ranges)),
        )
        modern = int(rng.binomial(count, 0.12))
        six = d.places.add_sites(d.shared.space.homes6(modern), 0, six=True)
        four = d.places.add_sites(rng.choice(nets, count - modern), hosts(rng, count - modern))
        sites = rng.permutation(np.concatenate([four, six]))
    pools = d.places.single(sites)
    many = np.minimum(1 + rng.poisson(max(tactic.breadth - 1.0, 0.2), size), 3 * len(pools))
    users = np.repeat(who, many)
    weight = rng.gamma(1.2, 1.0, len(users)) + 0.05
    weight *= open_share / np.bincount(users - who[0], weight)[users - who[0]]
    picked = pools[(rng.random(len(users)) ** 1.25 * len(pools)).astype(np.int64)]
    first = np.flatnonzero(np.diff(users, prepend=-1))
    picked[first] = keeps.over(picked[first], np.arange(size))
    d.habits.add(len(users), account=users, pool=picked, work=weight, rest=weight)


def _hide(d: Draft, rng: Rng, tactic: Tactic, who: Ints) -> None:
    """Requests through infrastructure that innocent people use: carriers, VPN exits; offices when the ring smears."""
    if tactic.camouflage > 0:
        for pools, part in ((d.shared.carriers, 0.6), (d.shared.vpns, 0.4)):
            weight = tactic.camouflage * part
            d.habits.add(len(who), account=who, pool=popular(rng, pools, len(who)), work=weight, rest=weight)
    if tactic.smear > 0 and d.offices:
        offices = np.concatenate(d.offices)
        targets = rng.choice(offices, min(len(offices), max(2, len(who) // 6)), replace=False)
        for _ in range(2):
            weight = tactic.smear / 2
            d.habits.add(
                len(who), account=who, pool=rng.choice(targets, len(who)), work=1.4 * weight, rest=0.6 * weight
            )


def _pay(d: Draft, rng: Rng, tactic: Tactic, who: Ints, start: Floats, end: Floats, keeps: _Handing) -> None:
    """Cards: one pool of cards for the ring, an own one each, or a chain in which each card serves two accounts."""
    born = d.accounts.column("created")[who]
    added = born + rng.exponential(0.1, len(who))
    if tactic.cards == "chain":
        order = np.argsort(start, kind="stable")
        chain = who[order]
        cards, kinds = d.fresh("card", len(chain)), card_kinds(rng, len(chain), 0.45)
        begun, room = start[order], np.minimum(end, DAYS)[order] - start[order]
        later = begun[1:] + np.minimum(rng.exponential(0.3, len(chain) - 1), 0.4 * room[1:])
        passed = np.append(np.where(rng.random(len(chain) - 1) < 0.7, later, np.inf), np.inf)
        d.cards.add(len(chain), account=chain, card=cards, kind=kinds, added=added[order], removed=passed)
        d.cards.add(len(chain) - 1, account=chain[1:], card=cards[:-1], kind=kinds[:-1], added=later)
        return
    payers = d.accounts.column("channel")[who] == 0  # a cloud platform bills its customers itself
    rows = np.flatnonzero(payers)
    who, added = who[payers], added[payers]
    if tactic.cards == "own":
        kinds = card_kinds(rng, len(who), 0.7)
        mine = keeps.over(np.arange(len(who)), rows)
        d.cards.add(len(who), account=who, card=d.fresh("card", len(who))[mine], kind=kinds[mine], added=added)
        return
    paying = rng.random(len(who)) < 0.87  # the others live on free credit
    who, added, rows = who[paying], added[paying], rows[paying]
    count = max(1, round(len(who) / tactic.per_card))
    cards, kinds = d.fresh("card", count), card_kinds(rng, count, 0.45)
    mine = keeps.over(rng.integers(0, count, len(who)), rows)
    d.cards.add(len(who), account=who, card=cards[mine], kind=kinds[mine], added=added)
    more = rng.random(len(who)) < 0.22
    mine = rng.integers(0, count, int(more.sum()))
    later = added[more] + rng.exponential(4.0, len(mine))
    d.cards.add(len(mine), account=who[more], card=cards[mine], kind=kinds[mine], added=later)


def _keys(d: Draft, rng: Rng, tactic: Tactic, who: Ints) -> None:
    """API keys: own ones, and for pooled keys one key under several accounts, used for most requests."""
    give_keys(d, rng, who, 0.3)
    if tactic.per_key <= 1:
        return
    count = max(1, round(len(who) / tactic.per_key))
    keys = d.fresh("key", count)
    for part in (1.0, 0.35):
        users = who[rng.random(len(who)) < part]
        born = d.accounts.column("created")[users]
        mine = keys[rng.integers(0, count, len(users))]
        d.keys.add(len(users), account=users, key=mine, created=born + rng.exponential(0.3, len(users)), weight=2.5)


def _prompts(d: Draft, rng: Rng, tactic: Tactic, who: Ints) -> None:
    """Templates: the ring's scripts, resold customers' own ones, public ones, free text."""
    size = len(who)
    scripts = d.fresh("template", max(2, round(np.exp(1.1 + 0.5 * rng.standard_normal()) + size / 150)))
    for part in (0.95, 0.6, 0.3):
        users = who[rng.random(size) < part]
        mine = scripts[skewed(rng, len(users), len(scripts), 1.2)]
        d.templates.add(
            len(users), account=users, template=mine, weight=tactic.scripted * rng.gamma(4.0, 0.25 / 1.85, len(users))
        )
    if tactic.customers > 0:
        customers = d.fresh("template", 2 * size)
        served = np.repeat(customers, 1 + rng.integers(0, 3, len(customers)))
        users = who[rng.integers(0, size, len(served))]
        d.templates.add(
            len(users), account=users, template=served, weight=tactic.customers * rng.gamma(1.0, 1 / 4.0, len(users))
        )
    rest = max(0.05, 1.0 - tactic.scripted - tactic.customers)
    d.templates.add(size, account=who, weight=rest)
    users = who[rng.random(size) < 0.3]
    which = skewed(rng, len(users), d.shared.public_templates, 2.2)
    d.templates.add(len(users), account=users, template=which, weight=rest * rng.gamma(1.5, 0.5, len(users)))


def _devices(d: Draft, rng: Rng, tactic: Tactic, who: Ints, keeps: _Handing) -> None:
    """Devices used for several accounts, a few phones for the codes, and a client most members have in common."""
    count = max(1, round(len(who) / tactic.per_device))
    rows = np.arange(len(who))
    share_links(d, rng, who, keeps.over(rng.integers(0, count, len(who)), rows), DEVICE, 0.55)
    phones = rng.integers(0, max(1, round(len(who) / 1.5)), len(who))
    share_links(d, rng, who, keeps.over(phones, rows), PHONE, 0.3)
    favourite = skewed(rng, 1, d.shared.clients, 1.5)[0]
    for part in (0.9, 0.35):
        users = who[rng.random(len(who)) < part]
        common = rng.random(len(users)) < 0.5
        value = np.where(common, favourite, skewed(rng, len(users), d.shared.clients, 2.5))
        d.links.add(len(users), account=users, kind=TLS, value=value)
