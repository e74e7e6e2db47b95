"""`hydragraph config`: the settings of an analysis: what holds and why, a file to start from, schemas for editors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import click

import hydragraph as hg
from hydragraph_cli.layout import table
from hydragraph_cli.options import list_options, settings_options, talk_options
from hydragraph_cli.output import View, emit, json_text, print_frame, print_text


@click.group("config")
def command() -> None:
    """Show settings, and help to write settings and mapping files.

    \b
    Example:
      hydragraph config template > settings.toml
      hydragraph config show --config settings.toml --seed 7
      hydragraph config schema > settings.schema.json
      hydragraph analyze exports/ -o case --config settings.toml
    """


@command.command("show")
@settings_options
@list_options()
@talk_options
def show(settings: hg.Settings, origin: Mapping[str, str], view: View) -> None:
    """Show which settings hold, and where each value came from.

    An option on the command line holds over the file, and the file over the default. Give the options that you would
    give to `analyze`.

    \b
    Example:
      hydragraph config show
      hydragraph config show --config settings.toml --ipv4-prefix 26
      hydragraph config show --config settings.toml --format json
    """
    import polars as pl

    values = [getattr(settings, f.name) for f in fields(settings)]  # whole numbers beside shares
    numbers = view.format in ("json", "ndjson")
    frame = pl.DataFrame({
        "setting": [f.name for f in fields(settings)],
        "value": pl.Series(values, dtype=pl.Object) if numbers else pl.Series(map(str, values), dtype=pl.String),
        "from": [origin[f.name] for f in fields(settings)],
        "meaning": [f.metadata["meaning"] for f in fields(settings)],
    })  # fmt: skip
    if view.for_people:
        print_text(table(view.head(frame), below="meaning"))
    else:
        print_frame(frame, view)


@command.command("template")
@talk_options
def template() -> None:
    """Print a settings file to start from.

    It explains every setting. Every line is a comment: taking away the # in front of a setting makes it hold.

    \b
    Example:
      hydragraph config template > settings.toml
    """
    from hydragraph.settings import settings_template

    emit(settings_template(), encoding="utf-8")


@command.command("schema")
@click.option("--mapping", is_flag=True, help="Of the mapping file, not of the settings file.")
@talk_options
def schema(mapping: bool) -> None:
    """Print the JSON Schema of a settings or mapping file.

    Editors complete and check TOML by it, as Even Better TOML and taplo do for a file that begins with the line
    `#:schema settings.schema.json`.

    \b
    Example:
      hydragraph config schema > settings.schema.json
      hydragraph config schema --mapping > mapping.schema.json
    """
    from hydragraph.editors import mapping_schema, settings_schema

    emit(json_text(mapping_schema() if mapping else settings_schema(), indent=2) + "\n", encoding="utf-8")
