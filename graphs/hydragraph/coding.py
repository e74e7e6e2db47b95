"""Texts as whole numbers, and sums over more rows than fit memory: the tools with which links.py reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

BATCH = 250_000
"""Rows at a time: the numbers of so many texts stay in the processor's caches."""

_FEWEST = 4_000_000


class Codes:
    """Numbers for texts: equal texts have equal numbers in every batch, other texts others; null stays null.

    The numbers count from 0 in the order in which threads met the texts: they differ from run to run, and leave a
    result only by way of `texts`.
    """

    def __init__(self) -> None:
        self._categories = pl.Categories.random("hydragraph", pl.UInt32())
        self._type = pl.Categorical(self._categories)
        # polars forgets the numbers when no column has the type any more
        self._held = pl.Series([], dtype=self._type)

    def of(self, text: pl.Expr) -> pl.Expr:
        """The number of each text, UInt32. A text that is new gets the next number."""
        return text.cast(self._type).to_physical()

    def texts(self) -> pl.Series:
        """All texts met so far; the position is the number."""
        return self._categories.to_series()


def ranked(texts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The distinct texts, sorted, and the place of each of `texts` among them: UInt32, same length, null stays null."""
    order = texts.arg_sort(nulls_last=True).head(len(texts) - texts.null_count())
    in_order = texts.gather(order)
    new = in_order.ne_missing(in_order.shift(1))
    place = pl.repeat(None, len(texts), dtype=pl.UInt32, eager=True)
    return in_order.filter(new), place.scatter(order, new.cast(pl.UInt32).cum_sum() - 1)


def pair(first: pl.Expr, second: pl.Expr) -> pl.Expr:
    """Two numbers below 2**32 as one, which is grouped and sorted three times as quickly; sorts as the two would."""
    return first.cast(pl.UInt64) * 2**32 + second.cast(pl.UInt64)


def unpaired(column: str) -> tuple[pl.Expr, pl.Expr]:
    """The two numbers in a column of `pair`, UInt32."""
    both = pl.col(column)
    return (both // 2**32).cast(pl.UInt32), (both % 2**32).cast(pl.UInt32)


class Sums:
    """Groups gathered from many batches. They are grouped anew whenever the rows held have doubled, so that memory
    follows the number of groups and not of rows."""

    def __init__(self, key: str, sums: Mapping[str, pl.Expr], schema: pl.Schema) -> None:
        self._key, self._sums = key, sums
        self._parts = [pl.DataFrame(schema=schema)]
        self._most = _FEWEST

    def add(self, grouped: pl.DataFrame) -> None:
        """The groups of another batch: the key and the columns of `sums`."""
        self._parts.append(grouped)
        if sum(part.height for part in self._parts) > self._most:
            self._most = max(_FEWEST, 2 * self.result().height)

    def result(self) -> pl.DataFrame:
        """One row a key, in no order."""
        rows = pl.concat(self._parts).lazy()
        self._parts = [rows.group_by(self._key).agg(**self._sums).collect(engine="streaming")]
        return self._parts[0]


def batches(frame: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """The rows of a frame, some at a time, in no order."""
    yield from frame.collect_batches(chunk_size=BATCH, maintain_order=False, engine="streaming")
