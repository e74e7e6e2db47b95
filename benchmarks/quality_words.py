"""Figures of an evaluation in words and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

import hydragraph as hg

AT, BOTH = "coordinated", "coordinated+review"


def number(value: float | None) -> str:
    """A figure of three decimals; 0 and 1 as they are, - for none."""
    return "-" if value is None else f"{value:.3f}".rstrip("0").rstrip(".") if value in (0, 1) else f"{value:.3f}"


def capital(text: str) -> str:
    """The text with a capital letter first."""
    return text[:1].upper() + text[1:]


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A figure and, if known, its interval."""
    return number(value) + ("" if low is None or high is None else f" ({number(low)} to {number(high)})")


def headline_row(found: hg.Evaluation, measure: str, of: str) -> dict[str, Any]:
    """The row of a measure in the headline of an evaluation; every entry None when it has none."""
    rows = found.headline.filter((pl.col("measure") == measure) & (pl.col("of") == of)).to_dicts()
    return rows[0] if rows else dict.fromkeys(found.headline.columns)


def with_interval(found: hg.Evaluation, measure: str, of: str) -> str:
    """A measure of the headline, with its interval."""
    row = headline_row(found, measure, of)
    return interval(row["value"], row["low"], row["high"])


def hits(found: hg.Evaluation, measure: str, of: str) -> str:
    """The two counts of a measure of the headline."""
    row = headline_row(found, measure, of)
    return "-" if row["out_of"] is None else f"{row['hits']:,.0f} of {row['out_of']:,.0f}"


def out_of(found: hg.Evaluation, measure: str, of: str) -> str:
    """What the counts of a measure are out of."""
    return f"{headline_row(found, measure, of)['out_of'] or 0:,.0f}"


def in_review(found: hg.Evaluation) -> str:
    """Number of clusters in review."""
    both, one = (headline_row(found, "clusters_right", of)["out_of"] or 0 for of in (BOTH, AT))
    return f"{both - one:,.0f}"


def review_accounts(found: hg.Evaluation) -> int:
    """Labelled accounts in clusters in review."""
    return found.counts["accused_or_review_labelled"] - found.counts["accused_labelled"]


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [list(head), ["---"] * len(head), *map(list, lines)])


REASONS = """## Why it falls short, and what was tried

- Rings of three to five accounts at one home with one card look like one person with several accounts. They are left to a
  person unless bans, synchrony or breadth tell more. Lower scores for households would accuse families.
- Without templates the members that use own cards, own devices and common carriers have two weak identifiers at best. An
  account is attached from odds of 256 to 1: at 32 to 1 recall rises a little, and on worlds of other makers most of those
  attached between the two are innocent. Popular templates, VPN exits and days on which everybody works were why. Guests,
  who work at several places of a cluster, are attached only as a group and if that behaves as a ring does. At places of
  which a cluster holds less than a fifth of the users most guests were innocent, also of a group that looks coordinated.
- A group that is half a ring and half honest customers of the proxy service it uses is judged as one. Rings that were made
  hard on purpose, with nothing in common but two exits of a VPN and with every other account banned, took a third as many of
  its customers with them; where 60 of 90 ring accounts had nothing but six exits in common and 150 customers used four of
  these each, two of three such groups were accused with four fifths of the customers. What such accounts do one by one
  (hours, bans, number of ranges and requests) was tried as a sieve and let nearly all of them through.
- Rings whose members share nothing but a hoster's ranges, or one application's templates, are found as groups, and few of
  them are told from offices, campuses and customers of one tool. Rings of fewer than six of that kind are not looked for.
- A ring that is cut into small pieces with a card each and no common time or range looks like as many households and firms.
- Where nothing but links is given, a family with one mailbox at one address looks like one controller. Identity documents
  that disagree are not held against that: a ring buys documents. In a public set of persons' records (truth_set, where it is
  measured above) nine of the fourteen wrong pairs are such a family, and four are two persons with each other's telephone
  number, whom only their names and dates of birth tell apart. Who people are is never evidence here.
- Work at the same minute of every day or week counts as a timetable, because firms' jobs do the same.
- Ring accounts that share an office's or a popular VPN's ranges on purpose bring some of its innocent users with them.
- The score is right on average over makers, not for each: where rings show less than those known here do, it is too high in
  the middle, and where they show more, too low.
"""
