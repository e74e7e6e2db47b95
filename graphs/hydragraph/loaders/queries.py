"""A query or Delta table as a part of a source: its rows in a temporary file, and what stands for their bytes and digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from hydragraph.loaders.card_columns import refuse_before_writing
from hydragraph.loaders.databases import look_at
from hydragraph.loaders.files import Feed, File
from hydragraph.loaders.heads import refuse_twice
from hydragraph.loaders.scan import Part, Scratch, columns_of, texts_of
from hydragraph.loaders.slow import FAULT, ROW


def open_query(feed: Feed, scratch: Scratch) -> Part:
    """What the query of a feed gives: names of columns, no rows yet. Raises InputRefused if it cannot be read."""
    query = feed.query
    assert query is not None
    reader = look_at(query, None if scratch.in_memory else scratch.folder())
    refuse_twice(query.name, "query", reader.columns)
    columns = columns_of(feed, list(reader.columns))
    return Part(
        feed,
        File(query.name, Path(), "parquet"),
        pl.LazyFrame(),
        columns,
        {},
        tuple(n for n in reader.columns if n not in columns.values()),
        frozenset(columns),
        careful=reader.marked,
        ordered=False,
        reader=reader,
    )


def fetch(part: Part, scratch: Scratch) -> tuple[Part, int, str]:
    """Run the query of a part; the part with its rows, the bytes they have as text, and their digest.

    The digest is 'rows-sha256:' and 64 hexadecimal digits. Each row is written as text, its values in the order of the
    schema: '-' for none, else the length in bytes, ':' and the value; a time is microseconds since 1970, a date days. The
    SHA-256 digests of the rows, as four numbers of 64 bits each, are summed up; the digest is the SHA-256 of the names of
    the columns, the number of rows and the sums. So the order of the rows makes no difference.
    """
    assert part.reader is not None
    theirs, shelf = list(part.columns.values()), scratch.shelf()
    texts = {part.columns[c] for c in texts_of(part.feed.table) if c in part.columns}
    size, number, sums = 0, 0, np.zeros(4, np.uint64)

    def write(rows: pl.DataFrame) -> None:
        refuse_before_writing(part.feed.table, rows, texts_of(part.feed.table), first=not shelf.held)
        if part.careful:
            rows = rows.with_columns(pl.lit(None, pl.Int64).alias(ROW), pl.lit(None, pl.String).alias(FAULT))
        shelf.add(rows)

    for frame in part.reader.rows(theirs, texts):
        rows = frame.select(pl.col(name).alias(c) for c, name in part.columns.items())
        if rows.height:
            hashed = _as_bytes(rows)
            digests = b"".join([hashlib.sha256(row).digest() for row in hashed])
            sums += np.frombuffer(digests, "<u8").reshape(-1, 4).sum(axis=0, dtype=np.uint64)
            size += sum(map(len, hashed))
            number += len(hashed)
            write(rows)
    if not shelf.held:
        write(rows)
    found = json.dumps([list(part.columns), number, sums.tolist()])
    raw = shelf.scan()
    schema = raw.collect_schema()
    fetched = replace(
        part,
        raw=raw,
        columns={c: c for c in part.columns},
        dtypes={c: schema[c] for c in part.columns},
        reader=None,
    )
    return fetched, size, f"rows-sha256:{hashlib.sha256(found.encode('ascii')).hexdigest()}"


def _as_bytes(rows: pl.DataFrame) -> Sequence[bytes]:
    values = [_as_text(name, dtype) for name, dtype in rows.schema.items()]
    told = (pl.concat_str(v.str.len_bytes().cast(pl.String), pl.lit(":"), v).fill_null("-") for v in values)
    return rows.select(pl.concat_str(*told).cast(pl.Binary)).to_series().to_list()


def _as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    value = pl.col(name)
    if isinstance(dtype, pl.Datetime):
        value = value.cast(pl.Datetime("us", dtype.time_zone), strict=False).cast(pl.Int64)
    elif isinstance(dtype, pl.Date):
        value = value.cast(pl.Int32)
    elif isinstance(dtype, pl.Binary):
        value = value.bin.encode("hex")
    return value.cast(pl.String)
