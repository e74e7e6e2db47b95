"""A file written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from hydragraph.unfinished import beside, saying_what_to_do, take_place


def write_whole(path: str | Path, data: bytes) -> Path:
    """Write `data` to a temporary file beside `path`, then rename it; a failure leaves what was there. Returns path.

    Raises NotWritable where there is no room or no permission."""
    path = Path(path)
    with saying_what_to_do(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        new = beside(path, "hydragraph-part")
        try:
            new.write_bytes(data)
            take_place(new, path)
        finally:
            new.unlink(missing_ok=True)
    return path
