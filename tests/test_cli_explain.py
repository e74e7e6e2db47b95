"""`hydragraph path` and `hydragraph expand`: for people and for programs, what they hide, and how they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli_case import CARD, EVIL, make_case, make_empty_case
from hydragraph_cli.main import cli

DANGEROUS = {"\x1b", "\x07", "\x9b", "\u202e", "\r"}


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_case(tmp_path_factory.mktemp("explain") / "case").path)


def invoke(*args: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(cli, args, input=stdin, prog_name="hydragraph")


def ok(*args: str, stdin: str | bytes | None = None) -> str:
    done = invoke(*args, stdin=stdin)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_path_for_people(case: str) -> None:
    """ann and bob share a card of 15 bits and, as an alternative, the range of 6; 3 of the 24 of their tie are for time."""
    text = ok("path", case, "ann", "bob", "--unmasked")

    assert (
        "They share one payment instrument that 2 accounts use, worth 15.0 bits. Their tie is worth 24.0 bits in all; that"
        " both begin their bursts of requests at the same moments adds 3.0." in " ".join(text.split())
    )
    first, second = text.split("Steps of path 1, as strong as 15.0 bits (1)\n")[1].split("\n\n")
    assert first.splitlines()[1].split() == ["ann", "payment", CARD, "15.0", "2", "bob", "3.0"]
    assert second.splitlines()[2].split() == ["ann", "ip_range", "203.0.113.0/24", "6.0", "4", "bob", "3.0"]
    assert "path 2" not in ok("path", case, "ann", "bob", "--alternatives", "0")


def test_the_path_for_programs(case: str) -> None:
    whole = json.loads(ok("path", case, "bob", "ann", "--format", "json"))

    assert list(whole) == ["summary", "paths", "steps"]
    assert whole["summary"] | {"answer": ""} == {
        "account_a": "bob", "account_b": "ann", "cluster_a": "c-one", "cluster_b": "c-one", "paths": 2, "bits": 15.0,
        "tie_bits": 24.0, "synchrony_bits": 3.0, "answer": "",
    }  # fmt: skip
    assert ok("path", case, "ann", "bob", "--format", "csv", "--columns", "path,kind,bits") == (
        "path,kind,bits\n1,payment,15.0\n2,ip_range,6.0\n"
    )
    lines = ok("path", case, "ann", "bob", "--format", "ndjson").splitlines()
    assert [json.loads(line)["part"] for line in lines] == ["summary", "paths", "paths", "steps", "steps"]


def test_no_path_is_an_answer(case: str) -> None:
    text = ok("path", case, "ann", "eve")

    assert "No path: one of the accounts is not in a cluster" in " ".join(text.split())
    assert "in no cluster" in text
    assert ok("path", case, "ann", "eve", "--format", "csv", "--columns", "path,step") == "path,step\n"
    assert json.loads(ok("path", case, "ann", "eve", "--format", "json"))["summary"]["bits"] is None
    assert json.loads(ok("path", case, "ann", "eve", "--format", "json"))["summary"]["tie_bits"] is None


def test_the_suggestions_for_people(case: str) -> None:
    """eve is in no cluster; from ann the card leads to bob, the range makes nobody a suggestion."""
    text = ok("expand", case, "ann", "eve", "--unmasked")

    assert "From 1 known account the walk reached 1 other. 1 of 2 known accounts is in no" in text
    row = text.split("Suggestions (1)\n")[1].splitlines()[1].split()
    assert (row[0], row[2:]) == ("bob", ["c-one", "coordinated", "-", "1", "15.0"])
    assert text.split("Known accounts that lead nowhere (1)\n")[1].splitlines()[1].split() == ["eve", "-"]
    assert f"ann -- payment {CARD} (15.0 bits) -- bob" in " ".join(text.split())
    assert max(map(len, ok("expand", case, "ann", "eve").splitlines())) <= 80


def test_the_suggestions_for_programs(case: str) -> None:
    whole = json.loads(ok("expand", case, "ann", "--format", "json"))

    assert list(whole) == ["summary", "suggestions", "paths", "known"]
    assert whole["summary"] | {"answer": ""} == {"known": 1, "used": 1, "reached": 1, "listed": 1, "answer": ""}
    assert ok("expand", case, "ann", "--format", "csv", "--columns", "account_id,seed") == "account_id,seed\nbob,ann\n"
    assert ok("expand", case, "eve", "--format", "ndjson", "--part", "suggestions") == ""


def test_limit_counts_suggestions(tmp_path: Path, case: str) -> None:
    whole = json.loads(ok("expand", case, "ann", "cy", "eve", "--limit", "1", "--format", "json"))

    assert len(whole["suggestions"]) == 1
    assert len(whole["known"]) == 3
    assert json.loads(ok("expand", case, "ann", "--limit", "0", "--format", "json"))["summary"]["listed"] == 1


def test_accounts_from_stdin(case: str) -> None:
    wanted = ok("expand", case, "ann", "eve", "--format", "json")

    assert ok("expand", case, "-", "--format", "json", stdin="ann\r\n\neve\n") == wanted
    assert ok("expand", case, "-", "--format", "json", stdin=b"\xef\xbb\xbfann\neve") == wanted
    assert ok("expand", case, "ann", "-", "--format", "json", stdin="eve\nann\n") == wanted
    for given in ("", "\n \n", b"\xff\n"):
        assert invoke("expand", case, "-", stdin=given).exit_code == 2


def test_identifiers_are_hidden_unless_asked(case: str) -> None:
    for command in (["path", case, "ann", "bob"], ["expand", case, "ann"]):
        main = "steps" if command[0] == "path" else "paths"
        for args in ([], ["--format", "json"], ["--part", main, "--format", "csv"], ["--format", "ndjson"]):
            assert CARD not in ok(*command, *args)
            assert CARD in ok(*command, "--unmasked", *args)


@pytest.mark.parametrize(
    "args", [["path", "ann", "nobody-here"], ["expand", "ann", "nobody-here"], ["expand", "nobody-here"]]
)
def test_unknown_accounts_fail_with_one_sentence(case: str, args: list[str]) -> None:
    done = invoke(args[0], case, *args[1:])

    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) == 1
    assert "nobody-here" not in done.output


def test_wrong_usage(case: str) -> None:
    for args in (["path", case, "ann", "ann"], ["path", case, "ann"], ["expand", case], ["expand", case, "\udcff"]):
        assert invoke(*args).exit_code == 2
    assert invoke("path", case, "ann", "bob", "--alternatives", "-1").exit_code == 2


def test_a_case_without_findings(tmp_path: Path) -> None:
    done = invoke("expand", str(make_empty_case(tmp_path / "case").path), "ann")

    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 1)


def test_hostile_values_reach_no_stream_as_they_are(tmp_path: Path) -> None:
    evil = str(make_case(tmp_path / "case", first=EVIL).path)
    for form in ("table", "json", "csv", "ndjson"):
        for command in (["path", evil, EVIL, "bob"], ["expand", evil, EVIL, "bob"], ["expand", evil, "bob"]):
            done = invoke(*command, "--unmasked", "--format", form)
            assert done.exit_code == 0
            assert not set(done.output) & DANGEROUS
