"""Any text through every reader and every export, and some hundred mutated files; `make fuzz` tries many more."""

from __future__ import annotations

import gzip
import sqlite3
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

import hydragraph as hg
from fuzzing import DIES, SECRET, SOUND, in_a_process, inputs, made, seeds, targets, tried
from hydragraph.exports import FORMATS
from hydragraph.settings import Settings
from report_case import cluster, link, make

INPUTS = 17 * 24


def test_every_seed_is_sound() -> None:
    of = targets()
    assert {name: tried(name, data, of[name]) for name, data in seeds().items()} == dict.fromkeys(seeds(), "read")


def test_mutated_files_are_read_or_refused() -> None:
    """Each in one sentence without a value, by a process that stays alive; the same inputs in every run."""
    found = list(in_a_process(islice(inputs(seed=20261121), INPUTS)))
    assert len(found) == INPUTS
    assert [one for one in found if one[2] not in SOUND] == []
    counts = Counter(said for _, _, said in found)
    assert min(counts["read"], counts["refused"]) > 50


def test_an_input_can_be_made_again() -> None:
    for name, number in islice(inputs(seed=1), 40):
        assert made(name, number) == made(name, number)
    changed = [made(name, number) != seeds()[name] for name, number in islice(inputs(seed=1), 40)]
    assert sum(changed) > 30


def tell(path: Path) -> None:
    raise hg.InputRefused(f"row 3: {SECRET} is no account")


def stumble(path: Path) -> None:
    raise KeyError(SECRET)


@pytest.mark.parametrize(("target", "said"), [(tell, "a value in the message"), (stumble, "KeyError")])
def test_what_is_wrong_is_seen(target: Callable[[Path], None], said: str) -> None:
    assert tried("links.csv", b"", target) == said


def test_a_process_that_dies_is_a_finding_and_the_others_go_on() -> None:
    found = list(in_a_process([("the.key", 1), (DIES, 2), ("the.key", 3)]))
    assert [(name, number) for name, number, _ in found] == [("the.key", 1), (DIES, 2), ("the.key", 3)]
    assert [said in SOUND for *_, said in found] == [True, False, True]
    assert found[1][2] == "died (-11)"


# --- any text, every reader

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ROWS = st.lists(st.tuples(TEXT, st.sampled_from(["device", "email", "phone", "ip", "own kind"]), TEXT), max_size=12)


def to_sqlite(frame: pl.DataFrame, path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("create table t (account_id, kind, value)")
        database.executemany("insert into t values (?, ?, ?)", frame.rows())
    database.close()


WRITERS: dict[str, Callable[[pl.DataFrame, Path], object]] = {
    "links.csv": lambda f, p: f.write_csv(p, quote_style="always"),
    "links.tsv": lambda f, p: f.write_csv(p, separator="\t", quote_style="always"),
    "links.csv.gz": lambda f, p: p.write_bytes(gzip.compress(f.write_csv(quote_style="always").encode())),
    "links.csv.zst": lambda f, p: f.write_csv(p, quote_style="always", compression="zstd"),
    "links.ndjson": lambda f, p: f.write_ndjson(p),
    "links.arrow": lambda f, p: f.write_ipc(p),
    "links.ipc": lambda f, p: f.write_ipc_stream(p),
    "x.db": to_sqlite,
}


@example_settings(max_examples=25)
@given(rows=ROWS, name=st.sampled_from(sorted(WRITERS)))
def test_every_reader_gives_what_parquet_gives(rows: list[tuple[str, str, str]], name: str) -> None:
    """The same rows kept, the same number rejected, whatever the text; or the same refusal."""
    frame = pl.DataFrame([("a", "device", "d"), *rows], schema=["account_id", "kind", "value"], orient="row").cast(
        pl.String
    )
    with TemporaryDirectory() as folder:
        parquet = Path(folder) / "links.parquet"
        frame.write_parquet(parquet)
        WRITERS[name](frame, Path(folder) / name)
        mapping = Path(folder) / "map.toml"
        mapping.write_text('[links]\ndatabase = "x.db"\nquery = "select * from t"\n')
        sources: list[tuple[object, Path | None]] = [(parquet, None)]
        sources.append(((), mapping) if name == "x.db" else (Path(folder) / name, None))
        found = []
        for source, with_mapping in sources:
            try:
                opened = hg.check(source, mapping=with_mapping, settings=Settings(max_rejects=1.0))  # type: ignore[arg-type]
                kept = sorted(opened.tables["links"].collect().rows(), key=repr)
                found.append((kept, opened.rejects["reason"].sort().to_list()))
            except hg.InputRefused as error:
                found.append(([], [str(error).partition(": ")[2]]))
        assert found[0] == found[1]


# --- names that would be paths, every export

PATHS = [
    "../../x",
    "/etc/passwd",
    "CON",
    "NUL.txt",
    "a" * 300,
    ".",
    "..",
    "~root",
    "con/../..",
    "a\\b",
    "%2e%2e%2f",
    "\u202ex",
]


def everything_below(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}


@pytest.mark.parametrize("form", FORMATS)
def test_names_are_never_part_of_a_path(tmp_path: Path, form: str) -> None:
    """Accounts, identifiers and the id of a cluster: files have names of this tool's own alone."""
    inside = tmp_path / "deep" / "deeper"
    case = make(inside / "case", {"../../c": PATHS}, [cluster("../../c", "coordinated", len(PATHS))],
                links=[link(a, "device", a) for a in PATHS])  # fmt: skip
    before = everything_below(tmp_path)
    out = hg.export(case, form, inside / "out")
    hg.export(case, form, inside / "one", cluster="../../c")
    hg.write_report(case, inside / "report.html")
    (inside / "figure.png").write_bytes(b"")
    case.cluster("../../c").plot().savefig(inside / "figure.png")
    more = everything_below(tmp_path) - before
    allowed = {"report.html", "figure.png", "one", "out"} | {
        f"{d}/{p}" for d in ("one", "out") for p in everything_below(out)
    }
    assert more == {f"deep/deeper/{name}" for name in allowed}
