"""What an engine hands on is what the steps that conclude start from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import hydragraph as hg
from hydragraph.communities import CORE_NET, find_pieces
from hydragraph.engines import Conclude, Embedded, Job, Tied, Timing
from written import source_of


@dataclass(frozen=True)
class _Changed:
    """The embedded engine, but for what `change` makes of what it hands on."""

    change: Callable[[Tied], Tied]

    def carry_out(self, job: Job, conclude: Conclude, timing: Timing) -> None:
        def concluded(job: Job, tie: Callable[[], Tied], timing: Timing) -> None:
            conclude(job, lambda: self.change(tie()), timing)

        Embedded().carry_out(job, concluded, timing)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two pairs of accounts, each with a card of its own, and two strangers."""
    cards = ["x", "x", "y", "y", "p", "q"]
    payments = pl.DataFrame({"account_id": [f"a{i}" for i in range(6)], "instrument_id": cards})
    return source_of(tmp_path / "source", payments=payments)


def test_pieces_that_an_engine_found_are_not_found_again(source: Path, tmp_path: Path) -> None:
    def without_the_first(tied: Tied) -> Tied:
        pieces = find_pieces(tied.graph.accounts.height, tied.ties.select(tied.ties.net >= CORE_NET))
        assert pieces.tolist() == [0, 0, 1, 1, -1, -1]
        return replace(tied, pieces=np.where(pieces == 0, -1, pieces))

    case = hg.analyze(source, tmp_path / "case", engine=_Changed(without_the_first))

    assert case.accounts.filter(pl.col("cluster_id").is_not_null())["account_id"].to_list() == ["a2", "a3"]


def test_pieces_may_have_any_numbers(source: Path, tmp_path: Path) -> None:
    def numbered_otherwise(tied: Tied) -> Tied:
        return replace(tied, pieces=np.array([70, 70, 3, 3, -1, -1]))

    case = hg.analyze(source, tmp_path / "case", engine=_Changed(numbered_otherwise))

    assert case.clusters.equals(hg.analyze(source, tmp_path / "embedded").clusters)
