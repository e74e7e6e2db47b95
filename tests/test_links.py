"""Tables -> links, on sources of a few rows."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hydragraph as hg
from hydragraph.bipartite import account_node, identifier_node
from hydragraph.errors import InputRefused
from hydragraph.links import build_graph, not_yet_closed, read_links
from hydragraph.loaders import open_source
from hydragraph.settings import Settings
from written import day, graph_from, named, source_of

# --- counts and times


def test_a_link_seen_in_three_tables_adds_its_counts_and_keeps_the_first_and_the_last_time(tmp_path: Path) -> None:
    # 1 for the declaration, 2 for the requests, 5 from links; the declaration is the earliest, links the latest
    graph = graph_from(
        tmp_path,
        api_keys="account_id,api_key_id,created_at\na,k1,2026-01-02",
        events="timestamp,account_id,api_key_id\n2026-01-04,a,k1\n2026-01-03,a,k1",
        links="account_id,kind,value,first_seen,last_seen,count\na,api_key,k1,2026-01-03,2026-01-09,5",
    )
    assert named(graph) == {("a", "api_key", "k1"): (8, day(2), day(9))}


def test_the_same_row_twice_is_two_uses_of_one_link(tmp_path: Path) -> None:
    graph = graph_from(
        tmp_path,
        links="account_id,kind,value,first_seen\na,device,d1,2026-01-05\na,device,d1,2026-01-05\nb,device,d1,2026-01-01",
    )
    assert named(graph) == {
        ("a", "device", "d1"): (2, day(5), day(5)),
        ("b", "device", "d1"): (1, day(1), day(1)),
    }


def test_a_payment_lasts_from_its_addition_to_its_removal(tmp_path: Path) -> None:
    graph = graph_from(
        tmp_path,
        payments="account_id,instrument_id,added_at,removed_at\na,pm1,2026-01-02,2026-01-05\nb,pm1,2026-01-03,\nc,pm1,,",
    )
    assert named(graph) == {
        ("a", "payment", "pm1"): (1, day(2), day(5)),
        ("b", "payment", "pm1"): (1, day(3), day(3)),
        ("c", "payment", "pm1"): (1, None, None),
    }


def test_a_link_with_one_time_began_and_ended_then_and_an_empty_count_is_one(tmp_path: Path) -> None:
    graph = graph_from(
        tmp_path,
        links="""
            account_id, kind, value, first_seen, last_seen, count
            a, device, d1, 2026-01-02, , 4
            b, device, d1, , 2026-01-03,
            c, device, d1, , ,
        """,
    )
    assert named(graph) == {
        ("a", "device", "d1"): (4, day(2), day(2)),
        ("b", "device", "d1"): (1, day(3), day(3)),
        ("c", "device", "d1"): (1, None, None),
    }


# --- one identifier, many spellings


def test_addresses_of_one_24_are_one_link(tmp_path: Path) -> None:
    graph = graph_from(
        tmp_path,
        events="""
            timestamp, account_id, ip
            2026-01-01, a, 203.0.113.1
            2026-01-03, a, 203.0.113.77
            2026-01-02, a, 203.0.113.255
            2026-01-02, a, 203.0.114.1
        """,
        links="account_id,kind,value,count\na,ip_range,203.0.113.0/24,10",
    )
    assert named(graph) == {
        ("a", "ip_range", "203.0.113.0/24"): (13, day(1), day(3)),
        ("a", "ip_range", "203.0.114.0/24"): (1, day(2), day(2)),
    }


def test_addresses_of_one_56_are_one_link(tmp_path: Path) -> None:
    # the 56 bits end inside the fourth group: 0001 and 00ff share them, 0100 does not
    graph = graph_from(
        tmp_path,
        events="""
            timestamp, account_id, ip
            2026-01-01, a, 2001:db8:0:1::1
            2026-01-02, a, 2001:0DB8:0:ff::2
            2026-01-03, a, 2001:db8:0:100::1
        """,
    )
    assert named(graph) == {
        ("a", "ip_range", "2001:db8::/56"): (2, day(1), day(2)),
        ("a", "ip_range", "2001:db8:0:100::/56"): (1, day(3), day(3)),
    }


def test_the_width_of_a_range_is_a_setting(tmp_path: Path) -> None:
    events = "timestamp,account_id,ip\n2026-01-01,a,203.0.113.1\n2026-01-01,a,203.0.113.2"
    graph = graph_from(tmp_path, Settings(ipv4_prefix=32), events=events)
    assert graph.identifiers["value"].to_list() == ["203.0.113.1/32", "203.0.113.2/32"]


def test_kinds_are_known_by_their_aliases_and_join_the_tables_of_that_kind(tmp_path: Path) -> None:
    graph = graph_from(
        tmp_path,
        payments="account_id,instrument_id\na,pm1",
        links="""
            account_id, kind, value, count
            a, ip, 203.0.113.9, 1
            a, IP Address, 203.0.113.8, 1
            a, E-mail, Ann+news@Example.org, 1
            a, mail, ann@example.org, 1
            b, EMAIL, ANN@example.org, 1
            b, Credit Card, pm1, 2
            b, shoe size, 43, 1
        """,
    )
    assert {link: count for link, (count, *_) in named(graph).items()} == {
        ("a", "email", "ann@example.org"): 2,
        ("a", "ip_range", "203.0.113.0/24"): 2,
        ("a", "payment", "pm1"): 1,
        ("b", "email", "ann@example.org"): 1,
        ("b", "payment", "pm1"): 2,
        ("b", "shoe_size", "43"): 1,
    }


def test_an_identifier_is_not_read_as_a_number(tmp_path: Path) -> None:
    graph = graph_from(tmp_path, payments="account_id,instrument_id\n007,00123\n7,123")
    assert list(named(graph)) == [("007", "payment", "00123"), ("7", "payment", "123")]


def test_a_placeholder_makes_no_hub_and_its_accounts_stay(tmp_path: Path) -> None:
    words = ["n/a", "unknown", "NULL", "-", "0000-0000", "none"]
    accounts = [f"a{i}" for i in range(len(words))]
    graph = graph_from(
        tmp_path,
        payments=pl.DataFrame({"account_id": accounts, "instrument_id": words}),
        events=pl.DataFrame({
            "timestamp": [day(1)] * 6, "account_id": accounts, "ip": ["10.0.0.5"] * 6, "template_hash": [None, ""] * 3,
        }, schema_overrides={"template_hash": pl.String}),
        links=pl.DataFrame({"account_id": accounts, "kind": ["device"] * 6, "value": ["9774d56d682e549c"] * 6}),
    )  # fmt: skip
    assert graph.accounts["account_id"].to_list() == accounts
    assert graph.identifiers.is_empty()
    assert graph.links.is_empty()


def test_who_people_are_is_no_link(tmp_path: Path) -> None:
    links = "account_id,kind,value\na,country,de\na,name,ann\na,device,d1\nb,device,d1\nb,first name,ann"
    graph = graph_from(tmp_path, links=links)
    assert list(named(graph)) == [("a", "device", "d1"), ("b", "device", "d1")]


# --- requests by slot


def test_requests_and_those_that_met_a_limit_are_counted_by_slot_with_the_moment_of_the_first(tmp_path: Path) -> None:
    events = """
        timestamp, account_id, status
        2026-01-01T00:04:59.999Z, a, 429
        2026-01-01T00:00:09.999Z, a, 429
        2026-01-01T00:00:01.25Z, a, 200
        2026-01-01T00:05:00Z, a, 200
        2026-01-01T00:00:02Z, b,
    """
    _, requests, limits = read_links(open_source(source_of(tmp_path, events=events)), Settings())
    midnight = int(day(1).timestamp()) // 300
    assert requests.rows() == [(0, midnight, 3, 125), (0, midnight + 1, 1, 0), (1, midnight, 1, 200)]
    assert limits.rows() == [(0, midnight, 2, 999)]
    assert limits.schema == requests.schema


def test_without_a_status_nobody_met_a_limit(tmp_path: Path) -> None:
    source = source_of(tmp_path, events="timestamp,account_id\n2026-01-01,a", links="account_id,kind,value\na,device,d")
    _, requests, limits = read_links(open_source(source), Settings())
    assert (requests.height, limits.height) == (1, 0)


# --- accounts


def test_a_closing_far_ahead_of_everything_else_has_not_happened(tmp_path: Path) -> None:
    accounts = """
        account_id, created_at, closed_at, close_reason
        a, 2026-01-01, 2099-12-31, x
        b, 2016-02-01, 2026-03-01, banned
        c, 2026-01-01, 2035-01-01, end of contract
        d, 2026-01-01,,
    """
    bare = source_of(tmp_path / "bare", accounts=accounts, links="account_id,kind,value\na,device,d")
    graph, said = not_yet_closed(build_graph(open_source(bare), Settings()))
    assert graph.accounts["closed_at"].is_null().to_list() == [True, False, False, True]
    assert graph.accounts["close_reason"].to_list() == [None, "banned", "end of contract", None]
    assert said == [
        "accounts: closed_at of 1 is more than ten years after anything else in the source; they count as open"
    ]
    # a request in 2095 makes it a closing like any other
    late = source_of(tmp_path / "late", accounts=accounts, events="timestamp,account_id\n2095-01-01,d")
    before = build_graph(open_source(late), Settings())
    assert not_yet_closed(before) == (before, [])
    # where no other time is known nothing can be said
    lone = source_of(
        tmp_path / "lone", accounts="account_id,closed_at\na,2099-12-31", links="account_id,kind,value\na,device,d"
    )
    assert not_yet_closed(build_graph(open_source(lone), Settings()))[1] == []
    # an analysis and newer tables say so
    case = hg.analyze(bare, tmp_path / "case")
    assert said[0] in case.manifest["notes"]
    assert case.accounts["closed_at"].null_count() == 2
    assert said[0] in hg.watch(case, bare).notes


def test_accounts_known_from_one_table_only_appear(tmp_path: Path) -> None:
    graph = graph_from(
        tmp_path,
        accounts="account_id\nfrom-accounts",
        api_keys="account_id,api_key_id\nfrom-keys,k",
        payments="account_id,instrument_id\nfrom-payments,p",
        events="timestamp,account_id\n2026-01-01,from-events",
        links="account_id,kind,value\nfrom-links,device,d",
    )
    assert graph.accounts["account_id"].to_list() == [
        "from-accounts", "from-events", "from-keys", "from-links", "from-payments",
    ]  # fmt: skip
    assert list(named(graph)) == [
        ("from-keys", "api_key", "k"),
        ("from-links", "device", "d"),
        ("from-payments", "payment", "p"),
    ]


def test_an_account_given_twice_opens_at_the_earliest_and_closes_at_the_latest(tmp_path: Path) -> None:
    graph = graph_from(
        tmp_path,
        accounts="""
            account_id, created_at, closed_at, close_reason, org_id
            a, 2026-01-03, 2026-01-05, banned, org-1
            a, 2026-01-02, 2026-01-07, voluntary, org-2
            a, , , ,
            b, 2026-01-04, , ,
        """,
        links="account_id,kind,value\na,device,d",
    )
    rows = graph.accounts.select("account_id", "created_at", "closed_at", "close_reason", "org_id", "channel").rows()
    assert rows == [
        ("a", day(2), day(7), "voluntary", "org-2", None),
        ("b", day(4), None, None, None, None),
    ]


def test_a_placeholder_names_no_organisation(tmp_path: Path) -> None:
    graph = graph_from(
        tmp_path,
        accounts="account_id,org_id\na,none\nb,N/A\nc, firm \nd,\ne,00ABCDEF",
        links="account_id,kind,value\na,device,d",
    )
    # hexadecimal text has one spelling, as for every identifier
    assert graph.accounts["org_id"].to_list() == [None, None, "firm", None, "00abcdef"]


def test_activity_counts_requests_tokens_and_refusals(tmp_path: Path) -> None:
    graph = graph_from(
        tmp_path,
        accounts="account_id\nidle",
        events="""
            timestamp, account_id, status, input_tokens, output_tokens
            2026-01-02T05:00:00Z, a, 200, 10, 1
            2026-01-01T23:00:00-02:00, a, 429, 20,
            2026-01-01, a, , , 300
            2026-01-09, b, 500, ,
        """,
    )
    activity = graph.accounts.select("account_id", "events", "tokens", "limited", "first_seen", "last_seen").rows()
    # the second request of a came at 01:00 UTC on the second
    assert activity == [
        ("a", 3, 331, 1, day(1), day(2, 5)),
        ("b", 1, 0, 0, day(9), day(9)),
        ("idle", 0, 0, 0, None, None),
    ]


def test_links_alone_are_a_source_and_give_the_span_of_activity(tmp_path: Path) -> None:
    graph = graph_from(
        tmp_path,
        links="""
            account_id, kind, value, first_seen, last_seen
            a, device, d1, 2026-01-03, 2026-01-04
            a, phone, +44 20 7946 0000, 2026-01-02, 2026-01-03
            b, device, d1, ,
        """,
    )
    assert graph.accounts.select("account_id", "events", "tokens", "first_seen", "last_seen").rows() == [
        ("a", 0, 0, day(2), day(4)),
        ("b", 0, 0, None, None),
    ]
    assert graph.accounts["created_at"].null_count() == 2
    assert [k for _, k, _ in named(graph)] == ["device", "phone", "device"]


def test_requests_and_not_links_give_the_span_where_there_are_both(tmp_path: Path) -> None:
    graph = graph_from(
        tmp_path,
        events="timestamp,account_id\n2026-01-05,a",
        links="account_id,kind,value,first_seen\na,device,d,2026-01-01\nb,device,d,2026-01-02",
    )
    assert graph.accounts.select("account_id", "first_seen", "last_seen").rows() == [
        ("a", day(5), day(5)),
        ("b", day(2), day(2)),
    ]


def test_declared_ranges_mark_the_identifiers_inside_them_and_no_others(tmp_path: Path) -> None:
    # kinds that sort before and after ip_range stand around it
    graph = graph_from(
        tmp_path,
        ranges="cidr,kind\n203.0.113.0/24,vpn",
        links="""
            account_id, kind, value
            a, device, d
            a, ip, 203.0.113.5
            a, ip, 198.51.100.5
            a, payment, p
        """,
    )
    assert graph.identifiers.rows() == [
        ("device", "d", None),
        ("ip_range", "198.51.100.0/24", None),
        ("ip_range", "203.0.113.0/24", "vpn"),
        ("payment", "p", None),
    ]


def test_a_source_without_a_readable_account_is_refused(tmp_path: Path) -> None:
    source = source_of(tmp_path, links="account_id,kind,value\n,device,d\nnull,device,d")
    lenient = Settings(max_rejects=1.0)
    with pytest.raises(InputRefused, match="holds no account"):
        build_graph(open_source(source, settings=lenient), lenient)


# --- canonical codes


def test_codes_are_positions_in_sorted_order_and_degrees_count_accounts(tmp_path: Path) -> None:
    graph = graph_from(
        tmp_path,
        links="account_id,kind,value,first_seen\nb,phone,12345678,2026-01-01\nb,device,z,\na,device,z,\na,device,y,",
    )
    assert graph.accounts["account_id"].to_list() == ["a", "b"]
    assert graph.identifiers.select("kind", "value").rows() == [
        ("device", "y"), ("device", "z"), ("phone", "12345678"),
    ]  # fmt: skip
    assert graph.links.select("account", "identifier").rows() == [(0, 0), (0, 1), (1, 1), (1, 2)]
    assert graph.links.schema["account"] == graph.links.schema["identifier"] == pl.UInt32
    assert graph.degree.tolist() == [1, 2, 1]
    assert graph.kinds == ["device", "phone"]
    assert graph.kind_code.tolist() == [0, 0, 1]
    assert graph.matrix.toarray().tolist() == [[1, 1, 0], [0, 1, 1]]
    assert graph.users.toarray().tolist() == [[1, 0], [1, 1], [0, 1]]
    # by identifier, then account; only the phone was used once at a known time
    once = int(day(1).timestamp() * 1_000_000)
    assert graph.moment.tolist() == [-1, -1, -1, once]


ROWS = [
    ("a", "device", "d1", "2026-01-02", 1),
    ("a", "device", "d1", "2026-01-05", 2),
    ("a", "ip", "203.0.113.4", "2026-01-02", 1),
    ("b", "IP", "203.0.113.5", "2026-01-03", 4),
    ("b", "mail", "X@y.org", None, None),
    ("c", "E-Mail", "x+1@Y.org", "2026-01-04", 3),
    ("c", "device", "unknown", None, 1),
    ("d", "wifi", "w", None, 1),
]


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(ROWS), cut=st.integers(0, len(ROWS)))
def test_the_graph_does_not_depend_on_the_order_of_rows_nor_on_the_split_into_files(
    order: list[tuple[str, str, str, str | None, int | None]], cut: int
) -> None:
    columns = ["account_id", "kind", "value", "first_seen", "count"]

    def frame(rows: list[tuple[str, str, str, str | None, int | None]]) -> pl.DataFrame:
        types = dict.fromkeys(columns, pl.String) | {"count": pl.Int64}
        return pl.DataFrame(rows, schema=types, orient="row")

    with TemporaryDirectory() as folder:
        usual = graph_from(Path(folder) / "usual", links=frame(ROWS))
        parts = Path(folder) / "split" / "links"
        parts.mkdir(parents=True)
        frame(order[:cut]).write_csv(parts / "1.csv")
        frame(order[cut:]).select(reversed(columns)).write_parquet(parts / "2.parquet")
        other = build_graph(open_source(parts.parent), Settings())
    assert other.accounts.equals(usual.accounts)
    assert other.identifiers.equals(usual.identifiers)
    assert other.links.equals(usual.links)
    assert named(usual) == {
        ("a", "device", "d1"): (3, day(2), day(5)),
        ("a", "ip_range", "203.0.113.0/24"): (1, day(2), day(2)),
        ("b", "email", "x@y.org"): (1, None, None),
        ("b", "ip_range", "203.0.113.0/24"): (4, day(3), day(3)),
        ("c", "email", "x@y.org"): (3, day(4), day(4)),
        ("d", "wifi", "w"): (1, None, None),
    }


# --- networkx


def test_the_networkx_graph_is_bipartite_with_plain_attributes(tmp_path: Path) -> None:
    graph = graph_from(
        tmp_path,
        accounts="account_id,created_at\na,2026-01-01",
        links="account_id,kind,value,first_seen,count\na,device,d1,2026-01-02,3\nb,device,d1,,1\nb,phone,+4420,,1",
    ).to_networkx()
    a, b = account_node("a"), account_node("b")
    device, phone = identifier_node("device", "d1"), identifier_node("phone", "+4420")
    assert set(graph) == {a, b, device, phone}
    assert dict(graph.nodes(data="bipartite")) == {a: 0, b: 0, device: 1, phone: 1}
    assert graph.nodes[a] == {
        "bipartite": 0, "kind": "account", "label": "a", "account_id": "a", "created_at": "2026-01-01T00:00:00+00:00",
        "first_seen": "2026-01-02T00:00:00+00:00", "last_seen": "2026-01-02T00:00:00+00:00",
        "events": 0, "tokens": 0, "limited": 0,
    }  # fmt: skip
    assert graph.nodes[device] == {"bipartite": 1, "kind": "device", "value": "d1", "label": "d1", "accounts": 2}
    assert graph.nodes[phone]["accounts"] == 1
    assert graph.number_of_edges() == 3
    assert graph.edges[a, device] == {
        "count": 3, "first_seen": "2026-01-02T00:00:00+00:00", "last_seen": "2026-01-02T00:00:00+00:00",
    }  # fmt: skip
    assert graph.edges[b, device] == {"count": 1}


def test_an_account_named_like_an_identifier_stays_a_node_of_its_own(tmp_path: Path) -> None:
    graph = graph_from(
        tmp_path, links="account_id,kind,value\nidentifier:device:d,device,d\ndevice:d,device,d"
    ).to_networkx()
    assert sorted(side for _, side in graph.nodes(data="bipartite")) == [0, 0, 1]
    assert graph.number_of_edges() == 2


def test_more_kinds_than_can_be_told_apart_are_refused(tmp_path: Path) -> None:
    rows = "".join(f"a{i},kind_{i:03d}x,v\n" for i in range(70))
    (tmp_path / "links.csv").write_text("account_id,kind,value\n" + rows)
    with pytest.raises(InputRefused, match="70 kinds"):
        build_graph(open_source(tmp_path), Settings())


def test_enormous_counts_do_not_overflow(tmp_path: Path) -> None:
    most = 2**63 - 1
    (tmp_path / "events.csv").write_text(
        "timestamp,account_id,api_key_id,input_tokens,output_tokens\n"
        + "".join(f"2026-01-0{d}T00:00:00Z,a,k,{most},{most}\n" for d in range(1, 8))
    )
    graph = build_graph(open_source(tmp_path), Settings())
    assert graph.accounts["tokens"][0] == 14 * 2**40
