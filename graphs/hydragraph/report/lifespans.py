"""When each member was active: one line an account, ready to be drawn as SVG."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from hydragraph.report.text import minute

WIDTH = 1000
ROW = 8


@dataclass(frozen=True)
class Line:
    """One account: its line from x1 to x2 at height y, the x of its closing, and what it says."""

    x1: int
    x2: int
    y: int
    closed: int | None
    title: str


@dataclass(frozen=True)
class Lifespans:
    """Lines of accounts and steps from a closed account to its successor (x1, y1, x2, y2); a box WIDTH x height."""

    lines: tuple[Line, ...]
    steps: tuple[tuple[int, int, int, int], ...]
    height: int
    start: datetime
    end: datetime
    total: int


def lifespans(members: pl.DataFrame, lineage: pl.DataFrame, *, limit: int = 60) -> Lifespans | None:
    """Lines for `limit` members; each that took a closed one's place below it, otherwise in the order they were first seen.

    members: rows of the accounts table, best tied first; lineage: the cluster's rows, strongest first. Accounts that
    were replaced or took another's place are drawn before the others. Where no activity is known a line begins with the
    opening. None when fewer than two members have times.
    """
    begun = members.with_columns(first_seen=pl.coalesce("first_seen", "created_at"))
    timed = begun.filter(pl.col("first_seen").is_not_null())
    if timed.height < 2:
        return None
    pairs = lineage.select(pl.concat_list("parent", "child").alias("account_id")).explode("account_id")
    replaced = pairs["account_id"].unique(maintain_order=True)
    first = timed.with_columns(moved=pl.col("account_id").is_in(replaced.head(limit * 2 // 3).implode()))
    first = first.sort("moved", descending=True, maintain_order=True).head(limit)
    rows = _below_each_other(first.sort("first_seen", "account_id").to_dicts(), lineage)
    for row in rows:
        row["end"] = max(t for t in (row["first_seen"], row["last_seen"]) if t is not None)
    start = min(r["first_seen"] for r in rows)
    end = max(max(r["end"], r["closed_at"] or r["end"]) for r in rows)
    whole: float = max((end - start).total_seconds(), 1.0)

    def x(time: datetime) -> int:
        share: float = min(max((time - start).total_seconds() / whole, 0.0), 1.0)
        return round(6 + (WIDTH - 12) * share)

    lines, at = [], {}
    for i, row in enumerate(rows):
        y = ROW * i + ROW
        closed = None if row["closed_at"] is None else x(row["closed_at"])
        says = f"{minute(row['first_seen'])} to {minute(row['end'])}"
        if row["closed_at"] is not None:
            says += f", closed {minute(row['closed_at'])}"
        lines.append(Line(x(row["first_seen"]), x(row["end"]), y, closed, says))
        at[row["account_id"]] = lines[-1]
    steps = []
    for parent, child in lineage.sort("parent", "child").select("parent", "child").iter_rows():
        if parent in at and child in at:
            old, new = at[parent], at[child]
            steps.append((old.closed if old.closed is not None else old.x2, old.y, new.x1, new.y))
    return Lifespans(tuple(lines), tuple(steps), ROW * (len(rows) + 1), start, end, timed.height)


def _below_each_other(rows: list[dict[str, Any]], lineage: pl.DataFrame) -> list[dict[str, Any]]:
    """`rows` with every successor right below the account whose place it took."""
    named = {row["account_id"]: row for row in rows}
    successor = dict(lineage.sort("parent", "child").select("parent", "child").iter_rows())
    known_parent = {child for parent, child in successor.items() if parent in named}
    ordered = []
    for row in rows:
        head: str | None = row["account_id"]
        if head in known_parent:
            continue  # it stands below its parent
        while head in named:
            ordered.append(named.pop(head))
            head = successor.get(head)
    return [*ordered, *(row for row in rows if row["account_id"] in named)]
