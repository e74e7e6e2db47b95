"""`hydragraph watch`: the page for people, the parts for programs, what it hides, and how it ends."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import hydragraph as hg
from cli_case import CARD, EVIL
from hydragraph_cli.main import cli
from test_tracking import ids_of
from written import source_of

LINKS = "account_id,kind,value\n"


def invoke(*args: str) -> Result:
    return CliRunner().invoke(cli, ["watch", *args], prog_name="hydragraph")


def ok(*args: str) -> str:
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One cluster, abc, which somebody confirmed: a card and a device in common; b was closed."""
    folder = tmp_path_factory.mktemp("case")
    rows = [f"{a},payment,{CARD}\n{a},device,d-one" for a in "abc"] + [f"s{i},device,own-{i}" for i in range(300)]
    closed = "account_id,created_at,closed_at,close_reason\nb,2026-01-01,2026-01-09,banned"
    source = source_of(folder / "source", links=LINKS + "\n".join(rows), accounts=closed)
    made = hg.analyze(source, folder / "case")
    hg.decide(made, ids_of(made)["abc"], "confirmed", by="ann")
    return str(made.path)


@pytest.fixture(scope="module")
def since(tmp_path_factory: pytest.TempPathFactory) -> str:
    """new uses both from an hour after b was closed; other is somebody else."""
    rows = [
        "account_id,kind,value,first_seen",
        f"new,payment,{CARD},2026-01-09T01:00",
        "new,device,d-one,2026-01-09T01:00",
        "other,device,own,2026-01-09T02:00",
    ]
    return str(source_of(tmp_path_factory.mktemp("since"), links="\n".join(rows)))


def test_page(case: str, since: str) -> None:
    page = ok(case, since)
    flat = " ".join(page.split())
    said = (
        "2 accounts in the newer tables, 2 of them new. Of the new ones 1 attach to 1 of 1 watched cluster, 1 to none."
    )
    assert flat.startswith(f"{said} 1 closed account with a successor among them, 60 minutes later.")
    assert "Accounts that attach (1)" in page
    cluster = hg.open_case(case).cluster(ids_of(hg.open_case(case))["abc"])
    assert f"new {cluster.id} {cluster.assessment}" in flat
    assert "shares 1 payment instrument and 1 device: payment 4111…42 (" in flat
    assert "device d… (" in flat
    assert CARD not in page
    assert "Closed accounts with a successor (1)" in page
    assert f"b new {cluster.id} 1 " in flat  # an hour


def test_nobody(case: str, tmp_path: Path) -> None:
    since = source_of(tmp_path / "since", links=LINKS + "other,device,own\nmore,device,own")
    said = "2 accounts in the newer tables, 2 of them new. None attaches to 1 watched cluster."
    assert " ".join(ok(case, str(since)).split()) == said


def test_one_cluster(case: str, since: str) -> None:
    cluster = ids_of(hg.open_case(case))["abc"]
    assert ok(case, since, "--cluster", cluster[:6]) == ok(case, since)
    unknown = invoke(case, since, "--cluster", "c-nine")
    assert unknown.exit_code == 1
    assert "no cluster has this id" in unknown.stderr


def test_parts_for_programs(case: str, since: str) -> None:
    whole = json.loads(ok(case, since, "--format", "json"))
    assert list(whole) == ["summary", "attached", "identifiers", "regrown"]
    assert whole["summary"]["attached_new"] == whole["summary"]["unattached"] == whole["summary"]["regrown"] == 1
    assert [r["account_id"] for r in whole["attached"]] == ["new"]
    assert (whole["regrown"][0]["parent"], whole["regrown"][0]["gap_seconds"]) == ("b", 3600.0)
    rows = list(csv.DictReader(io.StringIO(ok(case, since, "--format", "csv"))))
    assert [(r["account_id"], r["membership"], r["new"]) for r in rows] == [("new", "core", "True")]
    lines = [json.loads(line) for line in ok(case, since, "--format", "ndjson").splitlines()]
    assert [line["part"] for line in lines] == ["summary", "attached", "identifiers", "identifiers", "regrown"]
    assert ok(case, since, "--part", "regrown", "--columns", "parent,child", "--format", "csv") == (
        "parent,child\nb,new\n"
    )


def test_identifiers_are_hidden_unless_asked_for(case: str, since: str) -> None:
    for words in ((), ("--format", "json"), ("--part", "identifiers"), ("--part", "identifiers", "--format", "csv")):
        assert CARD not in ok(case, since, *words)
        assert CARD in ok(case, since, *words, "--unmasked")


def test_into_a_file_whole_or_not_at_all(case: str, since: str, tmp_path: Path) -> None:
    words = (case, since, "--format", "csv")
    there = tmp_path / "folder" / "out.csv"
    assert ok(*words, "-o", str(there)) == ""
    assert there.read_bytes().decode() == ok(*words)
    before = there.read_bytes()
    assert invoke(*words, "--columns", "nothing", "-o", str(there)).exit_code == 2
    assert there.read_bytes() == before
    assert [p.name for p in there.parent.iterdir()] == ["out.csv"]


def test_how_it_ends(case: str, since: str, tmp_path: Path) -> None:
    nowhere = invoke(case, str(tmp_path / "nowhere"))
    assert nowhere.exit_code == 3
    assert "no such file" in nowhere.stderr
    no_case = invoke(str(tmp_path), since)
    assert no_case.exit_code == 1
    assert "not a case" in no_case.stderr
    assert invoke(case).exit_code == 2
    assert invoke(case, since, "--assessment", "guilty").exit_code == 2
    assert invoke(case, since, "--max-rejects", "2").exit_code == 2


def test_unreadable_rows_are_refused_and_allowed(case: str, tmp_path: Path) -> None:
    rows = "account_id,kind,value,first_seen\nx,device,d-one,yesterday\ny,device,d-one,2026-01-09"
    since = str(source_of(tmp_path / "since", links=rows))
    refused = invoke(case, since)
    assert refused.exit_code == 3
    assert "--max-rejects" in refused.stderr
    assert ok(case, since, "--max-rejects", "60%").startswith("1 account in the newer tables")


def test_ranges_are_cut_as_in_the_case(tmp_path: Path) -> None:
    """A case made with /16 ranges: an address of the same /16 counts as the same range."""
    rows = [f"{a},payment,one\n{a},ip_range,198.51.{i}.1" for i, a in enumerate("abc")]
    crowd = [f"s{i},device,own-{i}" for i in range(300)]
    source = source_of(tmp_path / "source", links=LINKS + "\n".join(rows + crowd))
    case = hg.analyze(source, tmp_path / "case", settings=hg.Settings(ipv4_prefix=16))
    since = source_of(tmp_path / "since", links=LINKS + "new,payment,one\nnew,ip_range,198.51.77.7")
    found = json.loads(
        ok(str(case.path), str(since), "--assessment", "explained", "--part", "identifiers", "--format", "json")
    )
    assert {r["value"] for r in found if r["kind"] == "ip_range"} == {"198.51.0.0/16"}
    same = hg.watch(case.path, since, assessments=["explained"]).identifiers
    assert same.filter(kind="ip_range")["value"].to_list() == ["198.51.0.0/16"]


def test_nothing_dangerous_reaches_the_terminal(case: str, tmp_path: Path) -> None:
    name = EVIL.replace("\r\n", "").replace(",", "")
    rows = f'{LINKS}"{name}",payment,{CARD}\n"{name}",device,d-one\n"{name}",phone,"{name}"\nz,phone,"{name}"'
    since = str(source_of(tmp_path / "since", links=rows))
    for words in ((), ("--format", "csv"), ("--format", "json"), ("--part", "identifiers", "--unmasked")):
        assert not {"\x1b", "\x9b", "\x07", "\u202e", "\r"} & set(ok(case, since, *words))
