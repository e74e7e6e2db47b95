"""A stretch of a world's time: what a provider's export of that stretch would hold."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from hydragraph.schema import TIME

_SPAN = {
    "accounts": ("created_at", "closed_at"),
    "api_keys": ("created_at", "revoked_at"),
    "payments": ("added_at", "removed_at"),
}
"""Beginning and end of what a row of each table is about."""


@dataclass(frozen=True)
class Window:
    """The time from `since` to before `until`, in microseconds since 1970; None: the world's own beginning and end."""

    since: int | None
    until: int | None

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return self.since is None and self.until is None

    def opened(self) -> pl.Expr:
        """Whether an account had been opened by the end of this time."""
        return self._before_end("created_at")

    def of(self, table: str, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of a table that an export of this time holds, with what was known at its end.

        accounts, api_keys, payments: rows that began or ended in this time; an end after it is not known yet, nor the
        reason of a closing. links: those in use then, from first to last use in it, with their share of the count.
        events: those of this time. ranges: all.
        """
        if self.whole or table == "ranges":
            return frame
        if table == "events":
            return frame.filter(self._inside("timestamp"))
        if table == "links":
            return self._links(frame)
        begun, ended = _SPAN[table]
        rows = frame.filter(self._before_end(begun) & (self._after_start(begun) | self._inside(ended)))
        of_end = [c for c in (ended, "close_reason") if c in frame.columns]
        return rows.with_columns(pl.when(self._before_end(ended)).then(pl.col(c)).alias(c) for c in of_end)

    def _links(self, frame: pl.DataFrame) -> pl.DataFrame:
        first, last = (pl.col(c).cast(pl.Int64) for c in ("first_seen", "last_seen"))
        begin = first if self.since is None else pl.max_horizontal(first, pl.lit(self.since))
        end = last if self.until is None else pl.min_horizontal(last, pl.lit(self.until - 1))
        share = (end - begin + 1) / (last - first + 1)
        return frame.filter(self._before_end("first_seen") & self._after_start("last_seen")).with_columns(
            first_seen=begin.cast(TIME),
            last_seen=end.cast(TIME),
            count=pl.max_horizontal((pl.col("count") * share).round().cast(pl.Int64), pl.lit(1, pl.Int64)),
        )

    def _inside(self, column: str) -> pl.Expr:
        return (self._before_end(column) & self._after_start(column)).fill_null(False)

    def _before_end(self, column: str) -> pl.Expr:
        return pl.lit(True) if self.until is None else pl.col(column).cast(pl.Int64) < self.until

    def _after_start(self, column: str) -> pl.Expr:
        return pl.lit(True) if self.since is None else pl.col(column).cast(pl.Int64) >= self.since
