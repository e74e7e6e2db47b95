"""Ties on Spark are those of the embedded engine, every number."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import staged
from polars.testing import assert_frame_equal

from hand import graph_of, people, strangers
from hydragraph import ties as embedded
from hydragraph.activity import Activity, read_activity
from hydragraph.bipartite import BipartiteGraph
from hydragraph.chance import rewire
from hydragraph.engines.spark import uses
from hydragraph.engines.spark.stages import TIES, Stages
from hydragraph.engines.spark.tying import tie_on_spark
from hydragraph.engines.spark.wholes import whole_groups
from hydragraph.evidence import Evidence, weigh
from hydragraph.schema import TIME
from hydragraph.ties import PAIR_BUDGET, Ties, find_ties
from hydragraph.worlds import simulate

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAY = 24 * 12
NOBODY = pl.DataFrame(schema={"account": pl.Int64, "slot": pl.Int64, "requests": pl.Int64, "first": pl.Int64})


def held_against(
    spark: SparkSession,
    root: Path,
    graph: BipartiteGraph,
    evidence: Evidence,
    requests: pl.DataFrame | None,
    pairs_each: int = PAIR_BUDGET,
) -> Ties:
    """The ties of the embedded engine, after those on Spark were found to be the same. requests: None: without times."""
    activity = None if requests is None else read_activity(requests, graph.accounts.height)
    expected = find_ties(graph, evidence, activity, pairs_each=pairs_each)
    nobody = NOBODY if requests is None else requests
    staged.put(root, staged.frames(graph, nobody, NOBODY) | staged.evidence_frames(graph, evidence))
    stages = Stages(spark, str(root), "test")
    formed = tie_on_spark(
        stages, graph.kinds, evidence.prior, graph.accounts.height, timed=requests is not None, pairs_each=pairs_each
    )
    assert formed == expected.pairs_formed
    found = pl.DataFrame(stages.read("ties", TIES).toArrow()).sort("a", "b")
    assert_frame_equal(found, staged.tie_frame(expected), check_exact=True)
    return expected


def made_up(seed: int, prior: float = 14.0) -> tuple[BipartiteGraph, Evidence, pl.DataFrame]:
    """A graph of 700 accounts with all that ties are made of: mixed kinds, narrow and wide identifiers, equal moments, links
    in passing, meshes, gaps, bursts in common, and worth drawn by lot."""
    rng = np.random.default_rng(seed)
    number = 700
    uses = {}
    for kind in ("api_key", "email_domain", "ip_range", "payment", "template"):
        sizes = np.concatenate([rng.integers(1, 7, 150), rng.integers(20, 90, 6), [513, 650]])
        for i, size in enumerate(sizes.tolist()):
            # groups of neighbours, so that pairs share several
            start = int(rng.integers(0, number))
            among = (start + np.arange(max(2 * size, 4))) % number if size < 20 else np.arange(number)
            uses[kind, f"{i:03d}"] = [f"a{j:03d}" for j in rng.choice(among, size, replace=False).tolist()]
    graph = graph_of(uses, also=[f"a{j:03d}" for j in range(number)])
    links = graph.links.height
    count = np.where(rng.random(links) < 0.7, 1, rng.integers(1, 4000, links))
    # few moments, so that links in passing and equal gaps come by; some are unknown
    when = rng.integers(0, 40, links) * 1_000_003
    seen = pl.Series(np.where(rng.random(links) < 0.2, -1, when))
    seen = pl.select(pl.when(seen >= 0).then(seen).cast(TIME)).to_series()
    graph = BipartiteGraph(
        graph.accounts, graph.identifiers, graph.links.with_columns(count=count, first_seen=seen, last_seen=seen)
    )
    size = graph.identifiers.height
    logit = rng.uniform(-prior - 2, 4, size).round(2)
    bits = np.maximum(prior + logit, 0.0).round(3)
    evidence = Evidence(
        logit,
        bits,
        np.minimum(rng.uniform(0, 3, size), bits).round(3),
        np.where(rng.random(size) < 0.1, rng.uniform(0, 6, size), 0.0).round(3),
        rng.random(number) < 0.3,
        {k: np.sort(rng.integers(0, 40, 300)) * 1_000_003 for k in (1, 3)},
        prior,
        weigh(graph_of({}), staged.SETTINGS).classes,
    )
    # calendars of groups of neighbours, with days off
    account, slot = [], []
    for j in range(0, number, 2):
        calendar = np.random.default_rng(j // 20).integers(0, 40 * DAY, 12)
        own = np.concatenate([calendar[rng.random(12) < 0.8], rng.integers(0, 40 * DAY, int(rng.integers(0, 5)))])
        own = np.unique(own)
        account.append(np.full(len(own), j))
        slot.append(own)
    requests = pl.DataFrame({"account": np.concatenate(account), "slot": np.concatenate(slot)}).with_columns(
        requests=pl.lit(2, pl.Int64), first=pl.lit(0, pl.Int64)
    )
    return graph, evidence, requests


@pytest.mark.parametrize("seed", range(3))
def test_ties_of_made_up_worth_are_the_same(spark: SparkSession, tmp_path: Path, seed: int) -> None:
    graph, evidence, requests = made_up(seed)
    ties = held_against(spark, tmp_path / "timed", graph, evidence, requests)
    assert len(ties.a) > 100
    assert (ties.synchrony > 0).any()
    held_against(spark, tmp_path / "timeless", graph, evidence, None)


def test_identifiers_beyond_the_budget_only_add(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_SMALLEST_BUDGET", 100)
    graph, evidence, requests = made_up(7, prior=10.0)
    ties = [held_against(spark, tmp_path / str(each), graph, evidence, requests, pairs_each=each) for each in (0, 1, 8)]
    assert 0 < ties[0].pairs_formed < ties[1].pairs_formed < ties[2].pairs_formed


def test_hubs_are_joined_apart_and_add_what_they_are_worth(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, evidence, requests = made_up(1)
    assert (graph.degree > embedded.WIDEST_PAIRED).sum() == 10
    pairing = []
    monkeypatch.setattr(uses, "_HUBS", 10**9)  # every identifier of more than 512 accounts
    found = uses.find_pairing
    monkeypatch.setattr(
        "hydragraph.engines.spark.tying.find_pairing", lambda *a: pairing.append(found(*a)) or pairing[0]
    )
    held_against(spark, tmp_path, graph, evidence, requests)
    assert len(pairing[0].hubs) == 10


def test_ties_of_a_world_and_of_its_rewired_links_are_the_same(spark: SparkSession, tmp_path: Path) -> None:
    simulate(tmp_path / "world", accounts=2000, seed=3)
    graph, requests, _ = staged.read(tmp_path / "world")
    evidence = weigh(graph, staged.SETTINGS)
    root = tmp_path / "stages"
    assert len(held_against(spark, root, graph, evidence, requests).a) > 500
    # as the chance step does: only the two codes of links, other names, no times
    rewired = rewire(graph, 3)
    by_chance = weigh(rewired, staged.SETTINGS, evidence.prior)
    worth = {f"{name}_wired": frame for name, frame in staged.evidence_frames(rewired, by_chance).items()}
    staged.put(root, {"wired": staged.whole(rewired.links.select("account", "identifier")), **worth})
    stages = Stages(spark, str(root), "test")
    tie_on_spark(stages, graph.kinds, evidence.prior, 2000, timed=False, pairs_each=2, links="wired", suffix="_wired")
    found = pl.DataFrame(stages.read("ties_wired", TIES).toArrow()).sort("a", "b")
    assert_frame_equal(found, staged.tie_frame(find_ties(rewired, by_chance, pairs_each=2)), check_exact=True)


HAND = {
    "nobody": {},
    "one account": {("payment", "p"): ["a"]},
    "a pair": {("payment", "p"): ["a", "b"]},
    "nothing shared": {("payment", "p"): ["a"], ("device", "d"): ["b"]},
    "circumstantial kinds only": {("ip_range", f"192.0.2.{i}/32"): ["a", "b"] for i in range(5)},
    "wide identifiers only": {("device", "d"): strangers(600), ("payment", "p"): strangers(600)},
    "a wide identifier beside a narrow one": {
        ("device", "d"): [*strangers(600), *people("x", 4)],
        ("ip_range", "192.0.2.0/24"): [*strangers(550), "x01"],
        ("payment", "p"): people("x", 4),
    },
    "exactly as many as form pairs": {("device", "d"): strangers(512), ("payment", "p"): strangers(513)},
}


@pytest.mark.parametrize(
    ("name", "timed"), [*((name, True) for name in HAND), ("nobody", False), ("circumstantial kinds only", False)]
)
def test_ties_of_hand_sized_graphs_are_the_same(spark: SparkSession, tmp_path: Path, name: str, timed: bool) -> None:
    graph = graph_of(HAND[name], also=["unlinked"])
    held_against(spark, tmp_path, graph, weigh(graph, staged.SETTINGS), NOBODY if timed else None)


def test_a_burst_in_common_counts_for_the_two_it_is_of(spark: SparkSession, tmp_path: Path) -> None:
    graph = graph_of({("payment", "p"): ["a", "b"], ("payment", "q"): ["c", "d"], ("device", "x"): people("e", 99)})
    slots = [DAY * d + 12 * (3 + 4 * d) for d in range(5)]
    calendars = (slots, slots, slots, [slot + 24 for slot in slots])
    activity = Activity(np.repeat(np.arange(4), 5), np.array(calendars).ravel(), np.ones(20, np.int64), 103)
    requests = pl.DataFrame({"account": activity.account, "slot": activity.slot}).with_columns(
        requests=pl.lit(1, pl.Int64), first=pl.lit(0, pl.Int64)
    )
    ties = held_against(spark, tmp_path, graph, weigh(graph, staged.SETTINGS), requests)
    assert ties.synchrony[0] > 5


def test_a_step_that_was_done_is_not_done_again(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = graph_of(HAND["a pair"])
    evidence = weigh(graph, staged.SETTINGS)
    held_against(spark, tmp_path, graph, evidence, None)
    monkeypatch.setattr("hydragraph.engines.spark.tying.find_uses", None)
    assert tie_on_spark(Stages(spark, str(tmp_path), "test"), graph.kinds, evidence.prior, 2, timed=False) == 1


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("least", [1, 4, 30, 1000])
def test_groups_stay_whole_however_batches_cut_them(size: int, least: int) -> None:
    key = np.repeat([3, 4, 6, 7, 9, 12, 13], [1, 5, 1, 20, 2, 1, 3])
    rows = pa.table({"key": key, "row": np.arange(len(key))})
    batches = [rows.slice(i, size).combine_chunks().to_batches()[0] for i in range(0, len(key), size)]
    batches.insert(1, batches[0].slice(0, 0))
    found = list(whole_groups(iter(batches), "key", least))
    assert pa.concat_tables(found).equals(rows.combine_chunks())
    assert all(table.num_rows >= least for table in found[:-1])
    assert all(table.num_rows for table in found)
    seen = [set(table["key"].to_pylist()) for table in found]
    assert sum(map(len, seen)) == len(np.unique(key))


def test_a_partition_without_rows_has_no_groups() -> None:
    assert list(whole_groups(iter([]), "key", 5)) == []
