"""From signals to an assessment: one coordinated hypothesis against innocent ones, and the sentence why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hydragraph.signals import SIGNALS, Measured, View

Levels = tuple[float, float, float]


@dataclass(frozen=True)
class Hypothesis:
    """A way in which a cluster can come about.

    name: as in clusters.parquet. title: for sentences ("an office"). prior: how common it is among clusters.
    expects: for each signal how often a cluster of this kind shows a low, middle and high level; the three sum to 1.
    A signal that is not named says nothing about the hypothesis (its levels are equally likely).
    """

    name: str
    title: str
    prior: float
    expects: Mapping[str, Levels]


SIZE = "size"

CUTS: dict[str, tuple[float, float]] = {
    SIZE: (7, 41),
    "payment_reuse": (0.2, 0.7),
    "key_sharing": (0.1, 0.5),
    "template_reuse": (0.1, 0.5),
    "range_reuse": (0.3, 0.8),
    "one_place": (0.4, 0.8),
    "one_payer": (0.35, 0.8),
    "one_organisation": (0.2, 0.6),
    "round_the_clock": (0.45, 0.7),
    "range_breadth": (1.2, 2.0),
    "bans": (2.0, 5.0),
    "creation_burst": (2.0, 5.0),
    "replacement": (1.3, 3.0),
    "even_load": (0.5, 0.75),
}
"""Where a signal's middle and high level begin: of its value; of value / baseline for range_breadth; of -log10 p for
the three signals with a test."""

_RELATIVE = frozenset({"range_breadth"})
_TESTED = frozenset({"bans", "creation_burst", "replacement"})

COORDINATED = Hypothesis(
    "coordinated", "one controller behind accounts that look independent", 0.06,
    {
        SIZE: (0.3, 0.4, 0.3),
        "payment_reuse": (0.25, 0.2, 0.55),
        "key_sharing": (0.8, 0.1, 0.1),
        "template_reuse": (0.3, 0.2, 0.5),
        "range_reuse": (0.3, 0.3, 0.4),
        "one_place": (0.65, 0.25, 0.1),
        "one_payer": (0.75, 0.2, 0.05),
        "one_organisation": (0.95, 0.04, 0.01),
        "round_the_clock": (0.35, 0.3, 0.35),
        "range_breadth": (0.4, 0.3, 0.3),
        "bans": (0.35, 0.15, 0.5),
        "creation_burst": (0.6, 0.2, 0.2),
        "replacement": (0.6, 0.2, 0.2),
        "even_load": (0.3, 0.4, 0.3),
    },
)  # fmt: skip

INNOCENT: tuple[Hypothesis, ...] = (
    Hypothesis(
        "household", "a household", 0.6,
        {
            SIZE: (0.98, 0.019, 0.001),
            "payment_reuse": (0.3, 0.1, 0.6),
            "key_sharing": (0.97, 0.02, 0.01),
            "template_reuse": (0.9, 0.05, 0.05),
            "range_reuse": (0.5, 0.1, 0.4),
            "one_place": (0.04, 0.12, 0.84),
            "one_payer": (0.15, 0.25, 0.6),
            "one_organisation": (0.9, 0.05, 0.05),
            "round_the_clock": (0.9, 0.07, 0.03),
            "range_breadth": (0.7, 0.25, 0.05),
            "bans": (0.97, 0.02, 0.01),
            "creation_burst": (0.9, 0.08, 0.02),
            "replacement": (0.97, 0.02, 0.01),
        },
    ),
    Hypothesis(
        "organisation", "an office or firm", 0.25,
        {
            SIZE: (0.5, 0.4, 0.1),
            "payment_reuse": (0.25, 0.1, 0.65),
            "key_sharing": (0.7, 0.15, 0.15),
            "template_reuse": (0.4, 0.2, 0.4),
            "range_reuse": (0.2, 0.1, 0.7),
            "one_place": (0.05, 0.15, 0.8),
            "one_payer": (0.15, 0.35, 0.5),
            "one_organisation": (0.45, 0.05, 0.5),
            "round_the_clock": (0.85, 0.1, 0.05),
            "range_breadth": (0.7, 0.25, 0.05),
            "bans": (0.97, 0.02, 0.01),
            "creation_burst": (0.75, 0.15, 0.1),
            "replacement": (0.97, 0.02, 0.01),
            "even_load": (0.6, 0.3, 0.1),
        },
    ),
    Hypothesis(
        "agency", "an agency with its clients' accounts", 0.05,
        {
            SIZE: (0.3, 0.5, 0.2),
            "payment_reuse": (0.02, 0.08, 0.9),
            "key_sharing": (0.85, 0.1, 0.05),
            "template_reuse": (0.5, 0.25, 0.25),
            "range_reuse": (0.2, 0.2, 0.6),
            "one_place": (0.05, 0.15, 0.8),
            "one_payer": (0.05, 0.25, 0.7),
            "one_organisation": (0.8, 0.15, 0.05),
            "round_the_clock": (0.8, 0.15, 0.05),
            "range_breadth": (0.6, 0.3, 0.1),
            "bans": (0.97, 0.02, 0.01),
            "creation_burst": (0.8, 0.15, 0.05),
            "replacement": (0.97, 0.02, 0.01),
        },
    ),
    Hypothesis(
        "shared_network", "strangers behind one carrier, campus or VPN", 0.03,
        {
            SIZE: (0.3, 0.4, 0.3),
            "payment_reuse": (0.9, 0.07, 0.03),
            "key_sharing": (0.98, 0.01, 0.01),
            "template_reuse": (0.95, 0.04, 0.01),
            "range_reuse": (0.6, 0.3, 0.1),
            "one_place": (0.3, 0.3, 0.4),
            "one_payer": (0.95, 0.04, 0.01),
            "one_organisation": (0.97, 0.02, 0.01),
            "round_the_clock": (0.9, 0.07, 0.03),
            "bans": (0.95, 0.04, 0.01),
            "creation_burst": (0.95, 0.04, 0.01),
            "replacement": (0.95, 0.04, 0.01),
        },
    ),
    Hypothesis(
        "build_jobs", "automated jobs of one firm", 0.01,
        {
            SIZE: (0.5, 0.4, 0.1),
            "payment_reuse": (0.2, 0.1, 0.7),
            "key_sharing": (0.3, 0.2, 0.5),
            "template_reuse": (0.1, 0.2, 0.7),
            "one_place": (0.05, 0.15, 0.8),
            "one_payer": (0.1, 0.2, 0.7),
            "one_organisation": (0.3, 0.1, 0.6),
            "round_the_clock": (0.05, 0.15, 0.8),
            "range_breadth": (0.7, 0.2, 0.1),
            "bans": (0.97, 0.02, 0.01),
            "creation_burst": (0.8, 0.15, 0.05),
            "replacement": (0.97, 0.02, 0.01),
        },
    ),
)  # fmt: skip

TEMPER = 0.7
"""Weight of every signal's log-likelihood: signals are not independent, and a plain product would be too sure."""

COORDINATED_AT = 0.9
REVIEW_AT = 0.35
SMALLEST_LEAD = 3
_REASONS = 3


@dataclass(frozen=True)
class Assessed:
    """The judgement of each cluster; every array or list has one entry a cluster.

    score: probability of the coordinated hypothesis. assessment, hypothesis (the best innocent one), explanation (the
    sentence why), against (what speaks against it).
    """

    score: NDArray[np.float64]
    assessment: list[str]
    hypothesis: list[str]
    explanation: list[str]
    against: list[str]


def assess(view: View, measured: Mapping[str, Measured], chance: NDArray[np.float64]) -> Assessed:
    """Weigh the coordinated hypothesis against every innocent one.

    log2 L(h) = log2 prior(h) + 0.7 * sum over signals of log2 P(level of the signal | h)
    score = L(coordinated) / sum over h of L(h)

    coordinated: score of at least 0.9, at least three accounts, and fewer than one cluster this strong expected by
    chance; review: score of at least 0.35; explained otherwise, with the innocent hypothesis that fits best.
    Not checked: hypotheses nobody declared.
    """
    levels = _levels(view, measured)
    hypotheses = (COORDINATED, *INNOCENT)
    by_signal = {s: np.stack([_log_likelihood(h, s, level) for h in hypotheses], axis=1) for s, level in levels.items()}
    total = np.log2([h.prior for h in hypotheses])[None, :] + TEMPER * sum(
        by_signal.values(), np.zeros((view.count, 1))
    )
    total = total - total.max(axis=1, keepdims=True, initial=-np.inf)
    weight = np.exp2(total)
    score = np.round(weight[:, 0] / weight.sum(axis=1), 4)
    best = 1 + np.argmax(total[:, 1:], axis=1) if view.count else np.zeros(0, np.int64)
    assessment, explanation, against = [], [], []
    for i in range(view.count):
        innocent = hypotheses[int(best[i])]
        said = _assessment(float(score[i]), int(view.size[i]), float(chance[i]))
        leaning = {s: float(table[i, 0] - table[i, best[i]]) for s, table in by_signal.items()}
        speaks_for = _sentences(measured, leaning, i, positive=True)
        speaks_against = _sentences(measured, leaning, i, positive=False)
        if said == "explained":
            why = f"Looks like {innocent.title} of {view.size[i]} accounts. {' '.join(speaks_against)}"
            other = speaks_for
        else:
            lead = "are tied together" if said == "coordinated" else f"may be {innocent.title}, or one controller"
            why = f"{view.size[i]} accounts {lead}. {' '.join(speaks_for)}"
            other = speaks_against
        assessment.append(said)
        explanation.append(why.strip())
        against.append(" ".join(other))
    return Assessed(score, assessment, [hypotheses[int(b)].name for b in best], explanation, against)


def _assessment(score: float, size: int, chance: float) -> str:
    if score >= COORDINATED_AT and size >= SMALLEST_LEAD and chance < 1:
        return "coordinated"
    return "review" if score >= REVIEW_AT else "explained"


def _levels(view: View, measured: Mapping[str, Measured]) -> dict[str, NDArray[np.int64]]:
    """0 low, 1 middle, 2 high, -1 does not apply; shape (clusters,) each."""
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
        low, high = CUTS[name]
        level = (figure >= low).astype(np.int64) + (figure >= high)
        out[name] = np.where(np.isnan(figure), -1, level)
    return out


def _log_likelihood(hypothesis: Hypothesis, signal: str, level: NDArray[np.int64]) -> NDArray[np.float64]:
    expects = hypothesis.expects.get(signal, (1 / 3, 1 / 3, 1 / 3))
    by_level: NDArray[np.float64] = np.log2(np.array([*expects, 1.0]))
    return by_level[level]


def _sentences(measured: Mapping[str, Measured], leaning: Mapping[str, float], i: int, *, positive: bool) -> list[str]:
    """The sentences of the signals that speak most for (or against) coordination, strongest first."""
    sign = 1 if positive else -1
    ranked = sorted(
        (s for s in leaning if s in SIGNALS and sign * leaning[s] > 0.5), key=lambda s: (-sign * leaning[s], s)
    )
    return [SIGNALS[s].sentence(float(measured[s].value[i]), measured[s].baseline) for s in ranked[:_REASONS]]
