"""A written world as frames, for the tests that ask what it holds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from hydragraph.identifiers import address_ranges
from hydragraph.settings import Settings
from hydragraph.worlds import simulate


@dataclass(frozen=True)
class Rows:
    """The tables of a world; events carry the range of their address, and everything carries the truth."""

    truth: pl.DataFrame
    accounts: pl.DataFrame
    api_keys: pl.DataFrame
    payments: pl.DataFrame
    events: pl.DataFrame
    links: pl.DataFrame
    ranges: pl.DataFrame

    @cached_property
    def seen(self) -> pl.DataFrame:
        """One row an account and range: account_id, range, requests, and the account's truth."""
        pairs = self.events.filter(pl.col("range").is_not_null()).group_by("account_id", "range").agg(requests=pl.len())
        return pairs.join(self.truth, on="account_id").sort("account_id", "range")

    @cached_property
    def strangers(self) -> pl.DataFrame:
        """Innocent accounts on each range: range, people."""
        return self.seen.filter(label=0).group_by("range").agg(people=pl.len())

    def of(self, **which: Any) -> pl.DataFrame:
        """Truth rows that match, for example kind="office" or tactic="card_chain"."""
        if "kind" in which:
            which["group_kind"] = which.pop("kind")
        return self.truth.filter(**which)

    def sharing(self, table: str, column: str, accounts: pl.DataFrame, **only: str) -> pl.DataFrame:
        """Identifiers of these accounts: value, accounts (of the whole world), mine (of the given ones)."""
        rows = getattr(self, table).filter(**only).select("account_id", value=column).unique()
        inside = rows["account_id"].is_in(accounts["account_id"].implode())
        return (
            rows.with_columns(inside=inside)
            .group_by("value")
            .agg(accounts=pl.len(), mine=pl.col("inside").sum())
            .filter(pl.col("mine") > 0)
            .sort("value")
        )


def read(folder: Path) -> Rows:
    """The tables of the world in `folder`."""
    tables = {}
    for name in ("truth", "accounts", "api_keys", "payments", "events", "links", "ranges"):
        parts = folder / name
        tables[name] = pl.read_parquet(parts / "*.parquet" if parts.is_dir() else folder / f"{name}.parquet")
    events = tables["events"]
    addresses = events["ip"].drop_nulls().unique().sort()
    known = pl.DataFrame({"ip": addresses, "range": address_ranges(addresses, Settings())["range"]})
    tables["events"] = events.join(known, on="ip", how="left", maintain_order="left")
    return Rows(**tables)


@cache
def world(scenario: str = "mixed", accounts: int = 12_000, seed: int = 5, **given: Any) -> Rows:
    """A simulated world, made once for all tests that ask for it."""
    with TemporaryDirectory() as folder:
        simulate(Path(folder) / "world", accounts=accounts, seed=seed, scenario=scenario, **given)
        return read(Path(folder) / "world")
