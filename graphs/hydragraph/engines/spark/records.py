"""What pairs of accounts are looked at by, account by account: bursts of requests, and wide identifiers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hydragraph.activity import Activity, Bursts
from hydragraph.engines.spark.arrays import column, names_of
from hydragraph.engines.spark.wholes import arranged, whole_groups
from hydragraph.runs import changes
from hydragraph.ties import wide_shares

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

RECORDS = "account long, first long, last long, begins array<int>, wide array<long>, bits array<int>"
"""Of an account the slots of its first and last request, and in which it begins bursts; the identifiers it uses that
form no pairs, and what they are worth, in thousandths of a bit. Sorted."""

_ASKED, _SLOT, _WIDE = -1, 0, 1
_ROWS = 500_000
_VALUES = 4_000_000


def find_records(asked: DataFrame, requests: DataFrame | None, wide: DataFrame) -> DataFrame:
    """RECORDS of the accounts that are `asked` for, those with any.

    asked: account, may come twice. requests: SLOTS; None: times do not count. wide: account, identifier, bits. A task holds
    all rows of one account.
    """
    from pyspark.sql import functions as f

    def row(of: DataFrame, what: int, number: str | None, bits: str | None) -> DataFrame:
        numbers = (f.lit(0) if number is None else f.col(number)), (f.lit(0) if bits is None else f.col(bits))
        return of.select(
            "account",
            f.lit(what).alias("what"),
            numbers[0].cast("long").alias("number"),
            numbers[1].cast("int").alias("bits"),
        )

    rows = row(asked, _ASKED, None, None).union(row(wide, _WIDE, "identifier", "bits"))
    if requests is not None:
        rows = rows.union(row(requests, _SLOT, "slot", None))
    return arranged(rows, "account", "what", "number").mapInArrow(_records, RECORDS)


def _records(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    for rows in whole_groups(batches, "account", _ROWS):
        account, what = column(rows, "account"), column(rows, "what")
        asked = np.unique(account[what == _ASKED])
        kept = np.flatnonzero((what != _ASKED) & np.isin(account, asked))
        account, what = account[kept], what[kept]
        number, bits = column(rows, "number")[kept], column(rows, "bits")[kept]
        start = changes(account)
        accounts, at = account[start], np.cumsum(start) - 1
        slot = what == _SLOT
        bursts = Activity(at[slot], number[slot], np.zeros(int(slot.sum()), np.int64), len(accounts)).bursts
        yield pa.RecordBatch.from_arrays(
            [
                pa.array(accounts),
                pa.array(bursts.first),
                pa.array(bursts.last),
                _lists(bursts.slot.astype(np.int32), bursts.account, len(accounts)),
                _lists(number[~slot], at[~slot], len(accounts)),
                _lists(bits[~slot].astype(np.int32), at[~slot], len(accounts)),
            ],
            names_of(RECORDS),
        )


def _lists(values: NDArray[Any], of: NDArray[np.int64], rows: int) -> pa.ListArray:
    """Values sorted by the row they are of, as a list for each row."""
    import pyarrow as pa

    ends = np.cumsum(np.bincount(of, minlength=rows))
    return pa.ListArray.from_arrays(np.append(0, ends).astype(np.int32), values)


def sliced(rows: pa.RecordBatch, most: int = _VALUES) -> Iterator[pa.RecordBatch]:
    """Rows as for `records_of`, in parts whose lists together hold no more than `most` values, if a row does not alone."""
    import pyarrow.compute as pc

    lists = [rows[f"{name}_{side}"] for name in ("begins", "wide") for side in "ab"]
    ends = np.cumsum(sum(pc.list_value_length(of).fill_null(0).to_numpy(zero_copy_only=False) for of in lists))
    start = 0
    while start < rows.num_rows:
        before = ends[start - 1] if start else 0
        end = max(int(np.searchsorted(ends, before + most, "right")), start + 1)
        yield rows.slice(start, end - start)
        start = end


@dataclass(frozen=True)
class Records:
    """Records of the accounts of pairs: those of all a, then those of all b.

    bursts: with accounts numbered so. row, wide, bits: of each account and wide identifier, sorted by row, then identifier.
    """

    bursts: Bursts
    row: NDArray[np.int64]
    wide: NDArray[np.int64]
    bits: NDArray[np.int64]


def records_of(rows: pa.RecordBatch) -> Records:
    """The records that rows have for an account a and an account b: the columns of RECORDS with _a and _b to their names."""
    of, slot = _values(rows, "begins")
    row, wide = _values(rows, "wide")
    first, last = (np.concatenate([column(rows, f"{name}_{side}") for side in "ab"]) for name in ("first", "last"))
    return Records(Bursts(of, slot, first, last), row, wide, _values(rows, "bits")[1])


def _values(rows: pa.RecordBatch, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The values of lists of all a, then of all b, and which list each is in."""
    import pyarrow.compute as pc

    lists = [rows[f"{name}_{side}"] for side in "ab"]
    length = np.concatenate([pc.list_value_length(each).fill_null(0).to_numpy(zero_copy_only=False) for each in lists])
    values = np.concatenate([each.flatten().to_numpy(zero_copy_only=False) for each in lists]).astype(np.int64)
    return np.repeat(np.arange(len(length)), length), values


def wide_of_kind(
    records: Records, kind: NDArray[np.int64], k: int, have: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """ties.wide_shares of the identifiers of kind k, of each pair; nothing for a kind the pair shares already.

    kind: of each wide identifier of the records. have: bits of the kinds each pair shares.
    """
    from scipy.sparse import csr_array

    more, shared = np.zeros(len(have), np.int64), np.zeros(len(have), np.int64)
    need = np.flatnonzero((have >> k & 1) == 0)
    at = np.flatnonzero(kind == k)
    if len(at) and len(need):
        _, first, place = np.unique(records.wide[at], return_index=True, return_inverse=True)
        starts = np.append(0, np.cumsum(np.bincount(records.row[at], minlength=2 * len(have))))
        incidence = csr_array((np.ones(len(at), np.int64), place, starts), shape=(2 * len(have), len(first)))
        more[need], shared[need] = wide_shares(incidence, records.bits[at[first]], need, need + len(have))
    return more, shared
