"""What goes to stdout: text for people, and JSON, NDJSON and CSV for programs. Nothing here trusts a value."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hydragraph_cli.layout import table
from hydragraph_cli.talk import discard
from hydragraph_cli.values import BEYOND_C0, clean, plain

if TYPE_CHECKING:
    import polars as pl

FORMATS = ("table", "json", "csv", "ndjson")
_BEYOND_C0 = re.compile(f"[{BEYOND_C0}]")


@dataclass(frozen=True)
class View:
    """What a listing command was asked for: format, columns (none: all), rows (none: all), one part (none: all)."""

    format: str = "table"
    columns: tuple[str, ...] | None = None
    limit: int | None = None
    part: str | None = None

    @property
    def for_people(self) -> bool:
        """Whether the command's own page is wanted, and no plain list of one part or of chosen columns."""
        return self.format == "table" and self.part is None and self.columns is None

    def limit_or(self, default: int) -> int:
        """--limit, or `default` without it; 0 means all."""
        return default if self.limit is None else self.limit

    def head(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The first rows of `frame`, as many as --limit says."""
        return frame.head(self.limit) if self.limit else frame


# --- the way out


def emit(text: str, *, encoding: str | None = None) -> None:
    """Write `text` to stdout now. encoding: none means that of the terminal.

    A reader that has gone (`| head`) ends the program quietly; a full disk ends it with a sentence.
    """
    if sys.stdout is None:
        raise click.ClickException("stdout is closed")
    encoding = encoding or sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.buffer.write(text.encode(encoding, "backslashreplace"))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        discard(sys.stdout)
        raise click.exceptions.Exit(0) from None
    except OSError as error:
        discard(sys.stdout)
        raise click.ClickException(f"stdout cannot be written: {error.strerror}") from error


@contextmanager
def into(path: Path | None) -> Iterator[None]:
    """What is printed meanwhile goes into the file `path`, whole or not at all; None: to stdout as ever."""
    if path is None:
        yield
        return
    from hydragraph.report.files import write_whole

    held = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with redirect_stdout(held):
        yield
    held.flush()
    write_whole(path, held.buffer.getvalue())


def print_text(*blocks: str) -> None:
    """Print blocks of text for people, an empty line between them. The text must be clean."""
    emit("\n\n".join(block for block in blocks if block) + "\n")


# --- formats for programs


def records(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows of `frame` as JSON can hold them."""
    return [{name: plain(value) for name, value in row.items()} for row in frame.iter_rows(named=True)]


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Valid JSON in which nothing can act on a terminal; every value reads back as it was."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    return _BEYOND_C0.sub(lambda found: json.dumps(found.group())[1:-1], text)


def csv_text(frame: pl.DataFrame) -> str:
    """CSV with a header. Text a spreadsheet would run as a formula gets a leading '; controls are written out."""
    from hydragraph.exports.fit import safe_csv

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([clean(name) for name in frame.columns])
    for row in safe_csv(frame).iter_rows():
        cells = (plain(value) for value in row)
        writer.writerow(["" if cell is None else clean(cell) if isinstance(cell, str) else cell for cell in cells])
    return out.getvalue()


def print_frame(frame: pl.DataFrame, view: View) -> None:
    """Print one frame in the view's format, its columns and rows cut to what was asked for."""
    frame = view.head(select(frame, view.columns))
    if view.format == "json":
        emit(json_text(records(frame), indent=2) + "\n", encoding="utf-8")
    elif view.format == "ndjson":
        emit("".join(json_text(record) + "\n" for record in records(frame)), encoding="utf-8")
    elif view.format == "csv":
        emit(csv_text(frame), encoding="utf-8")
    else:
        print_text(table(frame))


def print_parts(parts: Mapping[str, pl.DataFrame | Mapping[str, Any] | None], main: str, view: View) -> None:
    """Print an answer of several parts for programs; --part picks one, and CSV and --columns mean `main` without it.

    json: one object, a key a part. ndjson: a line a row, with the key `part` in front.
    """
    part = view.part or (main if view.columns or view.format in ("csv", "table") else None)
    if part is not None:
        print_frame(_as_frame(parts[part]), view)
    elif view.format == "json":
        whole = {name: _as_json(value, view) for name, value in parts.items()}
        emit(json_text(whole, indent=2) + "\n", encoding="utf-8")
    else:
        lines = [
            json_text({"part": name, **record}) + "\n"
            for name, value in parts.items()
            for record in records(view.head(_as_frame(value)))
        ]
        emit("".join(lines), encoding="utf-8")


def _as_json(value: pl.DataFrame | Mapping[str, Any] | None, view: View) -> Any:
    if value is None or isinstance(value, Mapping):
        return value and {name: plain(v) for name, v in value.items()}
    return records(view.head(value))


def _as_frame(value: pl.DataFrame | Mapping[str, Any] | None) -> pl.DataFrame:
    import polars as pl

    if isinstance(value, pl.DataFrame):
        return value
    return pl.DataFrame([dict(value)]) if value else pl.DataFrame()


def select(frame: pl.DataFrame, columns: Sequence[str] | None) -> pl.DataFrame:
    """`frame` with these columns only, in this order. An unknown one is a usage error that lists those there are."""
    if columns is None:
        return frame
    unknown = [name for name in columns if name not in frame.columns]
    if unknown:
        raise click.BadParameter(
            f"no column {unknown[0]!r} here; there are {', '.join(frame.columns)}", param_hint="--columns"
        )
    return frame.select(columns)
