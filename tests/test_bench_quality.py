"""The quality benchmark: its peers on graphs small enough to see through, and a whole run in small."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from hand import graph_of

ROOT = Path(__file__).parents[1]
MODULES = (
    "peers",
    "quality_takedown",
    "quality_ablation",
    "quality_runs",
    "quality_follow",
    "quality_real",
    "quality_document",
    "quality",
)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The modules of benchmarks/ by name."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return {name: importlib.import_module(name) for name in MODULES}


def two_rings() -> Any:
    """a b c d share cards and keys two by two, e f g another card and a device; s and t only a wide range with all."""
    return graph_of(
        {
            ("payment", "1"): "ab", ("payment", "2"): "cd", ("api_key", "1"): "bc", ("api_key", "2"): "ad",
            ("payment", "3"): "efg", ("device", "1"): "efg", ("ip_range", "wide"): "abcdefgst",
        }
    )  # fmt: skip


def clusters(label: Any) -> set[str]:
    return {"".join("abcdefgst"[i] for i in np.flatnonzero(label == n)) for n in range(label.max() + 1)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("components", {"abcdefgst"}),
        ("rare_components", {"abcdefgst"}),  # nine users are not too many
        ("strong_components", {"abcd", "efg"}),
        ("louvain", {"abcd", "efg"}),  # what everybody uses weighs nothing
        ("leiden", {"abcd", "efg"}),
    ],
)
def test_peers_find_what_their_name_says(bench: dict[str, Any], name: str, expected: set[str]) -> None:
    peer = next(p for p in bench["peers"].PEERS if p.name == name)

    assert clusters(peer.find(two_rings(), 0)) == expected


def test_label_propagation_agrees_within_a_ring(bench: dict[str, Any]) -> None:
    label = bench["peers"].label_propagation(two_rings(), 0)

    assert len(set(label[4:7])) == 1
    assert label[4] >= 0


def test_heaviest_label(bench: dict[str, Any]) -> None:
    node, label = np.array([0, 0, 0, 1, 1, 2]), np.array([5, 5, 7, 8, 9, 4])
    weight, before = np.array([1.0, 1.0, 1.5, 1.0, 1.0, 1.0]), np.array([0, 9, 0, 3])

    # 5 and 7 weigh 2 and 1.5; 8 and 9 the same, and 9 is held already; the last node has no neighbour
    assert bench["peers"].heaviest(node, label, weight, before).tolist() == [5, 9, 4, 3]


def test_densest_block(bench: dict[str, Any]) -> None:
    """Five accounts all sharing five identifiers, beside ten pairs that share one each."""
    block = {("device", f"d{i}"): "abcde" for i in range(5)}
    pairs = {("payment", f"p{i}"): (f"x{i}", f"y{i}") for i in range(10)}
    graph = graph_of(block | pairs)
    label = bench["peers"].densest_blocks(graph, 0)

    assert [graph.accounts["account_id"][int(i)] for i in np.flatnonzero(label == 0)] == list("abcde")


def test_accused_by_size_or_by_an_oracle(bench: dict[str, Any]) -> None:
    label = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, -1])
    positive = np.array([1, 1, 0, 1, 1, 1, 0, 0, 0, 1], bool)
    flagged = bench["peers"].flagged

    assert flagged(label).tolist() == [True] * 3 + [False] * 2 + [True] * 4 + [False]
    # 2 of 2 right: F1 4 / 8; with 2 of 3: 8 / 11; with 1 of 4: 10 / 15
    assert flagged(label, positive).tolist() == [True] * 5 + [False] * 5
    assert not flagged(label, np.zeros(10, bool)).any()


def test_single_accounts_are_no_clusters(bench: dict[str, Any]) -> None:
    assert bench["peers"].without_single(np.array([7, 7, 3, -1, 5, 5])).tolist() == [1, 1, -1, -1, 0, 0]


def test_a_share_over_worlds(bench: dict[str, Any]) -> None:
    assert bench["quality_runs"].share([(1.0, 2.0), (3.0, 4.0)]) == pytest.approx(4 / 6)
    assert bench["quality_runs"].share([(0.0, 0.0)]) is None


@pytest.mark.parametrize("options", [["--seeds", "5"], ["--quick"], ["--seeds", "1000", "--sizes", "2000"]])
def test_the_document_takes_the_whole_measurement_only(bench: dict[str, Any], options: list[str]) -> None:
    assert bench["quality"].main([*options, "--out", str(ROOT / "docs" / "quality.md")]) == 2


@pytest.mark.slow
def test_a_whole_run_in_small(
    bench: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench["quality_runs"], "KEPT", tmp_path / "kept")
    monkeypatch.setattr(bench["quality"], "CURVES", {"jitter": ("hours", (0.0, 12.0))})
    monkeypatch.setattr(bench["quality"], "CURVE_ACCOUNTS", 2000)
    monkeypatch.setattr(bench["quality"], "MODES", (("hijacked", 0.5),))
    out = tmp_path / "docs" / "quality.md"
    options = ["--sizes", "2000", "--seeds", "5,6", "--out", str(out)]

    assert bench["quality"].main(options) == 0
    first = out.read_bytes()
    measured = capsys.readouterr().err
    assert bench["quality"].main(options) == 0
    text = out.read_text("utf-8")

    assert out.read_bytes() == first
    assert "analysed" in measured
    assert "analysed" not in capsys.readouterr().err  # read from what was kept
    assert re.findall(r"^## .*", text, re.M)[:3] == [
        "## Headline",
        "## Worlds without a ring",
        "## Where it falls short",
    ]
    assert "not for reports" in text
    assert "## What each part adds" in text
    # four figures for each of the two worlds with rings, one for that without
    assert re.search(r"^\| without hypotheses \|( [\d.,-]+ \|){9}$", text, re.M)
    for picture in re.findall(r"\((figures/[^)]+)\)", text):
        assert (out.parent / picture).stat().st_size > 10_000
    assert not [line for line in text.splitlines() if "None" in line or "nan" in line]


@pytest.mark.slow
def test_cases_followed_in_small(bench: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follow = bench["quality_follow"]
    monkeypatch.setattr(follow, "ACCOUNTS", 3_000)
    said: list[str] = []
    found = follow.followed(tmp_path, [7], said.append)
    counts = found[0]

    assert said == ["followed: seed 7"]
    assert follow.followed(tmp_path, [7], said.append) == found
    assert len(said) == 1  # read from what was kept
    parts = {"kept": "clusters", "attached_right": "attached", "fresh_right": "fresh", "right": "suggested",
             "still_confirmed": "confirmed", "still_innocent": "innocent", "held": "given", "paths": "asked",
             "own": "between"}  # fmt: skip
    assert all(0 < counts[part] <= counts[whole] for part, whole in parts.items())
    # what was given holds whatever the evidence says
    assert counts["held"] == counts["given"]
    rows = re.findall(r"^\| (?!what|---)", follow.follow_section(found), re.M)
    assert len(rows) == len(parts) + 1
    assert follow.follow_section([]) == ""


def test_plans_carried_out_on_a_world(bench: dict[str, Any], tmp_path: Path) -> None:
    import hydragraph as hg

    hg.simulate(tmp_path / "world", accounts=6_000, seed=4)
    case = hg.analyze(tmp_path / "world", tmp_path / "case")
    counts = bench["quality_takedown"].takedown_counts(
        case, tmp_path / "world", pl.read_parquet(tmp_path / "world" / "truth.parquet")
    )

    assert counts["clusters"] == case.clusters.filter(assessment="coordinated").height > 0
    assert (
        0 < counts["stopped_1"] <= counts["stopped_3"] <= counts["stopped_10"] <= counts["stopped"] <= counts["members"]
    )
    assert counts["innocent_outside"] <= counts["said"]
    # who is stopped is of the ring, or innocent and inside; and others of the ring may be hit as well
    assert counts["ring_hit"] + counts["innocent_inside"] >= counts["stopped"]
    section = bench["quality_takedown"].takedown_section([("6,000", [counts, counts])])
    assert f"| 6,000 | {2 * counts['clusters']:,} | {2 * counts['steps']:,} |" in section


def test_each_part_taken_out_of_a_world_and_put_back(bench: dict[str, Any], tmp_path: Path) -> None:
    import hydragraph as hg
    from hydragraph import assess, chance, communities, evidence, meshes, ties
    from hydragraph.bipartite import BipartiteGraph

    modules = (assess, chance, communities, evidence, meshes, ties)
    places = [(module, name) for module in modules for name in vars(module)]
    before = [getattr(module, name) for module, name in places]
    focus = vars(BipartiteGraph)["focus"]
    hg.simulate(tmp_path / "world", accounts=6_000, seed=4)
    ablation = bench["quality_ablation"]

    found = {part: (label, accused) for part, label, accused in ablation.ablations(tmp_path / "world")}

    assert all(getattr(module, name) is was for (module, name), was in zip(places, before, strict=True))
    assert vars(BipartiteGraph)["focus"] is focus
    assert list(found) == [ablation.EVERYTHING, *ablation.PARTS]
    label, accused = found[ablation.EVERYTHING]
    case = hg.analyze(tmp_path / "world", tmp_path / "case")
    said = case.accounts.sort("account_id")["assessment"]
    assert accused.tolist() == (said == "coordinated").fill_null(False).to_list()
    # these three only judge the same clusters otherwise, and two of them cannot clear anybody
    for part in ("hypotheses", "chance", "source shares"):
        assert np.array_equal(found[part][0], label)
    for part in ("hypotheses", "chance"):
        assert (found[part][1] >= accused).all()
    assert found["hypotheses"][1].sum() > accused.sum()
    # and these find other clusters; attached accounts are in none when nobody is attached
    for part in ("calibration", "own users", "discounts", "joining", "time"):
        assert not np.array_equal(found[part][0], label)
    assert (found["joining"][0] >= 0).sum() < (label >= 0).sum()


def test_what_each_part_adds_in_a_table(bench: dict[str, Any]) -> None:
    ablation = bench["quality_ablation"]
    full = {"precision": (9.0, 10.0), "recall": (9.0, 12.0), "rings_whole": (1.0, 2.0)}
    rings = dict.fromkeys([ablation.EVERYTHING, *ablation.PARTS], full)
    rings["time"] = full | {"precision": (0.0, 0.0), "recall": (0.0, 12.0)}
    none = {part: {"precision": (0.0, 7.0), "recall": (0.0, 0.0), "rings_whole": (0.0, 0.0)} for part in rings}

    section = ablation.ablation_section([("mixed", rings), ("not ablated", {}), ("no ring", none)])

    assert "| everything | 0.900 | 0.750 | 0.500 | 1 | 7 |" in section
    assert "| without time | - | 0.000 | 0.500 | 0 | 7 |" in section
    assert "not ablated" not in section
    assert ablation.ablation_section([("not ablated", {})]) == ""


def test_real_tables(bench: dict[str, Any], tmp_path: Path) -> None:
    people, more = tmp_path / "people", tmp_path / "more"
    for folder in (people, more, tmp_path / "no tables"):
        folder.mkdir()
    # a, b and c share two things of which there is no third user; in truth only a and b belong together
    shared = [f"{account},{kind},1" for kind in ("device", "passport") for account in "abc"]
    alone = [f"s{i},email,s{i}@example.org" for i in range(30)]
    (people / "links.csv").write_text("\n".join(["account_id,kind,value", *shared, *alone]))
    truth = ["a,1,one", "b,1,one", "c,1,two", *(f"s{i},0,s{i}" for i in range(30))]
    (people / "truth.csv").write_text("\n".join(["account_id,label,cluster_id", *truth]))
    (more / "links.csv").write_text("\n".join(["account_id,kind,value", *alone]))
    section = bench["quality_real"].real_section(tmp_path)
    rows = {line.split(" | ")[0]: line.strip("| ").split(" | ")[1:] for line in section.splitlines() if " | " in line}
    assert rows["| more"] == ["30", "0", "0", "0", "0", *["-"] * 6]
    measured = rows["| people"]
    assert measured[:6] == ["33", "0", "1", "0", "3", "3 of 3"]
    assert measured[7] == "1 of 3"
    assert "no tables: refused. " in section
    assert "more: no lead." in section
    assert "3 accounts share 1 passport and 1 device." in section
    assert bench["quality_real"].real_section(None) == ""


def test_the_median_ring_is_that_of_the_worlds(bench: dict[str, Any], tmp_path: Path) -> None:
    runs = []
    for name, sizes in (("one", [3, 5]), ("two", [8])):
        rings = [f"{name}{i}" for i, size in enumerate(sizes) for _ in range(size)]
        truth = pl.DataFrame({"label": [1] * len(rings) + [0], "cluster": [*rings, None]})
        (tmp_path / name).mkdir()
        truth.write_parquet(tmp_path / name / "truth.parquet")
        runs.append(bench["quality_runs"].Run(None, tmp_path / name, {}, {}, {}, {}, {}, 0.0, 0))

    assert bench["quality_runs"].median_ring(runs) == 5.0
