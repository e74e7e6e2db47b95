"""Worlds: the tables, repeatability, seeds, parameters, refusals, camouflage."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hydragraph.worlds.world as world_module
from hydragraph.errors import CaseExists, InputRefused, NotACase, UnknownName
from hydragraph.schema import INPUT
from hydragraph.worlds import SCENARIOS, TACTICS, add_camouflage, simulate
from hydragraph.worlds.draft import sizes
from hydragraph.worlds.places import text4, text6
from world_rows import Rows, read, world

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
END = BEGIN + timedelta(days=60)
SMALL = {"accounts": 2000, "seed": 3}


def digests(folder: Path) -> dict[str, str]:
    return {
        str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in sorted(folder.rglob("*"))
        if f.is_file()
    }


# --- the tables


def test_tables_are_those_of_the_contract(tmp_path: Path) -> None:
    made = simulate(tmp_path / "w", **SMALL)
    for name, table in INPUT.items():
        frame = pl.read_parquet(tmp_path / "w" / f"{name}.parquet")
        assert frame.schema == table.schema
        assert made.counts[name] == frame.height > 0
        assert frame.select(table.required).null_count().row(0) == (0,) * len(table.required)
    truth = pl.read_parquet(tmp_path / "w" / "truth.parquet")
    assert truth.columns == ["account_id", "label", "cluster", "group", "group_kind", "tactic", "parent"]
    assert truth.equals(made.truth)
    recipe = json.loads((tmp_path / "w" / "world.json").read_text())
    assert (recipe["scenario"], recipe["accounts"], recipe["seed"], recipe["rows"]) == ("mixed", 2000, 3, made.counts)
    assert repr(made).startswith("<World 2000 accounts")


def test_tables_fit_together() -> None:
    w = world()
    assert w.truth["account_id"].n_unique() == w.truth.height == 12_000
    assert w.accounts["account_id"].equals(w.truth["account_id"])
    for table, identity in (
        ("api_keys", ["api_key_id"]),
        ("payments", ["instrument_id"]),
        ("links", ["kind", "value"]),
    ):
        frame = getattr(w, table)
        assert frame["account_id"].is_in(w.accounts["account_id"].implode()).all()
        assert frame.select("account_id", *identity).is_unique().all()
    events = w.events.join(w.accounts, on="account_id")
    assert events.height == w.events.height
    assert 0.9 < events.height / (16 * 12_000) < 1.1
    assert w.events["timestamp"].is_sorted()
    assert w.events["timestamp"].is_between(BEGIN, END, closed="left").all()
    assert (events["timestamp"] >= events["created_at"]).all()
    assert not (events["timestamp"] >= events["closed_at"]).any()
    assert (
        (w.accounts["closed_at"].is_null() == w.accounts["close_reason"].is_null())
        .filter(w.accounts["close_reason"].is_not_null())
        .all()
    )
    used = w.events.filter(pl.col("api_key_id").is_not_null()).select("account_id", "api_key_id", "timestamp")
    keys = used.join(w.api_keys, on=["account_id", "api_key_id"], how="left")
    assert keys.height == used.height
    assert (keys["timestamp"] >= keys["created_at"]).all()
    assert not (keys["timestamp"] > keys["revoked_at"]).any()


def test_truth_says_one_thing_about_each_account() -> None:
    w = world()
    ring, people = w.of(label=1), w.of(label=0)
    assert ring.select("cluster", "tactic").null_count().row(0) == (0, 0)
    assert ring.select("group", "group_kind").null_count().row(0) == (ring.height, ring.height)
    assert people.select("cluster", "tactic", "parent").null_count().row(0) == (people.height,) * 3
    assert people["group_kind"].null_count() == 0
    assert set(people.filter(pl.col("group").is_null())["group_kind"]) == {"lone", "trial"}
    assert set(ring["tactic"]) == set(TACTICS)
    assert 0.03 < ring.height / w.truth.height < 0.08
    assert ring.group_by("cluster").agg(pl.col("tactic").n_unique())["tactic"].max() == 1


def test_many_requests_become_part_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = simulate(tmp_path / "whole", **SMALL)
    monkeypatch.setattr("hydragraph.worlds.tables.PART_ROWS", 10_000)
    simulate(tmp_path / "parts", **SMALL)
    files = sorted((tmp_path / "parts" / "events").iterdir())
    assert [f.name for f in files] == [f"part-{i:04d}.parquet" for i in range(-(-whole.counts["events"] // 10_000))]
    joined = pl.concat([pl.read_parquet(f) for f in files])
    assert joined.equals(pl.read_parquet(tmp_path / "whole" / "events.parquet"))


# --- repeatability and seeds


def test_one_seed_gives_the_same_bytes_whatever_the_threads_and_hash_seed(tmp_path: Path) -> None:
    simulate(tmp_path / "a", **SMALL)
    code = "import sys; from hydragraph.worlds import simulate; simulate(sys.argv[1], accounts=2000, seed=3)"
    environment = os.environ | {
        "POLARS_MAX_THREADS": "1",
        "PYTHONHASHSEED": "77",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "b")], check=True, env=environment)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert len(digests(tmp_path / "a")) == 8


def test_seeds_change_the_structure_and_not_only_the_names() -> None:
    def shape(seed: int) -> tuple[object, ...]:
        w = world(seed=seed, accounts=6000)
        groups = (
            w.of(label=0).group_by("group_kind").agg(pl.len(), pl.col("group").n_unique()).sort("group_kind").rows()
        )
        rings = sorted(w.of(label=1).group_by("tactic", "cluster").len()["len"].to_list())
        return groups, rings, sorted(w.strangers["people"].to_list())[-8:]

    first, second = shape(5), shape(6)
    assert all(a != b for a, b in zip(first, second, strict=True))


def test_ids_and_order_say_nothing_about_the_truth() -> None:
    w = world()
    assert w.truth["account_id"].str.contains(r"^acct_[0-9a-f]{16}$").all()
    assert w.accounts["account_id"].is_sorted()
    ring = np.flatnonzero(w.truth["label"].to_numpy() == 1) / w.truth.height
    # the mean of n uniform numbers strays from 1/2 by 1/sqrt(12 n)
    assert abs(ring.mean() - 0.5) < 4 / np.sqrt(12 * len(ring))
    for table, column in (("api_keys", "api_key_id"), ("payments", "instrument_id")):
        frame = getattr(w, table).join(w.truth, on="account_id").unique(column).sort(column).with_row_index()
        place = frame.filter(label=1)["index"].to_numpy() / frame.height
        assert abs(place.mean() - 0.5) < 4 / np.sqrt(12 * len(place))


def test_rings_use_no_values_or_blanks_of_their_own() -> None:
    w = world()
    for table, column in (("payments", "kind"), ("accounts", "channel"), ("events", "model"), ("events", "status")):
        frame = getattr(w, table).join(w.truth, on="account_id")
        assert set(frame.filter(label=1)[column]) <= set(frame.filter(label=0)[column])
    for table in ("accounts", "api_keys", "payments", "events"):
        frame = getattr(w, table).join(w.truth.select("account_id", "label"), on="account_id")
        for column in INPUT[table].names:
            blank = [frame.filter(label=k)[column].null_count() > 0 for k in (0, 1)]
            assert blank[0] or not blank[1], (table, column)
    # addresses come from the same /16s: few ring requests come from a /16 that no innocent account uses
    four = w.events.filter(~pl.col("ip").str.contains(":")).join(w.truth, on="account_id")
    four = four.with_columns(block=pl.col("ip").str.extract(r"^(\d+\.\d+)\."))
    known = four.filter(label=0)["block"].unique().implode()
    assert four.filter(label=1)["block"].is_in(known).mean() > 0.97
    for label in (0, 1):  # microseconds are spread alike
        part = four.filter(label=label)["timestamp"].dt.microsecond().to_numpy() % 1000
        assert abs(part.mean() - 499.5) < 4 * 289 / np.sqrt(len(part))


def test_without_templates_nothing_else_changes(tmp_path: Path) -> None:
    simulate(tmp_path / "with", **SMALL)
    simulate(tmp_path / "without", **SMALL, templates=False)
    a, b = (pl.read_parquet(tmp_path / n / "events.parquet") for n in ("with", "without"))
    assert a["template_hash"].null_count() < a.height == b["template_hash"].null_count()
    assert a.drop("template_hash").equals(b.drop("template_hash"))
    ours, theirs = digests(tmp_path / "with"), digests(tmp_path / "without")
    assert {n for n in ours if ours[n] != theirs[n]} == {"events.parquet", "world.json"}


# --- parameters


def test_ring_size() -> None:
    def median(size: int) -> float:
        rings = world("card_chain", 4000, ring_size=size).of(label=1).group_by("cluster").len()["len"]
        return float(rings.median() or 0)

    assert 16 <= median(20) <= 26
    assert 48 <= median(60) <= 75


def test_the_median_ring_is_recorded_and_said_when_it_is_not_the_one_asked_for(tmp_path: Path) -> None:
    # three hundredths of 2,000 accounts are about 60: rings of 20 fit, rings of 500 do not
    for asked, said in ((20.0, False), (500.0, True)):
        made = simulate(tmp_path / str(asked), accounts=2000, seed=3, scenario="card_chain", ring_size=asked)
        sizes = made.truth.filter(label=1).group_by("cluster").len()["len"]
        recipe = json.loads((made.folder / "world.json").read_text("utf-8"))

        assert recipe["ring_size_reached"] == sizes.median()
        assert [f"the median ring has {sizes.median():g} accounts, not the 500" in note for note in made.notes] == [
            True
        ] * said
    none = simulate(tmp_path / "none", accounts=2000, seed=3, scenario="innocent")
    assert json.loads((none.folder / "world.json").read_text("utf-8"))["ring_size_reached"] is None


def _hidden(w: Rows) -> float:
    """Share of ring requests from ranges with at least 40 innocent people."""
    rows = w.seen.filter(label=1).join(w.strangers.filter(pl.col("people") >= 40), on="range", how="left")
    return float(rows.filter(pl.col("people").is_not_null())["requests"].sum() / rows["requests"].sum())


def test_camouflage_is_the_share_of_requests_from_shared_infrastructure() -> None:
    shares = [_hidden(world("card_chain", camouflage=c)) for c in (0.0, 0.4, 0.9)]
    assert shares[0] < 0.12
    assert 0.3 < shares[1] < 0.55
    assert 0.8 < shares[2] < 0.97


def _together(w: Rows) -> float:
    """Share of ring requests that at least five other accounts of the ring accompany within the same minute."""
    rows = w.events.join(w.of(label=1), on="account_id").with_columns(minute=pl.col("timestamp").dt.truncate("1m"))
    crowd = rows.group_by("cluster", "minute").agg(n=pl.len(), accounts=pl.col("account_id").n_unique())
    return float(crowd.filter(pl.col("accounts") > 5)["n"].sum() / crowd["n"].sum())


def test_jitter_pulls_simultaneous_work_apart() -> None:
    sharp, blurred = (_together(world("pooled_keys", 4000, jitter=j, events=100_000)) for j in (0.0, 8.0))
    assert sharp > 0.2
    assert blurred < sharp / 4


def _gaps(w: Rows) -> pl.Series:
    """Hours from each parent's closure to its successor's first request."""
    first = w.events.group_by("account_id").agg(first=pl.col("timestamp").min())
    pairs = w.truth.filter(pl.col("parent").is_not_null()).join(first, on="account_id")
    pairs = pairs.join(w.accounts, left_on="parent", right_on="account_id")
    return (pairs["first"] - pairs["closed_at"]).dt.total_seconds() / 3600


def test_replacement_delay() -> None:
    quick, slow = (_gaps(world("few_at_a_time", 4000, replacement_delay=h)) for h in (1.0, 30.0))
    assert 0.5 < quick.median() < 3
    assert 15 < slow.median() < 45
    assert quick.min() > 0


def _went_on(w: Rows, table: str, column: str) -> float:
    """Share of successors that use a value of their predecessor, of those where both have one."""
    used = (w.links.filter(kind=table) if table == "device" else w.payments).select("account_id", value=column)
    pairs = w.truth.filter(pl.col("parent").is_not_null()).select("account_id", "parent")
    mine = pairs.join(used, on="account_id")
    both = mine.join(used, left_on="parent", right_on="account_id", suffix="_before")
    alike = both.group_by("account_id").agg(same=(pl.col("value") == pl.col("value_before")).any())
    return float(alike["same"].mean() or 0.0)


@pytest.mark.parametrize(("table", "column"), [("payments", "instrument_id"), ("device", "value")])
def test_hand_on(table: str, column: str) -> None:
    never, always = (_went_on(world("few_at_a_time", 6000, hand_on=h), table, column) for h in (0.0, 1.0))
    assert never < 0.4  # from one pool of the ring
    assert always > 0.9


def test_every_scenario_can_be_made_and_holds_what_it_names(tmp_path: Path) -> None:
    for name, scenario in SCENARIOS.items():
        made = simulate(tmp_path / name, accounts=1500, seed=2, scenario=name)
        assert set(made.truth["tactic"].drop_nulls()) == set(scenario.tactics)
        assert made.truth.height == 1500


def test_an_innocent_world_has_no_ring() -> None:
    w = world("innocent")
    assert w.truth["label"].sum() == 0
    assert w.truth["cluster"].null_count() == w.truth.height
    assert set(w.truth["group_kind"]) == set(SCENARIOS["innocent"].innocents)


def test_a_scenario_of_ones_own(tmp_path: Path) -> None:
    own = replace(SCENARIOS["card_chain"], name="mine", innocents={"lone": 1.0}, ring_size=10)
    made = simulate(tmp_path / "w", accounts=1000, scenario=own)
    assert set(made.truth["group_kind"].drop_nulls()) == {"lone"}
    assert set(made.truth["tactic"].drop_nulls()) == {"card_chain"}


# --- refusals; whole or not at all


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"accounts": 10}, r"accounts \(--accounts\) must lie between"),
        ({"events": 5}, r"events \(--events\) must lie between"),
        ({"seed": -1}, r"seed \(--seed\) must lie between"),
        ({"camouflage": 1.5}, r"camouflage \(--camouflage\) must lie between"),
        ({"jitter": -1.0}, r"jitter \(--jitter\) must lie between"),
        ({"replacement_delay": -1.0}, r"replacement_delay \(--replacement-delay\) must lie between"),
        ({"hand_on": 2.0}, r"hand_on \(--hand-on\) must lie between"),
        ({"ring_size": 1.0}, r"ring_size \(--ring-size\) must lie between"),
        ({"accounts": 60_000_000}, "between 200 and 50000000$"),
        ({"accounts": 200}, r"rings would hold .*--ring-size"),
    ],
)
def test_figures_out_of_bounds_are_refused(tmp_path: Path, bad: dict[str, float], said: str) -> None:
    with pytest.raises(InputRefused, match=said):
        simulate(tmp_path / "w", **({"accounts": 2000} | bad))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_scenario_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="known are mixed, innocent"):
        simulate(tmp_path / "w", scenario="nonsense")


def test_only_a_world_is_replaced_and_only_by_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear")
    with pytest.raises(CaseExists, match="not a world"):
        simulate(mine, **SMALL, force=True)
    folder = tmp_path / "w"
    simulate(folder, **SMALL)
    before = digests(folder)
    with pytest.raises(CaseExists, match=r"a world is there already.* --force"):
        simulate(folder, **SMALL)

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(world_module, "write_tables", fail)
        with pytest.raises(OSError, match="disk full"):
            simulate(folder, accounts=2000, seed=4, force=True)
    assert digests(folder) == before
    simulate(folder, accounts=2000, seed=4, force=True)
    assert digests(folder) != before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine", "w"]


# --- FRAUDAR's camouflage


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("camouflage") / "plain"
    simulate(folder, accounts=4000, seed=8, scenario="pooled_keys", camouflage=0.0)
    return folder


def _added(plain: Path, out: Path) -> tuple[Rows, Rows, pl.DataFrame]:
    """The world before and after, and the requests that were added."""
    before, after = read(plain), read(out)
    added = after.events.join(before.events, on=before.events.columns, how="anti", nulls_equal=True)
    assert added.height == after.events.height - before.events.height > 0
    assert after.events["timestamp"].is_sorted()
    return before, after, added


@pytest.mark.parametrize("mode", ["random", "biased"])
def test_ring_accounts_borrow_innocent_ranges(plain: Path, tmp_path: Path, mode: str) -> None:
    made = add_camouflage(plain, tmp_path / "out", mode=mode, amount=1.0, seed=1)  # type: ignore[arg-type]
    before, after, added = _added(plain, tmp_path / "out")
    ring = before.of(label=1)
    assert set(added["account_id"]) <= set(ring["account_id"])
    assert added.height == before.events.join(ring, on="account_id").height
    assert added["range"].is_in(before.strangers["range"].implode()).all()
    assert after.truth.equals(before.truth)
    assert made.counts["events"] == after.events.height
    for table in ("accounts", "api_keys", "payments", "links"):
        assert getattr(after, table).equals(getattr(before, table))


def test_biased_camouflage_prefers_ranges_with_many_users(plain: Path, tmp_path: Path) -> None:
    people = {}
    for mode in ("random", "biased"):
        add_camouflage(plain, tmp_path / mode, mode=mode, amount=1.0, seed=1)  # type: ignore[arg-type]
        before, _, added = _added(plain, tmp_path / mode)
        people[mode] = added.join(before.strangers, on="range")["people"].mean()
    degree = before.strangers["people"].to_numpy().astype(float)
    assert people["random"] == pytest.approx(degree.mean(), rel=0.35)
    assert people["biased"] == pytest.approx((degree**2).sum() / degree.sum(), rel=0.2)


def test_hijacked_accounts_join_the_ring_and_keep_their_own_life(plain: Path, tmp_path: Path) -> None:
    add_camouflage(plain, tmp_path / "out", mode="hijacked", amount=0.5, seed=1)
    before, after, added = _added(plain, tmp_path / "out")
    taken = after.of(tactic="hijacked")
    ring = before.of(label=1)
    assert 0.25 * ring.height < taken.height <= 0.5 * ring.height
    assert set(added["account_id"]) == set(taken["account_id"])
    assert (taken["label"] == 1).all()
    assert set(taken["cluster"]) <= set(ring["cluster"])
    old = before.truth.join(taken, on="account_id", how="semi")
    assert (old["label"] == 0).all()
    assert old["group_kind"].equals(taken["group_kind"])
    own = before.api_keys.select("account_id", "api_key_id")
    with_key = added.filter(pl.col("api_key_id").is_not_null())
    assert with_key.join(own, on=["account_id", "api_key_id"], how="semi").height == with_key.height
    shared = added.join(before.seen.filter(label=1), on="range", how="semi")
    assert shared.height == added.filter(pl.col("range").is_not_null()).height
    rest = after.truth.join(taken, on="account_id", how="anti")
    assert rest.equals(before.truth.join(taken, on="account_id", how="anti"))


def test_camouflage_is_repeatable_and_refuses_what_it_must(plain: Path, tmp_path: Path) -> None:
    for mode in ("random", "biased", "hijacked"):
        for out in ("a", "b"):
            add_camouflage(plain, tmp_path / out, mode=mode, force=True)  # type: ignore[arg-type]
        assert digests(tmp_path / "a") == digests(tmp_path / "b") != digests(plain)
    with pytest.raises(InputRefused, match="no camouflage has this name"):
        add_camouflage(plain, tmp_path / "c", mode="invisible")  # type: ignore[arg-type]
    with pytest.raises(NotACase, match="not a world"):
        add_camouflage(tmp_path, tmp_path / "c", mode="random")
    with pytest.raises(CaseExists, match="own copy"):
        add_camouflage(plain, plain, mode="random", force=True)
    with pytest.raises(CaseExists, match="already"):
        add_camouflage(plain, tmp_path / "a", mode="random")


# --- parts


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3000), st.floats(2, 60), st.floats(0.05, 1.5), st.integers(1, 8), st.integers(0, 2**32))
def test_sizes_add_up_and_keep_their_bounds(total: int, median: float, sigma: float, least: int, seed: int) -> None:
    drawn = sizes(np.random.default_rng(seed), total, median, sigma, least, 100)
    assert drawn.sum() == total
    if total >= least:
        assert ((drawn >= least) & (drawn <= 100 + least)).all()


@given(st.lists(st.tuples(st.integers(0, 2**24 - 1), st.integers(0, 255)), min_size=1, max_size=20))
def test_text4(addresses: list[tuple[int, int]]) -> None:
    net, host = (np.array(column) for column in zip(*addresses, strict=True))
    assert text4(net, host).to_list() == [str(ipaddress.IPv4Address(n << 8 | h)) for n, h in addresses]


@given(st.lists(st.tuples(st.integers(2**45, 2**56 - 1), st.integers(0, 2**62 - 1)), min_size=1, max_size=20))
def test_text6_is_inside_its_range(addresses: list[tuple[int, int]]) -> None:
    net, low = (np.array(column) for column in zip(*addresses, strict=True))
    for (n, _), text in zip(addresses, text6(net, low), strict=True):
        assert int(ipaddress.IPv6Address(text)) >> 72 == n
