"""Requests: when each account sends them, from where, with which key and template, how large they are."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from hydragraph.worlds.draft import GRID, ONE_OFF, Draft, Floats, Ints, Ring, Rng
from hydragraph.worlds.hand_overs import hand_overs
from hydragraph.worlds.scenarios import DAYS

MICROSECONDS_A_DAY = 86_400_000_000
MODELS = ("model-small", "model-medium", "model-large", "model-reasoning")
STATUSES = np.array([200, 429, 400, 500, 529], np.int16)


@dataclass(frozen=True)
class Events:
    """All requests in the order of time; codes of accounts, keys (-1: none), sites, templates (-1: none, ONE_OFF)."""

    time: Ints  # microseconds since the world began
    account: np.ndarray[Any, Any]
    key: np.ndarray[Any, Any]
    site: np.ndarray[Any, Any]  # -1: unknown
    host: np.ndarray[Any, Any]  # random bits for the part of the address that the site leaves open
    template: np.ndarray[Any, Any]
    model: np.ndarray[Any, Any]
    status: np.ndarray[Any, Any]
    input_tokens: np.ndarray[Any, Any]
    output_tokens: np.ndarray[Any, Any]


@dataclass(frozen=True)
class _Bursts:
    account: Ints
    time: Floats  # days
    spread: Floats  # days: typical distance of a request from its burst's start
    limited: Floats  # probability that a request is refused for its rate
    after: Ints  # the burst whose work this one takes over, -1: none


class _Choices:
    """Weighted options of each account, for drawing one per burst."""

    def __init__(self, accounts: int, owner: Ints, weight: Floats) -> None:
        self.order = np.argsort(owner, kind="stable")
        self.first = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=accounts))])
        self.total = np.concatenate([[0.0], np.cumsum(weight[self.order])])

    def draw(self, account: Ints, luck: Floats) -> Ints:
        """Row of the option that each account draws, -1 for an account without options."""
        first, stop = self.first[account], self.first[account + 1]
        low, high = self.total[first], self.total[stop]
        place = np.searchsorted(self.total, low + luck * (high - low), side="right") - 1
        place = np.clip(place, first, np.maximum(stop - 1, first))
        if not len(self.order):
            return np.full(len(account), -1)
        return np.where(stop > first, self.order[np.minimum(place, len(self.order) - 1)], -1)


def generate(d: Draft, seeds: np.random.SeedSequence, events: int) -> Events:
    """About `events` requests of all planned accounts."""
    people, rings, where, what, sizes, limits = (np.random.default_rng(s) for s in seeds.spawn(6))
    column = d.accounts.column
    end = np.minimum(np.minimum(column("end"), column("closed")), DAYS)
    volume = column("volume") * np.clip((end - column("start")) / DAYS * 1.6, 0.12, 1.0)
    effort = [ring.volume * float(np.sqrt(_lives(ring) / DAYS).sum()) for ring in d.rings]
    scale = events * 0.995 / max(volume.sum() + sum(effort), 1e-9)  # some requests fall behind the end of an account
    parts = [_people_bursts(d, people, volume * scale, end)]
    for ring, seed_effort in zip(d.rings, effort, strict=True):
        parts.append(_ring_bursts(rings, ring, seed_effort * scale))
    starts = _starts(parts)
    burst = np.concatenate([np.repeat(np.arange(len(b.time)), n) + s for (b, n), s in zip(parts, starts, strict=True)])
    after = [np.where(b.after < 0, -1, b.after + s) for (b, _), s in zip(parts, starts, strict=True)]
    drawn = {f: np.concatenate([getattr(b, f) for b, _ in parts]) for f in ("account", "time", "spread", "limited")}
    bursts = _Bursts(**drawn, after=np.concatenate(after))
    requests, burst = _requests(d, where, what, sizes, bursts, burst, end)
    return _with_hand_overs(d, limits, requests, bursts, burst)


def _starts(parts: list[tuple[_Bursts, Ints]]) -> Ints:
    return np.concatenate([[0], np.cumsum([len(b.time) for b, _ in parts])])[:-1]


def _lives(ring: Ring) -> Floats:
    return np.minimum(ring.end, DAYS) - ring.start


def _people_bursts(d: Draft, rng: Rng, expected: Floats, end: Floats) -> tuple[_Bursts, Ints]:
    """Bursts of people and timers, and the requests in each: own phase, weekly shape, heavy-tailed sizes."""
    column = d.accounts.column
    count = np.floor(expected + rng.random(len(expected))).astype(np.int64)
    count = np.maximum(count, (expected > 0) & (rng.random(len(expected)) < 0.93))
    bursts = np.maximum(np.where(count > 0, 1, 0), np.round(count / column("burst"))).astype(np.int64)
    account = np.repeat(np.arange(len(count)), bursts)
    rank = np.arange(len(account)) - np.repeat(np.cumsum(bursts) - bursts, bursts)
    start, stop = column("start")[account], end[account]
    weekend = column("weekend")[account]
    day = start + (stop - start) * rng.random(len(account))
    for _ in range(3):
        again = np.flatnonzero((np.floor(day) % 7 >= 5) & (rng.random(len(day)) > weekend))
        day[again] = start[again] + (stop[again] - start[again]) * rng.random(len(again))
    flat = column("flat")[account]
    # an active part of the day with a lull in it: two humps around the phase
    hump = np.where(rng.random(len(day)) < 0.6, -2.6, 2.8)
    hour = column("phase")[account] + hump + 1.9 * rng.standard_normal(len(day))
    hour = np.where(rng.random(len(day)) < flat, 24 * rng.random(len(day)), hour)
    time = np.floor(day) + (hour % 24) / 24
    timed = flat >= GRID
    if timed.any():
        steps = (rank[timed] + 0.5) / bursts[account[timed]]
        late = rng.exponential(20 / 86400, int(timed.sum()))
        time[timed] = start[timed] + (stop - start)[timed] * steps + late
    outside = np.flatnonzero((time < start) | (time >= stop))
    time[outside] = start[outside] + (stop[outside] - start[outside]) * rng.random(len(outside))
    spread = np.exp(np.log(150 / 86400) + 0.9 * rng.standard_normal(len(day)))
    which = np.repeat(np.cumsum(bursts) - bursts, count) + (
        np.repeat(bursts, count) * rng.random(int(count.sum())) ** 1.4
    ).astype(np.int64)
    inside = np.bincount(which, minlength=len(time))
    limited = np.minimum(0.004 + 0.0025 * inside, 0.2)
    return _Bursts(account, time, spread, limited, np.full(len(time), -1)), inside


def _ring_bursts(rng: Rng, ring: Ring, expected: float) -> tuple[_Bursts, Ints]:
    """A ring's work, handed out in turn to the slots that are filled at the time.

    Part of it comes in waves that many slots run at once; of the rest, some bursts hit a rate limit and the next slot
    goes on within a minute or so. Every account begins with a burst of its own soon after it is put to use.
    """
    total = round(expected)
    members, slots = len(ring.accounts), int(ring.slot[-1]) + 1
    bursts = max(members, round(total / ring.burst) - members)
    wave = max(2, min(slots, 40))
    waves = int(bursts * ring.sync / wave)
    alone = bursts - waves * wave
    last = np.minimum(ring.end, DAYS)
    from_day, to_day = float(ring.start.min()), float(last.max())

    def moments(n: int) -> Floats:
        day = from_day + (to_day - from_day) * rng.random(n)
        hour = np.where(rng.random(n) < ring.flat, 24 * rng.random(n), ring.phase + 3.5 * rng.standard_normal(n))
        return np.sort(np.clip(np.floor(day) + (hour % 24) / 24, from_day, to_day))

    time = np.concatenate([moments(alone), np.repeat(moments(waves), wave)])
    single = np.arange(bursts) < alone
    turn = np.concatenate([np.arange(alone), np.arange(waves * wave)]) + rng.integers(0, slots)
    turn = (turn + (rng.random(bursts) < 0.2) * rng.integers(0, slots, bursts)) % slots
    late = rng.exponential(15 / 86400, bursts) + np.abs(rng.normal(0, ring.jitter / 24, bursts))
    time = time + np.where(single, 0.0, late)
    handed = single & (rng.random(bursts) < 0.12)
    follow = np.flatnonzero(handed[:-1] & single[1:]) + 1
    pause = rng.exponential(50 / 86400, len(follow)) + np.abs(rng.normal(0, 0.1 * ring.jitter / 24, len(follow)))
    time[follow], turn[follow] = time[follow - 1] + pause, (turn[follow - 1] + 1) % slots
    after = np.full(bursts, -1)
    after[follow] = follow - 1
    account = _on_duty(ring, turn, time)
    for _ in range(2):  # an empty slot's work goes to another one
        idle = np.flatnonzero(account < 0)
        account[idle] = _on_duty(ring, rng.integers(0, slots, len(idle)), time[idle])
    done = account >= 0
    place = members + np.cumsum(done) - 1
    after = np.where((after >= 0) & done[after], place[after], -1)[done]
    first = ring.start + np.minimum(rng.exponential(0.02, members), 0.3 * (last - ring.start))
    account = np.concatenate([ring.accounts, account[done]])
    time = np.concatenate([first, time[done]])
    limited = np.where(np.concatenate([np.zeros(members, bool), handed[done]]), 0.35, 0.02)
    spread = np.exp(np.log(60 / 86400) + 0.9 * rng.standard_normal(len(time)))
    inside = np.bincount(rng.integers(0, len(time), total), minlength=len(time))
    inside[:members] = np.maximum(inside[:members], 1)
    return _Bursts(account, time, spread, limited, np.concatenate([np.full(members, -1), after])), inside


def _on_duty(ring: Ring, slot: Ints, time: Floats) -> Ints:
    """The account that fills each slot at each time, -1 for none."""
    key = ring.slot * 1000.0 + ring.start
    row = np.searchsorted(key, slot * 1000.0 + time, side="right") - 1
    row = np.maximum(row, 0)
    filled = (ring.slot[row] == slot) & (time >= ring.start[row]) & (time < np.minimum(ring.end[row], DAYS))
    return np.where(filled, ring.accounts[row], -1)


def _with_hand_overs(d: Draft, rng: Rng, events: Events, bursts: _Bursts, burst: Any) -> Events:
    """The requests with the refusals after which work goes on with another account (`burst`: the burst of each)."""
    refused, time = hand_overs(
        d, rng, time=events.time, burst=burst, key=events.key, template=events.template,
        owner=bursts.account, after=bursts.after,
    )  # fmt: skip
    events.status[refused], events.output_tokens[refused] = STATUSES[1], 0
    order = np.argsort(time, kind="stable")
    moved = replace(events, time=time)
    return Events(**{f.name: getattr(moved, f.name)[order] for f in fields(Events)})


def _requests(
    d: Draft, where: Rng, what: Rng, sizes: Rng, bursts: _Bursts, burst: Ints, end: Floats
) -> tuple[Events, Any]:
    """Requests of the bursts (`burst`: the burst of each request), sorted by time, and the burst of each of these."""
    time = bursts.time[burst] + bursts.spread[burst] * what.standard_exponential(len(burst))
    kept = np.flatnonzero(time < end[bursts.account[burst]])
    clock = np.floor(time[kept] * MICROSECONDS_A_DAY).astype(np.int64)
    order = np.argsort(clock, kind="stable")
    clock, burst = clock[order], burst[kept[order]].astype(np.int32)
    del time, kept, order
    accounts = d.accounts.count
    pool = _pools(d, where, bursts)
    site, host = _sites(d, where, pool, burst)
    key = _keys(d, what, bursts, accounts)[burst]
    key[what.random(len(key), np.float32) < 0.02] = -1
    template = _templates(d, what, bursts, accounts)
    model, status, tokens_in, tokens_out = _work(d, sizes, bursts, burst, template, accounts)
    events = Events(
        time=clock, account=bursts.account.astype(np.int32)[burst], key=key, site=site, host=host,
        template=template[burst], model=model, status=status, input_tokens=tokens_in, output_tokens=tokens_out,
    )  # fmt: skip
    return events, burst


def _pools(d: Draft, rng: Rng, bursts: _Bursts) -> Ints:
    """Pool that each burst comes from: by habit, other ones in working hours; -1: unknown."""
    owner, accounts = d.habits.column("account"), d.accounts.count
    local = (bursts.time % 1 * 24 - d.accounts.column("phase")[bursts.account] + 12) % 24 - 12
    working = (np.abs(local) < 4.8) & (np.floor(bursts.time) % 7 < 5)
    luck = rng.random(len(bursts.time))
    row = np.where(
        working,
        _Choices(accounts, owner, d.habits.column("work")).draw(bursts.account, luck),
        _Choices(accounts, owner, d.habits.column("rest")).draw(bursts.account, luck),
    )
    pool = np.where(row >= 0, d.habits.column("pool")[row], -1)
    following, at = d.places.column("next"), d.places.column("at")
    for _ in range(2):
        moved = np.flatnonzero((pool >= 0) & (bursts.time >= at[pool]))
        pool[moved] = following[pool[moved]]
    return pool


def _sites(d: Draft, rng: Rng, pool: Ints, burst: Any) -> tuple[Any, Any]:
    """Site and open host bits of each request: one for the whole burst, or a new one each time where a pool rotates."""
    first, size, rotates = (d.places.column(c) for c in ("first", "size", "rotates"))
    per_burst = rng.random(len(pool), np.float32)
    host_burst = rng.integers(0, 2**62, len(pool))
    mine = pool[burst]
    turning = rotates[mine] & (mine >= 0)
    luck = np.where(turning, rng.random(len(mine), np.float32), per_burst[burst])
    place = first[mine] + np.minimum((luck * size[mine]).astype(np.int64), size[mine] - 1)
    site = d.places.members[place].astype(np.int32)
    site[(mine < 0) | (rng.random(len(site), np.float32) < 0.004)] = -1
    return site, host_burst[burst]


def _keys(d: Draft, rng: Rng, bursts: _Bursts, accounts: int) -> Any:
    """Key of each burst: drawn by weight; a key that is not yet made or revoked gives way to the account's first."""
    owner, made, revoked = (d.keys.column(c) for c in ("account", "created", "revoked"))
    choices = _Choices(accounts, owner, d.keys.column("weight"))
    row = choices.draw(bursts.account, rng.random(len(bursts.time)))
    off = (row >= 0) & ((bursts.time < made[row]) | (bursts.time > revoked[row]))
    row = np.where(off, choices.order[np.minimum(choices.first[bursts.account], len(owner) - 1)], row)
    return np.where(row >= 0, d.keys.column("key")[row], -1).astype(np.int32)


def _templates(d: Draft, rng: Rng, bursts: _Bursts, accounts: int) -> Any:
    """Template of each burst: the account's, or none; a few requests have a hash that nothing else has."""
    choices = _Choices(accounts, d.templates.column("account"), d.templates.column("weight"))
    row = choices.draw(bursts.account, rng.random(len(bursts.time)))
    template = np.where(row >= 0, d.templates.column("template")[row], -1)
    template[(template == -1) & (rng.random(len(template)) < 0.05)] = ONE_OFF
    return template.astype(np.int32)


def _work(d: Draft, rng: Rng, bursts: _Bursts, burst: Any, template: Any, accounts: int) -> tuple[Any, Any, Any, Any]:
    """Model, status and token counts: a template has its typical size, an account its taste, a request its noise."""
    taste = rng.choice(4, accounts, p=[0.3, 0.4, 0.22, 0.08]).astype(np.int8)
    model = np.where(rng.random(len(bursts.time)) < 0.8, taste[bursts.account], rng.integers(0, 4, len(bursts.time)))
    per_account = rng.normal(0, 0.7, accounts).astype(np.float32)
    per_template = rng.normal(6.6, 0.9, d.counters["template"] + 1).astype(np.float32)
    fixed = template >= 0
    length = np.where(fixed, per_template[template], 6.0 + per_account[bursts.account]).astype(np.float32)
    answer = np.where(fixed, 5.9 + 0.4 * (per_template[template] - 6.6), 5.5 + 0.5 * per_account[bursts.account])
    wobble = np.where(fixed, 0.35, 0.9).astype(np.float32)
    noise = rng.standard_normal(len(burst), np.float32)
    tokens_in = np.exp(np.minimum(length[burst] + wobble[burst] * noise, 12.0)).astype(np.int32) + 1
    noise = rng.standard_normal(len(burst), np.float32)
    tokens_out = np.exp(np.minimum(answer.astype(np.float32)[burst] + 0.7 * noise, 9.5)).astype(np.int32) + 1
    luck = rng.random(len(burst), np.float32)
    limited = bursts.limited.astype(np.float32)[burst]
    kind = np.where(
        luck < limited, 1, np.where(luck > 0.9995, 4, np.where(luck > 0.997, 3, np.where(luck > 0.99, 2, 0)))
    )
    status = STATUSES[kind]
    tokens_out[kind > 0] = 0
    return model.astype(np.int8)[burst], status, tokens_in, tokens_out
