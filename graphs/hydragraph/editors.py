"""JSON Schemas of the files that people write, settings and mapping: editors complete and check TOML by them.

Draft 7, which editors for TOML know.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from hydragraph.settings import Settings

DRAFT = "http://json-schema.org/draft-07/schema#"

MEANINGS = {
    "files": "Files of the table, as globs inside the source; left out, the file called like the table.",
    "database": "A DuckDB or SQLite file, seen from the folder of the mapping file, or postgresql://host/name.",
    "database_env": "The environment variable that holds what `database` would.",
    "query": "A query of the database whose rows are the table's.",
    "delta": "Folder of a Delta table, seen from the folder of the mapping file.",
    "columns": "On the left the column as hydragraph knows it, on the right its name in the files.",
    "constant": "A text column that holds this one value in every row.",
    "separator": "The character between the fields of CSV files; left out, it is found out.",
}
"""What each word of a section of the mapping file means: every field of `loaders.mapping.Entry`."""


def settings_schema() -> dict[str, Any]:
    """The schema of the file for `--config`: every knob with its type, default, bounds and meaning; no other name."""
    knobs = {
        f.name: {
            "type": "integer" if isinstance(f.default, int) else "number",
            "default": f.default,
            "minimum": f.metadata["low"],
            "maximum": f.metadata["high"],
            "description": f.metadata["meaning"],
        }
        for f in fields(Settings)
    }
    return {
        "$schema": DRAFT,
        "title": "Settings of hydragraph",
        "type": "object",
        "properties": knobs,
        "additionalProperties": False,
    }


def mapping_schema() -> dict[str, Any]:
    """The schema of the mapping file: a section, or several, a table, with the columns that the table has.

    It knows a table by its plain name only, although `read_mapping` takes other spellings of it (API-Keys). Not checked, as
    it needs more than the file: that files and databases are there, and that no column says who people are.
    """
    from hydragraph.loaders.mapping import Entry
    from hydragraph.schema import INPUT

    words = {name: _word(name, said) for name, said in Entry.model_json_schema()["properties"].items()}
    sections, tables = {}, {}
    for table in INPUT.values():
        columns = {c.name: {"type": "string", "description": c.meaning} for c in table.columns}
        texts = {c.name: {**columns[c.name], "pattern": r"\S"} for c in table.columns if c.type == "text"}
        sections[table.name] = {
            "type": "object",
            "properties": {
                **words,
                "columns": {**words["columns"], "properties": columns, "additionalProperties": False},
                "constant": {**words["constant"], "properties": texts, "additionalProperties": False},
            },
            "additionalProperties": False,
            "dependencies": {"database": ["query"], "database_env": ["query"], "query": _OF_A_DATABASE},
            "not": {"anyOf": [{"required": pair} for pair in _EXCLUSIVE]},
        }
        one = {"$ref": f"#/definitions/{table.name}"}
        tables[table.name] = {"description": table.meaning, "anyOf": [one, {"type": "array", "items": one}]}
    return {
        "$schema": DRAFT,
        "title": "Mapping file of hydragraph",
        "type": "object",
        "properties": tables,
        "additionalProperties": False,
        "definitions": sections,
    }


_PLACES = ("files", "database", "database_env", "delta")
_EXCLUSIVE = [
    *([a, b] for at, a in enumerate(_PLACES) for b in _PLACES[at + 1 :]),
    *(["separator", place] for place in _PLACES[1:]),
]
"""Words of which a section has one at most: a table takes its rows from one place, and only files have separators."""
_OF_A_DATABASE = {"anyOf": [{"required": ["database"]}, {"required": ["database_env"]}]}


def _word(name: str, said: dict[str, Any]) -> dict[str, Any]:
    """One word of a section as TOML can hold it: TOML has no null, and what is left out is not there."""
    kept = {key: value for key, value in said.items() if key not in ("anyOf", "default", "title")}
    (some,) = [choice for choice in said.get("anyOf", [{}]) if choice.get("type") != "null"]
    return {**kept, **some, "description": MEANINGS[name]}
