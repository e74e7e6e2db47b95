"""Tables -> account x identifier links, integer coded in canonical order."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import polars as pl

from hydragraph.bipartite import BipartiteGraph
from hydragraph.errors import InputRefused
from hydragraph.identifiers import address_ranges, canonical_kind, normalise
from hydragraph.known import known_kinds
from hydragraph.loaders import Source
from hydragraph.schema import INPUT, TIME
from hydragraph.settings import Settings

_EVENT_KINDS = {"api_key_id": "api_key", "ip": "ip_range", "template_hash": "template"}
_WHOLE, _CODE = pl.Int64(), pl.UInt32()
_SEEN = {"first_seen": TIME, "last_seen": TIME}
_ACTIVITY = pl.Schema({"account_id": pl.String(), "events": _WHOLE, "tokens": _WHOLE, "limited": _WHOLE, **_SEEN})
_LINKS = pl.Schema({"account": _CODE, "identifier": _CODE, "count": _WHOLE, **_SEEN})
_RATE_LIMITED = 429

MOST_KINDS = 60
"""Kinds of identifier in one source, at most: each is read on its own, and a tie remembers its kinds in one number."""

_LARGEST = 2**40
"""Counts beyond this are taken as this, so that no sum of them overflows."""


def build_graph(source: Source, settings: Settings) -> BipartiteGraph:
    """The bipartite graph of every account and every identifier of a source.

    A link's count is the number of requests (or the count given in `links`) plus one for each row that declares it in
    api_keys or payments; first_seen is the earliest and last_seen the latest time of all its sources. Accounts are the
    union over all tables, also those without any identifier. Accounts given twice are merged: earliest opening, latest
    closing, and of two texts the one that sorts last. Organisations are normalised like identifiers.

    accounts of the result: account_id, created_at, closed_at, close_reason, org_id, channel, first_seen, last_seen,
    events, tokens, limited (requests answered 429).
    Raises InputRefused when no row of any table names an account, or when there are more than 60 kinds of identifier.
    """
    accounts = _accounts(source)
    if accounts.is_empty():
        raise InputRefused("the source holds no account: every table is empty after unreadable rows were left out")
    codes = accounts.select("account_id", account=pl.int_range(pl.len(), dtype=pl.UInt32)).lazy()
    rows: dict[str, list[pl.LazyFrame]] = {}
    for kind, frame in _link_rows(source):
        rows.setdefault(kind, []).append(frame)
    if len(rows) > MOST_KINDS:
        raise InputRefused(
            f"links: {len(rows)} kinds of identifier are more than {MOST_KINDS}; check that kind and value are not swapped"
        )
    # two kinds at a time: one is normalised on one core while the other is read
    with ThreadPoolExecutor(2) as pool:
        coded = list(pool.map(lambda kind: _of_kind(kind, rows[kind], codes, settings), sorted(rows)))
    identifiers, links = _under_each_other(coded)
    identifiers = _with_known(source, identifiers)
    accounts = _with_organisations(_with_spans(accounts, links), settings)
    return BipartiteGraph(accounts, identifiers, links.sort("account", "identifier"))


def _link_rows(source: Source) -> Iterator[tuple[str, pl.LazyFrame]]:
    """Every kind of link in the tables as account_id, raw, first, last, n, one row a row; a kind may come twice."""
    if "api_keys" in source.tables:
        yield "api_key", _rows(_with_columns(source, "api_keys"), "api_key_id", "created_at", "created_at")
    if "payments" in source.tables:
        last = pl.coalesce("removed_at", "added_at")
        yield "payment", _rows(_with_columns(source, "payments"), "instrument_id", "added_at", last)
    if "events" in source.tables:
        events = source.tables["events"]
        present = events.collect_schema().names()
        for column, kind in _EVENT_KINDS.items():
            if column in present:
                yield kind, _rows(events, column, "timestamp", "timestamp")
    if "links" in source.tables:
        links = _with_columns(source, "links")
        spellings = links.select(pl.col("kind").unique()).collect()["kind"].drop_nulls().sort().to_list()
        kinds: dict[str, list[str]] = {}
        for spelling in spellings:
            kinds.setdefault(canonical_kind(spelling), []).append(spelling)
        for kind, names in sorted(kinds.items()):
            of_kind = links.filter(pl.col("kind").is_in(names))
            last = pl.coalesce("last_seen", "first_seen")
            first = pl.coalesce("first_seen", "last_seen")
            yield kind, _rows(of_kind, "value", first, last, pl.col("count").fill_null(1).clip(upper_bound=_LARGEST))


def _with_columns(source: Source, table: str) -> pl.LazyFrame:
    frame = source.tables[table]
    present = frame.collect_schema().names()
    lacking = [c for c in INPUT[table].columns if c.name not in present]
    return frame.with_columns(pl.lit(None, c.dtype).alias(c.name) for c in lacking)


def _rows(
    frame: pl.LazyFrame, value: str, first: str | pl.Expr, last: str | pl.Expr, count: pl.Expr | None = None
) -> pl.LazyFrame:
    first, last = (pl.col(e) if isinstance(e, str) else e for e in (first, last))
    number = pl.lit(1, pl.Int64) if count is None else count
    return frame.select(
        "account_id", pl.col(value).alias("raw"), first.alias("first"), last.alias("last"), number.alias("n")
    )


def _grouped(rows: pl.LazyFrame, codes: pl.LazyFrame) -> pl.DataFrame:
    """One row an account and raw value, with the account's code."""
    return (
        rows.filter(pl.col("raw").is_not_null())
        .group_by("account_id", "raw")
        .agg(count=pl.col("n").sum(), first_seen=pl.col("first").min(), last_seen=pl.col("last").max())
        .join(codes, on="account_id", how="inner")
        .drop("account_id")
        .collect(engine="streaming")
    )


def _of_kind(
    kind: str, rows: list[pl.LazyFrame], codes: pl.LazyFrame, settings: Settings
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The identifiers of one kind, sorted, and its links with their codes from 0, each pair once.

    Raw values become identifiers; links from several tables and of spellings that mean the same are merged.
    """
    frame = pl.concat([_grouped(part, codes) for part in rows])
    raw = frame["raw"].unique()
    value = address_ranges(raw, settings)["range"] if kind == "ip_range" else normalise(kind, raw, settings)
    known = pl.DataFrame({"raw": raw, "value": value}).drop_nulls("value")
    values = (
        known.select(pl.col("value").unique())
        .sort("value")
        .with_columns(identifier=pl.int_range(pl.len(), dtype=pl.UInt32))
    )
    joined = (
        frame.lazy()
        .join(
            known.lazy().join(values.lazy(), on="value", how="inner").select("raw", "identifier"), on="raw", how="inner"
        )
        .drop("raw")
    )
    if len(rows) > 1 or values.height < known.height:
        joined = joined.group_by("account", "identifier").agg(
            count=pl.col("count").sum(), first_seen=pl.col("first_seen").min(), last_seen=pl.col("last_seen").max()
        )
    return values.select(pl.lit(kind).alias("kind"), "value"), joined.select(_LINKS.names()).collect(engine="streaming")


def _under_each_other(coded: list[tuple[pl.DataFrame, pl.DataFrame]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Identifiers of all kinds under each other, and the links with their codes moved accordingly."""
    identifiers = [pl.DataFrame(schema={"kind": pl.String, "value": pl.String})]
    links = [pl.DataFrame(schema=_LINKS)]
    start = 0
    for values, of_kind in coded:
        identifiers.append(values)
        links.append(of_kind.with_columns(pl.col("identifier") + pl.lit(start, pl.UInt32)))
        start += values.height
    return pl.concat(identifiers), pl.concat(links)


def _activity(source: Source) -> pl.DataFrame:
    if "events" not in source.tables:
        return pl.DataFrame(schema=_ACTIVITY)
    events = _with_columns(source, "events")
    return (
        events.group_by("account_id")
        .agg(
            events=pl.len().cast(pl.Int64),
            tokens=sum(
                pl.col(c).fill_null(0).clip(upper_bound=_LARGEST).sum() for c in ("input_tokens", "output_tokens")
            ),
            limited=(pl.col("status") == _RATE_LIMITED).fill_null(False).sum().cast(pl.Int64),
            first_seen=pl.col("timestamp").min(),
            last_seen=pl.col("timestamp").max(),
        )
        .collect(engine="streaming")
    )


def _accounts(source: Source) -> pl.DataFrame:
    """Every account of any table, sorted, with what the accounts table declares and the activity."""
    declared = [c for c in INPUT["accounts"].columns if c.name != "account_id"]
    if "accounts" in source.tables:
        given = (
            _with_columns(source, "accounts")
            .group_by("account_id")
            .agg(pl.col(c.name).min() if c.name == "created_at" else pl.col(c.name).max() for c in declared)
            .collect(engine="streaming")
        )
    else:
        given = pl.DataFrame(schema={"account_id": pl.String, **{c.name: c.dtype for c in declared}})
    activity = _activity(source)
    others = [
        source.tables[t].select("account_id").unique() for t in ("api_keys", "payments", "links") if t in source.tables
    ]
    named = [given.lazy().select("account_id"), activity.lazy().select("account_id"), *others]
    return (
        pl.concat(named)
        .unique()
        .join(given.lazy(), on="account_id", how="left")
        .join(activity.lazy(), on="account_id", how="left")
        .with_columns(pl.col("events", "tokens", "limited").fill_null(0))
        .sort("account_id")
        .collect(engine="streaming")
    )


def _with_spans(accounts: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    """First and last activity from the links where there are no events."""
    missing = accounts["first_seen"].is_null()
    if not missing.any():
        return accounts
    codes = accounts.select(account=pl.int_range(pl.len(), dtype=pl.UInt32))
    spans = (
        links.lazy()
        .join(codes.filter(missing).lazy(), on="account", how="semi")
        .group_by("account")
        .agg(link_first=pl.col("first_seen").min(), link_last=pl.col("last_seen").max())
        .collect(engine="streaming")
    )
    found = codes.join(spans, on="account", how="left", maintain_order="left")
    return accounts.with_columns(
        first_seen=pl.coalesce("first_seen", found["link_first"]),
        last_seen=pl.coalesce("last_seen", found["link_last"]),
    )


def _with_organisations(accounts: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """org_id normalised: a placeholder names no organisation, or everybody would belong to it."""
    raw = accounts["org_id"].drop_nulls().unique()
    if raw.is_empty():
        return accounts
    value = normalise("org", raw, settings)
    return accounts.with_columns(pl.col("org_id").replace_strict(raw, value, default=None, return_dtype=pl.String))


def _with_known(source: Source, identifiers: pl.DataFrame) -> pl.DataFrame:
    """Identifiers with the kind of the known shared range that holds them."""
    nothing = identifiers.with_columns(known=pl.lit(None, pl.String))
    if "ranges" not in source.tables:
        return nothing
    values = identifiers.filter(kind="ip_range")
    known = values.with_columns(known_kinds(source.tables["ranges"].select("cidr", "kind").collect(), values["value"]))
    # identifiers of one kind stand together, in the order of their values
    return pl.concat([nothing.filter(pl.col("kind") < "ip_range"), known, nothing.filter(pl.col("kind") > "ip_range")])
