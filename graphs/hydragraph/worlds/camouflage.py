"""FRAUDAR's three ways to hide (Hooi et al., KDD 2016), laid over a world that is already written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import polars as pl

from hydragraph.errors import CaseExists, InputRefused, NotACase
from hydragraph.identifiers import address_ranges
from hydragraph.schema import INPUT, TIME
from hydragraph.settings import Settings
from hydragraph.worlds.draft import Ints, Rng
from hydragraph.worlds.scenarios import checked
from hydragraph.worlds.tables import PART_ROWS, write_part
from hydragraph.worlds.world import RECIPE, TRUTH, World, refuse_to_replace, whole_folder

Mode = Literal["random", "biased", "hijacked"]
HIJACKED = "hijacked"
"""Tactic that the truth names for an innocent account that a ring has taken over."""


def add_camouflage(
    world: str | Path, out: str | Path, *, mode: Mode, amount: float = 0.5, seed: int = 0, force: bool = False
) -> World:
    """Copy a world to `out` with camouflage added to its rings; all that was there stays.

    mode `random`: ring accounts send further requests from ranges of innocent people, every range equally likely,
        each with the address and template of a request that an innocent account sent from there.
    mode `biased`: the same, a range as likely as it has innocent users.
    mode `hijacked`: rings take over innocent accounts and send requests of their members through them; the truth then
        labels these accounts 1 with the ring's cluster and tactic `hijacked`, and keeps their innocent group.
    amount: further requests for each request of a ring account; for `hijacked` hijacked accounts for each ring account.
    seed: the same world, mode, amount and seed give the same bytes.

    Raises NotACase if `world` is no world, InputRefused for a bad mode or amount, CaseExists if `out` is taken (force
    replaces a world). Reads all requests into memory: about 7 GB for 16 million.
    """
    world, out = Path(world), Path(out)
    if mode not in get_args(Mode):
        raise InputRefused(f"no camouflage has this name; known are {', '.join(get_args(Mode))}")
    checked(amount, 0.0, 20.0, "amount")
    checked(seed, 0, 2**63 - 1, "seed")
    if not (world / RECIPE).is_file() or not (world / TRUTH).is_file():
        raise NotACase(f"not a world: the folder has no {RECIPE} or no {TRUTH}; `simulate` makes one")
    refuse_to_replace(out, force=force)
    if out.exists() and out.resolve() == world.resolve():
        raise CaseExists("a world cannot be replaced by its own copy; choose another folder")

    rng = np.random.default_rng([seed, get_args(Mode).index(mode)])
    truth = pl.read_parquet(world / TRUTH)
    parts = world / "events"
    events = pl.read_parquet(parts / "*.parquet" if parts.is_dir() else world / "events.parquet")
    who = events["account_id"].cast(pl.Enum(truth["account_id"])).to_physical().cast(pl.Int64).to_numpy()
    if mode == "hijacked":
        accounts = truth.select("account_id").join(
            pl.read_parquet(world / "accounts.parquet"), on="account_id", how="left", maintain_order="left"
        )
        extra, truth = _hijack(rng, events, who, truth, accounts, amount)
    else:
        extra = _borrow(rng, events, who, truth["label"].to_numpy() == 1, amount, by_users=mode == "biased")
    merged = pl.concat([events, extra]).sort("timestamp", "account_id", maintain_order=True)
    with whole_folder(out) as building:
        for table in INPUT:
            if table != "events":
                shutil.copyfile(world / f"{table}.parquet", building / f"{table}.parquet")
        for number, first in enumerate(range(0, max(merged.height, 1), PART_ROWS)):
            write_part(building, number, merged.height, merged.slice(first, PART_ROWS))
        truth.write_parquet(building / TRUTH, compression="zstd")
        recipe = json.loads((world / RECIPE).read_text("utf-8"))
        counts = dict(recipe["rows"]) | {"events": merged.height, "ring_accounts": int(truth["label"].sum())}
        added = {"mode": mode, "amount": amount, "seed": seed}
        recipe |= {"rows": counts, "camouflage_added": [*recipe.get("camouflage_added", []), added]}
        (building / RECIPE).write_text(json.dumps(recipe, indent=2) + "\n", "utf-8")
    return World(folder=out, truth=truth, counts=counts)


def _borrow(rng: Rng, events: pl.DataFrame, who: Ints, ring: Any, amount: float, *, by_users: bool) -> pl.DataFrame:
    """Requests of ring accounts with the address and template of innocent requests, at times between their own."""
    mine, others = np.flatnonzero(ring[who]), np.flatnonzero(~ring[who] & events["ip"].is_not_null().to_numpy())
    count = round(amount * len(mine)) if len(others) else 0
    if not count:
        return events.clear()
    source = rng.choice(mine, count)
    used = events["ip"].gather(pl.Series(others))
    addresses = used.unique().sort()
    ranges = address_ranges(addresses, Settings())["range"].rank("dense").fill_null(0).cast(pl.Int64).to_numpy()
    place = ranges[used.cast(pl.Enum(addresses)).to_physical().cast(pl.Int64).to_numpy()]
    if by_users:
        first = np.unique(place * len(ring) + who[others], return_index=True)[1]
        borrowed = others[rng.choice(first, count)]
    else:
        order = np.argsort(place, kind="stable")
        begins = np.unique(place[order], return_index=True)[1]
        lengths = np.diff(np.append(begins, len(order)))
        picked = rng.integers(0, len(begins), count)
        borrowed = others[order[begins[picked] + (rng.random(count) * lengths[picked]).astype(np.int64)]]
    clock = events["timestamp"].to_physical().to_numpy()
    earliest, latest = np.full(len(ring), 2**62), np.zeros(len(ring), np.int64)
    np.minimum.at(earliest, who[mine], clock[mine])
    np.maximum.at(latest, who[mine], clock[mine])
    start, stop = earliest[who[source]], latest[who[source]]
    when = start + ((stop - start) * rng.random(count)).astype(np.int64)
    return events[source].with_columns(
        timestamp=pl.Series(when).cast(TIME),
        ip=events["ip"].gather(pl.Series(borrowed)),
        template_hash=events["template_hash"].gather(pl.Series(borrowed)),
    )


def _hijack(
    rng: Rng, events: pl.DataFrame, who: Ints, truth: pl.DataFrame, accounts: pl.DataFrame, amount: float
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Requests of ring members sent through innocent accounts, and the truth with these accounts in the rings."""
    sent = np.bincount(who, minlength=truth.height)
    label = truth["label"].to_numpy()
    members, people = np.flatnonzero((label == 1) & (sent > 0)), np.flatnonzero((label == 0) & (sent > 0))
    count = min(round(amount * len(members)), len(people))
    if not count:
        return events.clear(), truth
    taken, donor = rng.choice(people, count, replace=False), rng.choice(members, count)
    order = np.argsort(who, kind="stable")
    begins = np.concatenate([[0], np.cumsum(sent)])
    lengths = sent[donor]
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    source = order[np.repeat(begins[donor], lengths) + within]
    victim = np.repeat(taken, lengths)
    own = order[begins[victim]]  # the first request of the account itself: its key and channel
    extra = events[source].with_columns(
        account_id=truth["account_id"].gather(pl.Series(victim)),
        api_key_id=events["api_key_id"].gather(pl.Series(own)),
        channel=events["channel"].gather(pl.Series(own)),
    )
    opened, closed = (accounts[c].gather(pl.Series(victim)) for c in ("created_at", "closed_at"))
    alive = (extra["timestamp"] >= opened) & (closed.is_null() | (extra["timestamp"] < closed)).fill_null(True)
    extra = extra.filter(alive)
    used = np.zeros(truth.height, bool)
    used[victim[alive.to_numpy()]] = True
    ring_of = pl.Series([None] * truth.height, dtype=pl.String).scatter(
        pl.Series(taken), truth["cluster"].gather(pl.Series(donor))
    )
    mask = pl.Series(used)
    changed = truth.with_columns(
        label=pl.when(mask).then(1).otherwise("label").cast(pl.Int64),
        cluster=pl.when(mask).then(ring_of).otherwise("cluster"),
        tactic=pl.when(mask).then(pl.lit(HIJACKED)).otherwise("tactic"),
    )
    return extra, changed
