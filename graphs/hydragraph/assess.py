"""From signals to an assessment: one coordinated hypothesis against innocent ones, and the sentence why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hydragraph.identifiers import is_circumstantial
from hydragraph.identifiers import kind as kind_of
from hydragraph.runs import changes
from hydragraph.signals import SIGNALS, Measured, View

Levels = tuple[float, ...]
"""Shares of the levels of a signal, the lowest first; one more than the signal has cuts."""

SIZE = "size"

CUTS: dict[str, tuple[float, ...]] = {
    SIZE: (7, 41),
    "payment_reuse": (0.2, 0.7),
    "key_sharing": (0.1, 0.5),
    "template_reuse": (0.1, 0.5),
    "range_reuse": (0.3, 0.8),
    "other_reuse": (0.1, 0.5),
    "one_place": (0.25, 0.5),
    "one_payer": (0.4, 0.8),
    "one_organisation": (0.2, 0.6),
    "round_the_clock": (0.18, 0.5),
    "range_breadth": (1.2, 2.0, 5.0),
    "bans": (1.3, 4.0, 10.0),
    "creation_burst": (2.0, 5.0),
    "replacement": (1.3, 3.0),
    "hand_off": (1.3, 4.0),
    "even_load": (0.65, 0.8),
    "synchrony": (1.5, 3.0, 10.0),
    "centre": (0.25, 0.5),
}
"""Where the levels of a signal above the lowest begin: of its value; of value / baseline for range_breadth and synchrony;
of -log10 p for bans, creation_burst, replacement and hand_off."""

_RELATIVE = frozenset({"range_breadth", "synchrony"})
_TESTED = frozenset({"bans", "creation_burst", "replacement", "hand_off"})

_DISCERNING = frozenset({
    "one_place", "one_payer", "one_organisation", "round_the_clock", "bans", "creation_burst", "replacement",
    "hand_off", "synchrony",
})  # fmt: skip
"""Signals that can tell an innocent group from one controller; without any of them a person has to."""


@dataclass(frozen=True)
class Hypothesis:
    """A way in which a cluster can come about.

    name: as in clusters.parquet. title: for sentences ("an office"). prior: how common it is among clusters.
    expects: for every signal of CUTS how often a cluster of this kind shows each of its levels, the lowest first; they
    sum to 1.
    """

    name: str
    title: str
    prior: float
    expects: Mapping[str, Levels]

    def __post_init__(self) -> None:
        if set(self.expects) != set(CUTS):
            raise ValueError(f"hypothesis {self.name}: expects must name the signals {', '.join(sorted(CUTS))}")
        for signal, levels in self.expects.items():
            number = len(CUTS[signal]) + 1
            if len(levels) != number or abs(sum(levels) - 1) > 1e-9 or min(levels) <= 0:
                raise ValueError(
                    f"hypothesis {self.name}: the levels of {signal} must be {number}, above 0 and sum to 1"
                )


COORDINATED = Hypothesis(
    "coordinated", "one controller behind accounts that look independent", 0.06,
    {
        SIZE: (0.4, 0.42, 0.18),
        "payment_reuse": (0.3, 0.1, 0.6),
        "key_sharing": (0.84, 0.05, 0.11),
        "template_reuse": (0.34, 0.05, 0.61),
        "range_reuse": (0.47, 0.2, 0.33),
        "other_reuse": (0.27, 0.1, 0.63),
        "one_place": (0.66, 0.22, 0.12),
        "one_payer": (0.6, 0.2, 0.2),
        "one_organisation": (0.95, 0.04, 0.01),
        "round_the_clock": (0.38, 0.47, 0.15),
        "range_breadth": (0.22, 0.23, 0.32, 0.23),
        "bans": (0.42, 0.2, 0.2, 0.18),
        "creation_burst": (0.56, 0.17, 0.27),
        "replacement": (0.5, 0.18, 0.32),
        "hand_off": (0.7, 0.1, 0.2),
        "even_load": (0.22, 0.2, 0.58),
        "synchrony": (0.6, 0.16, 0.1, 0.14),
        "centre": (0.08, 0.13, 0.79),
    },
)  # fmt: skip

INNOCENT: tuple[Hypothesis, ...] = (
    Hypothesis(
        "household", "a household, or one person with several accounts", 0.6,
        {
            SIZE: (0.98, 0.019, 0.001),
            "payment_reuse": (0.15, 0.05, 0.8),
            "key_sharing": (0.93, 0.01, 0.06),
            "template_reuse": (0.62, 0.01, 0.37),
            "range_reuse": (0.55, 0.1, 0.35),
            "other_reuse": (0.55, 0.01, 0.44),
            "one_place": (0.05, 0.25, 0.7),
            "one_payer": (0.12, 0.15, 0.73),
            "one_organisation": (0.75, 0.02, 0.23),
            "round_the_clock": (0.75, 0.15, 0.1),
            "range_breadth": (0.8, 0.17, 0.025, 0.005),
            "bans": (0.98, 0.015, 0.0045, 0.0005),
            "creation_burst": (0.93, 0.055, 0.015),
            "replacement": (0.85, 0.12, 0.03),
            "hand_off": (0.9, 0.06, 0.04),
            "even_load": (0.7, 0.2, 0.1),
            "synchrony": (0.95, 0.025, 0.015, 0.01),
            "centre": (0.001, 0.009, 0.99),
        },
    ),
    Hypothesis(
        "organisation", "an office or firm", 0.25,
        {
            SIZE: (0.5, 0.45, 0.05),
            "payment_reuse": (0.3, 0.05, 0.65),
            "key_sharing": (0.85, 0.1, 0.05),
            "template_reuse": (0.25, 0.05, 0.7),
            "range_reuse": (0.4, 0.25, 0.35),
            "other_reuse": (0.5, 0.2, 0.3),
            "one_place": (0.15, 0.35, 0.5),
            "one_payer": (0.35, 0.1, 0.55),
            "one_organisation": (0.55, 0.05, 0.4),
            "round_the_clock": (0.7, 0.22, 0.08),
            "range_breadth": (0.8, 0.16, 0.035, 0.005),
            "bans": (0.97, 0.02, 0.009, 0.001),
            "creation_burst": (0.75, 0.05, 0.2),
            "replacement": (0.8, 0.17, 0.03),
            "hand_off": (0.93, 0.05, 0.02),
            "even_load": (0.8, 0.13, 0.07),
            "synchrony": (0.93, 0.04, 0.02, 0.01),
            "centre": (0.005, 0.03, 0.965),
        },
    ),
    Hypothesis(
        "agency", "an agency with its clients' accounts", 0.05,
        {
            SIZE: (0.4, 0.5, 0.1),
            "payment_reuse": (0.4, 0.1, 0.5),
            "key_sharing": (0.93, 0.05, 0.02),
            "template_reuse": (0.3, 0.1, 0.6),
            "range_reuse": (0.5, 0.15, 0.35),
            "other_reuse": (0.4, 0.2, 0.4),
            "one_place": (0.08, 0.2, 0.72),
            "one_payer": (0.5, 0.15, 0.35),
            "one_organisation": (0.8, 0.15, 0.05),
            "round_the_clock": (0.85, 0.12, 0.03),
            "range_breadth": (0.8, 0.16, 0.035, 0.005),
            "bans": (0.97, 0.02, 0.009, 0.001),
            "creation_burst": (0.75, 0.15, 0.1),
            "replacement": (0.85, 0.13, 0.02),
            "hand_off": (0.94, 0.04, 0.02),
            "even_load": (0.8, 0.13, 0.07),
            "synchrony": (0.93, 0.05, 0.015, 0.005),
            "centre": (0.005, 0.03, 0.965),
        },
    ),
    Hypothesis(
        "event", "a course, hackathon or onboarding day", 0.02,
        {
            SIZE: (0.1, 0.6, 0.3),
            "payment_reuse": (0.85, 0.05, 0.1),
            "key_sharing": (0.95, 0.03, 0.02),
            "template_reuse": (0.1, 0.05, 0.85),
            "range_reuse": (0.2, 0.1, 0.7),
            "other_reuse": (0.6, 0.1, 0.3),
            "one_place": (0.2, 0.3, 0.5),
            "one_payer": (0.75, 0.05, 0.2),
            "one_organisation": (0.85, 0.05, 0.1),
            "round_the_clock": (0.6, 0.3, 0.1),
            "range_breadth": (0.75, 0.2, 0.045, 0.005),
            "bans": (0.97, 0.02, 0.009, 0.001),
            "creation_burst": (0.1, 0.1, 0.8),
            "replacement": (0.9, 0.08, 0.02),
            "hand_off": (0.94, 0.04, 0.02),
            "even_load": (0.65, 0.25, 0.1),
            "synchrony": (0.6, 0.2, 0.15, 0.05),
            "centre": (0.01, 0.05, 0.94),
        },
    ),
    Hypothesis(
        "shared_network", "strangers behind one carrier, campus, VPN or billing service", 0.04,
        {
            SIZE: (0.4, 0.4, 0.2),
            "payment_reuse": (0.7, 0.1, 0.2),
            "key_sharing": (0.99, 0.008, 0.002),
            "template_reuse": (0.8, 0.1, 0.1),
            "range_reuse": (0.7, 0.15, 0.15),
            "other_reuse": (0.9, 0.07, 0.03),
            "one_place": (0.4, 0.35, 0.25),
            "one_payer": (0.55, 0.2, 0.25),
            "one_organisation": (0.96, 0.03, 0.01),
            "round_the_clock": (0.8, 0.15, 0.05),
            "range_breadth": (0.5, 0.35, 0.13, 0.02),
            "bans": (0.95, 0.04, 0.009, 0.001),
            "creation_burst": (0.92, 0.06, 0.02),
            "replacement": (0.9, 0.08, 0.02),
            "hand_off": (0.95, 0.04, 0.01),
            "even_load": (0.85, 0.1, 0.05),
            "synchrony": (0.95, 0.04, 0.007, 0.003),
            "centre": (0.02, 0.08, 0.9),
        },
    ),
    Hypothesis(
        "build_jobs", "automated jobs of one firm", 0.03,
        {
            SIZE: (0.35, 0.6, 0.05),
            "payment_reuse": (0.3, 0.05, 0.65),
            "key_sharing": (0.7, 0.1, 0.2),
            "template_reuse": (0.1, 0.05, 0.85),
            "range_reuse": (0.5, 0.1, 0.4),
            "other_reuse": (0.5, 0.2, 0.3),
            "one_place": (0.3, 0.3, 0.4),
            "one_payer": (0.35, 0.05, 0.6),
            "one_organisation": (0.4, 0.1, 0.5),
            "round_the_clock": (0.4, 0.5, 0.1),
            "range_breadth": (0.15, 0.4, 0.35, 0.1),
            "bans": (0.97, 0.02, 0.009, 0.001),
            "creation_burst": (0.85, 0.1, 0.05),
            "replacement": (0.95, 0.04, 0.01),
            "hand_off": (0.8, 0.1, 0.1),
            "even_load": (0.5, 0.2, 0.3),
            "synchrony": (0.3, 0.2, 0.3, 0.2),
            "centre": (0.01, 0.04, 0.95),
        },
    ),
    Hypothesis(
        "shared_tool", "customers of one tool or vendor", 0.01,
        {
            SIZE: (0.4, 0.45, 0.15),
            "payment_reuse": (0.9, 0.05, 0.05),
            "key_sharing": (0.96, 0.02, 0.02),
            "template_reuse": (0.01, 0.02, 0.97),
            "range_reuse": (0.5, 0.1, 0.4),
            "other_reuse": (0.85, 0.05, 0.1),
            "one_place": (0.6, 0.2, 0.2),
            "one_payer": (0.85, 0.05, 0.1),
            "one_organisation": (0.96, 0.03, 0.01),
            "round_the_clock": (0.45, 0.4, 0.15),
            "range_breadth": (0.6, 0.25, 0.12, 0.03),
            "bans": (0.95, 0.04, 0.009, 0.001),
            "creation_burst": (0.85, 0.07, 0.08),
            "replacement": (0.9, 0.08, 0.02),
            "hand_off": (0.95, 0.04, 0.01),
            "even_load": (0.6, 0.2, 0.2),
            "synchrony": (0.45, 0.2, 0.2, 0.15),
            "centre": (0.2, 0.1, 0.7),
        },
    ),
)  # fmt: skip

_HYPOTHESES = (COORDINATED, *INNOCENT)

NOTHING_OF_THEIRS = "identifiers that others use as well"
"""What is said of members who share nothing that is mostly theirs."""

UNKNOWN = "unknown"

DECLARED_CLUSTERS = 50.0
"""How many clusters the declared priors count for when the source's own shares of the hypotheses are estimated."""

CALIBRATION_BITS = 1.5
"""Added to the log-odds of the coordinated hypothesis. What a ring does not show is counted as if each signal were
missing on its own, which takes away too much: on worlds of four makers as many clusters are rings as the score says
once this is given back (docs/quality.md)."""

COORDINATED_AT = 0.9
REVIEW_AT = 0.3
SMALLEST_LEAD = 3
_REASONS = 3
_KINDS_NAMED = 4
_SPEAKS = 0.5
_ROUNDS = 20


@dataclass(frozen=True)
class Assessed:
    """The judgement of each cluster; every array or list has one entry a cluster.

    score: probability of the coordinated hypothesis, and of no accident. assessment, hypothesis (the best innocent one),
    explanation (the sentence why), against (what speaks against it). shares: of each hypothesis among the clusters of this
    source.
    """

    score: NDArray[np.float64]
    assessment: list[str]
    hypothesis: list[str]
    explanation: list[str]
    against: list[str]
    shares: dict[str, float]


def assess(
    view: View,
    measured: Mapping[str, Measured],
    beyond: NDArray[np.float64],
    group_shares: NDArray[np.float64] | None = None,
) -> Assessed:
    """Weigh the coordinated hypothesis against every innocent one.

    L(h) = 2^c(h) * share(h) * product over signals of P(level of the signal | h)
    score = beyond * L(coordinated) / sum over h of L(h)

    c: CALIBRATION_BITS for the coordinated hypothesis, 0 for all others. beyond: the share of clusters of its size and
    strength that chance does not explain (chance.py, groups.py), shape (clusters,). group_shares: the shares of the
    hypotheses among groups (groups.py), which hold for clusters that are groups; None: there are no groups.

    share(h), how common the hypothesis is among the clusters of this source, is estimated by expectation-maximisation:
    share(h) = (sum over clusters of P(h | its signals) + 50 * declared prior(h)) / (clusters + 50), 20 rounds from the
    declared priors, with c = 0. So the same figures mean less in a source where nothing else looks coordinated.

    coordinated: score of at least COORDINATED_AT and at least three accounts; review: score of at least REVIEW_AT;
    explained otherwise, with the innocent hypothesis that fits best. Where none of the signals applies that can tell
    innocent groups from one controller (a source with bare links), the hypothesis is `unknown`, the score
    0.5 * (1 - 2^(log2 N - bits)), at least 0, and the assessment review: a person has to look.
    Not checked: hypotheses nobody declared; whether signals are independent given the hypothesis, which the product takes
    them to be.
    """
    hypotheses = _HYPOTHESES
    levels = _levels(view, measured)
    by_signal = _by_signal(levels)
    likelihood, discerned = _combined(view.count, levels, by_signal)
    loose = np.zeros(view.count, bool) if group_shares is None else view.clusters.loose
    shares = estimated_shares(likelihood[discerned & ~loose])
    probable = posterior(likelihood, shares if group_shares is None else np.where(loose[:, None], group_shares, shares))
    score = np.round(beyond * probable[:, 0], 4)
    best = 1 + np.argmax(probable[:, 1:], axis=1) if view.count else np.zeros(0, np.int64)
    bare = np.maximum(0.5 * (1 - np.exp2(view.evidence.prior - view.clusters.breaks)), 0.0).round(4)
    score = np.where(discerned, score, bare)
    tied = _tied_by(view)
    assessment, explanation, against = [], [], []
    for i in range(view.count):
        if not discerned[i]:
            assessment.append("review")
            explanation.append(
                f"{tied[i]} Nothing in this source can tell an innocent group from one controller, so a person has to look."
            )
            against.append("")
            continue
        innocent = hypotheses[int(best[i])]
        said = _assessment(float(score[i]), int(view.size[i]))
        leaning = {s: float(table[i, 0] - table[i, best[i]]) for s, table in by_signal.items() if s in SIGNALS}
        speaks_for = _sentences(measured, levels, leaning, i, positive=True)
        speaks_against = _sentences(measured, levels, leaning, i, positive=False)
        if said == "explained":
            why, other = [f"Looks like {innocent.title}: {_uncapitalised(tied[i])}", *speaks_against], speaks_for
        elif said == "review":
            why, other = [tied[i], *speaks_for, f"It may also be {innocent.title}."], speaks_against
        else:
            why, other = [tied[i], *speaks_for], speaks_against
        assessment.append(said)
        explanation.append(" ".join(why))
        against.append(" ".join(other))
    named = [hypotheses[int(b)].name if d else UNKNOWN for b, d in zip(best, discerned, strict=True)]
    found = {h.name: round(float(share), 4) for h, share in zip(hypotheses, shares, strict=True)}
    return Assessed(score, assessment, named, explanation, against, found)


def likelihoods(view: View, measured: Mapping[str, Measured]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """log2 P(signals | hypothesis) for each cluster (rows) and hypothesis (columns, the coordinated one first), and whether
    any signal that can tell innocent groups from one controller applies to the cluster."""
    levels = _levels(view, measured)
    return _combined(view.count, levels, _by_signal(levels))


def _combined(
    count: int, levels: Mapping[str, NDArray[np.int64]], by_signal: Mapping[str, NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    found = sum(by_signal.values(), np.zeros((count, len(_HYPOTHESES))))
    discerned = np.zeros(count, bool)
    for signal in _DISCERNING & set(levels):
        discerned |= levels[signal] >= 0
    return found, discerned


def _by_signal(levels: Mapping[str, NDArray[np.int64]]) -> dict[str, NDArray[np.float64]]:
    return {s: np.stack([_log_likelihood(h, s, level) for h in _HYPOTHESES], axis=1) for s, level in levels.items()}


def posterior(likelihood: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability of each hypothesis (columns) for each cluster (rows), from log2 likelihoods, calibrated."""
    calibrated = likelihood.copy()
    calibrated[:, 0] += CALIBRATION_BITS
    return _posterior(calibrated, shares)


def _posterior(likelihood: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability of each hypothesis (columns) for each cluster (rows), from log2 likelihoods."""
    weight = np.exp2(likelihood - likelihood.max(axis=1, keepdims=True, initial=-np.inf)) * shares
    found: NDArray[np.float64] = weight / weight.sum(axis=1, keepdims=True)
    return found


def estimated_shares(likelihood: NDArray[np.float64]) -> NDArray[np.float64]:
    """How common each hypothesis is in this source, by expectation-maximisation from the declared priors."""
    declared = np.array([h.prior for h in _HYPOTHESES])
    declared = declared / declared.sum()
    shares = declared
    for _ in range(_ROUNDS):
        expected = _posterior(likelihood, shares).sum(axis=0) + DECLARED_CLUSTERS * declared
        shares = expected / (len(likelihood) + DECLARED_CLUSTERS)
    found: NDArray[np.float64] = shares
    return found


def _tied_by(view: View) -> list[str]:
    """One sentence a cluster: how many identifiers of which kinds its members share, those that tell most first.

    Of circumstantial kinds, and of any kind where others do not remain, only identifiers count whose users are mostly
    members.
    """
    use = view.use
    kinds = len(view.graph.kinds)
    order = np.lexsort((use.identifier, use.cluster))
    first = changes(use.cluster[order], use.identifier[order])
    entry = order[first]
    around = np.array([is_circumstantial(k) for k in view.graph.kinds], bool)[use.kind[entry]]
    counted = (use.inside[entry] > 1) & (~around | (2 * use.inside[entry] >= use.users[entry]))
    cell = use.cluster[entry[counted]] * kinds + use.kind[entry[counted]]
    number = np.bincount(cell, minlength=view.count * kinds).reshape(view.count, kinds)
    known = [kind_of(k) for k in view.graph.kinds]
    rank = sorted(range(kinds), key=lambda k: (known[k].chance_bits, view.graph.kinds[k]))
    sentences = []
    for size, row in zip(view.size.tolist(), number.tolist(), strict=True):
        parts = [known[k].counted(row[k]) for k in rank if row[k]][:_KINDS_NAMED]
        joined = " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
        sentences.append(f"{size} accounts share {joined or NOTHING_OF_THEIRS}.")
    return sentences


def _uncapitalised(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _assessment(score: float, size: int) -> str:
    if score >= COORDINATED_AT and size >= SMALLEST_LEAD:
        return "coordinated"
    return "review" if score >= REVIEW_AT else "explained"


def _levels(view: View, measured: Mapping[str, Measured]) -> dict[str, NDArray[np.int64]]:
    """Level of each signal, 0 the lowest, -1 where it does not apply; shape (clusters,) each."""
    figures = {SIZE: view.size.astype(np.float64)}
    for name, m in measured.items():
        if name in _TESTED and m.p_value is not None:
            figures[name] = -np.log10(np.maximum(m.p_value, 1e-300))
        elif name in _RELATIVE:
            figures[name] = m.value / m.baseline if m.baseline > 0 else np.full(view.count, np.nan)
        else:
            figures[name] = m.value
    out = {}
    for name, figure in figures.items():
        level = np.searchsorted(CUTS[name], figure, "right")
        out[name] = np.where(np.isnan(figure), -1, level)
    return out


def _log_likelihood(hypothesis: Hypothesis, signal: str, level: NDArray[np.int64]) -> NDArray[np.float64]:
    # level -1, does not apply, reads the last entry: likelihood 1
    by_level: NDArray[np.float64] = np.log2(np.array([*hypothesis.expects[signal], 1.0]))
    return by_level[level]


def _sentences(
    measured: Mapping[str, Measured],
    levels: Mapping[str, NDArray[np.int64]],
    leaning: Mapping[str, float],
    i: int,
    *,
    positive: bool,
) -> list[str]:
    """The sentences of the signals that speak most for (or against) coordination, strongest first.

    What is there comes before what is missing: a signal at its low level is named only after those that are raised.
    """
    sign = 1 if positive else -1
    speaking = [s for s in leaning if sign * leaning[s] > _SPEAKS]
    ranked = sorted(speaking, key=lambda s: (levels[s][i] == 0, -sign * leaning[s], s))
    return [SIGNALS[s].sentence(float(measured[s].value[i]), measured[s].baseline) for s in ranked[:_REASONS]]
