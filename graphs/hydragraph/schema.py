"""Every table in and out: its columns, their types and what they mean. The only place where a column is declared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

ColumnType = Literal["identifier", "text", "address", "time", "count", "number"]
"""identifier: opaque text that must not be altered; address: an IP address or CIDR range as text; time: UTC;
count: a whole number of at least 0; number: a decimal number."""

TIME: pl.DataType = pl.Datetime("us", "UTC")

DTYPES: dict[str, pl.DataType] = {
    "identifier": pl.String(),
    "text": pl.String(),
    "address": pl.String(),
    "time": TIME,
    "count": pl.Int64(),
    "number": pl.Float64(),
}


@dataclass(frozen=True)
class Column:
    """One column: its name, its type and its meaning in words."""

    name: str
    type: ColumnType
    meaning: str
    required: bool = False

    @property
    def dtype(self) -> pl.DataType:
        """The polars type of the column once read."""
        return DTYPES[self.type]


@dataclass(frozen=True)
class Table:
    """One table: its columns in their final order, and the columns its rows are sorted by on the way out."""

    name: str
    meaning: str
    columns: tuple[Column, ...]
    sort: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return [c.name for c in self.columns]

    @property
    def required(self) -> list[str]:
        """Names of the columns a source must have."""
        return [c.name for c in self.columns if c.required]

    @property
    def schema(self) -> pl.Schema:
        """polars schema: the same columns also when the table is empty."""
        return pl.Schema({c.name: c.dtype for c in self.columns})

    def column(self, name: str) -> Column:
        """The column called `name`; KeyError if there is none."""
        for c in self.columns:
            if c.name == name:
                return c
        raise KeyError(name)

    def empty(self) -> pl.DataFrame:
        """A frame with this table's columns and no rows."""
        return pl.DataFrame(schema=self.schema)

    def conform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`frame` with exactly these columns, in this order, of these types, sorted. Fails on a missing column."""
        out = frame.select(pl.col(c.name).cast(c.dtype) for c in self.columns)
        return out.sort(*self.sort, nulls_last=True) if self.sort else out


ACCOUNT = Column("account_id", "identifier", "the account", required=True)

INPUT: dict[str, Table] = {
    t.name: t
    for t in (
        Table(
            "accounts",
            "one row an account",
            (
                ACCOUNT,
                Column("created_at", "time", "when the account was opened"),
                Column("closed_at", "time", "when it was closed; empty: still open"),
                Column("close_reason", "text", "banned, voluntary, ..."),
                Column("org_id", "identifier", "the organisation the account says it belongs to"),
                Column("channel", "text", "how the account reaches the provider: direct, a cloud platform, ..."),
            ),
        ),
        Table(
            "api_keys",
            "one row a key of an account; a key may appear under several accounts",
            (
                ACCOUNT,
                Column("api_key_id", "identifier", "the key's id, never its secret", required=True),
                Column("created_at", "time", "when the key was made"),
                Column("revoked_at", "time", "when it was revoked"),
            ),
        ),
        Table(
            "payments",
            "one row a payment instrument of an account",
            (
                ACCOUNT,
                Column("instrument_id", "identifier", "fingerprint or token of the instrument", required=True),
                Column("kind", "text", "card, virtual_card, prepaid, invoice, ..."),
                Column("added_at", "time", "when it was added"),
                Column("removed_at", "time", "when it was removed"),
            ),
        ),
        Table(
            "events",
            "one row a request",
            (
                Column("timestamp", "time", "when the request came", required=True),
                ACCOUNT,
                Column("api_key_id", "identifier", "the key used"),
                Column("ip", "address", "address or CIDR range the request came from"),
                Column("channel", "text", "direct, a cloud platform, ..."),
                Column("model", "text", "the model asked"),
                Column("status", "count", "HTTP status of the answer"),
                Column("input_tokens", "count", "tokens in the request"),
                Column("output_tokens", "count", "tokens in the answer"),
                Column("template_hash", "identifier", "hash of the request with its variable parts removed"),
            ),
        ),
        Table(
            "links",
            "one row an account and anything else accounts share",
            (
                ACCOUNT,
                Column("kind", "text", "what is shared: device, phone, email, tls, ...", required=True),
                Column("value", "identifier", "the shared value", required=True),
                Column("first_seen", "time", "first time the account used it"),
                Column("last_seen", "time", "last time the account used it"),
                Column("count", "count", "how often"),
            ),
        ),
        Table(
            "ranges",
            "known shared infrastructure; optional help, never needed",
            (
                Column("cidr", "address", "IPv4 or IPv6 range", required=True),
                Column("kind", "text", "cgnat, vpn, relay, cloud, campus, ...", required=True),
            ),
        ),
    )
}

EVIDENCE_KINDS = ("links", "ranges")
"""Tables whose column `kind` says what counts for or against accounts belonging together."""

LINK_SOURCES = ("api_keys", "payments", "events", "links")
"""A source holds at least one of these; the others only help."""

_CLUSTER = Column("cluster_id", "identifier", "stable id of the cluster")

OUTPUT: dict[str, Table] = {
    t.name: t
    for t in (
        Table(
            "accounts",
            "every account read",
            (
                Column("account_id", "identifier", "the account"),
                Column("cluster_id", "identifier", "its cluster; empty: none"),
                Column("assessment", "text", "assessment of its cluster; empty: none"),
                Column("membership", "text", "core or attached; empty: none"),
                Column("bits", "number", "evidence that ties the account to its cluster, in bits"),
                Column("created_at", "time", "when the account was opened"),
                Column("closed_at", "time", "when it was closed"),
                Column("close_reason", "text", "why it was closed"),
                Column("first_seen", "time", "first activity"),
                Column("last_seen", "time", "last activity"),
                Column("events", "count", "requests"),
                Column("tokens", "count", "tokens in and out"),
            ),
            sort=("account_id",),
        ),
        Table(
            "clusters",
            "a cluster of accounts",
            (
                _CLUSTER,
                Column("assessment", "text", "coordinated, review or explained"),
                Column("explanation", "text", "the sentence why"),
                Column("score", "number", "0 to 1: how likely it is one controller, no innocent group and no accident"),
                Column("size", "count", "accounts"),
                Column("core_size", "count", "accounts in its core"),
                Column(
                    "bits", "number", "evidence at which the cluster breaks: the weakest tie that holds it, in bits"
                ),
                Column(
                    "cut_accounts", "count", "accounts on the smaller side when it breaks there; empty: no tie holds it"
                ),
                Column("cut_others", "count", "accounts on the larger side; no tie connects any others to the two"),
                Column("cut_ties", "count", "ties of at least 2 to 1 from one side to the other"),
                Column(
                    "stability",
                    "number",
                    "share of the core in one piece when a fifth of the identifiers is lost; empty: they do not connect it",
                ),
                Column("expected_by_chance", "number", "clusters as strong and about as large found in shuffled data"),
                Column("hypothesis", "text", "the innocent explanation that fits best"),
                Column("against", "text", "what speaks against the assessment"),
                Column("first_seen", "time", "first activity of a member"),
                Column("last_seen", "time", "last activity of a member"),
                Column("accounts_closed", "count", "members that were closed"),
                Column("events", "count", "requests of all members"),
                Column("tokens", "count", "tokens of all members"),
                Column("review_state", "text", "unreviewed, confirmed or innocent: what a person decided"),
            ),
        ),
        Table(
            "signals",
            "a signal of a cluster",
            (
                _CLUSTER,
                Column("signal", "text", "name of the signal"),
                Column("value", "number", "its value in this cluster"),
                Column("baseline", "number", "the same figure for all accounts of this source"),
                Column("p_value", "number", "how often chance gives as much; empty: not a test"),
                Column("suggests", "text", "what the value suggests, as a sentence"),
                Column("look_alike", "text", "the innocent case that looks the same"),
            ),
            sort=("cluster_id", "signal"),
        ),
        Table(
            "links",
            "account x identifier, accounts in clusters only",
            (
                Column("account_id", "identifier", "the account"),
                Column("kind", "text", "kind of identifier"),
                Column("value", "identifier", "normalised value"),
                Column("count", "count", "how often it was used"),
                Column("first_seen", "time", "first use"),
                Column("last_seen", "time", "last use"),
                Column("bits", "number", "what sharing this identifier is worth, in bits"),
                Column("accounts", "count", "accounts of the whole source that use it"),
            ),
            sort=("account_id", "kind", "value"),
        ),
        Table(
            "ties",
            "two accounts of one cluster with the evidence between them",
            (
                Column("account_a", "identifier", "the account that sorts first"),
                Column("account_b", "identifier", "the other"),
                Column("bits", "number", "evidence between the two"),
                Column("shared", "count", "identifiers they share"),
                Column("kinds", "text", "kinds they share, comma separated"),
                Column(
                    "synchrony_bits", "number", "what bursts of requests that both begin together add to these bits"
                ),
            ),
            sort=("account_a", "account_b"),
        ),
        Table(
            "lineage",
            "a replacement: the account that took a closed account's place",
            (
                _CLUSTER,
                Column("parent", "identifier", "the closed account"),
                Column("child", "identifier", "its successor"),
                Column("bits", "number", "evidence for the replacement"),
                Column("gap_seconds", "number", "from the parent's end to the child's first activity"),
                Column("probability", "number", "how likely the child took the place of this very account"),
                Column("margin", "number", "bits by which this parent leads the next best; empty: there is no other"),
                Column(
                    "survived", "text", "kinds of which both use one of the cluster's own identifiers, comma separated"
                ),
            ),
            sort=("cluster_id", "parent", "child"),
        ),
        Table(
            "takedown",
            "a step of a cluster's plan",
            (
                _CLUSTER,
                Column("step", "count", "1, 2, ..."),
                Column("kind", "text", "kind of the identifier to block"),
                Column("value", "identifier", "the identifier to block"),
                Column("accounts_covered", "count", "members that use it and no earlier step covers"),
                Column("accounts_open", "count", "of these members those that are not closed"),
                Column("collateral", "count", "accounts outside the cluster that use it, but for those of `elsewhere`"),
                Column("elsewhere", "count", "accounts of other clusters assessed coordinated that use it"),
                Column("remaining", "count", "members that neither this nor an earlier step covers"),
                Column("largest_part", "count", "members in the largest part of these that still hangs together"),
                Column(
                    "share_of_use", "number", "share of the covered members' uses of this kind that went through it"
                ),
                Column("bound", "number", "the whole plan costs at most so many times the best; 1: it is the best"),
            ),
            sort=("cluster_id", "step"),
        ),
        Table(
            "hours",
            "an hour in which members of a cluster, or any accounts, sent requests",
            (
                Column("cluster_id", "identifier", "the cluster; empty: all accounts of the source"),
                Column("hour", "time", "beginning of the hour"),
                Column("requests", "count", "requests in it"),
                Column("accounts", "count", "accounts that sent one"),
            ),
            sort=("cluster_id", "hour"),
        ),
        Table(
            "ledger",
            "what became of a cluster since the case that --previous named; without it there are no rows",
            (
                Column("cluster_id", "identifier", "its id in this case; empty: it is gone"),
                Column("previous_id", "identifier", "its id in the previous case; empty: it appeared"),
                Column("event", "text", "appeared, grew, shrank, merged, split, gone or kept"),
                Column("accounts_before", "count", "members of the previous cluster"),
                Column("accounts_after", "count", "members of this cluster"),
                Column("common", "count", "accounts that are members of both"),
            ),
            sort=("cluster_id", "event", "previous_id"),
        ),
        Table(
            "rejects",
            "a row not read",
            (
                Column("table", "text", "input table"),
                Column("file", "text", "file name inside the source"),
                Column(
                    "row", "count", "row number in the file, the first data row is 1; empty: a query's rows have none"
                ),
                Column("column", "text", "the column that could not be read; empty: the whole row"),
                Column("reason", "text", "why"),
            ),
            sort=("table", "file", "row", "column"),
        ),
    )
}

ASSESSMENTS = ("coordinated", "review", "explained")
MEMBERSHIPS = ("core", "attached")
REVIEW_STATES = ("unreviewed", "confirmed", "innocent")
EVENTS = ("appeared", "grew", "shrank", "merged", "split", "gone", "kept")
"""What becomes of a cluster between two runs. merged: most of the previous cluster is in one that goes by another id;
split: the cluster comes from a previous one whose id it does not carry; kept: as many members as before."""

REFUSED_WORDS = frozenset({
    "country", "nation", "nationality", "citizen", "citizenship", "iso_3166",
    "language", "lang", "mother_tongue", "iso_639", "locale",
    "timezone", "time_zone", "tz", "tzid", "tzinfo", "tzname", "tz_offset", "utc_offset", "gmt_offset",
    "name", "first_name", "last_name", "full_name", "given_name", "family_name", "middle_name", "maiden_name",
    "display_name", "real_name", "legal_name", "nickname", "forename", "surname",
    "gender", "sex", "sexual", "pronoun", "marital",
    "ethnicity", "ethnic", "race", "racial", "caste", "religion", "religious", "disability",
    "birth", "birthplace", "birthday", "birth_date", "birth_year", "date_of_birth", "year_of_birth", "dob", "yob", "age",
})  # fmt: skip
"""Words for who people are. A column that carries one of them is not read, rows of such a kind are set aside, and a mapping
that names one is refused."""

NAMED_THINGS = frozenset({
    "app", "application", "bank", "bot", "brand", "browser", "bucket", "carrier", "channel", "cluster", "company",
    "computer", "container", "device", "domain", "event", "file", "host", "image", "isp", "issuer", "key", "machine",
    "merchant", "model", "network", "org", "organisation", "organization", "package", "plan", "process", "product",
    "program", "project", "provider", "queue", "server", "service", "table", "template", "tool", "topic", "vendor",
    "workspace",
})  # fmt: skip
"""Things whose names are not people's: a name right behind one of these words (`device_name`) is not refused."""

NOT_PEOPLE = frozenset({
    *(f"{thing}_name" for thing in NAMED_THINGS),
    "name_server", "account_age", "cache_age", "card_age", "device_age", "domain_age", "key_age", "max_age", "session_age",
    "language_model", "programming_language", "race_condition",
})  # fmt: skip
"""What carries a word of REFUSED_WORDS and says nothing about people."""

WHOLE_WORDS = frozenset({"locale", "nation"})
"""Words of REFUSED_WORDS that other words hold by chance (local e-mail, destination), however long they are."""
