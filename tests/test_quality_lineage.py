"""Named parents held against true ones, when the truth knows all of them and when it knows some."""

from __future__ import annotations

import polars as pl

import hydragraph as hg
from quality_case import case_of, truth_of


def test_parents_that_could_be_known() -> None:
    # a1, a2 and a3 were closed before a4 and a5 began, a2 40 days before
    case = case_of({"k": ("coordinated", 1.0, ["a1", "a2", "a3", "a4", "a5"])}, (), [("a1", "a4"), ("a3", "a5")])
    day = {"a1": (0, 50), "a2": (0, 20), "a3": (0, 55), "a4": (60, None), "a5": (60, None)}
    epoch = pl.datetime(2026, 1, 1, time_zone="UTC")
    times = pl.DataFrame(
        {"account_id": list(day), "on": [d[0] for d in day.values()], "off": [d[1] for d in day.values()]}
    )
    case._held["accounts"] = case.accounts.drop("first_seen", "closed_at").join(
        times.select(
            "account_id",
            first_seen=(epoch + pl.duration(days="on")).cast(pl.Datetime("us", "UTC")),
            closed_at=(epoch + pl.duration(days="off")).cast(pl.Datetime("us", "UTC")),
        ),
        on="account_id",
    )  # fmt: skip
    # a4: the card of a1 and a2, of which a2 is too long ago, tells a1; the device of a1 and a3 tells nothing, nor does
    # the range. a5: its card tells a3 and its phone a1, who was not its parent
    uses = [("payment", "c1", "a1 a2 a4"), ("device", "d", "a1 a3 a4"), ("ip_range", "r", "a1 a5"),
            ("payment", "c2", "a3 a5"), ("phone", "p", "a1 a5")]  # fmt: skip
    rows = [(a, kind, value, 3) for kind, value, users in uses for a in users.split()]
    links = pl.DataFrame(rows, schema=["account_id", "kind", "value", "accounts"], orient="row")
    blank = case.links.clear().with_columns()
    case._held["links"] = pl.concat([blank, links], how="diagonal_relaxed").select(case.links.columns)
    truth = truth_of([(a, 1, "r", {"a4": "a1", "a5": "a3"}.get(a)) for a in day], "cluster", "parent")
    found = hg.evaluate(case, truth)

    assert found.value("lineage_recall", "parents") == 1.0
    assert lineage_counts(found)["lineage_singled_out"] == (1, 1)
    assert found.value("lineage_identifiable", "parents") == 1 / 2
    assert found.value("lineage_identifiable_recall", "parents") == 1.0


def test_where_members_draw_from_a_pool_an_identifier_tells_no_parent() -> None:
    # each of b1, b2, b3 shares a card with one closed account: in ring r this is the parent of b1 alone, in s of b1 and b2
    for ring, parents, identifiable in (("r", "a1 a4 a4", 0), ("s", "a1 a2 a4", 2)):
        names = ["a1", "a2", "a3", "a4", "b1", "b2", "b3"]
        case = case_of({"k": ("coordinated", 1.0, names)}, (), [("a1", "b1"), ("a3", "b3")])
        day = pl.datetime(2026, 1, 1, time_zone="UTC")
        closed = pl.col("account_id").str.starts_with("a")
        case._held["accounts"] = case.accounts.with_columns(
            first_seen=pl.when(closed).then(day).otherwise(day + pl.duration(days=20)).cast(pl.Datetime("us", "UTC")),
            closed_at=pl.when(closed).then(day + pl.duration(days=15)).cast(pl.Datetime("us", "UTC")),
        )
        rows = [(f"{who}{i}", "payment", f"c{i}", 2) for i in (1, 2, 3) for who in "ab"]
        links = pl.DataFrame(rows, schema=["account_id", "kind", "value", "accounts"], orient="row")
        case._held["links"] = pl.concat([case.links.clear(), links], how="diagonal_relaxed").select(case.links.columns)
        of = dict(zip(["b1", "b2", "b3"], parents.split(), strict=True))
        found = hg.evaluate(case, truth_of([(a, 1, ring, of.get(a)) for a in names], "cluster", "parent"))

        counts = lineage_counts(found)
        assert counts["lineage_singled_out"] == (identifiable or 1, 3)
        assert counts["lineage_identifiable"] == (identifiable, 3)
        # of b1 and b2 the case names the parent of b1; in r there is none to find
        assert counts["lineage_identifiable_recall"] == ((1, 2) if identifiable else (None, None))


def test_a_case_that_names_no_parent_leaves_lineage_unknown() -> None:
    found = hg.evaluate(case_of({"k": ("coordinated", 1.0, ["p", "a"])}), truth_of(OWN_LIST, "cluster", "parent"))

    assert found.value("lineage_precision", "parents") is None
    assert found.value("lineage_recall", "parents") is None


def named_parents(*rows: tuple[object, ...], complete: bool = False) -> hg.Evaluation:
    """A case that names p as the parent of a, b, c and h; `rows` are account_id, label, cluster, parent."""
    pairs = [("p", "a"), ("p", "b"), ("p", "c"), ("p", "h")]
    case = case_of({"k": ("coordinated", 0.9, [*"pabch"])}, (), pairs)
    return hg.evaluate(case, truth_of(rows, "cluster", "parent"), complete=complete)


def lineage_counts(found: hg.Evaluation) -> dict[str, tuple[float | None, float | None]]:
    rows = found.headline.filter(of="parents").select("measure", "hits", "out_of").iter_rows()
    return {measure: (hits, of) for measure, hits, of in rows}


OWN_LIST = (("p", 1, "r", None), ("a", 1, "r", "p"), ("b", 1, "r", "x"), ("c", 1, "s", None), ("h", 0, None, None))


def test_a_parent_that_is_not_given_is_not_known() -> None:
    counts = lineage_counts(found := named_parents(*OWN_LIST))

    # a is right, b is wrong, h replaced nobody; who the parent of c is, the list does not say
    assert counts["lineage_precision"] == (1, 3)
    assert counts["lineage_recall"] == (1, 1)  # x is not in the case
    assert counts["lineage_same_ring"] == (2, 4)
    assert [note for note in found.notes if "parent" in note] == [
        "2 of 4 coordinated accounts have no parent in the truth. It is taken as not known: whether a parent named for"
        " them is right does not count."
    ]


def test_in_a_complete_truth_a_parent_that_is_not_given_is_none() -> None:
    found = named_parents(*OWN_LIST, complete=True)

    assert lineage_counts(found)["lineage_precision"] == (1, 4)
    assert not [note for note in found.notes if "parent" in note]


def test_a_truth_without_any_parent_leaves_lineage_unknown() -> None:
    found = named_parents(*((a, label, ring, None) for a, label, ring, _ in OWN_LIST))

    assert set(lineage_counts(found).values()) == {(None, None)}
    assert "The truth gives no parent (column parent): lineage figures are empty." in found.notes


def test_pairs_are_of_one_ring_or_two_only_where_both_rings_are_known() -> None:
    # the ring of b is not given, c has no label: only p with a, and p with h, are known
    rows = [("p", 1, "r", None), ("a", 1, "r", "p"), ("b", 1, None, None), ("c", None, "r", None), ("h", 0, None, None)]

    assert lineage_counts(named_parents(*rows))["lineage_same_ring"] == (1, 2)
    # neither is anything when the ring of p is not
    rows[0] = ("p", 1, None, None)
    assert lineage_counts(named_parents(*rows))["lineage_same_ring"] == (None, None)
