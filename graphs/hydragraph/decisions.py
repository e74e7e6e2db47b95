"""What people decided about clusters: decisions.ndjson in the case folder, one line a decision, only ever added to."""

from __future__ import annotations

import datetime as dt
import errno
import json
import os
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import polars as pl

from hydragraph.errors import NotACase
from hydragraph.schema import REVIEW_STATES, TIME
from hydragraph.unfinished import NO_LINK, saying_what_to_do

FILE = "decisions.ndjson"


@dataclass(frozen=True)
class Decision:
    """One decision, a line of decisions.ndjson; names and order of the fields are those of the keys.

    when: ISO 8601 in UTC. decision: confirmed, innocent, or unreviewed, which takes an earlier one back. members and
    kinds: the cluster's accounts then, and the kinds of evidence two or more of them shared. carried_from: the cluster it
    was made about, if another one inherited it in a later run.
    """

    when: str
    who: str
    cluster_id: str
    decision: str
    note: str
    members: tuple[str, ...]
    kinds: tuple[str, ...]
    carried_from: str | None = None

    @property
    def line(self) -> bytes:
        """The decision as a line of the file."""
        return (json.dumps(asdict(self), ensure_ascii=True) + "\n").encode("ascii")


def read_decisions(folder: Path) -> tuple[Decision, ...]:
    """The decisions of the case in `folder`, oldest first. What a killed writer left of a line at the end is none.

    Raises NotACase when any other line cannot be read: a decision must not get lost unseen; and for what is no ordinary
    file, as a link, which may lead to somebody's file outside the case.
    """
    if not _is_there(folder / FILE):
        return ()
    *lines, rest = (folder / FILE).read_bytes().split(b"\n")
    found = [_parsed(line) for line in lines]
    for number, decision in enumerate(found, 1):
        if decision is None:
            raise NotACase(f"{FILE}, line {number} cannot be read as a decision; mend it or take the line out")
    last = _parsed(rest) if rest else None
    return tuple(d for d in [*found, last] if d is not None)


def _is_there(file: Path) -> bool:
    try:
        mode = file.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not stat.S_ISREG(mode):
        raise NotACase(f"{FILE} is no ordinary file; put the decisions themselves there, or take it out")
    return True


def _parsed(line: bytes) -> Decision | None:
    try:
        cells = json.loads(line)
        known = {f.name: cells[f.name] for f in fields(Decision) if f.name != "carried_from"}
        known |= {"members": tuple(known["members"]), "kinds": tuple(known["kinds"])}
        found = Decision(**known, carried_from=cells.get("carried_from"))
        texts = (found.when, found.who, found.cluster_id, found.note, *found.members, *found.kinds)
        sound = all(isinstance(text, str) for text in texts)
        dated = dt.datetime.fromisoformat(found.when).tzinfo is not None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return found if sound and dated and found.decision in REVIEW_STATES else None


def add_decisions(folder: Path, decisions: Iterable[Decision]) -> None:
    """Add whole lines at the end of decisions.ndjson, or nothing: a write that fails is taken back, and what a killed
    writer left of a line is cleared away first. Writers wait for each other."""
    lines = b"".join(d.line for d in decisions)
    if not lines:
        return
    _is_there(folder / FILE)
    with saying_what_to_do(folder / FILE):
        _add(folder / FILE, lines)


def _add(path: Path, lines: bytes) -> None:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | NO_LINK, 0o666)
    try:
        with suppress(ImportError):  # not on Windows
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        held = path.read_bytes()
        rest = held[held.rfind(b"\n") + 1 :]
        if rest and _parsed(rest) is None:
            held = held[: len(held) - len(rest)]
            os.ftruncate(file, len(held))
        elif rest:  # somebody's editor left the last line without an end
            lines = b"\n" + lines
        try:
            if os.write(file, lines) != len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file)
        except BaseException:
            os.ftruncate(file, len(held))
            raise
    finally:
        os.close(file)


def keep_decisions(old: Path, new: Path) -> None:
    """Add those of the decisions in folder `old` that folder `new` lacks to the new one."""
    there = set(read_decisions(new))
    add_decisions(new, [d for d in read_decisions(old) if d not in there and d.carried_from is None])


def holding(decisions: Sequence[Decision]) -> dict[str, Decision]:
    """The decision that holds for each cluster, the last about it; in the order in which they were taken."""
    found: dict[str, Decision] = {}
    for decision in decisions:
        found.pop(decision.cluster_id, None)
        found[decision.cluster_id] = decision
    return found


def with_states(clusters: pl.DataFrame, decisions: Sequence[Decision]) -> pl.DataFrame:
    """clusters.parquet with the review_state that holds now."""
    if not decisions:
        return clusters
    states = {cluster: d.decision for cluster, d in holding(decisions).items()}
    state = pl.col("cluster_id").replace_strict(states, default=None, return_dtype=pl.String)
    return clusters.with_columns(review_state=state.fill_null(pl.col("review_state")))


def decision_table(decisions: Sequence[Decision]) -> pl.DataFrame:
    """One row a decision: when, who, cluster_id, decision, note, accounts (then), carried_from."""
    return pl.DataFrame(
        {
            "when": pl.Series([dt.datetime.fromisoformat(d.when) for d in decisions], dtype=TIME),
            "who": pl.Series([d.who for d in decisions], dtype=pl.String),
            "cluster_id": pl.Series([d.cluster_id for d in decisions], dtype=pl.String),
            "decision": pl.Series([d.decision for d in decisions], dtype=pl.String),
            "note": pl.Series([d.note for d in decisions], dtype=pl.String),
            "accounts": pl.Series([len(d.members) for d in decisions], dtype=pl.Int64),
            "carried_from": pl.Series([d.carried_from for d in decisions], dtype=pl.String),
        }
    )
