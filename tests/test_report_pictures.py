"""Pictures: what is drawn of a cluster and where, lifespans, and matplotlib figures."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hydragraph.case import Case
from hydragraph.errors import UnknownName
from hydragraph.report.figures import cluster_figure, figure_bytes, lives_figure, save_figure
from hydragraph.report.layout import bipartite_layout, fit
from hydragraph.report.lifespans import lifespans
from hydragraph.report.picture import KIND_COLOURS, SHAPES, draw, kind_order, ranked_members, shared_identifiers
from hydragraph.report.rhythm import rhythm, week_paths
from report_case import SECRET, cluster, frame, hostile_case, link, make, three_clusters


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return three_clusters(tmp_path / "case")


@pytest.fixture
def hostile(tmp_path: Path) -> Case:
    return hostile_case(tmp_path / "hostile")


# ---------------------------------------------------------------- what is drawn, and where


def test_shared_identifiers_take_turns_by_kind() -> None:
    # weights: cards 15 x 2 = 30 (four of them), range 5 x 5 = 25; the range comes before the fourth card
    links = [link(a, "ip_range", "r", 5.0) for a in "abcde"] + [link("a", "device", "alone", 30.0)]
    for card in range(4):
        links += [link("a", "payment", f"card-{card}", 15.0), link("b", "payment", f"card-{card}", 15.0)]
    shared = shared_identifiers(frame("links", links))
    assert shared.select("number", "value", "members").rows() == [
        (1, "card-0", 2), (2, "card-1", 2), (3, "card-2", 2), (4, "r", 5), (5, "card-3", 2),
    ]  # fmt: skip


def test_picture_of_a_small_cluster_holds_everything(case: Case) -> None:
    ring = case.cluster("c-ring")
    picture = draw(ring.accounts, ring.links, kind_order(["ip_range", "payment"]))
    assert picture.accounts["account_id"].to_list() == [f"ring-{i}" for i in range(5)]
    # cards 0 and 5 have one user each and are not shared; 1 to 4 and the range are
    assert picture.identifiers.height == 5
    assert picture.links.height == 5 + 4 * 2
    assert picture.left_out == ""
    assert picture.place.shape == (10, 2)


def test_cut_picture_grows_along_the_chain_and_says_so(case: Case) -> None:
    ids = [f"m-{i:02d}" for i in range(20)]
    links = [link(one, "payment", f"card-{card:02d}", 15.0) for i, one in enumerate(ids) for card in (i, i + 1)]
    members = frame(
        "accounts", [{"account_id": one, "membership": "core", "bits": 50.0 - i} for i, one in enumerate(ids)]
    )
    picture = draw(members, frame("links", links), ["payment"], nodes=10)
    # 60 % of ten nodes are accounts; the chain grows from the best tied one; five cards lie between six accounts
    assert picture.accounts["account_id"].to_list() == ids[:6]
    assert picture.identifiers["value"].sort().to_list() == [f"card-{i:02d}" for i in range(1, 6)][:4]
    assert picture.left_out.startswith(
        "The picture is cut down to 6 of 20 accounts, 4 of 19 shared identifiers and 8 of 38"
    )


def test_edge_limit_keeps_the_strongest_links(case: Case) -> None:
    ring = case.cluster("c-ring")
    picture = draw(ring.accounts, ring.links, ["ip_range", "payment"], edges=8)
    values = picture.identifiers["value"].gather(picture.links["identifier"])
    assert picture.links.height == 8
    assert values.str.starts_with(SECRET).all()
    assert "8 of 13 links" in picture.left_out


def test_picture_does_not_depend_on_row_order(case: Case) -> None:
    ring = case.cluster("c-ring")
    one = draw(ring.accounts, ring.links, ["payment"], nodes=6)
    other = draw(ring.accounts.reverse(), ring.links.sample(fraction=1, shuffle=True, seed=3), ["payment"], nodes=6)
    assert one.accounts.equals(other.accounts)
    assert one.identifiers.equals(other.identifiers)
    assert one.links.equals(other.links)
    assert np.array_equal(one.place, other.place)


def test_no_two_of_sixteen_kinds_look_alike() -> None:
    looks = {(KIND_COLOURS[i % len(KIND_COLOURS)], SHAPES[i % len(SHAPES)]) for i in range(16)}
    assert len(looks) == 16


def test_members_are_ranked_core_first_then_bits() -> None:
    rows = [("b", "attached", 90.0), ("c", "core", 10.0), ("a", "core", None), ("d", "core", 20.0)]
    members = frame("accounts", [{"account_id": a, "membership": m, "bits": b} for a, m, b in rows])
    assert ranked_members(members)["account_id"].to_list() == ["d", "c", "a", "b"]


@pytest.mark.parametrize("links", [[], [[0, 0]], [[0, 0], [1, 0], [1, 1], [2, 1]]])
def test_layout_is_finite_repeatable_and_apart(links: list[list[int]]) -> None:
    ends = np.array(links, dtype=np.int64).reshape(-1, 2)
    place = fit(bipartite_layout(3, 2, ends), 1000, 560, 40)
    assert np.array_equal(place, fit(bipartite_layout(3, 2, ends), 1000, 560, 40))
    assert np.isfinite(place).all()
    assert (place >= 0).all()
    assert (place <= [1000, 560]).all()
    gaps = np.linalg.norm(place[:, None] - place[None], axis=2)[~np.eye(5, dtype=bool)]
    assert gaps.min() > 20


def test_layout_puts_a_hub_among_its_accounts() -> None:
    # a star: the identifier stands nearer to the middle than any of its accounts
    place = bipartite_layout(6, 1, np.array([[i, 0] for i in range(6)]))
    from_middle = np.linalg.norm(place - place.mean(axis=0), axis=1)
    assert from_middle[6] < from_middle[:6].min() / 2


def test_layout_of_nothing() -> None:
    assert bipartite_layout(0, 0, np.zeros((0, 2), np.int64)).shape == (0, 2)
    assert fit(np.zeros((0, 2)), 10, 10, 1).shape == (0, 2)
    assert fit(np.zeros((1, 2)), 1000, 560, 40).tolist() == [[500.0, 280.0]]


def test_lifespans(case: Case) -> None:
    ring = case.cluster("c-ring")
    lives = lifespans(ranked_members(ring.accounts), ring.lineage)
    assert lives is not None
    # five accounts, each seen two days, one day after the other: six days in all, x from 6 to 994; ring-2 took the
    # place of ring-0 and stands below it
    day = 988 / 6
    assert [(line.x1, line.x2) for line in lives.lines] == [
        (round(6 + i * day), round(6 + (i + 2) * day)) for i in (0, 2, 1, 3, 4)
    ]
    assert [line.closed for line in lives.lines] == [round(6 + 2 * day), None, None, None, None]
    assert lives.steps == ((round(6 + 2 * day), 8, round(6 + 2 * day), 16),)
    assert lifespans(ring.accounts.head(1), ring.lineage) is None
    # where no activity is known a life begins with the opening
    opened = ring.accounts.with_columns(
        created_at="first_seen", first_seen=pl.lit(None, ring.accounts["first_seen"].dtype)
    )
    silent = lifespans(ranked_members(opened), ring.lineage)
    assert silent is not None
    assert silent.start == lives.start


def test_a_loop_in_a_foreign_lineage_table_loses_nobody(case: Case) -> None:
    ring = case.cluster("c-ring")
    loop = frame("lineage", [{"parent": "ring-0", "child": "ring-1"}, {"parent": "ring-1", "child": "ring-0"}])
    lives = lifespans(ranked_members(ring.accounts), loop)
    assert lives is not None
    assert len(lives.lines) == 5


# ---------------------------------------------------------------- figures


def test_figure_of_lives_has_a_bar_a_head_and_an_arrow_a_replacement(case: Case) -> None:
    figure = case.cluster("c-ring").plot_lives()
    axes = figure.axes[0]
    bars = [line for line in axes.lines if line.get_linewidth() > 2]
    assert len(bars) == 5
    assert len(axes.texts) == 1  # the arrow
    words = [t.get_text() for t in figure.texts]
    assert words[0] == "Cluster c-ring: lives and replacements"
    assert words[1] == "1 account closed; a successor can be named for it, 90 minutes later."
    assert "ring-0" not in " ".join(words)
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


def test_figure_of_lives_needs_two_lives(case: Case) -> None:
    with pytest.raises(UnknownName, match="fewer than two"):
        lives_figure(case.accounts.head(1), case.lineage.clear(), "title", "said")


def test_figure_shows_the_cluster_with_masked_labels(case: Case) -> None:
    figure = cluster_figure(case.cluster("c-ring"))
    words = [t.get_text() for t in figure.texts] + [t.get_text() for t in figure.axes[0].texts]
    assert "Cluster c-ring: coordinated, 5 accounts" in words
    assert "203.0.113.0/24" in words
    assert SECRET not in " ".join(words)
    assert "ring-0" not in " ".join(words)
    names = [t.get_text() for t in figure.legends[0].get_texts()]
    assert names == ["core account", "closed", "payment instrument", "address range"]
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


def test_figure_takes_any_text_and_says_what_it_left_out(hostile: Case) -> None:
    row = hostile.cluster('"><svg onload=x>')
    figure = cluster_figure(row, nodes=5)
    assert "The picture is cut down to 3 of 8 accounts" in " ".join(t.get_text() for t in figure.texts).replace(
        "\n", " "
    )
    assert figure_bytes(figure, "svg").startswith(b"<?xml")


def test_figure_reads_no_formula(tmp_path: Path) -> None:
    odd = cluster("c-x", "review", 2, explanation=r"$\frac{ $broken 日本 \x")
    figure = cluster_figure(make(tmp_path / "case", {"c-x": ["a", "b"]}, [odd]).cluster("c-x"))
    for ending, start in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("PDF", b"%PDF")):
        assert save_figure(figure, tmp_path / f"f.{ending}").read_bytes().startswith(start)
    assert b"<dc:date>" not in (tmp_path / "f.svg").read_bytes()
    with pytest.raises(UnknownName, match="png, svg, pdf"):
        save_figure(figure, tmp_path / "f.docx")


def test_figure_of_a_lone_account(tmp_path: Path) -> None:
    case = make(tmp_path / "case", {"c-x": ["a"]}, [cluster("c-x", "review", 1)])
    assert figure_bytes(cluster_figure(case.cluster("c-x")), "png").startswith(b"\x89PNG")


# ---------------------------------------------------------------- a cluster's week and days


def hours_of(*rows: tuple[int, int, int, int]) -> pl.DataFrame:
    """Rows of the table of hours: day of January 1970 (the 5th is a Monday), hour, requests, accounts."""
    at = [dt.datetime(1970, 1, day, hour, tzinfo=dt.UTC) for day, hour, _, _ in rows]
    return frame(
        "hours",
        [{"cluster_id": "c", "hour": t, "requests": r[2], "accounts": r[3]} for t, r in zip(at, rows, strict=True)],
    )


def test_hours_of_the_week_are_coloured_by_their_share() -> None:
    week = np.zeros(168, np.int64)
    week[[0, 25, 50, 75, 100]] = 1, 2, 4, 8, 321  # 336 in all: an even hour has 2
    squares = ["M0 0", "M10 10", "M20 20", "M30 30", "M40 40"]
    assert week_paths(week) == tuple(f"{square}h9v9h-9z" for square in squares)


def test_bars_and_line_of_the_days() -> None:
    # Monday: 4 + 6 requests, at most 2 members in an hour; Tuesday none; Wednesday 5 requests of 3 members
    one = rhythm(hours_of((5, 9, 4, 1), (5, 10, 6, 2), (7, 0, 5, 3)), np.ones(168, np.int64))
    assert one is not None
    assert (one.step, one.busiest[0], one.busiest[1].day, one.together) == (1, 10, 5, 3)
    assert (one.start.day, one.end.day) == (5, 7)
    # three days, each a third of 1000 wide; the highest bar has 86 of 90
    assert one.bars == "M154.7 90v-86h24.0v86zM821.3 90v-43h24.0v43z"
    assert one.line == "M166.7 32.7L500.0 90.0L833.3 4.0"
    assert one.sentence == "15 requests are too few to hold their hours against those of all accounts."


def test_many_days_share_a_bar() -> None:
    first = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    days = [first + dt.timedelta(days=day) for day in range(402)]
    rows = frame("hours", [{"cluster_id": "c", "hour": day, "requests": 1, "accounts": 1} for day in days])
    one = rhythm(rows, np.ones(168, np.int64))
    assert one is not None
    assert (one.step, one.busiest[0], one.bars.count("M")) == (3, 3, 134)


def test_no_request_is_no_picture() -> None:
    assert rhythm(hours_of(), np.zeros(168, np.int64)) is None
