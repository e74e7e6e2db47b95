"""A case small enough to hold in the head, for the tests of the command line."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
from click.testing import CliRunner, Result

from hydragraph.case import REPORT, Case, write_case
from hydragraph.schema import OUTPUT
from hydragraph_cli.main import cli

START = dt.datetime(2026, 2, 1, tzinfo=dt.UTC)
CARD = "411111aaaabbbbccccdddd4242"
EVIL = "=evil\x1b]52;c;ZXZpbA==\x07\x9b31m\u202e[link=http://x]\r\n"


def invoke(*args: str) -> Result:
    """What a command says and how it ends."""
    return CliRunner().invoke(cli, args)


def ok(*args: str) -> str:
    """What a command that must succeed writes to stdout."""
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    return result.stdout


def row(**cells: Any) -> dict[str, Any]:
    return cells


def rows(table: str, *given: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{c: row.get(c) for c in OUTPUT[table].names} for row in given], schema=OUTPUT[table].schema)


def make_case(out: Path, first: str = "ann", note: str = "Two accounts share a card.") -> Case:
    """Two clusters: `first` and bob share a card and a range; cy and dee share a range. Eve is alone.

    The card is worth 15 bits, the range that four accounts use 6. Of the 24 bits between the first two, 3 are for time.
    Only the first cluster says where it falls apart and what stays of it.
    """
    card, home = ("payment", CARD), ("ip_range", "203.0.113.0/24")

    def account(name: str, cluster: str | None = None, word: str | None = None, bits: float | None = None) -> Any:
        return row(
            account_id=name, cluster_id=cluster, assessment=word, membership=cluster and "core", bits=bits,
            first_seen=START, last_seen=START, events=3, tokens=1_000_000,
        )  # fmt: skip

    def link(name: str, identifier: tuple[str, str], bits: float, accounts: int) -> Any:
        kind, value = identifier
        return row(account_id=name, kind=kind, value=value, count=1, first_seen=START, bits=bits, accounts=accounts)

    def cluster(name: str, word: str, score: float, bits: float, **more: Any) -> Any:
        return row(
            cluster_id=name, assessment=word, score=score, size=2, core_size=2, bits=bits, expected_by_chance=0.0,
            hypothesis="household", accounts_closed=0, events=6, tokens=2_000_000, review_state="unreviewed", **more,
        )  # fmt: skip

    tables = {name: table.empty() for name, table in OUTPUT.items()} | {
        "accounts": rows(
            "accounts",
            account(first, "c-one", "coordinated", 21.0),
            account("bob", "c-one", "coordinated", 20.0),
            account("cy", "c-two", "explained", 6.0),
            account("dee", "c-two", "explained", 6.0),
            account("eve"),
        ),
        "clusters": rows(
            "clusters",
            cluster("c-one", "coordinated", 0.9, 21.0, explanation=note, against=note, first_seen=START,
                    cut_accounts=1, cut_others=1, cut_ties=1, stability=0.8),
            cluster("c-two", "explained", float("nan"), 6.0, explanation="A household.", against=""),
        ),
        "signals": rows(
            "signals",
            row(cluster_id="c-one", signal="payment_reuse", value=1.0, baseline=0.1, p_value=1e-9, suggests=note,
                look_alike="A family."),
        ),
        "links": rows(
            "links", link(first, card, 15.0, 2), link("bob", card, 15.0, 2), link(first, home, 6.0, 4),
            link("bob", home, 6.0, 4), link("cy", home, 6.0, 4), link("dee", home, 6.0, 4),
        ),
        "ties": rows(
            "ties",
            row(account_a=min(first, "bob"), account_b=max(first, "bob"), bits=24.0, shared=2, kinds="payment",
                synchrony_bits=3.0),
            row(account_a="cy", account_b="dee", bits=6.0, shared=1, kinds="ip_range", synchrony_bits=0.0),
        ),
    }  # fmt: skip
    case = write_case(out, {n: OUTPUT[n].conform(t) for n, t in tables.items()}, lambda: {"notes": [note]})
    (case.path / REPORT).write_text("<p>report</p>")
    return case


def make_empty_case(out: Path) -> Case:
    """A case in which nothing was found."""
    return write_case(out, {name: table.empty() for name, table in OUTPUT.items()}, dict)
