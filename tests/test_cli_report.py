"""`hydragraph report` and `hydragraph reasons`: formats, where things go, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import hydragraph as hg
from cli_case import CARD, EVIL, make_case
from hydragraph_cli.main import cli
from report_case import three_clusters


def invoke(*args: object) -> Result:
    return CliRunner().invoke(cli, [str(one) for one in args], prog_name="hydragraph")


@pytest.fixture
def case(tmp_path: Path) -> Path:
    return three_clusters(tmp_path / "case").path


# --- report


def test_markdown_goes_to_stdout_or_into_a_file(case: Path, tmp_path: Path) -> None:
    opened = hg.open_case(case)
    whole = invoke("report", case, "--format", "md")
    assert (whole.exit_code, whole.stdout, whole.stderr) == (0, hg.report_text(opened), "")
    one = invoke("report", case, "--cluster", "c-ri", "-o", tmp_path / "ticket.md")
    assert (one.exit_code, one.stdout) == (0, "")
    assert (tmp_path / "ticket.md").read_text("utf-8") == hg.report_text(opened, "c-ring")


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("PDF", b"%PDF")])
def test_a_picture_by_the_ending_of_its_file(case: Path, tmp_path: Path, ending: str, start: bytes) -> None:
    graph, lives = tmp_path / f"graph.{ending}", tmp_path / f"lives.{ending}"
    assert invoke("report", case, "--cluster", "c-ring", "-o", graph).stderr == f"picture: {graph}\n"
    assert invoke("report", case, "--lives", "-o", lives).exit_code == 0
    assert graph.read_bytes().startswith(start)
    assert lives.read_bytes().startswith(start)
    assert graph.read_bytes() != lives.read_bytes()
    assert {one.name for one in tmp_path.iterdir()} == {"case", graph.name, lives.name}


def test_html_into_a_file_of_any_name(case: Path, tmp_path: Path) -> None:
    assert invoke("report", case, "-o", tmp_path / "leads").exit_code == 0
    assert (tmp_path / "leads").read_bytes() == hg.write_report(hg.open_case(case)).read_bytes()


def test_how_much_the_html_shows(case: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.html"
    assert invoke("report", case, "--clusters", "1", "--links", "10", "-o", small).exit_code == 0
    source = small.read_text("utf-8")
    assert source.count("data-picture=") == 1  # of three clusters
    assert "The picture is cut down to 10 of 13 links" in source  # five on one range, two at each of four shared cards
    assert source == hg.write_report(hg.open_case(case), clusters=1, links=10).read_text("utf-8")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--format", "png"], "a png picture goes into a file: -o FILE"),
        (["-o", "x.svg"], "a picture shows one cluster: --cluster ID; or --lives for all leads"),
        (["--lives"], "--lives draws a picture: -o FILE that ends in .png, .svg or .pdf"),
        (["--cluster", "c-ring"], "--cluster is for md and pictures; the html report holds all leads"),
        (["--format", "docx"], "'docx' is not one of"),
        (["--format", "md", "--nodes", "50"], "--nodes is for html"),
        (["-o", "x.docx"], "no format has the ending of -o; there are html, htm, md, png, svg, pdf; or say --format"),
    ],
)
def test_what_does_not_fit_together_is_said(case: Path, options: list[str], words: str) -> None:
    result = invoke("report", case, *options)
    assert result.exit_code == 2
    assert words in result.stderr


def test_nothing_reaches_the_terminal_but_text(tmp_path: Path) -> None:
    evil = make_case(tmp_path / "evil", first=EVIL, note=f"Said {EVIL}")
    for command in (["report", evil.path, "--format", "md"], ["report", evil.path, "--format", "md", "--cluster", "c-one"],
                    ["reasons", evil.path, "bob"]):  # fmt: skip
        result = invoke(*command)
        assert result.exit_code == 0, result.output
        assert not [c for c in result.stdout if c not in "\n\u00a0" and not c.isprintable()]
        assert CARD not in result.stdout


# --- reasons


def test_a_draft_and_then_the_final_statement(case: Path, tmp_path: Path) -> None:
    draft = invoke("reasons", case, "ring-0")
    assert (draft.exit_code, draft.stdout) == (0, hg.statement_of_reasons(hg.open_case(case), "ring-0"))
    refused = invoke("reasons", case, "ring-0", "--final", "-o", tmp_path / "reasons.md")
    assert (refused.exit_code, refused.stdout) == (3, "")
    assert refused.stderr == (
        "hydragraph: the statement cannot be final: ground, scope, reviewer, redress not filled in, and only a person can\n"
    )
    assert not (tmp_path / "reasons.md").exists()
    blanks = tmp_path / "blanks.toml"
    blanks.write_text('ground = "Terms, 4.2."\nscope = "Closed."\nreviewer = "Ann"\nredress = "Write to us."\n')
    assert (
        invoke("reasons", case, "ring-0", "--blanks", blanks, "--final", "-o", tmp_path / "reasons.md").exit_code == 0
    )
    said = (tmp_path / "reasons.md").read_text("utf-8")
    assert "**Ground:** Terms, 4.2." in said
    assert "Draft" not in said


def test_accounts_that_are_not_there(case: Path) -> None:
    assert invoke("reasons", case, "nobody").exit_code == 1
    assert invoke("reasons", case, "lone-1").exit_code == 3
