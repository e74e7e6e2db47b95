"""What any account has: a time of day, homes, carriers, cards, keys, templates, devices."""

from __future__ import annotations

from typing import Any

import numpy as np

from hydragraph.worlds.draft import BANNED, GRID, LINK_KINDS, UNPAID, VOLUNTARY, Draft, Floats, Ints, Rng, skewed
from hydragraph.worlds.places import hosts
from hydragraph.worlds.scenarios import DAYS
from hydragraph.worlds.shared import popular

DEVICE, TLS, PHONE = (LINK_KINDS.index(k) for k in ("device", "tls", "phone"))


def phases(rng: Rng, count: int) -> Floats:
    """Middle of the active part of the day, hour UTC: three broad regions and everybody's own habit."""
    centre = rng.choice([20.5, 13.0, 6.5], count, p=[0.42, 0.33, 0.25])
    return (centre + 2.4 * rng.standard_normal(count)) % 24


def volumes(rng: Rng, count: int, sigma: float = 1.35) -> Floats:
    """Relative numbers of requests: log-normal with mean 1, capped at 300."""
    return np.minimum(np.exp(sigma * rng.standard_normal(count) - sigma**2 / 2), 300.0)


def created(rng: Rng, count: int, recent: float = 0.28) -> Floats:
    """Days of creation: a `recent` share during the world, the others up to three years before."""
    inside = rng.random(count) < recent
    return np.where(inside, DAYS * rng.random(count) ** 0.9, -np.minimum(rng.exponential(220.0, count), 1100.0))


def spells(rng: Rng, born: Floats) -> tuple[Floats, Floats]:
    """First and last day of activity: most accounts are active from birth to the end, some for a few weeks only."""
    count = len(born)
    left = np.maximum(born, 0.0)
    brief = rng.random(count) < 0.3
    start = np.where(brief, left + (DAYS - left) * rng.random(count) * 0.8, left + rng.exponential(0.6, count))
    end = np.where(brief, start + rng.gamma(1.5, 10.0, count), np.inf)
    return np.minimum(start, DAYS - 0.05), end


def add_people(d: Draft, rng: Rng, count: int, **given: Any) -> Ints:
    """`count` accounts of ordinary people; `given` columns replace the drawn ones."""
    born = np.minimum(np.asarray(given.pop("created", created(rng, count)), np.float64), DAYS - 0.1)
    start, end = spells(rng, born)
    kinds = rng.random(count)
    drawn = {
        "volume": volumes(rng, count),
        "phase": phases(rng, count),
        "flat": np.where(kinds < 0.04, 1.0, np.where(kinds < 0.06, GRID, 0.3 * rng.random(count) ** 2)),
        "weekend": rng.uniform(0.15, 1.0, count),
        "burst": 1.5 + rng.gamma(1.6, 2.2, count),
        "channel": np.where(rng.random(count) < 0.14, rng.integers(1, 4, count), 0),
        "start": start,
        "end": end,
        "label": 0,
    }
    return d.add_accounts(count, created=born, **(drawn | given))


def close(d: Draft, rng: Rng, who: Ints, banned: float, voluntary: float) -> None:
    """Close some accounts: ordinary bans, people who leave, cards that fail."""
    start, closed = d.accounts.column("start"), d.accounts.column("closed")
    reason = d.accounts.column("reason")
    luck = rng.random(len(who))
    shut = who[luck < banned + voluntary]
    why = np.where(luck < banned, BANNED, np.where(rng.random(len(who)) < 0.15, UNPAID, VOLUNTARY))[
        luck < banned + voluntary
    ]
    when = start[shut] + np.where(
        why == BANNED, rng.gamma(1.2, 7.0, len(shut)), (DAYS - start[shut]) * rng.random(len(shut))
    )
    inside = when < DAYS
    closed[shut[inside]] = when[inside]
    reason[shut[inside]] = why[inside]


def give_homes(d: Draft, rng: Rng, who: Ints, home_of: Ints, work: float = 0.55, rest: float = 1.0) -> Ints:
    """A home connection for every account: `home_of` numbers the homes 0..h-1. Returns each home's pool.

    A third of the homes has IPv6 as well and uses it for most requests; a fifth gets a new address in another range
    now and then; a few people move to another provider altogether.
    """
    count = int(home_of.max()) + 1 if len(home_of) else 0
    shared, places = d.shared, d.places
    pools = places.single(places.add_sites(shared.home_nets(rng, count), hosts(rng, count)))
    luck = rng.random(count)
    current = pools
    at = rng.uniform(0, DAYS, count)
    for share in (0.24, 0.08):
        changing = np.flatnonzero(luck < share)
        later = places.single(places.add_sites(shared.home_nets(rng, len(changing)), hosts(rng, len(changing))))
        places.hand_over(current[changing], later, at[changing])
        current = current.copy()
        current[changing] = later
        at += rng.uniform(0, DAYS, count) * 0.5
    d.habits.add(len(who), account=who, pool=pools[home_of], work=work, rest=rest)
    six = np.flatnonzero(rng.random(count) < 0.32)
    pools6 = np.full(count, -1)
    pools6[six] = places.single(places.add_sites(shared.space.homes6(len(six)), 0, six=True))
    moving = np.flatnonzero((luck < 0.08) & (pools6 >= 0))
    later = places.single(places.add_sites(shared.space.homes6(len(moving)), 0, six=True))
    places.hand_over(pools6[moving], later, rng.uniform(10, DAYS, len(moving)))
    mine = pools6[home_of]
    has = mine >= 0
    d.habits.add(int(has.sum()), account=who[has], pool=mine[has], work=work * 1.8, rest=rest * 1.8)
    return pools


def give_mobile(d: Draft, rng: Rng, who: Ints, share: float, weight: float = 0.45) -> None:
    """A mobile carrier for a `share` of the accounts."""
    who = who[rng.random(len(who)) < share]
    some = weight * rng.gamma(2.0, 0.5, len(who))
    d.habits.add(len(who), account=who, pool=popular(rng, d.shared.carriers, len(who)), work=some, rest=some)


def give_vpn(d: Draft, rng: Rng, who: Ints, share: float, weight: float = 0.6) -> None:
    """A VPN subscription for a `share` of the accounts."""
    who = who[rng.random(len(who)) < share]
    some = weight * rng.gamma(2.0, 0.5, len(who))
    d.habits.add(len(who), account=who, pool=popular(rng, d.shared.vpns, len(who)), work=some, rest=some)


def card_kinds(rng: Rng, count: int, virtual: float = 0.14) -> Ints:
    """Kinds of cards: card, virtual_card, prepaid, invoice."""
    rest = 1.0 - virtual
    return rng.choice(4, count, p=[rest * 0.9, virtual, rest * 0.06, rest * 0.04])


def give_cards(
    d: Draft, rng: Rng, who: Ints, card_of: Ints | None = None, *, virtual: float = 0.14, second: float = 0.1
) -> None:
    """A card for every account: its own, or the one that `card_of` numbers; some change to an own second card.

    Accounts on a cloud channel have none: the cloud platform bills them. A few pay through a billing intermediary.
    """
    if card_of is None:
        card_of = np.arange(len(who))
    direct = d.accounts.column("channel")[who] == 0
    who, card_of = who[direct], card_of[direct]
    count = int(card_of.max()) + 1 if len(card_of) else 0
    cards, kinds = d.fresh("card", count), card_kinds(rng, count, virtual)
    born = d.accounts.column("created")
    added = born[who] + rng.exponential(0.4, len(who))
    changes = rng.random(len(who)) < second
    when = born[who] + (DAYS - born[who]) * rng.random(len(who))
    removed = np.where(changes & (rng.random(len(who)) < 0.5), np.maximum(when, added) + 0.01, np.inf)
    d.cards.add(len(who), account=who, card=cards[card_of], kind=kinds[card_of], added=added, removed=removed)
    through = who[rng.random(len(who)) < 0.004]
    which = skewed(rng, len(through), d.shared.billing, 1.5)
    d.cards.add(len(through), account=through, card=which, kind=3, added=born[through] + 0.01)
    more, when = who[changes], when[changes]
    d.cards.add(
        len(more), account=more, card=d.fresh("card", len(more)), kind=card_kinds(rng, len(more), virtual), added=when
    )


def give_keys(d: Draft, rng: Rng, who: Ints, extra: float = 0.45) -> None:
    """One own API key for every account and a few more for some; the extra ones are made later, some are revoked."""
    born = d.accounts.column("created")[who]
    ready = d.accounts.column("start")[who] - born
    made = born + np.minimum(rng.exponential(0.2, len(who)), ready * rng.random(len(who)))
    d.keys.add(len(who), account=who, key=d.fresh("key", len(who)), created=made)
    more = np.repeat(who, np.minimum(rng.geometric(1.0 / (1.0 + extra), len(who)) - 1, 12))
    born = d.accounts.column("created")[more]
    made = born + (DAYS - born) * rng.random(len(more))
    dropped = np.where(rng.random(len(more)) < 0.25, made + (DAYS - made) * rng.random(len(more)), np.inf)
    weight = rng.gamma(1.0, 0.6, len(more))
    d.keys.add(len(more), account=more, key=d.fresh("key", len(more)), created=made, revoked=dropped, weight=weight)


def give_templates(d: Draft, rng: Rng, who: Ints, public: float = 0.3, private: float = 0.25) -> None:
    """What the requests of people look like: mostly free text (no template), popular public templates, own ones."""
    d.templates.add(len(who), account=who, weight=1.0)
    for _ in range(2):
        users = who[rng.random(len(who)) < public]
        which = skewed(rng, len(users), d.shared.public_templates, 2.2)
        d.templates.add(len(users), account=users, template=which, weight=rng.gamma(1.5, 0.6, len(users)))
    owners = np.repeat(who, rng.poisson(private, len(who)))
    fresh = d.fresh("template", len(owners))
    d.templates.add(len(owners), account=owners, template=fresh, weight=rng.gamma(1.5, 0.8, len(owners)))


def give_devices(d: Draft, rng: Rng, who: Ints, share: float = 0.6, phone: float = 0.3) -> None:
    """Own devices and phones for some accounts, and the TLS fingerprints of their clients, which strangers share."""
    for kind, part in ((DEVICE, share), (DEVICE, share * 0.3), (PHONE, phone)):
        mine = who[rng.random(len(who)) < part]
        d.links.add(len(mine), account=mine, kind=kind, value=d.fresh(LINK_KINDS[kind], len(mine)))
    for part in (0.9, 0.35):
        mine = who[rng.random(len(who)) < part]
        d.links.add(len(mine), account=mine, kind=TLS, value=skewed(rng, len(mine), d.shared.clients, 2.5))


def share_links(d: Draft, rng: Rng, who: Ints, value_of: Ints, kind: int, share: float) -> None:
    """A shared device (or phone) for a `share` of the accounts: `value_of` numbers the devices 0..n-1."""
    count = int(value_of.max()) + 1 if len(value_of) else 0
    values = d.fresh(LINK_KINDS[kind], count)
    use = rng.random(len(who)) < share
    d.links.add(int(use.sum()), account=who[use], kind=kind, value=values[value_of[use]])


def batches(rng: Rng, group_of: Ints, day_of: Floats, born: Floats, joins: Floats, hours: float = 1.0) -> Floats:
    """Creation times in which a share `joins` (per account) of each group is created on the group's day at one go."""
    together = rng.random(len(group_of)) < joins
    at_once = day_of[group_of] + np.abs(rng.normal(0, hours / 24, len(group_of)))
    return np.where(together, np.minimum(at_once, DAYS - 0.2), born)
