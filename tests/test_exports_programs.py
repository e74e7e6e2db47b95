"""Exports in the words of other programs, each read back the strict way: Cypher, STIX 2.1, Timesketch, GEXF 1.3."""

from __future__ import annotations

import datetime as dt
import json
import re
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any

import networkx as nx
import polars as pl
import pytest
import stix2
from dateutil.parser import parse as parse_time
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cypher_reader import RefusedCypher, graph_of_script, string_of
from hydragraph.case import Case, open_case, write_case
from hydragraph.exports import export
from hydragraph.exports.cypher import literal
from hydragraph.exports.stix import EXTENSION
from hydragraph.exports.timesketch import EVENTS
from hydragraph.review import decide
from hydragraph.schema import OUTPUT
from test_exports import HOSTILE, LATER, NOON, case_of, expected, file_text, table

hostile_case = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
texts = st.lists(file_text, unique=True, min_size=1, max_size=4)
DAY = dt.timedelta(days=1)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """a1 was closed and a2 took its place, with the same card; b1 and b2 share ranges and an address of mail."""
    links = [("a1", "payment", "card"), ("a2", "payment", "card"), ("a2", "device", "d")]
    links += [(b, "ip_range", r) for b in ("b1", "b2") for r in ("192.0.2.0/24", "2001:db8::/56")]
    made = case_of(
        tmp_path / "first", {"c-one": ["a1", "a2"], "c-two": ["b1", "b2"]}, [*links, ("b1", "email", "x@y.org")]
    )
    tables = {name: made.table(name) for name in OUTPUT}
    closed = pl.col("account_id") == "a1"
    tables["accounts"] = tables["accounts"].with_columns(
        closed_at=pl.when(closed).then(NOON + DAY), close_reason=pl.when(closed).then(pl.lit("banned"))
    )
    device = pl.col("kind") == "device"
    tables["links"] = tables["links"].with_columns(
        first_seen=pl.when(~device).then("first_seen"), last_seen=pl.when(pl.col("kind") == "payment").then(NOON + DAY)
    )
    tables["lineage"] = table(
        "lineage",
        [
            {
                "cluster_id": "c-one",
                "parent": "a1",
                "child": "a2",
                "bits": 9.5,
                "gap_seconds": 3600.0,
                "probability": 0.9,
            }
        ],
    )
    return write_case(tmp_path / "case", tables, lambda: {"version": "0"})


# Cypher


def test_a_cypher_script_makes_the_graph_of_the_case(case: Case, tmp_path: Path) -> None:
    script = export(case, "cypher", tmp_path / "out").read_text("utf-8")

    for early in (False, True):
        graph = graph_of_script(script, early=early)
        wanted = expected(case, {"c-one": "unreviewed", "c-two": "unreviewed"})
        assert {n: held - {"id"} for n, held in _keys(graph).items()} == _keys(wanted)
        assert {n: {k: v for k, v in d.items() if k != "id"} for n, d in graph.nodes(data=True)} == dict(
            wanted.nodes(data=True)
        )
        assert nx.utils.edges_equal(graph.edges(data=True), wanted.edges(data=True))
    assert graph.nodes["account:a1"]["review_state"] == "unreviewed"


def _keys(graph: nx.Graph[str]) -> dict[str, set[str]]:
    return {node: set(held) for node, held in graph.nodes(data=True)}


def test_a_long_cypher_script_has_many_statements(tmp_path: Path) -> None:
    accounts = [f"a{i}" for i in range(2001)]
    case = case_of(tmp_path / "case", {"c": accounts}, [(a, "device", "d") for a in accounts])

    script = export(case, "cypher", tmp_path / "out").read_text("utf-8")

    # accounts: 1000, 1000, 1; the device; links as accounts; two constraints
    assert script.count("UNWIND [") == 3 + 1 + 3
    assert graph_of_script(script).number_of_edges() == 2001


@hostile_case
@given(texts, texts)
@example(HOSTILE, HOSTILE)
@example(["\\u0027}) DETACH DELETE n //", "'", '"', "\\", "\\'", "\\\\u0027"], ["\r\n;\n:exit", "/*", "`", "$x"])
def test_no_value_leaves_its_cypher_string(accounts: list[str], values: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        links = [(a, "device", v) for a in accounts for v in values]
        case = case_of(Path(folder) / "case", {"c": accounts}, links)
        script = export(case, "cypher", Path(folder) / "out").read_text("utf-8")

        for early in (False, True):
            graph = graph_of_script(script, early=early)
            assert dict(graph.nodes(data="label")) == dict(case.graph().nodes(data="label"))
            assert graph.number_of_edges() == len(links)


@given(st.text())
@example("\\u0027")
def test_a_cypher_string_is_one_line_and_reads_back(text: str) -> None:
    written = literal(text)

    assert written.isprintable() or not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202e\ufeff]", written)
    assert string_of(written) == string_of(written, early=True) == text


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a'b", "'a\\'b'"),
        ("\\u0041", "'\\\\u0041'"),
        ("\x00\u202e\n", "'\\u0000\\u202e\\n'"),
        (7, "7"),
        (-2.5, "-2.5"),
        (1e22, "1e22"),
        (1e-7, "1e-07"),
    ],
)
def test_cypher_values_by_example(value: Any, written: str) -> None:
    assert literal(value) == written


@pytest.mark.parametrize("script", ["UNWIND [{id: 'a'b'}] AS row", "'\\x'", "UNWIND [\n{id: 'a\nb'}", "DELETE n;"])
def test_the_reader_of_cypher_is_strict(script: str) -> None:
    with pytest.raises(RefusedCypher):
        graph_of_script(script)


# STIX


def bundle(path: Path) -> list[Any]:
    """The objects of a bundle as stix2 reads them, nothing custom allowed; every reference is to one of them."""
    text = path.read_text("utf-8")
    read = stix2.parse(text, allow_custom=False, version="2.1")
    assert read["type"] == "bundle"
    held = {thing["id"]: thing for thing in read["objects"]}
    assert len(held) == len(read["objects"])
    for thing in held.values():
        assert {*thing.get("object_refs", ()), *(thing[r] for r in thing if r.endswith("_ref"))} <= set(held)
        assert set(thing.get("extensions", ())) <= {EXTENSION}
    assert len(json.loads(text)["objects"]) == len(held)
    return list(held.values())


def of_type(things: list[Any], kind: str) -> list[Any]:
    return [thing for thing in things if thing["type"] == kind]


def test_a_stix_bundle_tells_a_cluster_as_a_lead(case: Case, tmp_path: Path) -> None:
    things = bundle(export(case, "stix", tmp_path / "out"))

    assert Counter(thing["type"] for thing in things) == {
        "identity": 1, "extension-definition": 1, "user-account": 4, "ipv4-addr": 1, "ipv6-addr": 1, "email-addr": 1,
        "observed-data": 7, "relationship": 1, "grouping": 2, "note": 2,
    }  # fmt: skip
    one, two = of_type(things, "grouping")
    assert one["context"] == two["context"] == "suspicious-activity"
    assert one["description"] == "They share a card."
    assert one["confidence"] == 50
    assert one["labels"] == ["assessment:review", "review-state:unreviewed"]
    assert one["extensions"][EXTENSION]["review_state"] == "unreviewed"
    first, second = of_type(things, "user-account")[:2]
    assert (first["user_id"], first["is_disabled"], first["account_created"]) == ("a1", True, NOON)
    assert first["extensions"][EXTENSION] == {
        "extension_type": "property-extension", "cluster_id": "c-one", "assessment": "review", "membership": "core",
        "bits": 21.5, "closed_at": "2026-02-02T12:00:00.000000Z", "close_reason": "banned",
        "first_seen": "2026-02-01T12:00:00.000250Z", "events": 3, "tokens": 10, "review_state": "unreviewed",
    }  # fmt: skip
    assert "is_disabled" not in second
    # the device was used at no known time
    assert second["extensions"][EXTENSION]["links"] == [
        {"kind": "device", "value": "d", "count": 2, "bits": 15.5, "accounts": 7}
    ]
    (replaced,) = of_type(things, "relationship")
    assert (replaced["source_ref"], replaced["target_ref"]) == (second["id"], first["id"])
    assert replaced["extensions"][EXTENSION]["gap_seconds"] == 3600.0
    (card, *_), ranges = of_type(things, "observed-data"), {t["value"]: t["type"] for t in things if "value" in t}
    assert (card["first_observed"], card["last_observed"], card["number_observed"]) == (NOON, NOON + DAY, 2)
    assert card["object_refs"] == [first["id"]]
    assert card["extensions"][EXTENSION]["kind"] == "payment"
    assert ranges == {"192.0.2.0/24": "ipv4-addr", "2001:db8::/56": "ipv6-addr", "x@y.org": "email-addr"}


def test_stix_ids_of_accounts_and_addresses_are_those_of_the_standard(case: Case, tmp_path: Path) -> None:
    things = bundle(export(case, "stix", tmp_path / "out"))

    for thing in of_type(things, "user-account"):
        assert thing["id"] == stix2.v21.UserAccount(user_id=thing["user_id"]).id
    for kind, made in {"ipv4-addr": stix2.v21.IPv4Address, "ipv6-addr": stix2.v21.IPv6Address}.items():
        for thing in of_type(things, kind):
            assert thing["id"] == made(value=thing["value"]).id


def test_stix_ids_of_clusters_come_from_the_run_and_the_cluster(case: Case, tmp_path: Path) -> None:
    def groupings(of: Case, cluster: str | None = None) -> list[str]:
        return [
            g["id"]
            for g in of_type(bundle(export(of, "stix", tmp_path / "out", cluster=cluster, force=True)), "grouping")
        ]

    all_of_them = groupings(case)
    other = write_case(tmp_path / "other", {name: case.table(name) for name in OUTPUT}, lambda: {"version": "1"})
    timed = write_case(
        tmp_path / "timed",
        {name: case.table(name) for name in OUTPUT},
        lambda: {"version": "0", "stages": [{"seconds": 3}]},
    )

    assert groupings(case, "c-two") == all_of_them[1:]
    assert groupings(timed) == all_of_them
    assert not set(groupings(other)) & set(all_of_them)


def test_what_people_decided_is_opinion_and_note(case: Case, tmp_path: Path) -> None:
    def said() -> tuple[list[Any], list[Any], Any]:
        things = bundle(export(case, "stix", tmp_path / "out", cluster="c-one", force=True))
        return of_type(things, "opinion"), of_type(things, "note"), of_type(things, "grouping")[0]

    before = said()[2]["id"]
    decide(case, "c-one", "confirmed", note="Seen the tickets.", by="Ada", when=NOON + DAY)
    (opinion,), notes, grouping = said()
    assert (opinion["opinion"], opinion["explanation"], opinion["created"]) == (
        "agree",
        "Seen the tickets.",
        NOON + DAY,
    )
    assert notes[1]["content"] == "Seen the tickets."
    assert grouping["labels"] == ["assessment:review", "review-state:confirmed"]
    assert (grouping["id"], grouping["modified"]) == (before, NOON + DAY)
    assert "Ada" not in (tmp_path / "out").read_text("utf-8")

    decide(case, "c-one", "innocent", note="A family.", by="Ada", when=NOON + 2 * DAY)
    (opinion,), notes, grouping = said()
    assert (opinion["opinion"], grouping["context"]) == ("disagree", "unspecified")
    assert [note["content"] for note in notes[1:]] == ["Seen the tickets.", "A family."]

    decide(case, "c-one", "unreviewed", by="Ada", when=NOON + 3 * DAY)
    opinions, notes, grouping = said()
    assert (opinions, len(notes)) == ([], 3)
    assert "review-state:unreviewed" in grouping["labels"]
    assert grouping["context"] == "suspicious-activity"
    clusters = case.clusters.with_columns(assessment=pl.lit("explained"))
    write_case(case.path, {name: case.table(name) for name in OUTPUT} | {"clusters": clusters}, dict, force=True)
    assert (
        of_type(bundle(export(open_case(case.path), "stix", tmp_path / "all")), "grouping")[0]["context"]
        == "unspecified"
    )


@hostile_case
@given(texts, texts)
@example(HOSTILE, [*HOSTILE, "1.2.3.4", "1.2.3.4/24", "@", "a@b@c"])
def test_a_stix_bundle_reads_back_with_hostile_values(accounts: list[str], values: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        kinds = ("device", "ip_range", "email")
        case = case_of(
            Path(folder) / "case", {"c": accounts}, [(a, k, v) for a in accounts for v in values for k in kinds]
        )
        things = bundle(export(case, "stix", Path(folder) / "out"))

        ids = {thing["user_id"]: thing["id"] for thing in of_type(things, "user-account")}
        assert ids == {account: stix2.v21.UserAccount(user_id=account).id for account in accounts}
        seen = Counter(thing["extensions"][EXTENSION]["value"] for thing in of_type(things, "observed-data"))
        assert seen == dict.fromkeys(values, 3 * len(accounts))


# Timesketch


def timeline(path: Path) -> list[dict[str, Any]]:
    """The events of a file as Timesketch takes them: an object a line with the fields it needs, of the types it expects,
    none that it keeps for itself or throws away, and no field that is sometimes text and sometimes a number."""
    text = path.read_text("utf-8")
    events = [json.loads(line) for line in text.split("\n")[:-1]]
    assert text == "" or text.endswith("\n")
    assert text.splitlines() == text.split("\n")[:-1]  # nothing else ends a line, for whatever reader
    types: dict[str, set[str]] = {}
    for event in events:
        assert all(isinstance(event[name], str) and event[name] for name in ("message", "datetime", "timestamp_desc"))
        assert type(event["timestamp"]) is int
        when = parse_time(event["datetime"])
        assert when.utcoffset() == dt.timedelta(0)
        assert (when - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1) == event["timestamp"]
        assert not {"_id", "_type", "_index", "_source", "label", "tag"} & set(event)
        assert all(re.fullmatch("[a-z][a-z_]*", name) for name in event)
        for name, value in event.items():
            types.setdefault(name, set()).add(type(value).__name__)
    assert all(len(of) == 1 and of <= {"str", "int", "float"} for of in types.values())
    assert [e["timestamp"] for e in events] == sorted(e["timestamp"] for e in events)
    return events


def test_a_timeline_says_what_happened_when(case: Case, tmp_path: Path) -> None:
    decide(case, "c-one", "confirmed", note="Seen.", by="Ada", when=NOON + 2 * DAY)

    events = timeline(export(case, "timesketch", tmp_path / "out", cluster="c-one"))

    assert [(e["datetime"][:23], e["message"]) for e in events] == [
        ("2026-02-01T12:00:00.000", "Account a1: opened"),
        ("2026-02-01T12:00:00.000", "Account a2: opened"),
        ("2026-02-01T12:00:00.000", "Account a1: first use of payment card, which 7 accounts use"),
        ("2026-02-01T12:00:00.000", "Account a2: first use of payment card, which 7 accounts use"),
        ("2026-02-01T12:00:00.000", "Account a1: first activity"),
        ("2026-02-01T12:00:00.000", "Account a2: first activity"),
        ("2026-02-01T12:00:00.000", "Account a2 took the place of a1 after 1 h"),
        ("2026-02-02T12:00:00.000", "Account a1: last use of payment card, which 7 accounts use"),
        ("2026-02-02T12:00:00.000", "Account a2: last use of payment card, which 7 accounts use"),
        ("2026-02-02T12:00:00.000", "Account a1: closed (banned)"),
        ("2026-02-03T12:00:00.000", "Cluster c-one reviewed: confirmed"),
    ]
    assert events[2] == {
        "message": events[2]["message"], "datetime": "2026-02-01T12:00:00.000000+00:00", "timestamp": 1769947200000000,
        "timestamp_desc": "First use", "data_type": "hydragraph:link", "cluster_id": "c-one", "account_id": "a1",
        "kind": "payment", "value": "card", "count": 2, "bits": 15.5, "accounts": 7, "assessment": "review",
        "review_state": "confirmed",
    }  # fmt: skip
    assert events[6]["parent_account_id"] == "a1"
    assert events[6]["datetime"] == LATER.isoformat()
    assert (events[-1]["decision"], events[-1]["note"], "Ada" in str(events)) == ("confirmed", "Seen.", False)


def test_what_was_active_once_has_one_event(case: Case, tmp_path: Path) -> None:
    tables = {name: case.table(name) for name in OUTPUT}
    tables["links"] = tables["links"].with_columns(last_seen="first_seen")
    once = write_case(tmp_path / "once", tables, dict)

    events = timeline(export(once, "timesketch", tmp_path / "out"))

    links = [e["timestamp_desc"] for e in events if e["data_type"] == "hydragraph:link"]
    assert links == ["Only use"] * 7  # the device has no time
    assert {e["review_state"] for e in events} == {"unreviewed"}
    assert {e["timestamp_desc"] for e in events} <= set(EVENTS)


@hostile_case
@given(texts, texts)
@example(HOSTILE, HOSTILE)
def test_a_timeline_reads_back_with_hostile_values(accounts: list[str], values: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        case = case_of(Path(folder) / "case", {"c": accounts}, [(a, "device", v) for a in accounts for v in values])
        events = timeline(export(case, "timesketch", Path(folder) / "out"))

        used = {(e["account_id"], e["value"]) for e in events if e["data_type"] == "hydragraph:link"}
        assert used == {(a, v) for a in accounts for v in values}
        assert all(e["message"].isprintable() for e in events)


# GEXF

GEXF = "{http://gexf.net/1.3}"
CHILDREN = {
    "gexf": ("meta", "graph"), "meta": ("creator",), "creator": (), "graph": ("attributes", "attributes", "nodes", "edges"),
    "attributes": ("attribute",), "attribute": (), "nodes": ("node",), "edges": ("edge",), "node": ("attvalues",),
    "edge": ("attvalues",), "attvalues": ("attvalue",), "attvalue": (),
}  # fmt: skip
"""What may stand in what, in this order, of the part of GEXF 1.3 that a static graph needs."""
REQUIRED = {
    "gexf": {"version"}, "attributes": {"class"}, "attribute": {"id", "title", "type"}, "node": {"id"},
    "edge": {"source", "target"}, "attvalue": {"for", "value"},
}  # fmt: skip
OPTIONAL = {
    "graph": {"mode", "defaultedgetype"}, "attributes": {"mode"}, "node": {"label"}, "edge": {"id", "weight"},
}  # fmt: skip
TYPES = {"string": str, "long": int, "double": float}


def gexf_faults(text: str) -> list[str]:
    """What in a GEXF file breaks the rules of version 1.3."""
    faults = []
    root = ET.fromstring(text)
    for element in root.iter():
        name = element.tag.removeprefix(GEXF)
        if name not in CHILDREN:
            faults.append(f"element {element.tag}")
            continue
        children = [child.tag.removeprefix(GEXF) for child in element]
        allowed = CHILDREN[name]
        many = len(allowed) == 1 and allowed[0] in ("attribute", "node", "edge", "attvalue")
        if not (set(children) <= set(allowed) if many else tuple(children) == allowed):
            faults.append(f"{name} holds {children}")
        required, given = REQUIRED.get(name, set()), set(element.attrib)
        if not required <= given <= required | OPTIONAL.get(name, set()):
            faults.append(f"{name} has {given}")
    declared = {
        (of.get("class"), a.get("id")): TYPES[str(a.get("type"))] for of in root.iter(f"{GEXF}attributes") for a in of
    }
    for kind in ("node", "edge"):
        ids = [e.get("id") for e in root.iter(f"{GEXF}{kind}")]
        faults += [f"{kind} {i} twice" for i, number in Counter(ids).items() if number > 1]
        for value in root.iterfind(f".//{GEXF}{kind}//{GEXF}attvalue"):
            declared[kind, value.get("for")](value.get("value"))
    nodes = {node.get("id") for node in root.iter(f"{GEXF}node")}
    for edge in root.iter(f"{GEXF}edge"):
        float(edge.get("weight", 1))
        faults += [f"edge to {edge.get(end)!r}" for end in ("source", "target") if edge.get(end) not in nodes]
    graph = next(root.iter(f"{GEXF}graph"))
    if (root.get("version"), graph.get("mode"), graph.get("defaultedgetype")) != ("1.3", "static", "undirected"):
        faults.append("version, mode or type of edges")
    return faults


@hostile_case
@given(texts, texts)
@example(HOSTILE, HOSTILE)
def test_gexf_keeps_the_rules_of_version_1_3(accounts: list[str], values: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        case = case_of(Path(folder) / "case", {"c": accounts}, [(a, "device", v) for a in accounts for v in values])

        assert gexf_faults(export(case, "gexf", Path(folder) / "out").read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('version="1.3"', 'version="1.2"', "version"),
        ("<nodes>", "<nodes><spells/>", "element"),
        ('<node id="account:a1"', '<node id="account:a2"', "twice"),
        ('target="identifier:payment:card"', 'target="nobody"', "nobody"),
        (' weight="15.5"', ' thickness="15.5"', "thickness"),
        ('title="bits" ', "", "attribute has"),
        ("<meta><creator>hydragraph</creator></meta>\n", "", "gexf holds"),
    ],
)
def test_the_check_of_gexf_finds(case: Case, tmp_path: Path, old: str, new: str, fault: str) -> None:
    text = export(case, "gexf", tmp_path / "out").read_text("utf-8")

    assert old in text
    assert any(fault in found for found in gexf_faults(text.replace(old, new)))
