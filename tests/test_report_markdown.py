"""The Markdown twin of the report: what it says, and that nothing of a case becomes markup."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

import hydragraph as hg
from hydragraph.case import Case
from hydragraph.errors import UnknownName
from hydragraph.report import text
from hydragraph.report.markdown import code, plain, table
from report_case import HOSTILE, SECRET, cluster, hostile_case, make, three_clusters

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def tokens(source: str) -> list[Token]:
    found = READER.parse(source)
    return [*found, *(child for one in found for child in one.children or [])]


def said(source: str) -> str:
    return "".join(one.content for one in tokens(source) if one.type in ("text", "code_inline"))


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return three_clusters(tmp_path / "case")


# ---------------------------------------------------------------- text as Markdown


@given(st.text(st.sampled_from("a1 .)-+=>#@:/w`*_{}[]<>|~&$!\\\n\u202e"), min_size=1, max_size=30))
def test_any_text_reads_as_it_stands_and_marks_nothing(given_: str) -> None:
    wanted = text.prose(given_).strip()
    kinds = {one.type for one in tokens(plain(given_))}
    assert kinds <= {"paragraph_open", "paragraph_close", "inline", "text", "text_special", "code_inline"}
    assert said(plain(given_)).replace(" ", "") == wanted.replace(" ", "")


@given(st.text(st.sampled_from("a `|\\<>&@\n\u202e"), max_size=20))
def test_any_value_is_one_piece_of_code_in_a_table(value: str) -> None:
    found = tokens(table(("Value", "Next"), [(code(value), "end")]))
    cells = [one for one in found if one.type == "inline"]
    assert [one.content for one in cells][3] == "end"
    shown = text.visible(value).replace("|", "⟨U+007C⟩")
    inside = [one.content for one in cells[2].children or []]
    # a reader takes blanks off the ends of a piece of code
    assert [one.strip() for one in inside] == [shown.strip()]


def test_what_sites_act_on_is_code() -> None:
    assert plain("see @ann, #12, http://x and www.x") == "see `@`ann, `#`12, http`://`x and www`.`x"
    assert plain("12. <b>") == "12\\. \\<b\\>"
    assert plain(None) == ""


def test_figures_stand_to_the_right() -> None:
    assert table(("Name", ">Number"), [("a", "1")]) == "| Name | Number |\n| --- | ---: |\n| a | 1 |"


# ---------------------------------------------------------------- the report


def test_the_opening_and_the_leads(case: Case) -> None:
    source = hg.report_text(case)
    assert source.startswith("# 2 leads among 20 accounts\n\n1 cluster with 5 accounts is assessed as coordinated")
    assert "How sure: in shuffled data of the same shape the same analysis would find no cluster" in source
    assert "| coordinated | `c-ring` | Why c-ring is here. | 5 | 1 | 21.5 bits | 0 | 0.97 | unreviewed |" in source
    assert source.index("`c-ring`") < source.index("`c-office`")
    assert "c-home" not in source
    assert "ring-0" not in source
    assert source.endswith("hydragraph 0.1.0, seed 0. Rows read: events 12,345.\n")
    assert hg.report_text(case) == source


def test_nothing_found_is_said(tmp_path: Path) -> None:
    source = hg.report_text(make(tmp_path / "case", {}, []))
    assert source.startswith("# Nothing was found\n")
    assert "There is no lead in this case." in source


def test_one_cluster_with_its_case_for_and_against(case: Case) -> None:
    source = hg.report_text(case, "c-ri")
    order = [
        "# Cluster `c-ring`: coordinated, 5 accounts", "A lead for a person to review, not a verdict", "Why c-ring is here.",
        "| 0.97 | 21.5 bits | 0 | 5 | 1 | 10 | 100 |", "## The case for",
        "| payment reuse | 0.9 | 0.1 | 10⁻⁹ | Cards wander. |",
        "## The case against", "Innocent explanation that fits best: a household, or one person with several accounts.",
        "Fits it better than one controller:", "Nobody shares a key.",
        "## Shared identifiers", "## Members", "| `ring-0` | core | 40.0 |", "2026-02-03 banned",
        "## Lineage", "| `ring-0` | `ring-2` | 1 h 30 min |", "## Takedown plan", "A person decides.", " | 2 | 1 | 7 | ",
    ]  # fmt: skip
    assert [source.index(words) for words in order] == sorted(source.index(words) for words in order)
    assert "| 4 | address range | `203.0.113.0/24` | 5 | 40 | 5.0 |" in source
    with pytest.raises(UnknownName, match="no cluster has this id"):
        hg.report_text(case, "nobody")


def test_identifiers_are_masked(case: Case) -> None:
    source = hg.report_text(case, "c-ring")
    assert "4929" in source
    assert SECRET not in source
    assert "4929123456781234" not in source


def test_long_tables_are_cut_and_say_so(tmp_path: Path) -> None:
    ids = [f"a-{i:03d}" for i in range(80)]
    source = hg.report_text(make(tmp_path / "case", {"c-1": ids}, [cluster("c-1", "review", 80)]), "c-1")
    assert "50 of 80 members are shown; the rest stand in `accounts.parquet`." in source
    assert source.count("| core |") == 50


def test_a_group_has_no_ties(tmp_path: Path) -> None:
    made = make(tmp_path / "case", {"c-1": ["a", "b"]}, [cluster("c-1", "review", 2, bits=0.0)])
    assert "| no ties |" in hg.report_text(made)
    assert "held together by common address ranges or templates and by how they behave" in hg.report_text(made, "c-1")


def test_hostile_values_stay_text(tmp_path: Path) -> None:
    made = hostile_case(tmp_path / "case")
    for source in (hg.report_text(made), hg.report_text(made, '"><svg')):
        kinds = {one.type for one in tokens(source)}
        assert not kinds & {"html_block", "html_inline", "link_open", "image"}
        assert not [c for c in source if c not in "\n\u00a0" and not c.isprintable()]
    assert HOSTILE in said(source)
    assert "⟨U+202E⟩" in source
