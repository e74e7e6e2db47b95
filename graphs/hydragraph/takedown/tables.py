"""Plans from a graph under analysis and from a written case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.bipartite import BipartiteGraph
from hydragraph.communities import Clusters
from hydragraph.evidence import Evidence
from hydragraph.identifiers import kind as kind_of
from hydragraph.schema import OUTPUT
from hydragraph.settings import Settings
from hydragraph.takedown.plan import plan_takedown
from hydragraph.takedown.uses import Uses


@dataclass(frozen=True, repr=False)
class Plan:
    """The plan of one cluster.

    steps: rows of schema.OUTPUT["takedown"], in order. alone: accounts that no step stops, to be closed by themselves,
    sorted. cost: steps, collateral and these accounts. least: no plan costs less. collateral: at most so many accounts
    outside are hit.
    """

    steps: pl.DataFrame
    alone: pl.Series
    cost: int
    least: int
    collateral: int

    @property
    def bound(self) -> float:
        """At most so many times the cost of the best plan; 1 is a plan proved to be the best."""
        return round(self.cost / max(self.least, 1), 3)

    @property
    def sentence(self) -> str:
        """The plan in words."""
        return plan_sentence(self.steps, int(self.steps["accounts_covered"].sum()) + len(self.alone))

    def __repr__(self) -> str:
        return f"<Plan of {self.steps.height} steps, {len(self.alone)} accounts to close, collateral {self.collateral}>"


def plan_sentence(steps: pl.DataFrame, size: int) -> str:
    """The plan of a cluster of `size` accounts in words; `steps` as in schema.OUTPUT["takedown"]."""
    if steps.is_empty():
        return "No identifier is worth blocking within the limits: the accounts must be closed one by one."
    hit, left = int(steps["collateral"].sum()), size - int(steps["accounts_covered"].sum())
    stopped = f"{size - left:,} of {_counted(size, 'account')}" if left else f"all {_counted(size, 'account')}"
    outside = f"at most {_counted(hit, 'account')}" if hit else "no account"
    said = f"Blocking {_counted(steps.height, 'identifier')} stops {stopped} and hits {outside} outside."
    if left:
        alone = (
            "one must be closed by itself, if it is"
            if left == 1
            else f"{left:,} must be closed one by one, if they are"
        )
        said += f" The other {alone} still open."
    bound = steps["bound"].cast(pl.Float64).to_list()[0]
    if bound is None:
        return said
    return said + (" No plan costs less." if bound <= 1 else f" It costs at most {bound:.2f} times the cheapest plan.")


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def plan_cluster(
    cluster_id: str,
    accounts: pl.DataFrame,
    links: pl.DataFrame,
    coordinated: pl.DataFrame,
    *,
    max_collateral: int,
    max_share: float,
) -> Plan:
    """The plan of one cluster of a case, as `plan_takedown` makes it.

    accounts: account_id, assessment and closed_at of its members; links: their links as in schema.OUTPUT["links"];
    coordinated: kind, value and number (accounts of clusters assessed coordinated that use it) of at least these
    identifiers.
    """
    members = accounts.select("account_id", "assessment", "closed_at").sort("account_id")
    known = links.group_by("kind", "value").agg(pl.col("accounts").max(), pl.col("bits").max())
    known = known.join(coordinated.select("kind", "value", "number"), on=["kind", "value"], how="left").sort(
        "kind", "value"
    )
    counted = links.select("account_id", "kind", "value", count=pl.col("count").fill_null(1))
    counted = counted.with_columns(total=pl.col("count").sum().over("account_id", "kind"))
    coded = counted.join(members.with_row_index("member"), on="account_id")
    coded = coded.join(known.with_row_index("identifier"), on=["kind", "value"])
    uses = Uses(
        np.zeros(members.height, np.int64),
        coded["member"].cast(pl.Int64).to_numpy(),
        coded["identifier"].cast(pl.Int64).to_numpy(),
        coded["count"].to_numpy(),
        coded["total"].to_numpy(),
        known["accounts"].to_numpy(),
        known["number"].fill_null(0).cast(pl.Int64).to_numpy(),
        known["bits"].fill_null(0.0).to_numpy(),
        _blockable(known["kind"]),
        np.array([members.height > 0 and members["assessment"][0] == "coordinated"]),
        members["closed_at"].is_null().to_numpy(),
    )
    plans = plan_takedown(uses, max_collateral=max_collateral, max_share=max_share)
    return Plan(
        OUTPUT["takedown"].conform(plans.table(known["kind"], known["value"], pl.Series([cluster_id]))),
        members["account_id"].filter(pl.Series(plans.stopped == 0)),
        int(plans.cost[0]), int(plans.least[0]), int(plans.collateral.sum()),
    )  # fmt: skip


def takedown_table(
    graph: BipartiteGraph, evidence: Evidence, clusters: Clusters, assessment: Sequence[str], ids: Sequence[str],
    settings: Settings,
) -> pl.DataFrame:  # fmt: skip
    """Rows of schema.OUTPUT["takedown"] for every cluster that is not assessed as explained.

    assessment, ids: of each cluster, in the order of their numbers.
    """
    accused = np.array([name == "coordinated" for name in assessment], dtype=bool)
    lead = np.array([name != "explained" for name in assessment], dtype=bool)
    of = clusters.label[graph.links["account"].to_numpy()]
    inside = np.flatnonzero(of >= 0)
    identifier = graph.links["identifier"].to_numpy()[inside]
    number = np.bincount(identifier[accused[of[inside]]], minlength=graph.identifiers.height)
    wanted = inside[lead[of[inside]]]
    members = np.flatnonzero(np.where(clusters.label >= 0, lead[clusters.label], False)) if len(lead) else inside[:0]
    used, coded = np.unique(graph.links["identifier"].to_numpy()[wanted], return_inverse=True)
    known = graph.identifiers[used]
    member = np.searchsorted(members, graph.links["account"].to_numpy()[wanted])
    count = graph.links["count"].gather(wanted).fill_null(1).to_numpy()
    kind = member * max(len(graph.kinds), 1) + graph.kind_code[used][coded]
    uses = Uses(
        clusters.label[members],
        member,
        coded,
        count,
        np.bincount(kind, weights=count).astype(np.int64)[kind] if len(kind) else kind,
        graph.degree[used],
        number[used],
        np.round(evidence.bits[used], 3),
        _blockable(known["kind"]),
        accused,
        graph.accounts["closed_at"].is_null().to_numpy()[members],
    )
    plans = plan_takedown(uses, max_collateral=settings.max_collateral, max_share=settings.max_collateral_share)
    return OUTPUT["takedown"].conform(plans.table(known["kind"], known["value"], pl.Series(ids, dtype=pl.String)))


def _blockable(kinds: pl.Series) -> NDArray[np.bool_]:
    able = [name for name in kinds.unique().to_list() if kind_of(name).blockable]
    blockable: NDArray[np.bool_] = kinds.is_in(able).to_numpy()
    return blockable
