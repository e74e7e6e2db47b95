"""People's decisions: kept whole or not at all, shown, carried to the next case, and never lost unseen."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

import hydragraph as hg
from cli_case import make_case
from hydragraph import decisions as decisions_file
from hydragraph.assess import Assessed
from hydragraph.decisions import FILE, Decision, add_decisions, read_decisions
from hydragraph.exports.content import content_of
from hydragraph.report import write_report
from hydragraph.review import CLEARED, Reviewed, heed
from hydragraph_cli.main import cli
from test_tracking import cards, frame
from written import source_of

MONDAY = dt.datetime(2026, 3, 2, 9, 30)


def decision(cluster: str = "A", word: str = "innocent", members: str = "abcd", **more: Any) -> Decision:
    cells = {"when": "2026-03-02T09:30:00Z", "who": "ann", "note": "", "kinds": ("payment",)} | more
    return Decision(cluster_id=cluster, decision=word, members=tuple(members), **cells)


def invoke(*args: str) -> Result:
    return CliRunner().invoke(cli, args, prog_name="hydragraph")


# --- the file


def test_a_decision_is_a_line(tmp_path: Path) -> None:
    case = make_case(tmp_path / "case")
    found = hg.decide(case, "c-one", "confirmed", note=" the same card\nas in May ", by="ann  b", when=MONDAY)
    assert found.row["review_state"] == "confirmed"
    assert [json.loads(line) for line in (case.path / FILE).read_text().splitlines()] == [
        {
            "when": "2026-03-02T09:30:00Z", "who": "ann b", "cluster_id": "c-one", "decision": "confirmed",
            "note": "the same card\nas in May", "members": ["ann", "bob"], "kinds": ["payment"],
            "carried_from": None,
        }
    ]  # fmt: skip


def test_the_last_decision_holds_and_all_are_kept(tmp_path: Path) -> None:
    case = make_case(tmp_path / "case")
    for cluster, word in (
        ("c-one", "confirmed"),
        ("c-two", "innocent"),
        ("c-one", "innocent"),
        ("c-two", "unreviewed"),
    ):
        hg.decide(case, cluster, word, by="ann", when=MONDAY)
    for opened in (case, hg.open_case(case.path)):
        assert opened.clusters.select("cluster_id", "review_state").rows() == [
            ("c-one", "innocent"),
            ("c-two", "unreviewed"),
        ]
        assert opened.decisions["decision"].to_list() == ["confirmed", "innocent", "innocent", "unreviewed"]
        assert opened.decisions["accounts"].to_list() == [2, 2, 2, 2]
        assert opened.decisions["when"][0] == MONDAY.replace(tzinfo=dt.UTC)


def test_what_cannot_be_decided(tmp_path: Path) -> None:
    case = make_case(tmp_path / "case")
    with pytest.raises(hg.InputRefused, match="one of unreviewed, confirmed, innocent"):
        hg.decide(case, "c-one", "banned")
    with pytest.raises(hg.UnknownName):
        hg.decide(case, "c-nine", "confirmed")
    assert not (case.path / FILE).exists()
    assert case.decisions.is_empty()


@pytest.mark.parametrize("cut", [1, 20, 90])
def test_what_a_killed_writer_left_is_no_decision(tmp_path: Path, cut: int) -> None:
    first, second = decision("A"), decision("B", note="ends in the middle of a line, as after a power cut")
    add_decisions(tmp_path, [first])
    with (tmp_path / FILE).open("ab") as file:
        file.write(second.line[:cut])
    assert read_decisions(tmp_path) == (first,)
    add_decisions(tmp_path, [second])
    assert (tmp_path / FILE).read_bytes() == first.line + second.line


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
@pytest.mark.parametrize("held", [None, "", '{"no": "decision"}', "somebody's text\n"])
def test_a_link_in_a_case_leads_to_no_other_file(tmp_path: Path, held: str | None) -> None:
    """Somebody else's case: what its decisions would be added to, or cut off at, is a file of the reader."""
    case, elsewhere = make_case(tmp_path / "case"), tmp_path / "elsewhere"
    if held is not None:
        elsewhere.write_text(held)
    (case.path / FILE).symlink_to(elsewhere)
    for attempt in (lambda: hg.decide(case, "c-one", "confirmed"), lambda: add_decisions(case.path, [decision()])):
        with pytest.raises(hg.NotACase, match=f"{FILE} is no ordinary file"):
            attempt()
    assert (elsewhere.read_text() if elsewhere.exists() else None) == held


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_a_pipe_in_a_case_is_not_waited_for(tmp_path: Path) -> None:
    case = make_case(tmp_path / "case")
    os.mkfifo(case.path / FILE)
    with pytest.raises(hg.NotACase, match=f"{FILE} is no ordinary file"):
        read_decisions(case.path)


def test_a_last_line_without_its_end_counts(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(decision("A").line.rstrip())
    assert read_decisions(tmp_path) == (decision("A"),)
    add_decisions(tmp_path, [decision("B")])
    assert read_decisions(tmp_path) == (decision("A"), decision("B"))


@pytest.mark.parametrize("fails", ["half", "error"])
def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    add_decisions(tmp_path, [decision("A")])

    def write(file: int, data: bytes) -> int:
        done = real(file, data[: len(data) // 2])
        if fails == "error":
            raise OSError("disk full")
        return done

    real = os.write
    monkeypatch.setattr(decisions_file.os, "write", write)
    with pytest.raises(OSError):
        add_decisions(tmp_path, [decision("B")])
    monkeypatch.undo()
    assert (tmp_path / FILE).read_bytes() == decision("A").line


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from hydragraph.decisions import Decision, add_decisions\n"
        "for i in range(30): add_decisions(Path(sys.argv[1]), [Decision('2026-01-01T00:00:00Z', sys.argv[2], str(i),"
        " 'innocent', 'x' * 5000, ('a',), ())])"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), who], env=environment) for who in "pq"]
    assert [process.wait() for process in running] == [0, 0]
    found = read_decisions(tmp_path)
    for who in "pq":
        assert [d.cluster_id for d in found if d.who == who] == [str(i) for i in range(30)]


@pytest.mark.parametrize(
    "line",
    [
        b"{}", b"", b"[1]", b"7", b"\xff", b"not JSON",
        decision(word="guilty").line[:-1], decision(when="yesterday").line[:-1], decision(when="2026-03-02").line[:-1],
        decision(who=None).line[:-1], decision().line.replace(b'["a", "b", "c", "d"]', b"[1]")[:-1],
    ],
)  # fmt: skip
def test_a_line_in_the_middle_that_cannot_be_read_is_said(tmp_path: Path, line: bytes) -> None:
    (tmp_path / FILE).write_bytes(decision("A").line + line + b"\n" + decision("B").line)
    with pytest.raises(hg.NotACase, match="line 2 cannot be read"):
        read_decisions(tmp_path)


# --- heeded


def judged(*words: str) -> Assessed:
    return Assessed(
        score=np.full(len(words), 0.5),
        assessment=list(words),
        hypothesis=["household"] * len(words),
        explanation=[f"Why {word}." for word in words],
        against=["What speaks against."] * len(words),
        shares={},
    )


def heeded(words: dict[str, str], parts: dict[str, str], *given: Decision, kinds: str = "payment") -> Reviewed:
    """clusters -> assessment, clusters -> members; all members share one identifier of each kind."""
    rows = [(a, k, "v", 9.0) for k in kinds.split() for members in parts.values() for a in members]
    links = pl.DataFrame(rows, schema=["account_id", "kind", "value", "bits"], orient="row")
    return heed(given, judged(*words.values()), list(words), frame(parts), links)


def test_innocent_ones_stay_cleared() -> None:
    found = heeded({"A": "coordinated", "B": "coordinated"}, {"A": "abcde", "B": "xyz"}, decision())
    assert found.states == ["innocent", "unreviewed"]
    assert found.assessed.assessment == ["explained", "coordinated"]
    assert found.assessed.hypothesis == [CLEARED, "household"]
    assert found.assessed.explanation == [
        "Cleared by ann on 2026-03-02, and no evidence of another kind has appeared since. What speaks against.",
        "Why coordinated.",
    ]
    assert found.assessed.against[0] == "Why coordinated."
    assert found.decisions == (decision(),)


def test_evidence_of_another_kind_opens_the_case_again() -> None:
    found = heeded({"A": "coordinated"}, {"A": "abcd"}, decision(), kinds="payment device")
    assert found.states == ["innocent"]
    assert found.assessed.assessment == ["coordinated"]
    assert found.assessed.explanation == [
        "Cleared by ann on 2026-03-02, but members share evidence of another kind since: device. Why coordinated."
    ]


def test_an_address_range_opens_nothing() -> None:
    found = heeded({"A": "coordinated"}, {"A": "abcd"}, decision(), kinds="payment ip_range")
    assert found.assessed.assessment == ["explained"]


def test_a_crowd_does_not_hide_behind_a_cleared_household() -> None:
    found = heeded({"A": "review"}, {"A": "abcdefghi"}, decision())
    assert found.assessed.assessment == ["review"]
    assert "only 4 of its 9 accounts were members then" in found.assessed.explanation[0]


@pytest.mark.parametrize(
    ("word", "explanation", "against"),
    [
        ("coordinated", "Confirmed by ann on 2026-03-02. Why coordinated.", "What speaks against."),
        (
            "explained",
            "Confirmed by ann on 2026-03-02; its evidence alone would not say so. What speaks against.",
            "Why explained.",
        ),
    ],
)
def test_confirmed_ones_stay_leads(word: str, explanation: str, against: str) -> None:
    found = heeded({"A": word}, {"A": "abcdef"}, decision(word="confirmed"))
    assert found.states == ["confirmed"]
    assert found.assessed.assessment == ["coordinated"]
    assert (found.assessed.explanation, found.assessed.against) == ([explanation], [against])
    assert found.assessed.score.tolist() == [0.5]


@pytest.mark.parametrize(
    ("word", "then"), [("explained", "review"), ("review", "review"), ("coordinated", "coordinated")]
)
def test_a_confirmed_few_accuse_no_crowd(word: str, then: str) -> None:
    found = heeded({"A": word}, {"A": "abcdefghi"}, decision(word="confirmed"))
    assert (found.states, found.assessed.assessment) == (["confirmed"], [then])
    assert found.assessed.explanation[0].startswith(
        "Confirmed by ann on 2026-03-02, when only 4 of its 9 accounts were members"
    )


def test_a_part_inherits_the_decision_about_the_whole() -> None:
    # A was decided about when it was abcdefg; its id went with abcd, efx has two of three from it, gyz one
    given = decision(members="abcdefg")
    found = heeded(
        {"A": "review", "N": "review", "O": "review"}, {"A": "abcd", "N": "efx", "O": "gyz"}, given
    )  # fmt: skip
    assert found.states == ["innocent", "innocent", "unreviewed"]
    heir = decision("N", members="abcdefg", carried_from="A")
    assert found.decisions == (given, heir)
    assert found.assessed.explanation[1].startswith("Cleared by ann on 2026-03-02, of cluster A then, and no evidence")
    # in the next run the part has a decision of its own, and is not given another
    assert heeded({"N": "review"}, {"N": "efx"}, given, heir).decisions == (given, heir)


@pytest.mark.parametrize(("word", "then"), [("explained", "review"), ("coordinated", "coordinated")])
def test_a_confirmed_ring_does_not_hide_in_a_cleared_cluster(word: str, then: str) -> None:
    # B was confirmed and went into A, which was called innocent when it was abcd
    ring = decision("B", members="xyz", word="confirmed")
    found = heeded({"A": word}, {"A": "abcdxyz"}, ring, decision())
    assert (found.states, found.assessed.assessment) == (["innocent"], [then])
    assert found.assessed.explanation == [
        f"Cleared by ann on 2026-03-02, but 3 of its 7 accounts are of a confirmed cluster. Why {word}."
    ]
    # one of them may be a mistake
    assert heeded({"A": word}, {"A": "abcdx"}, ring, decision()).assessed.assessment == ["explained"]
    # the decision was taken back, or somebody said later that these are innocent too
    for later in (decision("B", members="xyz", word="unreviewed"), decision("C", members="xyz")):
        assert heeded({"A": word}, {"A": "abcdxyz"}, ring, decision(), later).assessed.assessment == ["explained"]


def test_a_confirmed_cluster_says_whom_somebody_called_innocent() -> None:
    found = heeded({"A": "review"}, {"A": "abcdxy"}, decision("B", members="xyz"), decision(word="confirmed"))
    assert found.assessed.assessment == ["coordinated"]
    assert found.assessed.explanation[0].startswith(
        "Confirmed by ann on 2026-03-02; 2 of its 6 accounts were called innocent: look at them first. Why"
    )


def test_a_decision_taken_back_changes_nothing() -> None:
    found = heeded({"A": "review"}, {"A": "abcd"}, decision(), decision(word="unreviewed"))
    assert (found.states, found.assessed.explanation) == (["unreviewed"], ["Why review."])


# --- from run to run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[hg.Case, hg.Case]:
    """A case with abc confirmed and def innocent, and the next in which another account uses the things of each."""
    folder = tmp_path_factory.mktemp("runs")
    first = hg.analyze(source_of(folder / "one", links=cards(p="abc", q="def", r="ghi")), folder / "first")
    where = dict(first.accounts.select("account_id", "cluster_id").iter_rows())
    hg.decide(first, where["a"], "confirmed", by="ann", when=MONDAY)
    hg.decide(first, where["d"], "innocent", by="bob", note="a family", when=MONDAY)
    source = source_of(folder / "two", links=cards(p="abcx", q="defy", r="ghi"))
    return first, hg.analyze(source, folder / "second", previous=first.path)


def test_decisions_move_along(runs: tuple[hg.Case, hg.Case]) -> None:
    first, second = runs
    assert second.decisions.equals(first.decisions)
    assert (second.path / FILE).read_bytes() == (first.path / FILE).read_bytes()
    of = {row["cluster_id"]: row for row in pl.read_parquet(second.path / "clusters.parquet").iter_rows(named=True)}
    where = dict(second.accounts.select("account_id", "cluster_id").iter_rows())
    confirmed, cleared, other = of[where["x"]], of[where["d"]], of[where["g"]]
    assert (confirmed["review_state"], confirmed["assessment"]) == ("confirmed", "coordinated")
    assert confirmed["explanation"].startswith("Confirmed by ann on 2026-03-02")
    assert (cleared["review_state"], cleared["assessment"], cleared["hypothesis"]) == ("innocent", "explained", CLEARED)
    assert cleared["explanation"].startswith("Cleared by bob on 2026-03-02")
    assert other["review_state"] == "unreviewed"
    assert where["y"] is None  # what the family was cleared with draws nobody in
    assert second.takedown.filter(cluster_id=where["d"]).is_empty()
    assert second.takedown.filter(cluster_id=where["x"]).height > 0


def test_every_way_out_shows_the_state(runs: tuple[hg.Case, hg.Case], tmp_path: Path) -> None:
    second = runs[1]
    page = invoke("clusters", str(second.path)).stdout
    assert "decided" in page
    assert "confirmed" in page
    states = dict(second.clusters.select("review_state", "cluster_id").iter_rows())
    shown = " ".join(invoke("show", str(second.path), states["innocent"]).stdout.split())
    assert "review innocent" in shown
    assert "2026-03-02T09:30Z bob innocent a family" in shown
    assert "confirmed" in write_report(second, tmp_path / "report.html").read_text("utf-8")
    assert "confirmed" in set(content_of(second).nodes["review_state"].drop_nulls())


def test_a_case_with_decisions_is_not_replaced_unseen(runs: tuple[hg.Case, hg.Case], tmp_path: Path) -> None:
    source = source_of(tmp_path / "one", links=cards(p="abc", q="def"))
    other = hg.analyze(source, tmp_path / "case")
    hg.decide(other, other.clusters["cluster_id"][0], "innocent", by="ann", when=MONDAY)
    for previous in (None, runs[0]):
        with pytest.raises(hg.CaseExists, match=r"holds 1 decision; .* --previous"):
            hg.analyze(tmp_path / "not read", other.path, force=True, previous=previous)
    again = hg.analyze(source, other.path, force=True, previous=other.path)
    assert again.decisions.equals(other.decisions)
    assert again.decisions.height == 1


def test_a_decision_taken_during_the_run_is_kept(tmp_path: Path) -> None:
    source = source_of(tmp_path / "one", links=cards(p="abc", q="def"))
    case = hg.analyze(source, tmp_path / "case")
    cluster = case.clusters["cluster_id"][0]
    said: list[str] = []

    def meanwhile(stage: str) -> None:
        if stage == "report":
            said.append(hg.decide(case, cluster, "confirmed", by="ann", when=MONDAY).id)

    again = hg.analyze(source, case.path, force=True, previous=case.path, progress=meanwhile)
    assert said == [cluster]
    assert again.decisions["decision"].to_list() == ["confirmed"]
    assert again.cluster(cluster).row["review_state"] == "confirmed"


# --- the command


def test_the_command(tmp_path: Path) -> None:
    path = str(make_case(tmp_path / "case").path)
    done = invoke("decide", path, "c-o", "--as", "confirmed", "--note", "same card", "--by", "ann")
    assert done.exit_code == 0
    assert done.stdout == "c-one  confirmed\n"
    assert "1 decision in this case" in done.stderr
    assert read_decisions(tmp_path / "case")[0].note == "same card"
    assert json.loads(invoke("clusters", path, "--format", "json").stdout)[0]["review_state"] == "confirmed"
    assert invoke("decide", path, "c-one", "--as", "guilty").exit_code == 2
    assert invoke("decide", path, "c-one").exit_code == 2
    assert invoke("decide", path, "c-nine", "--as", "innocent").exit_code == 1
    assert len(read_decisions(tmp_path / "case")) == 1


def test_notes_cannot_act_on_the_terminal(tmp_path: Path) -> None:
    path = str(make_case(tmp_path / "case").path)
    invoke("decide", path, "c-one", "--as", "innocent", "--note", "\x1b]52;c;x\x07", "--by", "\x9b31mann")
    assert not {"\x1b", "\x9b", "\x07"} & set(invoke("show", path, "c-one").stdout)
