"""analyze() on whatever a source may hold: a sound case or a refusal, never anything else."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from hypothesis import HealthCheck, given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

import hydragraph as hg
from case_contract import breaks
from hydragraph.pipeline import analyze
from hydragraph.schema import DTYPES, INPUT, TIME, Column
from hydragraph.settings import Settings
from written import day, source_of

ACCOUNTS = [f"a{i}" for i in range(9)]
ODD = ["", " ", "unknown", "=cmd()", "</script>", "\u202ex", "ß", "0", "-1", "𝔘", "x" * 300]
VALUES = ["v1", "v2", "v3", "2001:db8::7", "203.0.113.7", "a+b@example.org", *ODD]
KINDS = ["device", "ip", "E-Mail", "tls", "payment", "unheard of", "country", "!", *ODD]
WORDS: dict[str, list[str]] = {
    "account_id": [*ACCOUNTS, *ACCOUNTS, "ß", "=1+1", "\u202ea"],
    "ip": ["203.0.113.7", "203.0.113.9", "198.51.100.1", "2001:db8::1", "10.0.0.1", "unknown", "::ffff:203.0.113.7"],
    "cidr": ["203.0.113.0/24", "2001:db8::/32", "0.0.0.0/0"],
    "kind": KINDS,
    "close_reason": ["banned", "Banned ", "voluntary", ""],
}


def cells(column: Column) -> st.SearchStrategy[Any]:
    if column.type == "time":
        value: st.SearchStrategy[Any] = st.builds(day, st.integers(1, 28), st.integers(0, 23))
    elif column.type == "count":
        value = st.sampled_from([0, 1, 2, 429, 10**12])
    else:
        value = st.sampled_from(WORDS.get(column.name, VALUES))
    return value if column.required else st.none() | value


@st.composite
def tables(draw: st.DrawFn) -> dict[str, pl.DataFrame]:
    """Some of the six tables, each with all or only its required columns and up to 40 rows."""
    found = {}
    for name in draw(st.sets(st.sampled_from(sorted(INPUT)), min_size=1)):
        columns = INPUT[name].columns
        if draw(st.booleans()):
            columns = tuple(c for c in columns if c.required)
        rows = draw(st.lists(st.tuples(*(cells(c) for c in columns)), max_size=40))
        found[name] = pl.DataFrame(rows, schema={c.name: DTYPES[c.type] for c in columns}, orient="row")
    return found


@example_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(given_=tables())
def test_any_source_is_a_sound_case_or_refused(given_: dict[str, pl.DataFrame]) -> None:
    with TemporaryDirectory() as folder:
        source = source_of(Path(folder) / "source", **given_)
        try:
            found = analyze(source, Path(folder) / "case", settings=Settings(max_rejects=1.0))
        except hg.InputRefused:
            assert [p.name for p in Path(folder).iterdir()] == ["source"]
            return
        assert breaks(found.path) == []
        read = {n: r["read"] for n, r in found.manifest["rows"].items()}
        assert read == {n: t.height for n, t in given_.items()}
        assert found.accounts.schema["first_seen"] == TIME
