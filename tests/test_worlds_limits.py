"""Rate limits in worlds: who meets them, who goes on with another account, and that nothing else follows from it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from hydragraph.worlds import TACTICS, simulate
from world_rows import Rows, read, world


def taken_over(w: Rows, group: str, **which: Any) -> pl.DataFrame:
    """Requests answered 429 of these accounts, and whether another account of the group (`cluster` or `group`) begins to
    work, after an hour of silence, within ten minutes: group, account_id, begun, taken."""
    rows = (
        w.events.join(w.of(**which), on="account_id")
        .filter(pl.col(group).is_not_null())
        .sort("account_id", "timestamp")
    )
    silence = pl.col("timestamp").diff().over("account_id")
    begins = rows.filter(silence.is_null() | (silence > timedelta(hours=1)))
    begins = begins.select("timestamp", group, begun="timestamp", by="account_id").sort("timestamp")
    limits = rows.filter(pl.col("status") == 429).select("timestamp", "account_id", group).sort("timestamp")
    after = limits.join_asof(
        begins, on="timestamp", by=group, strategy="forward", allow_exact_matches=False, check_sortedness=False
    )
    soon = (pl.col("begun") - pl.col("timestamp") <= timedelta(minutes=10)) & (pl.col("by") != pl.col("account_id"))
    return after.select(pl.col(group).alias("group"), "account_id", "begun", taken=soon.fill_null(False))


def without(*_: object, time: Any, **__: object) -> tuple[Any, Any]:
    """In the place of `hand_overs`: nobody is refused, nobody goes on elsewhere."""
    return np.zeros(len(time), bool), time


@pytest.mark.parametrize("name", ["mixed_traffic", "pooled_keys", "slow_jitter"])
def test_rings_go_on_with_the_next_account_as_often_as_their_tactic_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def followed(folder: Path) -> int:
        """Bursts of ring accounts that begin after a limit of another account of the ring."""
        simulate(folder, accounts=12_000, seed=5, scenario=name)
        return taken_over(read(folder), "cluster", label=1).filter("taken").select("group", "begun").n_unique()

    failing_over = followed(tmp_path / "with")
    monkeypatch.setattr("hydragraph.worlds.activity.hand_overs", without)
    by_chance = followed(tmp_path / "without")
    # slow operators hand nothing on because of a limit
    assert (failing_over > 1.1 * by_chance) == (TACTICS[name].fail_over > 0)
    assert TACTICS[name].fail_over > 0 or failing_over == by_chance


def test_innocents_meet_limits_the_heavy_ones_more_often_and_hardly_any_goes_on_elsewhere() -> None:
    w = world("innocent", 20_000)
    met = w.events.group_by("account_id").agg(requests=pl.len(), limited=(pl.col("status") == 429).sum())
    heavy = met.filter(pl.col("requests") > 200).sum()
    light = met.filter(pl.col("requests") < 20).sum()
    assert heavy["limited"][0] / heavy["requests"][0] > 1.1 * light["limited"][0] / light["requests"][0] > 0
    for kind in ("household", "office"):
        limits = taken_over(w, "group", kind=kind)
        small = limits.join(w.of(kind=kind).group_by("group").len().filter(pl.col("len") <= 6), on="group")
        assert small.height > 50
        assert small["taken"].mean() < 0.03


@pytest.mark.parametrize("kind", ["person", "build"])
def test_a_few_people_and_firms_with_several_accounts_go_on_with_the_next(kind: str) -> None:
    w = world("innocent", 20_000)
    groups = taken_over(w, "group", kind=kind).group_by("group").agg(pl.col("taken").sum())
    again = groups.filter(pl.col("taken") > 1)
    assert again.height >= 3
    assert again.height < 0.3 * w.of(kind=kind)["group"].n_unique()


def test_hand_overs_change_nothing_but_their_own_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(tmp_path / "with", accounts=3000, seed=9)
    monkeypatch.setattr("hydragraph.worlds.activity.hand_overs", without)
    simulate(tmp_path / "without", accounts=3000, seed=9)
    for table in ("accounts", "api_keys", "payments", "links", "ranges", "truth"):
        one, other = (pl.read_parquet(tmp_path / f / f"{table}.parquet") for f in ("with", "without"))
        assert one.equals(other), table
    one, other = (pl.read_parquet(tmp_path / f / "events.parquet") for f in ("with", "without"))
    assert one.height == other.height
    same = [c for c in one.columns if c not in ("status", "output_tokens")]
    moved = one.join(other, on=same, how="anti", nulls_equal=True)
    assert 0 < moved.height < 0.005 * one.height
    # innocents begin earlier; of rings only answers change
    truth = pl.read_parquet(tmp_path / "with" / "truth.parquet")
    assert set(moved.join(truth, on="account_id")["group_kind"]) <= {"person", "build"}
    answered = one.join(other, on=one.columns, how="anti", nulls_equal=True)
    changed = answered.join(moved, on=same, how="anti", nulls_equal=True)
    assert set(changed["status"]) == {429}
    assert set(changed["output_tokens"]) == {0}
    assert 0 < changed.height < 0.01 * one.height
