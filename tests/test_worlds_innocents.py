"""Every innocent group shares what it claims to share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from world_rows import Rows, world

WORLD = {"scenario": "innocent", "accounts": 20_000, "seed": 5}


@pytest.fixture(scope="module")
def w() -> Rows:
    return world(**WORLD)  # type: ignore[arg-type]


def base_shares(w: Rows, kind: str) -> pl.DataFrame:
    """Largest share of each group's active accounts that one range has seen: group, active, share."""
    seen = w.seen.filter(group_kind=kind)
    active = seen.group_by("group").agg(active=pl.col("account_id").n_unique())
    widest = seen.group_by("group", "range").len().group_by("group").agg(pl.col("len").max())
    return active.join(widest, on="group").with_columns(share=pl.col("len") / pl.col("active")).sort("group")


def groups_sharing(w: Rows, group_kind: str, table: str, column: str, **only: str) -> float:
    """Share of the groups (of at least two accounts) in which two accounts have an identifier in common."""
    rows = getattr(w, table).filter(**only).join(w.of(kind=group_kind), on="account_id")
    common = rows.group_by("group", column).agg(n=pl.col("account_id").n_unique()).filter(pl.col("n") > 1)
    return float(common["group"].n_unique() / w.of(kind=group_kind)["group"].n_unique())


def test_group_sizes_have_heavy_tails(w: Rows) -> None:
    for kind, least, factor in (("household", 2, 1.9), ("office", 3, 12), ("agency", 4, 3), ("coworking", 4, 3)):
        sizes = w.of(kind=kind).group_by("group").len()["len"]
        assert sizes.min() >= least
        assert sizes.max() > factor * sizes.median()
    volume = w.events.group_by("account_id").len().sort("len", descending=True)["len"]
    assert volume.head(len(volume) // 100).sum() > 0.12 * volume.sum()


def test_households_share_a_home_and_some_a_card(w: Rows) -> None:
    homes = base_shares(w, "household").filter(pl.col("active") > 1)
    assert (homes["share"] == 1).mean() > 0.45
    assert (homes["share"] * homes["active"] >= 2).mean() > 0.75
    six = w.seen.filter(group_kind="household").filter(pl.col("range").str.contains(":"))
    assert (six.group_by("group", "range").len()["len"] > 1).mean() > 0.4  # one /56 for the home
    assert 0.1 < groups_sharing(w, "household", "payments", "instrument_id") < 0.5


def test_some_people_have_several_accounts_and_some_reopen_one(w: Rows) -> None:
    assert groups_sharing(w, "person", "links", "value", kind="device") > 0.3
    life = w.of(kind="person").join(w.accounts, on="account_id")
    pairs = life.join(life, on="group", suffix="_new").filter(pl.col("account_id") != pl.col("account_id_new"))
    wait = pairs["created_at_new"] - pairs["closed_at"]
    again = pairs.filter((wait >= timedelta(0)) & (wait < timedelta(days=5)))
    assert again["group"].n_unique() > 0.08 * life["group"].n_unique()
    assert pairs.filter(pl.col("close_reason") == "banned").height < again.height


def test_offices_have_one_range_at_work_and_pay_in_different_ways(w: Rows) -> None:
    office = w.of(kind="office")
    large = base_shares(w, "office").filter(pl.col("active") >= 5)
    assert large["share"].median() > 0.45
    paid = (
        w.payments.join(office, on="account_id")
        .group_by("group")
        .agg(cards=pl.col("instrument_id").n_unique(), accounts=pl.col("account_id").n_unique())
    )
    paid = paid.filter(pl.col("accounts").is_between(5, 60))
    assert (paid["cards"] <= 2).mean() > 0.15  # one card for all
    assert (paid["cards"] >= paid["accounts"] * 0.95).mean() > 0.15  # everybody's own
    assert ((paid["cards"] > 2) & (paid["cards"] < paid["accounts"] * 0.6)).mean() > 0.08  # several
    events = w.events.join(office, on="account_id")
    assert (events["timestamp"].dt.weekday() > 5).mean() < 0.2


def test_some_offices_have_an_org_and_some_share_a_build_key(w: Rows) -> None:
    office = w.of(kind="office").join(w.accounts, on="account_id")
    known = office.group_by("group").agg(pl.col("org_id").is_not_null().mean())["org_id"]
    assert set(known) == {0.0, 1.0}
    assert 0.4 < known.mean() < 0.7
    assert 0.03 < groups_sharing(w, "office", "api_keys", "api_key_id") < 0.3


def test_some_offices_take_everybody_on_board_in_one_day(w: Rows) -> None:
    born = w.of(kind="office").join(w.accounts, on="account_id")
    large = born.filter(pl.len().over("group") >= 5)
    day = (
        large.group_by("group", pl.col("created_at").dt.truncate("1d")).len().group_by("group").agg(pl.col("len").max())
    )
    share = day.join(large.group_by("group").agg(n=pl.len()), on="group")
    assert ((share["len"] / share["n"]) > 0.4).mean() > 0.08


def test_agencies_run_their_clients_accounts_from_one_range_and_card(w: Rows) -> None:
    assert base_shares(w, "agency").filter(pl.col("active") >= 5)["share"].median() > 0.6
    assert groups_sharing(w, "agency", "payments", "instrument_id") > 0.35
    assert groups_sharing(w, "agency", "links", "value", kind="device") > 0.7
    sizes = w.of(kind="agency").group_by("group").len()["len"]
    assert sizes.max() > 25


def test_campuses_have_many_people_on_a_few_ranges_and_nothing_else(w: Rows) -> None:
    seen = w.seen.filter(group_kind="campus")
    wide = seen.group_by("group", "range").agg(users=pl.len())
    size = w.of(kind="campus").group_by("group").agg(size=pl.len())
    own = wide.join(size, on="group").filter(pl.col("users") > 0.2 * pl.col("size"))
    assert own["users"].max() > 200
    per_person = (
        seen.join(own.select("group", "range"), on=["group", "range"], how="semi").group_by("account_id").len()["len"]
    )
    if own.group_by("group").len()["len"].max() > 1:
        assert (per_person > 1).mean() > 0.1
    cards = w.sharing("payments", "instrument_id", w.of(kind="campus"))
    assert (cards["mine"] > 1).sum() <= 2  # at most the billing intermediaries


def test_courses_sign_up_within_hours_and_share_a_template(w: Rows) -> None:
    born = (
        w.of(kind="course")
        .join(w.accounts, on="account_id")
        .group_by("group")
        .agg(first=pl.col("created_at").quantile(0.05), last=pl.col("created_at").quantile(0.95))
    )
    assert ((born["last"] - born["first"]) < timedelta(hours=6)).all()
    assert groups_sharing(w, "course", "events", "template_hash") == 1.0
    assert (
        w.payments.join(w.of(kind="course"), on="account_id")["account_id"].n_unique()
        < 0.2 * w.of(kind="course").height
    )


def test_coworking_houses_hold_strangers(w: Rows) -> None:
    assert base_shares(w, "coworking").filter(pl.col("active") >= 5)["share"].median() > 0.35
    assert groups_sharing(w, "coworking", "payments", "instrument_id") < 0.05


@pytest.mark.parametrize("kind", ["carrier", "vpn"])
def test_subscribers_share_several_ranges_with_crowds(w: Rows, kind: str) -> None:
    crowd = w.strangers.filter(pl.col("people") > (200 if kind == "carrier" else 40))
    seen = w.seen.filter(group_kind=kind)
    inside = seen.join(crowd, on="range", how="semi")
    assert inside["account_id"].n_unique() > 0.7 * w.of(kind=kind).height
    assert (inside.group_by("account_id").len()["len"] > 1).mean() > 0.1
    assert groups_sharing(w, kind, "api_keys", "api_key_id") == 0


def test_proxy_customers_come_from_residential_ranges(w: Rows) -> None:
    assert w.seen.filter(group_kind="proxy").group_by("account_id").len()["len"].mean() > 4
    assert w.seen.filter(group_kind="lone").group_by("account_id").len()["len"].mean() < 3


def test_build_jobs_run_round_the_clock_from_shared_cloud_egress(w: Rows) -> None:
    events = w.events.join(w.of(kind="build"), on="account_id")
    hours = events["timestamp"].dt.hour().value_counts(normalize=True)["proportion"]
    assert (hours.len(), hours.min() > 0.02) == (24, True)
    assert (events["timestamp"].dt.weekday() > 5).mean() > 0.2
    companies = w.seen.filter(group_kind="build").group_by("range").agg(pl.col("group").n_unique())
    assert companies["group"].max() > 10
    assert groups_sharing(w, "build", "payments", "instrument_id") > 0.5


def test_trial_users_are_active_for_a_day(w: Rows) -> None:
    span = (
        w.events.join(w.of(kind="trial"), on="account_id")
        .group_by("account_id")
        .agg(days=pl.col("timestamp").max() - pl.col("timestamp").min())
    )
    assert (span["days"] < timedelta(days=1)).mean() > 0.95
    assert (
        w.payments.join(w.of(kind="trial"), on="account_id")["account_id"].n_unique() < 0.25 * w.of(kind="trial").height
    )


def test_lone_people_share_their_range_with_strangers_at_any_size() -> None:
    for accounts in (20_000, 60_000):
        many = world("innocent", accounts)
        homes = many.strangers.filter(~pl.col("range").str.contains(":")).filter(pl.col("people").is_between(3, 120))
        assert 9 < homes["people"].median() < 25
        assert homes["people"].quantile(0.9) < 60


def test_carriers_carry_thousands_at_scale() -> None:
    crowd = world("innocent", 60_000).strangers["people"].sort(descending=True)
    assert crowd[0] > 1500
    assert crowd[4] > 1000


def test_lone_abusers_are_banned_and_others_leave(w: Rows) -> None:
    reasons = w.of(kind="lone").join(w.accounts, on="account_id")["close_reason"].value_counts()
    found = dict(reasons.drop_nulls().rows())
    assert {"banned", "voluntary", "unpaid"} == set(found)
    assert 0.005 < found["banned"] / w.of(kind="lone").height < 0.03


def test_people_move_and_get_new_addresses(w: Rows) -> None:
    lone = w.of(kind="lone").select("account_id")
    four = w.events.join(lone, on="account_id").filter(~pl.col("range").str.contains(":"))
    spans = four.group_by("account_id", "range").agg(
        pl.len(), first=pl.col("timestamp").min(), last=pl.col("timestamp").max()
    )
    spans = spans.filter(pl.col("len") >= 4)
    quiet = spans.join(w.strangers.filter(pl.col("people") < 100), on="range", how="semi")
    pairs = quiet.join(quiet, on="account_id", suffix="_new").filter(pl.col("range") != pl.col("range_new"))
    moved = pairs.filter(pl.col("last") < pl.col("first_new"))
    assert moved["account_id"].n_unique() > 0.03 * quiet["account_id"].n_unique()


def test_some_homes_have_ipv6(w: Rows) -> None:
    six = w.events["ip"].drop_nulls().str.contains(":")
    assert 0.08 < six.mean() < 0.4
    assert (w.strangers.filter(pl.col("range").str.contains(":"))["people"] <= 12).all()


def test_public_templates_are_used_by_many_strangers(w: Rows) -> None:
    users = w.events.drop_nulls("template_hash").group_by("template_hash").agg(n=pl.col("account_id").n_unique())
    assert users["n"].max() > 400
    kinds = w.events.join(w.truth, on="account_id").filter(
        pl.col("template_hash") == users.sort("n")["template_hash"][-1]
    )
    assert kinds["group_kind"].n_unique() > 8


def test_companies_have_templates_of_their_own(w: Rows) -> None:
    used = (
        w.events.join(w.truth, on="account_id")
        .drop_nulls("template_hash")
        .group_by("template_hash")
        .agg(
            groups=pl.col("group").n_unique(),
            kind=pl.col("group_kind").first(),
            accounts=pl.col("account_id").n_unique(),
            lone=pl.col("group").null_count(),
        )
    )
    own = used.filter(
        (pl.col("groups") == 1) & (pl.col("kind") == "office") & (pl.col("accounts") > 1) & (pl.col("lone") == 0)
    )
    assert own.height > 0.3 * w.of(kind="office")["group"].n_unique()


def test_strangers_pay_through_billing_intermediaries(w: Rows) -> None:
    wide = (
        w.payments.join(w.truth, on="account_id")
        .group_by("instrument_id")
        .agg(pl.col("kind").first(), groups=pl.col("group").n_unique(), accounts=pl.len())
    )
    shared = wide.filter(pl.col("groups") > 5)
    assert 0 < shared.height < 10
    assert set(shared["kind"]) == {"invoice"}


def test_people_have_a_daily_and_a_weekly_rhythm_of_their_own(w: Rows) -> None:
    lone = w.events.join(w.of(kind="lone"), on="account_id").filter(pl.len().over("account_id") >= 60)
    night = lone.group_by("account_id").agg(hours=pl.col("timestamp").dt.hour().n_unique())
    assert night["hours"].median() < 18
    peaks = lone.group_by("account_id").agg(pl.col("timestamp").dt.hour().mode().first())["timestamp"]
    assert peaks.n_unique() > 15
    weekend = (w.events["timestamp"].dt.weekday() > 5).mean()
    assert 0.08 < weekend < 0.25


def test_known_ranges_are_help_and_no_answer(w: Rows) -> None:
    assert {"cgnat", "vpn", "cloud"} <= set(w.ranges["kind"])
    listed = w.ranges["cidr"]
    assert listed.is_in(w.strangers["range"].implode()).mean() > 0.7
    crowds = w.strangers.filter(pl.col("people") > 80)["range"]
    assert 0.3 < crowds.is_in(listed.implode()).mean() < 0.95  # the list is not complete


def test_accounts_were_opened_before_and_during_the_world(w: Rows) -> None:
    begin = datetime(2026, 1, 5, tzinfo=UTC)
    assert 0.25 < (w.accounts["created_at"] > begin).mean() < 0.55
    assert (w.accounts["created_at"] < begin - timedelta(days=365)).mean() > 0.05
