"""Smearing: how many accounts of a ring must use what belongs to innocent ones until these are accused. Prints tables.

    .venv/bin/python benchmarks/smearing.py [--accounts 2500] [--seeds 1 2] [--only-rings]

An attacker who controls a ring lets some of its accounts use an identifier of an innocent account on purpose: its address
range, its template, its phone number, its card, its device, or card and device. It takes 10 lone accounts and 5 offices of a
world with every tactic, each smeared by accounts of one ring that the analysis finds, drawn by chance. In an office the
identifier is one that its members share. Accused is who is assessed coordinated and was not before.

The last table has two rings that smear one office: whether they become one cluster, and how many of the office are in it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

import hydragraph as hg

KINDS = {
    "address range": ("ip",), "template": ("template_hash",), "phone number": ("phone",), "card": ("card",),
    "device": ("device",), "card and device": ("card", "device"),
}  # fmt: skip
SMEARING = (1, 2, 4, 8)
LONE, OFFICES = 10, 5
SMALLEST_RING = 8

Tables = dict[str, pl.DataFrame]


def tables_of(folder: Path) -> Tables:
    """The tables of a world."""
    return {
        t: pl.read_parquet(folder / f"{t}.parquet") for t in ("accounts", "api_keys", "payments", "links", "events")
    }


def analysed(tables: Tables, folder: Path) -> hg.Case:
    """The case of these tables."""
    source = folder / "source"
    source.mkdir(exist_ok=True)
    for name, frame in tables.items():
        frame.write_parquet(source / f"{name}.parquet")
    return hg.analyze(source, folder / "case", force=True)


def accused(case: hg.Case) -> set[str]:
    """Accounts assessed coordinated."""
    return set(case.accounts.filter(assessment="coordinated")["account_id"])


def uses(tables: Tables, what: str) -> pl.DataFrame:
    """account_id and value: who uses which identifier, one row a pair."""
    if what in ("ip", "template_hash"):
        frame = tables["events"].select("account_id", value=what)
    elif what == "card":
        frame = tables["payments"].select("account_id", value="instrument_id")
    else:
        frame = tables["links"].filter(kind=what).select("account_id", "value")
    return frame.drop_nulls().group_by("account_id", "value").agg(count=pl.len())


def widest(tables: Tables, what: str, members: Sequence[str]) -> str | None:
    """The identifier that most of the members use, and of those the one used most; None if they have none."""
    found = uses(tables, what).filter(pl.col("account_id").is_in(list(members)))
    if found.is_empty():
        return None
    ranked = found.group_by("value").agg(users=pl.len(), count=pl.col("count").sum())
    return str(ranked.sort("users", "count", "value", descending=[True, True, False])["value"][0])


def smeared(tables: Tables, what: str, value: str, by: Sequence[str]) -> Tables:
    """The tables with the accounts `by` using an identifier as well, as often as they use their own."""
    out = dict(tables)
    by = list(by)
    if what in ("ip", "template_hash"):
        own = tables["events"].filter(pl.col("account_id").is_in(by)).sort("account_id", "timestamp")
        own = own.group_by("account_id", maintain_order=True).head(20).with_columns(pl.lit(value).alias(what))
        out["events"] = pl.concat([tables["events"], own.select(tables["events"].columns)])
    elif what == "card":
        rows = tables["payments"].filter(pl.col("account_id").is_in(by)).unique("account_id", keep="first")
        lacking = pl.DataFrame(
            {"account_id": [a for a in by if a not in set(rows["account_id"])]}, schema={"account_id": pl.String}
        )
        rows = pl.concat([rows, lacking], how="diagonal").with_columns(instrument_id=pl.lit(value))
        out["payments"] = pl.concat([tables["payments"], rows.select(tables["payments"].columns)])
    else:
        rows = pl.DataFrame({"account_id": by, "kind": what, "value": value})
        out["links"] = pl.concat([tables["links"], rows], how="diagonal")
    return out


def rings_found(case: hg.Case, truth: pl.DataFrame) -> list[list[str]]:
    """The coordinated clusters of ring accounts alone, large enough to smear with, largest first."""
    rows = case.accounts.filter(assessment="coordinated").join(truth, on="account_id")
    found = rows.group_by("cluster_id").agg(pl.col("account_id").sort(), pl.col("label").mean()).filter(label=1.0)
    rings = [sorted(members) for members in found["account_id"] if len(members) >= SMALLEST_RING]
    return sorted(rings, key=lambda ring: (-len(ring), ring))


def measured(seed: int, accounts: int, folder: Path, *, curves: bool) -> list[dict[str, object]]:
    """One row a kind of victim, kind of identifier and number of smearing accounts. curves: also of single victims."""
    hg.simulate(folder / "world", accounts=accounts, seed=seed, force=True)
    tables, truth = tables_of(folder / "world"), pl.read_parquet(folder / "world" / "truth.parquet")
    before = analysed(tables, folder)
    rings, rng = rings_found(before, truth), np.random.default_rng(seed)
    already = accused(before)
    innocent = truth.filter(pl.col("label") == 0, ~pl.col("account_id").is_in(already))
    lone = innocent.filter(group_kind="lone")["account_id"].sort().to_list()
    members = innocent.filter(group_kind="office").group_by("group").agg("account_id").sort("group")["account_id"]
    offices = [sorted(m) for m in members if 8 <= len(m) <= 40]
    rows: list[dict[str, object]] = []
    for name, whats in KINDS.items() if curves else ():
        able = [[a] for a in lone if all(widest(tables, w, [a]) for w in whats)]
        wide = [m for m in offices if all(widest(tables, w, m) for w in whats)]
        for victims, kind, most in ((able, "lone account", LONE), (wide, "office", OFFICES)):
            chosen = [victims[i] for i in rng.permutation(len(victims))[:most]]
            order = [rng.permutation(len(rings[i % len(rings)])) for i in range(len(chosen))]
            for number in SMEARING:
                poisoned = tables
                for i, members in enumerate(chosen):
                    ring = rings[i % len(rings)]
                    for what in whats:
                        value = widest(tables, what, members)
                        assert value is not None
                        poisoned = smeared(poisoned, what, value, [ring[k] for k in order[i][:number]])
                case = analysed(poisoned, folder)
                now = accused(case) - already
                rows.append({
                    "victims": kind, "kind": name, "by": number, "all": sum(map(len, chosen)),
                    "accused": len(now & {a for m in chosen for a in m}),
                    "others": len(now & set(innocent["account_id"]) - {a for m in chosen for a in m}), "merged": 0,
                })  # fmt: skip
    for name, whats in KINDS.items():
        wide = [m for m in offices if all(widest(tables, w, m) for w in whats)]
        if len(rings) < 2 or not wide:
            continue
        office = wide[int(rng.integers(len(wide)))]
        for number in (2, 8):
            poisoned = tables
            for ring in rings[:2]:
                for what in whats:
                    poisoned = smeared(poisoned, what, str(widest(tables, what, office)), ring[:number])
            case = analysed(poisoned, folder)
            of = dict(case.accounts.select("account_id", "cluster_id").iter_rows())
            homes = [max(set(map(of.get, ring)), key=[*map(of.get, ring)].count) for ring in rings[:2]]
            inside = sum(of[a] in homes and of[a] is not None for a in office)
            rows.append({
                "victims": "between two rings", "kind": name, "by": number, "all": len(office), "others": inside,
                "accused": len((accused(case) - already) & set(office)), "merged": int(homes[0] == homes[1]),
            })  # fmt: skip
    return rows


def print_tables(rows: pl.DataFrame, seeds: int) -> None:
    """The curves, summed over the worlds, as Markdown."""
    total = rows.group_by("victims", "kind", "by", maintain_order=True).agg(
        pl.col("all", "accused", "others").sum(), pl.col("merged").sum(), worlds=pl.len()
    )
    for victims in ("lone account", "office"):
        mine = total.filter(victims=victims)
        if mine.is_empty():
            continue
        print(f"\n{victims}: accused of all, by accounts of a ring that use it too ({seeds} worlds)\n")
        print(f"| what is smeared | {' | '.join(map(str, SMEARING))} | other innocent ones accused |")
        print(f"| {' | '.join(['---'] * (len(SMEARING) + 2))} |")
        for name in KINDS:
            of = mine.filter(kind=name).sort("by")
            cells = [f"{a} of {n}" for a, n in of.select("accused", "all").iter_rows()]
            print(f"| {name} | {' | '.join(cells)} | {of['others'].max()} |")
    print("\ntwo rings and one office\n")
    print("| what is smeared | accounts of each ring | rings became one | of the office in their clusters | accused |")
    print("| --- | --- | --- | --- | --- |")
    for row in total.filter(victims="between two rings").sort("by").iter_rows(named=True):
        shares = f"{row['merged']} of {row['worlds']} | {row['others']} of {row['all']} | {row['accused']}"
        print(f"| {row['kind']} | {row['by']} | {shares} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=2_500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only-rings", action="store_true", help="only the last table")
    given = parser.parse_args()
    found = []
    for seed in given.seeds:
        with tempfile.TemporaryDirectory() as folder:
            found += measured(seed, given.accounts, Path(folder), curves=not given.only_rings)
    print_tables(pl.DataFrame(found), len(given.seeds))


if __name__ == "__main__":
    main()
