"""Every signal on clusters of a few accounts, with the figure worked out by hand."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from math import comb, exp, factorial, log
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hand import graph_of
from hydragraph.assess import CUTS, SIZE
from hydragraph.bipartite import BipartiteGraph
from hydragraph.evidence import weigh
from hydragraph.limits import Limits, no_limits
from hydragraph.schema import OUTPUT
from hydragraph.settings import Settings
from hydragraph.signals import SIGNALS, Measured, View, measure, signal_table
from hydragraph.signals.clock import quiet_share
from hydragraph.signals.synchrony import coincidences, timetable
from hydragraph.signals.view import HOURS
from hydragraph.tails import binomial_tail, poisson_tail
from test_hand_off import limits_of
from written import clusters_of, day

Uses = Mapping[tuple[str, str], Iterable[str]]
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def view_of(
    uses: Uses,
    clusters: Iterable[str],
    *,
    also: Iterable[str] = (),
    hours: Mapping[str, list[int]] | None = None,
    begins: Mapping[str, list[int]] | None = None,
    limits: Limits | None = None,
    **columns: Mapping[str, Any],
) -> View:
    """The view of a graph: each text in `clusters` names its members, one letter each; `columns` fill the accounts."""
    groups = list(clusters)
    named = {a for group in groups for a in group} | {a for given in columns.values() for a in given}
    graph = graph_of(uses, also={*named, *also, *(hours or {}), *(begins or {})})
    names = graph.accounts["account_id"]
    empty = {"events": 0}
    accounts = graph.accounts.with_columns(
        pl.Series(c, [given.get(a, empty.get(c)) for a in names], graph.accounts.schema[c])
        for c, given in columns.items()
    )
    graph = BipartiteGraph(accounts, graph.identifiers, graph.links)
    label = np.full(len(names), -1, np.int64)
    for number, group in enumerate(groups):
        label[[names.to_list().index(a) for a in group]] = number
    told = sorted(hours or {})
    started = [(names.to_list().index(a), slot) for a, slots in sorted((begins or {}).items()) for slot in slots]
    account, slot = np.array(started, np.int64).reshape(-1, 2).T
    return View(
        graph=graph,
        evidence=weigh(graph, Settings()),
        clusters=clusters_of(label),
        hours=np.array([(hours or {})[a] for a in told], np.int64).reshape(-1, HOURS),
        hours_of=np.array([names.to_list().index(a) for a in told], np.int64),
        begins=(account, slot),
        limits=limits or no_limits(),
    )


def figures(name: str, view: View) -> Measured:
    found = SIGNALS[name].measure(view)
    assert found is not None
    assert found.value.shape == (view.count,)
    assert found.p_value is None or found.p_value.shape == (view.count,)
    return found


NAN = float("nan")


def same(found: Iterable[float], wanted: list[float]) -> bool:
    return list(found) == pytest.approx(wanted, nan_ok=True)


# --- what is shared

REUSE = {
    "payment_reuse": "payment",
    "key_sharing": "api_key",
    "template_reuse": "template",
    "range_reuse": "ip_range",
    "other_reuse": "device",
}


@pytest.mark.parametrize(("signal", "kind"), REUSE.items())
def test_reuse_is_the_share_of_holders_who_share_one_with_another_member(signal: str, kind: str) -> None:
    # of abcd three hold one: a and b share theirs; that of c is shared with strangers only; e and f have their own each
    uses = {(kind, "1"): "ab", (kind, "2"): "cxyz", (kind, "3"): "e", (kind, "4"): "f"}
    found = figures(signal, view_of(uses, ["abcd", "ef", "gh"], also="gh"))
    assert same(found.value, [2 / 3, 0, NAN])
    # eight accounts hold one, and a, b, c, x, y, z share theirs
    assert found.baseline == 6 / 8
    assert found.p_value is None


@pytest.mark.parametrize(("signal", "kind"), REUSE.items())
def test_what_mostly_strangers_use_is_no_reuse(signal: str, kind: str) -> None:
    crowd = "klmnopqrst"
    found = figures(signal, view_of({(kind, "1"): "ab" + crowd}, ["ab"]))
    assert same(found.value, [0])
    assert found.baseline == 1
    # two of four users are members: half counts as mostly
    assert same(figures(signal, view_of({(kind, "1"): "abxy"}, ["ab"])).value, [1])


@pytest.mark.parametrize(("signal", "kind"), REUSE.items())
def test_the_same_identifier_in_two_clusters_is_shared_inside_each(signal: str, kind: str) -> None:
    uses = {(kind, "1"): "abcd", (kind, "2"): "e"}
    assert same(figures(signal, view_of(uses, ["ab", "cd", "ef"])).value, [1, 1, 0])


def test_other_reuse_looks_at_every_kind_without_a_signal_of_its_own_but_not_at_circumstantial_ones() -> None:
    uses = {
        ("device", "d"): "ab",
        ("email", "e"): "bc",
        ("phone", "p"): "d",
        ("tls", "t"): "abcde",
        ("payment", "c"): "de",
    }
    found = figures("other_reuse", view_of(uses, ["abcde"]))
    assert same(found.value, [3 / 4])  # a, b, c of a, b, c, d; e has none of these kinds
    assert found.baseline == 3 / 4
    assert SIGNALS["other_reuse"].measure(view_of({("tls", "t"): "ab", ("payment", "c"): "ab"}, ["ab"])) is None


# --- one place, one payer, one organisation


def test_one_payer_is_the_share_of_the_most_common_instrument() -> None:
    # of abcde four hold one, two of them number 2; f has one, g none; number 2 serves five of ten accounts
    kind = "payment"
    uses = {(kind, "1"): "a", (kind, "2"): "abxyz", (kind, "3"): "c", (kind, "4"): "d", (kind, "5"): "f"}
    found = figures("one_payer", view_of(uses, ["abcde", "f", "g"]))
    assert same(found.value, [2 / 4, 1, NAN])
    assert found.baseline == 5 / 10


def test_one_place_is_the_part_of_the_members_requests_that_one_range_carries() -> None:
    # a uses two ranges evenly, b only the second, c and d one of their own; e has none. Range 2: (1/2 + 1) of four
    uses = {("ip_range", "1"): "a", ("ip_range", "2"): "abxy", ("ip_range", "3"): "c", ("ip_range", "4"): "df"}
    found = figures("one_place", view_of(uses, ["abcde", "f", "g"]))
    assert same(found.value, [1.5 / 4, 1, NAN])
    assert found.baseline == pytest.approx((0.5 + 1 + 1 + 1) / 7)  # over a, b, c, d, f, x, y


def test_range_breadth_is_the_mean_number_of_ranges_of_those_who_have_any() -> None:
    uses = {("ip_range", "1"): "abx", ("ip_range", "2"): "ax", ("ip_range", "3"): "ax", ("ip_range", "4"): "x"}
    found = figures("range_breadth", view_of(uses, ["abc", "d"]))
    assert same(found.value, [(3 + 1) / 2, NAN])
    assert found.baseline == pytest.approx((3 + 1 + 4) / 3)


def test_one_organisation_is_the_share_of_all_members_that_name_the_same() -> None:
    org = {"a": "firm", "b": "firm", "c": "club", "e": "firm", "f": "club", "x": "firm", "y": "firm"}
    found = figures("one_organisation", view_of({}, ["abcd", "ef", "g"], also="z", org_id=org))
    assert same(found.value, [2 / 4, 1 / 2, 0])
    assert found.baseline == 5 / 10  # a, b, e, x, y of abcdefg xyz


def test_centre_is_the_share_of_the_most_common_identifier_or_organisation() -> None:
    # of abcd three have the device and two the card; all send one template, which is no centre; e and f have nothing else;
    # g and h have a card each and name one organisation; all have the same browser, which is worth nothing
    uses = {
        ("payment", "1"): "abxyz", ("device", "d"): "abc", ("template", "t"): "abcdef", ("payment", "2"): "g",
        ("payment", "3"): "h", ("user_agent", "u"): "abcdefghxyz",
    }  # fmt: skip
    uses |= {("payment", f"own-{i}"): [f"stranger-{i}"] for i in range(300)}
    view = view_of(uses, ["abcd", "ef", "gh"], also="w", org_id={"a": "firm", "g": "club", "h": "club", "x": "firm"})
    assert view.evidence.bits[view.graph.kind_code == view.kind("template")] > 0
    assert view.evidence.bits[view.graph.kind_code == view.kind("user_agent")].tolist() == [0]
    found = figures("centre", view)
    assert same(found.value, [3 / 4, NAN, 1])
    # no identifier that could be one serves more accounts than the first card
    assert found.baseline == pytest.approx(5 / 312)
    assert found.p_value is None
    assert SIGNALS["centre"].measure(view_of({("template", "t"): "ab"}, ["ab"])) is None


def test_a_mesh_of_cards_has_no_centre() -> None:
    # six accounts, six cards, each on two of them: a ring of hands; and a family with one card for all
    cards = {("payment", str(i)): f"{a}{b}" for i, (a, b) in enumerate(zip("abcdef", "bcdefa", strict=True))}
    found = figures("centre", view_of({**cards, ("payment", "family"): "uvwxyz"}, ["abcdef", "uvwxyz"]))
    assert same(found.value, [2 / 6, 1])


# --- the clock


def test_quiet_share_of_days_a_reader_can_draw() -> None:
    even = [2] * 24
    person = [6] * 8 + [0] * 16
    late = [3] * 18 + [1] * 6  # 6 of 60 requests in six of 24 hours: a tenth in a quarter of the day
    few = [1] * 24
    found = quiet_share(np.array([even, person, late, few]))
    assert same(found, [1, 0, 6 / 60 * 4, NAN])


days = st.lists(st.integers(0, 50), min_size=24, max_size=24)


@given(hours=days, zone=st.integers(0, 23))
def test_quiet_share_does_not_depend_on_the_time_zone(hours: list[int], zone: int) -> None:
    table = np.array([hours, np.roll(hours, zone)])
    here, there = quiet_share(table)
    assert (here == there) or (np.isnan(here) and np.isnan(there))
    assert np.isnan(here) or 0 <= here <= 1


def test_round_the_clock_is_the_mean_over_members_who_are_active_enough() -> None:
    hours = {
        "a": [10] * 24, "b": [20] * 12 + [0] * 12, "c": [1] * 24, "d": [1] * 24,
        "x": [3] * 18 + [1] * 6, "y": [30] * 10 + [0] * 14, "z": [1] + [0] * 23,
    }  # fmt: skip
    found = figures("round_the_clock", view_of({}, ["abc", "d"], hours=hours))
    # c, d and z sent fewer than 48 requests
    assert same(found.value, [(1 + 0) / 2, NAN])
    assert found.baseline == pytest.approx((0.4 + 0) / 2)
    assert found.p_value is None


def test_round_the_clock_without_other_accounts_has_no_baseline() -> None:
    found = figures("round_the_clock", view_of({}, ["ab"], hours={"a": [10] * 24, "b": [10] * 24}))
    assert same(found.value, [1])
    assert np.isnan(found.baseline)


# --- beginnings and ends


def at_least(k: int, n: int, p: float) -> float:
    """P(X >= k) for X binomial."""
    return sum(comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))


def test_bans_against_the_share_of_all_accounts_that_were_banned() -> None:
    reason = {"a": "banned", "b": " BANNED ", "c": "Banned", "d": "voluntary", "f": "closed", "x": "banned"}
    found = figures("bans", view_of({}, ["abcd", "ef"], also="yzw", close_reason=reason))
    assert same(found.value, [3 / 4, 0])
    assert found.baseline == 4 / 10
    assert found.p_value is not None
    # 4 * 0.4^3 * 0.6 + 0.4^4 = 0.1792
    assert at_least(3, 4, 0.4) == pytest.approx(0.1792)
    assert same(found.p_value, [0.1792, 1])


def opened(**on: float) -> dict[str, dt.datetime]:
    """Account -> day after the start."""
    return {a: START + dt.timedelta(days=d) for a, d in on.items()}


def test_a_creation_burst_is_the_largest_share_opened_within_one_day() -> None:
    # a, b, c within 24 hours, d later; the others one every two days, none near a, b and c; e and f opened long apart
    strangers = {f"s{i:02d}": 2.0 * i for i in range(20)}
    at = opened(a=40.1, b=40.5, c=41.05, d=50, e=0, f=45, g=3, **strangers)
    found = figures("creation_burst", view_of({}, ["abcd", "ef", "gh"], created_at=at))
    assert same(found.value, [3 / 4, 1 / 2, NAN])
    # on the busiest day three of 27 accounts were opened: a, b, c; all days are 50 and two of margin
    assert found.baseline == pytest.approx(max(3 / 27, 1 / 52))
    assert found.p_value is not None
    # one of four opens the window, two of three fall into it, four windows were tried; for e and f nothing has to
    assert same(found.p_value, [4 * at_least(2, 3, 3 / 27), 1, NAN])


def test_accounts_opened_a_day_apart_are_no_burst() -> None:
    found = figures("creation_burst", view_of({}, ["ab", "cd"], created_at=opened(a=1, b=2, c=1, d=1.999)))
    assert same(found.value, [1 / 2, 1])


def test_replacement_is_the_share_of_bans_after_which_another_member_began() -> None:
    # a is banned on day 10 and b begins on day 11; c is banned on day 20 and nobody follows; d left on its own account
    view = view_of(
        {}, ["abcd", "ef", "gh"],
        first_seen=opened(a=0, b=11, c=5, d=8, e=2, f=38, g=1, x=0, y=39),
        closed_at=opened(a=10, c=20, d=7, e=12),
        close_reason={"a": "banned", "c": "banned", "d": "voluntary", "e": "banned"},
    )  # fmt: skip
    found = figures("replacement", view)
    assert same(found.value, [1 / 2, 0, NAN])
    # first requests lie within 40 days; the three others of abcd, spread over them, give 3 * 2 / 40 in two days
    follow = 1 - exp(-3 * 2 / 40)
    assert found.p_value is not None
    assert same(found.p_value, [1 - exp(-2 * follow), 1, NAN])
    # of the three clusters the usual one has two accounts
    assert found.baseline == pytest.approx(1 - exp(-1 * 2 / 40))


def test_a_successor_comes_after_the_ban_and_within_two_days() -> None:
    closed = opened(a=10, c=10, e=10, g=10)
    first = opened(a=0, b=12, c=0, d=12.001, e=0, f=10, g=0, h=9.5)
    reason = dict.fromkeys("aceg", "banned")
    view = view_of({}, ["ab", "cd", "ef", "gh"], first_seen=first, closed_at=closed, close_reason=reason)
    assert same(figures("replacement", view).value, [1, 0, 0, 0])


def test_nobody_replaces_itself() -> None:
    # a was seen first after its own ban (a late export): that is no successor
    view = view_of({}, ["ab"], first_seen=opened(a=11, b=0), closed_at=opened(a=10), close_reason={"a": "banned"})
    assert same(figures("replacement", view).value, [0])


# --- volume


def test_even_load_is_one_over_one_plus_the_variance_of_the_logarithm() -> None:
    everyone = "abcdefghijklmno"
    view = view_of(
        {}, ["abcde", "fghij", "klmn"],
        events={**dict.fromkeys("abcde", 30), **dict.fromkeys("fgh", 10), "i": 40, "j": 40, **dict.fromkeys("klmno", 7)},
        first_seen=dict.fromkeys(everyone, day(1)),
        # a to e: thirty requests in two and a half days are ten a day
        last_seen={**dict.fromkeys(everyone, day(1, 12)), **dict.fromkeys("abcde", day(3, 12))},
    )  # fmt: skip
    found = figures("even_load", view)
    # three at 10 and two at 40 a day: variance of the logarithm = ln(4)^2 * 3/5 * 2/5
    assert same(found.value, [1, 1 / (1 + log(4) ** 2 * 6 / 25), NAN])
    rates = np.log([10] * 8 + [40] * 2 + [7] * 5)
    assert found.baseline == pytest.approx(1 / (1 + rates.var()))


# --- where a signal does not apply


def test_a_source_gives_the_signals_it_has_columns_for() -> None:
    assert set(measure(view_of({("device", "d"): "ab"}, ["ab"]))) == {"other_reuse", "centre"}
    assert measure(view_of({("user_agent", "u"): "ab"}, ["ab"])) == {}
    assert measure(view_of({("device", "d"): "ab"}, [])) == {}
    everything = view_of(
        {(k, "1"): "ab" for k in ("payment", "api_key", "template", "ip_range", "device")}, ["ab"],
        hours={"a": [9] * 24}, begins={"a": [1]}, limits=limits_of({"a": [0, 500], "b": [100]}, {"a": [(0, 5), (500, 501)]}),
        created_at=opened(a=1, b=2), closed_at=opened(a=4), close_reason={"a": "banned"},
        org_id={"a": "firm"}, first_seen=opened(a=1, b=5), last_seen=opened(a=3, b=6), events={"a": 3, "b": 4},
    )  # fmt: skip
    assert set(measure(everything)) == set(SIGNALS)


def test_every_signal_says_what_it_is_and_what_looks_the_same() -> None:
    assert {SIZE, *SIGNALS} == set(CUTS)
    assert len({s.title for s in SIGNALS.values()}) == len(SIGNALS)
    for name, signal in SIGNALS.items():
        assert signal.name == name
        sentence = signal.sentence(0.5, 0.004)
        shown = {"50 %", "0.4 %"} if signal.percent else {"0.5", "0.004"}
        assert all(figure in sentence for figure in shown)
        for text in (sentence, signal.look_alike, signal.definition):
            assert text.endswith(".")
            assert text[0].isupper() or text[0].isdigit()
            assert "{" not in text
            assert not {"fraud", "guilty", "criminal", "abuser"} & set(text.lower().split())
        assert "an unknown figure" in signal.sentence(0.5, NAN)


@pytest.mark.parametrize(
    ("figure", "shown"),
    [(0, "0 %"), (1, "100 %"), (0.126, "13 %"), (0.0012, "0.12 %"), (0.00001, "0.001 %"), (NAN, "an unknown figure")],
)
def test_shares_are_said_in_percent(figure: float, shown: str) -> None:
    assert SIGNALS["bans"].sentence(figure, 0.5).startswith(f"{shown} of the members were banned")


# --- the table


def test_the_table_has_a_row_for_each_cluster_a_signal_applies_to() -> None:
    measured = {
        "bans": Measured(np.array([0.75, 0.0]), 0.12345678, np.array([1.23456789e-9, np.nan])),
        "range_breadth": Measured(np.array([np.nan, 2.5]), NAN),
    }
    table = signal_table(measured, ["c-two", "c-one"])
    assert table.schema == OUTPUT["signals"].schema
    bans, breadth = SIGNALS["bans"], SIGNALS["range_breadth"]
    assert table.rows() == [
        ("c-one", "bans", 0.0, 0.123457, None, bans.sentence(0.0, 0.123457), bans.look_alike),
        ("c-one", "range_breadth", 2.5, None, None, breadth.sentence(2.5, NAN), breadth.look_alike),
        ("c-two", "bans", 0.75, 0.123457, 1.23457e-9, bans.sentence(0.75, 0.123457), bans.look_alike),
    ]


def test_the_table_has_its_columns_also_when_empty() -> None:
    for measured in ({}, {"bans": Measured(np.array([np.nan]), 0.1)}):
        table = signal_table(measured, ["c-one"])
        assert table.is_empty()
        assert table.schema == OUTPUT["signals"].schema
    assert signal_table({}, []).schema == OUTPUT["signals"].schema


# --- synchrony


def test_coincidences_are_pairs_of_beginnings_near_and_apart() -> None:
    # slots of five minutes: 100, 100, 102 make three pairs within ten minutes; 109 is 35 to 45 minutes after each
    group, slot = np.array([0, 0, 0, 0, 1]), np.array([100, 100, 102, 109, 100])
    near, apart = coincidences(group, slot, 3)
    assert near.tolist() == [3, 0, 0]
    assert apart.tolist() == [3, 0, 0]
    assert [c.tolist() for c in coincidences(group[:0], slot[:0], 2)] == [[0, 0], [0, 0]]


def test_a_timetable_gives_the_pairs_of_two_accounts_that_its_daily_moments_make() -> None:
    # a and b begin at slot 100 of ten days each: 100 pairs, 10 of them on one day; the 90 others speak for 90 / 9
    days = np.arange(10) * 288
    slot = np.concatenate([days + 100, days + 100, days + 101])
    account, group = np.repeat([0, 1, 2], 10), np.zeros(30, np.int64)
    assert timetable(group[:20], account[:20], slot[:20], np.array([10, 0]), 288).tolist() == [90 / 9, 0]
    # c begins five minutes later: 200 pairs more, 20 of them on one day
    assert timetable(group, account, slot, np.array([30]), 288).tolist() == [270 / 9]
    assert timetable(group[:3], account[:3], slot[:3], np.array([0]), 288).tolist() == [0]  # a alone
    assert timetable(group[:0], account[:0], slot[:0], np.array([0]), 288).tolist() == [0]


def test_jobs_that_start_every_day_at_the_same_minute_are_no_synchrony() -> None:
    nightly = {a: [288 * d + 24 for d in range(30)] for a in "abc"}
    found = figures("synchrony", view_of({}, ["abc"], begins=nightly))
    assert found.value[0] == pytest.approx((90 + 3) / (90 + 3), abs=0.01)


def test_a_weekly_meeting_is_no_synchrony() -> None:
    mondays = {a: [7 * 288 * w + 120 for w in range(9)] for a in "abcd"}
    found = figures("synchrony", view_of({}, ["abcd"], begins=mondays))
    # 6 pairs on each of 9 Mondays: a daily timetable of 57 days would expect 8 * 54 / 56, the weekly one all 54
    assert found.value[0] == pytest.approx((54 + 3) / (54 + 3), abs=0.01)


def test_synchrony_compares_ten_minutes_with_the_half_hour_after() -> None:
    together = {"a": [0, 100, 200], "b": [1, 100, 202]}  # three pairs at most ten minutes apart, none half an hour
    apart = {"c": [0, 100], "d": [6, 111]}  # two pairs 30 and 55 minutes apart
    found = figures("synchrony", view_of({}, ["ab", "cd", "e"], also="xy", begins={**together, **apart, "e": [5]}))
    assert same(found.value, [(3 + 3) / (0 + 3), (0 + 3) / (2 * 2.5 / 6 + 3), NAN])
    assert found.p_value is not None
    assert same(found.p_value, [(2.5 / 8.5) ** 3, 1, NAN])
    assert found.baseline == 1  # nobody outside the clusters begins anything
    assert SIGNALS["synchrony"].measure(view_of({("payment", "c"): "ab"}, ["ab"])) is None


def test_minutes_that_everybody_keeps_are_in_the_baseline_of_synchrony() -> None:
    hourly = {a: list(range(0, 240, 12)) for a in "abxyz"}
    found = figures("synchrony", view_of({}, ["ab"], begins=hourly))
    assert found.value[0] == pytest.approx((20 + 3) / 3)
    assert found.baseline == pytest.approx((3 * 20 + 3) / 3)


@given(st.integers(-2, 30), st.integers(0, 25), st.floats(0.01, 0.99))
def test_tails_are_sums_of_their_terms(least: int, number: int, share: float) -> None:
    terms = [comb(number, k) * share**k * (1 - share) ** (number - k) for k in range(max(least, 0), number + 1)]
    assert binomial_tail(np.array([least]), np.array([number]), share)[0] == pytest.approx(sum(terms), abs=1e-9)
    mean = number * share
    below = sum(exp(-mean) * mean**k / factorial(k) for k in range(max(least, 0)))
    assert poisson_tail(np.array([least]), np.array([mean]))[0] == pytest.approx(1 - below, abs=1e-9)
