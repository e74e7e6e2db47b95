"""Files -> checked lazy frames: what a source holds, which rows can be read, and why the others cannot.

    source = open_source("data/")
    source.tables["events"]        # polars LazyFrame of the rows kept, columns and types as in schema.INPUT
    source.rows["events"]          # read = kept + rejected
    source.rejects                 # table, file, row, column, reason

`files` finds the tables, `mapping` gives other names their meaning, `heads` looks at the beginning of a text file,
`columns` and `times` say what a value must look like, `scan` reads a file with polars or, where polars refuses it,
with the line reader of `slow`, `checking` counts and lists what cannot be read, `source` puts it together.
"""

from __future__ import annotations

from hydragraph.loaders.source import Input, Rows, Source, open_source

__all__ = ["Input", "Rows", "Source", "check", "open_source"]

check = open_source
"""Reads and validates only, which is all that opening a source does: the same arguments, result and errors."""
