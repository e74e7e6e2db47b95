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
# # Why is this cluster a cluster?
#
# A lead is a reason to look, not a finding about anybody. Before somebody acts on it, these questions want an answer: what
# do the accounts share, how rare is that, could it be chance, which innocent group would look the same, and on what does it
# all hang? The world is made up, its accounts invented. The cluster is the strongest lead of at most 30 accounts.

# %%
import shutil
from pathlib import Path

import polars as pl

import hydragraph as hg
from hydragraph.identifiers import mask_value

place = Path("hydragraph-demo")
case = hg.open_case(place / "case") if (place / "case").is_dir() else hg.demo(place)
small = pl.col("size") <= 30
tied = pl.col("stability").is_not_null()  # what its accounts share connects its core, without help from time
leads = case.clusters.filter(small, tied, assessment="coordinated")
cluster = case.cluster(leads["cluster_id"][0])
cluster

# %% [markdown]
# ## The evidence
#
# Evidence is counted in bits: one bit more doubles the odds of a common controller. An identifier that few accounts use is
# worth much, one that thousands use little or nothing. A tie is the evidence between two accounts.

# %%
shared = cluster.identifiers.with_columns(
    pl.struct("kind", "value").map_elements(lambda i: mask_value(i["kind"], i["value"]), pl.String).alias("value")
)
shared.sort("bits", "kind", "value", descending=[True, False, False]).head(8)

# %%
ties = cluster.ties.sort("bits", "account_a", "account_b", descending=[True, False, False])
strongest = ties.row(0, named=True)
assert strongest["bits"] >= cluster.row["bits"]  # it breaks at its weakest tie
ties.select("bits", "shared", "kinds", "synchrony_bits").head(5)

# %% [markdown]
# ## The path between two members
#
# The two members with the strongest tie, step by step, and other ways that share no identifier with the first. Where several
# ways lead from one to the other, one wrong identifier does not undo the tie.

# %%
paths = case.evidence_path(strongest["account_a"], strongest["account_b"])
assert paths.steps.height > 0
paths.sentence

# %%
paths.steps.select("path", "step", "kind", "bits", "accounts")

# %% [markdown]
# Two members without a tie are in the cluster as well, by way of others:

# %%
tied = set(cluster.ties.select("account_a", "account_b").iter_rows())
names = cluster.accounts["account_id"].sort().to_list()
apart = next(((a, b) for a in names for b in names if a < b and (a, b) not in tied), None)
between = case.evidence_path(*apart) if apart else None
between.sentence if between else "All members are tied to each other."

# %% [markdown]
# ## Signals, and who would look the same
#
# Each signal stands beside the same figure of all accounts (`baseline`). The p value says how often chance alone would give
# such a figure, where that can be said. `look_alike` names the innocent groups that show the same.

# %%
signals = cluster.signals
assert signals["look_alike"].null_count() == 0  # every signal has an innocent look-alike
signals.select("signal", "value", "baseline", "p_value")

# %%
for signal, look_alike in signals.select("signal", "look_alike").head(4).iter_rows():
    print(f"{signal}: {look_alike}")

# %% [markdown]
# ## Innocent hypotheses
#
# The score weighs one hypothesis, that of a common controller, against innocent ones: household, office, agency, campus,
# build jobs and more. The best of the innocent ones is kept, with what speaks against the assessment. In the same case,
# a cluster that does fit an innocent one is `explained`.

# %%
assert 0 <= cluster.row["score"] <= 1
{"score": round(cluster.row["score"], 4), "best innocent": cluster.row["hypothesis"], "against": cluster.row["against"]}

# %%
innocent = case.cluster(case.clusters.filter(assessment="explained")["cluster_id"][0])
assert innocent.row["score"] < cluster.row["score"]
innocent.explanation

# %% [markdown]
# ## Chance
#
# The same steps run on shuffled data, in which who shares what is drawn by lot. How many clusters as strong and as large
# does that give? Far less than one is what a lead should have. Chance knows no neighbours, classes or fashions; the
# hypotheses above are for those.

# %%
assert cluster.row["expected_by_chance"] < 1
cluster.row["expected_by_chance"]

# %% [markdown]
# ## What would split it
#
# Where it falls apart at its weakest tie, how much of it stays when a fifth of what is shared is lost, and the fewest
# identifiers without which it falls apart. If one doubtful identifier holds everything, look at that one first.

# %%
assert 0 <= cluster.row["stability"] <= 1
cluster.holding

# %%
cluster.chokepoints.sentence(mask_value)

# %% [markdown]
# And what blocking would cost, if it came to that: the steps, the accounts they stop, and the accounts outside that they
# would hit.

# %%
plan = cluster.plan()
assert plan.steps["accounts_covered"].sum() + len(plan.alone) == cluster.row["size"]
plan.sentence

# %% [markdown]
# ## Decide
#
# What you decide is kept with the case, added to and never overwritten, and the next analysis heeds it. Here it goes into a
# copy, so that this notebook can run again.

# %%
copy = Path("hydragraph-decided")
shutil.rmtree(copy, ignore_errors=True)
shutil.copytree(case.path, copy)
decided = hg.decide(
    hg.open_case(copy),
    cluster.id,
    "confirmed",
    note="successors within two days, a template of their own",
    by="an analyst",
)
assert decided.row["review_state"] == "confirmed"
assert case.cluster(cluster.id).row["review_state"] == "unreviewed"  # the case itself is as it was
hg.open_case(copy).decisions.select("who", "decision", "note")
