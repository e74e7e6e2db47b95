"""The commands in the order in which people use them, on real tables, with nothing replaced."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from hydragraph.schema import ASSESSMENTS, OUTPUT
from hydragraph_cli.main import cli

HOSTILE = "=evil\x1b]52;c;ZXZpbA==\x07\x9b31m\u202e"


def invoke(*args: object) -> Result:
    return CliRunner().invoke(cli, [str(arg) for arg in args])


def ok(*args: object) -> Result:
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    return result


def write_links(path: Path, account: str = "acct-1") -> Path:
    """`account` and acct-2 to acct-6 share a device, a wallet and a phone; 300 others have one device each."""
    shared = [
        (name, kind, f"{kind}-shared-1")
        for name in (account, *(f"acct-{i}" for i in range(2, 7)))
        for kind in ("device", "wallet", "phone")
    ]
    own = [(f"lone-{i}", "device", f"device-own-{i}") for i in range(300)]
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(shared + own, schema=["account_id", "kind", "value"], orient="row").write_parquet(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world and its case, made by the commands."""
    folder = tmp_path_factory.mktemp("end-to-end")
    ok("simulate", folder / "world", "--accounts", 2000, "--seed", 3, "--scenario", "small")
    ok("analyze", folder / "world", "-o", folder / "case")
    return folder


def test_the_case_holds_what_was_simulated(folder: Path) -> None:
    truth = pl.read_parquet(folder / "world" / "truth.parquet")
    accounts = pl.read_parquet(folder / "case" / "accounts.parquet")
    assert set(accounts["account_id"]) == set(truth["account_id"])
    assert (folder / "case" / "report.html").is_file()
    assert sorted(path.name for path in folder.iterdir()) == ["case", "world"]


def test_check_adds_up(folder: Path) -> None:
    tables = json.loads(ok("check", folder / "world", "--format", "json").stdout)["tables"]
    assert {"accounts", "events", "payments"} <= {table["table"] for table in tables}
    assert all(table["read"] == table["kept"] + table["rejected"] for table in tables)
    assert "Tables (" in ok("check", folder / "world").stdout


def test_from_the_list_to_a_cluster_to_an_account(folder: Path) -> None:
    clusters = json.loads(ok("clusters", folder / "case", "--format", "json").stdout)
    assert clusters
    assert {cluster["assessment"] for cluster in clusters} <= set(ASSESSMENTS)
    first = clusters[0]["cluster_id"]
    listed = ok("clusters", folder / "case").stdout
    assert first in listed
    assert max(map(len, listed.splitlines())) <= 80
    shown = json.loads(ok("show", folder / "case", first, "--format", "json").stdout)
    assert len(shown["members"]) == clusters[0]["size"]
    assert first in ok("show", folder / "case", first).stdout
    member = shown["members"][0]["account_id"]
    account = json.loads(ok("account", folder / "case", member, "--format", "json").stdout)
    assert account["cluster"]["cluster_id"] == first
    assert first in ok("account", folder / "case", member).stdout


def test_report_and_export(folder: Path, tmp_path: Path) -> None:
    written = (folder / "case" / "report.html").read_bytes()
    ok("report", folder / "case", "-o", tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == written
    ok("export", folder / "case", "--format", "graphml", "-o", tmp_path / "leads.graphml")
    assert (tmp_path / "leads.graphml").stat().st_size > 0


def test_a_case_is_replaced_only_by_force(folder: Path) -> None:
    before = (folder / "case" / "manifest.json").read_bytes()
    result = invoke("analyze", folder / "world", "-o", folder / "case")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert (folder / "case" / "manifest.json").read_bytes() == before


def test_demo(tmp_path: Path) -> None:
    result = ok("demo", tmp_path / "demo", "--accounts", 1000)
    assert result.stderr.splitlines()[-1] == f"report: {tmp_path / 'demo' / 'case' / 'report.html'}"
    assert result.stdout
    assert invoke("demo", tmp_path / "demo", "--accounts", 1000).exit_code == 1
    ok("demo", tmp_path / "demo", "--accounts", 1000, "--force", "--quiet")


def test_links_alone_are_enough(tmp_path: Path) -> None:
    result = ok("analyze", write_links(tmp_path / "links.parquet"), "-o", tmp_path / "case")
    assert "307" not in result.stderr  # 306 accounts: six who share, 300 who do not
    assert result.stderr.startswith("306 accounts read; 1 cluster: ")
    clusters = json.loads(ok("clusters", tmp_path / "case", "--format", "json").stdout)
    assert [cluster["size"] for cluster in clusters] == [6]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nothing.txt", "hello"),
        ("events.csv", "when,who\n1,2\n"),
        ("links.csv", ""),
        ("links.parquet", "not parquet"),
        (None, ""),
    ],
)
def test_a_source_that_cannot_be_used_is_refused(name: str | None, text: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    if name is not None:
        source.mkdir()
        (source / name).write_text(text)
    for command in (["analyze", source, "-o", tmp_path / "case"], ["check", source]):
        result = invoke(*command)
        assert result.exit_code == 3
        assert result.stdout == ""
        assert result.stderr.startswith("hydragraph: ")
        assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "case").exists()


def test_too_many_bad_rows_are_refused_unless_allowed(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    rows = [f"acct-{i},device,d{i}" for i in range(9)] + [",device,d9"]
    (tmp_path / "source" / "links.csv").write_text("\n".join(["account_id,kind,value", *rows]) + "\n")
    assert invoke("analyze", tmp_path / "source", "-o", tmp_path / "case").exit_code == 3
    result = ok("analyze", tmp_path / "source", "-o", tmp_path / "case", "--max-rejects", "20%")
    assert "1 row could not be read" in result.stderr
    assert pl.read_parquet(tmp_path / "case" / "rejects.parquet").columns == OUTPUT["rejects"].names


def test_hostile_ids_go_all_the_way_and_act_nowhere(tmp_path: Path) -> None:
    source = write_links(tmp_path / "links.parquet", account=HOSTILE)
    result = ok("analyze", source, "-o", tmp_path / "case", "--verbose")
    clusters = json.loads(ok("clusters", tmp_path / "case", "--format", "json").stdout)
    commands = [
        ["clusters", tmp_path / "case"],
        ["show", tmp_path / "case", clusters[0]["cluster_id"], "--unmasked"],
        ["account", tmp_path / "case", HOSTILE],
        ["check", source],
    ]
    results = [
        result,
        *(ok(*command, "--format", format) for command in commands for format in ("table", "csv", "json")),
    ]
    assert not any(set(result.output) & {"\x1b", "\x07", "\x9b", "\u202e"} for result in results)
    members = json.loads(ok(*commands[1], "--format", "json").stdout)["members"]
    assert HOSTILE in [member["account_id"] for member in members]
