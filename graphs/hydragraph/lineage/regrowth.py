"""How clusters grow again after closings: how often, how soon, wave by wave, and with which identifiers."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from hydragraph.identifiers import kind as kind_of
from hydragraph.lineage.pairs import OWN_WILL
from hydragraph.schema import TIME

WAVE_HOURS = 12.0
"""Closings of a cluster belong to one wave when each comes at most so many hours after the one before."""

LATER_DAYS = 7
"""Days after a wave at which it is looked how many accounts the cluster has again."""

SMALLEST_WAVE = 2
"""Closings that make a wave."""

_HOUR = 3_600_000_000


@dataclass(frozen=True, repr=False)
class Regrowth:
    """What followed the closings of some clusters.

    members: their accounts, rows of the case's accounts; lineage, links: the case's rows of these clusters. data_end: how
    far the source reaches; None: to the last that is known of the members. A closing is one that was not the account
    holder's own will. Times are hours from a closing to the successor's first activity.
    """

    members: pl.DataFrame
    lineage: pl.DataFrame
    links: pl.DataFrame
    data_end: dt.datetime | None = None

    @cached_property
    def closings(self) -> pl.DataFrame:
        """Every closing: cluster_id, account_id, closed_at, successor (null: none named), hours, in the order of time."""
        own = pl.col("close_reason").str.strip_chars().str.to_lowercase().is_in(sorted(OWN_WILL)).fill_null(False)
        named = self.lineage.select(
            account_id="parent", successor="child", hours=pl.col("gap_seconds") / 3600, probability="probability"
        )
        return (
            self.members.filter(pl.col("closed_at").is_not_null() & ~own)
            .select("cluster_id", "account_id", "closed_at")
            .join(named, on="account_id", how="left")
            .sort("cluster_id", "closed_at", "account_id")
        )

    @cached_property
    def clusters(self) -> pl.DataFrame:
        """A row a cluster with closings, most closings first: cluster_id, assessment, size, closed, replaced, share,
        and of the times to a replacement the quarter, the median and the three quarters (hours; null: none)."""
        of = self.members.group_by("cluster_id").agg(size=pl.len(), assessment=pl.col("assessment").first())
        return (
            self.closings.group_by("cluster_id")
            .agg(*_figures())
            .join(of, on="cluster_id", how="left")
            .select("cluster_id", "assessment", "size", *_FIGURES)
            .sort("closed", "cluster_id", descending=[True, False])
        )

    @cached_property
    def waves(self) -> pl.DataFrame:
        """A row a wave, in the order of time: cluster_id, wave (1, 2, ... in the cluster), start, end, open_before
        (members begun and not closed when it came), closed, replaced, share, quarter, median, three_quarters (hours), and
        open_after (the same members 7 days after its end; null: the data end before)."""
        gap = pl.col("closed_at").cast(pl.Int64).diff() > WAVE_HOURS * _HOUR
        runs = self.closings.with_columns(run=gap.fill_null(True).cum_sum().over("cluster_id"))
        span = {"start": pl.col("closed_at").min(), "end": pl.col("closed_at").max()}
        waves = (
            runs.group_by("cluster_id", "run")
            .agg(*_figures(), **span)
            .filter(pl.col("closed") >= SMALLEST_WAVE)
            .sort("cluster_id", "start")
            .with_columns(
                wave=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("cluster_id"),
                later=pl.col("end") + pl.duration(days=LATER_DAYS),
            )
        )
        began = pl.coalesce("first_seen", "created_at")
        lives = self.members.select("cluster_id", "closed_at", began=began)
        there = (
            waves.select("cluster_id", "wave", "start", "later")
            .join(lives, on="cluster_id")
            .group_by("cluster_id", "wave")
            .agg(open_before=_open_at("start"), open_after=_open_at("later"))
        )
        last = self.data_end or last_known(self.members)
        return (
            waves.join(there, on=["cluster_id", "wave"], how="left")
            .with_columns(open_after=pl.when(pl.col("later") <= pl.lit(last, TIME)).then("open_after"))
            .select("cluster_id", "wave", "start", "end", "open_before", *_FIGURES, "open_after")
            .sort("start", "cluster_id", "wave")
        )

    @cached_property
    def survivors(self) -> pl.DataFrame:
        """The identifiers that survive closings, most often first: kind, value, replacements (in which the closed
        account and its successor both use it), members, accounts (of the whole source) and bits.

        Only identifiers of the clusters' own: those of which members are at least half of the users.
        """
        used = self.links.select("account_id", "kind", "value", "accounts", "bits")
        members = used.group_by("kind", "value").agg(
            members=pl.len().cast(pl.Int64), accounts=pl.col("accounts").max(), bits=pl.col("bits").max()
        )
        pairs = self.lineage.select("parent", "child")
        before = pairs.join(used.select(parent="account_id", kind="kind", value="value"), on="parent")
        both = before.join(used.select(child="account_id", kind="kind", value="value"), on=["child", "kind", "value"])
        return (
            both.group_by("kind", "value")
            .agg(replacements=pl.len().cast(pl.Int64))
            .join(members, on=["kind", "value"])
            .filter(2 * pl.col("members") >= pl.col("accounts"))
            .select("kind", "value", "replacements", "members", "accounts", "bits")
            .sort("replacements", "members", "kind", "value", descending=[True, False, False, False])
        )

    @cached_property
    def kinds(self) -> pl.DataFrame:
        """The kinds that survive, most often first: kind, replacements in which one of its identifiers did, share."""
        number = self.lineage.height
        return (
            self.lineage.select(kind=pl.col("survived").str.split(","))
            .explode("kind")
            .filter(pl.col("kind").str.len_chars() > 0)
            .group_by("kind")
            .agg(replacements=pl.len().cast(pl.Int64))
            .with_columns(share=pl.col("replacements") / max(number, 1))
            .sort("replacements", "kind", descending=[True, False])
        )

    @cached_property
    def summary(self) -> dict[str, float | int | None]:
        """clusters with closings, waves, and the figures of `clusters` over all of them."""
        return {"clusters": self.closings["cluster_id"].n_unique(), "waves": self.waves.height, **self._over_all}

    @cached_property
    def _over_all(self) -> dict[str, float | int | None]:
        return self.closings.select(*_figures()).row(0, named=True)

    @property
    def sentence(self) -> str:
        """The summary in words."""
        found = self._over_all
        closed, replaced = found["closed"] or 0, found["replaced"] or 0
        if not closed:
            return "No account was closed." if self.members.height else "There is no cluster to look at."
        accounts = "1 account" if closed == 1 else f"{closed:,} accounts"
        if not replaced:
            return f"{accounts} closed; for none of them a successor can be named."
        said = f"{accounts} closed; a successor can be named for {'it' if closed == 1 else f'{replaced:,} of them'}"
        times = [found[name] for name in ("quarter", "median", "three_quarters")]
        if replaced == 1:
            said += f", {hours_in_words(times[1])} later."
        else:
            said += f", half of these within {hours_in_words(times[1])} (a quarter within {hours_in_words(times[0])}"
            said += f", three quarters within {hours_in_words(times[2])})."
        kinds = [
            f"{kind_of(kind).title} ({number:,})"
            for kind, number in self.kinds.select("kind", "replacements").head(3).iter_rows()
        ]
        return f"{said} What both used most often: {', '.join(kinds)}." if kinds else said

    def __repr__(self) -> str:
        return f"<Regrowth: {self.sentence}>"


def _open_at(time: str) -> pl.Expr:
    """How many members have begun and are not closed at `time`."""
    there = (pl.col("began") < pl.col(time)) & (pl.col("closed_at").is_null() | (pl.col("closed_at") >= pl.col(time)))
    return there.fill_null(False).sum().cast(pl.Int64)


def last_known(accounts: pl.DataFrame) -> dt.datetime | None:
    """The latest activity of accounts, where none is known the latest closing (some are planned), None without either."""
    found: dt.datetime | None = accounts.select(pl.coalesce(pl.col("last_seen", "closed_at").max())).item()
    return found


_FIGURES = ("closed", "replaced", "share", "quarter", "median", "three_quarters")


def _figures() -> list[pl.Expr]:
    named = pl.col("successor").is_not_null()
    return [
        pl.len().cast(pl.Int64).alias("closed"),
        named.sum().cast(pl.Int64).alias("replaced"),
        named.mean().alias("share"),
        *(
            pl.col("hours").quantile(at, "linear").alias(name)
            for at, name in ((0.25, "quarter"), (0.5, "median"), (0.75, "three_quarters"))
        ),
    ]


def hours_in_words(hours: float | int | None) -> str:
    """A time in words: 40 minutes, 19 hours, 3 days. None counts as 0."""
    hours = hours or 0.0
    number, unit = (hours * 60, "minute") if hours < 2 else (hours, "hour") if hours < 72 else (hours / 24, "day")
    number = round(number, 1) if unit != "minute" and number < 9.95 else max(round(number), 1)
    return f"{number:g} {unit}{'' if number == 1 else 's'}"
