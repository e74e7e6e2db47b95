"""Pseudonyms: known answers, keys, the same findings with and without, and no raw identifier in anything that is written."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import hydragraph as hg
from case_contract import breaks
from hydragraph.exports import FORMATS
from hydragraph.hiding import hide
from hydragraph.identifiers import KINDS, mask_value, normalise
from hydragraph.links import read_links
from hydragraph.loaders import open_source
from hydragraph.pipeline import analyze
from hydragraph.pseudonyms import Key, is_pseudonym, pseudonym, pseudonyms, read_key
from hydragraph.schema import OUTPUT
from hydragraph.settings import Settings
from hydragraph.worlds import simulate
from hydragraph_cli.main import cli
from written import source_of

pytestmark = pytest.mark.xdist_group("pseudonyms")  # one worker: one world

SECRET = bytes(range(32))
KEY = Key(SECRET)
OTHER = Key(bytes(range(32, 64)))


def hmac_by_hand(secret: bytes, message: bytes) -> str:
    """RFC 2104 with SHA-256 and a key shorter than a block."""
    padded = secret.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in padded) + message).digest()
    return hashlib.sha256(bytes(b ^ 0x5C for b in padded) + inner).hexdigest()


# --- values


@pytest.mark.parametrize(("kind", "value"), [("account", "acct-1"), ("payment", "acct-1"), ("email", "ä@example.org")])
def test_known_answers(kind: str, value: str) -> None:
    message = b"hydragraph\x001\x00" + kind.encode() + b"\x00" + value.encode()
    assert pseudonym(KEY, kind, value) == "hg" + hmac_by_hand(SECRET, message)[:32]
    assert KEY.id == hmac_by_hand(SECRET, b"hydragraph key id")[:16]


def test_a_pseudonym_written_down() -> None:
    """Other versions must give the same, or cases could not be compared any more."""
    assert pseudonym(KEY, "account", "acct-1") == "hgad1422493aad23f49bf5888e1057eed3"
    assert KEY.id == "164db5680052e821"


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), unique=True), st.sampled_from(list(KINDS))
)
def test_equal_in_a_kind_and_unequal_elsewhere(values: list[str], kind: str) -> None:
    hidden = pseudonyms(KEY, kind, pl.Series("v", [*values, None], dtype=pl.String)).to_list()
    assert hidden[-1] is None
    assert hidden[:-1] == [pseudonym(KEY, kind, v) for v in values]
    assert len(set(hidden)) == len(hidden)
    for value, name in zip(values, hidden, strict=False):
        assert name is not None
        assert is_pseudonym(name)
        assert name != pseudonym(KEY, "account", value)
        assert name != pseudonym(OTHER, kind, value)


@given(st.text(), st.sampled_from([k for k in KINDS if k != "ip_range"]))
def test_every_kind_leaves_a_pseudonym_as_it_is(value: str, kind: str) -> None:
    """So that an allow list may hold them, and reports show them whole."""
    name = pseudonym(KEY, kind, value)
    assert normalise(kind, pl.Series([name]), Settings()).to_list() == [name]
    assert mask_value(kind, name) == name


# --- keys


def keyfile(folder: Path, key: Key = KEY) -> Path:
    path = folder / f"{key.id}.key"
    if not path.exists():
        path.touch(0o600)
        path.write_text(key.secret.hex() + "\n")
    return path


def test_a_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    made = hg.make_key(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert read_key(tmp_path / "key") == made
    assert made != hg.make_key(tmp_path / "other")
    with pytest.raises(hg.CaseExists):
        hg.make_key(tmp_path / "key")
    assert read_key(tmp_path / "key") == made


def test_a_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_CASES", SECRET.hex())
    assert read_key("env:SECRET_OF_CASES") == KEY
    monkeypatch.delenv("SECRET_OF_CASES")
    with pytest.raises(hg.InputRefused, match="SECRET_OF_CASES is not set"):
        read_key("env:SECRET_OF_CASES")
    with pytest.raises(hg.InputRefused, match="the environment variable named is not set"):
        read_key(f"env:{SECRET.hex()}")


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        (SECRET.hex(), 0o640, "others than its owner"),
        (SECRET.hex(), 0o604, "others than its owner"),
        (SECRET.hex()[:-2], 0o600, "not 64 hexadecimal digits"),
        (SECRET.hex() + "00", 0o600, "not 64 hexadecimal digits"),
        ("ä" * 64, 0o600, "not 64 hexadecimal digits"),
        ("", 0o600, "not 64 hexadecimal digits"),
        ("00" * 32, 0o600, "not random"),
    ],
)
def test_what_is_no_key(tmp_path: Path, text: str, mode: int, said: str) -> None:
    (tmp_path / "key").write_text(text)
    (tmp_path / "key").chmod(mode)
    with pytest.raises(hg.InputRefused, match=said) as caught:
        read_key(tmp_path / "key")
    assert not text or text not in str(caught.value)


def test_a_missing_key_is_said_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(hg.InputRefused, match=r"^key file: cannot be opened"):
        analyze(tmp_path / "nowhere", tmp_path / "case", pseudonymise=tmp_path / "none")


def test_a_key_does_not_show_itself() -> None:
    assert SECRET.hex() not in f"{KEY!r} {KEY}"
    assert repr(SECRET) not in f"{KEY!r} {KEY}"


# --- the same findings


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hidden") / "world"
    simulate(folder, accounts=2_000, seed=11)
    return folder


@pytest.fixture(scope="module")
def plain(world: Path) -> hg.Case:
    return analyze(world, world.parent / "plain")


@pytest.fixture(scope="module")
def hidden(world: Path) -> hg.Case:
    return analyze(world, world.parent / "hidden", pseudonymise=KEY)


def renamed(plain: hg.Case, name: str, ids: dict[str, str]) -> pl.DataFrame:
    """A table of the plain case as it must be in the other: pseudonyms for names, and the other's ids of clusters."""
    frame = plain.table(name)
    for column in {"account_id", "account_a", "account_b", "parent", "child"} & set(frame.columns):
        frame = frame.with_columns(pseudonyms(KEY, "account", frame[column]))
    if "cluster_id" in frame.columns:
        frame = frame.with_columns(pl.col("cluster_id").replace(ids))
    if {"kind", "value"} <= set(frame.columns):
        values = [pseudonym(KEY, kind, value) for kind, value in frame.select("kind", "value").iter_rows()]
        frame = frame.with_columns(pl.Series("value", values, dtype=pl.String))
    if name == "ties":
        swapped = frame.select(
            a=pl.min_horizontal("account_a", "account_b"), b=pl.max_horizontal("account_a", "account_b")
        )
        frame = frame.with_columns(account_a=swapped["a"], account_b=swapped["b"])
    return frame


def same_clusters(plain: hg.Case, hidden: hg.Case) -> dict[str, str]:
    """Id in the plain case -> id in the other, by members; fails if the partitions differ."""
    of = {}
    for case, hide_ in ((plain, True), (hidden, False)):
        for cluster, accounts in (
            case.accounts.drop_nulls("cluster_id").group_by("cluster_id").agg("account_id").iter_rows()
        ):
            members = frozenset(pseudonym(KEY, "account", a) if hide_ else a for a in accounts)
            of.setdefault(members, []).append(cluster)
    assert all(len(pair) == 2 for pair in of.values())
    return {pair[0]: pair[1] for pair in of.values()}


@pytest.mark.parametrize("name", OUTPUT)
def test_every_table_is_the_same_but_for_names(plain: hg.Case, hidden: hg.Case, name: str) -> None:
    """Partition, scores, bits, signals, plans, replacements: byte for byte once names are exchanged and rows are sorted."""
    expected = renamed(plain, name, same_clusters(plain, hidden))
    found = hidden.table(name)
    assert found.sort(found.columns).equals(expected.sort(expected.columns))
    assert plain.clusters.height > 3


@pytest.mark.slow
@pytest.mark.parametrize(("scenario", "seed"), [("hard", 5), ("innocent", 6), ("mixed", 7)])
def test_other_worlds_too(tmp_path: Path, scenario: str, seed: int) -> None:
    simulate(tmp_path / "world", accounts=4_000, seed=seed, scenario=scenario)
    plain = analyze(tmp_path / "world", tmp_path / "plain")
    hidden = analyze(tmp_path / "world", tmp_path / "hidden", pseudonymise=KEY)
    ids = same_clusters(plain, hidden)
    for name in OUTPUT:
        expected, found = renamed(plain, name, ids), hidden.table(name)
        assert found.sort(found.columns).equals(expected.sort(expected.columns)), name


def test_the_case_is_sound_and_names_its_key(hidden: hg.Case, plain: hg.Case) -> None:
    assert breaks(hidden.path) == []
    assert hidden.manifest["pseudonyms"] == {"key_id": KEY.id, "scheme": "HMAC-SHA256, 128 bits, by kind"}
    assert plain.manifest["pseudonyms"] is None
    assert hidden.manifest["notes"] == plain.manifest["notes"]


# --- nothing raw


def raw_values(world: Path) -> set[str]:
    """Every account id and identifier of a source, as written and as normalised."""
    source = open_source(world)
    found = set()
    for name, table in source.tables.items():
        frame = table.collect()
        wanted = [
            c
            for c in frame.columns
            if c in ("account_id", "api_key_id", "instrument_id", "ip", "template_hash", "value")
        ]
        found |= {str(v) for c in wanted if name != "ranges" for v in frame[c].drop_nulls().unique()}
    graph = read_links(source, Settings())[0]
    return {v for v in found | set(graph.identifiers["value"]) if len(v) > 4}


def texts_in(folder: Path) -> str:
    """Everything in the files of a folder as text."""
    parts = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        if path.suffix == ".parquet":
            parts.append(pl.read_parquet(path).write_csv())
        else:
            parts.append(path.read_bytes().decode("utf-8", "replace"))
    return "\n".join(parts)


def raw_ones_in(text: str, raw: set[str]) -> set[str]:
    return raw & set(re.findall(r"[\w.:/@+-]+", text)) | {
        v for v in raw if not re.fullmatch(r"[\w.:/@+-]+", v) and v in text
    }


def test_no_file_of_a_case_or_export_holds_a_raw_identifier(
    hidden: hg.Case, plain: hg.Case, world: Path, tmp_path: Path
) -> None:
    raw = raw_values(world)
    assert raw_ones_in(texts_in(plain.path), raw)  # so it would be seen
    for form in FORMATS:
        hg.export(hidden, form, tmp_path / "exports" / form)
    first = hidden.clusters["cluster_id"][0]
    (tmp_path / "exports" / "text.md").write_text(hg.report_text(hidden), "utf-8")
    printed = [
        CliRunner().invoke(cli, [str(a) for a in arguments]).output
        for arguments in (
            ["show", hidden.path, first, "--unmasked"], ["takedown", hidden.path, first, "--unmasked"],
            ["lineage", hidden.path, first], ["clusters", hidden.path, "--format", "json"],
        )
    ]  # fmt: skip
    assert min(map(len, printed)) > 100
    for text in (texts_in(hidden.path), texts_in(tmp_path / "exports"), *printed):
        assert raw_ones_in(text, raw) == set()
        assert SECRET.hex() not in text


def test_nothing_raw_is_kept_once_it_is_read(world: Path) -> None:
    source = open_source(world, private=True)
    graph, *_ = read_links(source, Settings())
    found, *_ = hide(graph, hg_constraints(), KEY, Settings())
    assert source.without_tables().tables == {}
    kept = {
        "channel": set(graph.accounts["channel"].drop_nulls()),
        "close_reason": {"banned", "unpaid", "voluntary"},
        "kind": set(graph.kinds),
        "known": set(graph.identifiers["known"].drop_nulls()),
    }
    for frame in (found.accounts, found.identifiers, found.links):
        for name in (n for n, dtype in frame.schema.items() if dtype == pl.String):
            values = set(frame[name].drop_nulls())
            assert all(map(is_pseudonym, values - kept.get(name, set()))), name


def hg_constraints() -> Any:
    from hydragraph.constraints import Constraints

    return Constraints()


HOSTILE = "close_reason of acct-7, see mail of Jo"


def test_free_text_is_hidden_unless_it_is_a_word_or_two(tmp_path: Path) -> None:
    accounts = pl.DataFrame({
        "account_id": ["a", "b", "c"], "closed_at": ["2026-01-05"] * 3, "close_reason": ["banned", " Voluntary ", HOSTILE],
        "org_id": ["Acme", "Acme", None],
    })  # fmt: skip
    links = pl.DataFrame({"account_id": ["a", "b", "c"], "kind": ["device"] * 3, "value": ["d"] * 3})
    case = analyze(source_of(tmp_path / "in", accounts=accounts, links=links), tmp_path / "case", pseudonymise=KEY)
    reasons = set(case.accounts["close_reason"])
    assert reasons == {"banned", " Voluntary ", pseudonym(KEY, "close_reason", HOSTILE)}
    assert "Acme" not in texts_in(case.path)


def test_no_temporary_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of queries and of files for the careful reader stand in temporary files otherwise."""
    source = tmp_path / "in"
    source.mkdir()
    (source / "links.csv").write_text('account_id,kind,value\na,device,"d"x\nb,device,d\nc,device,d\n')
    with sqlite3.connect(source / "x.db") as database:
        database.execute("create table t (account_id, instrument_id)")
        database.executemany("insert into t values (?, ?)", [("b", "pm-1"), ("c", "pm-1")])
    database.close()
    (tmp_path / "map.toml").write_text('[payments]\ndatabase = "in/x.db"\nquery = "select * from t order by 1"\n')
    made: list[str] = []
    make = __import__("tempfile").mkdtemp

    def seen(*args: Any, **how: Any) -> str:
        made.append(make(*args, **how))
        return made[-1]

    monkeypatch.setattr("tempfile.mkdtemp", seen)
    settings = Settings(max_rejects=0.5)
    analyze(source, tmp_path / "plain", mapping=tmp_path / "map.toml", settings=settings)
    assert len(made) == 1
    made.clear()
    case = analyze(source, tmp_path / "case", mapping=tmp_path / "map.toml", settings=settings, pseudonymise=KEY)
    assert made == []
    assert set(case.accounts["account_id"]) == {pseudonym(KEY, "account", a) for a in "bc"}
    assert case.clusters["size"].to_list() == [2]


# --- what an analyst gives, earlier cases, newer tables


LINKS = pl.DataFrame(
    [(f"acct-{i}", kind, f"{kind}-1") for i in range(6) for kind in ("device", "wallet")]
    + [(f"acct-{i}", "ip", f"203.0.113.{i}") for i in range(6)]
    + [(f"lone-{i}", "device", f"own-{i}") for i in range(100)],
    schema=["account_id", "kind", "value"], orient="row",
)  # fmt: skip


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return source_of(tmp_path / "small", links=LINKS)


def frame(columns: str, *rows: tuple[str, ...]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=columns.split(), orient="row")


def test_constraints_hold_raw_values_or_pseudonyms_and_the_case_only_these(tmp_path: Path, small: Path) -> None:
    given_: dict[str, dict[str, Any]] = {
        "raw": {
            "constraints": frame("account_a account_b relation", ("acct-0", "acct-1", "cannot")),
            "allow": frame("kind value", ("device", "device-1"), ("ip", "203.0.112.0/23")),
        },
        "names": {
            "constraints": frame(
                "account_a account_b relation",
                (pseudonym(KEY, "account", "acct-1"), pseudonym(KEY, "account", "acct-0"), "cannot"),
            ),
            "allow": frame(
                "kind value",
                ("device", pseudonym(KEY, "device", "device-1")),
                ("ip", pseudonym(KEY, "ip_range", "203.0.113.0/24")),
            ),
        },
    }
    tables = {}
    for way, constraints in given_.items():
        case = analyze(small, tmp_path / way, pseudonymise=KEY, **constraints)
        assert raw_ones_in(texts_in(case.path), set(LINKS["value"]) | set(LINKS["account_id"])) == set()
        assert case.manifest["constraints"]["allowed"] == 2
        tables[way] = {n: case.table(n) for n in OUTPUT}
        again = analyze(small, tmp_path / f"{way}-again", pseudonymise=KEY, previous=case)
        assert again.manifest["constraints"] == case.manifest["constraints"]
        assert again.accounts.equals(case.accounts)
    assert all(tables["raw"][n].equals(tables["names"][n]) for n in OUTPUT)
    without = analyze(small, tmp_path / "without", pseudonymise=KEY)
    assert set(without.links["kind"]) == {"device", "wallet", "ip_range"}
    assert set(tables["raw"]["links"]["kind"]) == {"wallet"}


def test_earlier_cases_need_the_same_key(tmp_path: Path, small: Path) -> None:
    plain = analyze(small, tmp_path / "plain")
    first = analyze(small, tmp_path / "first", pseudonymise=KEY)
    again = analyze(small, tmp_path / "again", pseudonymise=KEY, previous=first)
    assert set(again.ledger["event"]) == {"kept"}
    for before, key, said in (
        (first, OTHER, f"needed is {KEY.id}, given was {OTHER.id}"),
        (first, None, f"name the file of the key {KEY.id} with --pseudonymise"),
        (plain, KEY, "the earlier case has no pseudonyms"),
    ):
        with pytest.raises(hg.InputRefused, match=said):
            analyze(small, tmp_path / "other", pseudonymise=key, previous=before)
        with pytest.raises(hg.InputRefused, match=said):
            hg.watch(before, small, pseudonymise=key)
    assert not (tmp_path / "other").exists()


def test_newer_tables_are_hidden_with_the_same_key(tmp_path: Path, small: Path) -> None:
    case = analyze(small, tmp_path / "case", pseudonymise=KEY)
    newer = frame("account_id kind value", ("new-1", "device", "device-1"), ("new-1", "wallet", "wallet-1"))
    found = hg.watch(case, source_of(tmp_path / "newer", links=newer), pseudonymise=KEY, assessments=["explained"])
    assert found.attached["account_id"].to_list() == [pseudonym(KEY, "account", "new-1")]
    assert all(map(is_pseudonym, found.identifiers["value"]))


# --- the way back


def test_who_holds_the_key_and_the_source_can_tell(tmp_path: Path, small: Path) -> None:
    case = analyze(small, tmp_path / "case", pseudonymise=KEY)
    whole = hg.reveal(case, small, KEY)
    assert whole.filter(kind="account").height == 106
    (cluster,) = case.clusters["cluster_id"]
    found = hg.reveal(case, small, KEY, clusters=[cluster])
    names = {(kind, value) for kind, _, value in found.iter_rows()}
    assert names == {("account", f"acct-{i}") for i in range(6)} | {
        ("device", "device-1"), ("wallet", "wallet-1"), ("ip_range", "203.0.113.0/24"),
    }  # fmt: skip
    assert all(pseudonym(KEY, kind, value) == name for kind, name, value in whole.iter_rows())
    wanted = pseudonym(KEY, "account", "acct-3")
    assert hg.reveal(case, small, KEY, only=[wanted]).rows() == [("account", wanted, "acct-3")]


def test_without_the_right_key_nobody_can(tmp_path: Path, small: Path) -> None:
    case = analyze(small, tmp_path / "case", pseudonymise=KEY)
    with pytest.raises(hg.InputRefused, match="pseudonyms of another key"):
        hg.reveal(case, small, OTHER)
    with pytest.raises(hg.InputRefused, match="only pseudonyms can be revealed") as caught:
        hg.reveal(case, small, KEY, only=["acct-3"])
    assert "acct-3" not in str(caught.value)
    with pytest.raises(hg.InputRefused, match="nothing to reveal"):
        hg.reveal(analyze(small, tmp_path / "plain"), small, KEY)


def test_the_commands(tmp_path: Path, small: Path) -> None:
    def ok(*arguments: object) -> Any:
        done = CliRunner().invoke(cli, [str(a) for a in arguments])
        assert done.exit_code == 0, done.output
        return done

    said = ok("keygen", tmp_path / "key").stderr
    secret = (tmp_path / "key").read_text().strip()
    assert secret not in said
    refused = CliRunner().invoke(cli, ["keygen", str(tmp_path / "key")])
    assert refused.exit_code == 1
    done = ok("analyze", small, "-o", tmp_path / "case", "--pseudonymise", tmp_path / "key", "--verbose")
    assert raw_ones_in(done.output, set(LINKS["account_id"]) | set(LINKS["value"])) == set()
    rows = json.loads(ok("reveal", tmp_path / "case", small, "--key", tmp_path / "key", "--format", "json").stdout)
    assert {"acct-0", "device-1"} <= {row["value"] for row in rows}
    os.environ["A_KEY"] = secret
    try:
        ok("watch", tmp_path / "case", small, "--pseudonymise", "env:A_KEY")
    finally:
        del os.environ["A_KEY"]
    assert secret not in texts_in(tmp_path / "case")


def test_an_error_on_the_way_says_no_value(tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError(LINKS["account_id"][0])

    monkeypatch.setattr("hydragraph.engines.embedded.weigh", fail)
    path = keyfile(tmp_path)
    done = CliRunner().invoke(
        cli, ["analyze", str(small), "-o", str(tmp_path / "c"), "--pseudonymise", str(path), "--verbose"]
    )
    assert done.exit_code == 1
    assert "acct-0" not in done.output
    assert SECRET.hex() not in done.output
