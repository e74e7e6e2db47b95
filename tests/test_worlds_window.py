"""A world in parts: what an export of a stretch of its time holds."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from hydragraph.errors import InputRefused
from hydragraph.schema import INPUT
from hydragraph.worlds import simulate
from hydragraph.worlds.window import Window
from hydragraph_cli.main import cli
from world_rows import Rows, read

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
CUT = BEGIN + timedelta(days=42)
SMALL = {"accounts": 2000, "seed": 3}


def at(day: int) -> datetime:
    return datetime(2026, 1, day, tzinfo=UTC)


def micro(day: int) -> int:
    return int(at(day).timestamp()) * 1_000_000


def table(name: str, **columns: list[object]) -> pl.DataFrame:
    return pl.DataFrame(columns, schema_overrides={c: INPUT[name].column(c).dtype for c in columns}, strict=False)


# --- by hand: the window is the tenth to the nineteenth of January

WINDOW = Window(micro(10), micro(20))


def test_accounts_that_began_or_ended_in_the_window() -> None:
    frame = table(
        "accounts",
        account_id=["before", "closed in", "opened in", "both", "closes later", "closed before", "later"],
        created_at=[at(1), at(1), at(10), at(11), at(12), at(1), at(20)],
        closed_at=[None, at(12), None, at(13), at(20), at(9), None],
        close_reason=[None, "banned", None, "banned", "banned", "banned", None],
    )
    assert WINDOW.of("accounts", frame).select("account_id", "closed_at", "close_reason").rows() == [
        ("closed in", at(12), "banned"),
        ("opened in", None, None),
        ("both", at(13), "banned"),
        ("closes later", None, None),
    ]


def test_links_are_cut_to_the_window_with_their_share_of_the_count() -> None:
    frame = table(
        "links",
        account_id=["over", "before", "after", "into", "once"],
        kind=["device"] * 5,
        value=["d"] * 5,
        first_seen=[at(5), at(1), at(20), at(5), at(15)],
        last_seen=[at(25), at(9), at(22), at(15), at(15)],
        count=[40, 5, 5, 1, 7],
    )
    rows = WINDOW.of("links", frame).select("account_id", "first_seen", "last_seen", "count").rows()
    last = at(20) - timedelta(microseconds=1)
    # ten of twenty days; at least one use, because it was used
    assert rows == [("over", at(10), last, 20), ("into", at(10), at(15), 1), ("once", at(15), at(15), 7)]


def test_requests_of_the_window_and_all_ranges() -> None:
    frame = table("events", timestamp=[at(9), at(10), at(19), at(20)], account_id=list("abcd"))
    assert WINDOW.of("events", frame)["account_id"].to_list() == ["b", "c"]
    ranges = table("ranges", cidr=["192.0.2.0/24"], kind=["vpn"])
    assert WINDOW.of("ranges", ranges).equals(ranges)


# --- a whole world in two


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rows, Rows, Rows]:
    """The whole world, its first 42 days, and the rest."""
    folder = tmp_path_factory.mktemp("parts")
    simulate(folder / "whole", **SMALL)
    simulate(folder / "first", **SMALL, until=42)
    simulate(folder / "rest", **SMALL, since=42)
    assert json.loads((folder / "rest" / "world.json").read_text())["since"] == 42
    return read(folder / "whole"), read(folder / "first"), read(folder / "rest")


def test_requests_of_two_parts_are_those_of_the_whole(parts: tuple[Rows, Rows, Rows]) -> None:
    whole, first, rest = parts
    assert pl.concat([first.events, rest.events]).equals(whole.events)
    assert first.events["timestamp"].max() < CUT <= rest.events["timestamp"].min()


def test_what_the_first_part_knows_is_what_was_known_then(parts: tuple[Rows, Rows, Rows]) -> None:
    whole, first, rest = parts
    assert first.truth.equals(whole.truth.join(first.accounts, on="account_id", how="semi", maintain_order="left"))
    assert rest.truth.equals(whole.truth)
    assert (first.accounts["created_at"] < CUT).all()
    assert not (first.accounts["closed_at"] >= CUT).any()
    assert first.accounts["close_reason"].is_null().equals(first.accounts["closed_at"].is_null())
    later = whole.accounts.filter(pl.col("closed_at") >= CUT)
    assert later.height > 20
    assert rest.accounts.join(later, on=whole.accounts.columns, how="semi", nulls_equal=True).height == later.height
    opened = rest.accounts.filter(pl.col("created_at") >= CUT)
    assert sorted([*first.accounts["account_id"], *opened["account_id"]]) == whole.accounts["account_id"].to_list()
    for name, identity in (("api_keys", "api_key_id"), ("payments", "instrument_id")):
        pair = ["account_id", identity]
        both = pl.concat([getattr(first, name), getattr(rest, name)]).select(pair).unique().sort(pair)
        assert both.equals(getattr(whole, name).select(pair).sort(pair))


@pytest.mark.parametrize("days", [{"since": -1}, {"until": 61}, {"since": 30, "until": 30}, {"since": 60}])
def test_days_out_of_bounds_are_refused(tmp_path: Path, days: dict[str, float]) -> None:
    with pytest.raises(InputRefused, match=r"--since|--until"):
        simulate(tmp_path / "w", **SMALL, **days)
    assert not (tmp_path / "w").exists()


def test_from_the_command_line(tmp_path: Path) -> None:
    words = ["simulate", str(tmp_path / "w"), "--accounts", "300", "--since", "14", "--until", "21"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    times = pl.read_parquet(tmp_path / "w" / "events.parquet")["timestamp"]
    assert BEGIN + timedelta(days=14) <= times.min() <= times.max() < BEGIN + timedelta(days=21)


# --- a day on which everything is banned


def test_who_was_at_work_is_banned_and_followed(tmp_path: Path) -> None:
    simulate(tmp_path / "plain", **SMALL)
    simulate(tmp_path / "swept", **SMALL, sweep=28)
    day = BEGIN + timedelta(days=28)
    plain, swept = (read(tmp_path / name) for name in ("plain", "swept"))
    assert json.loads((tmp_path / "swept" / "world.json").read_text())["sweep"] == 28
    rings = swept.accounts.join(swept.of(label=1), on="account_id")
    seen = swept.seen.group_by("account_id").agg(pl.len())  # ranges: who was ever at work
    hit = rings.filter(pl.col("closed_at").is_between(day, day + timedelta(days=1), closed="left"))
    assert hit.height > 20
    assert set(hit["close_reason"]) == {"banned"}
    # nobody in a ring who worked before that day works after it
    times = swept.events.join(rings.select("account_id"), on="account_id", how="semi")
    span = times.group_by("account_id").agg(first=pl.col("timestamp").min(), last=pl.col("timestamp").max())
    assert seen.height
    across = span.filter((pl.col("first") < day) & (pl.col("last") >= day + timedelta(days=1)))
    assert across.is_empty()
    before = plain.accounts.join(plain.of(label=1), on="account_id").filter(pl.col("closed_at") < day)
    assert before.select("account_id", "closed_at").equals(
        rings.filter(pl.col("closed_at") < day).select("account_id", "closed_at")
    )
    # who follows begins within days of it, and not before
    after = rings.filter(pl.col("parent").is_in(hit["account_id"].implode())).join(span, on="account_id")
    ends = after.join(hit.select(parent="account_id", ended="closed_at"), on="parent")
    assert ends.height > 10
    assert (ends["first"] > ends["ended"]).all()
    assert ((ends["first"] - ends["ended"]).median() or timedelta(0)) < timedelta(days=4)
    # innocent people are left alone
    people = (
        swept.accounts.join(swept.of(label=0), on="account_id"),
        plain.accounts.join(plain.of(label=0), on="account_id"),
    )
    assert people[0].equals(people[1])
