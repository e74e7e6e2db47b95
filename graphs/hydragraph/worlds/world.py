"""simulate(): plan a world, draw its requests, write its tables whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hydragraph.errors import CaseExists, InputRefused
from hydragraph.unfinished import beside, saying_what_to_do, take_back, take_place
from hydragraph.worlds.activity import generate
from hydragraph.worlds.draft import Draft
from hydragraph.worlds.innocent import build_innocents
from hydragraph.worlds.places import Places
from hydragraph.worlds.rings import build_rings, plan_rings
from hydragraph.worlds.scenarios import DAYS, Scenario, checked, scenario_named
from hydragraph.worlds.shared import build_shared
from hydragraph.worlds.tables import Names, moment, write_tables
from hydragraph.worlds.window import Window

RECIPE = "world.json"
_BUILDING = "hydragraph-world"
TRUTH = "truth.parquet"
EVENTS_PER_ACCOUNT = 16
LARGEST_RING_SHARE = 0.4
OFF_BY = 0.25
"""A median ring that misses the one asked for by a larger share than this is said."""


@dataclass(frozen=True, repr=False)
class World:
    """A written world: its folder, the truth about every account, how many rows of what there are, and what a reader
    must know about it, a sentence each."""

    folder: Path
    truth: pl.DataFrame = field(compare=False)
    counts: Mapping[str, int]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        said = ", ".join(f"{n} {what}" for what, n in self.counts.items())
        return f"<World {said}>"


def simulate(
    folder: str | Path,
    *,
    accounts: int = 60_000,
    events: int | None = None,
    seed: int = 0,
    scenario: str | Scenario = "mixed",
    templates: bool = True,
    ring_size: float | None = None,
    camouflage: float | None = None,
    jitter: float | None = None,
    replacement_delay: float | None = None,
    hand_on: float | None = None,
    sweep: float | None = None,
    since: float | None = None,
    until: float | None = None,
    force: bool = False,
    progress: Callable[[str], None] | None = None,
) -> World:
    """Write a synthetic world of 60 days into `folder`: a source to analyse, and the truth about it.

    accounts: how many, at least 200. events: about how many requests; default 16 an account.
    seed: the same seed and parameters give the same bytes; another seed gives another world, not only other names.
    scenario: a name of `SCENARIOS`, or a Scenario of your own.
    templates: False leaves template_hash empty; everything else stays as it was.
    ring_size: median accounts of a ring; a tactic whose accounts are fewer has one ring of what there are, so that the
    median reached can be lower: world.json and `notes` say so.
    camouflage: share of a member's bursts through carriers and VPN exits.
    jitter: hours by which a ring's simultaneous work strays. replacement_delay: median hours from a closure to the
    successor's first request. hand_on: share of successors that go on with a card, a device, a phone, a proxy of the
    closed account, each drawn apart. All five replace every tactic's own figure; None leaves it.
    sweep: a day since the world began on which every account of a ring that is at work is banned; who was to follow it
    follows, and closings until then are as without.
    since, until: days since the world began; the tables hold what an export of this time would (window.Window.of), so that
    the same world can be replayed week by week. The truth is that about all accounts opened before `until`.

    Files: accounts, api_keys, payments, links, ranges (.parquet), events (.parquet, or a folder of part files),
    truth.parquet (account_id, label 1/0, cluster: ring, group and group_kind: innocent group, tactic, parent: the
    closed account that it replaced) and world.json (how the world was made).

    Raises InputRefused for a figure out of bounds, UnknownName for an unknown scenario, CaseExists if `folder` is
    taken; force replaces a world, never anything else. The folder appears whole or not at all.
    """
    wanted = scenario_named(scenario) if isinstance(scenario, str) else scenario
    checked(accounts, 200, 50_000_000, "accounts")
    events = EVENTS_PER_ACCOUNT * accounts if events is None else events
    checked(events, accounts, 2_000_000_000, "events")
    checked(seed, 0, 2**63 - 1, "seed")
    given = {
        "ring_size": checked(ring_size, 2, accounts, "ring_size"),
        "camouflage": checked(camouflage, 0.0, 1.0, "camouflage"),
        "jitter": checked(jitter, 0.0, 24 * 30.0, "jitter"),
        "replacement_delay": checked(replacement_delay, 0.0, 24 * 30.0, "replacement_delay"),
        "hand_on": checked(hand_on, 0.0, 1.0, "hand_on"),
    }
    wanted = replace(wanted, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
    part = {name: checked(day, 0, DAYS, name) for name, day in (("sweep", sweep), ("since", since), ("until", until))}
    if (0 if since is None else since) >= (DAYS if until is None else until):
        raise InputRefused("since (--since) must lie before until (--until)")
    folder = Path(folder)
    refuse_to_replace(folder, force=force)
    tell = progress or (lambda stage: None)

    tell("plan")
    shape, shared_seed, people, rings, activity, names, rest = np.random.SeedSequence(seed).spawn(7)
    orders = plan_rings(np.random.default_rng(shape), wanted, accounts)
    in_rings = sum(o.size for o in orders)
    reached = float(np.median([o.size for o in orders])) if orders else None
    if in_rings > LARGEST_RING_SHARE * accounts:
        raise InputRefused(
            f"rings would hold {in_rings} of {accounts} accounts; choose more accounts (--accounts) or smaller rings"
            " (--ring-size)"
        )
    places = Places()
    draft = Draft(places=places, shared=build_shared(np.random.default_rng(shared_seed), places, accounts))
    draft.counters["template"] = draft.shared.public_templates
    draft.counters["tls"] = draft.shared.clients
    draft.counters["card"] = draft.shared.billing
    build_innocents(draft, people, accounts - in_rings, wanted.innocents)
    build_rings(draft, rings, orders, sweep)
    tell("requests")
    drawn = generate(draft, activity, events)
    tell("write")
    with whole_folder(folder) as building:
        truth, counts = write_tables(
            building, draft, drawn, Names(draft, names), rest, templates=templates,
            window=Window(*(None if day is None else moment(day) for day in (since, until))),
        )  # fmt: skip
        recipe: dict[str, Any] = {
            "scenario": wanted.name, "accounts": accounts, "events": events, "seed": seed, "templates": templates,
            **given, **{k: v for k, v in part.items() if v is not None}, "ring_size_reached": reached, "rows": counts,
        }  # fmt: skip
        (building / RECIPE).write_text(json.dumps(recipe, indent=2) + "\n", "utf-8")
    return World(folder=folder, truth=truth, counts=counts, notes=_said(ring_size, reached))


def _said(asked: float | None, reached: float | None) -> tuple[str, ...]:
    if asked is None or reached is None or abs(reached - asked) <= OFF_BY * asked:
        return ()
    return (
        f"the median ring has {reached:g} accounts, not the {asked:g} asked for (--ring-size): a tactic's rings hold no"
        " more than its share of the accounts; a larger world reaches it",
    )


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder beside `folder` to write into; it takes the place of `folder` when nothing went wrong."""
    folder = folder.resolve()  # where a link points to
    with saying_what_to_do(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        take_back(folder, _BUILDING)
        building = beside(folder, _BUILDING)
        building.mkdir()
        try:
            yield building
            take_place(building, folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)


def refuse_to_replace(folder: Path, *, force: bool) -> None:
    """Raise CaseExists unless `folder` is free, empty, or a world that may be replaced."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / RECIPE).is_file():
        raise CaseExists("the folder exists and is not a world; choose another folder")
    if not force:
        raise CaseExists("a world is there already; choose another folder or replace it with --force")
