"""evaluate(): figures worked out by hand, then what must hold for every case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hydragraph as hg
from hydragraph.errors import InputRefused, UnknownName
from hydragraph.quality.bootstrap import share
from hydragraph.quality.rings import cluster_sums, ring_fates
from quality_case import case_of, truth_of

BOTH = "coordinated+review"
RINGS = {"r1": ["a1", "a2", "a3", "a4", "a5"], "r2": ["b1", "b2", "b3", "b4"]}
GROUPS = {"h1": "g1", "h2": "g1", "h3": "g2", "h4": "g2", "h5": "g2", "h6": None}
PARENTS = {"a2": "a1", "a3": "a2", "a4": "not in the case"}


def small_case() -> hg.Case:
    """k1 holds four of the five of r1 and an innocent account; k2 and k3 hold three and one of the four of r2."""
    clusters = {
        "k1": ("coordinated", 0.9, ["a1", "a2", "a3", "a4", "h1"]),
        "k2": ("review", 0.5, ["b1", "b2", "b3"]),
        "k3": ("explained", 0.1, ["b4", "h2", "h3"]),
    }
    return case_of(clusters, ["a5", "h4", "h5", "h6"], [("a1", "a2"), ("a1", "a3"), ("a1", "h1")])


def small_truth() -> pl.DataFrame:
    ring = {a: r for r, members in RINGS.items() for a in members}
    rows = [(a, 1, r, "chain" if r == "r1" else "pool", None, None, PARENTS.get(a)) for a, r in ring.items()]
    kinds = {"g1": "household", "g2": "office", None: "lone"}
    rows += [(a, 0, None, None, g, kinds[g], None) for a, g in GROUPS.items()]
    return truth_of(rows, "cluster", "tactic", "group", "group_kind", "parent")


@pytest.fixture(scope="module")
def found() -> hg.Evaluation:
    return hg.evaluate(small_case(), small_truth(), complete=True)


@pytest.mark.parametrize(
    ("measure", "of", "value"),
    [
        ("precision", "coordinated", 4 / 5),
        ("recall", "coordinated", 4 / 9),
        ("f1", "coordinated", 8 / (5 + 9)),
        ("false_positive_rate", "coordinated", 1 / 6),
        ("precision", BOTH, 7 / 8),
        ("recall", BOTH, 7 / 9),
        ("f1", BOTH, 14 / (8 + 9)),
        ("clusters_right", "coordinated", 1.0),
        ("clusters_right", BOTH, 1.0),
        ("rings_found", "coordinated", 1 / 2),  # r1, of which k1 holds 80 %
        ("rings_whole", "coordinated", 0.0),
        ("rings_found", BOTH, 1.0),  # and r2, of which k2 holds 75 %
        ("rings_split", BOTH, 0.0),
        ("rings_merged", BOTH, 0.0),
        # innocent accounts: one at 0.9 with 4 coordinated, two at 0.1 (7 above, 1 beside), three at 0 (8 above, 1 beside)
        ("roc_auc", "score", (2 + 2 * 7.5 + 3 * 8.5) / (9 * 6)),
        ("average_precision", "score", (4 * 4 / 5 + 3 * 7 / 8 + 1 * 8 / 11 + 1 * 9 / 15) / 9),
        ("pairwise_precision", "ring accounts", 9 / 9),
        ("pairwise_recall", "ring accounts", (6 + 3) / (10 + 6)),
        ("pairwise_f1", "ring accounts", 18 / (9 + 16)),
        ("b_cubed_precision", "ring accounts", 1.0),
        ("b_cubed_recall", "ring accounts", (4 * 4 / 5 + 1 / 5 + 3 * 3 / 4 + 1 / 4) / 9),
        ("b_cubed_f1", "ring accounts", 2 * (5.9 / 9) / (1 + 5.9 / 9)),
        ("innocent_groups_accused", "groups", 1 / 2),  # one of the two in the household; none in the office
        ("lineage_precision", "parents", 1 / 3),
        ("lineage_recall", "parents", 1 / 2),  # the parent of a4 is not in the case
        ("lineage_same_ring", "parents", 2 / 3),  # h1 is in no ring
        ("lineage_identifiable", "parents", 0.0),  # the case holds no links
    ],
)
def test_headline_by_hand(found: hg.Evaluation, measure: str, of: str, value: float) -> None:
    assert found.value(measure, of) == pytest.approx(value)


def test_headline_counts_what_it_divides(found: hg.Evaluation) -> None:
    counts = {(m, o): (h, n) for m, o, h, n in found.headline.select("measure", "of", "hits", "out_of").iter_rows()}

    assert counts["precision", "coordinated"] == (4, 5)
    assert counts["recall", BOTH] == (7, 9)
    assert counts["pairwise_recall", "ring accounts"] == (9, 16)
    assert counts["roc_auc", "score"] == (None, None)


def test_intervals_hold_the_value(found: hg.Evaluation) -> None:
    known = found.headline.drop_nulls("low")

    assert (known["low"] <= known["value"] + 1e-12).all()
    assert (known["high"] >= known["value"] - 1e-12).all()
    assert found.headline.filter(measure="recall", of="coordinated").select("low", "high").row(0) == (0.0, 0.8)
    assert found.value("precision", BOTH) is not None


def test_counts_and_notes(found: hg.Evaluation) -> None:
    assert found.counts["labelled"] == found.counts["accounts_in_case"] == 15
    assert (found.counts["labelled_coordinated"], found.counts["labelled_innocent"]) == (9, 6)
    assert found.notes == ()
    assert repr(found) == "<Evaluation 15 labelled accounts, precision 0.800, recall 0.444>"


def test_tactics(found: hg.Evaluation) -> None:
    rows = found.tactics.select("tactic", "accounts", "recall", "recall_with_review", "rings", "rings_found").rows()

    assert rows == [("pool", 4, 0.0, 0.75, 1, 0), ("chain", 5, 0.8, 0.8, 1, 1)]
    assert found.tactics["low"].is_null().all()  # one ring each: nothing to draw from


def test_innocents(found: hg.Evaluation) -> None:
    columns = ["group_kind", "accounts", "coordinated", "review", "groups", "groups_accused", "groups_mostly_accused"]

    assert found.innocents.select(columns).rows() == [
        ("household", 2, 1, 0, 1, 1, 1),
        ("office", 3, 0, 0, 1, 0, 0),
        ("lone", 1, 0, 0, 0, 0, 0),
    ]


def test_rings(found: hg.Evaluation) -> None:
    assert found.rings.select("ring", "accounts", "best", "held", "found", "whole", "found_or_review").rows() == [
        ("r1", 5, "k1", 0.8, True, False, True),
        ("r2", 4, None, 0.0, False, False, True),
    ]


def test_ranks(found: hg.Evaluation) -> None:
    accounts = {k: p for of, k, p in found.ranks.select("of", "k", "precision").iter_rows() if of == "accounts"}

    # after the first 8 (7 coordinated) come three accounts of one score, one of them coordinated
    assert accounts == {9: pytest.approx((7 + 1 / 3) / 9), 10: pytest.approx((7 + 2 / 3) / 10)}


def test_curve(found: hg.Evaluation) -> None:
    assert found.curve.select("score", "coordinated", "innocent").rows() == [(0.9, 4, 1), (0.5, 7, 1), (0.1, 8, 3),
                                                                             (0.0, 9, 6)]  # fmt: skip
    assert found.curve["recall"].to_list() == pytest.approx([4 / 9, 7 / 9, 8 / 9, 1])
    assert found.curve["false_positive_rate"].to_list() == pytest.approx([1 / 6, 1 / 6, 3 / 6, 1])


def test_reliability(found: hg.Evaluation) -> None:
    rows = found.reliability.select("score_from", "clusters", "share_right", "accounts", "share_coordinated").rows()

    assert rows == [(0.1, 1, 0.0, 3, pytest.approx(1 / 3)), (0.5, 1, 1.0, 3, 1.0), (0.9, 1, 1.0, 5, 0.8)]


# --- rings


def fates(found: dict[str, dict[str | None, int]]) -> dict[str, tuple[bool, bool, bool, bool]]:
    """ring -> cluster (None: outside) -> accounts, as found, whole, split, merged of each ring."""
    rows = [(r, k) for r, held in found.items() for k, n in held.items() for _ in range(n)]
    table = ring_fates(pl.DataFrame(rows, schema={"ring": pl.String, "found": pl.String}, orient="row"))
    return {row[0]: row[1:] for row in table.select("ring", "found", "whole", "split", "merged").iter_rows()}


@pytest.mark.parametrize(
    ("held", "fate"),
    [
        ({"k": 10}, (True, True, False, False)),
        ({"k": 9, None: 1}, (True, True, False, False)),
        ({"k": 8, None: 2}, (True, False, False, False)),
        ({"k": 5, "l": 5}, (True, False, True, False)),
        ({"k": 4, "l": 3, None: 3}, (False, False, True, False)),
        ({"k": 9, "l": 1}, (True, True, False, False)),  # one account is no part
        ({None: 10}, (False, False, False, False)),
    ],
)
def test_fate_of_a_ring(held: dict[str | None, int], fate: tuple[bool, ...]) -> None:
    assert fates({"r": held}) == {"r": fate}


def test_merged_rings_and_rings_too_small_to_judge() -> None:
    found = fates({"r": {"k": 5, "l": 5}, "s": {"k": 2, None: 2}, "t": {"k": 1, None: 2}, "u": {"k": 1}})

    # k holds half of r and half of s; of t it holds a third, which is one account; u has but one
    assert found == {
        "r": (True, False, True, True),
        "s": (True, False, False, True),
        "t": (False, False, False, False),
    }


def test_a_large_ring_beside_a_stray_account_of_another_is_not_merged() -> None:
    assert fates({"r": {"k": 100}, "s": {"k": 2, "l": 30}})["r"] == (True, True, False, False)


found_clusters = st.lists(
    st.tuples(st.sampled_from("rstu"), st.sampled_from(["k", "l", "m", None])), min_size=1, max_size=24
)


@given(found_clusters)
def test_pairs_and_b_cubed_are_those_of_the_definition(rows: list[tuple[str, str | None]]) -> None:
    frame = pl.DataFrame(rows, schema={"ring": pl.String, "found": pl.String}, orient="row")
    sums = cluster_sums(frame, "ring").select(pl.exclude("ring").sum()).row(0, named=True)
    # an account outside every cluster is alone in its own
    own = [(r, k or str(i)) for i, (r, k) in enumerate(rows)]
    pairs = [(a, b) for i, a in enumerate(own) for b in own[:i]]

    assert sums["accounts"] == len(rows)
    assert sums["true_pairs"] == sum(a[0] == b[0] for a, b in pairs)
    assert sums["found_pairs"] == sum(a[1] == b[1] for a, b in pairs)
    assert sums["same_pairs"] == sum(a == b for a, b in pairs)
    for name, given_by in (("precision_sum", 1), ("recall_sum", 0)):
        each = [sum(a == b for b in own) / sum(a[given_by] == b[given_by] for b in own) for a in own]
        assert sums[name] == pytest.approx(sum(each))


# --- what must hold for every case


def test_a_perfect_case_is_one() -> None:
    case = case_of({r: ("coordinated", 1.0, members) for r, members in RINGS.items()}, GROUPS)
    found = hg.evaluate(case, small_truth())
    shares = found.headline.filter(~pl.col("measure").str.contains("split|merged|false|accused|lineage"))

    assert shares["value"].to_list() == [1.0] * shares.height
    assert shares.height == 20
    bad = found.headline.filter(pl.col("measure").str.contains("split|merged|false|accused"))
    assert set(bad["value"]) == {0.0}


def test_a_case_without_findings_is_no_error() -> None:
    found = hg.evaluate(case_of({}, [*"abc", *GROUPS]), small_truth().vstack(small_truth().head(1).with_columns(
        account_id=pl.lit("a"))))  # fmt: skip

    assert found.value("recall") == 0.0
    assert found.value("precision") is None
    assert found.value("clusters_right") is None
    assert found.value("roc_auc", "score") == 0.5
    assert found.reliability.is_empty()
    assert {"precision_recall", "reliability"}.isdisjoint(found.figures())


words = st.sampled_from(["coordinated", "review", "explained"])
scores = st.sampled_from([0.0, 0.25, 0.5, 1.0, float("nan")])


@st.composite
def worlds(draw: st.DrawFn) -> tuple[hg.Case, pl.DataFrame]:
    """A case of up to three clusters and a truth that labels most accounts and some strangers."""
    ids = [f"x{i}" for i in range(draw(st.integers(1, 18)))]
    place = {a: draw(st.sampled_from(["k", "l", "m", None])) for a in ids}
    members = {c: [a for a in ids if place[a] == c] for c in "klm"}
    clusters = {c: (draw(words), draw(scores), m) for c, m in members.items() if m}
    case = case_of(clusters, [a for a in ids if place[a] is None])
    labelled = [ids[0], *draw(st.lists(st.sampled_from([*ids[1:], "stranger"]), unique=True))]
    rows = [
        (a, draw(st.sampled_from([1, 0, 0] if i else [1, 0])), draw(st.sampled_from(["r", "s", None])))
        for i, a in enumerate(labelled)
    ]
    return case, pl.DataFrame(rows, schema={"account_id": pl.String, "label": pl.Int64, "cluster": pl.String},
                              orient="row")  # fmt: skip


def plain(found: hg.Evaluation) -> dict[str, Any]:
    return found.to_dict()


@given(worlds(), st.randoms())
@settings(deadline=None, max_examples=40)
def test_order_and_names_of_rings_make_no_difference(world: tuple[hg.Case, pl.DataFrame], random: Any) -> None:
    case, truth = world
    rows = truth.rows()
    random.shuffle(rows)
    shuffled = pl.DataFrame(rows, schema=truth.schema, orient="row")
    other = hg.evaluate(case, shuffled.with_columns(cluster="ring " + pl.col("cluster")), resamples=40)
    one = hg.evaluate(case, truth, resamples=40)

    assert plain(other) | {"rings": None} == plain(one) | {"rings": None}
    assert plain(hg.evaluate(case, truth, resamples=40)) == plain(one)


@given(worlds())
@settings(deadline=None, max_examples=60)
def test_figures_are_shares_and_partial_labels_are_partial(world: tuple[hg.Case, pl.DataFrame]) -> None:
    case, truth = world
    found = hg.evaluate(case, truth, resamples=20)
    values = found.headline["value"].drop_nulls()
    inside = set(case.accounts["account_id"])
    labels = {a: label for a, label, _ in truth.iter_rows() if a in inside}
    accused = set(case.accounts.filter(assessment="coordinated")["account_id"])

    assert values.is_between(0, 1).all()
    assert not values.is_nan().any()
    assert found.counts["unlabelled"] == len(inside) - len(labels)
    assert found.counts["accused_unlabelled"] == len(accused - set(labels))
    assert found.counts["labels_of_unknown_accounts"] == truth.height - len(labels)
    said = [labels[a] for a in accused if a in labels]
    if 0 not in labels.values():
        assert found.value("precision") is None
    elif said:
        assert found.value("precision") == pytest.approx(sum(said) / len(said))
    if 1 not in labels.values():
        assert found.value("recall") is None
    json.dumps(found.to_dict(), allow_nan=False)


def test_labels_that_say_nothing_about_the_clusters_are_worth_a_half() -> None:
    """Labels handed out without regard to the score: the area under the ROC curve is near a half."""
    clusters = {f"k{i}": ("explained", (i % 50) / 50, [f"x{i}-{j}" for j in range(3)]) for i in range(1000)}
    labels = np.random.default_rng(5).random(1000) < 0.1
    truth = truth_of((a, int(label)) for label, (_, _, m) in zip(labels, clusters.values(), strict=True) for a in m)
    found = hg.evaluate(case_of(clusters), truth)
    row = found.headline.filter(measure="roc_auc").row(0, named=True)

    assert row["low"] < row["value"] < row["high"]
    assert row["value"] == pytest.approx(0.5, abs=0.06)


def test_more_units_give_narrower_intervals() -> None:
    def width(rings: int) -> float:
        clusters = {f"k{i}": ("coordinated", 0.9, [f"x{i}-{j}" for j in range(5)]) for i in range(rings)}
        truth = truth_of(
            [(f"x{i}-{j}", 1, f"r{i}") for i in range(2 * rings) for j in range(5)] + [("h", 0, None)], "cluster"
        )
        alone = [f"x{i}-{j}" for i in range(rings, 2 * rings) for j in range(5)]
        row = hg.evaluate(case_of(clusters, [*alone, "h"]), truth).headline.filter(measure="recall").row(0, named=True)
        assert row["value"] == 0.5
        return float(row["high"] - row["low"])

    # 2 * 1.96 * sqrt(0.25 / n) for n rings drawn as wholes, whatever their accounts
    assert width(50) == pytest.approx(3.92 * (0.25 / 100) ** 0.5, rel=0.2)
    assert width(200) == pytest.approx(3.92 * (0.25 / 400) ** 0.5, rel=0.2)


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [(30, 100, 0.2189, 0.3958), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (1, 2, 0.0945, 0.9055)],
)
def test_intervals_of_shares_are_wilsons(hits: int, of: int, low: float, high: float) -> None:
    found = share(hits, of)

    assert found.value == hits / of
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
    assert share(0, 0).value is None


# --- the answer


def test_every_label_coordinated_leaves_precision_unknown() -> None:
    found = hg.evaluate(small_case(), truth_of([(a, True) for members in RINGS.values() for a in members]))

    assert found.value("recall") == pytest.approx(4 / 9)
    for measure in ("precision", "f1", "false_positive_rate"):
        assert found.value(measure) is None
    assert found.value("roc_auc", "score") is None
    assert found.ranks.is_empty()
    assert found.counts["accused_unlabelled"] == 1
    assert [note.split(":")[0] for note in found.notes][2:] == [
        "No account of the case is labelled innocent",
        "The truth names no rings (column cluster)",
        "The truth gives no parent (column parent)",
    ]


def test_labels_alone_are_enough() -> None:
    found = hg.evaluate(small_case(), small_truth().select("account_id", "label"))

    assert found.value("precision") == pytest.approx(0.8)
    assert found.value("rings_found") is None
    assert found.value("pairwise_precision", "ring accounts") is None
    assert found.value("lineage_recall", "parents") is None
    assert found.tactics.is_empty()
    assert found.rings.is_empty()
    assert "innocent_groups_accused" not in found.headline["measure"]


def test_where_every_account_has_a_true_cluster_pairs_are_also_over_all() -> None:
    case = case_of({"k": ("explained", 0.1, ["a", "b", "c"])}, ["d"])
    rows = [("a", 1, "p"), ("b", 1, "p"), ("c", 0, "q"), ("d", 0, "q")]
    found = hg.evaluate(case, truth_of(rows, "cluster_id"))

    assert found.value("pairwise_precision", "ring accounts") == 1.0
    assert found.value("pairwise_precision", "all labelled") == pytest.approx(1 / 3)
    assert found.value("pairwise_recall", "all labelled") == 1 / 2
    # a, b: 2/3; c: 1/3; d: alone
    assert found.value("b_cubed_precision", "all labelled") == pytest.approx((2 / 3 + 2 / 3 + 1 / 3 + 1) / 4)


def test_figures_and_files(tmp_path: Path, found: hg.Evaluation) -> None:
    written = found.write(tmp_path / "out")
    again = found.write(tmp_path / "again")

    names = ["evaluation.json", "precision_recall.png", "roc.png", "tactics.png", "reliability.png"]
    assert [p.name for p in written] == names
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(names)
    assert [p.read_bytes() for p in written] == [p.read_bytes() for p in again]
    assert json.loads(written[0].read_text("utf-8")) == found.to_dict()


def test_names_of_tactics_are_text_in_figures() -> None:
    rows = [(a, 1, "$\\frac{$\x1b[31m") for a in ("a1", "a2")] + [("h1", 0, None)]
    found = hg.evaluate(small_case(), truth_of(rows, "tactic"))

    found.figures()["tactics"].canvas.draw()  # would raise on mathematics that cannot be read
    labels = [text.get_text() for text in found.figures()["tactics"].axes[0].get_yticklabels()]
    assert labels[0].startswith("$\\frac{$")
    assert "\x1b" not in labels[0]


def test_unknown_figures_and_foreign_truths_are_refused(found: hg.Evaluation) -> None:
    with pytest.raises(UnknownName):
        found.value("accuracy")
    with pytest.raises(InputRefused, match="none of its labels"):
        hg.evaluate(small_case(), truth_of([("nobody", 1)]))
    with pytest.raises(InputRefused, match="resamples"):
        hg.evaluate(small_case(), small_truth(), resamples=-1)


def test_no_resamples_no_intervals() -> None:
    found = hg.evaluate(small_case(), small_truth(), resamples=0)

    drawn = found.headline.filter(~pl.col("measure").str.contains("rings|clusters|groups"))
    assert drawn["low"].is_null().all()
    assert found.value("precision") == pytest.approx(0.8)
