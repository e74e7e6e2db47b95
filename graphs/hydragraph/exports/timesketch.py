"""Timesketch: JSONL, one event a line in the order of time, for a timeline of what happened when.

Every event has what Timesketch asks for (`message`, a sentence; `datetime`, ISO 8601; `timestamp`, microseconds since
1970; `timestamp_desc`, what happened, one of EVENTS; `data_type`, `hydragraph:` and account, link, replacement or
decision) and

    cluster_id, assessment, review_state
                  the cluster it belongs to, and what a person decided about it
    account_id    the account; of a replacement the successor; no member of a decision
    membership    account events: core or attached
    close_reason  of a closing
    kind, value, count, bits, accounts
                  link events: the identifier, how often the account used it, what sharing it is worth, who uses it
    parent_account_id, gap_seconds, bits, probability
                  replacements: the closed account, the pause, the evidence, how likely
    decision, note
                  decisions: confirmed, innocent or unreviewed, and why. Who decided stays in the case

A missing value has no member, what has no time is no event. An account or a link that was active once has one event for
it. In messages, characters that cannot be seen are written out; in the other members text is exact.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from hydragraph.exports.content import Content

EVENTS = {
    "Account opened": "account",
    "First activity": "account",
    "Only activity": "account",
    "Replacement": "replacement",
    "First use": "link",
    "Only use": "link",
    "Last use": "link",
    "Last activity": "account",
    "Account closed": "account",
    "Decision": "decision",
}
"""What happens -> what it happens to. Events of one moment stand in this order."""

# Some readers part lines at these as well; all of them stand in text only.
_LINE_ENDS = re.compile("[\x85\u2028\u2029]")
_FIRST = ("message", "datetime", "timestamp", "timestamp_desc", "data_type")


def write(content: Content, path: Path) -> None:
    """Write the events to the file `path`."""
    import json

    with path.open("w", encoding="utf-8", newline="\n") as out:
        for row in _events(content).iter_rows(named=True):
            row["message"] = _message(row)
            held = {name: row[name] for name in _FIRST} | {n: v for n, v in row.items() if v is not None}
            line = json.dumps(held, ensure_ascii=False, allow_nan=False)
            out.write(_LINE_ENDS.sub(lambda found: f"\\u{ord(found[0]):04x}", line) + "\n")


def _events(content: Content) -> pl.DataFrame:
    import polars as pl

    parts = (
        *_of_accounts(content.accounts),
        *_of_links(content),
        *_replacements(content),
        _decisions(content.decisions),
    )
    states = content.clusters.select("cluster_id", "assessment", "review_state")
    what, when = pl.col("timestamp_desc"), pl.col("datetime").dt
    place = {name: number for number, name in enumerate(EVENTS)}
    return (
        pl.concat(parts, how="diagonal")
        .drop_nulls("datetime")
        .join(states, on="cluster_id", how="left")
        .sort(
            "datetime", what.replace_strict(place, return_dtype=pl.Int8), "account_id", "kind", "value",
            "parent_account_id", "cluster_id", "decision", "note", nulls_last=True,
        )
        .with_columns(
            datetime=when.to_string("%Y-%m-%dT%H:%M:%S%.6f+00:00"),
            timestamp=when.timestamp("us"),
            data_type="hydragraph:" + what.replace_strict(EVENTS, return_dtype=pl.String),
        )
    )  # fmt: skip


def _of_accounts(accounts: pl.DataFrame) -> list[pl.DataFrame]:
    import polars as pl

    own = ("cluster_id", "account_id", "membership")
    opened = accounts.select(*own, datetime="created_at", timestamp_desc=pl.lit("Account opened"))
    closed = accounts.select(*own, "close_reason", datetime="closed_at", timestamp_desc=pl.lit("Account closed"))
    return [opened, closed, *_first_and_last(accounts, own, "activity")]


def _of_links(content: Content) -> list[pl.DataFrame]:
    whose = content.accounts.select("account_id", "cluster_id")
    links = content.links.join(whose, on="account_id", how="left")
    own = ("cluster_id", "account_id", "kind", "value", "count", "bits", "accounts")
    return _first_and_last(links, own, "use")


def _first_and_last(frame: pl.DataFrame, own: tuple[str, ...], what: str) -> list[pl.DataFrame]:
    import polars as pl

    first, last = pl.col("first_seen"), pl.col("last_seen")
    once = first.eq_missing(last)
    named = pl.when(once).then(pl.lit(f"Only {what}")).otherwise(pl.lit(f"First {what}"))
    return [
        frame.select(*own, datetime=first, timestamp_desc=named),
        frame.filter(~once).select(*own, datetime=last, timestamp_desc=pl.lit(f"Last {what}")),
    ]


def _replacements(content: Content) -> list[pl.DataFrame]:
    import polars as pl

    begun = content.accounts.select("account_id", "first_seen")
    return [
        content.lineage.join(begun, left_on="child", right_on="account_id", how="left").select(
            "cluster_id",
            "gap_seconds",
            "bits",
            "probability",
            account_id="child",
            parent_account_id="parent",
            datetime="first_seen",
            timestamp_desc=pl.lit("Replacement"),
        )
    ]


def _decisions(decisions: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return decisions.select(
        "cluster_id",
        "decision",
        note=pl.when(pl.col("note") != "").then("note"),
        datetime="when",
        timestamp_desc=pl.lit("Decision"),
    )


def _message(event: dict[str, Any]) -> str:
    """An event as a sentence."""
    from hydragraph.report.text import count, duration, visible

    what, account = event["timestamp_desc"], visible(event["account_id"] or "")
    if what == "Decision":
        return f"Cluster {visible(event['cluster_id'])} reviewed: {event['decision']}"
    if what == "Replacement":
        parent = visible(event["parent_account_id"])
        return f"Account {account} took the place of {parent} after {duration(event['gap_seconds'])}"
    if EVENTS[what] == "link":
        return (
            f"Account {account}: {what.lower()} of {visible(event['kind'])} {visible(event['value'])},"
            f" which {count(event['accounts'])} accounts use"
        )
    reason = f" ({visible(event['close_reason'])})" if event["close_reason"] else ""
    return f"Account {account}: {what.removeprefix('Account ').lower()}{reason}"
