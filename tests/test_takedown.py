"""The takedown plan: small graphs with the best plan worked out, then what must hold of any plan."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hydragraph as hg
from hydragraph.errors import InputRefused
from hydragraph.takedown import Plan, cover, plan_cluster

Key = tuple[str, str]

MONDAY = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)


def plan(
    uses: Mapping[str, Iterable[object]],
    *,
    outside: Mapping[str, int] | None = None,
    elsewhere: Mapping[str, int] | None = None,
    bits: Mapping[str, float] | None = None,
    also: Iterable[object] = (),
    often: Mapping[tuple[str, str], int] | None = None,
    assessment: str = "coordinated",
    closed: Iterable[object] = (),
    max_collateral: int = 10,
    max_share: float = 100.0,
    order: random.Random | None = None,
) -> Plan:
    """The plan of one cluster. uses: 'kind:value' (or a value, then a payment) -> members; outside: innocent users of
    it; elsewhere: users in other coordinated clusters; bits: 10 unless told; also: members that use nothing;
    closed: members that are; often: (member, name) -> how often, once unless told."""
    outside, elsewhere, bits = outside or {}, elsewhere or {}, bits or {}
    sets = {name: sorted({str(a) for a in users}) for name, users in uses.items()}
    links = []
    for name, users in sets.items():
        kind, _, value = name.rpartition(":")
        number = len(users) + outside.get(name, 0) + elsewhere.get(name, 0)
        links += [
            (a, kind or "payment", value, (often or {}).get((a, name), 1), number, bits.get(name, 10.0)) for a in users
        ]
    members = sorted({a for users in sets.values() for a in users} | {str(a) for a in also})
    accused = [
        (n.rpartition(":")[0] or "payment", n.rpartition(":")[2],
         elsewhere.get(n, 0) + (len(users) if assessment == "coordinated" else 0))
        for n, users in sets.items()
    ]  # fmt: skip
    if order:
        for rows in (links, members, accused):
            order.shuffle(rows)  # type: ignore[arg-type]
    return plan_cluster(
        "c0",
        pl.DataFrame({"account_id": members}).with_columns(
            assessment=pl.lit(assessment),
            closed_at=pl.when(pl.col("account_id").is_in([str(a) for a in closed])).then(pl.lit(MONDAY)),
        ),
        pl.DataFrame(links, schema=["account_id", "kind", "value", "count", "accounts", "bits"], orient="row"),
        pl.DataFrame(accused, schema=["kind", "value", "number"], orient="row"),
        max_collateral=max_collateral,
        max_share=max_share,
    )


def rows(found: Plan, *columns: str) -> list[tuple[object, ...]]:
    return found.steps.select(columns).rows()


# Worked out by hand


def test_the_identifier_that_all_use_is_the_plan() -> None:
    found = plan({"card": "abcd", "phone:p": "ab"})

    assert rows(found, "step", "kind", "value", "accounts_covered", "collateral", "remaining", "largest_part") == [
        (1, "payment", "card", 4, 0, 0, 0)
    ]
    assert (found.cost, found.least, found.bound) == (1, 1, 1.0)
    assert found.alone.to_list() == []


def test_greedy_is_led_astray_and_the_exact_plan_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows of seven are the best cover: 2. But four columns hold 8 accounts, more than a row; then two columns hold
    4 of the 6 left, more than the 3 of a row; then the last column 2: greedy takes 3. No one else's plan is below 2:
    no identifier stops more than 8 of 14."""
    top, bottom = [f"t{i}" for i in range(7)], [f"b{i}" for i in range(7)]
    uses = {
        "row-1": top, "row-2": bottom,
        "columns-4": top[:4] + bottom[:4], "columns-2": top[4:6] + bottom[4:6], "columns-1": top[6:] + bottom[6:],
    }  # fmt: skip

    exact = plan(uses)
    assert rows(exact, "value", "accounts_covered", "bound") == [("row-1", 7, 1.0), ("row-2", 7, 1.0)]
    assert (exact.cost, exact.least) == (2, 2)

    monkeypatch.setattr(cover, "_PRICED_LINKS", 0)
    greedy = plan(uses)
    assert rows(greedy, "value", "accounts_covered") == [("columns-4", 8), ("columns-2", 4), ("columns-1", 2)]
    assert (greedy.cost, greedy.least, greedy.bound) == (3, 2, 1.5)


def test_a_step_that_later_ones_make_needless_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Greedy takes bcde (4 at once), then abc and def for a and f; the first is needless then."""
    monkeypatch.setattr(cover, "_PRICED_LINKS", 0)
    found = plan({"middle": "bcde", "left": "abc", "right": "def"})

    assert rows(found, "value", "accounts_covered", "remaining") == [("left", 3, 3), ("right", 3, 0)]
    assert found.bound == 1.0


def test_innocent_users_make_an_identifier_dear() -> None:
    """wide: 6 accounts at 1 + 4 = 5. Two cards of three: 2. So the cards, though wide alone would do."""
    uses = {"ip_range:wide": "abcdef", "one": "abc", "two": "def"}

    assert rows(plan(uses, outside={"ip_range:wide": 4}), "value", "collateral") == [("one", 0), ("two", 0)]
    assert rows(plan(uses), "value", "collateral") == [("wide", 0)]


def test_nothing_is_blocked_that_hits_as_many_as_it_stops() -> None:
    """Closing 4 accounts costs 4; blocking what they share costs 1 + 3 = 4 and hits 3 innocents: close them. With 2
    innocents it costs 3: block it."""
    close = plan({"ip_range:r": "abcd"}, outside={"ip_range:r": 3})
    block = plan({"ip_range:r": "abcd"}, outside={"ip_range:r": 2})

    assert (close.steps.height, close.alone.to_list(), close.cost, close.bound) == (0, list("abcd"), 4, 1.0)
    assert (rows(block, "accounts_covered", "collateral"), block.cost) == ([(4, 2)], 3)


def test_an_identifier_above_the_limit_is_not_blocked_and_its_accounts_are_named() -> None:
    uses = {"ip_range:r": [f"a{i}" for i in range(9)], "card": ["a0", "b"]}
    free = plan(uses, outside={"ip_range:r": 3}, max_collateral=3)
    held = plan(uses, outside={"ip_range:r": 3}, max_collateral=2)

    assert rows(free, "value", "accounts_covered", "collateral") == [("r", 9, 3), ("card", 1, 0)]
    assert rows(held, "value", "accounts_covered", "remaining") == [("card", 2, 8)]
    assert held.alone.to_list() == [f"a{i}" for i in range(1, 9)]


def test_the_collateral_of_all_steps_is_limited_too() -> None:
    """Three ranges of five accounts with two innocents each; a third of 15 members is 5: room for two ranges."""
    uses = {f"ip_range:{r}": [f"{r}{i}" for i in range(5)] for r in "xyz"}
    outside = dict.fromkeys(uses, 2)
    found = plan(uses, outside=outside, max_share=1 / 3)

    assert rows(found, "value", "collateral", "remaining") == [("x", 2, 10), ("y", 2, 5)]
    assert found.collateral == 4
    assert found.alone.to_list() == [f"z{i}" for i in range(5)]
    assert (found.cost, found.bound) == (3 + 3 + 5, 1.0)


def test_accounts_of_other_coordinated_clusters_are_counted_apart() -> None:
    uses = {"ip_range:r": "abcd"}
    found = plan(uses, outside={"ip_range:r": 1}, elsewhere={"ip_range:r": 500})
    in_review = plan(uses, outside={"ip_range:r": 1}, elsewhere={"ip_range:r": 500}, assessment="review")

    assert rows(found, "collateral", "elsewhere") == [(1, 500)]
    assert rows(in_review, "collateral", "elsewhere") == [(1, 500)]


def test_what_cannot_be_blocked_is_not_and_what_one_uses_is_no_step() -> None:
    found = plan({"org:acme": "abc", "user_agent:x": "abc", "key-a": "a", "key-b": "b"}, also="z")

    assert found.steps.height == 0
    assert found.alone.to_list() == ["a", "b", "c", "z"]
    assert found.cost == found.least == 4


def test_who_is_still_open() -> None:
    # `wide` stops 1 to 4, of whom 1 and 4 are closed, `small` 5 and 6, of whom neither is; 7 is to be closed by itself
    found = plan({"wide": [1, 2, 3, 4], "small": [4, 5, 6]}, also=[7], closed=[1, 4, 7])
    assert rows(found, "value", "accounts_covered", "accounts_open") == [("wide", 4, 2), ("small", 2, 2)]


def test_how_much_of_their_use_went_through_it() -> None:
    """Of the requests of a, b and c 6 of 10 came from the shared range; their cards do not count."""
    uses = {"ip_range:r": "abc", "ip_range:home-a": "a", "ip_range:home-b": "b", "card-a": "a"}
    found = plan(uses, often={("a", "ip_range:r"): 2, ("a", "ip_range:home-a"): 3, ("b", "ip_range:r"): 3})

    assert rows(found, "value", "share_of_use") == [("r", 0.6)]


def test_what_still_hangs_together_after_each_step() -> None:
    """card holds abcd; phone ties d to e, e to f; g and h share a device, i and j a fingerprint worth nothing.
    Blocking card leaves e-f of the ten (e, f), (g, h), i, j: at most 2 hang together."""
    uses = {
        "card": "abcd", "phone:1": "de", "phone:2": "ef", "device:x": "gh", "tls:t": "ij",
    }  # fmt: skip
    found = plan(uses, bits={"tls:t": 0.0}, outside={"tls:t": 900})

    assert rows(found, "value", "accounts_covered", "remaining", "largest_part") == [
        ("card", 4, 6, 2), ("x", 2, 4, 2), ("2", 2, 2, 1),
    ]  # fmt: skip
    assert found.alone.to_list() == ["i", "j"]


def test_a_part_that_stays_whole_until_its_last_step_is_seen() -> None:
    """A chain a-b-c-d-e-f of cards: blocking bc leaves a alone and d-e-f whole."""
    found = plan({"ab": "ab", "bc": "bcx", "cd": "cd", "de": "dey", "ef": "ef"})

    assert rows(found, "value", "accounts_covered", "remaining", "largest_part") == [
        ("bc", 3, 5, 4), ("de", 3, 2, 1), ("ab", 1, 1, 1), ("ef", 1, 0, 0),
    ]  # fmt: skip


# What must hold of any plan


@st.composite
def clusters(draw: st.DrawFn) -> tuple[dict[str, list[int]], dict[str, int]]:
    sets = draw(st.lists(st.sets(st.integers(0, 8), min_size=1, max_size=6), min_size=1, max_size=7))
    uses = {f"v{i}": sorted(users) for i, users in enumerate(sets)}
    return uses, {name: draw(st.integers(0, 3)) for name in uses}


def least_cost(uses: Mapping[str, list[int]], outside: Mapping[str, int], most: int, in_all: int) -> int:
    """By trying every set of identifiers."""
    members = {a for users in uses.values() for a in users}
    names = [n for n in uses if len(uses[n]) > 1 and outside[n] <= most]
    costs = []
    for size in range(len(names) + 1):
        for taken in combinations(names, size):
            hit = sum(outside[n] for n in taken)
            left = members - {a for n in taken for a in uses[n]}
            costs += [size + hit + len(left)] if hit <= in_all else []
    return min(costs)


@given(clusters(), st.integers(0, 3), st.sampled_from([0.0, 0.3, 100.0]), st.booleans())
def test_no_plan_is_better_than_its_bound_says(
    made: tuple[dict[str, list[int]], dict[str, int]], most: int, share: float, exactly: bool
) -> None:
    uses, outside = made
    members = {a for users in uses.values() for a in users}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cover, "_PRICED_LINKS", 1000 if exactly else 0)
        found = plan(uses, outside=outside, max_collateral=most, max_share=share)
    limit = int(share * len(members) + 1e-6)
    best = least_cost(uses, outside, most, limit)

    assert found.least <= best <= found.cost
    assert found.cost == found.steps.height + found.collateral + len(found.alone)
    assert found.collateral <= limit
    if exactly:
        assert found.cost == best
    if share == 100.0:
        widest = max(len(users) for users in uses.values())
        assert found.cost <= best * sum(1 / i for i in range(1, widest + 1)) + 1e-9


@given(clusters(), st.integers(0, 3))
def test_a_plan_stops_what_can_be_stopped(made: tuple[dict[str, list[int]], dict[str, int]], most: int) -> None:
    uses, outside = made
    found = plan(uses, outside=outside, max_collateral=most)
    members = {str(a) for users in uses.values() for a in users}
    open_, stopped = set(members), 0
    for value, covered, collateral, remaining in found.steps.select(
        "value", "accounts_covered", "collateral", "remaining"
    ).iter_rows():
        new = open_ & {str(a) for a in uses[value]}
        open_ -= new
        stopped += len(new)
        assert (len(new), outside[value], len(open_)) == (covered, collateral, remaining)
        assert covered > 0
        assert collateral <= most
    assert set(found.alone) == open_
    assert stopped + len(found.alone) == len(members)
    free = {str(a) for name, users in uses.items() if len(users) > 1 and not outside[name] for a in users}
    assert not free & open_


@given(clusters(), st.randoms(use_true_random=False))
def test_largest_part_is_that_of_a_search(
    made: tuple[dict[str, list[int]], dict[str, int]], rng: random.Random
) -> None:
    uses, outside = made
    bits = {name: float(rng.randint(0, 1)) for name in uses}
    found = plan(uses, outside=outside, bits=bits)
    open_ = {a for users in uses.values() for a in users}
    for value, largest in found.steps.select("value", "largest_part").iter_rows():
        open_ -= set(uses[value])
        assert largest == _largest(open_, [set(users) for name, users in uses.items() if bits[name]])


def _largest(members: set[int], sets: list[set[int]]) -> int:
    most = 0
    left = set(members)
    while left:
        part = {left.pop()}
        while more := {a for s in sets if s & part for a in s & left}:
            part |= more
            left -= more
        most = max(most, len(part))
    return most


@given(clusters(), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(
    made: tuple[dict[str, list[int]], dict[str, int]], rng: random.Random
) -> None:
    uses, outside = made
    one, other = plan(uses, outside=outside), plan(uses, outside=outside, order=rng)

    assert one.steps.equals(other.steps)
    assert one.alone.equals(other.alone)


# In a case


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> hg.Case:
    folder = tmp_path_factory.mktemp("takedown")
    hg.simulate(folder / "world", accounts=6_000, seed=4)
    return hg.analyze(folder / "world", folder / "case")


def test_every_lead_has_its_plan_and_explained_clusters_have_none(case: hg.Case) -> None:
    leads = case.clusters.filter(pl.col("assessment") != "explained")

    assert leads.height > 2
    assert set(case.takedown["cluster_id"]) <= set(leads["cluster_id"])
    for cluster_id in leads["cluster_id"]:
        cluster = case.cluster(cluster_id)
        found = cluster.plan()
        assert found.steps.equals(cluster.takedown)
        assert found.steps["accounts_covered"].sum() + len(found.alone) == cluster.row["size"]
        assert found.collateral <= 0.1 * cluster.row["size"] + 1e-6


def test_figures_are_those_of_the_links(case: hg.Case) -> None:
    accused = case.accounts.filter(assessment="coordinated")["account_id"].implode()
    for row in case.takedown.iter_rows(named=True):
        using = case.links.filter(kind=row["kind"], value=row["value"])
        members = case.accounts.filter(cluster_id=row["cluster_id"])["account_id"].implode()
        inside = using["account_id"].is_in(members)
        elsewhere = (using["account_id"].is_in(accused) & ~inside).sum()
        assert row["elsewhere"] == elsewhere
        assert row["collateral"] == using["accounts"][0] - inside.sum() - elsewhere
        assert row["collateral"] <= 10


def test_a_tighter_limit_hits_fewer_and_leaves_more(case: hg.Case) -> None:
    lead = case.cluster(case.clusters["cluster_id"][0])
    none, wide = lead.plan(max_collateral=0), lead.plan(max_collateral=10**9, max_share=1.0)

    assert none.collateral == 0
    assert wide.cost <= none.cost
    with pytest.raises(InputRefused, match="max_collateral: must lie between 0 and"):
        lead.plan(max_collateral=-1)


def test_no_cluster_no_plan(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    pl.DataFrame({"account_id": ["a", "b"], "api_key_id": ["k-1", "k-2"]}).write_parquet(source / "api_keys.parquet")
    case = hg.analyze(source, tmp_path / "case")

    assert case.clusters.is_empty()
    assert case.takedown.is_empty()


def test_a_hub_of_wide_proxies_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """3,000 accounts on 100 proxies of their own, 30 each: too many links for the exact plan, a bound all the same."""
    monkeypatch.setattr(cover, "_PRICED_LINKS", 1000)
    rng = np.random.default_rng(5)
    uses: dict[str, list[str]] = {f"ip_range:{v:03}": [] for v in range(100)}
    for a in range(3_000):
        for v in rng.choice(100, 30, replace=False):
            uses[f"ip_range:{v:03}"].append(f"a{a:04}")
    found = plan(uses)

    assert found.alone.is_empty()
    assert found.least > 0
    assert 1 <= found.bound <= sum(1 / i for i in range(1, 1_000))
    assert found.steps.height < 30
