"""Country, language, time zone, name, gender, religion, age: never evidence, whatever table they stand in.

Which names say so is tried name by name in test_identifiers.py.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

import hydragraph as hg
from hydragraph.pipeline import analyze
from hydragraph.schema import INPUT, OUTPUT
from hydragraph.worlds import simulate
from hydragraph_cli.main import cli
from written import source_of

pytestmark = pytest.mark.xdist_group("pipeline")  # one worker: one world

COLUMNS = (
    "country", "geo_country", "Country-Code", "nationality", "language", "accept_language", "lang", "locale", "timezone",
    "tz", "utc_offset", "full_name", "surname", "name", "gender", "religion", "ethnicity", "birth_date", "age",
)  # fmt: skip
KINDS = ("country", "Accept-Language", "Time Zone", "full name", "birthDate")


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    """The tables of a world of 2,000 accounts with every tactic."""
    folder = tmp_path_factory.mktemp("people")
    simulate(folder / "world", accounts=2_000, seed=11)
    return {t: pl.read_parquet(folder / "world" / f"{t}.parquet") for t in INPUT}


@pytest.fixture(scope="module")
def without(frames: dict[str, pl.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> hg.Case:
    folder = tmp_path_factory.mktemp("without")
    return analyze(source_of(folder / "source", **frames), folder / "case")


def digests(case: hg.Case) -> dict[str, str]:
    return {n: hashlib.sha256((case.path / f"{n}.parquet").read_bytes()).hexdigest() for n in OUTPUT}


@pytest.mark.parametrize("permuted", [False, True])
def test_who_people_are_changes_no_byte(
    tmp_path: Path, frames: dict[str, pl.DataFrame], without: hg.Case, permuted: bool
) -> None:
    # every cluster speaks one language, so that whatever looks at it would see nothing else
    rng = np.random.default_rng(3)
    everyone = frames["accounts"]["account_id"]
    cluster = dict(without.accounts.select("account_id", "cluster_id").iter_rows())
    words = [cluster.get(a) or f"land-{i % 7}" for i, a in enumerate(everyone)]
    says = dict(zip(everyone, words, strict=True))

    def mixed(values: pl.Series) -> pl.Series:
        return values.gather(rng.permutation(len(values))) if permuted else values

    tables = {}
    for name, frame in frames.items():
        own = "account_id" if "account_id" in frame.columns else "cidr"
        said = frame[own].replace_strict(says, default="land-0", return_dtype=pl.String)
        tables[name] = frame.with_columns(mixed(said).alias(column) for column in COLUMNS)
    people = pl.DataFrame({
        "account_id": everyone, "kind": [KINDS[i % len(KINDS)] for i in range(len(everyone))],
        "value": mixed(pl.Series(words)),
    })  # fmt: skip
    tables["links"] = pl.concat([tables["links"], people], how="diagonal")
    tables["ranges"] = pl.concat(
        [tables["ranges"], pl.DataFrame({"cidr": ["0.0.0.0/0"], "kind": ["country"]})], how="diagonal"
    )
    found = analyze(source_of(tmp_path / "source", **tables), tmp_path / "case")

    assert digests(found) == digests(without)
    assert found.manifest["rows"]["links"]["set_aside"] == len(everyone)
    notes = " ".join(found.manifest["notes"])
    for name in INPUT:
        assert f"{name}: columns that say who people are, never read: 'Country-Code', accept_language, age, " in notes
    assert "links: 2000 rows set aside, because their kind says who people are: birth, country, full_name, " in notes
    assert "ranges: 1 rows set aside, because their kind says who people are: country." in notes
    apart = {"inputs", "rows", "notes", "stages"}
    same = [{k: v for k, v in case.manifest.items() if k not in apart} for case in (found, without)]
    assert same[0] == same[1]


def invoke(*args: object) -> Result:
    return CliRunner().invoke(cli, [str(arg) for arg in args])


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (
            '[[links]]\nfiles = ["users.csv"]\ncolumns = { value = "geoCountry" }\nconstant = { kind = "device" }',
            "geoCountry",
        ),
        (
            '[[links]]\nfiles = ["users.csv"]\ncolumns = { value = "id" }\nconstant = { kind = "Accept-Language" }',
            "Language",
        ),
        ('[[links]]\nfiles = ["users.csv"]\ncolumns = { value = "id", kind = "locale" }', "locale"),
        ('[accounts]\nfiles = ["users.csv"]\ncolumns = { org_id = "nationality" }', "nationality"),
        ('[accounts]\nfiles = ["users.csv"]\ncolumns = { created_at = "birth_date" }', "birth_date"),
        ('[payments]\nfiles = ["users.csv"]\ncolumns = { instrument_id = "card_country" }', "card_country"),
        ('[api_keys]\nfiles = ["users.csv"]\ncolumns = { api_key_id = "tz" }', "tz"),
        ('[events]\nfiles = ["users.csv"]\ncolumns = { template_hash = "full_name_hash" }', "full_name_hash"),
        ('[ranges]\nfiles = ["users.csv"]\ncolumns = { cidr = "id" }\nconstant = { kind = "country" }', "country"),
    ],
)
def test_naming_it_in_a_mapping_is_refused_in_one_sentence(tmp_path: Path, section: str, said: str) -> None:
    folder = source_of(tmp_path / "source", users="account_id,id,geoCountry\na,1,xx")
    (tmp_path / "mapping.toml").write_text(section + "\n")
    for command in (["analyze", folder, "-o", tmp_path / "case"], ["check", folder]):
        result = invoke(*command, "--mapping", tmp_path / "mapping.toml")
        assert result.exit_code == 3
        assert result.stdout == ""
        assert len(result.stderr.splitlines()) == 1
        assert said in result.stderr
        assert "who people are is never evidence" in result.stderr
    assert not (tmp_path / "case").exists()


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("select user as account_id, geo_country as org_id from users", "country"),
        ('select user as account_id, "Home Country" as org_id from users', "country"),
        ("select * from users where language = 'xx'", "language"),
        ("select user as account_id, device_name as org_id from users where note <> 'their country'", None),
        ("select user as account_id, timezone('utc', since at time zone 'utc') as created_at from users", None),
    ],
)
def test_a_query_that_speaks_of_it_is_refused(tmp_path: Path, query: str, word: str | None) -> None:
    source_of(tmp_path / "source", links="account_id,kind,value\na,device,d")
    (tmp_path / "users.sqlite").write_bytes(b"")
    (tmp_path / "mapping.toml").write_text(f'[accounts]\ndatabase = \'users.sqlite\'\nquery = """{query}"""\n')
    result = invoke("check", tmp_path / "source", "--mapping", tmp_path / "mapping.toml")
    assert result.exit_code == 3
    assert len(result.stderr.splitlines()) == 1
    # the others are refused as well, because the database is empty
    assert (f"[accounts] query speaks of {word}: who people are is never evidence" in result.stderr) == (
        word is not None
    )


def test_what_stands_in_the_column_kind_is_not_repeated(tmp_path: Path) -> None:
    # kind and value swapped: a person's own words stand where the kind should
    links = "account_id,kind,value\na,Ann Surname Smith,name\na,device,d\nb,device,d"
    found = analyze(source_of(tmp_path / "source", links=links), tmp_path / "case")
    assert "links: 1 rows set aside, because their kind says who people are: surname." in found.manifest["notes"]
    assert "Smith" not in (tmp_path / "case" / "manifest.json").read_text("utf-8")
