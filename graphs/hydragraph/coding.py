"""Texts as whole numbers, and sums over more rows than fit memory: the tools with which links.py reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph.runs import changes

BATCH = 250_000
"""Rows at a time: the numbers of so many texts stay in the processor's caches."""

FEWEST = 8_000_000
"""Rows that `Sums` holds at least before it sums them up."""


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
        self._number = 0

    def of(self, texts: pl.Series) -> pl.Series:
        """The number of each text, UInt32. A text that is new gets the next number."""
        codes = texts.cast(self._type).to_physical()
        if codes.null_count() < len(codes):
            self._number = max(self._number, 1 + int(codes.max()))  # type: ignore[arg-type]
        return codes

    def texts(self) -> pl.Series:
        """All texts met so far; the position is the number."""
        numbers = pl.int_range(self._number, dtype=pl.UInt32)
        return pl.select(numbers.cat.to(self._type).cast(pl.String)).to_series()


def ranked(texts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The distinct texts, sorted, and the place of each of `texts` among them: UInt32, same length, null stays null."""
    held = texts.is_not_null().arg_true()
    order = held.gather(_order(texts.gather(held)))
    in_order = texts.gather(order)
    new = in_order.ne_missing(in_order.shift(1))
    place = pl.repeat(None, len(texts), dtype=pl.UInt32, eager=True)
    return in_order.filter(new), place.scatter(order, new.cast(pl.UInt32).cum_sum() - 1)


def _order(texts: pl.Series) -> pl.Series:
    """The positions of texts in sorted order.

    Numbers are sorted ten times as quickly as texts: the 16 bytes behind those that all begin with, as two numbers, bring
    them nearly into order, and what is left to do takes little time.
    """
    if texts.is_empty():
        return texts.arg_sort()
    low, high = str(texts.min()).encode(), str(texts.max()).encode()
    same = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    raw = (texts + "\0" * 16).cast(pl.Binary)
    eight = [raw.bin.slice(same + i, 8).bin.reinterpret(dtype=pl.UInt64, endianness="big").to_numpy() for i in (8, 0)]
    order = pl.Series(np.lexsort(eight))
    return order.gather(texts.gather(order).arg_sort())


def pair(first: pl.Series, second: pl.Series) -> pl.Series:
    """Two numbers below 2**32 as one, UInt64, which is grouped and sorted more quickly; sorts as the two would."""
    return first.cast(pl.UInt64) * 2**32 + second.cast(pl.UInt64)


def unpaired(both: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The two numbers of each `pair`, UInt32."""
    pairs = both.to_numpy()
    return pl.Series((pairs >> 32).astype(np.uint32)), pl.Series(pairs.astype(np.uint32))


def argsorted(numbers: NDArray[Any], largest: int) -> NDArray[np.int64]:
    """The positions of numbers (uint64, up to `largest`) in sorted order, of equal ones in theirs; they are overwritten.

    Where 64 bits hold a number and its position, both are sorted as one number, which takes a tenth of the time.
    """
    bits = len(numbers).bit_length()
    if largest.bit_length() + bits > 64:
        return np.argsort(numbers, kind="stable")
    numbers <<= bits
    numbers |= np.arange(len(numbers), dtype=np.uint64)
    numbers.sort()
    numbers &= (1 << bits) - 1
    return numbers.view(np.int64)


def summed(rows: pl.DataFrame, sums: Mapping[str, np.ufunc]) -> pl.DataFrame:
    """One row for each number in the first column, sorted by it, and of each other column what `sums` says: np.add,
    np.minimum or np.maximum, in which a null does not count. Columns: whole numbers or times."""
    key = rows.to_series()
    pairs = key.cast(pl.UInt64).to_numpy()
    if not len(pairs):
        return rows
    # of a pair, without the numbers between the two that do not occur
    first, second = pairs >> 32, pairs & (2**32 - 1)
    second -= second.min()
    width, most = int(second.max()) + 1, int(first.max()) + 1
    first *= width
    first += second
    del second
    order = argsorted(first, most * width)
    pairs = pairs[order]
    start = np.flatnonzero(changes(pairs))
    found = [_reduced(rows[name], how, order, start) for name, how in sums.items()]
    return pl.DataFrame([pl.Series(key.name, pairs[start]).cast(key.dtype), *found])


def _reduced(column: pl.Series, how: np.ufunc, order: NDArray[np.int64], start: NDArray[np.int64]) -> pl.Series:
    values = column.to_physical()
    if not column.null_count():
        return pl.Series(column.name, how.reduceat(values.to_numpy()[order], start)).cast(column.dtype)
    nothing = 0 if how is np.add else (values.upper_bound() if how is np.minimum else values.lower_bound()).item()
    found = pl.Series(column.name, how.reduceat(values.fill_null(nothing).to_numpy()[order], start))
    if how is not np.add:
        found = found.set(found == nothing, None)
    return found.cast(column.dtype)


class Sums:
    """Groups gathered from many batches. They are summed up whenever the rows held have doubled, so that memory follows
    the number of groups and not of rows. fewest: rows that are held at least before, FEWEST if not given."""

    def __init__(self, sums: Mapping[str, np.ufunc], schema: pl.Schema, fewest: int | None = None) -> None:
        self._sums = sums
        self._parts = [pl.DataFrame(schema=schema)]
        self._most = self._fewest = FEWEST if fewest is None else fewest

    def add(self, rows: pl.DataFrame) -> None:
        """Rows of another batch: the key and the columns of `sums`."""
        self._parts.append(rows.select(self._parts[0].columns))
        if self.held > self._most:
            self._most = max(self._fewest, 2 * self.result().height)

    @property
    def held(self) -> int:
        """Rows that are held."""
        return sum(part.height for part in self._parts)

    def rows(self) -> pl.DataFrame:
        """What is held: of a key there may be several rows."""
        return pl.concat(self._parts)

    def result(self) -> pl.DataFrame:
        """One row a key, sorted, see `summed`."""
        self._parts = [summed(self.rows(), self._sums)]
        return self._parts[0]


def batches(frame: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """The rows of a frame, some at a time, in no order."""
    found = frame.collect_batches(chunk_size=BATCH, maintain_order=False, engine="streaming")
    yield from (batch for batch in found if batch.height)
