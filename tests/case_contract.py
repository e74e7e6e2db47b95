"""What must hold in every case folder, read from the files alone: one sentence for each thing that does not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl

HELD: dict[str, set[str]] = {
    "accounts": {"account_id", "cluster_id", "assessment", "membership", "bits"},
    "clusters": {
        "cluster_id", "assessment", "explanation", "score", "size", "bits", "expected_by_chance", "first_seen",
        "last_seen", "accounts_closed", "tokens",
    },
    "signals": {"cluster_id", "signal", "value", "baseline", "p_value", "suggests", "look_alike"},
    "links": {"account_id", "kind", "value", "count", "first_seen", "last_seen", "bits"},
    "ties": {"account_a", "account_b", "bits", "shared", "kinds"},
    "lineage": {"cluster_id", "parent", "child", "bits", "gap_seconds"},
    "takedown": {"cluster_id", "step", "kind", "value", "accounts_covered", "collateral"},
    "hours": {"cluster_id", "hour", "requests", "accounts"},
    "ledger": {"cluster_id", "previous_id", "event", "accounts_before", "accounts_after", "common"},
    "rejects": {"table", "file", "row", "column", "reason"},
}  # fmt: skip
"""Tables and the columns that other programs rely on."""

KEYS: dict[str, set[str]] = {
    "accounts": {"account_id"},
    "clusters": {"cluster_id"},
    "signals": {"cluster_id", "signal"},
    "links": {"account_id", "kind", "value"},
    "ties": {"account_a", "account_b"},
    "lineage": {"child"},
    "takedown": {"cluster_id", "step"},
}
"""Columns that together name one row."""


def breaks(case: Path) -> list[str]:
    """What in the case does not hold; empty for a sound case."""
    lacking = [name for name in HELD if not (case / f"{name}.parquet").is_file()]
    lacking += [name for name in ("manifest.json", "report.html") if not (case / name).is_file()]
    if lacking:
        return [f"{name} is missing" for name in lacking]
    tables = {name: pl.read_parquet(case / f"{name}.parquet") for name in HELD}
    lacking = [
        f"{name}: no column {c}" for name, held in HELD.items() for c in sorted(held - set(tables[name].columns))
    ]
    if lacking:
        return lacking
    return [*_rows(tables), *_clusters(tables), *_members(tables), *_manifest(case, tables)]


def _rows(tables: dict[str, pl.DataFrame]) -> Iterator[str]:
    for name, key in KEYS.items():
        again = tables[name].height - tables[name].select(sorted(key)).n_unique() if tables[name].height else 0
        if again:
            yield f"{name}: {again} rows for the second time"
        if any(tables[name].select(sorted(key)).null_count().row(0)):
            yield f"{name}: a row without a name"
    for name, order in (("accounts", ["account_id"]), ("links", ["account_id", "kind", "value"])):
        if not tables[name].sort(order).equals(tables[name]):
            yield f"{name}: not sorted"
    if not tables["ties"].sort("account_a", "account_b").equals(tables["ties"]):
        yield "ties: not sorted"


def _clusters(tables: dict[str, pl.DataFrame]) -> Iterator[str]:
    clusters, accounts = tables["clusters"], tables["accounts"]
    for row in clusters.iter_rows(named=True):
        members = accounts.filter(cluster_id=row["cluster_id"])
        ids = "\0".join(members["account_id"].sort())
        what = f"cluster of {row['size']}"
        if row["assessment"] not in ("coordinated", "review", "explained"):
            yield f"{what}: unknown assessment"
        if not 0 <= row["score"] <= 1:
            yield f"{what}: score outside 0 to 1"
        if len(row["explanation"] or "") < 20:
            yield f"{what}: no explanation"
        if row["size"] != members.height or row["size"] < 2:
            yield f"{what}: {members.height} accounts say they are members"
        if row["bits"] < 0 or row["expected_by_chance"] < 0:
            yield f"{what}: negative figures"
        unsure = row["score"] < 0.9 and row["review_state"] == "unreviewed"
        if row["assessment"] == "coordinated" and (row["size"] < 3 or unsure):
            yield f"{what}: coordinated on too little"
        if set(members["assessment"]) != {row["assessment"]}:
            yield f"{what}: members are assessed otherwise"
        if not row["cluster_id"].endswith(hashlib.sha256(ids.encode()).hexdigest()[:12]):
            yield f"{what}: its id is not that of its members"
        if (row["first_seen"], row["last_seen"]) != (members["first_seen"].min(), members["last_seen"].max()):
            yield f"{what}: its span is not that of its members"
        if (row["tokens"], row["events"]) != (members["tokens"].sum(), members["events"].sum()):
            yield f"{what}: its volume is not that of its members"
        if row["accounts_closed"] != members["closed_at"].count():
            yield f"{what}: its closed accounts are not those of its members"
        if row["core_size"] != (members["membership"] == "core").sum() or not row["core_size"]:
            yield f"{what}: its core is not that of its members"
        said = tables["signals"].filter(cluster_id=row["cluster_id"])
        if row["assessment"] != "explained" and said.is_empty():
            yield f"{what}: a lead without a signal"
        if said["value"].is_nan().any() or (said["suggests"].str.len_chars() < 20).any():
            yield f"{what}: a signal without a figure or a sentence"
    ranks = [("coordinated", "review", "explained").index(a) for a in clusters["assessment"]]
    if ranks != sorted(ranks):
        yield "clusters: not strongest first"


def _members(tables: dict[str, pl.DataFrame]) -> Iterator[str]:
    accounts, known = tables["accounts"], tables["clusters"].select("cluster_id")
    members = accounts.filter(pl.col("cluster_id").is_not_null())
    outside = accounts.filter(pl.col("cluster_id").is_null())
    if any(outside[c].count() for c in ("assessment", "membership", "bits")):
        yield "accounts: figures of a cluster on accounts outside all clusters"
    if not set(members["membership"]) <= {"core", "attached"} or members["bits"].null_count():
        yield "accounts: members without a membership"
    for name in ("accounts", "signals", "lineage", "takedown", "hours"):
        strange = tables[name].drop_nulls("cluster_id").join(known, on="cluster_id", how="anti")
        if strange.height:
            yield f"{name}: {strange.height} rows speak of clusters that are not there"
    where = members.select("account_id", "cluster_id")
    ties = (
        tables["ties"]
        .join(where, left_on="account_a", right_on="account_id", how="left")
        .join(where, left_on="account_b", right_on="account_id", how="left", suffix="_b")
    )
    apart = ties.filter(
        (pl.col("cluster_id") != pl.col("cluster_id_b")).fill_null(True) | (pl.col("account_a") >= pl.col("account_b"))
    )
    if apart.height:
        yield f"ties: {apart.height} not between two accounts of one cluster"
    if tables["links"].join(where, on="account_id", how="anti").height:
        yield "links: accounts outside all clusters"


def _manifest(case: Path, tables: dict[str, pl.DataFrame]) -> Iterator[str]:
    manifest = json.loads((case / "manifest.json").read_text("utf-8"))
    for key in ("version", "settings", "seed", "inputs", "rows", "stages"):
        if key not in manifest:
            yield f"manifest: no {key}"
    if any(set(s) != {"name", "seconds", "peak_memory_bytes"} for s in manifest.get("stages", [])):
        yield "manifest: stages without name, seconds and peak memory"
    rows = manifest.get("rows", {})
    if any(r["read"] != r["kept"] + r["rejected"] for r in rows.values()):
        yield "manifest: rows do not add up"
    rejected = {name: r["rejected"] for name, r in rows.items() if r["rejected"]}
    written = dict(tables["rejects"].group_by("table").agg(pl.struct("file", "row").n_unique()).iter_rows())
    if rejected != written:
        yield "manifest: rejected rows are not those of the table rejects"
