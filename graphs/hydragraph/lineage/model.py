"""The model of replacements: how soon, how often and with what successors go on, fitted to the closings themselves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hydragraph.lineage.pairs import HOUR, Lives, Pairs, Shared
from hydragraph.lineage.rota import LEVELS

SHRINK = 30.0
"""Replacements that the figures of all clusters together count for in the figures of one cluster."""

_ROUNDS = 20
_PER_OCTAVE = 2
_OCTAVES = 16
_SWEEPS = 2
_LAST_SWEEPS = 20

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def fit(known: Lives, pairs: Pairs, shared: Shared, places: tuple[Ints, Ints]) -> tuple[Floats, Floats]:
    """Odds w and probability p of each pair, see find_lineage, by expectation maximisation.

    places: pairs of which the likeness of places is known, and its level there (rota.same_place).
    """
    number, at = int(known.label.max()) + 1, known.label[pairs.a]
    # times to a replacement in half octaves, from a minute to 45 days
    edge = np.concatenate([[0.0], 2.0 ** (np.arange(_OCTAVES * _PER_OCTAVE + 1) / _PER_OCTAVE) / 60])
    width, bins = np.diff(edge), len(edge) - 1

    def bin_of(hours: Floats) -> Ints:
        return np.clip(np.searchsorted(edge, hours, "left") - 1, 0, bins - 1)

    cell = at * bins + bin_of((known.begin[pairs.b] - known.end[pairs.a]) / HOUR)
    ended, began = (np.flatnonzero((known.label >= 0) & (when >= 0)) for when in (known.end, known.begin))
    last = max(int(known.begin[began].max()), int(known.end[ended].max()))
    of_ended = known.label[ended]
    until = of_ended * bins + bin_of((last - known.end[ended]) / HOUR)
    since = np.full(number, last)
    np.minimum.at(since, of_ended, known.end[ended])
    hours = (last - since) / HOUR + 1.0
    of_began = known.label[began]
    arrivals = np.bincount(of_began[known.begin[began] > since[of_began]], minlength=number)
    a, b = np.searchsorted(ended, pairs.a), (np.cumsum(np.bincount(pairs.b) > 0) - 1)[pairs.b]
    combination, combined = np.unique(shared.both, return_inverse=True)
    kinds = int(combination.max(initial=0)).bit_length()
    has = (combination[None, :] >> np.arange(kinds)[:, None] & 1).astype(bool)
    combined += at * len(combination)
    entries = []
    for k in range(kinds):
        entry = np.flatnonzero(shared.kind == k)
        entries.append((shared.at[entry], at[shared.at[entry]], shared.ratio[entry]))
    placed, level = places
    place = at[placed] * LEVELS + level

    # nothing is known yet: every octave of the time to a replacement as likely as another, most beginnings replacements
    regrown = np.full(number, 0.5)
    delay = np.tile(1 / (bins * width), (number, 1))
    rate = (0.1 * arrivals + 0.5) / hours
    keeps = [np.full(number, 0.3) for _ in entries]
    told = np.ones(number * LEVELS)
    # large arrays are filled anew in each round
    to_a, to_b, odds, held = np.ones(len(a)), np.ones(len(a)), np.empty(len(a)), np.empty(len(a))
    for step in range(_ROUNDS):
        reached = np.cumsum(delay * width, axis=1).ravel()[until]
        not_yet = 1 - regrown[of_ended] * reached
        np.take(((regrown / rate)[:, None] * delay).ravel(), cell, out=odds, mode="clip")
        odds /= np.take(not_yet, a, out=held, mode="clip")
        without = np.ones((number, len(combination)))
        for keep, uses in zip(keeps, has, strict=True):
            without[:, uses] *= (1 - keep)[:, None]
        odds *= np.take(without.ravel(), combined, out=held, mode="clip")
        went_on = []
        for keep, (pair, of, ratio) in zip(keeps, entries, strict=True):
            more = (keep / (1 - keep))[of] * ratio
            odds[pair] *= 1 + more
            went_on.append(more / (1 + more))
        odds[placed] *= told[place]
        for _ in range(_SWEEPS if step < _ROUNDS - 1 else _LAST_SWEEPS):
            _spoken_for(a, np.multiply(odds, to_b, out=held), to_a)
            _spoken_for(b, np.multiply(odds, to_a, out=held), to_b)
        p = odds * to_a
        p *= to_b
        p /= np.add(p, 1, out=held)
        # what the replacements look like, in each cluster and in all
        histogram = np.bincount(cell, p, number * bins).reshape(number, bins)
        replaced = histogram.sum(axis=1)
        usual = np.convolve(np.pad(histogram.sum(axis=0) + 2 / bins, 1, mode="edge"), [0.25, 0.5, 0.25], "valid")
        delay = (histogram + SHRINK * usual / usual.sum()) / (replaced + SHRINK)[:, None] / width
        chances = np.bincount(of_ended, reached, number)
        often = (replaced.sum() + 1) / (chances.sum() + 2)
        regrown = np.clip((replaced + 2 * often) / (chances + 2), 0.01, 0.98)
        rate = (np.maximum(arrivals - replaced, 0) + 0.5) / hours
        could = np.bincount(combined, p, number * len(combination)).reshape(number, -1)
        for k, ((pair, of, _), share) in enumerate(zip(entries, went_on, strict=True)):
            did, might = np.bincount(of, p[pair] * share, number), could[:, has[k]].sum(axis=1)
            keeps[k] = (did + SHRINK * (did.sum() + 1) / (might.sum() + 4)) / (might + SHRINK)
        told = _told(place, p[placed], number)
    return odds, p


def _spoken_for(of: Ints, wanted: Floats, out: Floats) -> None:
    """Puts 1 / (1 + sum of `wanted` over the other pairs of the same account) into `out`."""
    np.take(np.bincount(of, wanted), of, out=out, mode="clip")
    out -= wanted
    np.maximum(out, 0, out=out)
    out += 1
    np.divide(1, out, out=out)


def _told(place: Ints, p: Floats, clusters: int) -> Floats:
    """How much likelier each level of likeness is among replacements than among other pairs; by cluster and level."""
    replaced, others = (
        np.bincount(place, weight, clusters * LEVELS).reshape(clusters, LEVELS) for weight in (p, 1 - p)
    )
    usual = (others.sum(axis=0) + 1) / (others.sum() + LEVELS)
    # while little is known it tells nothing: replacements look like other pairs
    typical = (replaced.sum(axis=0) + SHRINK * usual) / (replaced.sum() + SHRINK)
    among = (replaced + SHRINK * typical) / (replaced.sum(axis=1, keepdims=True) + SHRINK)
    elsewhere = (others + SHRINK * usual) / (others.sum(axis=1, keepdims=True) + SHRINK)
    ratio: Floats = (among / elsewhere).ravel()
    return ratio
