# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Working on the graph
#
# A cluster is a bipartite graph: accounts on one side, the identifiers they use on the other, an edge where an account used
# an identifier. hydragraph exports it; what you ask of it is up to you. Here: read it back in two formats, find who is
# central, peel it to its core, draw a part. The world is made up, its accounts invented.

# %%
import json
from pathlib import Path

import matplotlib.pyplot as plt
import networkx as nx
import polars as pl

import hydragraph as hg

place = Path("hydragraph-demo")
case = hg.open_case(place / "case") if (place / "case").is_dir() else hg.demo(place)
leads = case.clusters.filter(pl.col("assessment") == "coordinated", pl.col("size") <= 30)
cluster = case.cluster(leads["cluster_id"][0])
cluster

# %% [markdown]
# ## Out and back in
#
# GraphML is for Gephi, Cytoscape and yEd as well, node-link JSON for D3 and scripts. Both hold the same nodes and edges.

# %%
written = hg.export(case, "graphml", "cluster.graphml", cluster=cluster.id, force=True)
graph = nx.read_graphml(written)
graph

# %%
written = hg.export(case, "json", "cluster.json", cluster=cluster.id, force=True)
same = nx.node_link_graph(json.loads(Path(written).read_text("utf-8")), edges="edges")
assert set(same.nodes) == set(graph.nodes) == set(cluster.graph().nodes)
assert {frozenset(edge) for edge in same.edges} == {frozenset(edge) for edge in graph.edges}
f"{graph.number_of_nodes()} nodes and {graph.number_of_edges()} edges, in both formats"

# %% [markdown]
# ## The two sides
#
# `bipartite` is 0 for accounts and 1 for identifiers; no edge stays on one side. `bits` on an edge is what sharing this
# identifier is worth, and `accounts` on an identifier how many accounts of the whole source use it.

# %%
accounts = sorted(node for node, side in graph.nodes(data="bipartite") if side == 0)
identifiers = sorted(set(graph) - set(accounts))
assert nx.is_bipartite(graph)
assert len(accounts) == cluster.row["size"]
{"accounts": len(accounts), "identifiers": len(identifiers)}

# %% [markdown]
# ## Only what is shared
#
# Most identifiers have one user and say nothing about others. Without them and without those that are worth nothing, what
# holds the cluster together is left.

# %%
worth = {node: max(edge.get("bits", 0) for edge in graph[node].values()) for node in identifiers}
telling = [node for node in identifiers if graph.degree(node) > 1 and worth[node] > 0]
core = graph.subgraph([*accounts, *telling])
assert core.number_of_nodes() < graph.number_of_nodes()
f"{len(telling)} of {len(identifiers)} identifiers are shared and worth something"

# %% [markdown]
# ## Who is central
#
# Betweenness: how many shortest paths lead through a node. A central identifier ties parts that would be apart without it; a
# central account is one to look at first, or one that got in by mistake and bridges two groups. Names are left out here: the
# kind, the number of users and the value of the measure are enough to see it.

# %%
betweenness = nx.betweenness_centrality(core)
first = sorted(telling, key=lambda node: (-betweenness[node], node))[:5]
assert betweenness[first[0]] == max(betweenness[node] for node in telling)
[(graph.nodes[node]["kind"], graph.degree(node), round(betweenness[node], 3)) for node in first]

# %% [markdown]
# ## The k-core
#
# Take away, again and again, whatever has fewer than k neighbours. What is left for the largest k is where everybody shares
# several things with several others. A mere chain has no 2-core.

# %%
numbers = nx.core_number(core)
k = max(numbers.values())
inner = nx.k_core(core, k)
assert all(degree >= k for _, degree in inner.degree)
inside = sum(1 for node in inner if node in set(accounts))
f"the {k}-core holds {inside} of {len(accounts)} accounts and {len(inner) - inside} identifiers"

# %% [markdown]
# ## Accounts alone
#
# On one side only: two accounts are tied when they share something, and the weight says how many things. This loses which
# things these were, so it comes last and not first.

# %%
projected = nx.bipartite.weighted_projected_graph(core, accounts)
assert set(projected) == set(accounts)
weights = sorted((weight for _, _, weight in projected.edges(data="weight")), reverse=True)
f"{projected.number_of_edges()} pairs share something, the closest {weights[0]} identifiers"

# %% [markdown]
# ## A drawing
#
# The inner part: accounts as circles, identifiers as squares, thicker edges where more bits are. The layout is seeded, so
# that it is the same each time.

# %%
places = nx.spring_layout(inner, seed=7)
figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
people = [node for node in inner if inner.nodes[node]["bipartite"] == 0]
things = [node for node in inner if inner.nodes[node]["bipartite"] == 1]
widths = [0.3 + inner.edges[edge].get("bits", 0) / 10 for edge in inner.edges]
nx.draw_networkx_edges(inner, places, ax=axes, width=widths, edge_color="#999999")
nx.draw_networkx_nodes(inner, places, ax=axes, nodelist=people, node_shape="o", node_size=90, node_color="#33658a")
nx.draw_networkx_nodes(inner, places, ax=axes, nodelist=things, node_shape="s", node_size=60, node_color="#f6ae2d")
axes.set_axis_off()
axes.set_title(f"The {k}-core of {cluster.id}")
figure.savefig("core.png", dpi=110)
assert Path("core.png").stat().st_size > 5_000
