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
# # A first look at a case
#
# A case is what an analysis writes: clusters of accounts, and why they are clusters. This notebook opens one, counts, looks
# at the strongest lead, and draws. It works on a small made-up world, so that every account in it is invented and the truth
# is known. For your own data, put your case in place of the first line of code.

# %%
from pathlib import Path

import polars as pl

import hydragraph as hg

place = Path("hydragraph-demo")
case = hg.open_case(place / "case") if (place / "case").is_dir() else hg.demo(place)
case

# %% [markdown]
# ## How much was found
#
# Most clusters are innocent: households, offices, agencies. They are kept, as `explained`, with the explanation. Leads are
# the `coordinated` ones and those for `review`. Only a small part of all accounts is in a lead.

# %%
groups = case.clusters.group_by("assessment")
by_assessment = groups.agg(clusters=pl.len(), accounts=pl.col("size").sum()).sort("assessment")
by_assessment

# %%
members = case.accounts.filter(pl.col("assessment") == "coordinated")
assert by_assessment["accounts"].sum() == case.accounts["cluster_id"].count()  # every member is in one cluster
assert members.height < 0.1 * case.accounts.height
f"{members.height} of {case.accounts.height} accounts are in a coordinated cluster"

# %% [markdown]
# ## The strongest lead
#
# Clusters come strongest first. What the score is made of are the signals: each a figure of the cluster beside that of all
# accounts, with what it suggests and what innocent group would look the same.

# %%
lead = case.cluster(case.clusters["cluster_id"][0])
assert lead.assessment == "coordinated"
assert case.clusters["score"].is_sorted(descending=True)
lead

# %% [markdown]
# What its members share, without the values themselves. `members` are those in the cluster, `accounts` all that use the
# identifier: where the two are alike, hardly anybody else has it. `bits` is how much sharing it is worth as evidence.

# %%
lead.identifiers.group_by("kind").agg(
    identifiers=pl.len(), widest=pl.col("members").max(), most_bits=pl.col("bits").max()
).sort("most_bits", descending=True)

# %%
only_theirs = lead.identifiers.filter(pl.col("members") == pl.col("accounts"))
assert only_theirs.height > 0
f"{only_theirs.height} of {lead.identifiers.height} shared identifiers are used by nobody else"

# %% [markdown]
# ## A picture
#
# Accounts on one side, what they share on the other. Identifiers are partly hidden in pictures.

# %%
picture = lead.plot()

# %% [markdown]
# ## Time
#
# When each member of a lead was open, and which account took the place of a closed one. Bans that are followed by a new
# account within hours are a strong sign; a single one may be chance, which is why each comes with a probability.

# %%
lives = case.plot_lives()

# %%
regrowth = case.regrowth()
regrowth.sentence

# %% [markdown]
# ## How good is this?
#
# In a made-up world the truth is known, so the case can be measured. On your own data, use the clusters that people have
# decided about as labels. Precision: which share of the accused accounts is rightly accused. Recall: which share of the
# coordinated accounts was found. `low` and `high` bound the 95 % interval.

# %%
quality = hg.evaluate(case, place / "world")
assert quality.value("precision") > 0.5
assert quality.value("precision") <= 1
quality.headline.select("measure", "of", "value", "low", "high").head(4)

# %% [markdown]
# ## What next
#
# `report.html` in the case shows every lead, offline. `why_a_cluster` asks what holds one cluster together and what speaks
# against it. `graph_work` takes the graph to networkx.
