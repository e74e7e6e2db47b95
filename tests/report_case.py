"""Cases made by hand for the tests of reports and figures."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl

from hydragraph.case import Case, write_case
from hydragraph.schema import OUTPUT

T = dt.datetime(2026, 2, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
SECRET = "4929123456781234-fingerprint"
HOSTILE = "</script><img src=x onerror=\"document.title='owned'\">"


def frame(name: str, rows: list[dict[str, object]]) -> pl.DataFrame:
    table = OUTPUT[name]
    return table.conform(pl.DataFrame([{c: row.get(c) for c in table.names} for row in rows], schema=table.schema))


def link(account: str, kind: str, value: str, bits: float = 10.0, accounts: int = 2) -> dict[str, object]:
    return {"account_id": account, "kind": kind, "value": value, "count": 3, "bits": bits, "accounts": accounts}


def cluster(cluster_id: str, assessment: str, size: int, **more: object) -> dict[str, object]:
    row: dict[str, object] = {
        "cluster_id": cluster_id, "assessment": assessment, "explanation": f"Why {cluster_id} is here.", "score": 0.9,
        "size": size, "core_size": size, "bits": 21.5, "expected_by_chance": 0.0, "hypothesis": "household",
        "against": "Nobody shares a key.", "accounts_closed": 0, "events": 10, "tokens": 100,
        "review_state": "unreviewed",
    }  # fmt: skip
    return row | more


def make(path: Path, members: dict[str, list[str]], clusters: list[dict[str, object]], **more: object) -> Case:
    """A case: members of each cluster in a chain of cards, all in one address range; ten accounts outside."""
    kinds = {row["cluster_id"]: row["assessment"] for row in clusters}
    accounts: list[dict[str, object]] = [{"account_id": f"lone-{i}"} for i in range(10)]
    links: list[dict[str, object]] = []
    for cluster_id, ids in members.items():
        for i, one in enumerate(ids):
            accounts.append({
                "account_id": one, "cluster_id": cluster_id, "assessment": kinds[cluster_id], "membership": "core",
                "bits": 40.0 - i, "first_seen": T + i * DAY, "last_seen": T + (i + 2) * DAY, "events": 5, "tokens": 7,
                "closed_at": T + (i + 2) * DAY if i == 0 else None, "close_reason": "banned" if i == 0 else None,
            })  # fmt: skip
            links.append(link(one, "ip_range", "203.0.113.0/24", 5.0, 40))
            links += [link(one, "payment", f"{SECRET}-{cluster_id}-{card}", 15.0) for card in (i, i + 1)]
    tables = {name: table.empty() for name, table in OUTPUT.items()}
    tables |= {"accounts": frame("accounts", accounts), "links": frame("links", links)}
    tables |= {"clusters": frame("clusters", clusters)} if clusters else {}
    tables |= {name: frame(name, rows) for name, rows in more.items() if name in OUTPUT}  # type: ignore[arg-type]
    manifest = more.get("manifest", {
        "version": "0.1.0", "settings": {"seed": 0}, "seed": 0, "notes": ["links: column plan was not read"],
        "inputs": [{"table": "events", "file": "events.csv", "rows": 12_345, "bytes": 2_000_000, "digest": "sha256:0"}],
        "rows": {"events": {"read": 12_345, "kept": 12_300, "rejected": 45, "set_aside": 0}},
        "stages": [{"name": "read", "seconds": 0.123456789, "peak_memory_bytes": 1}],
    })  # fmt: skip
    return write_case(path, tables, lambda: manifest, force=True)  # type: ignore[arg-type,return-value]


def large_case(folder: Path) -> Case:
    """One cluster of 1,200 accounts, 800 identifiers they share and 8,000 links: six links an account, eight every third."""
    ids = [f"acct-{i:04}" for i in range(1200)]
    uses = [(i // 48 * 32 + i * 7 + k * 5) % 800 for i in range(1200) for k in range(6 if i % 3 else 8)]
    of = [one for i, one in enumerate(ids) for _ in range(6 if i % 3 else 8)]
    kinds = ("payment", "device", "template", "phone")
    rows = [link(one, kinds[use % 4], f"value-{use:03}", 10.0, 12) for one, use in zip(of, uses, strict=True)]
    case = make(folder, {"c-large": ids}, [cluster("c-large", "coordinated", len(ids))])
    tables = {name: case.table(name) for name in OUTPUT} | {"links": frame("links", rows)}
    return write_case(folder, tables, lambda: case.manifest, force=True)


def three_clusters(folder: Path) -> Case:
    """One cluster of each assessment: ring of 5, office of 3, home of 2."""
    return make(
        folder,
        {"c-ring": [f"ring-{i}" for i in range(5)], "c-office": ["off-0", "off-1", "off-2"], "c-home": ["h-0", "h-1"]},
        [cluster("c-home", "explained", 2), cluster("c-ring", "coordinated", 5, accounts_closed=1, score=0.97),
         cluster("c-office", "review", 3, against="", hypothesis="")],
        signals=[{"cluster_id": "c-ring", "signal": "payment_reuse", "value": 0.9, "baseline": 0.1, "p_value": 1e-9,
                  "suggests": "Cards wander.", "look_alike": "A family with one card."}],
        lineage=[{"cluster_id": "c-ring", "parent": "ring-0", "child": "ring-2", "bits": 18.0, "gap_seconds": 5400.0}],
        takedown=[{"cluster_id": "c-ring", "step": 1, "kind": "payment", "value": f"{SECRET}-c-ring-1",
                   "accounts_covered": 2, "accounts_open": 1, "collateral": 7}],
    )  # fmt: skip


def hostile_case(folder: Path) -> Case:
    """Ids, kinds, sentences and manifest that try to be markup, terminal commands or a template."""
    ids = [HOSTILE, "rtl\u202e", "bell\x1b]52;c;AA\x07", "{{ 7*7 }}", "x" * 5000, "", "\u2028line", "a&b"]
    odd = '"><svg onload=x>'
    more = {
        "explanation": HOSTILE + "\u202e\x07", "against": HOSTILE, "hypothesis": HOSTILE, "review_state": HOSTILE,
    }  # fmt: skip
    case = make(
        folder,
        {odd: ids},
        [cluster(odd, "coordinated", len(ids), **more)],
        signals=[{"cluster_id": odd, "signal": HOSTILE, "suggests": HOSTILE, "look_alike": HOSTILE}],
        lineage=[{"cluster_id": odd, "parent": ids[0], "child": ids[1]}],
        takedown=[{"cluster_id": odd, "step": 1, "kind": HOSTILE, "value": HOSTILE}],
        manifest={
            "version": HOSTILE, "seed": HOSTILE, "settings": {HOSTILE: HOSTILE}, "notes": [HOSTILE], "stages": [],
            "inputs": [{"table": HOSTILE, "file": HOSTILE, "rows": 1, "bytes": 1, "digest": HOSTILE}],
            "rows": {HOSTILE: {"read": 1, "kept": 1, "rejected": 0, "set_aside": 0}},
        },
    )  # fmt: skip
    extra = [link(one, kind, HOSTILE, 9.0) for one in ids for kind in (HOSTILE, "template")]
    links = pl.concat([case.links, frame("links", extra)])
    tables = {name: case.table(name) for name in OUTPUT} | {"links": OUTPUT["links"].conform(links)}
    return write_case(folder, tables, lambda: case.manifest, force=True)
