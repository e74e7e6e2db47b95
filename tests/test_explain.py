"""Evidence paths and suggestions: graphs worked out by hand, then every simple path, then another PageRank."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import networkx as nx
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli_case import CARD, make_case
from hydragraph.case import Case
from hydragraph.errors import InputRefused, UnknownName
from hydragraph.explain import Paths, evidence_path, suggest
from hydragraph.schema import OUTPUT

Uses = Mapping[str, tuple[str, float]]


def links_of(uses: Uses) -> pl.DataFrame:
    """uses: 'kind:value' (or a value, then a payment) -> users, a letter each, and bits."""
    rows = []
    for name, (users, bits) in uses.items():
        kind, _, value = name.rpartition(":")
        rows += [(a, kind or "payment", value, len(users), bits) for a in users]
    return pl.DataFrame(rows, schema=["account_id", "kind", "value", "accounts", "bits"], orient="row")


def ways(found: Paths) -> list[str]:
    """Each path as `a-x-b-y-c`."""
    return [
        "-".join([steps["from_account"][0], *(f"{v}-{b}" for v, b in steps.select("value", "to_account").rows())])
        for _, steps in found.steps.group_by("path", maintain_order=True)
    ]


# Paths worked out by hand


def test_two_strong_steps_before_one_weak() -> None:
    """a and c share a card of 5 bits; each shares one of 9 and 12 bits with b: the detour is as strong as 9."""
    found = evidence_path(links_of({"direct": ("ac", 5.0), "x": ("ab", 9.0), "y": ("bc", 12.0)}), "a", "c")

    assert ways(found) == ["a-x-b-y-c", "a-direct-c"]
    assert found.summary.rows() == [(1, 2, 9.0, 21.0, False), (2, 1, 5.0, 5.0, False)]
    assert found.sentence == (
        "The strongest path has 2 steps; the weakest of them, one payment instrument that 2 accounts use, is worth"
        " 9.0 bits. 1 other path shares no identifier with it."
    )


def test_of_equally_strong_paths_the_shortest() -> None:
    """All are as strong as 7 bits; the direct one has fewer steps although the other has more bits in all."""
    found = evidence_path(links_of({"direct": ("ac", 7.0), "x": ("ab", 7.0), "y": ("bc", 20.0)}), "a", "c")

    assert ways(found)[0] == "a-direct-c"
    assert found.sentence.startswith("They share one payment instrument that 2 accounts use, worth 7.0 bits.")


def test_of_equally_short_paths_the_one_with_most_bits() -> None:
    """Over b: 7 + 8, over c: 7 + 9."""
    uses = {"p": ("ab", 7.0), "q": ("bz", 8.0), "r": ("ac", 9.0), "s": ("cz", 7.0)}

    assert ways(evidence_path(links_of(uses), "a", "z")) == ["a-r-c-s-z", "a-p-b-q-z"]


def test_a_full_tie_is_broken_by_name_and_the_way_back_is_the_same() -> None:
    uses = {"q": ("ab", 7.0), "p": ("bz", 7.0), "r": ("ac", 7.0), "s": ("cz", 7.0)}
    links = links_of(uses)

    assert ways(evidence_path(links, "a", "z")) == ["a-q-b-p-z", "a-r-c-s-z"]
    assert ways(evidence_path(links, "z", "a")) == ["z-p-b-q-a", "z-s-c-r-a"]


def test_alternatives_share_no_identifier_with_those_before() -> None:
    """Three cards of 9, 8 and 7 bits, and a way over b that needs the card of 9."""
    links = links_of({"p": ("abz", 9.0), "q": ("az", 8.0), "r": ("az", 7.0), "s": ("bz", 6.0)})

    assert ways(evidence_path(links, "a", "z")) == ["a-p-z", "a-q-z", "a-r-z"]
    assert ways(evidence_path(links, "a", "z", alternatives=1)) == ["a-p-z", "a-q-z"]
    assert ways(evidence_path(links, "a", "z", alternatives=0)) == ["a-p-z"]
    assert ways(evidence_path(links, "a", "z", alternatives=9)) == ["a-p-z", "a-q-z", "a-r-z"]


def test_a_path_over_an_address_says_so() -> None:
    links = links_of({"ip_range:r": ("az", 9.0), "x": ("ab", 3.0), "y": ("bz", 4.0)})
    found = evidence_path(links, "a", "z")

    assert ways(found) == ["a-r-z", "a-x-b-y-z"]
    assert found.summary["circumstantial"].to_list() == [True, False]
    assert found.sentence == (
        "They share one address range that 2 accounts use, worth 9.0 bits. An address or the like, as it needs, supports"
        " a tie and never makes one. 1 other path shares no identifier with it."
    )


def test_no_path_and_why() -> None:
    links = links_of({"x": ("ab", 9.0), "y": ("cd", 9.0), "hub": ("abcd", 0.0)})
    apart = evidence_path(links, "a", "c", clusters=("one", "two"))

    assert apart.steps.columns == evidence_path(links, "a", "b").steps.columns
    assert apart.steps.height == 0
    assert apart.sentence == (
        "No path: the accounts are in different clusters, and no chain of identifiers that tell something leads from one"
        " to the other."
    )
    assert evidence_path(links, "a", "c").sentence.startswith("No path: no chain of identifiers")
    assert "one of the accounts is not in a cluster, and a case" in evidence_path(links, "a", "who").sentence
    assert "neither account is in a cluster, and a case" in evidence_path(links, "who", "else").sentence
    assert evidence_path(links.clear(), "a", "b").steps.height == 0


def test_a_path_between_clusters_says_so() -> None:
    found = evidence_path(links_of({"x": ("ab", 9.0)}), "a", "b", clusters=("one", "two"))

    assert found.sentence.endswith("The two are in different clusters.")


def test_questions_without_an_answer_are_refused() -> None:
    links = links_of({"x": ("ab", 9.0)})

    with pytest.raises(InputRefused, match="the same one was given twice"):
        evidence_path(links, "a", "a")
    with pytest.raises(InputRefused, match="negative"):
        evidence_path(links, "a", "b", alternatives=-1)
    with pytest.raises(InputRefused, match="no known account"):
        suggest(links, [])
    with pytest.raises(InputRefused, match="negative"):
        suggest(links, ["a"], count=-1)


def test_the_time_of_a_tie_is_named_at_its_step() -> None:
    """a and b begin together for 4 bits of 12, b and c for none of 9; a and c are not tied themselves."""
    links = links_of({"x": ("ab", 8.0), "y": ("bc", 9.0)})
    tie = ("account_a", "account_b", "bits", "synchrony_bits")
    ties = pl.DataFrame([("a", "b", 12.0, 4.0), ("b", "c", 9.0, 0.0), ("c", "d", 20.0, 5.0)], schema=tie, orient="row")
    found = evidence_path(links, "c", "a").with_ties(ties)

    assert ways(found) == ["c-y-b-x-a"]
    assert found.steps.select("from_account", "synchrony_bits").rows() == [("c", 0.0), ("b", 4.0)]
    assert found.tie is None
    assert found.sentence == evidence_path(links, "c", "a").sentence
    direct = evidence_path(links, "b", "a").with_ties(ties)
    assert direct.tie == (12.0, 4.0)
    assert direct.sentence == (
        "They share one payment instrument that 2 accounts use, worth 8.0 bits. Their tie is worth 12.0 bits in all; that"
        " both begin their bursts of requests at the same moments adds 4.0."
    )
    # tied without any time: nothing is said of it
    assert "Their tie" not in evidence_path(links, "b", "c").with_ties(ties).sentence
    apart = evidence_path(links, "a", "who").with_ties(ties)
    assert (apart.steps.height, apart.tie) == (0, None)


# Suggestions worked out by hand


def test_scores_on_a_star() -> None:
    """One card, four users, one known. The walk is at accounts 1 / (1 + d) of the time, and d / (1 + d) at the card, from
    where each account gets d / 4 of it: d * d / (1 + d) / 4 = 0.7225 / 1.85 / 4 for each of the others."""
    found = suggest(links_of({"x": ("abcd", 9.0)}), ["c"])

    assert found.accounts["account_id"].to_list() == ["a", "b", "d"]
    assert found.accounts["score"].to_list() == [round(0.7225 / 1.85 / 4, 9)] * 3
    assert found.accounts.select("seed", "steps", "bits").unique().rows() == [("c", 1, 9.0)]
    assert found.sentence == "From 1 known account the walk reached 3 others."


def test_scores_on_two_triangles() -> None:
    """abc and def share cards of 10 bits in pairs, c and d a device of 5 bits. From account to account, over whichever
    identifier, half of the way leads back; c and d take a card with 10 / 25 each and the device with 5 / 25."""
    triangle = {"ab": ("ab", 10.0), "bc": ("bc", 10.0), "ca": ("ca", 10.0)}
    other = {"de": ("de", 10.0), "ef": ("ef", 10.0), "fd": ("fd", 10.0), "device:cd": ("cd", 5.0)}
    to = np.array(
        # a    b     c    d     e     f
        [
            [0.50, 0.25, 0.25, 0.00, 0.00, 0.00],
            [0.25, 0.50, 0.25, 0.00, 0.00, 0.00],
            [0.20, 0.20, 0.50, 0.10, 0.00, 0.00],
            [0.00, 0.00, 0.10, 0.50, 0.20, 0.20],
            [0.00, 0.00, 0.00, 0.25, 0.50, 0.25],
            [0.00, 0.00, 0.00, 0.25, 0.25, 0.50],
        ]
    )
    score = np.linalg.solve(np.eye(6) - 0.85**2 * to.T, [0.15, 0, 0, 0, 0, 0])
    found = suggest(links_of(triangle | other), ["a"])

    assert score[2] > score[1] > score[3] > score[4] == pytest.approx(score[5])
    assert found.accounts["account_id"].to_list() == ["c", "b", "d", "e", "f"]
    assert found.accounts["score"].to_list() == pytest.approx(score[[2, 1, 3, 4, 5]].tolist(), abs=1e-9)
    assert found.accounts.select("steps", "bits").rows() == [(1, 10.0), (1, 10.0), (2, 5.0), (3, 5.0), (3, 5.0)]
    assert found.paths.filter(account_id="e").select("from_account", "value", "to_account").rows() == [
        ("a", "ca", "c"), ("c", "cd", "d"), ("d", "de", "e"),
    ]  # fmt: skip


def test_the_path_comes_from_the_nearest_seed() -> None:
    """c is two steps of 9 bits from a, and one of 9 from z: z is nearer. d is one of 3 from a, two of 9 from z."""
    links = links_of({"x": ("ab", 9.0), "y": ("bc", 9.0), "v": ("cz", 9.0), "w": ("ad", 3.0), "u": ("cd", 9.0)})
    found = suggest(links, ["a", "z"]).accounts

    assert dict(found.select("account_id", "seed").rows()) == {"b": "a", "c": "z", "d": "z"}


def test_the_walk_goes_over_no_address() -> None:
    links = links_of({"x": ("ab", 9.0), "ip_range:r": ("abcd", 9.0)})

    assert suggest(links, ["a"]).accounts["account_id"].to_list() == ["b"]
    silent = suggest(links, ["a", "c"])
    assert silent.seeds.rows() == [("a", True), ("c", False)]
    assert "1 of 2 known accounts is in no cluster, or shares nothing that tells; a case holds" in silent.sentence


def test_a_seed_in_no_cluster_is_named() -> None:
    links = links_of({"x": ("ab", 9.0)})
    found = suggest(links, ["who"])

    assert found.accounts.height == found.paths.height == found.found == 0
    assert found.accounts.schema == suggest(links, ["a"]).accounts.schema
    assert found.sentence.startswith("Nobody can be suggested. The known account is in no cluster")
    assert suggest(links, ["a", "b"]).sentence == "Nobody else uses what the known accounts use."
    assert suggest(links.clear(), ["a"]).found == 0


def test_count_lists_the_nearest() -> None:
    links = links_of({"x": ("ab", 9.0), "y": ("bc", 9.0), "z": ("cd", 9.0)})

    assert suggest(links, ["a"], count=2).accounts["account_id"].to_list() == ["b", "c"]
    assert suggest(links, ["a"], count=2).sentence == (
        "From 1 known account the walk reached 3 others, the nearest 2 are listed."
    )
    assert suggest(links, ["a"], count=0).accounts.height == 0
    assert suggest(links, ["a"], count=None).accounts.height == 3


# In a case


def test_a_case_knows_clusters(tmp_path: Path) -> None:
    case = make_case(tmp_path / "case")

    assert ways(case.evidence_path("ann", "bob")) == [f"ann-{CARD}-bob", "ann-203.0.113.0/24-bob"]
    assert case.evidence_path("ann", "cy").clusters == ("c-one", "c-two")
    assert "one of the accounts is not in a cluster" in case.evidence_path("ann", "eve").sentence
    found = case.expand(["ann", "eve"])
    assert found.accounts.select("account_id", "cluster_id", "assessment").rows() == [("bob", "c-one", "coordinated")]
    assert found.seeds.select("account_id", "used", "cluster_id").rows() == [
        ("ann", True, "c-one"),
        ("eve", False, None),
    ]
    assert case.expand("ann").accounts.height == 1
    with pytest.raises(UnknownName, match="no account has this id"):
        case.evidence_path("ann", "nobody")
    with pytest.raises(UnknownName, match="1 of 2 accounts cannot be found"):
        case.expand(["ann", "nobody"])


def test_two_of_a_cluster_are_tied_inside_it() -> None:
    """a and b are of cluster one and share a card of 3 bits; over c of cluster two the way is as strong as 9. Without the
    card there is that way only."""
    whose = pl.DataFrame({"account_id": ["a", "b", "c"], "cluster_id": ["one", "one", "two"]})
    both = pl.DataFrame({"cluster_id": ["one", "two"]})

    def case_of(uses: Uses) -> Case:
        given = {"accounts": whose, "clusters": both, "links": links_of(uses)}
        case = Case(path=Path(), manifest={})
        empty = {name: table.empty() for name, table in OUTPUT.items()}
        case._held.update({n: pl.concat([t, given[n]], how="diagonal") if n in given else t for n, t in empty.items()})
        return case

    outside = {"y": ("ac", 9.0), "z": ("bc", 9.0)}
    assert ways(case_of({"x": ("ab", 3.0), **outside}).evidence_path("a", "b")) == ["a-x-b"]
    found = case_of(outside).evidence_path("a", "b")
    assert ways(found) == ["a-y-c-z-b"]
    assert found.sentence.endswith("It leads over accounts outside their cluster; inside there is none.")
    assert not case_of({"y": ("ac", 9.0)}).evidence_path("a", "b").detour


# Against every simple path, and another PageRank

USES = st.dictionaries(
    st.sampled_from([*"uvwxyz", "ip_range:r", "device:s"]),
    st.tuples(st.sets(st.sampled_from("abcdef"), min_size=1).map(lambda s: "".join(sorted(s))), st.integers(0, 4)),
    min_size=1,
)


def graph_of(uses: Uses) -> nx.Graph[str]:
    """Identifiers of more than 0 bits with their users."""
    graph: nx.Graph[str] = nx.Graph()
    for name, (users, bits) in uses.items():
        graph.add_edges_from([(a, name, {"bits": bits}) for a in users if bits])
    return graph


def strength(uses: Uses, way: list[str]) -> tuple[float, int, float]:
    """Weakest step, fewest steps, all bits: the larger the stronger."""
    bits = [uses[name][1] for name in way[1::2]]
    return min(bits), -len(bits), sum(bits)


@given(USES)
@settings(max_examples=150)
def test_the_path_is_the_strongest_of_all(uses: Uses) -> None:
    graph = graph_of(uses)
    found = evidence_path(links_of(uses), "a", "b")
    every = [*nx.all_simple_paths(graph, "a", "b")] if {"a", "b"} <= set(graph) else []

    assert bool(every) == bool(found.steps.height)
    if every:
        best = found.steps.filter(path=1)
        names = [v if k == "payment" else f"{k}:{v}" for k, v in best.select("kind", "value").rows()]
        mine = [w for pair in zip(best["from_account"], names, strict=True) for w in pair] + ["b"]
        assert mine in every
        assert strength(uses, mine) == max(strength(uses, way) for way in every)
    used = found.steps.select("kind", "value").rows()
    assert len(used) == len(set(used))


@given(USES)
@settings(max_examples=60)
def test_the_way_back_is_the_same(uses: Uses) -> None:
    links = links_of(uses)
    turned = [w.split("-")[::-1] for w in ways(evidence_path(links, "b", "a"))]

    assert [w.split("-") for w in ways(evidence_path(links, "a", "b"))] == turned


@given(USES, st.sets(st.sampled_from("abc"), min_size=1), st.integers())
@settings(max_examples=100)
def test_suggestions_hold_against_another_pagerank(uses: Uses, seeds: set[str], shuffle: int) -> None:
    links = links_of(uses)
    found = suggest(links, sorted(seeds), count=None)
    told = {n: (u, b) for n, (u, b) in uses.items() if len(u) > 1 and not n.startswith("ip_range")}
    graph = graph_of(told)
    known = seeds & set(graph)
    wanted = {}
    if known:
        rank = nx.pagerank(graph, 0.85, dict.fromkeys(known, 1.0), max_iter=500, tol=1e-13, weight="bits")
        wanted = {a: x for a, x in rank.items() if a in "abcdef" and a not in seeds and x > 1e-10}

    score = dict(found.accounts.select("account_id", "score").rows())
    assert score == pytest.approx(wanted, abs=2e-9)
    assert not seeds & set(score)
    assert found.accounts["score"].is_sorted(descending=True)
    rows = links.rows()
    random.Random(shuffle).shuffle(rows)
    again = suggest(pl.DataFrame(rows, schema=links.schema, orient="row"), sorted(seeds), count=None)
    assert again.accounts.equals(found.accounts)
    assert again.paths.equals(found.paths)


@given(USES)
@settings(max_examples=60)
def test_the_path_of_a_suggestion_is_the_evidence_path(uses: Uses) -> None:
    links = links_of(uses).filter(pl.col("kind") != "ip_range")
    found = suggest(links, ["c"], count=None)

    for account in found.accounts["account_id"]:
        path = evidence_path(links, "c", account, alternatives=0).steps.drop("path")
        assert found.paths.filter(account_id=account).drop("account_id").equals(path)
