"""The truth about accounts, from a world or from an investigator's own list: read and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from hydragraph.errors import InputRefused
from hydragraph.loaders.files import File, file_format
from hydragraph.loaders.heads import csv_head, ndjson_head
from hydragraph.schema import ACCOUNT, Column, Table
from hydragraph.worlds.world import RECIPE

TRUTH = Table(
    "truth",
    "what is known about accounts",
    (
        ACCOUNT,
        Column("label", "text", "1 or true: coordinated; 0 or false: innocent; empty: not known", required=True),
        Column("cluster", "identifier", "the ring it belongs to; also read under the name cluster_id"),
        Column("tactic", "text", "how its ring works"),
        Column("group", "identifier", "the innocent group it belongs to"),
        Column("group_kind", "text", "what such a group is: household, office, ..."),
        Column("parent", "identifier", "the closed account that it replaced"),
    ),
)

_OTHER_NAMES = {"cluster_id": "cluster"}
_YES, _NO = ("1", "1.0", "true"), ("0", "0.0", "false")
_FILE = "truth"


@dataclass(frozen=True)
class Truth:
    """Labels, one row an account.

    frame: the columns of TRUTH, label as Boolean (null: not known), sorted by account_id; a column the table lacks is
    null throughout. given: the columns the table has, of an incomplete truth only those in which something stands.
    nameless: rows left out because they name no account. complete: whether an empty parent means that there is none.
    """

    frame: pl.DataFrame
    given: frozenset[str]
    nameless: int
    complete: bool = False


def read_truth(
    truth: str | Path | pl.DataFrame, positive: Sequence[str] | None = None, *, complete: bool = False
) -> Truth:
    """Labels from a table: a Parquet, CSV, NDJSON or Arrow file, a folder that holds one called truth, or a frame.

    positive: names in the column label that mean coordinated; every other name means innocent then. Without it the
    column holds 1/0 or true/false. An empty label is not known, in both cases.
    complete: everything is known, so that an empty parent means that the account replaced none. Without it an empty
    parent means not known; but a file called truth that has the world.json of `simulate` beside it is complete.
    Raises InputRefused for a table that cannot be read, lacks a column, or says two things about one account.
    """
    if isinstance(truth, pl.DataFrame):
        raw = truth
    else:
        file = _file(Path(truth))
        raw, complete = _read(file), complete or _of_a_world(file)
    twice = [name for name, other in _OTHER_NAMES.items() if name in raw.columns and other in raw.columns]
    raw = raw.drop(twice).rename(_OTHER_NAMES, strict=False)
    missing = [name for name in TRUTH.required if name not in raw.columns]
    if missing:
        raise InputRefused(f"truth: the column {missing[0]} is missing; account_id and label are needed")
    given = [name for name in TRUTH.names if name in raw.columns]
    texts = raw.select(
        _text(raw, name) if name in given else pl.lit(None, pl.String).alias(name) for name in TRUTH.names
    )
    named = texts.filter(pl.col("account_id").is_not_null())
    if named.is_empty():
        raise InputRefused("truth: no row names an account; a table with account_id and label is needed")
    frame = named.with_columns(label=_labels(named["label"], positive)).unique().sort("account_id")
    if not frame["label"].count():
        raise InputRefused("truth: no row has a label; fill the column label, with 1/0 for example")
    doubled = frame["account_id"].is_duplicated().sum()
    if doubled:
        raise InputRefused(f"truth: {doubled} rows say different things about the same accounts; keep one row for each")
    said = frozenset(name for name in given if complete or name in TRUTH.required or frame[name].count())
    return Truth(frame, said, texts.height - named.height, complete)


def _file(path: Path) -> Path:
    if not path.exists():
        raise InputRefused("truth: no such file or folder")
    if not path.is_dir():
        return path
    found = sorted(p for p in path.iterdir() if p.name.split(".")[0].lower() == _FILE and file_format(p.name))
    if len(found) != 1:
        what = "no file" if not found else f"{len(found)} files"
        raise InputRefused(f"truth: the folder holds {what} called {_FILE}; name the file")
    return found[0]


def _of_a_world(path: Path) -> bool:
    return path.name.split(".")[0].lower() == _FILE and (path.parent / RECIPE).is_file()


def _read(path: Path) -> pl.DataFrame:
    form = file_format(path.name)
    if form is None:
        raise InputRefused("truth: the format is not known; use .parquet, .csv, .ndjson or .arrow")
    file = File(path.name, path, form)
    try:
        if form == "parquet":
            return pl.read_parquet(path, glob=False, hive_partitioning=False)
        if form == "csv":
            head = csv_head(file, None, {*TRUTH.names, *_OTHER_NAMES})
            if not head.columns:
                return pl.DataFrame()
            table = pl.read_csv(path, separator=head.separator, eol_char=head.eol, infer_schema=False, glob=False)
            return table.rename({old: new for old, new in zip(table.columns, head.columns, strict=True) if new})
        if form == "ndjson":
            ndjson_head(file)
            names = (*TRUTH.names, *_OTHER_NAMES)
            table = pl.read_ndjson(path, schema=dict.fromkeys(names, pl.String()))
            return table.select(name for name in names if name in TRUTH.required or table[name].count())
        with path.open("rb") as raw:
            stream = raw.read(6) != b"ARROW1"
        return pl.read_ipc_stream(path) if stream else pl.read_ipc(path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        if isinstance(error, InputRefused):
            raise
        raise InputRefused("truth: the file cannot be read; it is damaged, cut off or of another format") from None


def _rows(number: int) -> str:
    return f"{number:,} row{'s' * (number != 1)}"


def _text(raw: pl.DataFrame, name: str) -> pl.Series:
    """A column as text, blank values null. Whole numbers stored as decimal ones read as whole."""
    column = raw[name]
    if column.dtype.is_float():
        endless = column.is_infinite().sum()
        if endless:
            raise InputRefused(
                f"truth: the column {name} holds an infinite number in {_rows(int(endless))}; write it as text"
            )
        whole = column.fill_nan(None).cast(pl.Int64, strict=False)
        fractions = (whole.cast(pl.Float64) != column.fill_nan(None)).sum()
        if fractions:
            raise InputRefused(
                f"truth: the column {name} holds a decimal number in {_rows(int(fractions))}; write it as text"
            )
        column = whole
    if column.dtype.is_nested() or isinstance(column.dtype, (pl.Binary, pl.Object)):
        raise InputRefused(f"truth: the column {name} holds nested or binary values; write it as text")
    text = column.cast(pl.String)
    return text.set(text.str.strip_chars() == "", None)


def _labels(label: pl.Series, positive: Sequence[str] | None) -> pl.Series:
    text = label.str.strip_chars()
    if positive is None:
        text = text.str.to_lowercase()
        yes, no = text.is_in(_YES), text.is_in(_NO)
        odd = (~(yes | no)).sum()
        if odd:
            raise InputRefused(
                f"truth: the column label holds neither 1/0 nor true/false in {_rows(int(odd))}; say with --positive which"
                " names mean coordinated"
            )
        return yes
    wanted = {name.strip() for name in positive}
    absent = len(wanted - set(text.unique()))
    if absent or not wanted:
        raise InputRefused(
            f"truth: {absent} of the {len(wanted)} positive names do not occur in the column label; check their spelling"
        )
    return text.is_in(sorted(wanted))
