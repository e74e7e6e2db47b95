"""Pseudonyms of a case -> the values they stand for, for who holds the key and the source."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import polars as pl

from hydragraph.case import Case, open_case
from hydragraph.errors import InputRefused
from hydragraph.hiding import refuse_another_key
from hydragraph.links import read_links
from hydragraph.loaders import open_source
from hydragraph.pseudonyms import ACCOUNT, Key, is_pseudonym, pseudonyms, read_key

_REVEALED = {"kind": pl.String, "pseudonym": pl.String, "value": pl.String}


def reveal(
    case: str | Path | Case,
    source: str | Path | Sequence[str | Path],
    key: str | Path | Key,
    *,
    mapping: str | Path | None = None,
    clusters: Sequence[str] = (),
    only: Collection[str] = (),
    progress: Callable[[str], None] | None = None,
) -> pl.DataFrame:
    """What the pseudonyms of a case stand for: kind (`account` for account ids), pseudonym, value; sorted.

    A hash cannot be turned round: the source is read again, every value in it hashed, and those are given whose pseudonym
    the case holds. source, mapping: as for the analysis. clusters: ids, or beginnings of them, of the only clusters wanted;
    all if there are none. only: the only pseudonyms wanted. progress: called with the name of each stage as it starts.
    Values are given as they are compared (normalised); of addresses the range.

    Raises InputRefused for a case without pseudonyms or of another key, for a text in `only` that is no pseudonym, and as
    `open_source`; UnknownName for a cluster that is not there.
    """
    case = case if isinstance(case, Case) else open_case(case)
    key = read_key(key)
    if case.manifest.get("pseudonyms") is None:
        raise InputRefused("the case has no pseudonyms; there is nothing to reveal")
    refuse_another_key(case.manifest, key)
    if not all(is_pseudonym(name) for name in only):
        raise InputRefused("only pseudonyms can be revealed: hg and 32 hexadecimal digits")
    tell = progress or (lambda stage: None)
    wanted = _of_case(case, clusters)
    if only:
        wanted = wanted.filter(pl.col("pseudonym").is_in(list(only)))
    tell("read")
    opened = open_source(source, mapping=mapping, settings=case.settings, private=True)
    tell("links")
    with opened.reading():
        graph, *_ = read_links(opened, case.settings)
    del opened
    tell("hash")
    found = [pl.DataFrame(schema=_REVEALED)]
    for kind in wanted["kind"].unique().sort():
        values = graph.accounts["account_id"] if kind == ACCOUNT else graph.identifiers.filter(kind=kind)["value"]
        frame = pl.DataFrame({"kind": pl.repeat(kind, len(values), eager=True), "value": values})
        hashed = frame.with_columns(pseudonyms(key, kind, values).alias("pseudonym")).select(*_REVEALED)
        found.append(hashed.join(wanted, on=["kind", "pseudonym"], how="semi"))
    return pl.concat(found).unique().sort(*_REVEALED)


def _of_case(case: Case, clusters: Sequence[str]) -> pl.DataFrame:
    """Kind and pseudonym of the accounts and identifiers in a case, or in some clusters of it."""
    chosen = [case.cluster(name) for name in clusters]
    accounts = pl.concat([c.accounts for c in chosen]) if chosen else case.accounts
    links = pl.concat([c.links for c in chosen]) if chosen else case.links
    return pl.concat(
        [
            accounts.select(kind=pl.lit(ACCOUNT), pseudonym="account_id"),
            links.select("kind", pseudonym="value"),
        ]
    ).unique()
