"""What to block so that a cluster is stopped, whom else that hits, and what holds the cluster together."""

from __future__ import annotations

from hydragraph.takedown.chokepoints import Chokepoints, cut_cluster
from hydragraph.takedown.plan import Plans, plan_takedown
from hydragraph.takedown.tables import Plan, plan_cluster, plan_sentence, takedown_table
from hydragraph.takedown.uses import Uses

__all__ = [
    "Chokepoints",
    "Plan",
    "Plans",
    "Uses",
    "cut_cluster",
    "plan_cluster",
    "plan_sentence",
    "plan_takedown",
    "takedown_table",
]
