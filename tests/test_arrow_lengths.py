"""Arrow files whose lengths cannot be true are refused before polars believes them."""

from __future__ import annotations

import io
import random
from pathlib import Path

import polars as pl
import pytest

import hydragraph as hg
from hydragraph.loaders.arrow_lengths import lengths_fit

FRAME = pl.DataFrame(
    {
        "account_id": [f"account number {i}" for i in range(200)],
        "kind": ["device", "email"] * 100,
        "value": [None if i % 7 == 0 else f"d{i // 3}" for i in range(200)],
        "count": range(200),
    }
)
WAYS = ("ipc", "ipc_stream")


def written(way: str, frame: pl.DataFrame, packed: str) -> bytes:
    out = io.BytesIO()
    getattr(frame, f"write_{way}")(out, compression=packed)
    return out.getvalue()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("packed", ["uncompressed", "lz4", "zstd"])
@pytest.mark.parametrize(
    "frame",
    [
        FRAME, FRAME.head(0), FRAME.with_columns(pl.col("kind").cast(pl.Categorical)), pl.concat([FRAME] * 3, rechunk=False),
        FRAME.with_columns(x=pl.lit(None), y=[[1, 2]] * 200, z=pl.struct("kind", "count")),
        FRAME.with_columns(kind=pl.col("kind").cast(pl.Enum(["device", "email"]))),
    ],
)  # fmt: skip
def test_sound_files_are_sound(tmp_path: Path, way: str, packed: str, frame: pl.DataFrame) -> None:
    path = tmp_path / "links.arrow"
    path.write_bytes(written(way, frame, packed))
    assert lengths_fit(path)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("packed", ["uncompressed", "lz4"])
def test_a_length_beyond_all_memory_is_refused(tmp_path: Path, packed: str, way: str) -> None:
    """Wherever a number of the metadata stands: the number of rows, places and lengths of buffers, and what is none."""
    sound, path = written(way, FRAME, packed), tmp_path / "links.arrow"
    start = sound.index(b"\xff\xff\xff\xff", 100)  # of the message with the rows
    length = int.from_bytes(sound[start + 4 : start + 8], "little")
    numbers = range(start + 8, start + 8 + length, 8)
    refused = 0
    for place in numbers:
        if sound[place + 7] == 0:
            path.write_bytes(sound[: place + 7] + b"\x08" + sound[place + 8 :])
            refused += not lengths_fit(path)
    assert refused >= 2 * 2 * FRAME.width
    path.write_bytes(sound)
    assert hg.check(path, settings=hg.Settings(max_rejects=1)).rows["links"].read == 200


def test_a_packed_buffer_that_would_fill_all_memory_is_refused(tmp_path: Path) -> None:
    sound, path = written("ipc_stream", FRAME, "lz4"), tmp_path / "links.arrow"
    start = sound.index(b"\xff\xff\xff\xff", 100)
    body = start + 8 + int.from_bytes(sound[start + 4 : start + 8], "little")
    path.write_bytes(sound[: body + 7] + b"\x08" + sound[body + 8 :])
    assert not lengths_fit(path)


@pytest.mark.parametrize("way", WAYS)
def test_whatever_stands_in_a_file_it_is_said(tmp_path: Path, way: str) -> None:
    """Never an error, however the file is damaged; cut off or torn apart in its first part it does not fit."""
    sound = written(way, FRAME, "lz4")
    path, rng = tmp_path / "links.arrow", random.Random(1)
    for _ in range(500):
        torn = bytearray(sound)
        for _ in range(3):
            torn[rng.randrange(len(torn))] = rng.randrange(256)
        path.write_bytes(torn[: rng.choice((len(torn), rng.randrange(len(torn))))])
        assert lengths_fit(path) in (True, False)
    path.write_bytes(sound[: len(sound) // 2])
    assert not lengths_fit(path)


def test_a_lying_file_is_damaged(tmp_path: Path) -> None:
    sound = written("ipc_stream", FRAME, "lz4")
    (tmp_path / "links.arrow").write_bytes(sound[: len(sound) // 2])
    with pytest.raises(hg.InputRefused, match=r"^links.arrow: cannot be read as Arrow IPC; the file is damaged"):
        hg.check(tmp_path / "links.arrow")
