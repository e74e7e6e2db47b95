"""What decisions ask for before clusters form: confirmed ones last and grow, what was cleared draws nobody in."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

import hydragraph as hg
from hydragraph.review import CLEARED
from test_tracking import cards, ids_of
from written import source_of

MONDAY = dt.datetime(2026, 3, 2, 9, 30)


def cases(
    folder: Path, first: str, second: str, *decisions: tuple[str, str], **more: object
) -> tuple[hg.Case, hg.Case]:
    """A case of one source, (member, decision) about its clusters, and the case of the other source after it."""
    one = hg.analyze(source_of(folder / "one", links=first), folder / "first")
    for account, word in decisions:
        cluster = one.accounts.filter(account_id=account)["cluster_id"][0]
        hg.decide(one, cluster, word, by="ann", when=MONDAY)
    return one, hg.analyze(source_of(folder / "two", links=second), folder / "second", previous=one, **more)


def without(text: str, *starts: str) -> str:
    """The rows that begin with none of these."""
    return "\n".join(row for row in text.split("\n") if not row.startswith(starts))


def where(case: hg.Case, account: str) -> str | None:
    return dict(case.accounts.select("account_id", "cluster_id").iter_rows())[account]


# --- confirmed


def test_a_confirmed_cluster_lasts_and_grows_when_its_evidence_is_gone(tmp_path: Path) -> None:
    """abc shared a card, a device and a phone. In March b has given up all of it, and c is gone; x has a's new device."""
    then = cards(one="abc", two="def")
    now = without(then, "b,", "c,") + "\nb,device,new-b\na,device,new-a\nx,device,new-a"
    first, second = cases(tmp_path, then, now, ("a", "confirmed"))
    assert set(ids_of(second)) == {"abx", "def"}
    cluster = second.cluster(where(second, "b") or "")
    assert cluster.id == where(first, "a")
    assert cluster.row["review_state"] == "confirmed"
    assert cluster.assessment == "coordinated"  # two of three were members then
    held = dict(cluster.accounts.select("account_id", "bits").iter_rows())
    assert held["b"] == 0.0  # nothing but the decision
    assert held["x"] > 8
    # without the decision the two are strangers
    _, plain = cases(tmp_path / "plain", then, now)
    assert set(ids_of(plain)) == {"ax", "def"}


def test_a_decision_taken_back_holds_nothing_together(tmp_path: Path) -> None:
    then = cards(one="abc")
    _, second = cases(tmp_path, then, without(then, "b,") + "\nb,device,new", ("a", "confirmed"), ("a", "unreviewed"))
    assert set(ids_of(second)) == {"ac"}


def test_the_last_decision_about_an_account_counts(tmp_path: Path) -> None:
    """abc was confirmed; then b was found in a cluster with x, which is innocent."""
    then = cards(one="abc")
    first, second = cases(
        tmp_path, then, without(then, "b,") + "".join(f"\n{a},{k},{k}2" for a in "bx" for k in ("payment", "device"))
    )
    hg.decide(first, where(first, "a") or "", "confirmed", by="ann", when=MONDAY)
    again = hg.analyze(tmp_path / "two", tmp_path / "again", previous=first)
    assert set(ids_of(again)) == {"abcx"}  # the confirmed ones, with what b brings
    hg.decide(second, where(second, "b") or "", "innocent", by="ann", when=MONDAY + dt.timedelta(days=7))
    (second.path / "decisions.ndjson").write_bytes(
        (second.path / "decisions.ndjson").read_bytes() + (first.path / "decisions.ndjson").read_bytes()
    )
    third = hg.analyze(tmp_path / "two", tmp_path / "third", previous=second)
    assert set(ids_of(third)) == {"ac", "bx"}


def test_constraints_come_before_decisions(tmp_path: Path) -> None:
    apart = pl.DataFrame({"account_a": ["a"], "account_b": ["c"], "relation": ["cannot"]})
    then = cards(one="abc")
    _, second = cases(tmp_path, then, then, ("a", "confirmed"), constraints=apart)
    assert set(ids_of(second)) == {"ab"}


# --- innocent

FAMILY = cards(one="abcdef", two="xyz")
"""abcdef and xyz share a card, a device and a phone each."""


def test_what_was_cleared_ties_its_members_to_no_lead(tmp_path: Path) -> None:
    """x pays once with the card of abcdef, and uses their device and phone; abcdef is confirmed or not."""
    bridge = FAMILY + "\na,payment,two\na,device,d-two\na,phone,p-two"
    for word, found in (("innocent", {"abcdef", "xyz"}), ("unreviewed", {"abcdefxyz"})):
        _, second = cases(tmp_path / word, FAMILY, bridge, ("x", word))
        assert set(ids_of(second)) == found
    cleared = hg.open_case(tmp_path / "innocent" / "second")
    assert cleared.cluster(where(cleared, "x") or "").row["hypothesis"] == CLEARED
    assert cleared.manifest["notes"][0] == (
        "decisions: links of 1 accounts to what innocent clusters were cleared with are no evidence"
    )
    assert cleared.links.filter(account_id="a", value="two").is_empty()
    assert cleared.links.filter(account_id="x", value="two").height == 1


@pytest.mark.parametrize(("crowd", "found"), [("abc", {"xyz"}), ("abcd", {"abcdxyz"})])
def test_more_than_the_members_are_a_crowd_that_counts(tmp_path: Path, crowd: str, found: set[str]) -> None:
    first = cards(two="xyz")
    _, second = cases(tmp_path, first, cards(two="xyz" + crowd), ("x", "innocent"))
    assert set(ids_of(second)) == found
    if len(crowd) > 3:
        assert "only 3 of its 7 accounts were members then" in second.cluster(where(second, "x") or "").explanation


def test_evidence_of_another_kind_opens_the_links_again(tmp_path: Path) -> None:
    more = "\na,payment,two\na,device,d-two\na,phone,p-two"
    for fresh, found in (("", {"abcdef", "xyz"}), ("\nx,email,m@x.org\ny,email,m@x.org", {"abcdefxyz"})):
        _, second = cases(tmp_path / f"with{len(fresh)}", FAMILY, FAMILY + more + fresh, ("x", "innocent"))
        assert set(ids_of(second)) == found
    # addresses are no evidence of another kind
    address = "".join(f"\n{a},ip,203.0.113.7" for a in "xyz")
    _, third = cases(tmp_path / "address", FAMILY, FAMILY + more + address, ("x", "innocent"))
    assert set(ids_of(third)) == {"abcdef", "xyz"}


@pytest.mark.parametrize(
    ("then", "now"),
    [
        # two of the three and three strangers use the template: most of its users are others
        ("".join(f"\n{a},template,wide" for a in ("x", "y", "s0", "s1", "s2")), ""),
        # the device was one member's own
        ("\nx,device,own-x", "\na,device,own-x"),
    ],
)
def test_what_they_were_not_cleared_with_counts_for_everybody(tmp_path: Path, then: str, now: str) -> None:
    _, second = cases(tmp_path, FAMILY + then, FAMILY + then + now, ("x", "innocent"))
    assert not [note for note in second.manifest["notes"] if note.startswith("decisions:")]


def test_watching_heeds_both(tmp_path: Path) -> None:
    """new1 uses what the innocent three were cleared with and the ring's card; new2 only the former."""
    first = hg.analyze(source_of(tmp_path / "one", links=FAMILY), tmp_path / "case")
    for account, word in (("a", "confirmed"), ("x", "innocent")):
        hg.decide(first, where(first, account) or "", word, by="ann", when=MONDAY)
    rows = [
        "new1,payment,one",
        "new1,device,d-one",
        "a,payment,two",
        "a,phone,p-two",
        "new2,payment,two",
        "new2,phone,p-two",
    ]
    since = source_of(tmp_path / "since", links="account_id,kind,value\n" + "\n".join(rows))
    found = hg.watch(first, since)
    assert found.counts["clusters"] == 1
    assert found.attached["account_id"].to_list() == ["new1"]
    assert any(note.startswith("decisions: links of 2 accounts") for note in found.notes)


def test_what_was_opened_again_is_watched(tmp_path: Path) -> None:
    """x, y and z were cleared and share mail since; until somebody decides anew."""
    mail = "\nx,email,m@x.org\ny,email,m@x.org"
    _, second = cases(tmp_path, FAMILY, FAMILY + mail, ("x", "innocent"))
    words = ["coordinated", "review", "explained"]
    since = source_of(tmp_path / "since", links="account_id,kind,value\nnew,payment,two\nnew,email,m@x.org")
    assert hg.watch(second, since, assessments=words).attached["account_id"].to_list() == ["new"]
    hg.decide(second, where(second, "x") or "", "innocent", by="ann", when=MONDAY)
    assert hg.watch(second, since, assessments=words).attached.is_empty()


def test_a_confirmed_ring_that_goes_into_a_cleared_cluster_is_seen(tmp_path: Path) -> None:
    """The three are confirmed, the six are cleared; then all share another card, device and phone. The larger id lasts."""
    joint = "".join(f"\n{who},{kind},joint" for who in "abcdefxyz" for kind in ("payment", "device", "phone"))
    first, second = cases(tmp_path, FAMILY, FAMILY + joint, ("x", "confirmed"), ("a", "innocent"))
    row = second.cluster(where(second, "x") or "").row
    assert (row["cluster_id"], row["size"]) == (where(first, "a"), 9)
    assert (row["review_state"], row["assessment"]) == ("innocent", "review")
    assert "but 3 of its 9 accounts are of a confirmed cluster." in row["explanation"]
    since = source_of(tmp_path / "since", links="account_id,kind,value\nnew,payment,joint\nnew,device,joint")
    assert hg.watch(second, since).attached["account_id"].to_list() == ["new"]


# --- the report


def test_the_report_says_what_was_decided_by_whom_when_and_why(tmp_path: Path) -> None:
    case = hg.analyze(source_of(tmp_path / "one", links=FAMILY), tmp_path / "case")
    hg.decide(case, where(case, "a") or "", "confirmed", by="ann <b>", note="the same card\nin 20 % of", when=MONDAY)
    hg.decide(case, where(case, "x") or "", "innocent", by="bob", when=MONDAY)
    text = hg.write_report(case, tmp_path / "report.html").read_text("utf-8")
    assert text.count('<span class="badge confirmed">confirmed</span>') == 2  # in the list and above the cluster
    assert text.count('<span class="badge innocent">innocent</span>') == 2
    assert (
        "Confirmed by ann &lt;b&gt; on 2026-03-02, when it had 6 accounts. <q>the same card⟨U+000A⟩in 20\u00a0% of</q>"
        in text
    )
    assert "Innocent by bob on 2026-03-02, when it had 3 accounts.</p>" in text
    hg.decide(case, where(case, "a") or "", "unreviewed", by="ann", when=MONDAY + dt.timedelta(days=1))
    text = hg.write_report(case, tmp_path / "report.html").read_text("utf-8")
    assert 'badge confirmed"' not in text
    assert "Taken back by ann on 2026-03-03, when it had 6 accounts." in text
