"""analyze(), from a source to a case."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import hydragraph as hg
from case_contract import HELD, breaks
from hand import strangers
from hydragraph.pipeline import analyze, demo
from hydragraph.schema import INPUT, OUTPUT
from hydragraph.settings import Settings
from hydragraph.ties import COMBINED_MARGIN
from hydragraph.worlds import simulate
from written import day, source_of

pytestmark = pytest.mark.xdist_group("pipeline")  # one worker: one world

ROOT = Path(__file__).parents[1]
TABLES = sorted(INPUT)


def digests(case: hg.Case | Path) -> dict[str, str]:
    """The bytes of the eight tables."""
    folder = case if isinstance(case, Path) else case.path
    return {n: hashlib.sha256((folder / f"{n}.parquet").read_bytes()).hexdigest() for n in OUTPUT}


def below(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def shuffled(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    return frame.sample(fraction=1, shuffle=True, seed=seed)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world of 2,000 accounts with every tactic."""
    folder = tmp_path_factory.mktemp("pipeline") / "world"
    simulate(folder, accounts=2_000, seed=11)
    return folder


@pytest.fixture(scope="module")
def case(world: Path) -> hg.Case:
    return analyze(world, world.parent / "case")


@pytest.fixture(scope="module")
def frames(world: Path) -> dict[str, pl.DataFrame]:
    return {t: pl.read_parquet(world / f"{t}.parquet") for t in TABLES}


# --- one source, one answer


def test_the_world_has_something_to_say(case: hg.Case) -> None:
    assert all(case.table(t).height for t in ("accounts", "clusters", "signals", "links", "ties"))
    assert case.clusters["assessment"].n_unique() > 1


def test_the_tables_say_what_holds_clusters(case: hg.Case) -> None:
    """A tie counts time where it has some, all but the margin of a tie in which no identifier tells by itself; no tie across
    a cut is stronger than the bits at which the cluster breaks."""
    assert case.ties["synchrony_bits"].max() > 0
    assert case.ties["synchrony_bits"].min() == 0
    assert case.ties.filter(pl.col("synchrony_bits") > pl.col("bits") + COMBINED_MARGIN + 0.001).is_empty()
    tied = case.clusters.filter(pl.col("cut_ties").is_not_null())
    assert tied.filter(pl.col("cut_accounts") > 2, pl.col("cut_ties") > 2).height
    assert tied.filter(pl.col("cut_accounts") > pl.col("cut_others")).is_empty()
    assert tied.filter(pl.col("cut_accounts") + pl.col("cut_others") > pl.col("size")).is_empty()
    owners = case.accounts.select("cluster_id", account_a="account_id")
    weakest = case.clusters.select("cluster_id", weakest="bits")
    ties = case.ties.join(owners, on="account_a").join(weakest, on="cluster_id")
    able = ties.filter(pl.col("bits") <= pl.col("weakest") + 0.001).group_by("cluster_id").agg(able=pl.len())
    assert tied.join(able, on="cluster_id").filter(pl.col("cut_ties") <= pl.col("able")).height == tied.height
    known = case.clusters["stability"].drop_nulls()
    assert known.len() > 0.9 * case.clusters.height
    assert 0 < known.min() <= 0.8 < known.max() <= 1


def test_csv_in_another_order_gives_the_same_bytes(
    tmp_path: Path, case: hg.Case, frames: dict[str, pl.DataFrame]
) -> None:
    (tmp_path / "csv").mkdir()
    for seed, (name, frame) in enumerate(frames.items()):
        shuffled(frame, seed).write_csv(tmp_path / "csv" / f"{name}.csv")
    assert digests(analyze(tmp_path / "csv", tmp_path / "case")) == digests(case)


def test_ndjson_in_parts_gives_the_same_bytes(tmp_path: Path, case: hg.Case, frames: dict[str, pl.DataFrame]) -> None:
    for seed, (name, frame) in enumerate(frames.items()):
        parts = tmp_path / "json" / name
        parts.mkdir(parents=True)
        mixed = shuffled(frame, 50 + seed).select(reversed(frame.columns))
        cut = [0, mixed.height // 5, mixed.height // 2, mixed.height]
        for i in range(3):
            text = mixed[cut[i] : cut[i + 1]].write_ndjson()
            if i == 1:
                (parts / f"{i}.ndjson.gz").write_bytes(gzip.compress(text.encode(), 1))
            else:
                (parts / f"{i}.jsonl").write_text(text, "utf-8")
    assert digests(analyze(tmp_path / "json", tmp_path / "case")) == digests(case)


def test_one_thread_and_another_hash_seed_give_the_same_bytes(tmp_path: Path, world: Path, case: hg.Case) -> None:
    code = "import sys, hydragraph as hg; hg.analyze(sys.argv[1], sys.argv[2])"
    threads = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = os.environ | dict.fromkeys(threads, "1")
    environment |= {"PYTHONHASHSEED": "4711", "PYTHONPATH": str(ROOT / "graphs")}
    subprocess.run([sys.executable, "-c", code, world, tmp_path / "case"], env=environment, check=True)
    assert digests(tmp_path / "case") == digests(case)


def test_a_second_run_differs_in_its_times_only(tmp_path: Path, world: Path, case: hg.Case) -> None:
    again = analyze(world, tmp_path / "case")
    assert digests(again) == digests(case)
    assert {**again.manifest, "stages": 0} == {**case.manifest, "stages": 0}
    assert [s["name"] for s in again.manifest["stages"]] == [s["name"] for s in case.manifest["stages"]]


# --- what it finds


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_world_without_rings_has_no_coordinated_cluster(tmp_path: Path, seed: int) -> None:
    simulate(tmp_path / "world", accounts=2_000, seed=seed, scenario="innocent")
    found = analyze(tmp_path / "world", tmp_path / "case")
    assert found.clusters.filter(assessment="coordinated").is_empty()
    assert breaks(found.path) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", [4, 5])
def test_a_larger_world_without_rings_has_no_coordinated_cluster(tmp_path: Path, seed: int) -> None:
    simulate(tmp_path / "world", accounts=25_000, seed=seed, scenario="innocent")
    found = analyze(tmp_path / "world", tmp_path / "case")
    assert found.clusters.filter(assessment="coordinated").is_empty()
    assert breaks(found.path) == []


def precision(found: hg.Case, world: Path) -> float:
    """Share of the accounts in coordinated clusters that belong to a ring."""
    truth = pl.read_parquet(world / "truth.parquet").select("account_id", "label")
    return float(found.accounts.filter(assessment="coordinated").join(truth, on="account_id")["label"].mean() or 0.0)


def test_coordinated_accounts_belong_to_rings_and_the_case_is_sound(case: hg.Case, world: Path) -> None:
    assert precision(case, world) >= 0.95
    assert breaks(case.path) == []


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["mixed", "hard"])
def test_coordinated_accounts_of_a_larger_world_belong_to_rings(tmp_path: Path, scenario: str) -> None:
    simulate(tmp_path / "world", accounts=15_000, seed=21, scenario=scenario)
    found = analyze(tmp_path / "world", tmp_path / "case")
    assert precision(found, tmp_path / "world") >= 0.95
    assert breaks(found.path) == []


def crowd(folder: Path, number: int, *, card: int = 0) -> Path:
    """A source: strangers who came from one address range, two requests each; the first `card` of them share a card."""
    rng = np.random.default_rng(0)
    accounts = strangers(number)
    when = day(1).timestamp() + rng.integers(0, 30 * 86_400, 2 * number)
    tables = {
        "events": pl.DataFrame({
            "account_id": accounts * 2, "timestamp": when.astype(np.int64),
            "ip": [f"198.51.100.{i % 250}" for i in range(2 * number)],
        }),
    }  # fmt: skip
    if card:
        tables["payments"] = pl.DataFrame({"account_id": accounts[10 : 10 + card], "instrument_id": ["pm"] * card})
    return source_of(folder, **tables)


def test_five_thousand_strangers_on_one_range_are_no_cluster(tmp_path: Path) -> None:
    found = analyze(crowd(tmp_path / "source", 5_000), tmp_path / "case")
    assert found.accounts.height == 5_000
    assert found.clusters.is_empty()


def test_five_of_them_who_share_a_card_are_exactly_those_five(tmp_path: Path) -> None:
    found = analyze(crowd(tmp_path / "source", 5_000, card=5), tmp_path / "case")
    assert found.clusters["size"].to_list() == [5]
    (cluster_id,) = found.clusters["cluster_id"]
    assert found.cluster(cluster_id).accounts["account_id"].to_list() == strangers(5_000)[10:15]
    assert breaks(found.path) == []
    # the same members have the same id, whoever else is there
    smaller = analyze(crowd(tmp_path / "smaller", 1_000, card=5), tmp_path / "other")
    assert smaller.clusters["cluster_id"].to_list() == [cluster_id]


def test_the_hours_of_the_events_reach_the_signals(tmp_path: Path) -> None:
    # five who share a card send every hour of two days; forty others six times in each of eight hours
    ring, others = strangers(5), [f"other-{i}" for i in range(40)]
    flat = [(a, day(d, h)) for a in ring for d in (1, 2) for h in range(24)]
    human = [(a, day(d, h)) for a in others for d in range(1, 7) for h in range(8, 16)]
    found = analyze(
        source_of(
            tmp_path / "source",
            events=pl.DataFrame(flat + human, schema=["account_id", "timestamp"], orient="row"),
            payments=pl.DataFrame({"account_id": ring, "instrument_id": ["pm"] * 5}),
        ),
        tmp_path / "case",
    )
    assert found.clusters.select("size", "events").rows() == [(5, 5 * 48)]
    (signal,) = found.signals.filter(signal="round_the_clock").iter_rows(named=True)
    assert (signal["value"], signal["baseline"], signal["p_value"]) == (1.0, 0.0, None)


# --- nothing found


NOTHING: dict[str, dict[str, str]] = {
    "strangers with a card each": {"payments": "account_id,instrument_id\na,p1\nb,p2\nc,p3"},
    "one account": {"links": "account_id,kind,value\na,device,d"},
    "events without anything shared": {"events": "timestamp,account_id\n2026-01-01,a\n2026-01-02,b"},
    "placeholders only": {"links": "account_id,kind,value\na,device,unknown\nb,device,unknown\nc,email,n/a"},
    "keys and ranges": {"api_keys": "account_id,api_key_id\na,k1\nb,k2", "ranges": "cidr,kind\n10.0.0.0/8,vpn"},
    "who people are": {"links": "account_id,kind,value\na,country,de\nb,country,de\nc,device,d"},
}


@pytest.mark.parametrize("source", NOTHING)
def test_a_source_without_findings_is_a_case_that_says_so(tmp_path: Path, source: str) -> None:
    found = analyze(source_of(tmp_path / "source", **NOTHING[source]), tmp_path / "case")
    assert breaks(found.path) == []
    assert found.accounts.height > 0
    for name in set(OUTPUT) - {"accounts"}:
        assert found.table(name).is_empty()
        assert pl.read_parquet(found.path / f"{name}.parquet").schema == OUTPUT[name].schema
    assert set(HELD) == set(OUTPUT)
    assert (found.path / "report.html").read_text("utf-8").startswith("<!doctype html>")
    assert repr(found) == f"<Case {found.accounts.height} accounts, no clusters>"
    assert found.graph().number_of_nodes() == 0


# --- refused


GOOD = {"links": "account_id,kind,value\na,device,d\nb,device,d"}

REFUSED: dict[str, Callable[[Path], dict[str, Any]]] = {
    "a column is missing": lambda p: {"source": source_of(p / "in", links="account_id,value\na,d")},
    "an empty folder": lambda p: {"source": source_of(p / "in")},
    "no rows": lambda p: {"source": source_of(p / "in", links="account_id,kind,value")},
    "no such source": lambda p: {"source": p / "nowhere"},
    "no table with links": lambda p: {"source": source_of(p / "in", accounts="account_id\na")},
    "too many rows cannot be read": lambda p: {
        "source": source_of(p / "in", events="timestamp,account_id\n" + "soon,a\n2026-01-01,b\n" * 20)
    },
    "no such mapping": lambda p: {"source": source_of(p / "in", **GOOD), "mapping": p / "none.toml"},
    "no account": lambda p: {
        "source": source_of(p / "in", links="account_id,kind,value\n,device,d"), "settings": Settings(max_rejects=1.0)
    },
}  # fmt: skip


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("why", REFUSED)
def test_a_refusal_writes_nothing(tmp_path: Path, why: str, force: bool) -> None:
    given = REFUSED[why](tmp_path)
    if force:
        analyze(source_of(tmp_path / "good", **GOOD), tmp_path / "case")
    before = below(tmp_path)
    with pytest.raises(hg.InputRefused) as caught:
        analyze(given.pop("source"), tmp_path / "case", force=force, **given)
    assert below(tmp_path) == before
    assert "\n" not in str(caught.value)
    assert (tmp_path / "case").exists() == force


def test_a_taken_place_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    stages: list[str] = []
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "photo.jpg").touch()
    with pytest.raises(hg.CaseExists):
        analyze(tmp_path / "nowhere", tmp_path / "out", force=True, progress=stages.append)
    assert stages == []
    assert list(below(tmp_path)) == ["out/photo.jpg"]


@pytest.mark.parametrize("inside", ["", "exports", "exports/links.csv"])
def test_an_output_that_holds_the_source_is_refused(tmp_path: Path, inside: str) -> None:
    out = analyze(source_of(tmp_path / "source", **GOOD), tmp_path / "case").path
    source_of(out / "exports", links="account_id,kind,value\na,device,x\nb,device,x")
    before = below(tmp_path)

    (tmp_path / "link").symlink_to(out)
    for place in (out, out.as_uri(), tmp_path / "link"):
        for source in (out / inside, f"{out.as_uri()}/{inside}".rstrip("/")):
            with pytest.raises(hg.CaseExists, match="is the source, or holds it"):
                analyze(source, place, force=True, engine=hg.Spark())
    assert below(tmp_path) == before


def test_a_report_that_fails_leaves_the_old_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(tmp_path / "source", **GOOD)
    analyze(source, tmp_path / "case")
    before = below(tmp_path)

    def fail(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("hydragraph.report.write_report", fail)
    with pytest.raises(MemoryError):
        analyze(source, tmp_path / "case", force=True)
    with pytest.raises(MemoryError):
        analyze(source, tmp_path / "other")
    assert below(tmp_path) == before
    assert not (tmp_path / "other").exists()


# --- the manifest


def test_the_manifest_says_what_was_read_and_how(tmp_path: Path) -> None:
    source = source_of(
        tmp_path / "source",
        links="account_id,kind,value,colour\na,device,d,red\nb,device,d,blue\nc,,x,\nd,country,de,",
        payments="account_id,instrument_id\na,p\nb,p",
    )
    stages: list[str] = []
    settings = Settings(seed=7, ipv4_prefix=28, max_rejects=0.5)
    found = analyze(source, tmp_path / "case", settings=settings, progress=stages.append)
    manifest = json.loads((tmp_path / "case" / "manifest.json").read_text("utf-8"))
    assert manifest == found.manifest
    assert manifest["version"] == hg.__version__
    assert manifest["settings"] == settings.to_dict()
    assert manifest["seed"] == 7
    assert manifest["inputs"] == [
        {
            "table": table, "file": f"{table}.csv", "rows": rows, "bytes": (source / f"{table}.csv").stat().st_size,
            "digest": "sha256:" + hashlib.sha256((source / f"{table}.csv").read_bytes()).hexdigest(),
        }
        for table, rows in (("payments", 2), ("links", 4))
    ]  # fmt: skip
    assert manifest["rows"] == {
        "payments": {"read": 2, "kept": 2, "rejected": 0, "set_aside": 0},
        "links": {"read": 4, "kept": 3, "rejected": 1, "set_aside": 1},
    }
    assert any("colour" in note for note in manifest["notes"])
    assert found.rejects.rows() == [("links", "links.csv", 3, "kind", found.rejects["reason"][0])]
    assert [s["name"] for s in manifest["stages"]] == stages
    assert len(set(stages)) == len(stages) > 5
    assert all(s["seconds"] >= 0 and s["peak_memory_bytes"] > 1_000_000 for s in manifest["stages"])
    assert breaks(found.path) == []


def test_several_files_and_a_mapping_are_a_source(tmp_path: Path) -> None:
    one = source_of(tmp_path / "one", **GOOD)
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "users.csv").write_text("user,opened\na,2026-01-02\nz,2026-01-03\n")
    mapping = tmp_path / "two" / "map.toml"
    mapping.write_text(
        '[accounts]\nfiles = ["users.csv"]\ncolumns = { account_id = "user", created_at = "opened" }\n'
        '[links]\nfiles = ["links.csv"]\n'
    )
    found = analyze([one / "links.csv", tmp_path / "two" / "users.csv"], tmp_path / "case", mapping=mapping)
    assert found.accounts.select("account_id", "created_at").rows() == [("a", day(2)), ("b", None), ("z", day(3))]


def test_demo_makes_a_world_and_its_case(tmp_path: Path) -> None:
    stages: list[str] = []
    found = demo(tmp_path / "demo", accounts=600, seed=3, progress=stages.append)
    assert found.path == tmp_path / "demo" / "case"
    assert (tmp_path / "demo" / "world" / "truth.parquet").is_file()
    assert stages[:2] == ["world", "read"]
    assert breaks(found.path) == []
    before = below(tmp_path)
    with pytest.raises(hg.CaseExists):
        demo(tmp_path / "demo", accounts=600, seed=4)
    assert below(tmp_path) == before


# --- the check itself


def spoil(case: Path, table: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    change(pl.read_parquet(case / f"{table}.parquet")).write_parquet(case / f"{table}.parquet")


SPOILED: dict[str, tuple[str, Callable[[pl.DataFrame], pl.DataFrame]]] = {
    "rows for the second time": ("accounts", lambda t: pl.concat([t, t.head(1)])),
    "accounts: not sorted": ("accounts", lambda t: t.reverse()),
    "accounts say they are members": ("clusters", lambda t: t.with_columns(size=pl.col("size") + 1)),
    "no column look_alike": ("signals", lambda t: t.drop("look_alike")),
    "speak of clusters that are not there": ("signals", lambda t: t.with_columns(cluster_id=pl.lit("c0"))),
    "not between two accounts of one cluster": ("ties", lambda t: t.with_columns(account_b=pl.lit("nobody"))),
    "links: accounts outside all clusters": ("links", lambda t: t.head(1).with_columns(account_id=pl.lit("0"))),
    "members are assessed otherwise": ("accounts", lambda t: t.with_columns(assessment=pl.lit("gone"))),
    "its id is not that of its members": ("clusters", lambda t: t.with_columns(cluster_id=pl.lit("c0"))),
    "score outside 0 to 1": ("clusters", lambda t: t.with_columns(score=pl.lit(1.5))),
    "no explanation": ("clusters", lambda t: t.with_columns(explanation=pl.lit(""))),
    "rejected rows are not those": ("rejects", lambda t: t.clear(1).with_columns(table=pl.lit("links"))),
}


@pytest.mark.parametrize("said", SPOILED)
def test_the_check_finds_a_spoiled_case(tmp_path: Path, said: str) -> None:
    found = analyze(crowd(tmp_path / "source", 200, card=5), tmp_path / "case")
    table, change = SPOILED[said]
    spoil(found.path, table, change)
    assert any(said in sentence for sentence in breaks(found.path))


@pytest.mark.parametrize(("cards", "said"), [(1, "1 value is used"), (2, "2 values are each used")])
def test_a_card_of_many_strangers_makes_no_cluster_and_is_told(cards: int, said: str, tmp_path: Path) -> None:
    many = [f"a{c}-{i},card-{c}" for c in range(cards) for i in range(9)]
    (tmp_path / "payments.csv").write_text(
        "\n".join(["account_id,instrument_id", *many, *(f"b{i},own-{i}" for i in range(400))])
    )
    case = hg.analyze(tmp_path / "payments.csv", tmp_path / "case")
    assert case.clusters.is_empty()
    assert [note for note in case.manifest["notes"] if note.startswith(f"payment: {said} by 8 or more accounts")]
