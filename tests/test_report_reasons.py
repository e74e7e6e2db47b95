"""The draft of a statement of reasons: what it tells its reader, what it leaves to people, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

import hydragraph as hg
from hydragraph.case import Case
from hydragraph.errors import InputRefused, UnknownName
from hydragraph.report.reasons import BLANKS, read_blanks
from report_case import HOSTILE, SECRET, cluster, hostile_case, make, three_clusters
from test_report_markdown import said, tokens

FILLED = {name: f"Words on {name}." for name in BLANKS}


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return three_clusters(tmp_path / "case")


def test_a_draft_holds_the_facts_and_marks_every_blank(case: Case) -> None:
    draft = hg.statement_of_reasons(case, "ring-0")
    order = [
        "# Statement of reasons: account `ring-0`", "**Draft, not to be sent.**",
        "Still to be filled in: ground, scope, reviewer, redress.", "**Scope:** \\[to be filled in by a person:",
        "**Ground:** \\[to be filled in by a person:", "| closed | 2026-02-03 00:00, banned |",
        "| found together with | 4 other accounts |", "| address range | `203.0.113.0/24` | 4 | 40 | 5.0 |",
        "Another of these accounts began 1 h 30 min after it ended", "Why c-ring is here.",
        "- Innocent explanation that fits best: a household, or one person with several accounts. Fits it better than one",
        "Nobody shares a key.",
        "Of the 2 identifiers it shares, accounts outside use 1 as well.",
        "A program, hydragraph 0.1.0 (seed 0), compared accounts", "in the tables events", "It decided nothing",
        "**Reviewer:** \\[to be filled in by a person:", "**Redress:** \\[to be filled in by a person:",
    ]  # fmt: skip
    assert [draft.index(words) for words in order] == sorted(draft.index(words) for words in order)


def test_nobody_else_is_named_and_identifiers_are_masked(case: Case) -> None:
    draft = hg.statement_of_reasons(case, "ring-2")
    assert "It began 1 h 30 min after another of these accounts ended" in draft
    assert not [other for other in ("ring-0", "ring-1", "ring-3", "ring-4", "c-ring`") if other in draft]
    assert SECRET not in draft
    assert "4929" in draft


@pytest.mark.parametrize("left", sorted(BLANKS))
@pytest.mark.parametrize("said_", [None, "", "  \n", "...", "____", "-"])
def test_it_is_not_final_while_any_blank_is_empty(case: Case, left: str, said_: str | None) -> None:
    given = {name: value for name, value in FILLED.items() if name != left} | ({} if said_ is None else {left: said_})
    with pytest.raises(InputRefused, match=rf"cannot be final: {left} not filled in, and only a person can"):
        hg.statement_of_reasons(case, "ring-0", given, final=True)
    assert f"**{left.capitalize()}:** \\[to be filled in by a person: " in hg.statement_of_reasons(
        case, "ring-0", given
    )


def test_final_with_every_blank_filled(case: Case) -> None:
    done = hg.statement_of_reasons(case, "ring-0", FILLED, final=True)
    assert "to be filled in" not in done
    assert "Draft" not in done
    for name, words in FILLED.items():
        assert f"**{name.capitalize()}:** {words}" in done
    draft = hg.statement_of_reasons(case, "ring-0", FILLED)
    assert "Every blank is filled in. The case holds no decision of a person that confirms this cluster." in draft


def test_a_decision_of_a_person_is_heeded(case: Case) -> None:
    hg.decide(case, "c-ring", "confirmed", by="ann")
    assert "holds no decision" not in hg.statement_of_reasons(hg.open_case(case.path), "ring-0")
    hg.decide(case, "c-ring", "innocent", by="ann")
    with pytest.raises(InputRefused, match="a person decided that it is innocent"):
        hg.statement_of_reasons(hg.open_case(case.path), "ring-0")


def test_weak_evidence_is_said(tmp_path: Path) -> None:
    rows = [cluster("c-1", "review", 2, against="", hypothesis="")]
    draft = hg.statement_of_reasons(make(tmp_path / "case", {"c-1": ["a", "b"]}, rows), "a")
    assert "- Nothing in the tables speaks against it. That is not proof." in draft
    assert "- The evidence is too weak to call the accounts coordinated." in draft


@pytest.mark.parametrize(
    ("account", "words"), [("lone-1", "in no cluster of this case"), ("h-0", "an innocent explanation fits it")]
)
def test_accounts_without_reasons_are_refused(case: Case, account: str, words: str) -> None:
    with pytest.raises(InputRefused, match=words):
        hg.statement_of_reasons(case, account)
    with pytest.raises(UnknownName):
        hg.statement_of_reasons(case, "nobody")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('grounds = "secret"', "1 blanks have a name that is not known; the blanks are ground, scope"),
        ("ground = 3", "blanks hold text in quotes; ground does not"),
        ('ground = "secret\n', r"not TOML: see line 1, column \d+$"),
        ("ground", "not TOML: see its end$"),
        (None, "the file of blanks: cannot be opened"),
    ],
)
def test_a_file_of_blanks_that_cannot_be_used_says_where(tmp_path: Path, content: str | None, words: str) -> None:
    path = tmp_path / "blanks.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputRefused, match=words) as refused:
        read_blanks(path)
    assert "secret" not in str(refused.value)


def test_blanks_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "blanks.toml"
    path.write_text('scope = """closed\nfrom now"""\n')
    assert read_blanks(path) == {"scope": "closed\nfrom now"}


def test_hostile_values_stay_text(tmp_path: Path) -> None:
    made = hostile_case(tmp_path / "case")
    for account in (HOSTILE, "rtl\u202e", "x" * 5000):
        draft = hg.statement_of_reasons(made, account, {"ground": f"# {HOSTILE}\n\n> {HOSTILE}"})
        kinds = {one.type for one in tokens(draft)}
        assert not kinds & {"html_block", "html_inline", "link_open", "image"}
        assert [one.tag for one in tokens(draft) if one.type == "heading_open"].count("h1") == 1
        assert HOSTILE in said(draft)
        assert not [c for c in draft if c not in "\n\u00a0" and not c.isprintable()]
