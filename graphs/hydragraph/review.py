"""People's decisions about clusters: taken about one case, heeded in the next."""

from __future__ import annotations

import datetime as dt
import getpass
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.assess import NOTHING_OF_THEIRS, UNKNOWN, Assessed
from hydragraph.bipartite import BipartiteGraph
from hydragraph.case import Case, Cluster
from hydragraph.constraints import Pairs
from hydragraph.decisions import Decision, add_decisions, holding, read_decisions
from hydragraph.errors import CaseExists, InputRefused
from hydragraph.identifiers import is_circumstantial
from hydragraph.identifiers import kind as kind_of
from hydragraph.schema import REVIEW_STATES
from hydragraph.ties import Ties

CLEARED = "cleared"
"""The hypothesis of a cluster that a person called innocent."""

GIVEN = "given"
"""The hypothesis of a cluster that no evidence holds together, in a source that tells nothing about it either."""

SEVERAL = 2
"""Accounts of a confirmed cluster that are enough to doubt that a cluster is innocent."""

MOST = 0.5
"""Share of a cluster's accounts that must have been in the cluster decided about: for the decision to hold at least this, to
inherit a decision without its id more than this."""


def decide(
    case: Case, cluster: str, decision: str, *, note: str = "", by: str | None = None, when: dt.datetime | None = None
) -> Cluster:
    """Add a decision about a cluster to the case and return the cluster in its new state.

    cluster: its id or an unambiguous beginning of it. decision: `confirmed`, `innocent`, or `unreviewed`, which takes an
    earlier one back; the last one holds. by: who decided, the name of the user if not given. when: now if not given; a
    time without a zone is taken as UTC.

    The line in decisions.ndjson also holds the members and the kinds of evidence of now, without circumstantial ones. The
    review state is new at once, the assessment with the next `analyze(..., previous=case)`. Raises UnknownName for the
    cluster and InputRefused for another decision.
    """
    if decision not in REVIEW_STATES:
        raise InputRefused(f"a decision is one of {', '.join(REVIEW_STATES)}")
    found = case.cluster(cluster)
    when = when or dt.datetime.now(dt.UTC)
    when = when.replace(tzinfo=dt.UTC) if when.tzinfo is None else when.astimezone(dt.UTC)
    added = Decision(
        when=when.replace(tzinfo=None).isoformat(timespec="seconds") + "Z",
        who=" ".join((by or _user()).split()) or "unknown",
        cluster_id=found.id,
        decision=decision,
        note=note.strip(),
        members=tuple(found.accounts["account_id"].sort()),
        kinds=tuple(_kinds(found.links.with_columns(cluster_id=pl.lit(found.id))).get(found.id, ())),
    )
    add_decisions(case.path, [added])
    case._held.pop("clusters", None)
    return case.cluster(found.id)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # nobody has this number
        return "unknown"


def _kinds(links: pl.DataFrame) -> dict[str, list[str]]:
    """The kinds of which two or more members of a cluster share an identifier that is worth anything, by cluster; those
    left out that support a tie and never make one."""
    telling = [k for k in links["kind"].unique() if not is_circumstantial(k)]
    shared = (
        links.filter((pl.col("bits") > 0) & pl.col("kind").is_in(telling))
        .group_by("cluster_id", "kind", "value")
        .agg(members=pl.len())
        .filter(pl.col("members") > 1)
    )
    return dict(shared.group_by("cluster_id").agg(pl.col("kind").unique().sort()).iter_rows())


def still_cleared(case: Case) -> list[str]:
    """The clusters of a case that somebody called innocent and that nothing has opened again since, see `heed`."""
    decisions = read_decisions(case.path)
    last = _last(decisions)
    innocent = {c: d for c, d in holding(decisions).items() if d.decision == "innocent"}
    members = case.accounts.filter(pl.col("cluster_id").is_in(list(innocent))).select("account_id", "cluster_id")
    now = _kinds(case.links.join(members, on="account_id", how="inner"))
    accounts = dict(members.group_by("cluster_id").agg("account_id").iter_rows())
    return [
        cluster
        for cluster, names in accounts.items()
        if not _fresh(innocent[cluster], now.get(cluster, []))
        and not _few(innocent[cluster], set(names))
        and _called("confirmed", set(names), last) < SEVERAL
    ]


def refuse_to_lose_decisions(out: Path, previous: Case | None) -> None:
    """Raise CaseExists if the case at `out` holds decisions that `previous` does not bring along."""
    brought = set(read_decisions(previous.path)) if previous is not None else set()
    lost = sum(d not in brought and d.carried_from is None for d in read_decisions(out))
    if lost:
        raise CaseExists(
            f"the case there holds {lost} decision{'' if lost == 1 else 's'}; carry them along by naming it with"
            " --previous, or choose another folder"
        )


def foreseen(graph: BipartiteGraph, before: Case | None) -> tuple[BipartiteGraph, list[pl.Series], list[str]]:
    """What the decisions of an earlier case ask for before clusters form: the graph that they leave, groups of accounts that
    belong together, and a sentence on what was left out.

    For an account the last decision about a cluster of which it was a member holds.

    confirmed: those of its members that are still there are a group, so that further accounts join them and the cluster
    lasts when evidence thins. innocent: what it was cleared with counts for nobody else. That is every identifier that
    two or more of its members shared in the earlier case, of a kind that can make a tie, and of which they were at least
    half of the users; links of other accounts to it are left out. Not so if more other accounts use these identifiers
    than it had members, if members share evidence of a kind that they did not share then, or if the cluster held two or
    more accounts of a confirmed one in the earlier case.
    """
    decisions = () if before is None else read_decisions(before.path)
    if before is None or not decisions:
        return graph, [], []
    members: dict[Decision, list[str]] = {}
    last = _last(decisions)
    for account, decision in sorted(last.items()):
        members.setdefault(decision, []).append(account)
    confirmed = [pl.Series(accounts) for d, accounts in members.items() if d.decision == "confirmed"]
    there = before.accounts.filter(
        pl.col("account_id").is_in([a for a, d in last.items() if d.decision == "confirmed"])
    )
    doubtful = set(there.group_by("cluster_id").len().filter(pl.col("len") >= SEVERAL)["cluster_id"])
    cleared = {d: a for d, a in members.items() if d.decision == "innocent" and d.cluster_id not in doubtful}
    out = _of_others(graph, before.links, cleared)
    if out.is_empty():
        return graph, confirmed, []
    number = graph.links["account"].gather(out).n_unique()
    said = f"decisions: links of {number:,} accounts to what innocent clusters were cleared with are no evidence"
    stays = graph.links.with_row_index("row").filter(~pl.col("row").is_in(out.implode())).drop("row")
    return replace(graph, links=stays), confirmed, [said]


def cleared_with(before: Case) -> tuple[pl.Series, pl.DataFrame]:
    """Accounts about which an `innocent` decision of an earlier case holds, sorted; and what two or more of them shared in
    that case: kind and value, sorted. `foreseen` looks at no other links than those of the first and those to the second."""
    last = _last(read_decisions(before.path))
    members = pl.Series(sorted(a for a, d in last.items() if d.decision == "innocent"), dtype=pl.String)
    if members.is_empty():
        return members, pl.DataFrame(schema={"kind": pl.String, "value": pl.String})
    shared = before.links.filter(pl.col("account_id").is_in(members.implode())).group_by("kind", "value").len()
    return members, shared.filter(pl.col("len") > 1).select("kind", "value").sort("kind", "value")


def _last(decisions: Sequence[Decision]) -> dict[str, Decision]:
    """For each account the last of the decisions that hold about a cluster of which it was a member."""
    by_time = sorted(holding(decisions).values(), key=lambda d: dt.datetime.fromisoformat(d.when))
    return {account: decision for decision in by_time for account in decision.members}


def _called(word: str, accounts: set[str], last: dict[str, Decision]) -> int:
    """How many of the accounts the `last` decision about each calls `word`."""
    return sum(last[account].decision == word for account in accounts & set(last))


def _of_others(graph: BipartiteGraph, then: pl.DataFrame, cleared: dict[Decision, list[str]]) -> pl.Series:
    """Rows of the graph's links that are left out because of innocent clusters, see `foreseen`. then: links of the earlier
    case; cleared: the members of each."""
    rows = [(account, k) for k, accounts in enumerate(cleared.values()) for account in accounts]
    who = pl.DataFrame(rows, schema={"account_id": pl.String, "of": pl.Int64}, orient="row")
    named = graph.identifiers.select("kind", "value").with_row_index("identifier")
    telling = pl.col("kind").is_in([k for k in {*graph.kinds, *then["kind"].unique()} if not is_circumstantial(k)])
    accounts = graph.accounts.select("account_id").with_row_index("account").join(who, on="account_id")
    now = (
        graph.links.join(accounts, on="account")
        .group_by("of", "identifier")
        .agg(users=pl.len())
        .join(named, on="identifier")
        .filter((pl.col("users") > 1) & telling)
    )
    shared = (
        then.join(who, on="account_id")
        .filter((pl.col("bits") > 0) & telling)
        .group_by("of", "kind", "value")
        .agg(users=pl.len().cast(pl.Int64), accounts=pl.col("accounts").max())
        .filter(pl.col("users") > 1)
    )
    both = pl.concat([now.select("of", "kind"), shared.select("of", "kind")]).group_by("of").agg("kind")
    kinds = {k: set(found) for k, found in both.iter_rows()}
    lasting = [k for k, decision in enumerate(cleared) if kinds.get(k, set()) <= set(decision.kinds)]
    own = (
        shared.filter(pl.col("of").is_in(lasting) & (2 * pl.col("users") >= pl.col("accounts")))
        .join(named, on=["kind", "value"])
        .select("of", "identifier")
    )
    others = (
        graph.links.select("account", "identifier")
        .with_row_index("row")
        .join(own, on="identifier")
        .join(accounts.select("account", mine="of"), on="account", how="left")
        .filter(pl.col("mine").ne_missing(pl.col("of")))
    )
    size = who.group_by("of").agg(size=pl.len())
    crowd = others.group_by("of").agg(number=pl.col("account").n_unique()).join(size, on="of")
    few = crowd.filter(pl.col("number") <= pl.col("size")).select("of")
    return others.join(few, on="of", how="semi")["row"].unique().sort()


def without_evidence(assessed: Assessed, label: NDArray[np.int64], ties: Ties, pairs: Pairs | None) -> Assessed:
    """The judgement with an honest word on clusters that nothing but `pairs` (constraints, confirmed decisions) holds
    together: those within one group of accounts that must be together, and without any tie between them.

    label: number of each account's cluster. The explanation says so. Where no signal can tell anything either the cluster is
    no lead for review: assessed explained, with the hypothesis `given`. What signals say of the members stays.
    """
    if pairs is None:
        return assessed
    inside = np.flatnonzero(label >= 0)
    count = len(assessed.assessment)
    low, high = np.full(count, len(label)), np.full(count, -1)
    np.minimum.at(low, label[inside], pairs.together[inside])
    np.maximum.at(high, label[inside], pairs.together[inside])
    held = (low == high) & (low >= 0)
    held[label[ties.a[(label[ties.a] == label[ties.b]) & (label[ties.a] >= 0)]]] = False
    words, explanation, hypothesis = list(assessed.assessment), list(assessed.explanation), list(assessed.hypothesis)
    size = np.bincount(label[inside], minlength=count)
    for i in np.flatnonzero(held).tolist():
        said = f"{size[i]} accounts that no evidence ties: that they belong together was given beforehand."
        if hypothesis[i] == UNKNOWN:
            words[i], explanation[i], hypothesis[i] = "explained", said, GIVEN
        else:
            explanation[i] = explanation[i].replace(f"{size[i]} accounts share {NOTHING_OF_THEIRS}.", said)
    return replace(assessed, assessment=words, explanation=explanation, hypothesis=hypothesis)


@dataclass(frozen=True)
class Reviewed:
    """The judgement once people's decisions are heeded.

    assessed: as `assess` gives it, changed where somebody decided. states: review_state of each cluster. decisions: for
    the new case, those of the old one first.
    """

    assessed: Assessed
    states: list[str]
    decisions: tuple[Decision, ...]


def heed(
    decisions: Sequence[Decision], assessed: Assessed, ids: Sequence[str], members: pl.DataFrame, links: pl.DataFrame
) -> Reviewed:
    """Apply the decisions of an earlier case to the clusters of a new one.

    ids: of the clusters, in the order of `assessed`, carried over from the earlier case. members: account_id and
    cluster_id. links: links.parquet of the new case.

    For a cluster the last decision about its id holds; without one, the last decision that holds for a cluster of which
    more than half of the new one's accounts were members. confirmed: assessed coordinated; if fewer than half of the
    members were members then, at least for review. innocent: assessed explained, hypothesis `cleared`; but as its
    evidence says if members share evidence of a kind that they did not then (address ranges and the like do not count),
    or if fewer than half of the members were members then; and at least for review if two or more of its accounts are, by
    the last decision about them, of a confirmed cluster. The explanation says who decided, when, and what stands against
    it; that of a confirmed cluster also how many of its accounts somebody called innocent.
    """
    lasting, last = holding(decisions), _last(decisions)
    own = members.group_by("cluster_id").agg("account_id")
    accounts = {cluster: set(names) for cluster, names in own.iter_rows()}
    heirs = _heirs([d for d in lasting.values() if d.decision != REVIEW_STATES[0]], members, set(lasting))
    valid = lasting | {d.cluster_id: d for d in heirs}
    of_decided = members.filter(pl.col("cluster_id").is_in([c for c in valid if c in accounts]))
    now = _kinds(links.join(of_decided, on="account_id", how="inner"))
    out = replace(
        assessed,
        assessment=list(assessed.assessment),
        hypothesis=list(assessed.hypothesis),
        explanation=list(assessed.explanation),
        against=list(assessed.against),
    )
    states = []
    for i, cluster in enumerate(ids):
        decision = valid.get(cluster)
        states.append(decision.decision if decision else REVIEW_STATES[0])
        if decision is None:
            continue
        if decision.decision == "confirmed":
            _confirm(out, i, decision, accounts[cluster], _called("innocent", accounts[cluster], last))
        elif decision.decision == "innocent":
            against = _called("confirmed", accounts[cluster], last)
            _clear(out, i, decision, accounts[cluster], now.get(cluster, []), against)
    return Reviewed(out, states, (*decisions, *heirs))


def _heirs(lasting: Sequence[Decision], members: pl.DataFrame, decided: set[str]) -> list[Decision]:
    """The decisions that clusters without one inherit, sorted by cluster: the last of those that fit."""
    size = dict(members.group_by("cluster_id").agg(pl.len()).iter_rows())
    where = dict(members.filter(~pl.col("cluster_id").is_in(list(decided))).iter_rows())
    found: dict[str, Decision] = {}
    for decision in lasting:
        common: dict[str, int] = {}
        for account in decision.members:
            if account in where:
                common[where[account]] = common.get(where[account], 0) + 1
        for cluster, number in common.items():
            if number > MOST * size[cluster]:
                found[cluster] = decision
    return [
        replace(d, cluster_id=cluster, carried_from=d.carried_from or d.cluster_id)
        for cluster, d in sorted(found.items())
    ]


def _about(decision: Decision) -> str:
    of = f", of cluster {decision.carried_from} then" if decision.carried_from else ""
    return f"{decision.who} on {decision.when[:10]}{of}"


def _fresh(decision: Decision, kinds: Sequence[str]) -> list[str]:
    """The kinds that members share now and did not when it was decided."""
    return [kind for kind in kinds if kind not in decision.kinds]


def _few(decision: Decision, accounts: set[str]) -> bool:
    """Whether fewer than half of the accounts were members when it was decided."""
    return len(accounts & set(decision.members)) < MOST * len(accounts)


def _confirm(out: Assessed, i: int, decision: Decision, accounts: set[str], innocent: int) -> None:
    said = f"Confirmed by {_about(decision)}"
    few = _few(decision, accounts)
    if few:
        known = len(accounts & set(decision.members))
        said += f", when only {known} of its {len(accounts)} accounts were members"
    if innocent:
        said += f"; {innocent} of its {len(accounts)} accounts were called innocent: look at them first"
    if out.assessment[i] == "explained":
        out.explanation[i], out.against[i] = (
            f"{said}; its evidence alone would not say so. {out.against[i]}".rstrip(),
            out.explanation[i],
        )
    else:
        out.explanation[i] = f"{said}. {out.explanation[i]}"
    if not few:
        out.assessment[i] = "coordinated"
    elif out.assessment[i] == "explained":
        out.assessment[i] = "review"


def _clear(out: Assessed, i: int, decision: Decision, accounts: set[str], kinds: Sequence[str], confirmed: int) -> None:
    fresh, few = _fresh(decision, kinds), _few(decision, accounts)
    if fresh:
        out.explanation[i] = (
            f"Cleared by {_about(decision)}, but members share evidence of another kind since:"
            f" {', '.join(kind_of(k).title for k in fresh)}. {out.explanation[i]}"
        )
    elif few:
        known = len(accounts & set(decision.members))
        out.explanation[i] = (
            f"Cleared by {_about(decision)}, but only {known} of its {len(accounts)} accounts were members then."
            f" {out.explanation[i]}"
        )
    elif confirmed >= SEVERAL:
        out.explanation[i] = (
            f"Cleared by {_about(decision)}, but {confirmed} of its {len(accounts)} accounts are of a confirmed cluster."
            f" {out.explanation[i]}"
        )
    else:
        said = f"Cleared by {_about(decision)}, and no evidence of another kind has appeared since."
        if out.assessment[i] == "explained":
            out.explanation[i] = f"{said} {out.explanation[i]}"
        else:
            out.explanation[i], out.against[i] = f"{said} {out.against[i]}".rstrip(), out.explanation[i]
        out.assessment[i], out.hypothesis[i] = "explained", CLEARED
    if confirmed >= SEVERAL and out.assessment[i] == "explained":
        out.assessment[i] = "review"
