"""`hydragraph lineage`: the page for people, the parts for programs, and what it hides."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from cli_case import CARD, EVIL, START, make_case, make_empty_case, row, rows
from hydragraph_cli.main import cli


def make(out: Path, first: str = "ann") -> str:
    """`make_case` in which `first` was closed ten hours after its beginning and bob took its place two hours later."""
    case = make_case(out, first=first)
    end = START + dt.timedelta(hours=10)
    mine = pl.col("account_id") == first
    accounts = case.accounts.with_columns(
        closed_at=pl.when(mine).then(pl.lit(end).cast(pl.Datetime("us", "UTC"))),
        close_reason=pl.when(mine).then(pl.lit("banned")),
    )
    lineage = rows(
        "lineage",
        row(cluster_id="c-one", parent=first, child="bob", bits=9.5, gap_seconds=7200.0, probability=0.93,
            survived="ip_range,payment"),
    )  # fmt: skip
    accounts.write_parquet(out / "accounts.parquet")
    lineage.write_parquet(out / "lineage.parquet")
    return str(out)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make(tmp_path_factory.mktemp("lineage") / "case")


def invoke(*args: str) -> Result:
    return CliRunner().invoke(cli, ["lineage", *args], prog_name="hydragraph")


def ok(*args: str) -> str:
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    return result.stdout


SAID = "1 account closed; a successor can be named for it, 2 hours later."


def test_page_of_a_cluster(case: str) -> None:
    page = ok(case, "c-one")
    flat = " ".join(page.split())
    assert page.startswith("c-one  coordinated\n")
    assert SAID in flat
    assert "ann bob 2 0.93 ip_range,payment" in flat
    assert "Waves of closings (0)" in page  # one closing is no wave
    assert CARD not in page
    assert "payment 4111…42 1 2 2" in flat
    # the range is used by four, two of them members
    assert "ip_range 203.0.113.0/24 1 2 4" in flat


def test_page_of_all_leads(case: str) -> None:
    flat = " ".join(ok(case).split())
    assert SAID in flat
    assert "c-one coordinated 2 1 1 2" in flat
    assert "Replacements" not in flat


def test_explained_clusters_on_demand(case: str) -> None:
    assert "No account was closed." in ok(case, "--assessment", "explained")
    assert invoke(case, "--assessment", "guilty").exit_code == 2


def test_parts_for_programs(case: str) -> None:
    whole = json.loads(ok(case, "c-one", "--format", "json"))
    assert list(whole) == ["summary", "clusters", "replacements", "waves", "survivors", "kinds"]
    assert whole["summary"]["closed"] == whole["summary"]["replaced"] == 1
    assert whole["summary"]["median"] == 2.0
    assert whole["summary"]["said"].startswith(SAID)
    assert [r["parent"] for r in whole["replacements"]] == ["ann"]
    assert whole["kinds"] == [
        {"kind": "ip_range", "replacements": 1, "share": 1.0},
        {"kind": "payment", "replacements": 1, "share": 1.0},
    ]
    csv = ok(case, "c-one", "--format", "csv", "--columns", "parent,child,gap_seconds")
    assert csv == "parent,child,gap_seconds\nann,bob,7200.0\n"
    lines = [json.loads(line) for line in ok(case, "c-one", "--format", "ndjson").splitlines()]
    assert {line["part"] for line in lines} == {"summary", "clusters", "replacements", "survivors", "kinds"}


def test_identifiers_are_hidden_unless_asked_for(case: str) -> None:
    for format in ("table", "json", "csv", "ndjson"):
        assert CARD not in ok(case, "c-one", "--part", "survivors", "--format", format)
        assert CARD in ok(case, "c-one", "--part", "survivors", "--format", format, "--unmasked")


def test_nothing_dangerous_reaches_the_terminal(tmp_path: Path) -> None:
    made = make(tmp_path / "evil", first=EVIL)
    for args in ((made,), (made, "c-one"), (made, "c-one", "--format", "csv"), (made, "c-one", "--format", "json")):
        assert not {"\x1b", "\x9b", "\x07", "\u202e", "\r"} & set(ok(*args))


def test_a_case_without_closings(tmp_path: Path) -> None:
    make_empty_case(tmp_path / "empty")
    assert "There is no cluster to look at." in ok(str(tmp_path / "empty"))
    result = invoke(str(tmp_path / "empty"), "c-one")
    assert result.exit_code == 1
    assert "no cluster has this id" in result.stderr
