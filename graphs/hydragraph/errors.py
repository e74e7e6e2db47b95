"""What can go wrong, one class each.

Every message is one sentence for a person: what was wrong, where (table, column, row, count) and what to do. No message
carries a value from the input, because any value may be personal data.
"""

from __future__ import annotations


class HydragraphError(Exception):
    """Base of every error this library raises on purpose."""


class InputRefused(HydragraphError, ValueError):
    """The source, mapping file or settings cannot be used as they are; nothing was written."""


class CaseExists(HydragraphError, FileExistsError):
    """The output folder is there already and replacing it was not asked for."""


class NotWritable(HydragraphError, OSError):
    """The output cannot be written: no room, no permission. What was there before is unchanged."""


class BeingWritten(HydragraphError, BlockingIOError):
    """Another run is writing the same output."""


class NotACase(HydragraphError, FileNotFoundError):
    """The folder is not a case, or its files are incomplete."""


class UnknownName(HydragraphError, LookupError):
    """No cluster, account, format, kind or table of that name is here."""


class EngineFailed(HydragraphError, RuntimeError):
    """The cluster that was to do the work cannot be reached, or gave up; no case was written."""
