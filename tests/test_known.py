"""Known shared ranges."""

from __future__ import annotations

import polars as pl

from hydragraph.known import known_kinds


def kinds(declared: list[tuple[str, str]], values: list[str]) -> list[str | None]:
    frame = pl.DataFrame(declared, schema={"cidr": pl.String, "kind": pl.String}, orient="row")
    return known_kinds(frame, pl.Series(values, dtype=pl.String)).to_list()


def test_a_range_inside_a_declared_one_has_its_kind() -> None:
    declared = [("198.51.0.0/16", "cloud"), ("2001:db8::/32", "vpn")]
    values = ["198.51.100.0/24", "198.52.0.0/24", "2001:db8:1::/56", "2001:db9::/56", "198.51.255.0/24"]
    assert kinds(declared, values) == ["cloud", None, "vpn", None, "cloud"]


def test_the_narrowest_of_overlapping_ranges_wins_and_the_wider_still_holds_beyond_it() -> None:
    declared = [("198.51.0.0/16", "cloud"), ("198.51.100.0/24", "vpn")]
    assert kinds(declared, ["198.51.100.0/24", "198.51.101.0/24"]) == ["vpn", "cloud"]


def test_neighbours_at_the_edges_stay_outside() -> None:
    assert kinds([("203.0.113.0/25", "cgnat")], ["203.0.112.0/24", "203.0.113.0/24", "203.0.114.0/24"]) == [
        None,
        "cgnat",
        None,
    ]


def test_nothing_declared_and_nothing_asked() -> None:
    assert kinds([], ["203.0.113.0/24"]) == [None]
    assert kinds([("203.0.113.0/24", "vpn")], []) == []
