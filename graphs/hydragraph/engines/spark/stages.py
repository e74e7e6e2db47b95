"""What the steps on Spark hand on: named Parquet folders under one root, each made once.

A step that is complete is read again and not made again, so that a run that was killed goes on where it was. Every reading
of a folder gives the same rows, which a plan that is worked out twice does not promise.

Codes and times are 64-bit integers (Spark has none without a sign): times are microseconds since 1970, null: unknown.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from hydragraph.engines.spark.places import files_in, open_place
from hydragraph.errors import EngineFailed, InputRefused

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ACCOUNTS = (
    "account long, account_id string, created_at long, closed_at long, close_reason string, org_id string,"
    " channel string, first_seen long, last_seen long, events long, tokens long, limited long"
)
"""Every account; codes count from 0 in the order of account_id (bytes of UTF-8). first_seen and last_seen: of its events."""

IDENTIFIERS = "identifier long, kind string, value string, known string"
"""Every identifier; codes count from 0 in the order of kind, then value. known: kind of the declared range that holds it."""

LINKS = "account long, identifier long, count long, first_seen long, last_seen long"
"""One row for each pair that is linked."""

SLOTS = "account long, slot long, requests long, first long"
"""Requests by account and slot, as links.read_links has them; of the stages `requests` and `limits` (answered 429)."""

REJECTS = "table string, file string, row long, column string, reason string"
"""The rows not read, as schema.OUTPUT["rejects"] has them; in no order."""

WEIGHTS = "identifier long, degree long, logit double, bits double, further double, woven double"
"""Evidence of every identifier (evidence.py). degree: accounts that use it."""

SEVERAL = "account long"
"""The accounts of which Evidence.several holds."""

GAPS = "kind string, gap long"
"""Evidence.gaps, a row a gap."""

CLASSES = (
    "kind string, level long, identifiers long, pairs long, corroborated long, again long, prior_logit double,"
    " logit double"
)
"""Evidence.classes."""

TIES = "a long, b long, net double, shared long, kinds long, synchrony double"
"""Every tie (ties.py)."""

PIECES = "account long, piece long"
"""The number of the piece of each account that is in one (communities.py); numbers are the smallest account of the piece."""


@dataclass(frozen=True)
class Stages:
    """The folders of one run. root: a path that every executor reaches; digest: of all that the result depends on.

    Of a run with another digest nothing is used. instead: names of stages that stand for others.

    Every making of a stage writes into a folder of its own, which its `.done` names when it is complete: a server goes on
    with the work of a client that was killed, and must not add to what the next run makes.
    """

    spark: SparkSession
    root: str
    digest: str
    instead: Mapping[str, str] = field(default_factory=dict)

    def prepare(self) -> None:
        """Make the folder that holds the stages. Raises OSError where there can be none."""
        system, path = open_place(self.root)
        system.create_dir(path, recursive=True)

    def path(self, name: str) -> str:
        """Where the rows of a complete stage stand. Raises EngineFailed if it is not complete."""
        return self.written(name)[0]

    def written(self, name: str) -> tuple[str, list[int]]:
        """The same, and what `files_of` that folder gave when it was complete."""
        if (done := self._done(name)) is None:
            raise EngineFailed(
                "Spark: what a step handed on is gone; run again, and let one run at a time use its folder"
            )
        return self._inside(done["folder"]), done["files"]

    def with_(self, **instead: str) -> Stages:
        """The same, but where a stage is named the one given is read and made."""
        return replace(self, instead={**self.instead, **instead})

    def make(
        self, name: str, build: Callable[[], DataFrame], schema: str | None = None, by: str | None = None
    ) -> DataFrame:
        """The rows of a stage: as they stand there if it is complete, else made and written. by: a column of few texts, by
        which the rows are put into folders of their own."""
        if not self._complete(name):
            self.build(name, build, by)
        return self.read(name, schema)

    def build(self, name: str, build: Callable[[], DataFrame], by: str | None = None) -> None:
        """Make a stage and write it."""
        folder = f"{self._called(name)}-{secrets.token_hex(4)}"
        writer = build().write
        (writer if by is None else writer.partitionBy(by)).parquet(self._inside(folder))
        self._say(name, {"folder": folder, "files": files_of(self._inside(folder))})

    def read(self, name: str, schema: str | None = None) -> DataFrame:
        """The rows of a complete stage. schema: its columns; where there is no row an engine may have written no file that
        tells them."""
        reader = self.spark.read if schema is None else self.spark.read.schema(schema)
        return reader.parquet(self.path(name))

    def note(self, name: str, build: Callable[[], Mapping[str, int | float]]) -> dict[str, int | float]:
        """A few numbers, by name: as they stand there, or worked out and written."""
        if (done := self._done(name)) is None:
            done = {"said": dict(build())}
            self._say(name, done)
        said: dict[str, int | float] = done["said"]
        return said

    def _complete(self, name: str) -> bool:
        """Whether a stage is complete, and all its files are there."""
        done = self._done(name)
        return done is not None and files_of(self._inside(done["folder"])) == done["files"]

    def _called(self, name: str) -> str:
        return self.instead.get(name, name)

    def _inside(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}"

    def _done(self, name: str) -> dict[str, Any] | None:
        """What was said of a stage when it was complete; None if it is not, or of another run."""
        system, path = open_place(self._inside(f"{self._called(name)}.done"))
        try:
            with system.open_input_stream(path) as file:
                done: dict[str, Any] = json.loads(file.read())
        except (OSError, ValueError):
            return None
        return done if done["digest"] == self.digest else None

    def _say(self, name: str, said: Mapping[str, Any]) -> None:
        system, path = open_place(self._inside(f"{self._called(name)}.done"))
        system.create_dir(path.rsplit("/", 1)[0], recursive=True)
        with system.open_output_stream(path) as file:
            file.write(json.dumps({"digest": self.digest, **said}).encode())


def kinds_in(identifiers: DataFrame) -> list[str]:
    """The kinds of IDENTIFIERS, sorted."""
    return sorted(row["kind"] for row in identifiers.select("kind").distinct().collect())


def files_of(folder: str) -> list[int]:
    """How many files of Parquet a folder holds, and their bytes together: by these it is seen that none is missing."""
    sizes = [size for _, size in parquet_in(folder)]
    return [len(sizes), sum(sizes)]


def parquet_in(folder: str) -> list[tuple[str, int]]:
    """Path and bytes of each file of Parquet in a folder, but for those of tasks that have not ended: Spark keeps them in a
    folder whose name begins with `_`, and reads none whose name begins so, or with a dot."""
    _, root = open_place(folder)
    try:
        found = files_in(folder)
    except InputRefused as refused:
        raise EngineFailed(f"Spark: the folder of its steps: {refused}; run again to go on") from None
    return [
        (path, size)
        for path, size, _ in found
        if path.endswith(".parquet")
        and not any(part[0] in "_." for part in PurePosixPath(path).relative_to(root).parts)
    ]
