"""The draft of a statement of reasons for one account: what a program can say, and blanks that only a person can fill."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from hydragraph import identifiers
from hydragraph.case import LEADS, Case, Cluster
from hydragraph.errors import InputRefused
from hydragraph.report import text
from hydragraph.report.document import Section, section_of
from hydragraph.report.markdown import TICKET, code, fits_best, plain, table
from hydragraph.toml_files import read_toml

BLANKS = {
    "ground": "the rule or term of contract that is applied, and why these facts fall under it",
    "scope": "what is restricted, where, from when and for how long",
    "reviewer": "who looked at the facts and at what speaks against them, and who decided",
    "redress": "how to object: to whom, until when, and which other ways there are",
}
"""What a person must fill in, each with what belongs there."""

_MOST = 15


def statement_of_reasons(
    case: Case, account_id: str, blanks: Mapping[str, str] | None = None, *, final: bool = False
) -> str:
    """The draft of a statement of reasons for the holder of an account, as Markdown.

    It holds the facts about the account, the identifiers it shares (masked), what speaks against the finding, what was
    automated, and the blanks of `BLANKS`. No other account is named. blanks: text for each of them; what is missing or blank
    is marked as such. final: without the marks of a draft.

    Raises UnknownName for an account that is not in the case; InputRefused for an account in no cluster, for one whose
    cluster is no lead or was found innocent by a person, for a blank of another name or that is no text, and, when `final`,
    while any blank is empty. Not checked: whether what was filled in is true, lawful or complete.
    """
    account = case.account(account_id)
    cluster = account.cluster
    if cluster is None:
        raise InputRefused("the account is in no cluster of this case: there is nothing to give reasons for")
    decided = cluster.row["review_state"]
    if decided == "innocent" or (cluster.assessment not in LEADS and decided != "confirmed"):
        why = "a person decided that it is innocent" if decided == "innocent" else "an innocent explanation fits it"
        raise InputRefused(f"no statement of reasons for an account of this cluster: {why}")
    filled = _filled(blanks or {})
    empty = [name for name in BLANKS if not filled[name]]
    if final and empty:
        raise InputRefused(f"the statement cannot be final: {', '.join(empty)} not filled in, and only a person can")
    section = section_of(case, cluster.row, TICKET)
    parts = [
        f"# Statement of reasons: account {code(account_id)}",
        "" if final else _draft(empty, decided),
        "## What was decided, and on what ground",
        _blank("scope", filled),
        _blank("ground", filled),
        "## The facts",
        *_facts(account.row, cluster, section),
        *_shared(cluster, account_id),
        *_lineage(cluster, account_id),
        "## What speaks for the finding",
        plain(cluster.explanation),
        "## What speaks against it",
        *_against(cluster, account.row, account_id),
        "## What was automated",
        _automated(case),
        _blank("reviewer", filled),
        "## How to object",
        _blank("redress", filled),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def read_blanks(path: str | Path) -> dict[str, str]:
    """The blanks from a TOML file, `name = "text"` a line. Raises InputRefused for what cannot be read as that."""
    given = read_toml(path, "the file of blanks")
    _filled(given)
    return given


def _filled(given: Mapping[str, Any]) -> dict[str, str]:
    unknown = [name for name in given if name not in BLANKS]
    if unknown:
        raise InputRefused(f"{len(unknown)} blanks have a name that is not known; the blanks are {', '.join(BLANKS)}")
    other = [name for name, value in given.items() if not isinstance(value, str)]
    if other:
        raise InputRefused(f"blanks hold text in quotes; {', '.join(other)} does not")
    # dots, dashes and underscores stand for an answer, they are none
    said = {name: str(given.get(name, "")).strip() for name in BLANKS}
    return {name: one if any(c.isalnum() for c in one) else "" for name, one in said.items()}


def _draft(empty: list[str], decided: str | None) -> str:
    left = f"Still to be filled in: {', '.join(empty)}." if empty else "Every blank is filled in."
    if decided != "confirmed":
        left += " The case holds no decision of a person that confirms this cluster."
    return f"> **Draft, not to be sent.** A program gathered the facts; a person decides and answers for it. {left}"


def _blank(name: str, filled: Mapping[str, str]) -> str:
    title = name.capitalize()
    if not filled[name]:
        return f"**{title}:** \\[to be filled in by a person: {BLANKS[name]}\\]"
    return f"**{title}:** " + "\n\n".join(plain(line) for line in filled[name].splitlines() if line.strip())


def _facts(row: Mapping[str, Any], cluster: Cluster, section: Section) -> list[str]:
    closed = text.minute(row["closed_at"]) + (f", {plain(row['close_reason'])}" if row["close_reason"] else "")
    facts = [
        ("opened", text.minute(row["created_at"])),
        ("first and last activity", f"{text.minute(row['first_seen'])} to {text.minute(row['last_seen'])}"),
        ("closed", closed if row["closed_at"] is not None else "no"),
        ("requests", text.count(row["events"])),
        ("tokens", text.count(row["tokens"])),
        ("found together with", text.plural(max(section.members_total - 1, 0), "other account")),
        ("membership", plain(row["membership"])),
        ("evidence that ties it to them", f"{text.bits(row['bits'])} bits"),
        ("score of the group, 0 to 1; it ranks groups and is no error rate", plain(text.score(cluster.row["score"]))),
        ("such groups expected by chance", plain(text.chance(cluster.row["expected_by_chance"]))),
    ]
    return [table(("Fact", "Value (times are UTC)"), facts), plain(section.holding) if cluster.row["bits"] == 0 else ""]


def _own(cluster: Cluster, account_id: str) -> pl.DataFrame:
    """The identifiers the account shares with other members, strongest first."""
    mine = cluster.links.filter(account_id=account_id).select("kind", "value")
    return cluster.identifiers.join(mine, on=["kind", "value"], how="semi").sort(
        pl.col("bits").fill_null(0), "kind", "value", descending=[True, False, False]
    )


def _shared(cluster: Cluster, account_id: str) -> list[str]:
    own = _own(cluster, account_id)
    if own.is_empty():
        return ["It shares no identifier with the other accounts."]
    rows = [
        (plain(identifiers.kind(kind).title), code(identifiers.mask_value(kind, value)), text.count(members - 1),
         text.count(accounts), text.bits(bits))
        for kind, value, members, accounts, bits in own.head(_MOST)
        .select("kind", "value", "members", "accounts", "bits").iter_rows()
    ]  # fmt: skip
    head = ("It uses this", "Masked", ">Others found with it that do", ">Accounts in all that do", ">Bits")
    rest = f"The strongest {_MOST} of {own.height:,} are listed." if own.height > _MOST else ""
    return [table(head, rows), rest]


def _lineage(cluster: Cluster, account_id: str) -> list[str]:
    """Whose place it took, and who took its place; the others are not named."""
    said = []
    for gap, likely in cluster.lineage.filter(child=account_id).select("gap_seconds", "probability").iter_rows():
        said.append(
            f"It began {text.duration(gap)} after another of these accounts ended, and took its place with probability"
            f" {plain(text.score(likely))}."
        )
    for gap, likely in cluster.lineage.filter(parent=account_id).select("gap_seconds", "probability").iter_rows():
        said.append(
            f"Another of these accounts began {text.duration(gap)} after it ended, and took its place with probability"
            f" {plain(text.score(likely))}."
        )
    return said


def _against(cluster: Cluster, row: Mapping[str, Any], account_id: str) -> list[str]:
    own = _own(cluster, account_id)
    outside = own.filter(pl.col("accounts") > pl.col("members")).height
    against = plain(cluster.row["against"]) or "Nothing in the tables speaks against it. That is not proof."
    points = [f"{fits_best(cluster.row)} {against}".strip()]
    if outside:
        points.append(f"Of the {own.height:,} identifiers it shares, accounts outside use {outside:,} as well.")
    if row["membership"] == "attached":
        points.append("It is attached: several weaker links tie it to the others, and no strong one.")
    if cluster.assessment != "coordinated":
        points.append("The evidence is too weak to call the accounts coordinated.")
    return ["\n".join(f"- {point}" for point in points)]


def _automated(case: Case) -> str:
    inputs = case.manifest.get("inputs") or ()
    tables = ", ".join(sorted({str(one.get("table")) for one in inputs}))
    version, seed = (str(case.manifest.get(key, text.UNKNOWN)) for key in ("version", "seed"))
    return plain(
        f"A program, hydragraph {version} (seed {seed}), compared accounts by the identifiers and times of use they have in"
        f" common{f' in the tables {tables}' if tables else ''}, grouped them, weighed the groups against innocent"
        " explanations by fixed rules, and gathered the facts above. It used nothing about who people are. It decided"
        " nothing: that is for a person."
    )
