"""Each command on a case small enough to hold in the head, and with the library function behind it watched."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import hydragraph as hg
from cli_case import CARD, EVIL, invoke, make_case, make_empty_case, ok, row, rows
from hydragraph.schema import INPUT, OUTPUT

DANGEROUS = {"\x1b", "\x9b", "\x07", "\u202e", "\r"}


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_case(tmp_path_factory.mktemp("cli") / "case").path)


@pytest.fixture(scope="module")
def evil_case(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_case(tmp_path_factory.mktemp("cli") / "evil", first=EVIL, note=f"Said {EVIL}").path)


@pytest.fixture(scope="module")
def empty_case(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_empty_case(tmp_path_factory.mktemp("cli") / "empty").path)


Watched = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Put a function in place of one of the library's; returns the list of calls it gets."""

    def watch(name: str, answer: Any, module: Any = hg) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []

        def called(*args: Any, progress: Callable[[str], None] | None = None, **given: Any) -> Any:
            if progress is not None:
                progress("links")
            calls.append({"args": args, **given})
            return answer

        monkeypatch.setitem(vars(module), name, called)
        return calls

    return watch


# --- clusters


def test_clusters_for_people(case: str) -> None:
    result = invoke("clusters", case)
    assert result.stdout.splitlines() == [
        "cluster  assessment   score  accounts  closed  bits  by chance",
        "c-one    coordinated   0.90         2       0  21.0          0",
        "  Two accounts share a card.",
        "c-two    explained        -         2       0   6.0          0",
        "  A household.",
    ]
    assert result.stderr == "2 clusters: 1 coordinated, 0 review, 1 explained\n"


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ([], ["c-one", "c-two"]),
        (["--assessment", "explained"], ["c-two"]),
        (["--assessment", "explained", "--assessment", "coordinated"], ["c-one", "c-two"]),
        (["--assessment", "review"], []),
        (["--min-score", "0.5"], ["c-one"]),
        (["--min-score", "0.95"], []),
        (["--limit", "1"], ["c-one"]),
        (["--limit", "0"], ["c-one", "c-two"]),
    ],
)
def test_clusters_filters(filters: list[str], left: list[str], case: str) -> None:
    assert [row["cluster_id"] for row in json.loads(ok("clusters", case, "--format", "json", *filters))] == left
    ok("clusters", case, *filters)


def test_clusters_for_programs(case: str) -> None:
    whole = json.loads(ok("clusters", case, "--format", "json"))
    assert [list(row) for row in whole] == [OUTPUT["clusters"].names] * 2
    assert (whole[0]["first_seen"], whole[1]["score"]) == ("2026-02-01T00:00:00Z", None)
    assert [json.loads(line) for line in ok("clusters", case, "--format", "ndjson").splitlines()] == whole
    assert (
        ok("clusters", case, "--format", "csv", "--columns", "size,cluster_id") == "size,cluster_id\n2,c-one\n2,c-two\n"
    )
    assert ok("clusters", case, "--columns", "cluster_id,size").splitlines() == [
        "cluster_id  size",
        "c-one          2",
        "c-two          2",
    ]


def test_an_unknown_column_is_wrong_usage(case: str) -> None:
    result = invoke("clusters", case, "--columns", "nope")
    assert result.exit_code == 2
    assert "cluster_id" in result.stderr


def test_a_run_without_findings_says_so(empty_case: str, case: str) -> None:
    assert ok("clusters", empty_case) == "No clusters: nothing was found.\n"
    assert ok("clusters", case, "--min-score", "1") == "No cluster fits these filters.\n"
    result = invoke("clusters", empty_case, "--format", "json")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "[]\n", "no clusters\n")
    assert invoke("clusters", empty_case, "--format", "json", "--quiet").stderr == ""


def test_what_is_left_out_is_counted(case: str) -> None:
    assert invoke("clusters", case, "--limit", "1").stderr.endswith("; 1 not shown\n")


# --- show


def test_show_for_people(case: str) -> None:
    text = ok("show", case, "c-one", "--unmasked")
    assert text.startswith("c-one  coordinated\n  Two accounts share a card.\n")
    for said in ("21.0 bits", "0 clusters this strong expected", "household", "unreviewed", "p 1e-09", "A family."):
        assert said in text
    assert "  ties        1, 1 of them in part for synchrony (up to 3.0 bits)\n" in text
    assert "  ties        1\n" in ok("show", case, "c-two")
    said = " ".join(text.split("Against")[0].split())
    assert said.endswith(
        "review unreviewed At 21.0 bits it falls into two single accounts, which one tie holds together. Were a fifth of the"
        " identifiers lost, 80 % of the accounts that they connect in its core would stay in one piece, on average."
    )
    identifiers = text.split("Strongest shared identifiers (2)\n")[1].splitlines()
    assert identifiers[1].split() == ["payment", CARD, "2", "2", "15.0"]
    assert identifiers[2].split() == ["ip_range", "203.0.113.0/24", "2", "4", "6.0"]
    members = text.split("Members (2)\n")[1].splitlines()
    assert [line.split()[0] for line in members[1:]] == ["ann", "bob"]
    assert max(map(len, text.splitlines())) <= 80


def test_show_hides_identifiers_unless_asked(case: str) -> None:
    for args in ([], ["--format", "json"], ["--part", "identifiers", "--format", "csv"], ["--format", "ndjson"]):
        assert CARD not in ok("show", case, "c-one", *args)
        assert CARD in ok("show", case, "c-one", "--unmasked", *args)


def test_show_for_programs(case: str) -> None:
    whole = json.loads(ok("show", case, "c-o", "--format", "json"))
    assert list(whole) == ["cluster", "signals", "identifiers", "members", "ties", "lineage", "takedown"]
    assert whole["cluster"]["cluster_id"] == "c-one"
    assert [m["account_id"] for m in whole["members"]] == ["ann", "bob"]
    lines = [json.loads(line) for line in ok("show", case, "c-one", "--format", "ndjson").splitlines()]
    assert [line["part"] for line in lines] == [
        "cluster",
        "signals",
        "identifiers",
        "identifiers",
        *["members"] * 2,
        "ties",
    ]
    members = ok("show", case, "c-one", "--format", "csv", "--columns", "account_id,bits", "--limit", "1")
    assert members == "account_id,bits\nann,21.0\n"
    assert json.loads(ok("show", case, "c-one", "--part", "cluster", "--format", "json")) == [whole["cluster"]]
    assert ok("show", case, "c-one", "--part", "ties", "--columns", "bits").split() == ["bits", "24.0"]


def test_show_cuts_long_lists_for_people_only(case: str) -> None:
    text = ok("show", case, "c-one", "--limit", "1")
    assert "Members (2, the first 1)" in text
    assert "bob" not in text.split("Members")[1]
    assert "Members (2)" in ok("show", case, "c-one", "--limit", "0")


def test_show_of_a_cluster_with_nothing_to_say(case: str) -> None:
    text = ok("show", case, "c-two")
    assert "Nothing was found that speaks against it." in text
    assert "Signals\n  none" in text


@pytest.mark.parametrize("name", ["", "c-", "c-three"])
def test_unknown_clusters_fail_with_one_sentence(name: str, case: str) -> None:
    result = invoke("show", case, name)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1


# --- account


def test_account_for_people(case: str) -> None:
    text = ok("account", case, "ann", "--unmasked")
    for said in ("Cluster c-one  coordinated (core, 21.0 bits)", "3 requests, 1,000,000 tokens", CARD, "Ties (1)"):
        assert said in text
    ties = text.split("Ties (1)\n")[1].splitlines()
    assert ties[0].split() == ["other", "bits", "shared", "kinds", "synchrony_bits"]
    assert ties[1].split() == ["bob", "24.0", "2", "payment", "3.0"]
    assert "In no cluster" in ok("account", case, "eve")


def test_account_for_programs(case: str) -> None:
    ann = json.loads(ok("account", case, "ann", "--format", "json"))
    assert list(ann) == ["account", "cluster", "ties", "links"]
    assert (ann["account"]["account_id"], ann["cluster"]["cluster_id"]) == ("ann", "c-one")
    assert [tie["other"] for tie in ann["ties"]] == ["bob"]
    assert CARD not in json.dumps(ann)
    assert CARD in ok("account", case, "ann", "--format", "json", "--unmasked")
    eve = json.loads(ok("account", case, "eve", "--format", "json"))
    assert (eve["cluster"], eve["ties"], eve["links"]) == (None, [], [])
    assert ok("account", case, "ann", "--format", "csv", "--columns", "kind").splitlines() == [
        "kind",
        "payment",
        "ip_range",
    ]
    assert ok("account", case, "eve", "--part", "cluster", "--format", "json") == "[]\n"


def test_an_unknown_account_is_not_echoed(case: str) -> None:
    result = invoke("account", case, "nobody-at-all")
    assert result.exit_code == 1
    assert "nobody-at-all" not in result.stderr


# --- hostile values


@pytest.mark.parametrize("format", ["table", "json", "csv", "ndjson"])
def test_hostile_values_reach_no_stream_as_they_are(format: str, evil_case: str) -> None:
    commands = [["clusters", evil_case], ["show", evil_case, "c-one", "--unmasked"], ["account", evil_case, EVIL]]
    commands += [["show", evil_case, "c-one", "--part", part] for part in ("signals", "members", "ties", "identifiers")]
    for command in commands:
        result = invoke(*command, "--format", format)
        assert result.exit_code == 0
        assert not set(result.output) & DANGEROUS
        if format == "csv":
            cells = [cell for row in csv.reader(io.StringIO(result.stdout)) for cell in row]
            assert not any(cell.startswith("=") for cell in cells)


def test_hostile_values_read_back_from_json(evil_case: str) -> None:
    members = json.loads(ok("show", evil_case, "c-one", "--part", "members", "--format", "json"))
    assert EVIL in [member["account_id"] for member in members]


# --- analyze, demo, check


def test_analyze_hands_everything_on(watched: Watched, case: str, tmp_path: Path) -> None:
    calls = watched("analyze", hg.open_case(case))
    config = tmp_path / "settings.toml"
    config.write_text("seed = 5\nipv4_prefix = 20\n")
    result = invoke(
        "analyze", "a.csv", "b.csv", "-o", "out", "--mapping", "m.toml", "--config", str(config),
        "--seed", "9", "--ipv6-prefix", "48", "--max-rejects", "5%", "--previous", "before", "--force",
        "--constraints", "pairs.csv", "--allow", "own.csv", "--pseudonymise", "the.key",
    )  # fmt: skip
    assert result.exit_code == 0
    settings = hg.Settings(seed=9, ipv4_prefix=20, ipv6_prefix=48, max_rejects=0.05)
    assert calls == [
        {
            "args": ((Path("a.csv"), Path("b.csv")), Path("out")),
            "mapping": Path("m.toml"),
            "settings": settings,
            "previous": Path("before"),
            "constraints": Path("pairs.csv"),
            "allow": Path("own.csv"),
            "pseudonymise": Path("the.key"),
            "force": True,
            "engine": None,
        }
    ]


def test_analyze_with_nothing_but_a_source(watched: Watched, case: str) -> None:
    calls = watched("analyze", hg.open_case(case))
    result = invoke("analyze", "data", "-o", "out")
    nothing = {
        "mapping": None, "settings": hg.Settings(), "previous": None, "constraints": None, "allow": None,
        "pseudonymise": None, "force": False, "engine": None,
    }  # fmt: skip
    assert calls == [{"args": (Path("data"), Path("out")), **nothing}]
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["cluster", "c-one", "Two"]
    assert result.stderr.splitlines() == [
        "5 accounts read; 2 clusters: 1 coordinated, 0 review, 1 explained",
        "Two accounts share a card.",
        f"look closer: hydragraph show {case} c-one",
        f"report: {case}/report.html",
    ]


def test_analyze_on_spark(watched: Watched, case: str) -> None:
    calls = watched("analyze", hg.open_case(case))
    stages = ("--stages", "gs://bucket/stages", "--keep-stages")
    result = invoke(
        "analyze", "s3://lake/in", "-o", "s3://lake/out", "--engine", "spark", "--master", "local[4]", *stages
    )
    assert result.exit_code == 0
    assert calls[0]["args"] == ("s3://lake/in", "s3://lake/out")
    assert calls[0]["engine"] == hg.Spark(master="local[4]", stages="gs://bucket/stages", keep=True)


@pytest.mark.parametrize("option", ["--master=local[1]", "--remote=sc://host:1", "--stages=here", "--keep-stages"])
def test_options_of_spark_go_with_spark(option: str) -> None:
    result = invoke("analyze", "data", "-o", "out", option)
    assert result.exit_code == 2
    assert f"{option.partition('=')[0]} goes with --engine spark" in result.stderr


def test_a_place_in_a_store_takes_spark(tmp_path: Path) -> None:
    result = invoke("analyze", str(tmp_path), "-o", "s3://lake/out")
    assert result.exit_code == 3
    assert "the Spark engine only" in result.stderr


def test_analyze_is_as_talkative_as_asked(watched: Watched, case: str) -> None:
    watched("analyze", hg.open_case(case))
    assert invoke("analyze", "data", "-o", "out", "--quiet").stderr == ""
    assert invoke("--quiet", "analyze", "data", "-o", "out").stderr == ""
    assert invoke("analyze", "data", "-o", "out", "--verbose").stderr.splitlines()[0].endswith(" s] links")


def test_analyze_without_leads_says_so(watched: Watched, empty_case: str) -> None:
    watched("analyze", hg.open_case(empty_case))
    result = invoke("analyze", "data", "-o", "out")
    assert result.exit_code == 0
    assert result.stdout == "No leads: no cluster is coordinated or in need of review.\n"


def test_rows_not_read_are_spoken_of(watched: Watched, tmp_path: Path) -> None:
    made = make_case(tmp_path / "case")
    reject = row(table="events", file="e.csv", row=1, column="ip", reason="no address")
    rows("rejects", reject, reject).write_parquet(made.path / "rejects.parquet")
    watched("analyze", hg.open_case(made.path))
    assert "2 rows could not be read; " in invoke("analyze", "data", "-o", "out").stderr


def test_bad_settings_files_are_refused_input(tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    for text in ("seed = ", "nope = 1", "ipv4_prefix = 99"):
        config.write_text(text)
        result = invoke("analyze", "data", "-o", str(tmp_path / "out"), "--config", str(config))
        assert result.exit_code == 3
        assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_demo(watched: Watched, case: str) -> None:
    calls = watched("demo", hg.open_case(case))
    assert "c-one" in ok("demo")
    ok("demo", "elsewhere", "--accounts", "900", "--seed", "0", "--force")
    assert calls == [
        {"args": (Path("hydragraph-demo"),), "force": False},
        {"args": (Path("elsewhere"),), "force": True, "accounts": 900, "seed": 0},
    ]


@pytest.fixture
def source() -> SimpleNamespace:
    """What check returns for payments.csv with three rows: one read in full, one set aside, one not read."""
    reject = row(table="payments", file="payments.csv", row=3, column="account_id", reason="empty")
    return SimpleNamespace(
        tables={"payments": INPUT["payments"].empty().lazy().select("account_id", "instrument_id")},
        rows={"payments": SimpleNamespace(read=3, kept=2, rejected=1, set_aside=1)},
        rejects=rows("rejects", reject),
        inputs=(SimpleNamespace(table="payments", file="payments.csv", rows=3, bytes=90, digest="sha256:0"),),
        notes=(f"payments: column {EVIL} is not read",),
    )


def test_check_says_what_it_understood(watched: Watched, source: SimpleNamespace) -> None:
    calls = watched("check", source)
    result = invoke("check", "data", "--max-rejects", "0.5")
    assert calls == [{"args": (Path("data"),), "mapping": None, "settings": hg.Settings(max_rejects=0.5)}]
    assert result.stdout.splitlines()[:6] == [
        "Tables (1)",
        "table     read  kept  rejected  set_aside  columns",
        "payments     3     2         1          1  account_id, instrument_id",
        "",
        "Rows that cannot be read (1)",
        "table     file          column      reason  rows  first_row",
    ]
    assert not set(result.output) & DANGEROUS
    assert "Notes\n  payments: column\n  =evil\\x1b" in result.stdout


def test_check_for_programs(watched: Watched, source: SimpleNamespace) -> None:
    watched("check", source)
    whole = json.loads(ok("check", "data", "--format", "json"))
    assert list(whole) == ["tables", "files", "rejects", "notes"]
    assert whole["rejects"] == [
        {
            "table": "payments",
            "file": "payments.csv",
            "column": "account_id",
            "reason": "empty",
            "rows": 1,
            "first_row": 3,
        }
    ]
    assert ok("check", "data", "--format", "csv", "--columns", "table,read") == "table,read\npayments,3\n"
    assert (
        ok("check", "data", "--part", "files", "--format", "csv").splitlines()[1]
        == "payments,payments.csv,3,90,sha256:0"
    )


# --- export, report, simulate


def test_export_hands_everything_on(watched: Watched, case: str) -> None:
    calls = watched("export", Path("out.graphml"))
    result = invoke("export", case, "--format", "graphml", "-o", "out.graphml", "--cluster", "c-one", "--force")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "written: out.graphml\n")
    assert calls == [{"args": (hg.open_case(case), "graphml", Path("out.graphml")), "cluster": "c-one", "force": True}]


def test_every_format_is_exported(case: str, tmp_path: Path) -> None:
    from hydragraph.exports import FORMATS

    for format in FORMATS:
        ok("export", case, "--format", format, "-o", str(tmp_path / format))
        assert (tmp_path / format).exists()
        again = invoke("export", case, "--format", format, "-o", str(tmp_path / format))
        assert again.exit_code == 1


def test_report(watched: Watched, case: str) -> None:
    calls = watched("write_report", Path("leads.html"))
    assert invoke("report", case).stderr == "report: leads.html\n"
    ok("report", case, "-o", "leads.html")
    assert calls == [{"args": (hg.open_case(case), None)}, {"args": (hg.open_case(case), Path("leads.html"))}]


def test_simulate_hands_everything_on(watched: Watched) -> None:
    calls = watched("simulate", SimpleNamespace(folder=Path("world"), counts={"accounts": 1000}, notes=()))
    assert invoke("simulate", "world").stderr == "written: world (1,000 accounts)\n"
    ok(
        "simulate", "world", "--accounts", "900", "--events", "9000", "--seed", "3", "--scenario", "hard", "--force",
        "--no-templates", "--ring-size", "9", "--camouflage", "0.5", "--jitter", "2", "--replacement-delay", "1",
        "--hand-on", "0.3",
    )  # fmt: skip
    assert calls == [
        {"args": (Path("world"),), "templates": True, "force": False},
        {
            "args": (Path("world"),), "templates": False, "force": True, "accounts": 900, "events": 9000, "seed": 3,
            "scenario": "hard", "ring_size": 9.0, "camouflage": 0.5, "jitter": 2.0, "replacement_delay": 1.0,
            "hand_on": 0.3,
        },
    ]  # fmt: skip


# --- a terminal


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("no_color", ["", "1"])
def test_colour_on_a_terminal_and_none_with_no_color(no_color: str, case: str) -> None:
    import pty

    ours, theirs = pty.openpty()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm", "NO_COLOR": no_color}
    process = subprocess.Popen(
        [sys.executable, "-m", "hydragraph_cli", "clusters", case], stdin=theirs, stdout=theirs, stderr=theirs, env=env
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert process.wait(timeout=60) == 0
    assert b"coordinated" in shown
    assert (b"\x1b[31mcoordinated\x1b[0m" in shown) == (not no_color)
    assert (b"\x1b" in shown) == (not no_color)
