"""The report of a case, or of one cluster, as Markdown for tickets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hydragraph import identifiers
from hydragraph.case import Case, Cluster
from hydragraph.report import text
from hydragraph.report.document import Limits, Section, innocent_title, opening, section_of
from hydragraph.schema import ASSESSMENTS

TICKET = Limits(leads=50, members=50, identifiers=20, steps=20)
"""How much a ticket shows."""

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~&$])")
_TRIGGERS = re.compile(r"((?:@|#|://|(?<=www)\.)+)", re.IGNORECASE)
_AT_START = re.compile(r"^(\d+)([.)])(?!\S)|^([-+=])(?!\d)")
_WORDS = {"coordinated": "coordinated", "review": "for review", "explained": "explained"}


def plain(sentences: str | None) -> str:
    """Text as it reads in Markdown, on one line: nothing in it becomes a mark, a link, a mention, a reference or HTML."""
    said = _SPECIAL.sub(r"\\\1", text.prose(sentences).strip())
    said = _AT_START.sub(lambda m: f"{m[1]}\\{m[2]}" if m[1] else f"\\{m[3]}", said)
    return _TRIGGERS.sub(r"`\1`", said)


def code(value: str | None) -> str:
    """A value as Markdown code, hidden characters and | written out, which even as code would end a cell of a table."""
    shown = text.visible(value or "").replace("|", "⟨U+007C⟩")
    fence = "`" * (max((len(run) for run in re.findall("`+", shown)), default=0) + 1)
    gap = " " if shown[0] == "`" or shown[-1] == "`" else ""
    return f"{fence}{gap}{shown}{gap}{fence}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a heading that begins with > stands over figures. Cells must be Markdown already."""
    marks = ["---:" if one.startswith(">") else "---" for one in head]
    lines = [[one.removeprefix(">") for one in head], marks, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def report_markdown(case: Case, *, limits: Limits = TICKET) -> str:
    """The opening of the report and its leads, strongest first, as Markdown; the same case gives the same text.

    limits: leads is the number listed. Account ids and identifiers do not appear; `cluster_markdown` tells of one cluster.
    """
    said = opening(case)
    order = {name: i for i, name in enumerate(ASSESSMENTS)}
    rows = sorted(case.clusters.to_dicts(), key=lambda row: order.get(row["assessment"], len(order)))
    leads = [row for row in rows if row["assessment"] != "explained"]
    parts = [f"# {plain(said['headline'])}", plain(said["summary"]), plain(said["sure"]), _NOTICE, "## Leads"]
    if leads:
        head = ("Assessment", "Cluster", "Why", ">Accounts", ">Closed", ">Holds to", ">By chance", ">Score", "Decided")
        parts.append(table(head, (_lead(row) for row in leads[: limits.leads])))
        parts.append(_rest(min(limits.leads, len(leads)), len(leads), "leads", "clusters"))
    else:
        parts.append("There is no lead in this case.")
    parts.append(_source(case))
    return _joined(parts)


def cluster_markdown(cluster: Cluster, *, limits: Limits = TICKET) -> str:
    """One cluster as Markdown: the sentence why, the case for and against, the tables of the report, identifiers masked.

    limits: rows of its tables, as in the report. The same case and limits give the same text.
    """
    row, one = cluster.row, section_of(cluster.case, cluster.row, limits)
    word = _WORDS.get(str(row["assessment"]), str(row["assessment"]))
    parts = [
        f"# Cluster {code(cluster.id)}: {plain(word)}, {text.plural(row['size'] or one.members_total, 'account')}",
        _NOTICE,
        plain(row["explanation"]),
        table(_FACTS, [_facts(row)]),
        plain(one.holding),
        "## The case for",
        signals_table(one.speaking) or "No signal stands out; the cluster rests on its shared identifiers alone.",
        "## The case against",
        fits_best(row),
        plain(row["against"]) or "Nothing in these tables speaks against it. That is not proof.",
        signals_table(one.contrary),
        *_shared(one),
        *_over_time(one),
        *_members(one),
        *_lineage(one),
        *_takedown(one),
        _source(cluster.case),
    ]  # fmt: skip
    return _joined(parts)


def fits_best(row: Mapping[str, Any]) -> str:
    """The innocent explanation that fits best, and what the figures of `against` are; empty without one.

    row: of the clusters table.
    """
    title = innocent_title(row["hypothesis"] or "")
    if not title:
        return ""
    said = f"Innocent explanation that fits best: {plain(title)}."
    if not row["against"]:
        return said
    return f"{said} Fits {'one controller better' if row['assessment'] == 'explained' else 'it better than one controller'}:"


def signals_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Signals as a table; empty without any."""
    head = ("Signal", ">Here", ">All accounts", ">p", "What it suggests", "What looks the same")
    cells = (
        (
            plain(one["signal"].replace("_", " ")), text.number(one["value"]), text.number(one["baseline"]),
            plain(text.probability(one["p_value"])), plain(one["suggests"]), plain(one["look_alike"]),
        )
        for one in rows
    )  # fmt: skip
    return table(head, cells) if rows else ""


_FACTS = (">Score", ">Holds to", ">By chance", ">Core", ">Closed", ">Requests", ">Tokens", "Active", "Decided")
_NOTICE = (
    "> A lead for a person to review, not a verdict. It shows shared infrastructure and coordinated behaviour, not who"
    " somebody is. Identifiers are masked; times are UTC."
)


def _kind(name: str) -> str:
    return plain(identifiers.kind(name).title)


def _holds(row: Mapping[str, Any]) -> str:
    return "no ties" if row["bits"] == 0 else f"{text.bits(row['bits'])} bits"


def _lead(row: Mapping[str, Any]) -> tuple[str, ...]:
    word = _WORDS.get(row["assessment"], row["assessment"])
    chance, score = plain(text.chance(row["expected_by_chance"])), plain(text.score(row["score"]))
    return (
        plain(word), code(row["cluster_id"]), plain(text.gist(row["explanation"])), text.count(row["size"]),
        text.count(row["accounts_closed"]), _holds(row), chance, score, plain(row["review_state"]),
    )  # fmt: skip


def _facts(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        plain(text.score(row["score"])), _holds(row), plain(text.chance(row["expected_by_chance"])),
        text.count(row["core_size"]), text.count(row["accounts_closed"]), text.count(row["events"]),
        text.count(row["tokens"]), f"{text.day(row['first_seen'])} to {text.day(row['last_seen'])}",
        plain(row["review_state"]),
    )  # fmt: skip


def _shared(one: Section) -> list[str]:
    if not one.evidence:
        return ["## Shared identifiers", "No identifier is shared by two members."]
    head = (">No.", "Kind", "Identifier", ">Members using it", ">Accounts in the source", ">Bits")
    rows = (
        (str(e["number"]), _kind(e["kind"]), code(e["label"]), text.count(e["members"]), text.count(e["accounts"]),
         text.bits(e["bits"]))
        for e in one.evidence
    )  # fmt: skip
    rest = _rest(len(one.evidence), one.evidence_total, "shared identifiers", "links")
    return ["## Shared identifiers", table(head, rows), rest]


def _over_time(one: Section) -> list[str]:
    if one.rhythm is None:
        return []
    most, day = one.rhythm.busiest
    bar = "day" if one.rhythm.step == 1 else f"{one.rhythm.step} days"
    busiest = f"Its busiest {bar}: {text.plural(most, 'request')} ({text.day(day)})."
    return ["## Over time", f"{plain(one.rhythm.sentence)} {busiest}".strip()]


def _members(one: Section) -> list[str]:
    head = ("Account", "Membership", ">Bits", "First seen", "Last seen", "Closed", ">Requests", ">Tokens")
    rows = (
        (code(m[0]), plain(m[1]), text.bits(m[2]), text.minute(m[4]), text.minute(m[5]),
         f"{text.day(m[6])} {plain(m[7])}".strip(), text.count(m[8]), text.count(m[9]))
        for m in one.members
    )  # fmt: skip
    return ["## Members", table(head, rows), _rest(len(one.members), one.members_total, "members", "accounts")]


def _lineage(one: Section) -> list[str]:
    if not one.lineage:
        return []
    head = ("Closed account", "Its successor", ">After", ">Probability", ">Bits", "Both use")
    rows = (
        (code(r["parent"]), code(r["child"]), text.duration(r["gap_seconds"]),
         plain(text.score(r["probability"])), text.bits(r["bits"]),
         ", ".join(_kind(kind) for kind in (r["survived"] or "").split(",") if kind) or text.UNKNOWN)
        for r in one.lineage
    )  # fmt: skip
    rest = _rest(len(one.lineage), one.lineage_total, "replacements", "lineage")
    return ["## Lineage", plain(one.regrowth), table(head, rows), rest]


def _takedown(one: Section) -> list[str]:
    if not one.chokepoint:
        return []
    parts = ["## Takedown plan", f"{plain(one.plan)} A person decides.", plain(one.chokepoint)]
    if one.takedown:
        head = (">Step", "Kind", "Identifier", ">Members it stops", ">Of these open", ">Outside", ">Members left")
        rows = (
            (str(r["step"]), _kind(r["kind"]), code(r["label"]), text.count(r["accounts_covered"]),
             text.count(r["accounts_open"]), text.count(r["collateral"]), text.count(r["remaining"]))
            for r in one.takedown
        )  # fmt: skip
        parts += [table(head, rows), _rest(len(one.takedown), one.takedown_total, "steps", "takedown")]
    return parts


def _rest(shown: int, total: int, what: str, name: str) -> str:
    if shown >= total:
        return ""
    return f"{text.count(shown)} of {text.count(total)} {what} are shown; the rest stand in `{name}.parquet`."


def _source(case: Case) -> str:
    rows = case.manifest.get("rows") or {}
    read = ", ".join(f"{name} {text.count(counts.get('read'))}" for name, counts in sorted(rows.items()))
    version, seed = (str(case.manifest.get(key, text.UNKNOWN)) for key in ("version", "seed"))
    return plain(f"hydragraph {version}, seed {seed}.{f' Rows read: {read}.' if read else ''}")


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"
