"""What an analyst knows beforehand: read and refused, applied to cores and clusters, kept and carried along."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hydragraph as hg
from hand import graph_of
from hydragraph.activity import Activity
from hydragraph.communities import Clusters, Cut, find_clusters, find_cores
from hydragraph.constraints import Pairs, coded_pairs, left_out, read_constraints, set_aside, settled
from hydragraph.evidence import weigh
from hydragraph.groups import find_groups
from hydragraph.settings import Settings
from hydragraph.ties import Ties, find_ties
from written import graph_from

SECRET = "4111111111111111"


def pairs_of(*rows: str) -> pl.DataFrame:
    """`a must b` lines as a frame."""
    cells = [row.split() for row in rows]
    return pl.DataFrame(
        {"account_a": [c[0] for c in cells], "account_b": [c[2] for c in cells], "relation": [c[1] for c in cells]},
        schema={"account_a": pl.String, "account_b": pl.String, "relation": pl.String},
    )


def allow_of(*rows: str) -> pl.DataFrame:
    cells = [row.split() for row in rows]
    return pl.DataFrame({"kind": [c[0] for c in cells], "value": [c[1] for c in cells]})


# --- reading


@pytest.mark.parametrize("form", ["csv", "semicolon.csv", "ndjson", "parquet", "frame"])
def test_all_formats_read_the_same(tmp_path: Path, form: str) -> None:
    frame = pl.DataFrame(
        {
            "note": ["x", "y", "z"], "account_a": ["b", "c", "a"], "account_b": ["a", "001", "b"],
            "relation": ["must", " Cannot ", "must"],
        }
    )  # fmt: skip
    path = tmp_path / f"pairs.{form}"
    if form == "ndjson":
        frame.write_ndjson(path)
    elif form == "parquet":
        frame.write_parquet(path)
    elif form != "frame":
        frame.write_csv(path, separator=";" if "semi" in form else ",")
    found = read_constraints(frame if form == "frame" else path)
    # each once, the account that sorts first in front, 001 no number
    assert found.pairs.rows() == [("001", "c", "cannot"), ("a", "b", "must")]
    assert found.counts == {"must": 1, "cannot": 1, "allowed": 0}
    assert found.digest == read_constraints(frame.reverse()).digest
    assert found.digest != read_constraints(frame.head(2).reverse().head(1)).digest


def test_numbers_in_a_typed_table_are_ids() -> None:
    frame = pl.DataFrame({"account_a": [7], "account_b": [12], "relation": ["must"]})
    assert read_constraints(frame).pairs.rows() == [("12", "7", "must")]


def test_kinds_go_by_their_aliases() -> None:
    found = read_constraints(allow=allow_of("IP 203.0.113.7", "card x", "card x"))
    assert found.allowed.rows() == [("ip_range", "203.0.113.7"), ("payment", "x")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("account_a,relation\na,must", "the column account_b is missing; needed are account_a, account_b, relation"),
        (f"account_a,account_b,relation\na,b,must\n{SECRET},,must", "row 2, column account_b: no value"),
        (f"account_a,account_b,relation\na,b,must\n\n{SECRET},b,{SECRET}", "row 2, column relation: must be must or cannot"),
        (f"account_a,account_b,relation\n{SECRET},{SECRET},must", "row 1: account_a and account_b are the same account"),
        (f"account_a,account_b,relation\na,b,must,{SECRET}", "row 1: more fields than the header has columns"),
        (f'account_a,account_b,relation\na,"{SECRET},must', "row 1: quotes that do not fit together"),
        ("account_a,account_b,relation\na,b\0c,must", "row 1, column account_b: not UTF-8 text"),
        (
            f"account_a,account_b,relation\n{SECRET},b,must\nb,c,must\nx,y,must\nc,{SECRET},cannot",
            "row 4 keeps two accounts apart that other rows put together, directly or by way of others; take one of them",
        ),
        ("account_a,account_b,relation\na,b,cannot\nb,a,must", "row 1 keeps two accounts apart"),
    ],
)  # fmt: skip
def test_pairs_that_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    with pytest.raises(hg.InputRefused) as refused:
        read_constraints(path)
    assert str(refused.value).startswith("constraints: ")
    assert said in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind\nip", "the column value is missing; needed are kind, value"),
        (f"kind,value\n,{SECRET}", "row 1, column kind: no value"),
        (f"kind,value\n--,{SECRET}", "row 1, column kind: not a kind of identifier"),
        ("kind,value\nip,10.0.0.0/99", "row 1, column value: not an address or range"),
        ("kind,value\ncard,unknown", "row 1, column value: stands for no identifier"),
    ],
)
def test_identifiers_that_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "allow.csv"
    path.write_text(text)
    with pytest.raises(hg.InputRefused) as refused:
        read_constraints(allow=path)
    assert str(refused.value).startswith("allow list: ")
    assert said in str(refused.value)
    assert SECRET not in str(refused.value)


def test_files_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pairs.xlsx").write_bytes(b"PK")
    (tmp_path / "pairs.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "pairs.ndjson").write_text('{"account_a": "a", "account_b": "b", "relation": "must"}\n["a"]\n')
    (tmp_path / "empty.csv").write_text("")
    for name, said in (
        ("nothing.csv", "no such file"),
        ("pairs.xlsx", "the format is not known"),
        ("pairs.parquet", "damaged"),
        ("pairs.ndjson", "row 2: not a JSON object"),
        ("empty.csv", "the column account_a is missing"),
    ):
        with pytest.raises(hg.InputRefused, match=f"constraints: .*{said}"):
            read_constraints(tmp_path / name)
    nested = pl.DataFrame({"account_a": [["a"]], "account_b": ["b"], "relation": ["must"]})
    with pytest.raises(hg.InputRefused, match="row 1, column account_a: not text"):
        read_constraints(nested)


# --- by hand


def ties_of(*rows: tuple[int, int, float]) -> Ties:
    a, b, net = (np.array(column) for column in zip(*sorted(rows), strict=True))
    none = np.zeros(len(a), np.int64)
    return Ties(a, b, net, none, none, np.zeros(len(a)), 0)


def coded(accounts: str, *rows: str, groups: tuple[str, ...] = ()) -> Pairs:
    graph = graph_of({}, also=accounts)
    found, _ = coded_pairs(
        graph, read_constraints(pairs_of(*rows)).pairs, [pl.Series(list(g), dtype=pl.String) for g in groups]
    )
    assert found is not None
    return found


CHAIN = ties_of((0, 1, 5.0), (1, 2, 2.0), (2, 3, 4.0))
"""a - b - c - d"""


@pytest.mark.parametrize(
    ("rows", "label"),
    [
        (["a cannot d"], [0, 0, 1, 1]),  # at the weakest tie
        (["a cannot d", "b must c"], [0, 0, 0, -1]),  # that one holds: at the next weakest
        (["a cannot b"], [-1, 0, 0, 0]),  # its own tie is gone as well
        (["a cannot c", "b cannot d"], [0, 0, 1, 1]),
        (["a must b"], [0, 0, 0, 0]),
    ],
)
def test_a_core_comes_apart_at_its_weakest_ties(rows: list[str], label: list[int]) -> None:
    pairs = coded("abcd", *rows)
    assert settled(np.zeros(4, np.int64), CHAIN, pairs).tolist() == label


def test_groups_become_one_core_with_the_cores_of_their_members() -> None:
    label = np.array([0, 0, 1, 1, -1, -1, 2, 2])  # ab, cd, e, f, gh
    none = ties_of((0, 1, 5.0), (2, 3, 5.0), (6, 7, 5.0))
    assert settled(label, none, coded("abcdefgh", "b must c", "e must f")).tolist() == [0, 0, 0, 0, 1, 1, 2, 2]
    # by way of an account that is not there
    assert settled(label, none, coded("abcdefgh", "b must x", "x must e")).tolist() == [0, 0, 1, 1, 0, -1, 2, 2]
    # d cannot be with a: it leaves the core that c and b make one
    apart = coded("abcdefgh", "b must c", "a cannot d")
    assert settled(label, none, apart).tolist() == [0, 0, 0, -1, -1, -1, 1, 1]


def test_pairs_by_way_of_accounts_that_are_not_there() -> None:
    """a and c must be with x and y, which are not there and must not be together."""
    pairs = coded("abcd", "a must x", "c must y", "x cannot y")
    assert (pairs.a.tolist(), pairs.b.tolist()) == ([0], [2])
    _, said = coded_pairs(graph_of({}, also="abcd"), pairs_of("a must x", "a cannot b", "y cannot z"))
    assert said == ["constraints: 2 of 3 pairs name an account that is not in the source"]
    nothing, said = coded_pairs(graph_of({}, also="abcd"), pairs_of("a must x", "y cannot z"))
    assert nothing is None
    assert said


def test_of_a_group_those_are_left_out_that_may_not_be_with_others() -> None:
    pairs = coded("abcdef", "b cannot e", "e must f", groups=("abe", "cd"))
    # e cannot be with b, which comes before it; with f it must be
    assert pairs.together.tolist() == [0, 0, 1, 1, 2, 2]


def test_the_largest_piece_stays_and_what_may_not_be_with_it_leaves() -> None:
    label = np.zeros(7, np.int64)
    pieces = np.array([0, 0, 1, 1, 1, -1, -1])  # ab, cde, f, g in one cluster
    for rows, out in (
        (["a cannot c"], [1, 1, 0, 0, 0, 0, 0]),
        (["c cannot f"], [0, 0, 0, 0, 0, 1, 0]),
        (["f cannot g"], [0, 0, 0, 0, 0, 0, 1]),  # of two as large the first stays
        (["a cannot c", "a cannot f"], [1, 1, 0, 0, 0, 0, 0]),  # f may stay, for a has left
    ):
        assert left_out(label, pieces, coded("abcdefg", *rows)).astype(int).tolist() == out


def test_what_looks_alike_is_not_merged_when_it_belongs_apart() -> None:
    """Two cores of six with the same five templates, which merge; and a third account that has a tie to neither."""
    a, b = ([f"{x}{i}" for i in range(6)] for x in "ab")
    everyone = sorted([*a, *b, *(f"s{i}" for i in range(900))])
    uses = {("template", f"t{i}"): [*a, *b] for i in range(5)} | {("template", f"own-{x}"): [x] for x in everyone}
    graph = graph_of(uses)
    code = {name: i for i, name in enumerate(graph.accounts["account_id"])}
    ties = ties_of(*((code[core[0]], code[x], 9.0) for core in (a, b) for x in core[1:]))

    def cores(*rows: str) -> list[set[str]]:
        pairs, _ = coded_pairs(graph, pairs_of(*rows))
        label, _ = find_cores(graph, ties, None, pairs)
        return [{x for x in everyone if label[code[x]] == c} for c in range(label.max() + 1)]

    assert cores() == [{*a, *b}]
    assert cores("a0 cannot b3") == [set(a), set(b)]
    assert cores("a0 cannot b3", "b3 must s1") == [set(a), {*b, "s1"}]


def test_groups_heed_the_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven accounts at one range are a group. Whoever must be with somebody else is none of it, nor who belongs apart."""
    names = [f"a{i}" for i in range(7)]
    graph = graph_of({("ip_range", "hub"): names}, also=["x"])
    pair = np.full(8, -1)
    for rows, label, out in (
        ([], pair, []),
        (["a0 cannot a1", "a2 cannot x"], pair, ["a1"]),
        (["a3 must x"], np.where(np.isin(np.arange(8), [3, 7]), 0, -1), ["a3"]),
    ):
        none = np.zeros(int(label.max()) + 1)
        given = Clusters(label, label >= 0, np.zeros(8), none, none, Cut(*(none.astype(np.int64),) * 3))
        answers = iter([np.array([0.9]), np.array([0.0])])
        monkeypatch.setattr("hydragraph.groups._scores", lambda *_, a=answers: (next(a), np.zeros(3)))
        silent = Activity(*(np.zeros(0, np.int64),) * 3, 8)
        pairs, _ = coded_pairs(graph, pairs_of(*rows))
        found = find_groups(graph, weigh(graph, Settings()), given, silent, Settings(), pairs).clusters.label
        hub = {n for n, c in zip(graph.accounts["account_id"], found, strict=True) if c >= 0 and c == found[4]}
        assert hub == set(names) - set(out)


# --- properties: whatever the evidence says


@st.composite
def worlds(draw: st.DrawFn) -> tuple[dict[tuple[str, str], list[str]], pl.DataFrame]:
    """Ten accounts with some cards and devices, and pairs that do not contradict each other."""
    names = "abcdefghij"
    uses = {
        (kind, f"{kind}{i}"): draw(st.lists(st.sampled_from(names), min_size=1, max_size=5, unique=True))
        for kind in ("payment", "device")
        for i in range(draw(st.integers(1, 4)))
    }
    drawn = draw(st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names + "z"), st.booleans()), max_size=6))
    rows: list[str] = []
    for a, b, must in drawn:
        more = [*rows, f"{a} {'must' if must else 'cannot'} {b}"]
        try:
            read_constraints(pairs_of(*more))
        except hg.InputRefused:
            continue
        rows = more
    return uses, read_constraints(pairs_of(*rows)).pairs


@given(worlds())
@settings(max_examples=150, deadline=None)
def test_pairs_hold_whatever_the_evidence_says(drawn: tuple[dict[tuple[str, str], list[str]], pl.DataFrame]) -> None:
    uses, frame = drawn
    crowd = {("phone", f"own-{i}"): [f"s{i}"] for i in range(400)}  # so that sharing tells
    graph = graph_of({**uses, **crowd}, also="abcdefghij")
    pairs, _ = coded_pairs(graph, frame)
    evidence = weigh(graph, Settings())
    ties = find_ties(graph, evidence)
    label = dict(
        zip(graph.accounts["account_id"], find_clusters(graph, evidence, ties, None, pairs).label, strict=True)
    )
    together = {frozenset((a, b)) for a, b, r in frame.iter_rows() if r == "must" and b in label}
    for a, b in map(sorted, together):
        assert label[a] == label[b] >= 0
    for a, b in frame.filter(pl.col("relation") == "cannot").select("account_a", "account_b").iter_rows():
        if b in label:
            assert label[a] < 0 or label[a] != label[b]
    if frame.is_empty():
        assert pairs is None


# --- identifiers that are no evidence


def test_ranges_are_allowed_by_address_and_by_wider_range(tmp_path: Path) -> None:
    rows = ["account_id,kind,value"]
    rows += [
        f"{a},ip,{ip}"
        for a, ip in zip("abcd", ("203.0.113.1", "203.0.113.9", "198.51.100.1", "198.51.101.1"), strict=True)
    ]
    graph = graph_from(tmp_path, links="\n".join([*rows, "a,card,x", "b,card,y"]))
    assert graph.identifiers["value"].to_list() == ["198.51.100.0/24", "198.51.101.0/24", "203.0.113.0/24", "x", "y"]

    def left(*allowed: str) -> tuple[list[str], list[str]]:
        found, said = set_aside(graph, read_constraints(allow=allow_of(*allowed)).allowed, Settings())
        assert found.accounts.equals(graph.accounts)
        named = found.links.select(found.identifiers["value"].gather(found.links["identifier"])).to_series()
        assert set(named) == set(found.identifiers["value"])
        return found.identifiers["value"].to_list(), said

    # the range in which the address lies
    assert left("ip 203.0.113.77")[0] == ["198.51.100.0/24", "198.51.101.0/24", "x", "y"]
    # both that lie inside, and a card
    values, said = left("ip 198.51.100.0/22", "payment y", "payment z")
    assert values == ["203.0.113.0/24", "x"]
    assert said == [
        "allow list: 3 identifiers of the source are set aside, which 3 accounts use; they are no evidence",
        "allow list: 1 of 3 identifiers are not in the source",
    ]
    # a range that lies in another one allows something as well; one beside them does not
    assert left("ip 198.51.100.0/22", "ip 198.51.101.0/24", "ip 192.0.2.0/24")[1][1:] == [
        "allow list: 1 of 3 identifiers are not in the source"
    ]
    assert left("payment z") == (
        graph.identifiers["value"].to_list(),
        said[1:2] and ["allow list: 1 of 1 identifiers are not in the source"],
    )
    assert set_aside(graph, allow_of("payment x").clear(), Settings()) == (graph, [])
