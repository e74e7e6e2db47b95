"""The settings file: what holds and where it came from, a file to start from, and the schemas that editors check by."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import hydragraph as hg
from cli_case import invoke, ok
from docs_made import ROOT
from hydragraph import editors
from hydragraph.loaders.mapping import Entry, read_mapping
from hydragraph.schema import INPUT
from hydragraph.settings import ORIGINS, Settings, read_settings, settings_template, trace_settings


def file(folder: Path, text: str) -> Path:
    path = folder / "file.toml"
    path.write_text(text, "utf-8")
    return path


def accepts(schema: dict[str, Any], text: str) -> bool:
    """Whether an editor that knows `schema` is content with the TOML `text`."""
    checker = jsonschema.Draft7Validator(schema)
    return checker.is_valid(tomllib.loads(text))


# Where a value comes from


def test_the_command_line_holds_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    config = file(tmp_path, "seed = 5\nipv4_prefix = 20\nipv6_prefix = 56\n")
    settings, origin = trace_settings(config, seed=9, max_rejects=0.5, ipv4_prefix=None)

    assert settings == Settings(seed=9, ipv4_prefix=20, max_rejects=0.5)
    assert origin == {
        "seed": "command line",
        "ipv4_prefix": "file",
        "ipv6_prefix": "file",  # it says the default, but it says it
        "max_rejects": "command line",
        "max_collateral": "default",
        "max_collateral_share": "default",
    }
    assert set(origin.values()) == set(ORIGINS)


def test_nothing_given_is_the_default() -> None:
    settings, origin = trace_settings()

    assert settings == Settings()
    assert set(origin.values()) == {"default"}


@pytest.mark.parametrize(
    "text", ["nope = 1", "seed = ", "ipv4_prefix = 99", 'seed = "7"', "seed = true", "[seed]\na = 1"]
)
def test_a_bad_file_is_refused_as_by_an_analysis(text: str, tmp_path: Path) -> None:
    config = file(tmp_path, text)
    with pytest.raises(hg.InputRefused):
        read_settings(config)
    with pytest.raises(hg.InputRefused):
        trace_settings(config)
    result = invoke("config", "show", "--config", str(config))
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (3, "", 1)


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    assert read_settings(file(tmp_path, "\ufeffseed = 3\n")).seed == 3


def test_show_says_what_holds_and_why(tmp_path: Path) -> None:
    config = str(file(tmp_path, "ipv4_prefix = 20\n"))
    lines = ok("config", "show", "--config", config, "--max-rejects", "5%").splitlines()

    rows = [line.split(maxsplit=2) for line in lines[1:] if not line.startswith(" ")]
    assert lines[0].split() == ["setting", "value", "from"]
    assert rows[:4] == [
        ["seed", "0", "default"],
        ["ipv4_prefix", "20", "file"],
        ["ipv6_prefix", "56", "default"],
        ["max_rejects", "0.05", "command line"],
    ]
    assert [row[0] for row in rows] == [f.name for f in fields(Settings)]

    shown = json.loads(ok("config", "show", "--config", config, "--seed", "7", "--format", "json"))
    assert [(row["value"], row["from"]) for row in shown[:3]] == [(7, "command line"), (20, "file"), (56, "default")]
    assert isinstance(shown[0]["value"], int)
    assert all(row["meaning"] for row in shown)
    lines = ok("config", "show", "--format", "ndjson", "--limit", "4", "--columns", "setting,value").splitlines()
    assert lines[:2] == ['{"setting": "seed", "value": 0}', '{"setting": "ipv4_prefix", "value": 24}']
    assert lines[3:] == ['{"setting": "max_rejects", "value": 0.01}']
    listed = ok("config", "show", "--format", "csv", "--columns", "from,value,setting").splitlines()
    assert (listed[0], listed[1], listed[4]) == ("from,value,setting", "default,0,seed", "default,0.01,max_rejects")


def test_every_setting_is_an_option_of_analyze_check_and_show() -> None:
    for command in (["analyze"], ["check"], ["config", "show"]):
        said = ok(*command, "--help")
        assert [f.name for f in fields(Settings) if f"--{f.name.replace('_', '-')} " not in said] == []


# A file to start from


def test_the_template_changes_nothing_until_a_line_is_taken(tmp_path: Path) -> None:
    template = ok("config", "template")
    assert template == settings_template()
    assert tomllib.loads(template) == {}

    taken = template.replace("# seed = 0", "seed = 4").replace("# max_rejects = 0.01", "max_rejects = 0.2")
    assert read_settings(file(tmp_path, taken)) == Settings(seed=4, max_rejects=0.2)


def test_the_template_holds_every_setting_with_its_default() -> None:
    names = [f"# {f.name} = " for f in fields(Settings)]
    lines = settings_template().splitlines()
    bare = "\n".join(line[2:] for line in lines if line.startswith(tuple(names)))

    assert tomllib.loads(bare) == Settings().to_dict()
    assert max(map(len, lines)) <= 102


# Schemas


def test_the_commands_print_schemas_that_are_schemas() -> None:
    for args, schema in (([], editors.settings_schema()), (["--mapping"], editors.mapping_schema())):
        assert json.loads(ok("config", "schema", *args)) == schema
        jsonschema.Draft7Validator.check_schema(schema)


def at_the_bounds() -> Iterator[tuple[str, bool]]:
    """Each setting on its bounds and beyond: a line, and whether it is one of a settings file."""
    for f in fields(Settings):
        low, high = f.metadata["low"], f.metadata["high"]
        step = 1 if isinstance(f.default, int) else 0.001
        yield from ((f"{f.name} = {low}", True), (f"{f.name} = {high}", True))
        yield from ((f"{f.name} = {low - step}", False), (f"{f.name} = {high + step}", False))
        yield f"{f.name} = '1'", False


@pytest.mark.parametrize(("text", "good"), [*at_the_bounds(), ("", True), ("nope = 1", False), ("seed = 1.5", False)])
def test_the_settings_schema_and_the_reader_agree(text: str, good: bool, tmp_path: Path) -> None:
    assert accepts(editors.settings_schema(), text) == good
    if good:
        read_settings(file(tmp_path, text))
    else:
        with pytest.raises(hg.InputRefused):
            read_settings(file(tmp_path, text))


MAPPINGS = [
    (
        "[events]\nfiles = ['a.csv']\nseparator = ';'\ncolumns = { timestamp = 'ts' }\nconstant = { channel = 'x' }",
        True,
    ),
    ("[[links]]\nfiles = ['a.csv']\nconstant = { kind = 'device' }\n[[links]]\ncolumns = { value = 'v' }", True),
    ("[events]\ndatabase_env = 'DB'\nquery = 'select 1'", True),
    ("[events]\ndelta = 'lake'", True),
    ("[events]", True),
    ("", True),
    ("[evnets]", False),
    ("events = 1", False),
    ("[events]\nfile = ['a.csv']", False),
    ("[events]\nfiles = []", False),
    ("[events]\nfiles = ['']", False),
    ("[events]\nfiles = 'a.csv'", False),
    ("[events]\ncolumns = { time = 'ts' }", False),
    ("[events]\ncolumns = { timestamp = 1 }", False),
    ("[payments]\ncolumns = { ip = 'a' }", False),
    ("[events]\nconstant = { ip = '203.0.113.4' }", False),
    ("[payments]\nconstant = { kind = ' ' }", False),
    ("[events]\nseparator = ';;'", False),
    ("[events]\nseparator = '\"'", False),
    ("[events]\ndatabase = 'x.db'", False),
    ("[events]\nquery = 'select 1'", False),
    ("[events]\nfiles = ['a.csv']\ndelta = 'lake'", False),
    ("[events]\ndatabase = 'x.db'\ndatabase_env = 'DB'\nquery = 'select 1'", False),
    ("[events]\ndelta = 'lake'\nquery = 'select 1'", False),
    ("[events]\ndelta = 'lake'\nseparator = ';'", False),
]


@pytest.mark.parametrize(("text", "good"), MAPPINGS)
def test_the_mapping_schema_and_the_reader_agree(text: str, good: bool, tmp_path: Path) -> None:
    assert accepts(editors.mapping_schema(), text) == good
    if good:
        read_mapping(file(tmp_path, text))
    else:
        with pytest.raises(hg.InputRefused):
            read_mapping(file(tmp_path, text))


def test_the_mapping_files_of_the_project_fit_the_schema() -> None:
    found = sorted((ROOT / "fixtures").rglob("mapping.toml"))

    assert found
    assert [path for path in found if not accepts(editors.mapping_schema(), path.read_text("utf-8"))] == []


def test_the_mapping_schema_explains_every_word_table_and_column() -> None:
    schema = editors.mapping_schema()

    assert list(editors.MEANINGS) == list(Entry.model_fields)
    assert list(schema["properties"]) == list(schema["definitions"]) == list(INPUT)
    for name, section in schema["definitions"].items():
        assert list(section["properties"]) == list(Entry.model_fields)
        assert list(section["properties"]["columns"]["properties"]) == INPUT[name].names
        assert all(word["description"] for word in section["properties"].values())
