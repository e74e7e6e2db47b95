"""How well a case is followed: ids from run to run, newer tables held against it, what people decided and know, suggestions
from known accounts and paths between them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from time import perf_counter

import numpy as np
import polars as pl

import hydragraph as hg
from hydragraph.report.files import write_whole
from hydragraph.worlds import simulate

ACCOUNTS = 20_000
CHANGED = 0.015
"""Share of the links that change at random before the second run."""

CUT_DAYS = 45.0
"""Days of the world in the case; the rest are the newer tables."""

KNOWN = 3
"""Accounts of a ring that are known when others are suggested."""

_VALUES = {"payments": "instrument_id", "api_keys": "api_key_id", "links": "value", "events": "ip"}

Counts = Mapping[str, float]


def followed(kept: Path, seeds: Iterable[int], say: Callable[[str], None]) -> list[Counts]:
    """What was measured on one world a seed, or what was kept of it in the folder `kept`."""
    found = []
    for seed in seeds:
        path = kept / f"follow-{seed}.json"
        if not path.is_file():
            with tempfile.TemporaryDirectory() as folder:
                counts = {
                    **_ids_kept(Path(folder), seed), **_watched(Path(folder), seed), **_decided(Path(folder), seed)
                }  # fmt: skip
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(counts).encode())
            say(f"followed: seed {seed}")
        found.append(json.loads(path.read_text("utf-8")))
    return found


def _ids_kept(folder: Path, seed: int) -> dict[str, float]:
    """Clusters whose id the next run keeps when 1.5 % of each table's values are dealt out anew, and suggestions."""
    world, changed = folder / "world", folder / "changed"
    simulate(world, accounts=ACCOUNTS, seed=seed)
    first = hg.analyze(world, folder / "first")
    rng = np.random.default_rng(seed)
    changed.mkdir()
    for path in sorted(world.glob("*.parquet")):
        table = pl.read_parquet(path)
        column = _VALUES.get(path.stem)
        if column is not None:
            at = np.flatnonzero(rng.random(table.height) < CHANGED)
            table = table.with_columns(table[column].scatter(at, table[column].gather(rng.permutation(at))))
        table.write_parquet(changed / path.name)
    second = hg.analyze(changed, folder / "second", previous=first)
    kept = first.clusters.join(second.clusters, on="cluster_id", how="semi")
    return {"clusters": first.clusters.height, "kept": kept.height, **_suggested(first, world)}


def _suggested(case: hg.Case, world: Path) -> dict[str, float]:
    """Of rings with at least 10 accounts in clusters: suggestions from 3 known accounts, as many as the ring has more."""
    truth = pl.read_parquet(world / "truth.parquet").filter(pl.col("cluster").is_not_null())
    held = truth.join(case.links.select("account_id").unique(), on="account_id", how="semi").sort(
        "cluster", "account_id"
    )
    suggested = right = rings = 0
    asked = found = between = own = 0
    for _, ring in held.group_by("cluster", maintain_order=True):
        members = ring["account_id"].to_list()
        if len(members) < 10:
            continue
        rings += 1
        known = members[:: len(members) // KNOWN][:KNOWN]
        more = case.expand(known, count=len(members) - KNOWN).accounts["account_id"].to_list()
        suggested += len(more)
        right += len(set(more) & set(members))
        for a, b in ((known[0], known[1]), (known[1], known[2])):
            way = case.evidence_path(a, b, alternatives=0).steps["to_account"].to_list()
            asked += 1
            found += len(way) > 0
            between += len(way[:-1])
            own += len(set(way[:-1]) & set(members))
    return {
        "rings": rings, "suggested": suggested, "right": right,
        "asked": asked, "paths": found, "between": between, "own": own,
    }  # fmt: skip


def _decided(folder: Path, seed: int) -> dict[str, float]:
    """What becomes of decisions and of given pairs in the next run, the case being that of the first days (`_watched`).

    Every coordinated cluster is called confirmed, and every one for review innocent, as well as as many explained ones.
    Pairs: of each ring an account in a cluster and one in another cluster, or in none, must be together; two members of
    other explained clusters must not.
    """
    case = hg.open_case(folder / "case")
    explained = case.clusters.filter(pl.col("assessment") == "explained", pl.col("size") >= 3)["cluster_id"].sort()
    confirmed, review = (
        case.clusters.filter(assessment=word)["cluster_id"].sort() for word in ("coordinated", "review")
    )
    innocent = [*review, *explained[::2][: max(len(review), 10)]]
    for cluster in confirmed:
        hg.decide(case, cluster, "confirmed", by="benchmark")
    for cluster in innocent:
        hg.decide(case, cluster, "innocent", by="benchmark")
    ring = pl.read_parquet(folder / "old" / "truth.parquet").select("account_id", ring="cluster")
    where = case.accounts.join(ring, on="account_id").sort("account_id")
    rows = []
    for _, members in where.drop_nulls("ring").group_by("ring", maintain_order=True):
        firsts = members.sort("cluster_id", nulls_last=True, maintain_order=True).unique(
            "cluster_id", keep="first", maintain_order=True
        )
        if firsts.height > 1:
            rows.append((*firsts["account_id"].head(2), "must"))
    for cluster in explained[1::2][:100]:
        names = where.filter(cluster_id=cluster)["account_id"].to_list()
        rows.append((names[0], names[1], "cannot"))
    pairs = pl.DataFrame(rows, schema=["account_a", "account_b", "relation"], orient="row")
    after = hg.analyze(folder / "world", folder / "decided", previous=case, constraints=pairs)
    word = dict(after.clusters.select("cluster_id", "assessment").iter_rows())
    then = dict(after.accounts.select("account_id", "cluster_id").iter_rows())
    held = [
        (then[a] == then[b] and then[a] is not None) if relation == "must" else (then[a] != then[b] or then[a] is None)
        for a, b, relation in rows
    ]
    return {
        "confirmed": len(confirmed), "still_confirmed": sum(word.get(c) == "coordinated" for c in confirmed),
        "innocent": len(innocent), "still_innocent": sum(word.get(c, "explained") == "explained" for c in innocent),
        "given": len(held), "held": sum(held),
    }  # fmt: skip


def _watched(folder: Path, seed: int) -> dict[str, float]:
    """Newer tables of the last 15 days against a case of the first 45: who attaches, and how long it takes."""
    old, new = folder / "old", folder / "new"
    simulate(old, accounts=ACCOUNTS, seed=seed, until=CUT_DAYS)
    simulate(new, accounts=ACCOUNTS, seed=seed, since=CUT_DAYS)
    case = hg.analyze(old, folder / "case")
    whole = sum(s["seconds"] for s in case.manifest["stages"] if s["name"] != "report")
    start = perf_counter()
    found = hg.watch(case, new)
    seconds = perf_counter() - start
    truth = pl.concat([pl.read_parquet(old / "truth.parquet"), pl.read_parquet(new / "truth.parquet")], how="diagonal")
    ring = truth.unique("account_id", maintain_order=True).select("account_id", "cluster")
    leads = case.clusters.filter(pl.col("assessment") != "explained")
    members = case.accounts.join(leads, on="cluster_id", how="semi").join(ring, on="account_id")
    of_cluster = members.group_by("cluster_id").agg(pl.col("cluster").drop_nulls().mode().sort().first())
    attached = found.attached.join(ring, on="account_id", how="left").join(
        of_cluster, on="cluster_id", how="left", suffix="_of"
    )
    right = attached.filter(pl.col("cluster") == pl.col("cluster_of"))
    fresh = ring.join(case.accounts, on="account_id", how="anti").filter(
        pl.col("cluster").is_in(of_cluster["cluster"].implode())
    )
    return {
        "attached": attached.height, "attached_right": right.height, "fresh": fresh.height,
        "fresh_right": right.filter("new").height, "seconds": seconds, "whole": whole,
    }  # fmt: skip


def follow_section(found: Iterable[Counts]) -> str:
    """The section of the document; empty without figures."""
    each = list(found)
    if not each:
        return ""
    total = {name: sum(counts[name] for counts in each) for name in each[0]}

    def share(part: str, whole: str) -> str:
        return f"{total[part] / total[whole]:.3f} ({total[part]:,.0f} of {total[whole]:,.0f})" if total[whole] else "-"

    rows = [
        ("clusters that keep their id when 1.5 % of the links change at random", share("kept", "clusters")),
        ("`watch`: accounts attached that belong to the ring of their cluster", share("attached_right", "attached")),
        ("`watch`: new accounts of the rings on the list that are attached", share("fresh_right", "fresh")),
        (
            "`watch`: seconds, as a share of those of `analyze` on the older tables",
            f"{total['seconds'] / total['whole']:.2f}",
        ),
        (
            "confirmed clusters that keep their id and are coordinated in the next run",
            share("still_confirmed", "confirmed"),
        ),
        ("clusters called innocent that are no lead in the next run", share("still_innocent", "innocent")),
        ("pairs given as belonging together, or apart, that are", share("held", "given")),
        (f"`expand` from {KNOWN} known accounts: suggestions that are of the same ring", share("right", "suggested")),
        ("`path` between two accounts of a ring: there is one", share("paths", "asked")),
        ("`path`: accounts on the way that are of that ring", share("own", "between")),
    ]
    return "\n".join(
        [
            "## From run to run, and from known accounts",
            "",
            f"{len(each)} worlds of {ACCOUNTS:,} accounts, one a seed. For `watch` the first {CUT_DAYS:g} of their 60 days"
            " are the case, the rest the newer tables. In that case all coordinated clusters are called confirmed, those for"
            " review and some explained ones innocent; the next run has all 60 days, and evidence of another kind may have"
            " opened some of these again, as it should. `expand` is asked for as many accounts as the ring has more, rings"
            " of at least 10 accounts in clusters, and `path` for the ways between the known ones.",
            "",
            "| what | share |",
            "| --- | --- |",
            *(f"| {what} | {figure} |" for what, figure in rows),
            "",
        ]
    )
