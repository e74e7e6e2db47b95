"""A planned world as tables of the contract: codes become opaque ids, days become times, rows lose their order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hydragraph.schema import INPUT, TIME
from hydragraph.worlds.activity import MICROSECONDS_A_DAY, MODELS, Events
from hydragraph.worlds.draft import CARD_KINDS, CHANNELS, LINK_KINDS, ONE_OFF, REASONS, Draft, Floats, Ints, Rng
from hydragraph.worlds.innocent import KIND
from hydragraph.worlds.places import MANY, opaque, text4, text6
from hydragraph.worlds.rings import CODE
from hydragraph.worlds.scenarios import DAYS
from hydragraph.worlds.window import Window

EPOCH = 1_767_571_200_000_000
"""The world begins on Monday 2026-01-05 at 00:00 UTC, in microseconds since 1970."""

PART_ROWS = 1_000_000
GROUP_ROWS = 250_000

TRUTH_COLUMNS = ("account_id", "label", "cluster", "group", "group_kind", "tactic", "parent")


class Names:
    """Opaque ids of everything that has a code: random digits, unrelated to the code."""

    def __init__(self, draft: Draft, seeds: np.random.SeedSequence) -> None:
        rng = np.random.default_rng(seeds)

        def named(prefix: str, count: int) -> pl.Series:
            return opaque(prefix, _distinct(rng, count))

        self.account = named("acct_", draft.accounts.count)
        self.key = named("key_", draft.counters["key"])
        self.card = named("pm_", draft.counters["card"])
        self.org = named("org_", draft.counters["org"])
        self.template = named("", draft.counters["template"])
        self.cluster = named("ring_", draft.counters["cluster"])
        self.group = named("group_", draft.counters["group"])
        self.link = {
            k: named({"device": "dev_", "tls": "t13d", "phone": "tel_"}[k], draft.counters[k]) for k in LINK_KINDS
        }


def _distinct(rng: Rng, count: int) -> Any:
    numbers = rng.integers(0, 2**64, count, dtype=np.uint64)
    if len(np.unique(numbers)) != count:  # about once in 30,000 worlds of a million accounts
        return _distinct(rng, count)
    return numbers


def _named(names: pl.Series, code: Ints) -> pl.Series:
    """Ids of codes, null for codes below 0."""
    missing = code < 0
    if not len(names):
        return pl.Series([None] * len(code), dtype=pl.String)
    found = names.gather(pl.Series(np.where(missing, 0, code)))
    return found.zip_with(pl.Series(~missing), pl.Series([None], dtype=pl.String)) if missing.any() else found


def _times(days: Floats, latest: float = np.inf) -> pl.Series:
    """Times of days since the world began, null where not finite or beyond `latest`."""
    known = np.isfinite(days) & (days < latest)
    clock = np.where(known, np.floor(np.where(known, days, 0.0) * MICROSECONDS_A_DAY), 0).astype(np.int64) + EPOCH
    column = pl.Series(clock).cast(TIME)
    return column.zip_with(pl.Series(known), pl.Series([None], dtype=TIME)) if not known.all() else column


def moment(day: float) -> int:
    """Microseconds since 1970 of a day since the world began."""
    return EPOCH + int(day * MICROSECONDS_A_DAY)


def _words(words: tuple[str | None, ...], code: Ints) -> pl.Series:
    return _named(pl.Series(words, dtype=pl.String), code)


def write_tables(
    folder: Path,
    draft: Draft,
    events: Events,
    names: Names,
    seeds: np.random.SeedSequence,
    *,
    templates: bool,
    window: Window,
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Write what the tables hold of `window`, and the truth about every account opened before its end, into `folder`;
    returns the truth and the rows of each table."""
    rng = np.random.default_rng(seeds)
    column = draft.accounts.column
    ids = names.account
    small: dict[str, pl.DataFrame] = {}
    small["accounts"] = pl.DataFrame(
        {
            "account_id": ids,
            "created_at": _times(column("created")),
            "closed_at": _times(column("closed"), DAYS),
            "close_reason": _words(REASONS, np.where(column("closed") < DAYS, column("reason"), 0)),
            "org_id": _named(names.org, column("org")),
            "channel": _words(CHANNELS, column("channel")),
        }
    )
    keys = draft.keys.column
    ends = np.minimum(column("closed"), DAYS)
    small["api_keys"] = pl.DataFrame(
        {
            "account_id": ids.gather(pl.Series(keys("account"))),
            "api_key_id": _named(names.key, keys("key")),
            "created_at": _times(keys("created")),
            "revoked_at": _times(keys("revoked"), DAYS),
        }
    ).filter(pl.Series(keys("created") < ends[keys("account")]))
    cards = draft.cards.column
    small["payments"] = pl.DataFrame(
        {
            "account_id": ids.gather(pl.Series(cards("account"))),
            "instrument_id": _named(names.card, cards("card")),
            "kind": _words(CARD_KINDS, cards("kind")),
            "added_at": _times(cards("added")),
            "removed_at": _times(cards("removed"), DAYS),
        }
    ).filter(pl.Series(cards("added") < ends[cards("account")]))
    small["links"] = _links(draft, names, rng)
    small["ranges"] = _ranges(draft, rng)
    counts: dict[str, int] = {}
    for name, frame in small.items():
        ready = frame.sort(frame.columns)
        if name in ("api_keys", "payments", "links"):
            ready = ready.unique(["account_id", *_IDENTITY[name]], keep="first", maintain_order=True)
        ready = window.of(name, ready)
        INPUT[name].conform(ready).write_parquet(folder / f"{name}.parquet", compression="zstd", statistics=True)
        counts[name] = ready.height
    counts["events"] = _write_events(folder, draft, events, names, rng, templates=templates, window=window)
    there = small["accounts"].filter(window.opened()).select("account_id")
    truth = _truth(draft, names).join(there, on="account_id", how="semi", maintain_order="left")
    truth.write_parquet(folder / "truth.parquet", compression="zstd")
    counts["rings"], counts["ring_accounts"] = truth["cluster"].drop_nulls().n_unique(), int(truth["label"].sum())
    return truth, counts


_IDENTITY: Mapping[str, tuple[str, ...]] = {
    "api_keys": ("api_key_id",),
    "payments": ("instrument_id",),
    "links": ("kind", "value"),
}


def _links(draft: Draft, names: Names, rng: Rng) -> pl.DataFrame:
    account, kind, value = (draft.links.column(c) for c in ("account", "kind", "value"))
    column = draft.accounts.column
    start = np.maximum(column("start"), 0.0)[account]
    end = np.minimum(np.minimum(column("end"), column("closed")), DAYS)[account]
    first = start + (end - start) * rng.random(len(account)) * 0.3
    last = first + (end - first) * rng.random(len(account)) ** 0.5
    parts = []
    for code, word in enumerate(LINK_KINDS):
        rows = np.flatnonzero(kind == code)
        parts.append(
            pl.DataFrame(
                {
                    "account_id": names.account.gather(pl.Series(account[rows])),
                    "kind": pl.repeat(word, len(rows), eager=True, dtype=pl.String),
                    "value": _named(names.link[word], value[rows]),
                    "first_seen": _times(first[rows]),
                    "last_seen": _times(last[rows]),
                    "count": 1 + rng.geometric(0.2, len(rows)),
                }
            )
        )
    return pl.concat(parts)


def _ranges(draft: Draft, rng: Rng) -> pl.DataFrame:
    """The known part of the shared infrastructure: a list that somebody keeps is never complete."""
    nets, kinds = [], []
    for kind, ranges in draft.shared.known:
        listed = ranges[rng.random(len(ranges)) < 0.65]
        nets.append(listed)
        kinds += [kind] * len(listed)
    net = np.concatenate(nets) if nets else np.zeros(0, np.int64)
    cidr = text4(net, np.zeros_like(net)) + "/24"
    return pl.DataFrame({"cidr": cidr, "kind": pl.Series(kinds, dtype=pl.String)})


def _truth(draft: Draft, names: Names) -> pl.DataFrame:
    column = draft.accounts.column
    return pl.DataFrame(
        {
            "account_id": names.account,
            "label": pl.Series(column("label"), dtype=pl.Int64),
            "cluster": _named(names.cluster, column("cluster")),
            "group": _named(names.group, column("group")),
            "group_kind": _words(tuple(KIND), column("kind")),
            "tactic": _words(tuple(CODE), column("tactic")),
            "parent": _named(names.account, column("parent")),
        }
    ).sort("account_id")


def _write_events(
    folder: Path, draft: Draft, events: Events, names: Names, rng: Rng, *, templates: bool, window: Window
) -> int:
    """Requests in the order of time: one file, or a folder of part files when there are many; returns how many."""
    total, written = len(events.time), 0
    places = draft.places
    net, six, host = (places.column(c) for c in ("net", "six", "host"))
    channel = _words(CHANNELS, draft.accounts.column("channel"))
    for number, first in enumerate(range(0, max(total, 1), PART_ROWS)):
        part = slice(first, first + PART_ROWS)
        site, low, account = events.site[part], events.host[part], pl.Series(events.account[part])
        frame = pl.DataFrame(
            {
                "timestamp": pl.Series(events.time[part] + EPOCH).cast(TIME),
                "account_id": names.account.gather(account),
                "api_key_id": _named(names.key, events.key[part]),
                "ip": _addresses(net[site], six[site], host[site], low, site < 0),
                "channel": channel.gather(account),
                "model": _words(MODELS, events.model[part].astype(np.int64)),
                "status": events.status[part].astype(np.int64),
                "input_tokens": events.input_tokens[part].astype(np.int64),
                "output_tokens": events.output_tokens[part].astype(np.int64),
                "template_hash": _hashes(names, events.template[part], rng, templates=templates),
            }
        )
        frame = window.of("events", frame)
        if frame.height or not number:
            write_part(folder, number, total, frame)
        written += frame.height
    return written


def write_part(folder: Path, number: int, total: int, frame: pl.DataFrame) -> None:
    """Write requests `number` * PART_ROWS and following of `total`: events.parquet when all fit in it, else a part."""
    path = folder / "events" / f"part-{number:04d}.parquet" if total > PART_ROWS else folder / "events.parquet"
    path.parent.mkdir(exist_ok=True)
    INPUT["events"].conform(frame).write_parquet(
        path, compression="zstd", compression_level=1, row_group_size=GROUP_ROWS, statistics=True
    )


def _addresses(net: Ints, six: Any, host: Ints, low: Any, missing: Any) -> pl.Series:
    text = text4(net & 0xFFFFFF, np.where(host == MANY, 1 + (low >> 20) % 254, host))
    rows = np.flatnonzero(six)
    if len(rows):
        text = text.scatter(pl.Series(rows), text6(net[rows], low[rows]))
    return text.zip_with(pl.Series(~missing), pl.Series([None], dtype=pl.String))


def _hashes(names: Names, template: Any, rng: Rng, *, templates: bool) -> pl.Series:
    """Template hashes; a one-off has a hash of its own. The draw is the same with and without templates."""
    single = np.flatnonzero(template == ONE_OFF)
    numbers = rng.integers(0, 2**64, len(single), dtype=np.uint64)
    if not templates:
        return pl.Series([None] * len(template), dtype=pl.String)
    text = _named(names.template, template.astype(np.int64))
    return text.scatter(pl.Series(single), opaque("", numbers)) if len(single) else text
