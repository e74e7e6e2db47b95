"""`hydragraph takedown`: the plan for people and for programs, its limits, and what it hides."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli_case import CARD, EVIL, make_case
from hydragraph_cli.main import cli

DANGEROUS = {"\x1b", "\x07", "\x9b", "\u202e", "\r"}


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_case(tmp_path_factory.mktemp("takedown") / "case").path)


def invoke(*args: str) -> Result:
    return CliRunner().invoke(cli, ["takedown", *args], prog_name="hydragraph")


def ok(*args: str) -> str:
    done = invoke(*args)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_plan_for_people(case: str) -> None:
    """The card stops both; the range would hit cy and dee, whose cluster is explained."""
    text = ok(case, "c-one", "--unmasked")

    assert "Blocking 1 identifier stops all 2 accounts and hits no account outside." in text
    steps = text.split("Steps (1)\n")[1].splitlines()
    assert steps[1].split() == ["1", "payment", CARD, "2", "2", "1", "0", "0", "0", "0"]
    assert "What holds it together\n  No chokepoint was found" in text
    assert "closed one by one" not in text
    assert max(map(len, ok(case, "c-one").splitlines())) <= 80


def test_identifiers_are_hidden_unless_asked(case: str) -> None:
    for args in ([], ["--format", "json"], ["--part", "steps", "--format", "csv"], ["--format", "ndjson"]):
        assert CARD not in ok(case, "c-one", *args)
        assert CARD in ok(case, "c-one", "--unmasked", *args)


def test_the_plan_for_programs(case: str) -> None:
    whole = json.loads(ok(case, "c-o", "--format", "json"))

    assert list(whole) == ["summary", "steps", "alone", "chokepoints"]
    assert whole["summary"] | {"plan": "", "chokepoint": ""} == {
        "cluster_id": "c-one", "assessment": "coordinated", "accounts": 2, "steps": 1, "stopped": 2, "alone": 0,
        "collateral": 0, "cost": 1, "least": 1, "bound": 1.0, "plan": "", "chokepoint": "",
    }  # fmt: skip
    assert ok(case, "c-one", "--format", "csv", "--columns", "step,accounts_covered") == "step,accounts_covered\n1,2\n"
    assert [json.loads(line)["part"] for line in ok(case, "c-one", "--format", "ndjson").splitlines()] == [
        "summary", "steps",
    ]  # fmt: skip


def test_an_explained_cluster_comes_with_a_warning(case: str) -> None:
    """The range that cy and dee share is used by ann and bob too, who are coordinated: no collateral."""
    text = ok(case, "c-two")

    assert "An innocent explanation fits this cluster: there is no reason to block" in text
    assert text.split("Steps (1)\n")[1].splitlines()[1].split() == [
        "1", "ip_range", "203.0.113.0/24", "2", "2", "1", "0", "2", "0", "0",
    ]  # fmt: skip


def test_limits_out_of_bounds_are_usage(case: str) -> None:
    for args in (["--max-collateral", "-1"], ["--max-collateral", "many"], ["--max-share", "2"]):
        assert invoke(case, "c-one", *args).exit_code == 2
    assert ok(case, "c-one", "--max-collateral", "0", "--max-share", "0%")


def test_hostile_values_reach_no_stream_as_they_are(tmp_path: Path) -> None:
    evil = str(make_case(tmp_path / "case", first=EVIL).path)
    for form in ("table", "json", "csv", "ndjson"):
        for part in ("summary", "steps", "alone", "chokepoints"):
            done = invoke(evil, "c-one", "--unmasked", "--part", part, "--format", form)
            assert done.exit_code == 0
            assert not set(done.output) & DANGEROUS


def test_unknown_clusters_fail_with_one_sentence(case: str) -> None:
    done = invoke(case, "c-nine")

    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) == 1
