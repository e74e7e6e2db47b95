"""A graph, and what an analyst knows beforehand, with pseudonyms in place of identifiers.

Codes stay as they are, in the order of the raw values: whatever is computed on codes is the same with and without a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import polars as pl

from hydragraph.bipartite import BipartiteGraph
from hydragraph.constraints import Constraints, set_aside
from hydragraph.errors import InputRefused
from hydragraph.identifiers import IP_RANGE, normalise
from hydragraph.pseudonyms import ACCOUNT, SCHEME, Key, is_pseudonym, pseudonym, pseudonyms
from hydragraph.settings import Settings
from hydragraph.stability import DRAW, drawn

_WORD = r"^\s*[A-Za-z_ -]{1,24}\s*$"
"""What a reason or a channel may look like to stay as it is: a word or two."""


def hide(
    graph: BipartiteGraph, known: Constraints, key: Key, settings: Settings
) -> tuple[BipartiteGraph, Constraints, list[str]]:
    """A graph without the identifiers that are allowed, with pseudonyms; the constraints likewise; and what was left out.

    graph: as links.read_links gives it, with raw values; ranges are formed and values normalised already. known: raw values,
    or pseudonyms where an analyst or an earlier case names these. Hidden are account ids, organisations and the values of
    all kinds; reasons of closings and channels that are no plain words. Not hidden: names of kinds, times, counts.
    """
    raw = pl.Series([not is_pseudonym(v) for v in known.allowed["value"]], dtype=pl.Boolean)
    named, hidden = known.allowed.filter(raw), known.allowed.filter(~raw)
    left_in, said = set_aside(graph, named, settings)
    gone = graph.identifiers.join(left_in.identifiers, on=["kind", "value"], how="anti").select("kind", "value")
    # of ranges those of the source are kept: what lies inside a hidden range cannot be told
    exact = [normalised(kind, value, settings) for kind, value in named.iter_rows() if kind != IP_RANGE]
    allowed = pl.concat([gone, pl.DataFrame(exact, schema=named.schema, orient="row")]).unique()
    allowed = pl.concat([_hidden_values(allowed, key), hidden]).unique().sort("kind", "value")
    accounts = left_in.accounts.with_columns(
        pseudonyms(key, ACCOUNT, left_in.accounts["account_id"]),
        _by_distinct(key, "org", left_in.accounts["org_id"]),
        *(_unless_words(key, left_in.accounts[name]) for name in ("close_reason", "channel")),
    )
    identifiers = _hidden_values(
        left_in.identifiers.with_columns(pl.Series(DRAW, drawn(left_in.identifiers, settings.seed), dtype=pl.Binary)),
        key,
    )
    done, more = set_aside(BipartiteGraph(accounts, identifiers, left_in.links), hidden, settings)
    return done, replace(known, pairs=_hidden_pairs(known.pairs, key), allowed=allowed), [*said, *more]


def normalised(kind: str, value: str, settings: Settings) -> tuple[str, str]:
    """A kind and a value of it in canonical form."""
    return kind, normalise(kind, pl.Series([value], dtype=pl.String), settings)[0] or value


def _hidden_values(frame: pl.DataFrame, key: Key) -> pl.DataFrame:
    """A frame of kind and value, the values hidden."""
    parts = [
        of_kind.with_columns(pseudonyms(key, kind, of_kind["value"]))
        for (kind,), of_kind in frame.with_row_index("row").group_by("kind")
    ]
    return pl.concat(parts).sort("row").drop("row") if parts else frame


def _by_distinct(key: Key, kind: str, values: pl.Series) -> pl.Series:
    distinct = values.drop_nulls().unique()
    hidden = pseudonyms(key, kind, distinct)
    return values.replace_strict(distinct, hidden, default=None, return_dtype=pl.String) if len(distinct) else values


def _unless_words(key: Key, values: pl.Series) -> pl.Series:
    return values.zip_with(values.str.contains(_WORD).fill_null(True), _by_distinct(key, values.name, values))


def _hidden_pairs(pairs: pl.DataFrame, key: Key) -> pl.DataFrame:
    rows = []
    for a, b, relation in pairs.iter_rows():
        first, second = (v if is_pseudonym(v) else pseudonym(key, ACCOUNT, v) for v in (a, b))
        rows.append((min(first, second), max(first, second), relation))
    return pl.DataFrame(rows, schema=pairs.schema, orient="row").unique().sort(pairs.columns)


def told(key: Key | None) -> dict[str, Any] | None:
    """What the manifest says about pseudonyms; None without a key."""
    return None if key is None else {"key_id": key.id, "scheme": SCHEME}


def refuse_another_key(manifest: Mapping[str, Any], key: Key | None) -> None:
    """Raise InputRefused unless a case was made with this key, or without one if `key` is None."""
    made_with = (manifest.get("pseudonyms") or {}).get("key_id")
    given = None if key is None else key.id
    if made_with == given:
        return
    if made_with is None:
        raise InputRefused("the earlier case has no pseudonyms; leave the key out, or analyse without the earlier case")
    if given is None:
        raise InputRefused(f"the case has pseudonyms; name the file of the key {made_with} with --pseudonymise")
    raise InputRefused(f"the case has pseudonyms of another key; needed is {made_with}, given was {given}")
