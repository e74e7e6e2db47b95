"""Whole runs with constraints: what becomes of clusters, what is carried along, what the next case must not lose."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

import hydragraph as hg
from hydragraph.assess import Assessed
from hydragraph.constraints import Pairs, held_constraints
from hydragraph.review import without_evidence
from hydragraph.ties import Ties
from hydragraph_cli.main import cli
from test_constraints import allow_of, pairs_of
from test_tracking import cards, ids_of
from written import source_of


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clusters abcd, efg and hi, each with a card, a device and a phone; 300 strangers."""
    return source_of(tmp_path_factory.mktemp("source"), links=cards(one="abcd", two="efg", three="hi"))


def members(case: hg.Case) -> set[str]:
    return set(ids_of(case))


def test_clusters_with_constraints(source: Path, tmp_path: Path) -> None:
    plain = hg.analyze(source, tmp_path / "plain")
    assert members(plain) == {"abcd", "efg", "hi"}
    assert plain.manifest["constraints"] == {"must": 0, "cannot": 0, "allowed": 0, "digest": None}
    pairs = pairs_of("d must e", "h cannot i", "s1 must s2", "a cannot c", "q must a")
    case = hg.analyze(source, tmp_path / "case", constraints=pairs, allow=allow_of("card two"))
    # h and i share all they have, and are apart; d brings e; c is one account away from a: it goes alone
    assert members(case) == {"abdefg", "s1s2"}
    recorded = case.manifest["constraints"]
    assert {k: recorded[k] for k in ("must", "cannot", "allowed")} == {"must": 3, "cannot": 2, "allowed": 1}
    assert recorded["digest"].startswith("sha256:")
    assert len(recorded["digest"]) == 71
    assert case.manifest["notes"][:2] == [
        "allow list: 1 identifiers of the source are set aside, which 3 accounts use; they are no evidence",
        "constraints: 1 of 5 pairs name an account that is not in the source",
    ]
    assert "two" not in case.links["value"].to_list()
    assert "d-two" in case.links["value"].to_list()
    alone = case.accounts.filter(pl.col("account_id").is_in(["s1", "s2"]))
    assert alone["bits"].to_list() == [0.0, 0.0]  # no evidence holds them
    assert "coordinated" not in alone["assessment"]
    assert (case.clusters["score"] >= 0).all()


def test_what_nothing_but_a_pair_holds_together_is_no_lead(source: Path, tmp_path: Path) -> None:
    """Of s1 and s2 no signal can tell anything; that is no reason to look at them, as it is for others without a signal."""
    case = hg.analyze(source, tmp_path / "case", constraints=pairs_of("s1 must s2", "h must i", "a must s3"))
    rows = {
        "".join(sorted(members)): (row["assessment"], row["hypothesis"], row["explanation"])
        for row in case.clusters.to_dicts()
        for members in [case.cluster(row["cluster_id"]).accounts["account_id"]]
    }
    given = "2 accounts that no evidence ties: that they belong together was given beforehand."
    assert rows.pop("s1s2") == ("explained", "given", given)
    # these share something, or some of them do
    assert set(rows) == {"abcds3", "efg", "hi"}
    assert not [why for _, _, why in rows.values() if "no evidence" in why]
    report = (case.path / "report.html").read_text()
    assert "that fits best: <strong>given" not in report


def test_what_signals_say_of_a_pair_without_evidence_stays() -> None:
    # 0 and 1 must be together and have no tie, 2 and 3 have one, 4 and 5 are in no one group
    label, together = np.array([0, 0, 1, 1, 2, 2]), np.array([5, 5, 1, 1, 2, -1])
    said = [f"{n} accounts share identifiers that others use as well." for n in (2, 2, 2)]
    judged = Assessed(
        np.array([0.95, 0.1, 0.1]), ["coordinated", "explained", "explained"], ["household"] * 3, said, [""] * 3, {}
    )
    none = np.zeros(1)
    tie = Ties(np.array([2]), np.array([3]), none, none.astype(np.int64), none.astype(np.int64), none, 1)
    pairs = Pairs(together, np.zeros(0, np.int64), np.zeros(0, np.int64))
    found = without_evidence(judged, label, tie, pairs)
    assert found.assessment == judged.assessment
    assert found.explanation == [
        "2 accounts that no evidence ties: that they belong together was given beforehand.",
        *said[1:],
    ]
    assert without_evidence(judged, label, tie, None) is judged


def test_what_is_allowed_makes_no_cluster(source: Path, tmp_path: Path) -> None:
    case = hg.analyze(source, tmp_path / "case", allow=allow_of("card three", "device d-three", "phone p-three"))
    assert members(case) == {"abcd", "efg"}
    assert not {"three", "d-three", "p-three"} & set(case.takedown["value"])


def test_constraints_are_carried_along_and_replaced(source: Path, tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text("account_a,account_b,relation\nh,i,cannot\n")
    first = hg.analyze(source, tmp_path / "first", constraints=file, allow=allow_of("card one"))
    assert sorted(p.name for p in first.path.glob("*.ndjson")) == ["allow.ndjson", "constraints.ndjson"]
    assert members(first) == {"abcd", "efg"}
    second = hg.analyze(source, tmp_path / "second", previous=first)
    assert members(second) == {"abcd", "efg"}
    assert second.manifest["constraints"] == first.manifest["constraints"]
    said = [
        "constraints: 1 pairs carried over from the previous case",
        "allow list: 1 identifiers carried over from the previous case",
    ]
    assert second.manifest["notes"][:2] == said
    # a table that is given takes the place of the old one, the other is carried over
    third = hg.analyze(source, tmp_path / "third", previous=second, constraints=pairs_of("a must e"))
    assert members(third) == {"abcdefg", "hi"}
    assert "one" not in third.links["value"].to_list()
    said = [note for note in third.manifest["notes"] if "carried over" in note]
    assert said == ["allow list: 1 identifiers carried over from the previous case"]
    fourth = hg.analyze(
        source, tmp_path / "fourth", previous=third, constraints=pairs_of(), allow=file_without_rows(tmp_path)
    )
    assert members(fourth) == {"abcd", "efg", "hi"}
    assert not list(fourth.path.glob("*.ndjson"))
    # what a case keeps can be given again
    again = hg.analyze(source, tmp_path / "again", constraints=first.path / "constraints.ndjson")
    assert members(again) == {"abcd", "efg"}


def file_without_rows(folder: Path) -> Path:
    (folder / "none.csv").write_text("kind,value\n")
    return folder / "none.csv"


def test_a_case_with_constraints_is_not_replaced_unseen(source: Path, tmp_path: Path) -> None:
    """They are in the case alone, once the table they came from is gone."""
    out = tmp_path / "case"
    hg.analyze(source, out, constraints=pairs_of("h cannot i", "a must e"), allow=allow_of("card one"))
    with pytest.raises(hg.CaseExists, match="keeps 2 pairs of accounts and 1 allowed identifiers; carry them along"):
        hg.analyze(source, out, force=True)
    with pytest.raises(hg.CaseExists, match="keeps 1 allowed identifiers; carry"):
        hg.analyze(source, out, force=True, constraints=pairs_of("h cannot i"))
    other = hg.analyze(source, tmp_path / "other", constraints=pairs_of("h cannot i"), allow=allow_of("card one"))
    with pytest.raises(hg.CaseExists, match="keeps 1 pairs of accounts; carry"):
        hg.analyze(source, out, force=True, previous=other)
    assert held_constraints(out).counts == {"must": 1, "cannot": 1, "allowed": 1}
    hg.analyze(source, out, force=True, previous=out)
    assert held_constraints(out).counts == {"must": 1, "cannot": 1, "allowed": 1}
    # what is given takes the place of what is there, also when it is nothing
    hg.analyze(source, out, force=True, constraints=pairs_of(), allow=allow_of("card two"))
    assert held_constraints(out).counts == {"must": 0, "cannot": 0, "allowed": 1}


def test_a_damaged_file_in_the_case_is_no_case(source: Path, tmp_path: Path) -> None:
    case = hg.analyze(source, tmp_path / "case", constraints=pairs_of("h cannot i"))
    (case.path / "constraints.ndjson").write_text('{"account_a": "h"}\n')
    with pytest.raises(hg.NotACase, match="constraints: row 1, column account_b: no value; mend"):
        held_constraints(case.path)
    with pytest.raises(hg.NotACase):
        hg.analyze(source, tmp_path / "next", previous=case)


def test_nothing_is_written_when_constraints_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(hg.InputRefused):
        hg.analyze(source, tmp_path / "case", constraints=pairs_of("a maybe b"))
    assert not (tmp_path / "case").exists()


def test_the_order_of_rows_changes_nothing(source: Path, tmp_path: Path) -> None:
    pairs = pairs_of("d must e", "b cannot g", "a cannot c", "f cannot h")
    one = hg.analyze(source, tmp_path / "one", constraints=pairs, allow=allow_of("card one", "phone p-two"))
    other = hg.analyze(
        source, tmp_path / "other", constraints=pairs.reverse(), allow=allow_of("phone p-two", "card one")
    )
    for name in ("accounts", "clusters", "links", "ties"):
        assert (one.path / f"{name}.parquet").read_bytes() == (other.path / f"{name}.parquet").read_bytes()
    assert (one.path / "constraints.ndjson").read_bytes() == (other.path / "constraints.ndjson").read_bytes()


def test_watching_heeds_them(source: Path, tmp_path: Path) -> None:
    """The device of the second cluster is everybody's, and new2 is known to be somebody else's."""
    pairs = pairs_of("new2 cannot a", "h cannot i")
    case = hg.analyze(source, tmp_path / "case", constraints=pairs, allow=allow_of("device d-two"))
    rows = ["new1,device,d-two", "new2,payment,one", "new2,device,d-one", "new3,payment,one", "new3,device,d-one"]
    since = source_of(tmp_path / "since", links="account_id,kind,value\n" + "\n".join(rows))
    found = hg.watch(case, since, assessments=["explained", "review", "coordinated"])
    assert found.attached["account_id"].to_list() == ["new3"]
    assert found.notes[-1].startswith("allow list: 1 identifiers of the source are set aside")


def test_who_must_be_with_a_member_attaches(source: Path, tmp_path: Path) -> None:
    """new1, new2 and new6 share nothing with anybody, new3 the card and device of the first cluster."""
    pairs = pairs_of("new1 must a", "new2 must new3", "new4 must new5", "new6 must x", "x must e")
    case = hg.analyze(source, tmp_path / "case", constraints=pairs)
    shared = ["new3,payment,one", "new3,device,d-one"]
    rows = [*shared, *(f"new{i},device,own-{i}" for i in (1, 2, 4, 5, 6))]
    since = source_of(tmp_path / "since", links="account_id,kind,value\n" + "\n".join(rows))
    found = hg.watch(case, since, assessments=["explained", "review", "coordinated"])
    first, second = (ids_of(case)[name] for name in ("abcd", "efg"))
    said = found.attached.select("account_id", "cluster_id", "membership", pl.col("bits") > 0, "because").rows()
    also = "constraints put it together with another"
    assert sorted(said) == [
        ("new1", first, "core", False, also),
        ("new2", first, "core", False, also),
        ("new3", first, "core", True, f"shares 1 payment instrument and 1 device; {also}"),
        ("new6", second, "core", False, also),
    ]
    assert found.counts["unattached"] == 2


def test_from_the_command_line(source: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("account_a;account_b;relation\nh;i;cannot\n")
    (tmp_path / "own.csv").write_text("kind,value\ncard,one\n")

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, ["analyze", str(source), "-o", str(tmp_path / "case"), "--force", *words])
        return done.exit_code, done.stderr

    code, said = run("--constraints", str(tmp_path / "pairs.csv"), "--allow", str(tmp_path / "own.csv"))
    assert code == 0
    assert "allow list: 1 identifiers of the source are set aside" in said
    assert json.loads((tmp_path / "case" / "manifest.json").read_text())["constraints"]["cannot"] == 1
    assert (tmp_path / "case" / "allow.ndjson").read_text() == '{"kind": "payment", "value": "one"}\n'
    code, said = run("--constraints", str(tmp_path / "own.csv"))
    assert code == 3
    assert "constraints: the column account_a is missing" in said
    assert members(hg.open_case(tmp_path / "case")) == {"abcd", "efg"}  # the old one is still there
