"""Mutated files for the readers: whatever comes, a sound answer or a refusal, and no value in a message. `make fuzz` runs it
for long, test_fuzzing.py for some hundred inputs.

    .venv/bin/python tests/fuzzing.py --seconds 600

Inputs are tried in a process of their own: one that dies is a finding as well. What is found is kept in a folder, and said.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import polars as pl

import hydragraph as hg
from hydragraph.constraints import read_constraints
from hydragraph.decisions import read_decisions
from hydragraph.loaders.mapping import read_mapping
from hydragraph.pseudonyms import read_key
from hydragraph.report.reasons import read_blanks
from hydragraph.schema import INPUT
from hydragraph.settings import Settings, read_settings

SECRET = "Zq9sEcReT"
"""Stands in every file: no message may hold it."""

PIECES = (
    b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b'"', b'""', b"'", b",", b";", b"\t", b"\r", b"\n",
    b"\r\n", b"=1+1", b"{", b"}", b"[", b"]", b"[[[[[[[[", b'{"a":', b"null", b"NaN", b"Infinity", b"-0", b"1e309",
    b"99999999999999999999", b"true", b"\\u0000", b"\\ud800", b"\xe2\x80\xae", b"\x1b]52;c;eA==\x07",
    b"4111111111111111", b"0.0.0.0", b"::", b"1.2.3.4:443", b"2026-01-01", b"9999-12-31T23:59:60Z", b"1763740800000000",
    b"x" * 5000, b"account_id", b"kind", b"value", b"country",
)  # fmt: skip
"""What readers trip over."""

Target = Callable[[Path], object]


def table() -> pl.DataFrame:
    """A table of links with some of everything."""
    rows = [(f"{SECRET}-{i % 7}", kind, f"{SECRET}-{kind}-{i % 3}", 1763740800 + i, i) for i in range(20)
            for kind in ("device", "email", "ip", "phone")]  # fmt: skip
    return pl.DataFrame(rows, schema=["account_id", "kind", "value", "first_seen", "count"], orient="row").with_columns(
        value=pl.when(kind="ip").then(pl.format("203.0.113.{}", pl.col("count"))).otherwise("value")
    )


def seeds() -> dict[str, bytes]:
    """A sound file for each reader, by name."""
    frame = table()
    parquet, arrow, stream = io.BytesIO(), io.BytesIO(), io.BytesIO()
    frame.write_parquet(parquet)
    frame.write_ipc(arrow)
    frame.write_ipc_stream(stream)
    text, lines = frame.write_csv().encode(), frame.write_ndjson().encode()
    zst = io.BytesIO()
    frame.write_csv(zst, compression="zstd")
    return {
        "links.csv": text, "links.tsv": frame.write_csv(separator="\t").encode(), "links.csv.gz": gzip.compress(text),
        "links.csv.zst": zst.getvalue(), "links.ndjson": lines, "links.ndjson.gz": gzip.compress(lines),
        "links.parquet": parquet.getvalue(), "links.arrow": arrow.getvalue(), "links.ipc": stream.getvalue(),
        "mapping.toml": b'[links]\nfiles = ["*.csv"]\ncolumns = { value = "v" }\nconstant = { kind = "Zq9sEcReT" }\n',
        "settings.toml": b"seed = 7\nmax_rejects = 0.5\n", "blanks.toml": f'ground = "{SECRET}"\n'.encode(),
        "pairs.csv": f"account_a,account_b,relation\n{SECRET}-1,{SECRET}-2,must\n{SECRET}-2,b,cannot\n".encode(),
        "pairs.ndjson": f'{{"account_a": "{SECRET}", "account_b": "b", "relation": "must"}}\n'.encode(),
        "allow.csv": f"kind,value\ndevice,{SECRET}\nip,203.0.113.0/24\n".encode(),
        "the.key": bytes(range(32)).hex().encode(),
        "decisions.ndjson": json.dumps({
            "when": "2026-01-01T00:00:00Z", "who": SECRET, "cluster_id": "c", "decision": "confirmed", "note": SECRET,
            "members": [SECRET], "kinds": ["device"],
        }).encode() + b"\n",
    }  # fmt: skip


def targets() -> dict[str, Target]:
    """What reads each of the seeds."""
    settings = Settings(max_rejects=1.0)

    def source(path: Path) -> None:
        found = hg.check(path, settings=settings)
        for name, frame in found.tables.items():
            with found.reading():
                rows = frame.collect()
            assert rows.schema == {c: INPUT[name].column(c).dtype for c in rows.columns}
            assert rows.height + found.rejects.height == found.rows[name].read - found.rows[name].set_aside
            assert rows["account_id"].null_count() == 0

    def key(path: Path) -> None:
        path.chmod(0o600)
        read_key(path)

    special: dict[str, Target] = {
        "mapping.toml": read_mapping, "settings.toml": read_settings, "blanks.toml": read_blanks,
        "pairs.csv": read_constraints, "pairs.ndjson": read_constraints,
        "allow.csv": lambda p: read_constraints(None, p), "the.key": key,
        "decisions.ndjson": lambda p: read_decisions(p.parent),
    }  # fmt: skip
    return {name: special.get(name, source) for name in seeds()}


def mutated(data: bytes, rng: random.Random) -> bytes:
    """One to four changes: bits, pieces put in or in place of others, stretches cut, doubled, swapped; of packed text also
    inside of it."""
    if data[:2] == b"\x1f\x8b" and rng.random() < 0.6:
        return gzip.compress(mutated(gzip.decompress(data), rng), 1)
    for _ in range(rng.randint(1, 4)):
        at, far = rng.randrange(len(data) + 1), rng.choice((1, 2, 8, 64, 1000))
        kind = rng.randrange(7)
        if kind == 0 and data:
            spot = min(at, len(data) - 1)
            data = data[:spot] + bytes([data[spot] ^ 1 << rng.randrange(8)]) + data[spot + 1 :]
        elif kind == 1:
            data = data[:at] + rng.choice(PIECES) + data[at:]
        elif kind == 2:
            data = data[:at] + rng.choice(PIECES) + data[at + far :]
        elif kind == 3:
            data = data[:at] + data[at + far :]
        elif kind == 4:
            data = data[:at] + data[at : at + far] * rng.randint(2, 5) + data[at + far :]
        elif kind == 5:
            data = data[:at]
        else:
            lines = data.split(b"\n")
            rng.shuffle(lines)
            data = b"\n".join(lines)
    return data


def tried(name: str, data: bytes, target: Target) -> str:
    """`read`, `refused`, or what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        try:
            target(path)
        except hg.HydragraphError as error:
            said = str(error)
            if SECRET in said or SECRET.lower() in said:
                return "a value in the message"
            return "refused" if said and "\n" not in said else "no sentence"
        except BaseException as error:
            return f"{type(error).__name__}"
        return "read"


def inputs(seed: int) -> Iterator[tuple[str, int]]:
    """Names of seeds and numbers for the mutator, without end."""
    names, number = list(seeds()), seed << 32
    while True:
        for name in names:
            yield name, number
            number += 1


def made(name: str, number: int) -> bytes:
    """The input of that number."""
    return mutated(seeds()[name], random.Random(number))


DIES = "a process that dies"
"""Name of an input that ends the process, to show that this is seen."""


def _work(jobs: list[tuple[str, int]], told: object) -> None:
    of, start = targets(), seeds()
    for name, number in jobs:
        told.send((name, number, None))  # type: ignore[attr-defined]
        if name == DIES:
            os.kill(os.getpid(), signal.SIGSEGV)
        told.send((name, number, tried(name, mutated(start[name], random.Random(number)), of[name])))  # type: ignore[attr-defined]


def in_a_process(jobs: Iterable[tuple[str, int]]) -> Iterator[tuple[str, int, str]]:
    """What came of each input. An input at which the process dies is `died`; the others go on in a new one."""
    left = list(jobs)
    context = multiprocessing.get_context("spawn")
    while left:
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(left, there))
        process.start()
        there.close()
        try:
            while True:
                name, number, said = here.recv()
                if said is not None:
                    left.remove((name, number))
                    yield name, number, said
        except EOFError:
            process.join()
            if process.exitcode:
                left.remove((name, number))
                yield name, number, f"died ({process.exitcode})"


SOUND = ("read", "refused")


def main() -> int:
    """Try inputs for some seconds; 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=None, help="default: the time")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    given = parser.parse_args()
    seed = int(time.time()) if given.seed is None else given.seed
    end, stream, counts = time.monotonic() + given.seconds, inputs(seed), Counter[tuple[str, str]]()
    while time.monotonic() < end:
        for name, number, said in in_a_process([next(stream) for _ in range(len(seeds()) * 60)]):
            counts[name, said if said in SOUND else "found"] += 1
            if said not in SOUND:
                given.keep.mkdir(exist_ok=True)
                (given.keep / f"{number}-{name}").write_bytes(made(name, number))
                print(f"{name} {number}: {said}", flush=True)
    for name in seeds():
        print(f"{name:18}" + "".join(f"{counts[name, what]:8,} {what}" for what in (*SOUND, "found")))
    total = Counter[str]()
    for (_, what), number in counts.items():
        total[what] += number
    print(
        f"{sum(total.values()):,} inputs: {total['read']:,} read, {total['refused']:,} refused, {total['found']:,} findings"
    )
    return int(total["found"] > 0)


if __name__ == "__main__":
    sys.exit(main())
