"""docs/security.md names tests that exist, and what STIX says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import polars as pl
import pytest

import hydragraph as hg
from report_case import three_clusters

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "security.md").read_text("utf-8")
NAMED = re.findall(r"`(test_\w+\.py)::(test_\w+)`", PAGE)


def defined_in(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


@pytest.mark.parametrize(("file", "test"), sorted(set(NAMED)))
def test_a_test_that_is_named_exists(file: str, test: str) -> None:
    assert test in defined_in(file)


def test_every_promise_names_a_test() -> None:
    promises = re.findall(r"^- \*\*(.+?)\*\*: .*\n((?:  - .*\n)*)", PAGE, re.MULTILINE)
    assert len(promises) >= 24
    assert [risk for risk, proofs in promises if not re.search(r"`test_\w+\.py::test_\w+`", proofs)] == []
    assert len(NAMED) > 60


def test_stix_accuses_nobody(tmp_path: Path) -> None:
    case = three_clusters(tmp_path / "case")
    out = hg.export(case, "stix", tmp_path / "out.json")
    found = pl.DataFrame({"type": re.findall(r'"type": ?"([a-z-]+)"', out.read_text("utf-8"))})["type"].unique()
    assert {"grouping", "user-account"} <= set(found)
    assert not {"threat-actor", "indicator", "campaign", "intrusion-set", "malware"} & set(found)
