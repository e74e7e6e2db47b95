"""Poisoned data: what an attacker can put into tables, and the bounds that hold against it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

import hydragraph as hg
from case_contract import breaks
from hydragraph.loaders import checking, heads, unpacking
from hydragraph.loaders.checking import MOST_SPELLINGS
from hydragraph.loaders.columns import LONG_KIND, LONGEST_KIND, LONGEST_TEXT, TOO_LONG
from hydragraph.loaders.files import File
from hydragraph.loaders.lines import LONGEST_LINE, NOT_JSON
from hydragraph.loaders.mapping import read_mapping
from hydragraph.loaders.unpacking import refuse_bomb
from hydragraph.pipeline import analyze
from hydragraph.settings import Settings, read_settings
from hydragraph.toml_files import LONGEST
from hydragraph_cli.main import cli
from written import source_of

HEAD = b"account_id,kind,value\n"
ROWS = b"a,device,d\nb,device,d\n"
MEBI = 1 << 20


# --- packed files


def stream(path: Path, *parts: bytes) -> Path:
    """A gz file of several streams behind each other, as `cat` makes them."""
    path.write_bytes(b"".join(gzip.compress(part, 9) for part in parts))
    return path


def zst_bomb(path: Path, mebibytes: int) -> Path:
    """One frame of blocks that say 'the same byte 131,072 times', four bytes each."""
    block = (((1 << 17) << 3) | (1 << 1)).to_bytes(3, "little") + b"\n"
    last = (1 << 17 << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"\n"
    path.write_bytes(b"\x28\xb5\x2f\xfd\x00\x58" + block * (mebibytes * 8 - 1) + last)
    return path


@pytest.mark.parametrize("parts", [1, 3])
def test_a_gz_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: int) -> None:
    monkeypatch.setattr(unpacking, "HARMLESS", MEBI)
    source = stream(tmp_path / "links.csv.gz", HEAD + ROWS, *[b"\n" * (12 * MEBI // parts)] * parts)
    with pytest.raises(hg.InputRefused, match=r"^links.csv.gz: becomes more than 200 times as large when unpacked"):
        hg.check(source)


def test_a_gz_bomb_is_not_unpacked_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "HARMLESS", MEBI)
    path = stream(tmp_path / "links.csv.gz", b"\n" * (64 * MEBI))
    with path.open("r+b") as file:  # damaged behind the middle: nobody comes there
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 1000)
    with pytest.raises(hg.InputRefused, match="becomes more than 200 times"):
        refuse_bomb(File("links.csv.gz", path, "csv"))


def header_nobody_checks(flags: int) -> bytes:
    """A bomb whose header has a wrong check sum (flags: 2), or flags without a meaning."""
    bomb = bytearray(gzip.compress(b"\n" * (12 * MEBI), 9))
    bomb[3] = flags
    return bytes(bomb[:10]) + (b"xx" if flags == 2 else b"") + bytes(bomb[10:])


@pytest.mark.parametrize("between", [b"\0" * 9, b"\0" * 3 * MEBI, b""])
@pytest.mark.parametrize("flags", [0, 2, 0x20])
def test_a_gz_bomb_hides_behind_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, between: bytes, flags: int
) -> None:
    """Zeros between two streams, a wrong check sum of a header, flags that mean nothing: Python's reader minds none."""
    monkeypatch.setattr(unpacking, "HARMLESS", MEBI)
    monkeypatch.setattr(unpacking, "MOST_GZ", 2)
    path = tmp_path / "links.csv.gz"
    path.write_bytes(gzip.compress(HEAD + ROWS) + between + header_nobody_checks(flags))
    with gzip.open(path) as file:
        assert sum(len(piece) for piece in iter(lambda: file.read(MEBI), b"")) == 12 * MEBI + len(HEAD + ROWS)
    with pytest.raises(hg.InputRefused, match="becomes more than 2 times as large"):
        hg.check(path)


def test_text_that_only_polars_would_unpack_is_refused(tmp_path: Path) -> None:
    """A zlib stream that begins with a stored piece: whoever reads it as text sees rows, and polars unpacks it."""
    import zlib

    size = 0xC241  # in UTF-8 as well as its complement
    rows = (b'{"account_id": "a", "kind": "device", "value": "d"}\n' * 2000)[: size - 1] + b"\n"
    path = tmp_path / "links.ndjson"
    head = b"x\x01x" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    path.write_bytes(head + rows + packer.compress(b"\n" * MEBI) + packer.flush() + b"\0" * 4)
    with pytest.raises(hg.InputRefused, match=r"^links.ndjson: packed with zlib; unpack it"):
        hg.check(path)


@pytest.mark.parametrize("name", ["links.csv", "links.ndjson"])
@pytest.mark.parametrize(("length", "refused"), [(64_000, False), (64_001, True), (200_000, True)])
@pytest.mark.parametrize("before", [0, 1, 31_999, 40_000, 100_000])
def test_no_line_of_plain_text_is_too_long_wherever_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, length: int, refused: bool, before: int
) -> None:
    monkeypatch.setattr(unpacking, "LONGEST_LINE", 64_000)
    path = tmp_path / name
    path.write_bytes(b"\n" * before + b"x" * length + b"\n" * 70_000)
    file = File(name, path, "csv" if name.endswith("csv") else "ndjson")
    if refused:
        with pytest.raises(hg.InputRefused, match="a line is longer than"):
            unpacking.refuse_long_line(file, "\n")
    else:
        unpacking.refuse_long_line(file, "\n")


@pytest.mark.parametrize("name", ["links.csv", "links.ndjson", "links.csv of an old Mac"])
def test_a_long_line_far_behind_the_head_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """polars would hold it several times over."""
    monkeypatch.setattr(unpacking, "LONGEST_LINE", MEBI)
    row = b'{"account_id": "a", "kind": "device", "value": "d"}\n'
    text = row * 3000 + row.replace(b'"d"', b'"' + b"x" * 2 * MEBI + b'"')
    if "csv" in name:
        text = HEAD + ROWS * 3000 + b"a,device," + b"x" * 2 * MEBI + b"\n"
    path = tmp_path / name.split()[0]
    path.write_bytes(text.replace(b"\n", b"\r") if "Mac" in name else text)
    with pytest.raises(hg.InputRefused, match="a line is longer than 64 MiB"):
        hg.check(path)


def test_a_zst_bomb_is_refused(tmp_path: Path) -> None:
    source = zst_bomb(tmp_path / "links.csv.zst", 1024)
    assert source.stat().st_size < 40_000
    with pytest.raises(hg.InputRefused, match=r"^links.csv.zst: becomes more than 2,000 times as large when unpacked"):
        hg.check(source)


def test_a_line_that_is_too_long_is_refused_before_it_fills_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "HARMLESS", MEBI)
    monkeypatch.setattr(unpacking, "LONGEST_LINE", MEBI)
    noise = bytes(i * i % 251 for i in range(60_000)).replace(b"\n", b" ")
    source = stream(tmp_path / "links.csv.gz", HEAD + ROWS, noise * 40)
    with pytest.raises(hg.InputRefused, match="a line is longer than 64 MiB"):
        hg.check(source)
    assert LONGEST_LINE == 64 * MEBI


@pytest.mark.parametrize("name", ["links.csv.gz", "links.csv.zst", "links.ndjson.gz"])
def test_packed_tables_that_compress_well_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Also where nothing is harmless, of several streams, with frames to be skipped in between."""
    monkeypatch.setattr(unpacking, "HARMLESS", 0)
    rows = pl.DataFrame(
        {"account_id": [f"a{i}" for i in range(3000)], "kind": ["device"] * 3000, "value": ["d"] * 3000}
    )
    path = tmp_path / name
    if "ndjson" in name:
        text = rows.write_ndjson().encode()
        stream(path, text[: len(text) // 2], text[len(text) // 2 :])
    elif name.endswith("gz"):
        stream(path, *[rows.write_csv(include_header=i == 0).encode() for i in range(3)])
    else:
        rows.write_csv(path, compression="zstd")
        path.write_bytes(b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc" + path.read_bytes())
        assert unpacking._zst(path) >= len(rows.write_csv())
        path.write_bytes(path.read_bytes()[11:])
    assert hg.check(path).rows["links"].read in (3000, 9000)


# --- long, many, deep


def test_long_values_cost_their_rows(tmp_path: Path) -> None:
    rows = [("a", "device", "d"), ("b", "device", "x" * LONGEST_TEXT), ("c", "device", "x" * (LONGEST_TEXT + 1)),
            ("y" * 5000, "device", "d"), ("e", "z" * 5000, "d"), ("f", "device", "\u00e4" * 2100)]  # fmt: skip
    frame = pl.DataFrame(rows, schema=["account_id", "kind", "value"], orient="row")
    for source in (source_of(tmp_path / "1", links=frame), source_of(tmp_path / "2", links=frame.write_csv())):
        found = hg.check(source, settings=Settings(max_rejects=1))
        assert [(row, column, why) for _, _, row, column, why in found.rejects.iter_rows()] == [
            (3, "value", TOO_LONG), (4, "account_id", TOO_LONG), (5, "kind", LONG_KIND), (6, "value", TOO_LONG),
        ]  # fmt: skip
    assert f"{LONGEST_TEXT:,}" in TOO_LONG


def test_long_texts_in_columns_that_are_not_read_do_no_harm(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"account_id": ["a", "b"], "kind": ["device"] * 2, "value": ["d"] * 2, "prompt": ["x" * 10**6] * 2}
    )
    assert hg.check(source_of(tmp_path / "1", links=frame.write_csv())).rejects.is_empty()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_long_kinds_cost_their_rows_and_are_not_taken_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(checking, "refused_word", lambda name: asked.append(name))
    kinds = ["k" * LONGEST_KIND, "k" * (LONGEST_KIND + 1), "\u00e4" * 129]
    frame = pl.DataFrame({"account_id": ["a", "b", "c"], "kind": kinds, "value": ["d"] * 3})
    (tmp_path / "in").mkdir()
    getattr(frame, f"write_{suffix}")(tmp_path / "in" / f"links.{suffix}")
    found = hg.check(tmp_path / "in", settings=Settings(max_rejects=1))
    assert found.rejects.select("row", "column", "reason").rows() == [(2, "kind", LONG_KIND), (3, "kind", LONG_KIND)]
    assert set(asked) == {kinds[0]}
    assert f"{LONGEST_KIND}" in LONG_KIND


def test_many_kinds_are_refused_before_each_is_looked_at(tmp_path: Path) -> None:
    number = MOST_SPELLINGS + 1
    frame = pl.DataFrame(
        {"account_id": ["a"] * number, "kind": [f"device {i}" for i in range(number)], "value": ["d"] * number}
    )
    with pytest.raises(
        hg.InputRefused, match=r"^2,001 kinds are more than 2,000; check that kind and value are not swapped$"
    ):
        hg.check(source_of(tmp_path / "1", links=frame))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_that_are_too_wide_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setattr(heads, "MOST_COLUMNS", 100)
    frame = pl.DataFrame({"account_id": ["a"], "kind": ["device"], "value": ["d"], **{f"c{i}": [1] for i in range(98)}})
    source = source_of(tmp_path / "1", links=frame.write_csv() if suffix == "csv" else frame)
    with pytest.raises(hg.InputRefused, match=f"links.{suffix}: 101 columns are more than 100"):
        hg.check(source)


def test_many_keys_of_json_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where every line brings others."""
    monkeypatch.setattr(heads, "MOST_COLUMNS", 100)
    rows = [{"account_id": "a", "kind": "device", "value": "d", f"key {i}": 1} for i in range(98)]
    (tmp_path / "links.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(hg.InputRefused, match=r"links.ndjson: 101 columns are more than 100"):
        hg.check(tmp_path)


@pytest.mark.parametrize("suffix", ["csv", "ndjson", "parquet"])
def test_a_long_name_of_a_column_is_refused(tmp_path: Path, suffix: str) -> None:
    """Each name is taken apart into words."""
    for length in (heads.LONGEST_NAME, heads.LONGEST_NAME + 1):
        frame = pl.DataFrame(
            {"account_id": ["a", "b"], "kind": ["device"] * 2, "value": ["d"] * 2, "x" * length: [1, 2]}
        )
        folder = tmp_path / str(length)
        folder.mkdir()
        getattr(frame, f"write_{suffix}")(folder / f"links.{suffix}")
        if length == heads.LONGEST_NAME:
            assert hg.check(folder).rows["links"].kept == 2
            continue
        with pytest.raises(
            hg.InputRefused, match=f"^links.{suffix}: the name of a column is longer than 256 characters"
        ):
            hg.check(folder)


def deep(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize("value", [deep(200_000), '{"a":' * 200_000 + "1" + "}" * 200_000])
@pytest.mark.parametrize("place", ["value", "other"])
def test_deep_json_costs_its_row(tmp_path: Path, value: str, place: str) -> None:
    lines = [json.dumps({"account_id": f"a{i}", "kind": "device", "value": "d"}) for i in range(3)]
    lines.append('{"account_id": "b", "kind": "device", "value": "d"}'.replace('"d"', value) if place == "value" else
                 f'{{"account_id": "b", "kind": "device", "value": "d", "other": {value}}}')  # fmt: skip
    (tmp_path / "links.ndjson").write_text("\n".join(lines) + "\n")
    found = hg.check(tmp_path / "links.ndjson", settings=Settings(max_rejects=0.5))
    assert found.rejects.select("row", "reason").rows() == [(4, NOT_JSON)]


READERS: dict[str, Callable[[Path], object]] = {
    "mapping file": read_mapping,
    "settings file": read_settings,
    "the file of blanks": lambda path: __import__("hydragraph.report.reasons", fromlist=["x"]).read_blanks(path),
}


@pytest.mark.parametrize("what", READERS)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"[links]\nx = {deep(100_000)}", "nested too deeply"),
        (f"[{'a.' * 200_000}a]", "nested too deeply"),
        ("a . 'b' . " * 50_000 + "c = 1", "nested too deeply"),
        ('"a".' * 200_000 + "c = 1", "nested too deeply"),
        ("x = '" + "y" * LONGEST + "'", "larger than 1 MiB; is this the right file?"),
        ("[links", "not TOML: see its end"),
        ("a =\nb = 1", "not TOML: see line 1, column 4"),
        ("x = 'secret", "not TOML: see line 1, column 12|not TOML: see its end"),
        ("\udcff", "not UTF-8 text"),
    ],
)
def test_toml_files_are_bounded(tmp_path: Path, what: str, text: str, said: str) -> None:
    path = tmp_path / "file.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(hg.InputRefused, match=f"^{what}: (?:{said})") as caught:
        READERS[what](path)
    assert "secret" not in str(caught.value)


def test_prose_is_no_deep_key(tmp_path: Path) -> None:
    (tmp_path / "blanks.toml").write_text('ground = "' + "One rule. See 3.1.4 of the terms, v2.0. " * 500 + '"\n')
    assert READERS["the file of blanks"](tmp_path / "blanks.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[links]]\nfiles = ["links.csv"]\n' * 1_001, "more than 1,000 sections"),
        (
            '[links]\ndatabase = "x.db"\nquery = "select ' + "a" * 65_530 + '"\n',
            "query: string should have at most 65536",
        ),
        ('[links]\ncolumns = { value = "' + "a" * 257 + '" }\n', "columns.value: string should have at most 256"),
        ('[links]\nconstant = { kind = "' + "a" * 257 + '" }\n', "constant.kind: string should have at most 256"),
        ('[links]\nfiles = ["' + "a" * 4_097 + '"]\n', "files: string should have at most 4096"),
        *[
            (f'[links]\nfiles = ["{pattern}"]\n', "is no pattern for files")
            for pattern in (".", "a**b", "**/**/**/links.csv", "**/" * 1_300 + "links.csv")
        ],
    ],
)
def test_mapping_files_are_bounded(tmp_path: Path, text: str, said: str) -> None:
    source = source_of(tmp_path / "in", links="account_id,kind,value\na,device,d\nb,device,d")
    (tmp_path / "map.toml").write_text(text)
    with pytest.raises(hg.InputRefused, match=said):
        hg.check(source, mapping=tmp_path / "map.toml")


def test_a_mapping_of_many_entries_and_globs_that_go_in_circles(tmp_path: Path) -> None:
    source = source_of(tmp_path / "in", links="account_id,kind,value\na,device,d\nb,device,d")
    (source / "round").symlink_to(source)
    entry = '[[links]]\nfiles = ["**/links.csv"]\n'
    (tmp_path / "map.toml").write_text(entry * 50)
    found = hg.check(source, mapping=tmp_path / "map.toml")
    assert found.rows["links"].read == 100


def test_a_hostile_case_is_no_case(tmp_path: Path) -> None:
    """Somebody else's case folder: deep JSON in its manifest and in its decisions."""
    analyze(source_of(tmp_path / "in", links="account_id,kind,value\na,device,d\nb,device,d"), tmp_path / "case")
    (tmp_path / "case" / "decisions.ndjson").write_text(deep(100_000) + "\n")
    assert CliRunner().invoke(cli, ["clusters", str(tmp_path / "case")]).exit_code == 1
    (tmp_path / "case" / "decisions.ndjson").unlink()
    (tmp_path / "case" / "manifest.json").write_text(deep(100_000))
    with pytest.raises(hg.NotACase):
        hg.open_case(tmp_path / "case")


# --- hubs


def test_hubs_are_not_taken_apart_into_pairs(tmp_path: Path) -> None:
    """20,000 accounts on five devices are 10^9 pairs; those who share three cards besides are found among them."""
    names = [f"a{i:05d}" for i in range(20_000)]
    hubs = pl.concat([pl.DataFrame({"account_id": names, "kind": "device", "value": f"hub-{k}"}) for k in range(5)])
    cards = [(names[i * 1000], "card", f"card-{k}") for i in range(6) for k in range(3)]
    ring = pl.DataFrame(cards, schema=hubs.schema, orient="row")
    case = analyze(source_of(tmp_path / "in", links=pl.concat([hubs, ring])), tmp_path / "case")
    assert case.manifest["work"]["pairs_formed"] < 40 * 20_000
    members = case.accounts.filter(pl.col("cluster_id").is_not_null())["account_id"].to_list()
    assert members == [names[i * 1000] for i in range(6)]
    assert breaks(case.path) == []


# --- smearing: identifiers of an innocent account, used by a ring on purpose


def smeared(tmp_path: Path, kind: str, by: int) -> set[str]:
    """The accounts assessed coordinated when `by` accounts of a ring of 12 use an identifier of an innocent account too."""
    ring = [(f"ring-{i:02d}", k, f"{k}-1") for i in range(12) for k in ("card", "device")]
    others = [
        (f"lone-{i:03d}", k, f"own-{k}-{i}") for i in range(250) for k in ("card", "device", "ip", "template_hash")
    ]
    values = {"ip": "203.0.113.7", "template_hash": "t-1"}
    victim = [("victim", kind, values.get(kind, "of-the-victim")), ("victim", "phone", "own")]
    smear = [(f"ring-{i:02d}", kind, values.get(kind, "of-the-victim")) for i in range(by)]
    others = [(a, k, f"198.51.{int(a[5:])}.7" if k == "ip" else v) for a, k, v in others]
    links = pl.DataFrame(ring + others + victim + smear, schema=["account_id", "kind", "value"], orient="row")
    case = analyze(source_of(tmp_path / f"{kind}-{by}", links=links), tmp_path / f"case-{kind}-{by}")
    return set(case.accounts.filter(assessment="coordinated")["account_id"])


@pytest.mark.parametrize("kind", ["ip", "template_hash"])
def test_what_strangers_share_easily_accuses_nobody_however_many_smear(tmp_path: Path, kind: str) -> None:
    for by in (1, 6, 12):
        assert "victim" not in smeared(tmp_path, kind, by)


CARD = "4111111111111111"


@pytest.mark.parametrize("value", ["ann", "ann@example.org", CARD])
@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_a_value_that_stands_twice_in_the_first_row_is_not_shown(tmp_path: Path, value: str, suffix: str) -> None:
    (tmp_path / f"links.{suffix}").write_text(f"x,{value},{value}\n".replace(",", "," if suffix == "csv" else "\t"))
    with pytest.raises(hg.InputRefused) as caught:
        hg.check(tmp_path)
    assert str(caught.value) == (f"links.{suffix}: columns 2 and 3 of the header have the same name; give each its own")


@pytest.mark.parametrize("suffix", ["csv", "ndjson", "parquet", "ipc"])
@pytest.mark.parametrize("value", ["ann@example.org", CARD])
def test_columns_called_by_values_are_not_shown(tmp_path: Path, suffix: str, value: str) -> None:
    """As they are where another program took the first row for a header."""
    getattr(pl.DataFrame({value: ["x"], "kind": ["device"]}), f"write_{suffix}")(tmp_path / f"links.{suffix}")
    with pytest.raises(hg.InputRefused, match="not look like a header") as caught:
        hg.check(tmp_path)
    assert value not in str(caught.value)


def test_a_first_row_of_names_is_not_shown(tmp_path: Path) -> None:
    """A file without a header whose values could be names of columns: they stand below it once more."""
    (tmp_path / "links.csv").write_text("ann,device,red\nbob,device,red\n")
    with pytest.raises(hg.InputRefused) as caught:
        hg.check(tmp_path)
    assert str(caught.value) == (
        "links: the required column account_id is missing; its first line does not look like a header; say in a mapping"
        " file which it is"
    )
