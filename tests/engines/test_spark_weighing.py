"""What identifiers are worth on Spark is what the embedded engine finds, every number."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
import staged
from numpy.typing import NDArray

from hand import graph_of, strangers
from hydragraph.bipartite import BipartiteGraph
from hydragraph.chance import rewire
from hydragraph.engines.spark import stages as schemas
from hydragraph.engines.spark import weighing
from hydragraph.engines.spark.arrays import column, rows_of
from hydragraph.engines.spark.stages import Stages
from hydragraph.engines.spark.weighing import weigh_on_spark
from hydragraph.evidence import draw, number_drawn, own_stream, weigh
from hydragraph.schema import TIME

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SMALL = Path(__file__).parents[2] / "fixtures" / "small"
ACCOUNTS = 10_000
NONE = pl.DataFrame(schema={"account": pl.UInt32})
SORTED = {"weights": ["identifier"], "several": ["account"], "gaps": ["kind", "gap"], "classes": ["kind", "level"]}


def graph(users: dict[str, list[NDArray[np.int64]]], seed: int = 5) -> BipartiteGraph:
    """Of each kind identifiers with these users: one in four links used twice, three in four at one known time, some of
    them before 1970; one identifier in three known."""
    random = np.random.default_rng(seed)
    kinds = [kind for kind in sorted(users) for _ in users[kind]]
    of = [np.unique(each) for kind in sorted(users) for each in users[kind]]
    identifier = np.repeat(np.arange(len(of)), [len(each) for each in of])
    account = np.concatenate([np.zeros(0, np.int64), *of])
    order = np.lexsort((identifier, account))
    number = len(order)
    first = random.integers(-(10**15), 10**16, number)
    last = first + np.where(random.random(number) < 0.75, 0, 10**9)
    links = pl.DataFrame(
        {"account": account[order], "identifier": identifier[order]},
        schema={"account": pl.UInt32, "identifier": pl.UInt32},
    ).with_columns(
        count=pl.Series(random.choice([1, 1, 1, 2], number)),
        first_seen=pl.Series(first).cast(TIME),
        last_seen=pl.when(pl.Series(random.random(number) < 0.9)).then(pl.Series(last)).cast(TIME),
    )
    identifiers = pl.DataFrame(
        {
            "kind": kinds,
            "value": [f"v{i:06d}" for i in range(len(of))],
            "known": ["hosting" if i % 3 == 0 else None for i in range(len(of))],
        },
        schema={"kind": pl.String, "value": pl.String, "known": pl.String},
    )
    names = pl.DataFrame({"account_id": [f"a{i:05d}" for i in range(ACCOUNTS)]})
    return BipartiteGraph(names, identifiers, links)


def dealt(values: int) -> list[NDArray[np.int64]]:
    """A mesh: two accounts for every two of so many values."""
    pairs = list(combinations(range(values), 2))
    return [np.array([2 * i + s for i, pair in enumerate(pairs) if v in pair for s in (0, 1)]) for v in range(values)]


def mixed() -> BipartiteGraph:
    """Keys of four to nine accounts, every other of them with a home; more pairs on a cookie than are sampled; a mesh, two
    hubs, ranges of any width, devices of one account, and a kind that nobody has heard of."""
    random = np.random.default_rng(11)

    def crowd(size: int) -> NDArray[np.int64]:
        return random.integers(0, ACCOUNTS, size)

    keys = np.split(np.arange(ACCOUNTS), np.cumsum(random.integers(4, 10, 900)))[:-1]
    return graph(
        {
            "api_key": [*keys, *(np.array([a, a + 3]) for a in range(0, 4000, 7))],
            "badge": [crowd(30) for _ in range(4)],
            "cookie": [crowd(2) for _ in range(9000)],
            "device": [*(crowd(1) for _ in range(300)), *(crowd(3) for _ in range(50))],
            "ip_range": [*keys[::2], *(crowd(size) for size in range(2, 3000, 41)), np.arange(ACCOUNTS)],
            "payment": [*dealt(9), *(crowd(2) for _ in range(40))],
            "template": [*(crowd(70) for _ in range(30)), np.arange(0, ACCOUNTS, 2)],
        }
    )


def hold(
    spark: SparkSession, root: Path, given: BipartiteGraph, prior: float | None = None, suffix: str = ""
) -> Stages:
    """The stages of a graph, once weights, several, gaps, classes and prior are found to be the embedded engine's."""
    frames = staged.frames(given, NONE, NONE)
    links = f"links{suffix}"
    staged.put(root, {"identifiers": frames["identifiers"], links: frames["links"]})
    made = Stages(spark, str(root), "test")
    found = weigh_on_spark(made, given.kinds, staged.SETTINGS, prior, links, suffix)
    evidence = weigh(given, staged.SETTINGS, prior)
    assert found == evidence.prior
    assert made.note(f"prior{suffix}", dict) == {"prior": evidence.prior}
    for name, wanted in staged.evidence_frames(given, evidence).items():
        assert rows(made, name, suffix).equals(wanted.sort(SORTED[name])), name
    return made


def rows(made: Stages, name: str, suffix: str = "") -> pl.DataFrame:
    table = made.read(name + suffix, getattr(schemas, name.upper())).toArrow()
    found = pl.from_arrow(table)
    assert isinstance(found, pl.DataFrame)
    return found.sort(SORTED[name])


def test_a_whole_source(spark: SparkSession, tmp_path: Path) -> None:
    hold(spark, tmp_path, staged.read(SMALL)[0])


def test_whatever_a_source_has(spark: SparkSession, tmp_path: Path) -> None:
    given = mixed()
    made = hold(spark, tmp_path, given)

    classes = rows(made, "classes")
    assert classes["level"].max() == 13  # a hub
    assert (classes["identifiers"] > 2 * 4000).any()  # every third is sampled
    doubtful = made.read("doubtful").toArrow()
    assert len(np.unique(column(doubtful, "block"))) > 5
    assert doubtful.num_rows > 100
    weights = rows(made, "weights")
    assert (weights["woven"] > 0).any()
    assert 1 < rows(made, "gaps")["kind"].n_unique() < len(given.kinds)
    assert 0 < rows(made, "several").height < ACCOUNTS


def test_a_graph_wired_at_random(spark: SparkSession, tmp_path: Path) -> None:
    """Its stages have other names, identifiers without accounts, no times, and N is given."""
    made = hold(spark, tmp_path, rewire(mixed(), 7), prior=14.5, suffix="_wired")

    assert (rows(made, "weights", "_wired")["degree"] == 0).any()
    assert rows(made, "gaps", "_wired").is_empty()


@pytest.mark.parametrize(
    "uses",
    [
        {},
        {("payment", "own"): ["a"]},
        {("api_key", "k"): strangers(3)},
        {("api_key", "k"): strangers(70), ("payment", "p"): strangers(64), ("payment", "q"): strangers(65)},
        {("device", "d"): strangers(8), ("cookie", "c"): strangers(6), ("template", "t"): strangers(9)},
        {("payment", f"p{i:03d}"): strangers(2 + i % 9) for i in range(60)},
        {(kind, f"v{i}"): strangers(4) for kind in ("it's", 'a "kind"', "ünïcode") for i in range(40)},
    ],
    ids=["nothing", "nothing shared", "one", "at the edges", "a mesh", "one kind", "strange kinds"],
)
def test_by_hand(spark: SparkSession, tmp_path: Path, uses: dict[tuple[str, str], list[str]]) -> None:
    hold(spark, tmp_path, graph_of(uses, also=["a", "b"]))


def test_what_is_made_is_not_made_again(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = graph_of({("payment", f"p{i:03d}"): strangers(2 + i % 9) for i in range(60)})
    made = hold(spark, tmp_path, given)
    monkeypatch.setattr(Stages, "build", None)

    weigh_on_spark(made, given.kinds, staged.SETTINGS)


def test_pairs_are_those_of_one_stream_however_identifiers_are_spread() -> None:
    random = np.random.default_rng(2)
    size = random.integers(4, 50, 500)
    identifier, number = np.arange(500) * 3, number_drawn(size, 20)
    start, total = np.cumsum(number) - number, int(number.sum())
    stream = own_stream(7)
    at, first, other = draw(size, 20, stream, stream)
    order = random.permutation(500)
    given = rows_of(
        "identifier long, kind long, degree long, number long, start long",
        *(x[order] for x in (identifier, size % 3, size, number, start)),
    )

    for batches in (given.to_batches(), given.to_batches(max_chunksize=37), given.slice(0, 0).to_batches()):
        parts = [pl.from_arrow(part) for part in weighing._drawn_of_own(iter(batches), 7, total)]
        if not sum(batch.num_rows for batch in batches):
            assert not parts
            continue
        found = pl.concat([part for part in parts if isinstance(part, pl.DataFrame)]).sort("of", "pair")
        assert found["of"].to_list() == found["identifier"].to_list() == identifier[at].tolist()
        assert found["kind"].to_list() == (size % 3)[at].tolist()
        assert found["first"].to_list() == first.tolist()
        assert found["other"].to_list() == other.tolist()
        assert not found.select("of", "pair").is_duplicated().any()
