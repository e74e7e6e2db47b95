"""From signals to an assessment, on two made-up hypotheses whose posterior fits on a slip of paper, and on the real ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hand import graph_of, strangers
from hydragraph import assess as module
from hydragraph.assess import (
    CALIBRATION_BITS,
    COORDINATED,
    COORDINATED_AT,
    CUTS,
    INNOCENT,
    REVIEW_AT,
    SIZE,
    SMALLEST_LEAD,
    UNKNOWN,
    Assessed,
    Hypothesis,
    assess,
)
from hydragraph.bipartite import BipartiteGraph
from hydragraph.evidence import weigh
from hydragraph.schema import ASSESSMENTS
from hydragraph.settings import Settings
from hydragraph.signals import SIGNALS, Measured, View
from hydragraph.signals.view import HOURS
from written import clusters_of

EVEN = {name: (1 / (len(cuts) + 1),) * (len(cuts) + 1) for name, cuts in CUTS.items()}


def hypothesis(name: str, prior: float, **expects: tuple[float, ...]) -> Hypothesis:
    """A hypothesis that expects nothing in particular of the signals not named."""
    return Hypothesis(name, f"a {name}", prior, {**EVEN, **expects})


def ends(signal: str, low: float, high: float) -> tuple[float, ...]:
    """Shares of the lowest and the highest level of a signal; those between have the rest, in equal parts."""
    between = len(CUTS[signal]) - 1
    return (low, *[(1 - low - high) / between] * between, high)


def view_of(*sizes: int, breaks: float = 20.0, others: int = 0) -> View:
    """Clusters of these sizes; all accounts have a card of their own, so that 2 ** prior is their number."""
    names = strangers(sum(sizes) + others)
    graph = graph_of({("payment", a): [a] for a in names})
    label = np.repeat([*range(len(sizes)), -1], [*sizes, others])
    return seen(graph, label, breaks)


def seen(graph: BipartiteGraph, label: NDArray[np.int64], breaks: float = 20.0) -> View:
    none = np.zeros(0, np.int64)
    return View(
        graph, weigh(graph, Settings()), clusters_of(label, breaks), np.zeros((0, HOURS), np.int64), none, (none, none)
    )


def measured(**signals: float | list[float]) -> dict[str, Measured]:
    """Value (or p-value, for the signals that have a test) in each cluster; the baseline is 0.1."""
    out = {}
    for name, given_ in signals.items():
        figure = np.atleast_1d(np.array(given_, float))
        tested = name in {"bans", "creation_burst", "replacement", "hand_off"}
        out[name] = Measured(np.full(len(figure), 0.5), 0.1, figure) if tested else Measured(figure, 0.1)
    return out


def judged(
    view: View,
    signals: Mapping[str, Measured],
    beyond: float | list[float] = 1.0,
    group_shares: NDArray[np.float64] | None = None,
) -> Assessed:
    return assess(view, signals, np.broadcast_to(np.array(beyond, float), view.count).copy(), group_shares)


def declare(monkeypatch: pytest.MonkeyPatch, *hypotheses: Hypothesis) -> None:
    """These are all that there are, the coordinated one first, and the score is what they say."""
    monkeypatch.setattr(module, "_HYPOTHESES", hypotheses)
    monkeypatch.setattr(module, "CALIBRATION_BITS", 0.0)


@pytest.fixture
def as_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The declared priors hold whatever the source's clusters look like."""
    monkeypatch.setattr(module, "DECLARED_CLUSTERS", 1e15)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """One ring to four clubs; a ring is banned more often, and a club pays with one card."""
    declare(
        monkeypatch,
        hypothesis("ring", 0.2, bans=ends("bans", 0.1, 0.8), one_payer=ends("one_payer", 0.8, 0.1)),
        hypothesis("club", 0.8, bans=ends("bans", 0.8, 0.1), one_payer=ends("one_payer", 0.1, 0.8)),
    )


BANNED = 10.0 ** -(CUTS["bans"][-1] + 1)
"""A p-value beyond the cut of the highest level."""


# --- hypotheses


def test_a_hypothesis_must_name_every_signal() -> None:
    expects = dict(EVEN)
    del expects["bans"]
    with pytest.raises(ValueError, match=r"hypothesis odd: expects must name the signals .*bans"):
        Hypothesis("odd", "an odd one", 0.1, expects)
    with pytest.raises(ValueError, match="must name"):
        Hypothesis("odd", "an odd one", 0.1, {**EVEN, "shoe_size": (0.5, 0.5)})


@pytest.mark.parametrize("levels", [(0.5, 0.5, 0.5), (0.2, 0.2, 0.2), (0.0, 0.5, 0.5), (-0.5, 1.0, 0.5), (0.5, 0.5)])
def test_the_levels_of_a_signal_are_shares_that_make_a_whole(levels: tuple[float, ...]) -> None:
    assert len(CUTS["one_place"]) == 2
    with pytest.raises(ValueError, match="hypothesis odd: the levels of one_place must be 3, above 0 and sum to 1"):
        hypothesis("odd", 0.1, one_place=levels)


def test_a_signal_with_three_cuts_has_four_levels() -> None:
    assert len(CUTS["synchrony"]) == 3
    with pytest.raises(ValueError, match="hypothesis odd: the levels of synchrony must be 4"):
        hypothesis("odd", 0.1, synchrony=(0.25, 0.5, 0.25))
    assert hypothesis("fine", 0.1, synchrony=(0.25, 0.25, 0.25, 0.25)).expects["synchrony"][3] == 0.25


def test_the_declared_hypotheses_are_apart_and_said_in_words() -> None:
    declared = (COORDINATED, *INNOCENT)
    assert len({h.name for h in declared}) == len({h.title for h in declared}) == len(declared)
    assert UNKNOWN not in {h.name for h in declared}
    assert all(0 < h.prior < 1 and h.title for h in declared)
    assert all(len(cuts) >= 2 and list(cuts) == sorted(set(cuts)) for cuts in CUTS.values())


# --- the posterior


@pytest.mark.usefixtures("two", "as_declared")
def test_the_score_is_the_posterior_of_the_coordinated_hypothesis() -> None:
    # bans high: 0.8 against 0.1, one payer low: 0.8 against 0.1, a size of 20 the same for both: odds 1/4 * 64
    odds = 0.2 / 0.8 * 64
    found = judged(view_of(20), measured(bans=BANNED, one_payer=0.0))
    assert found.score.tolist() == [round(odds / (1 + odds), 4)]
    # one payer high: the two signals cancel, and the prior stays
    found = judged(view_of(20), measured(bans=BANNED, one_payer=1.0))
    assert found.score.tolist() == [0.2]
    # both against: 1/4 / 64
    odds = 0.2 / 0.8 / 64
    found = judged(view_of(20), measured(bans=1.0, one_payer=1.0))
    assert found.score.tolist() == [round(odds / (1 + odds), 4)]
    assert found.assessment == ["explained"]
    assert found.hypothesis == ["club"]


@pytest.mark.usefixtures("two")
def test_a_signal_that_does_not_apply_changes_nothing() -> None:
    alone = judged(view_of(20), measured(bans=BANNED))
    with_nan = judged(view_of(20), measured(bans=BANNED, one_payer=float("nan")))
    assert with_nan.score.tolist() == alone.score.tolist()


@pytest.mark.usefixtures("two")
def test_the_shares_of_the_hypotheses_are_those_of_the_source() -> None:
    # declared: one ring to four clubs, worth 50 clusters. Thirty clusters are surely rings, and none is a club
    sure = judged(view_of(*[20] * 30), measured(bans=[BANNED] * 30, one_payer=[0.0] * 30))
    ring, posterior = 0.2, 0.0
    for _ in range(200):  # one equation with one unknown: ring = (30 * posterior + 50 * 0.2) / 80
        posterior = 64 * ring / (64 * ring + 1 - ring)
        ring = (30 * posterior + 10) / 80
    assert sure.shares == pytest.approx({"ring": ring, "club": 1 - ring}, abs=1e-4)
    assert sure.score.tolist() == pytest.approx([posterior] * 30, abs=1e-4)
    # the same cluster among thirty clubs says less than alone
    clubs = measured(bans=[BANNED] + [1.0] * 30, one_payer=[0.0] + [1.0] * 30)
    among_clubs = judged(view_of(*[20] * 31), clubs)
    assert among_clubs.score[0] < judged(view_of(20), measured(bans=BANNED, one_payer=0.0)).score[0]
    assert among_clubs.shares["ring"] < 0.2


@pytest.mark.usefixtures("as_declared")
@pytest.mark.parametrize("signal", sorted(set(CUTS) - {SIZE}))
def test_levels_begin_at_their_cuts(monkeypatch: pytest.MonkeyPatch, signal: str) -> None:
    cuts = CUTS[signal]
    # the first level is a tenth of the last in rings, and so on evenly; in clubs all are the same
    rising = np.linspace(1, 10, len(cuts) + 1) / np.linspace(1, 10, len(cuts) + 1).sum()
    declare(monkeypatch, hypothesis("ring", 0.5, **{signal: tuple(rising)}), hypothesis("club", 0.5))
    monkeypatch.setattr(module, "_DISCERNING", frozenset({signal}))
    values = np.array([cut * side for cut in cuts for side in (0.999, 1.0)])
    number = len(values)
    if signal in {"bans", "creation_burst", "replacement", "hand_off"}:
        given_ = Measured(np.full(number, 0.5), 0.1, 10.0 ** -(values + 1e-9))
    elif signal in {"range_breadth", "synchrony"}:
        given_ = Measured(values * 4, 4.0)
    else:
        given_ = Measured(values, 0.1)
    found = judged(view_of(*[10] * number), {signal: given_})
    # just below each cut, and on it
    level = [k + side for k in range(len(cuts)) for side in (0, 1)]
    odds = [rising[k] * (len(cuts) + 1) for k in level]
    assert found.score.tolist() == [pytest.approx(o / (1 + o), abs=1e-4) for o in odds]


@pytest.mark.usefixtures("as_declared")
def test_the_real_hypotheses_are_weighed_as_the_formula_says() -> None:
    # a cluster of 50: all pay with shared instruments, from no one place, and all were banned
    signals = measured(payment_reuse=1.0, one_place=0.0, bans=BANNED)
    levels = {SIZE: sum(cut <= 50 for cut in CUTS[SIZE]), "payment_reuse": 2, "one_place": 0, "bans": len(CUTS["bans"])}
    weight = [h.prior * np.prod([h.expects[s][k] for s, k in levels.items()]) for h in (COORDINATED, *INNOCENT)]
    weight[0] *= 2**CALIBRATION_BITS
    found = judged(view_of(50), signals)
    assert found.score.tolist() == [pytest.approx(weight[0] / sum(weight), abs=1e-4)]
    assert found.hypothesis == [INNOCENT[int(np.argmax(weight[1:]))].name]


@pytest.mark.usefixtures("two", "as_declared")
def test_calibration_adds_its_bits_to_the_odds_and_leaves_the_shares_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CALIBRATION_BITS", 3.0)
    found = judged(
        view_of(20), measured(bans=BANNED, one_payer=1.0)
    )  # the two signals cancel: one to four, times eight
    assert found.score.tolist() == [pytest.approx(2 / 3, abs=1e-4)]
    assert found.shares == {"ring": 0.2, "club": 0.8}


@pytest.mark.usefixtures("two")
def test_calibration_does_not_make_rings_more_common(monkeypatch: pytest.MonkeyPatch) -> None:
    views = view_of(*[20] * 30), measured(bans=[BANNED] * 30, one_payer=[1.0] * 30)
    before = judged(*views).shares
    monkeypatch.setattr(module, "CALIBRATION_BITS", 3.0)
    assert judged(*views).shares == before


def test_who_sends_what_one_tool_sends_and_has_nothing_else_in_common_may_be_its_customers() -> None:
    # all send one template, from everywhere, each on an account of their own; nobody banned, nothing in step
    signals = measured(template_reuse=1.0, payment_reuse=0.0, one_place=0.0, one_payer=0.1, bans=1.0, range_reuse=0.0)
    found = judged(view_of(20), signals)
    assert found.hypothesis == ["shared_tool"]
    assert found.assessment != ["coordinated"]


# --- what can never be said


@pytest.fixture
def clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bans leave no doubt."""
    declare(
        monkeypatch,
        hypothesis("ring", 0.5, bans=ends("bans", 0.0005, 0.999)),
        hypothesis("club", 0.5, bans=ends("bans", 0.999, 0.0005)),
    )


@pytest.mark.usefixtures("clear")
def test_fewer_than_three_accounts_are_never_coordinated() -> None:
    assert SMALLEST_LEAD == 3
    found = judged(view_of(2, 3), measured(bans=[BANNED, BANNED]))
    assert found.score[0] == found.score[1] > COORDINATED_AT
    assert found.assessment == ["review", "coordinated"]


@pytest.mark.usefixtures("clear")
def test_the_score_is_the_posterior_times_what_chance_does_not_explain() -> None:
    # four clusters alike; chance gives as many as the last three: none, one for nine, one for one, nine for one
    found = judged(view_of(5, 5, 5, 5), measured(bans=[BANNED] * 4), [1, 0.95, 0.5, 0.1])
    sure = float(found.score[0])
    assert sure > 0.99
    assert found.score.tolist() == pytest.approx([sure, 0.95 * sure, 0.5 * sure, 0.1 * sure], abs=1e-4)
    assert REVIEW_AT < 0.5
    assert found.assessment == ["coordinated", "coordinated", "review", "explained"]


@pytest.mark.usefixtures("two", "as_declared")
def test_groups_have_shares_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    # two clusters alike, of which the second is held by no tie; among groups one in two is a ring, among others one in five
    view = view_of(20, 20)
    strength = np.array([20.0, 0.0])
    view = replace(view, clusters=replace(view.clusters, strength=strength))
    signals = measured(bans=[BANNED] * 2, one_payer=[1.0] * 2)
    assert judged(view, signals, group_shares=np.array([0.5, 0.5])).score.tolist() == [0.2, 0.5]
    # without groups a strength of 0 says nothing
    assert judged(view, signals).score.tolist() == [0.2, 0.2]


@pytest.mark.usefixtures("two")
def test_groups_do_not_change_the_shares_of_others() -> None:
    # one cluster held by ties among thirty groups that all look like rings
    view = view_of(*[20] * 31)
    view = replace(view, clusters=replace(view.clusters, strength=np.array([20.0] + [0.0] * 30)))
    signals = measured(bans=[1.0] + [BANNED] * 30, one_payer=[1.0] + [0.0] * 30)
    alone = judged(view_of(20), measured(bans=1.0, one_payer=1.0))
    assert judged(view, signals, group_shares=np.array([0.5, 0.5])).shares == alone.shares


share = st.floats(0, 1) | st.just(float("nan"))
SHARES = sorted(set(CUTS) - {SIZE, "bans", "creation_burst", "replacement", "hand_off", "range_breadth"})


@example_settings(max_examples=60, deadline=None)
@given(
    shares=st.fixed_dictionaries({}, optional=dict.fromkeys(SHARES, share)),
    tested=st.fixed_dictionaries(
        {}, optional={s: st.floats(0, 1) for s in ("bans", "creation_burst", "replacement", "hand_off")}
    ),
    size=st.integers(2, 60),
    beyond=st.floats(0, 1),
)
def test_whatever_was_measured(shares: dict[str, float], tested: dict[str, float], size: int, beyond: float) -> None:
    found = judged(view_of(size, breaks=30), measured(**shares, **tested), beyond)
    score, said = float(found.score[0]), found.assessment[0]
    assert 0 <= score <= 1
    assert said in ASSESSMENTS
    assert len(found.explanation[0]) >= 20
    assert str(size) in found.explanation[0]
    if said == "coordinated":
        assert score >= COORDINATED_AT
        assert size >= SMALLEST_LEAD
        assert beyond >= COORDINATED_AT - 1e-4
    if score < REVIEW_AT and found.hypothesis[0] != UNKNOWN:
        assert said == "explained"
    assert found.hypothesis[0] in {UNKNOWN, *(h.name for h in INNOCENT)}


# --- where nothing discerns


def test_a_source_that_cannot_tell_says_so_and_leaves_it_to_a_person() -> None:
    # 2^10 accounts, held by 13 bits: half of 1 - 2^(10 - 13)
    view = view_of(40, 2, breaks=13.0, others=1024 - 42)
    found = judged(view, measured(payment_reuse=[1.0, 1.0], template_reuse=[1.0, 0.0]))
    assert found.hypothesis == [UNKNOWN, UNKNOWN]
    assert found.assessment == ["review", "review"]
    assert found.score.tolist() == [0.5 * (1 - 1 / 8)] * 2
    assert found.explanation[0].startswith("40 accounts share ")
    assert "a person has to look" in found.explanation[0]
    assert found.against == ["", ""]


def test_one_cluster_may_be_discerned_and_another_not() -> None:
    found = judged(view_of(10, 10), measured(one_place=[1.0, float("nan")], payment_reuse=[1.0, 1.0]))
    assert found.hypothesis[0] != UNKNOWN
    assert found.hypothesis[1] == UNKNOWN


# --- sentences


def said(name: str, signals: Mapping[str, Measured], i: int = 0) -> str:
    return SIGNALS[name].sentence(float(signals[name].value[i]), signals[name].baseline)


@pytest.mark.usefixtures("clear")
def test_the_sentence_why_is_made_of_the_signals_that_speak_for_it() -> None:
    signals = measured(bans=BANNED, one_place=1.0)
    found = judged(view_of(7), signals)
    assert found.assessment == ["coordinated"]
    assert found.explanation[0].startswith("7 accounts share ")
    assert found.explanation[0].endswith(f". {said('bans', signals)}")
    assert found.against == [""]


@pytest.mark.usefixtures("two")
def test_a_lead_to_review_says_what_speaks_for_it_what_against_and_what_else_it_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "REVIEW_AT", 0.1)  # the score is that of one ring to four clubs
    signals = measured(bans=BANNED, one_payer=1.0)
    found = judged(view_of(7), signals)
    assert found.assessment == ["review"]
    assert found.explanation[0].startswith("7 accounts share ")
    assert said("bans", signals) in found.explanation[0]
    assert "a club" in found.explanation[0]
    assert found.against == [said("one_payer", signals)]


@pytest.mark.usefixtures("two")
def test_an_explained_cluster_says_what_it_looks_like() -> None:
    signals = measured(bans=1.0, one_payer=1.0)
    found = judged(view_of(7), signals)
    assert found.assessment == ["explained"]
    assert found.explanation[0].startswith("Looks like a club")
    assert "7 accounts share " in found.explanation[0]
    # what is there comes before what is missing
    there, missing = (found.explanation[0].index(said(s, signals)) for s in ("one_payer", "bans"))
    assert there < missing
    assert found.against == [""]


def test_what_the_members_share_comes_first_most_telling_first() -> None:
    members, crowd = strangers(4), [f"other-{i}" for i in range(20)]
    uses = {
        ("ip_range", "own"): members, ("ip_range", "carrier"): [*members, *crowd], ("tls", "browser"): [*members, *crowd],
        ("payment", "p"): members[:2], ("payment", "q"): members[2:], ("payment", "r"): [members[0], *crowd],
        ("device", "d"): [*members[:2], *crowd], ("email", "e"): [members[0]],
    }  # fmt: skip
    graph = graph_of(uses)
    label = np.array([0 if a in members else -1 for a in graph.accounts["account_id"]])
    found = judged(seen(graph, label), {})
    # of address ranges and handshakes only those that the members mostly have for themselves
    assert found.explanation[0].startswith("4 accounts share 2 payment instruments, 1 device and 1 address range. ")


def test_no_clusters_are_no_judgements() -> None:
    found: Any = judged(view_of(others=4), {})
    assert (found.score.tolist(), found.assessment, found.hypothesis, found.explanation, found.against) == (
        [], [], [], [], [],
    )  # fmt: skip
