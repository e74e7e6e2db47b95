"""Tables -> account x identifier links, integer coded in canonical order.

Every table is read once here (`links` a second time, for its kinds), a batch at a time: texts become numbers at once and
are never hashed again, and what is gathered grows with the links, not with the rows.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.bipartite import BipartiteGraph
from hydragraph.coding import BATCH, Codes, Sums, argsorted, batches, pair, ranked, summed, unpaired
from hydragraph.errors import InputRefused
from hydragraph.identifiers import address_ranges, canonical_kind, normalise
from hydragraph.known import known_kinds
from hydragraph.loaders import Source
from hydragraph.loaders.card_columns import refuse_hidden_card_numbers
from hydragraph.runs import changes
from hydragraph.schema import INPUT, LINK_SOURCES, TIME
from hydragraph.settings import Settings

SLOT_MINUTES = 5
"""Requests are counted in slots of this length, since 1970-01-01 UTC."""

_SLOT_LENGTH = SLOT_MINUTES * 60 * 1_000_000

TICKS = SLOT_MINUTES * 60 * 100
"""Hundredths of a second in a slot: how finely it is known when in it an account's first request came."""

_RATE_LIMITED = 429

MOST_KINDS = 60
"""Kinds of identifier in one source, at most: each is read on its own, and a tie remembers its kinds in one number."""

NEVER = dt.timedelta(days=3653)
"""A closing so long after anything else has not happened."""

_SEED = secrets.randbits(64)
"""Of the hashes by which texts of a batch are told apart. They leave no trace in a result."""

_LARGEST = 2**40
"""Counts beyond this are taken as this, so that no sum of them overflows."""

_UNUSED = ("channel", "model", "revoked_at")
"""Columns of the tables that neither links nor activity need."""

Tables = Mapping[str, pl.LazyFrame]
"""Checked tables, as loaders.Source has them."""

_WHOLE, _CODE, _PAIR = pl.Int64(), pl.UInt32(), pl.UInt64()
_SEEN = {"first_seen": TIME, "last_seen": TIME}
_SPAN = {"first_seen": np.minimum, "last_seen": np.maximum}
LINK = {"count": np.add, **_SPAN}
"""How rows of one link become one row, see coding.summed."""
_LINKS = pl.Schema({"link": _PAIR, "count": _WHOLE, **_SEEN})
_SLOT = {"requests": np.add, "first": np.minimum}
_SLOTS = pl.Schema({"at": _PAIR, "requests": _WHOLE, "first": pl.UInt16()})
_ACTIVITY = {**dict.fromkeys(("events", "tokens", "limited"), np.add), **_SPAN}
_ACTIVITIES = pl.Schema({"account": _CODE, **dict.fromkeys(("events", "tokens", "limited"), _WHOLE), **_SEEN})


@dataclass(frozen=True)
class Column:
    """A column that links accounts to identifiers of one kind: where its value, its first and last time and its count
    stand. of: only rows with these texts in the column `kind`, None for all."""

    table: str
    kind: str
    value: str
    first: pl.Expr
    last: pl.Expr
    count: pl.Expr
    of: tuple[str, ...] | None = None

    def rows(self, table: pl.DataFrame) -> pl.DataFrame:
        """The rows that hold a value."""
        held = pl.col(self.value).is_not_null()
        return table.filter(held if self.of is None else held & pl.col("kind").is_in(self.of))


class Gathered:
    """What the tables hold, by number: links by kind; of every account its activity, its requests by slot, and those of
    them that were answered 429. fewest: see coding.Sums."""

    def __init__(self, kinds: Sequence[str], fewest: int | None = None) -> None:
        self.accounts = Codes()
        self.values = {kind: Codes() for kind in kinds}
        self.links = {kind: Sums(LINK, _LINKS, fewest) for kind in kinds}
        self.activity = Sums(_ACTIVITY, _ACTIVITIES, fewest)
        self.requests, self.limits = Sums(_SLOT, _SLOTS, fewest), Sums(_SLOT, _SLOTS, fewest)

    def read(self, tables: Tables, table: str, columns: Sequence[Column]) -> None:
        """One pass over a table."""
        for batch in batches(rows_of(tables, table)):
            self.add(table, batch, columns)

    def add(self, table: str, batch: pl.DataFrame, columns: Sequence[Column]) -> None:
        """Some of `rows_of` a table."""
        if table == "events":
            self._add_events(_Events(batch), columns)
        else:
            self._add_declared(batch, columns)

    @property
    def held(self) -> int:
        """Rows that are held, summed up or not."""
        return sum(sums.held for sums in (*self.links.values(), self.activity, self.requests, self.limits))

    def _add_declared(self, batch: pl.DataFrame, columns: Sequence[Column]) -> None:
        coded = batch.with_columns(account=self.accounts.of(batch["account_id"]))
        for c in columns:
            rows = c.rows(coded)
            link = pair(rows["account"], self.values[c.kind].of(rows[c.value])).alias("link")
            self.links[c.kind].add(rows.select(link, count=c.count, first_seen=c.first, last_seen=c.last))

    def _add_events(self, events: _Events, columns: Sequence[Column]) -> None:
        account = self.accounts.of(events.accounts)
        for c in columns:
            start, values = events.stretches(c.value)
            link = pair(account.gather(events.of[start]), self.values[c.kind].of(values))
            rows = pl.DataFrame({"link": link, **_stretches(start, events.time, "count")})
            self.links[c.kind].add(rows.drop_nulls("link"))
        limited = events.column((pl.col("status") == _RATE_LIMITED).fill_null(False))
        tokens = pl.sum_horizontal(pl.col("input_tokens", "output_tokens").fill_null(0).clip(upper_bound=_LARGEST))
        total = {"tokens": events.column(tokens), "limited": limited.astype(np.int64)}
        self.activity.add(
            pl.DataFrame(
                {
                    "account": account,
                    **{name: np.add.reduceat(each, events.start) for name, each in total.items()},
                    **_stretches(events.start, events.time, "events"),
                }
            )
        )
        for sums, which in ((self.requests, slice(None)), (self.limits, limited)):
            of, slot, time = events.of[which], events.slot[which], events.time[which]
            start = np.flatnonzero(changes(of, slot))
            at = pair(account.gather(of[start]), pl.Series(slot[start]))
            first = (time[start] // 10_000 % TICKS).astype(np.uint16)
            sums.add(pl.DataFrame({"at": at, "requests": np.diff(start, append=len(time)), "first": first}))


class _Events:
    """A batch of events in the order of account, then slot: what is to be summed up stands together, and with it what an
    account sent in a row with one key or from one address.

    slot, time: of each event, time in microseconds since 1970. start: where stretches of events of one account begin;
    of: which stretch each event is in; accounts: the account of each stretch. Nearly always an account has one.
    """

    def __init__(self, batch: pl.DataFrame) -> None:
        self._batch = batch
        account = _hashed(batch["account_id"])
        time = batch["timestamp"].to_physical().to_numpy()
        self._order = _by_account(account, time)
        self._account, self.time = account[self._order], time[self._order]
        self.slot = self.time // _SLOT_LENGTH
        new = changes(self._account)
        self.start, self.of = np.flatnonzero(new), np.cumsum(new) - 1
        self.accounts = batch["account_id"].gather(self._order[self.start])

    def stretches(self, column: str) -> tuple[NDArray[np.int64], pl.Series]:
        """Where stretches of events of one account with one value in a column begin, and these values."""
        values = self._batch[column]
        start = np.flatnonzero(changes(self._account, _hashed(values)[self._order]))
        return start, values.gather(self._order[start])

    def column(self, expression: pl.Expr) -> NDArray[Any]:
        """What an expression says of each event."""
        return self._batch.select(expression).to_series().to_numpy()[self._order]


def _by_account(account: NDArray[np.uint64], time: NDArray[np.int64]) -> NDArray[np.int64]:
    """The order of accounts, then times. Of two accounts whose numbers begin alike the events may alternate."""
    bits = 64 - len(time).bit_length()
    if (time[1:] >= time[:-1]).all():  # as most tables are
        return argsorted(account >> (64 - bits), 2**bits - 1)
    in_time = np.argsort(time)
    return np.asarray(in_time[argsorted(account[in_time] >> (64 - bits), 2**bits - 1)])


def _hashed(texts: pl.Series) -> NDArray[np.uint64]:
    """A number for each text, by which to tell it from its neighbours: that of another text is the same once in 2**64
    times, and nobody can make it so who does not know the seed."""
    return texts.hash(_SEED).to_numpy()


def _stretches(start: NDArray[np.int64], time: NDArray[np.int64], number: str) -> dict[str, Any]:
    """Of the events from each start to the next: how many there are, the first and the last time."""
    end = np.append(start[1:], len(time))
    seen = {"first_seen": time[start], "last_seen": time[end - 1]}
    return {number: end - start, **{name: pl.Series(each).cast(TIME) for name, each in seen.items()}}


def build_graph(source: Source, settings: Settings) -> BipartiteGraph:
    """The first of what `read_links` gives."""
    return read_links(source, settings)[0]


def read_links(source: Source, settings: Settings) -> tuple[BipartiteGraph, pl.DataFrame, pl.DataFrame]:
    """The bipartite graph of every account and every identifier of a source, the requests of its accounts, and their limits.

    A link's count is the number of requests (or the count given in `links`) plus one for each row that declares it in
    api_keys or payments; first_seen is the earliest and last_seen the latest time of all its sources. Accounts are the
    union over all tables, also those without any identifier. Accounts given twice are merged: earliest opening, latest
    closing, and of two texts the one that sorts last. Organisations are normalised like identifiers.

    accounts of the graph: account_id, created_at, closed_at, close_reason, org_id, channel, first_seen, last_seen,
    events, tokens, limited (requests answered 429).
    Requests: account (UInt32, as in the graph), slot (Int32, of SLOT_MINUTES since 1970), requests (Int64), first
    (UInt16: when in the slot the first came, in hundredths of a second); sorted by account, then slot; no rows without
    events.
    Limits: the same of the requests answered 429; no rows without a status.
    Raises InputRefused when no row of any table names an account, when there are more than 60 kinds of identifier, or for
    card numbers that the raw texts hid.
    """
    columns = link_columns(source.tables)
    kinds = sorted({c.kind for c in columns})
    refuse_too_many_kinds(len(kinds))
    gathered = Gathered(kinds)
    for table in LINK_SOURCES:
        if table in source.tables:
            gathered.read(source.tables, table, [c for c in columns if c.table == table])
    given = given_accounts(source.tables, gathered.accounts)
    names, place = ranked(gathered.accounts.texts())
    if names.is_empty():
        raise no_account()
    # two kinds at a time: much of the normalising runs on one core
    with ThreadPoolExecutor(2) as pool:
        coded = list(pool.map(lambda kind: links_of_kind(kind, gathered, place, settings), kinds))
    identifiers, links = _under_each_other(coded)
    accounts = _accounts(names, place, given, gathered.activity.result())
    accounts = with_organisations(_with_spans(accounts, links), settings)
    refuse_hidden_card_numbers(accounts, identifiers)
    requests, limits = (_of_accounts(by_slot, place) for by_slot in (gathered.requests, gathered.limits))
    return BipartiteGraph(accounts, _with_known(source, identifiers), links), requests, limits


def refuse_too_many_kinds(number: int) -> None:
    """Raise InputRefused for more kinds of identifier than a source may have."""
    if number > MOST_KINDS:
        raise InputRefused(
            f"links: {number} kinds of identifier are more than {MOST_KINDS}; check that kind and value are not swapped"
        )


def no_account() -> InputRefused:
    """The error for a source without any account."""
    return InputRefused("the source holds no account: every table is empty after unreadable rows were left out")


def not_yet_closed(graph: BipartiteGraph) -> tuple[BipartiteGraph, list[str]]:
    """The graph in which accounts count as open whose closed_at is more than ten years after every opening, first activity
    and request of the source: exports write such a time for "never". And a sentence that says how many, if any are.

    Not checked: a closing that is planned for sooner; in a source that tells of no other time, any.
    """
    requested = pl.when(pl.col("events") > 0).then("last_seen")
    first = pl.col("created_at", "first_seen").max()
    latest = graph.accounts.select(pl.max_horizontal(first, requested.max()))
    if latest.item() is None:
        return graph, []
    closed = graph.accounts["closed_at"].is_null() | (graph.accounts["closed_at"] <= latest.item() + NEVER)
    number = int((~closed).sum())
    if not number:
        return graph, []
    accounts = graph.accounts.with_columns(pl.when(closed).then(pl.col("closed_at", "close_reason")))
    said = f"accounts: closed_at of {number:,} is more than ten years after anything else in the source; they count as open"
    return replace(graph, accounts=accounts), [said]


def _of_accounts(by_slot: Sums, place: pl.Series) -> pl.DataFrame:
    """Requests by slot, with the codes of the graph, sorted by account, then slot."""
    rows = by_slot.rows()
    account, slot = unpaired(rows["at"])
    found = summed(rows.with_columns(at=pair(place.gather(account), slot)), _SLOT)
    account, slot = unpaired(found["at"])
    return found.select(account=account, slot=slot.cast(pl.Int32), requests="requests", first="first")


def link_columns(tables: Tables) -> list[Column]:
    """Every column of the tables that holds identifiers; a kind may come twice. The kinds of `links` are read."""
    one, when = pl.lit(1, _WHOLE), pl.col("timestamp")
    made, added = pl.col("created_at"), pl.col("added_at")
    found = [
        Column("api_keys", "api_key", "api_key_id", made, made, one),
        Column("payments", "payment", "instrument_id", added, pl.coalesce("removed_at", "added_at"), one),
        Column("events", "api_key", "api_key_id", when, when, one),
        Column("events", "ip_range", "ip", when, when, one),
        Column("events", "template", "template_hash", when, when, one),
    ]
    found = [c for c in found if c.table in tables and c.value in tables[c.table].collect_schema().names()]
    if "links" in tables:
        count = pl.col("count").fill_null(1).clip(upper_bound=_LARGEST)
        first, last = pl.coalesce("first_seen", "last_seen"), pl.coalesce("last_seen", "first_seen")
        spellings = tables["links"].select(pl.col("kind").unique()).collect(engine="streaming")["kind"]
        names: dict[str, tuple[str, ...]] = {}
        for spelling in spellings.drop_nulls().sort():
            kind = canonical_kind(spelling)
            names[kind] = (*names.get(kind, ()), spelling)
        found += [Column("links", kind, "value", first, last, count, of) for kind, of in names.items()]
    return found


def rows_of(tables: Tables, table: str) -> pl.LazyFrame:
    """The rows of a table of links, with every declared column that `Gathered` needs; what the table lacks is null."""
    return _with_columns(tables, table).drop(_UNUSED, strict=False)


def _with_columns(tables: Tables, table: str) -> pl.LazyFrame:
    frame = tables[table]
    present = frame.collect_schema().names()
    lacking = [c for c in INPUT[table].columns if c.name not in present]
    return frame.with_columns(pl.lit(None, c.dtype).alias(c.name) for c in lacking)


def given_accounts(tables: Tables, codes: Codes) -> pl.DataFrame:
    """What the accounts table declares, one row an account (by number)."""
    declared = [c for c in INPUT["accounts"].columns if c.name != "account_id"]
    schema = pl.Schema({"account": _CODE, **{c.name: c.dtype for c in declared}})
    if "accounts" not in tables:
        return schema.to_frame()
    parts, most = [schema.to_frame()], 0
    for batch in batches(_with_columns(tables, "accounts")):
        parts.append(batch.select(codes.of(batch["account_id"]).alias("account"), *list(schema)[1:]))
        if sum(part.height for part in parts) > 2 * most + BATCH:
            parts = [_merged(pl.concat(parts))]
            most = parts[0].height
    return _merged(pl.concat(parts))


def _merged(given: pl.DataFrame) -> pl.DataFrame:
    if given["account"].is_unique().all():
        return given
    return given.group_by("account").agg(pl.col("created_at").min(), pl.exclude("account", "created_at").max())


def _accounts(names: pl.Series, place: pl.Series, given: pl.DataFrame, activity: pl.DataFrame) -> pl.DataFrame:
    """Every account of any table, sorted, with what the accounts table declares and the activity."""
    columns = [names.alias("account_id")]
    for known in (given, activity):
        row = pl.repeat(None, len(names), dtype=_CODE, eager=True)
        row = row.scatter(place.gather(known["account"]), pl.int_range(known.height, dtype=_CODE, eager=True))
        columns += known.drop("account").select(pl.all().gather(row)).get_columns()
    return pl.DataFrame(columns).with_columns(pl.col("events", "tokens", "limited").fill_null(0))


def links_of_kind(
    kind: str, gathered: Gathered, place: pl.Series, settings: Settings
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The identifiers of one kind, sorted, and the rows of its links with their codes from 0.

    Raw values become identifiers: links of spellings that mean the same have the same code. place: the code of each
    account by its number. Once only: the gathered links of the kind are let go.
    """
    raw = gathered.values.pop(kind).texts()  # let go of what is read for the last time
    value = address_ranges(raw, settings)["range"] if kind == "ip_range" else normalise(kind, raw, settings)
    values, code = ranked(value)
    rows = gathered.links.pop(kind).rows()
    account, spelling = unpaired(rows["link"])
    rows = rows.with_columns(link=pair(place.gather(account), code.gather(spelling)))
    identifiers = pl.DataFrame({"kind": pl.repeat(kind, len(values), eager=True), "value": values})
    return identifiers, summed(rows.drop_nulls("link"), LINK)


def _under_each_other(coded: list[tuple[pl.DataFrame, pl.DataFrame]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Identifiers of all kinds under each other, and the links with their codes moved accordingly, sorted."""
    identifiers, rows = [pl.DataFrame(schema={"kind": pl.String, "value": pl.String})], [pl.DataFrame(schema=_LINKS)]
    start = 0
    while coded:
        values, of_kind = coded.pop(0)
        identifiers.append(values)
        rows.append(of_kind.with_columns(pl.col("link") + pl.lit(start, _PAIR)))
        start += values.height
    links = pl.concat(rows)
    # of each kind they are sorted already: to sort them by account is enough
    links = links[argsorted(links["link"].to_numpy() >> 32, 2**32)].rechunk()
    account, identifier = unpaired(links["link"])
    return pl.concat(identifiers), links.select(account=account, identifier=identifier, **{c: c for c in LINK})


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


def with_organisations(accounts: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Accounts with org_id normalised: a placeholder names no organisation, or everybody would belong to it."""
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
