"""Truths as people have them: formats, spellings, names, gaps; and the command that reads them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from cli_case import make_case
from hydragraph.errors import InputRefused
from hydragraph.quality.truth import TRUTH, read_truth
from hydragraph_cli.main import cli

ROWS = {"account_id": ["ann", "bob", "cy"], "label": ["1", "0", None], "cluster_id": ["r", None, None]}


def labels(truth: Any, **more: Any) -> dict[str, bool | None]:
    return dict(read_truth(truth, **more).frame.select("account_id", "label").rows())


# --- reading


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.tsv", "t.csv.gz", "t.ndjson", "t.arrow", "s.arrow"])
def test_every_format_reads_the_same(tmp_path: Path, name: str) -> None:
    frame, path = pl.DataFrame(ROWS), tmp_path / name
    if name.endswith(".parquet"):
        frame.write_parquet(path)
    elif name.endswith("sv"):
        frame.write_csv(path, separator="\t" if "tsv" in name else ",")
    elif name.endswith(".gz"):
        path.write_bytes(gzip.compress(frame.write_csv().encode()))
    elif name.endswith(".ndjson"):
        frame.write_ndjson(path)
    elif name.startswith("s"):
        frame.write_ipc_stream(path)
    else:
        frame.write_ipc(path)
    truth = read_truth(path)

    assert truth.frame.columns == TRUTH.names
    assert truth.frame.select("account_id", "label", "cluster").rows() == [("ann", True, "r"), ("bob", False, None),
                                                                          ("cy", None, None)]  # fmt: skip
    assert truth.given == {"account_id", "label", "cluster"}


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ([1, 0, None], [True, False, None]),
        ([1.0, 0.0, None], [True, False, None]),
        ([True, False, None], [True, False, None]),
        (["TRUE", " false ", ""], [True, False, None]),
        (["1", "0", "  "], [True, False, None]),
    ],
)
def test_labels_as_people_write_them(given: list[Any], read: list[bool | None]) -> None:
    frame = pl.DataFrame({"account_id": ["a", "b", "c"], "label": given})

    assert list(labels(frame).values()) == read


def test_json_labels_of_any_type(tmp_path: Path) -> None:
    path = tmp_path / "truth.ndjson"
    path.write_text('{"account_id": 7, "label": true}\n{"account_id": "b", "label": 0}\n{"account_id": "c"}\n')

    assert labels(path) == {"7": True, "b": False, "c": None}


def test_names_that_mean_coordinated() -> None:
    frame = pl.DataFrame({"account_id": list("abcd"), "label": ["reseller", "shop", "proxy ", None]})

    assert labels(frame, positive=["reseller", "proxy"]) == {"a": True, "b": False, "c": True, "d": None}
    with pytest.raises(InputRefused, match="1 of the 2 positive names do not occur"):
        read_truth(frame, positive=["reseller", "prxoy"])
    with pytest.raises(InputRefused, match="the column label holds neither 1/0 nor true/false in 3 rows"):
        read_truth(frame)


def test_numbered_accounts_and_rows_without_one() -> None:
    frame = pl.DataFrame({"account_id": [7.0, None, 8.0], "label": [1, 1, 0]})
    truth = read_truth(frame)

    assert truth.frame["account_id"].to_list() == ["7", "8"]
    assert truth.nameless == 1


def test_the_same_row_twice_is_one() -> None:
    assert labels(pl.DataFrame({"account_id": ["a", "a"], "label": [1, 1]})) == {"a": True}


def test_a_world_is_a_truth(tmp_path: Path) -> None:
    pl.DataFrame(ROWS).write_csv(tmp_path / "truth.csv")
    (tmp_path / "events.csv").write_text("timestamp,account_id\n")

    assert labels(tmp_path) == {"ann": True, "bob": False, "cy": None}


def test_only_the_truth_of_a_world_is_complete_unless_said(tmp_path: Path) -> None:
    for name in ("truth.csv", "mine.csv"):
        pl.DataFrame(ROWS).with_columns(parent=pl.lit(None)).write_csv(tmp_path / name)
    assert not read_truth(tmp_path).complete

    (tmp_path / "world.json").write_text("{}")
    assert read_truth(tmp_path).complete
    assert "parent" in read_truth(tmp_path).given  # known to be none
    assert not read_truth(tmp_path / "mine.csv").complete
    assert "parent" not in read_truth(tmp_path / "mine.csv").given
    assert read_truth(tmp_path / "mine.csv", complete=True).complete


def test_a_label_that_is_no_number_is_not_known() -> None:
    assert labels(pl.DataFrame({"account_id": ["a", "b"], "label": [1.0, float("nan")]})) == {"a": True, "b": None}


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ({"account_id": ["a"]}, "column label is missing"),
        ({"label": ["1"]}, "column account_id is missing"),
        ({"account_id": [None], "label": [1]}, "no row names an account"),
        ({"account_id": ["a", "a"], "label": [1, 0]}, "2 rows say different things"),
        ({"account_id": [1.5], "label": [1]}, "column account_id holds a decimal number in 1 row;"),
        ({"account_id": [["a"]], "label": [1]}, "nested or binary"),
        ({"account_id": ["a", "b", "c"], "label": [1.0, float("inf"), float("-inf")]}, "infinite number in 2 rows;"),
        ({"account_id": ["a", "b"], "label": ["", None]}, "no row has a label"),
        ({"account_id": ["a"], "label": [2]}, "nor true/false in 1 row;"),
    ],
)
def test_a_truth_that_cannot_be_used_is_refused(frame: dict[str, list[Any]], said: str) -> None:
    with pytest.raises(InputRefused, match=said):
        read_truth(pl.DataFrame(frame))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (None, b"", "no such file"),
        ("truth.xlsx", b"PK", "format is not known"),
        ("truth.parquet", b"PAR1 and then nothing", "cannot be read"),
        ("truth.csv", b"account_id,label\na,1,2,3\n", "cannot be read"),
        ("truth.csv", b"", "column account_id is missing"),
        ("truth.ndjson", b"[]", "JSON array"),
        ("truth.csv.gz", gzip.compress(b"account_id,label\na,1\n", mtime=0)[:20], "cannot be read|cut off"),
    ],
)
def test_files_that_cannot_be_read_are_refused(tmp_path: Path, name: str | None, content: bytes, said: str) -> None:
    path = tmp_path / (name or "missing.csv")
    if name:
        path.write_bytes(content)
    with pytest.raises(InputRefused, match=said):
        read_truth(path)


def test_a_folder_needs_one_truth(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="no file called truth"):
        read_truth(tmp_path)
    for name in ("truth.csv", "truth.parquet"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputRefused, match="2 files called truth"):
        read_truth(tmp_path)


# --- the command


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_case(tmp_path_factory.mktemp("evaluate") / "case").path)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> str:
    """ann and bob are one ring; cy is innocent; eve is not labelled; zoe is not in the case."""
    path = tmp_path_factory.mktemp("evaluate") / "labels.csv"
    path.write_text("account_id,label,cluster\nann,1,r\nbob,1,r\ncy,0,\nzoe,1,r\n")
    return str(path)


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, ["evaluate", *args])


def test_command_prints_a_table(case: str, truth: str) -> None:
    done = run(case, truth)

    assert done.exit_code == 0, done.output
    assert "3 of 5 accounts have a label: 2 coordinated, 1 innocent." in done.stdout
    row = next(line for line in done.stdout.splitlines() if line.startswith("precision") and "coordinated " in line)
    assert row.split() == ["precision", "coordinated", "1", "-", "-", "2", "2"]  # one ring: no interval
    assert "2 of 5 accounts have no label. They are not taken as innocent" in done.stderr
    assert "1 label is of an account the case does not hold" in done.stderr


def test_command_prints_json(case: str, truth: str) -> None:
    done = run(case, truth, "--format", "json")
    found = json.loads(done.stdout)

    assert found["counts"]["labelled"] == 3
    assert found["headline"][0] == {
        "measure": "precision", "of": "coordinated", "value": 1.0, "low": None, "high": None, "hits": 2.0, "out_of": 2.0,
    }  # fmt: skip
    last = {"measure": "lineage_identifiable_recall", "of": "parents", "value": None}
    assert last.items() <= found["headline"][-1].items()
    assert len(found["notes"]) == 2


def test_command_prints_one_part(case: str, truth: str) -> None:
    done = run(case, truth, "--part", "rings", "--format", "csv", "--columns", "ring,found")

    assert done.stdout == "ring,found\nr,True\n"


def test_command_writes_figures(case: str, truth: str, tmp_path: Path) -> None:
    done = run(case, truth, "--figures", str(tmp_path / "out"), "--resamples", "50", "--seed", "3")

    assert done.exit_code == 0, done.output
    assert {"evaluation.json", "roc.png"} <= {p.name for p in (tmp_path / "out").iterdir()}


def test_command_takes_names(case: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("account_id;label\nann;reseller\ncy;shop\nbob;proxy\n")

    assert json.loads(run(case, str(path), "--positive", "reseller, proxy", "--format", "json").stdout)["counts"][
        "labelled_coordinated"
    ] == 2  # fmt: skip
    assert run(case, str(path)).exit_code == 3
    assert run(case, str(path), "--positive", " ,").exit_code == 2
    assert run(case, str(tmp_path / "none.csv")).exit_code == 3
    assert run(str(tmp_path), str(path)).exit_code == 1


def test_command_says_what_a_blank_column_and_lone_labels_leave_out(case: str, tmp_path: Path) -> None:
    blank, lone = tmp_path / "blank.csv", tmp_path / "lone.csv"
    blank.write_text("account_id,label,cluster\nann,1,\nbob,1,\ncy,0,\neve,,\n")
    lone.write_text("account_id,label,cluster\nann,1,r\nbob,1,s\ncy,0,\n,1,r\n")

    said = run(case, str(blank)).stderr
    assert "The truth names no rings (column cluster)" in said
    assert "1 row of the truth has no label" in said
    said = run(case, str(lone)).stderr
    assert "2 rings have a single labelled account" in said
    assert "1 row of the truth names no account" in said


def test_command_explains_every_figure(case: str, truth: str) -> None:
    told = run("--help").stdout
    headline = json.loads(run(case, truth, "--format", "json").stdout)["headline"]

    for measure in {row["measure"] for row in headline}:
        name = next((f"{n}_..." for n in ("pairwise", "b_cubed") if measure.startswith(n)), measure)
        assert f"  {name} " in told, measure
    assert {row["of"] for row in headline if "cubed" in row["measure"]} == {"ring accounts"}
