"""What takedown plans do, held against the truth: ring accounts stopped, innocent ones hit, steps, proofs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import polars as pl

import hydragraph as hg
from hydragraph.links import build_graph
from hydragraph.loaders import open_source

STEPS = (1, 3, 10)

Counts = dict[str, int]


def takedown_counts(case: hg.Case, source: Path, truth: pl.DataFrame) -> Counts:
    """The plans of all clusters assessed coordinated, carried out on every account of the source.

    clusters; proved: plans shown to be the best; members; steps; stopped_K: members stopped by the first K steps of
    their cluster's plan, `stopped` by all; said: collateral the plans state; ring: ring accounts of the source; ring_hit:
    those that use a blocked identifier; innocent_outside, innocent_inside: innocent accounts that do, outside and
    inside coordinated clusters.
    """
    wanted = case.clusters.filter(assessment="coordinated").select("cluster_id", "size")
    steps = case.takedown.join(wanted, on="cluster_id", how="semi")
    graph = build_graph(open_source(source), hg.Settings())
    blocked = graph.identifiers.with_row_index("identifier").join(steps, on=["kind", "value"], how="semi")
    hit = graph.links.join(blocked, on="identifier", how="semi")["account"].unique()
    truth = truth.select("account_id", "label")
    accounts = graph.accounts.select("account_id").with_columns(
        hit=pl.int_range(pl.len()).is_in(hit.cast(pl.Int64).implode())
    )
    accounts = accounts.join(truth, on="account_id").join(
        case.accounts.select("account_id", "assessment"), on="account_id"
    )
    accused = (pl.col("assessment") == "coordinated").fill_null(False)
    found: Counts = {
        "clusters": wanted.height,
        "proved": wanted.height - steps.filter(pl.col("bound") > 1)["cluster_id"].n_unique(),
        "members": int(wanted["size"].sum()),
        "steps": steps.height,
        "stopped": int(steps["accounts_covered"].sum()),
        "said": int(steps["collateral"].sum()),
        "ring": accounts.filter(label=1).height,
        "ring_hit": accounts.filter("hit", label=1).height,
        "innocent_outside": accounts.filter("hit", ~accused, label=0).height,
        "innocent_inside": accounts.filter("hit", accused, label=0).height,
    }
    return found | {f"stopped_{k}": int(steps.filter(pl.col("step") <= k)["accounts_covered"].sum()) for k in STEPS}


def takedown_section(rows: Iterable[tuple[str, Iterable[Counts]]]) -> str:
    """The section about takedown plans. rows: title, and the counts of each of its worlds."""
    columns: list[tuple[str, Callable[[Counts], str]]] = [
        ("clusters", lambda n: f"{n['clusters']:,}"),
        ("steps", lambda n: f"{n['steps']:,}"),
        *((f"stopped by {_steps(k)}", lambda n, k=k: _share(n[f"stopped_{k}"], n["members"])) for k in STEPS),  # type: ignore[misc]
        ("by all", lambda n: _share(n["stopped"], n["members"])),
        ("of all ring accounts", lambda n: _share(n["ring_hit"], n["ring"])),
        ("innocent accounts hit outside", lambda n: f"{n['innocent_outside']:,} (at most {n['said']:,} said)"),
        ("inside", lambda n: f"{n['innocent_inside']:,}"),
        ("plans proved best", lambda n: _share(n["proved"], n["clusters"])),
    ]
    lines = []
    for title, counts in rows:
        every = list(counts)
        total = {name: sum(one[name] for one in every) for name in every[0]}
        lines.append([title, *(show(total) for _, show in columns)])
    if not lines:
        return ""
    head = ["worlds", *(name for name, _ in columns)]
    listed = "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *lines])
    return "\n".join(
        [
            "## Takedown plans",
            "",
            "The plans of all coordinated clusters at the default limits, carried out on every account of the world."
            " Stopped: share of the clusters' members, after so many steps of each cluster's plan. Hit outside:"
            " innocent accounts in no coordinated cluster that use what is blocked; the plans say how many at most.",
            "",
            listed,
            "",
        ]
    )


def _steps(number: int) -> str:
    return "one step" if number == 1 else f"{number} steps"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "-"
