"""Innocent people and groups: what they share is what people really share, with heavy-tailed sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from hydragraph.worlds.draft import GRID, OPEN, UNPAID, VOLUNTARY, Draft, Floats, Ints, Rng, sizes, skewed
from hydragraph.worlds.people import (
    DEVICE,
    PHONE,
    add_people,
    batches,
    close,
    created,
    give_cards,
    give_devices,
    give_homes,
    give_keys,
    give_mobile,
    give_templates,
    give_vpn,
    phases,
    share_links,
    volumes,
)
from hydragraph.worlds.places import MANY, hosts
from hydragraph.worlds.scenarios import DAYS, INNOCENTS

KIND = {name: code for code, name in enumerate(INNOCENTS)}


def _grouped(d: Draft, group_sizes: Ints) -> tuple[Ints, Ints]:
    """(local number, world-wide code) of the group of each account."""
    local = np.repeat(np.arange(len(group_sizes)), group_sizes)
    return local, d.fresh("group", len(group_sizes))[local]


def _few_of(rng: Rng, group_of: Ints, group_sizes: Ints, per: float) -> Ints:
    """Numbers 0..n-1 of things of which each group has about one for every `per` accounts."""
    have = np.maximum(1, np.round(group_sizes / (per * np.exp(0.5 * rng.standard_normal(len(group_sizes)))))).astype(
        np.int64
    )
    first = np.concatenate([[0], np.cumsum(have)])
    mine = first[group_of] + (rng.random(len(group_of)) * have[group_of]).astype(np.int64)
    return np.unique(mine, return_inverse=True)[1]


def lone(d: Draft, rng: Rng, count: int) -> None:
    """People for themselves: a home, often a phone, sometimes a VPN or an office's range, rarely a rented server."""
    who = add_people(d, rng, count, kind=KIND["lone"])
    give_homes(d, rng, who, np.arange(count))
    give_mobile(d, rng, who, 0.38)
    give_vpn(d, rng, who, 0.07)
    guests = who[rng.random(count) < 0.06]
    if d.offices and len(guests):
        pools = np.concatenate(d.offices)
        d.habits.add(len(guests), account=guests, pool=rng.choice(pools, len(guests)), work=1.5, rest=0.05)
    servers = who[rng.random(count) < 0.03]
    sites = d.places.add_sites(rng.choice(d.shared.hosting, len(servers)), hosts(rng, len(servers)))
    d.habits.add(len(servers), account=servers, pool=d.places.single(sites), work=1.0, rest=1.5)
    give_cards(d, rng, who[rng.random(count) < 0.8])
    give_keys(d, rng, who)
    give_templates(d, rng, who)
    give_devices(d, rng, who)
    close(d, rng, who, 0.018, 0.05)


def trial(d: Draft, rng: Rng, count: int) -> None:
    """People who try it for a day and go."""
    born = DAYS * rng.random(count)
    start = np.minimum(born + rng.exponential(0.02, count), DAYS - 0.02)
    end = start + rng.exponential(0.25, count)
    volume = 0.25 * volumes(rng, count, 0.9)
    who = add_people(d, rng, count, kind=KIND["trial"], created=born, start=start, end=end, volume=volume)
    on_phone = rng.random(count) < 0.25
    give_mobile(d, rng, who[on_phone], 1.0)
    homes = who[~on_phone]
    give_homes(d, rng, homes, np.arange(len(homes)))
    give_vpn(d, rng, homes, 0.08)
    give_cards(d, rng, who[rng.random(count) < 0.15], virtual=0.3)
    give_keys(d, rng, who, 0.05)
    give_templates(d, rng, who, 0.15, 0.02)
    give_devices(d, rng, who, 0.6, 0.4)
    close(d, rng, who, 0.03, 0.1)


def person(d: Draft, rng: Rng, count: int) -> None:
    """One person with two or three accounts (private, work, an old one): same home and device, often another card."""
    groups = sizes(rng, count, 2.1, 0.2, 2, 4)
    local, group = _grouped(d, groups)
    born = created(rng, count, 0.35)
    who = add_people(
        d, rng, count, kind=KIND["person"], group=group, phase=phases(rng, len(groups))[local], created=born
    )
    _reopened(d, rng, who, local, len(groups))
    give_homes(d, rng, who, local)
    give_mobile(d, rng, who, 0.3)
    one_card = rng.random(len(groups))[local] < 0.45
    give_cards(d, rng, who, np.unique(np.where(one_card, local, count + np.arange(count)), return_inverse=True)[1])
    give_keys(d, rng, who)
    give_templates(d, rng, who)
    share_links(d, rng, who, local, DEVICE, 0.6)
    share_links(d, rng, who, local, PHONE, 0.35)
    give_devices(d, rng, who, 0.2)


def _reopened(d: Draft, rng: Rng, who: Ints, local: Ints, groups: int) -> None:
    """Some people close an account and open the next one within days, as a ring does, but for their own reasons."""
    close(d, rng, who, 0.012, 0.06)
    first = np.searchsorted(local, np.arange(groups))
    again = np.flatnonzero(rng.random(groups) < 0.15)
    old, new = who[first[again]], who[np.minimum(first[again] + 1, len(who) - 1)]
    column = d.accounts.column
    shut = rng.uniform(4, DAYS - 6, len(again))
    column("created")[old] = np.minimum(column("created")[old], shut - 3.0)
    column("start")[old] = np.maximum(column("created")[old], 0.0)
    column("end")[old], column("closed")[old] = np.inf, shut
    column("reason")[old] = np.where(rng.random(len(again)) < 0.3, UNPAID, VOLUNTARY)
    born = shut + np.minimum(rng.exponential(2.0, len(again)), 5.0)
    column("created")[new], column("start")[new] = born, born + rng.exponential(0.05, len(again))
    column("end")[new], column("closed")[new], column("reason")[new] = np.inf, np.inf, OPEN


def household(d: Draft, rng: Rng, count: int) -> None:
    """Families and flat shares: one home (/24 or /56), sometimes one card, sometimes one device."""
    groups = sizes(rng, count, 2.4, 0.35, 2, 7)
    local, group = _grouped(d, groups)
    phase = phases(rng, len(groups))[local] + 1.5 * rng.standard_normal(count)
    who = add_people(d, rng, count, kind=KIND["household"], group=group, phase=phase % 24)
    give_homes(d, rng, who, local)
    give_mobile(d, rng, who, 0.4)
    give_vpn(d, rng, who, 0.04)
    one_card = rng.random(len(groups))[local] < 0.35
    give_cards(d, rng, who, np.unique(np.where(one_card, local, count + np.arange(count)), return_inverse=True)[1])
    give_keys(d, rng, who, 0.3)
    give_templates(d, rng, who, 0.25, 0.15)
    share_links(d, rng, who, local, DEVICE, 0.18)
    share_links(d, rng, who, local, PHONE, 0.15)
    give_devices(d, rng, who)
    close(d, rng, who, 0.01, 0.05)


def _company(d: Draft, rng: Rng, who: Ints, local: Ints, groups: Ints) -> None:
    """Templates of a company: a few own ones that many members use, some public ones, free text."""
    count = len(groups)
    d.templates.add(len(who), account=who, weight=1.0)
    own = np.maximum(0, np.round(rng.lognormal(0.6, 0.8, count))).astype(np.int64)
    first = np.concatenate([[0], np.cumsum(own)])
    codes = d.fresh("template", int(first[-1]))
    for part in (0.7, 0.4, 0.25):
        users = (rng.random(len(who)) < part) & (own[local] > 0)
        mine = first[local[users]] + (own[local[users]] * rng.random(int(users.sum())) ** 1.5).astype(np.int64)
        d.templates.add(len(mine), account=who[users], template=codes[mine], weight=rng.gamma(2.0, 0.5, len(mine)))
    public = who[rng.random(len(who)) < 0.25]
    which = skewed(rng, len(public), d.shared.public_templates, 2.2)
    d.templates.add(len(public), account=public, template=which, weight=rng.gamma(1.5, 0.5, len(public)))


def _onboarded(rng: Rng, local: Ints, groups: Ints, share: float) -> Floats:
    """Creation times of a company's accounts: one by one, or a good part of them on one onboarding day."""
    day = np.where(
        rng.random(len(groups)) < 0.35, rng.uniform(0, DAYS - 1, len(groups)), -rng.exponential(200, len(groups))
    )
    joins = np.where(rng.random(len(groups)) < share, rng.uniform(0.4, 1.0, len(groups)), 0.0)
    return batches(rng, local, day, created(rng, len(local), 0.2), joins[local])


def office(d: Draft, rng: Rng, count: int) -> None:
    """Companies: own ranges in working hours, homes otherwise; one, several or own cards; half with org_id."""
    groups = sizes(rng, count, 6.0, 1.05, 3, max(40, count // 12))
    local, group = _grouped(d, groups)
    n = len(groups)
    orgs = np.where(rng.random(n) < 0.55, d.fresh("org", n), -1)
    phase = phases(rng, n)[local] + rng.standard_normal(count)
    machine = (rng.random(count) < 0.07) & (groups[local] >= 6)
    who = add_people(
        d, rng, count,
        kind=KIND["office"], group=group, org=orgs[local], phase=phase % 24,
        created=_onboarded(rng, local, groups, 0.3),
        flat=np.where(machine, rng.choice([1.0, GRID], count), 0.12 * rng.random(count)),
        weekend=np.where(machine, 1.0, rng.uniform(0.02, 0.25, count)),
        channel=np.where(rng.random(n) < 0.2, rng.integers(1, 4, n), 0)[local],
        volume=volumes(rng, count) * np.where(machine, 3.0, 1.2),
    )  # fmt: skip
    sites = np.clip(np.round(np.log2(groups) / 2.2 * rng.uniform(0.5, 1.5, n)), 1, 8).astype(np.int64)
    first = np.concatenate([[0], np.cumsum(sites)])
    nets = np.where(
        rng.random(first[-1]) < 0.5, d.shared.home_nets(rng, first[-1]), d.shared.space.take(int(first[-1]))
    )
    pools = d.places.single(d.places.add_sites(nets, hosts(rng, len(nets))))
    d.offices.append(pools)
    for part, work, rest in ((1.0, 3.0, 0.12), (0.3, 0.8, 0.05)):
        at_work = ~machine & (rng.random(count) < part)
        mine = pools[first[local[at_work]] + (rng.random(int(at_work.sum())) * sites[local[at_work]]).astype(np.int64)]
        d.habits.add(len(mine), account=who[at_work], pool=mine, work=work, rest=rest)
    staff = who[~machine]
    homes = staff[rng.random(len(staff)) < 0.85]
    give_homes(d, rng, homes, np.arange(len(homes)), work=0.5)
    give_mobile(d, rng, staff, 0.3, 0.25)
    give_vpn(d, rng, staff, 0.05, 0.3)
    cloud = d.shared.clouds[skewed(rng, n, len(d.shared.clouds), 1.7)]
    d.habits.add(int(machine.sum()), account=who[machine], pool=cloud[local[machine]], work=1.0, rest=1.0)
    style = rng.choice(3, n, p=[0.4, 0.3, 0.3])  # one card, several, everybody's own
    style = np.where((groups > 60) & (style == 0), 1, style)[local]
    several = count + _few_of(rng, local, groups, 5.0)
    card = np.where(style == 0, local, np.where(style == 1, several, 2 * count + np.arange(count)))
    give_cards(d, rng, who, np.unique(card, return_inverse=True)[1], second=0.04)
    give_keys(d, rng, who)
    pooled = (rng.random(n) < 0.2)[local] & (machine | (rng.random(count) < 0.35))
    keys = d.fresh("key", n)[local[pooled]]
    born = d.accounts.column("created")[who[pooled]]
    d.keys.add(len(keys), account=who[pooled], key=keys, created=born, weight=1.5)
    _company(d, rng, who, local, groups)
    share_links(d, rng, who[machine], local[machine], DEVICE, 0.7)
    share_links(d, rng, staff, local[~machine], PHONE, 0.06)
    give_devices(d, rng, staff)
    close(d, rng, who, 0.004, 0.05)


def agency(d: Draft, rng: Rng, count: int) -> None:
    """Agencies that run their clients' accounts from their own range and machine, often on their own cards."""
    groups = sizes(rng, count, 14.0, 0.8, 4, max(30, count // 5))
    local, group = _grouped(d, groups)
    n = len(groups)
    phase = phases(rng, n)[local] + rng.standard_normal(count)
    who = add_people(
        d, rng, count,
        kind=KIND["agency"], group=group, phase=phase % 24, weekend=rng.uniform(0.02, 0.4, count),
        created=_onboarded(rng, local, groups, 0.15), volume=1.3 * volumes(rng, count),
        org=np.where(rng.random(count) < 0.3, d.fresh("org", count), -1),
    )  # fmt: skip
    nets = d.shared.home_nets(rng, n)
    pools = d.places.single(d.places.add_sites(nets, hosts(rng, n)))
    d.habits.add(count, account=who, pool=pools[local], work=2.2, rest=0.6)
    own = rng.random(count) < 0.55  # the client also works with the account itself
    give_homes(d, rng, who[own], np.arange(int(own.sum())), work=0.8)
    give_mobile(d, rng, who[own], 0.2)
    pays = (rng.random(n) < 0.6)[local] & (rng.random(count) < 0.85)
    card = np.where(pays, _few_of(rng, local, groups, 12.0), count + np.arange(count))
    give_cards(d, rng, who, np.unique(card, return_inverse=True)[1], second=0.05)
    give_keys(d, rng, who)
    _company(d, rng, who, local, groups)
    share_links(d, rng, who, _few_of(rng, local, groups, 9.0), DEVICE, 0.6)
    share_links(d, rng, who, _few_of(rng, local, groups, 9.0), PHONE, 0.3)
    give_devices(d, rng, who[own], 0.5)
    close(d, rng, who, 0.004, 0.06)


def _campuses(d: Draft, rng: Rng, count: int) -> tuple[Ints, Ints, Ints]:
    """Campus of each of `count` people (number, group code) and the pool of each campus."""
    n = max(1, round(count / rng.uniform(900, 2200)))
    shares = rng.pareto(1.2, n) + 0.4
    local = np.sort(rng.choice(n, count, p=shares / shares.sum()))
    people = np.bincount(local, minlength=n)
    pools = []
    for campus in range(n):
        nets = d.shared.space.take(int(1 + people[campus] // rng.integers(400, 1500)))
        d.shared.known.append(("campus", nets))
        pools.append(d.places.pool(d.places.add_sites(nets, MANY)))
    return local, d.fresh("group", n)[local], np.array(pools)


def campus(d: Draft, rng: Rng, count: int) -> None:
    """Universities: hundreds to thousands behind a few ranges that the same people use in turn; nothing else shared."""
    local, group, pools = _campuses(d, rng, count)
    phase = phases(rng, len(pools))[local] + 2.0 * rng.standard_normal(count)
    who = add_people(
        d, rng, count, kind=KIND["campus"], group=group, phase=phase % 24, created=created(rng, count, 0.4)
    )
    d.habits.add(count, account=who, pool=pools[local], work=2.0, rest=0.6)
    homes = who[rng.random(count) < 0.6]
    give_homes(d, rng, homes, np.arange(len(homes)))
    give_mobile(d, rng, who, 0.45)
    give_vpn(d, rng, who, 0.06)
    give_cards(d, rng, who[rng.random(count) < 0.55])
    give_keys(d, rng, who, 0.2)
    give_templates(d, rng, who, 0.35, 0.2)
    laboratory = who[rng.random(count) < 0.05]
    share_links(d, rng, laboratory, skewed(rng, len(laboratory), max(1, len(laboratory) // 8), 1.3), DEVICE, 1.0)
    give_devices(d, rng, who)
    close(d, rng, who, 0.01, 0.04)


def course(d: Draft, rng: Rng, count: int) -> None:
    """Courses: a class signs up within the hour, on free credit, and sends the course's own template for some weeks."""
    groups = sizes(rng, count, 28.0, 0.6, 6, 250)
    local, group = _grouped(d, groups)
    n = len(groups)
    day = rng.uniform(0, DAYS - 3, n)
    born = np.minimum(day[local] + np.abs(rng.normal(0, 0.03, count)), DAYS - 0.2)
    phase = phases(rng, n)[local] + 1.5 * rng.standard_normal(count)
    who = add_people(
        d, rng, count,
        kind=KIND["course"], group=group, created=born, start=born, end=born + rng.gamma(2.0, 8.0, count),
        phase=phase % 24, volume=0.8 * volumes(rng, count, 0.8), channel=0,
    )  # fmt: skip
    pools = d.places.single(d.places.add_sites(d.shared.space.take(n), MANY))
    d.habits.add(count, account=who, pool=pools[local], work=2.0, rest=0.4)
    homes = who[rng.random(count) < 0.5]
    give_homes(d, rng, homes, np.arange(len(homes)))
    give_mobile(d, rng, who, 0.4)
    give_cards(d, rng, who[rng.random(count) < 0.08])
    give_keys(d, rng, who, 0.05)
    give_templates(d, rng, who, 0.2, 0.05)
    d.templates.add(count, account=who, template=d.fresh("template", n)[local], weight=rng.gamma(3.0, 0.6, count))
    give_devices(d, rng, who)
    close(d, rng, who, 0.004, 0.03)


def coworking(d: Draft, rng: Rng, count: int) -> None:
    """Coworking houses, libraries, cafes: strangers on one range with own homes, cards and work."""
    groups = sizes(rng, count, 18.0, 0.8, 4, 300)
    local, group = _grouped(d, groups)
    n = len(groups)
    phase = phases(rng, n)[local] + 2.0 * rng.standard_normal(count)
    who = add_people(d, rng, count, kind=KIND["coworking"], group=group, phase=phase % 24)
    pools = d.places.single(d.places.add_sites(d.shared.space.take(n), hosts(rng, n)))
    d.habits.add(count, account=who, pool=pools[local], work=1.6, rest=0.2)
    share_links(d, rng, who, local, DEVICE, 0.08)
    give_homes(d, rng, who, np.arange(count))
    give_mobile(d, rng, who, 0.35)
    give_cards(d, rng, who[rng.random(count) < 0.85])
    give_keys(d, rng, who)
    give_templates(d, rng, who)
    give_devices(d, rng, who)
    close(d, rng, who, 0.012, 0.05)


def _subscribers(d: Draft, rng: Rng, count: int, name: str, pools: Ints, power: float) -> Ints:
    """People who reach the provider mostly through one of `pools`."""
    local = np.sort(skewed(rng, count, len(pools), power))
    group = d.fresh("group", len(pools))[local]
    who = add_people(d, rng, count, kind=KIND[name], group=group)
    d.habits.add(count, account=who, pool=pools[local], work=2.5, rest=2.5)
    give_cards(d, rng, who[rng.random(count) < 0.7], virtual=0.2)
    give_keys(d, rng, who)
    give_templates(d, rng, who)
    give_devices(d, rng, who)
    close(d, rng, who, 0.025, 0.05)
    return who


def carrier(d: Draft, rng: Rng, count: int) -> None:
    """People with a phone or a mobile router only: thousands behind a carrier's few ranges."""
    who = _subscribers(d, rng, count, "carrier", d.shared.carriers, 1.7)
    homes = who[rng.random(count) < 0.25]
    give_homes(d, rng, homes, np.arange(len(homes)))


def vpn(d: Draft, rng: Rng, count: int) -> None:
    """Subscribers of a VPN that they never switch off."""
    who = _subscribers(d, rng, count, "vpn", d.shared.vpns, 1.7)
    homes = who[rng.random(count) < 0.5]
    give_homes(d, rng, homes, np.arange(len(homes)))
    give_mobile(d, rng, who, 0.2)


def proxy(d: Draft, rng: Rng, count: int) -> None:
    """Honest customers of the proxy providers that rings also rent from."""
    who = _subscribers(d, rng, count, "proxy", d.shared.wide, 1.0)
    homes = who[rng.random(count) < 0.6]
    give_homes(d, rng, homes, np.arange(len(homes)))
    for sites in d.shared.compact:
        some = who[rng.random(count) < 0.2]
        d.habits.add(len(some), account=some, pool=d.places.single(rng.choice(sites, len(some))), work=1.5, rest=1.5)


def build(d: Draft, rng: Rng, count: int) -> None:
    """Small companies' machines: build jobs and services round the clock from a cloud's egress, one card each."""
    groups = sizes(rng, count, 3.0, 0.6, 1, 14)
    local, group = _grouped(d, groups)
    n = len(groups)
    who = add_people(
        d, rng, count,
        kind=KIND["build"], group=group, flat=rng.choice([1.0, GRID], count, p=[0.6, 0.4]), weekend=1.0,
        volume=2.0 * volumes(rng, count, 1.1), org=np.where(rng.random(n) < 0.3, d.fresh("org", n), -1)[local],
    )  # fmt: skip
    cloud = d.shared.clouds[skewed(rng, n, len(d.shared.clouds), 1.7)]
    d.habits.add(count, account=who, pool=cloud[local], work=2.0, rest=2.0)
    servers = np.flatnonzero(rng.random(n) < 0.4)
    own = np.full(n, -1)
    own[servers] = d.places.single(
        d.places.add_sites(rng.choice(d.shared.hosting, len(servers)), hosts(rng, len(servers)))
    )
    has = own[local] >= 0
    d.habits.add(int(has.sum()), account=who[has], pool=own[local[has]], work=2.0, rest=2.0)
    give_cards(d, rng, who, local, second=0.05)
    give_keys(d, rng, who, 0.8)
    pooled = (rng.random(n) < 0.25)[local]
    keys, born = d.fresh("key", n)[local[pooled]], d.accounts.column("created")[who[pooled]]
    d.keys.add(len(keys), account=who[pooled], key=keys, created=born, weight=1.5)
    _company(d, rng, who, local, groups)
    give_devices(d, rng, who, 0.15, 0.1)
    close(d, rng, who, 0.004, 0.03)


BUILDERS: Mapping[str, Callable[[Draft, Rng, int], None]] = {
    "office": office,
    "household": household,
    "person": person,
    "agency": agency,
    "campus": campus,
    "course": course,
    "coworking": coworking,
    "carrier": carrier,
    "vpn": vpn,
    "build": build,
    "proxy": proxy,
    "trial": trial,
    "lone": lone,
}
"""One builder a kind, in the order in which they run: offices first, because lone users visit them."""


def build_innocents(d: Draft, seeds: np.random.SeedSequence, count: int, shares: Mapping[str, float]) -> None:
    """`count` innocent accounts; each kind's share strays a little from seed to seed."""
    order = [name for name in BUILDERS if name in shares]
    streams = seeds.spawn(len(BUILDERS) + 1)
    rng = np.random.default_rng(streams[-1])
    weight = np.array([shares[name] for name in order]) * np.exp(0.12 * rng.standard_normal(len(order)))
    quota = np.floor(count * weight / weight.sum()).astype(np.int64)
    quota[-1] += count - quota.sum()
    for name, number in zip(order, quota, strict=True):
        if number:
            BUILDERS[name](d, np.random.default_rng(streams[list(BUILDERS).index(name)]), int(number))
