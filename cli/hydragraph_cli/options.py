"""Arguments and options that several commands share, as decorators."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from hydragraph.settings import Settings, trace_settings
from hydragraph_cli.output import FORMATS, View, into
from hydragraph_cli.talk import Talk
from hydragraph_cli.values import clean

Command = TypeVar("Command", bound=Callable[..., Any])

FOLDER = click.Path(path_type=Path)
"""A path that the library, not click, judges: a source that is not there is refused input, not wrong usage."""


class Place(click.Path):
    """A path, or a place named by a scheme (`s3://bucket/folder`), which stays a text."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The text of a place, the Path of anything else."""
        return value if isinstance(value, str) and "://" in value else super().convert(value, param, ctx)


PLACE = Place(path_type=Path)


def talk_options(command: Command) -> Command:
    """--quiet and --verbose, before or after the name of the command; the last one given holds."""

    def set_level(ctx: click.Context, param: click.Parameter, given: bool) -> None:
        if given:
            ctx.ensure_object(Talk).level = 0 if param.name == "quiet" else 2

    verbose = click.option(
        "--verbose", is_flag=True, expose_value=False, callback=set_level, help="Say each stage; errors say where."
    )
    quiet = click.option("--quiet", is_flag=True, expose_value=False, callback=set_level, help="Say errors only.")
    return quiet(verbose(command))


pass_talk = click.make_pass_decorator(Talk, ensure=True)
"""Hands the command its Talk as first argument."""

case_argument = click.argument("case", type=FOLDER)


unmasked_option = click.option(
    "--unmasked", is_flag=True, help="Print identifiers in full; they are partly hidden otherwise."
)


pseudonymise_option = click.option(
    "--pseudonymise", type=FOLDER, metavar="KEYFILE",
    help="Put keyed hashes in place of account ids and identifiers; the file is made by `keygen`, or env:NAME.",
)  # fmt: skip


def out_option(command: Command) -> Command:
    """-o FILE: what the command prints goes there, whole or not at all."""

    @functools.wraps(command)
    def with_out(*args: Any, out: Path | None, **given: Any) -> Any:
        with into(out):
            return command(*args, **given)

    decorated: Any = with_out
    done: Command = click.option("-o", "--out", type=FOLDER, metavar="FILE", help="Write there, not to stdout.")(
        decorated
    )
    return done


def assessment_option(text: str) -> Callable[[Command], Command]:
    """--assessment WORD, as often as wanted; the words are checked. text: what it does in this command."""
    return click.option(
        "--assessment", "wanted", multiple=True, type=OneOf("hydragraph.schema", "ASSESSMENTS"), metavar="WORD",
        help=text,
    )  # fmt: skip


class OneOf(click.ParamType[str]):
    """A word out of a list of the library, which is imported only when the option is given or completed."""

    name = "word"

    def __init__(self, module: str, names: str) -> None:
        self._where = module, names

    def _known(self) -> tuple[str, ...]:
        module, names = self._where
        return tuple(getattr(importlib.import_module(module), names))

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word itself. Fails for one that is not in the list."""
        known = self._known()
        if value not in known:
            self.fail(f"{value!r} is none of {', '.join(known)}", param, ctx)
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The words that begin so."""
        return [CompletionItem(name) for name in self._known() if name.startswith(incomplete)]


class ClusterId(click.ParamType[str]):
    """The id of a cluster or its beginning. A shell completes it from the case that stands before it."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text itself; whether there is such a cluster the case says."""
        return utf8(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The clusters of the case that begin so, strongest first; none where there is no case."""
        import hydragraph as hg

        # where the last word is an option that still lacks its value, click leaves all arguments unparsed
        case = ctx.params.get("case") or next(iter(ctx.args), None)
        try:
            clusters = hg.open_case(case).clusters  # type: ignore[arg-type]  # none is a TypeError
        except (TypeError, OSError, hg.HydragraphError):
            return []
        listed = clusters.select("cluster_id", "assessment").iter_rows()
        return [CompletionItem(i, help=word) for i, word in listed if i.startswith(incomplete) and i == clean(i)]


cluster_argument = click.argument("cluster", type=ClusterId())


def given(**options: Any) -> dict[str, Any]:
    """The options that were given: the defaults of the others are the library's business."""
    return {name: value for name, value in options.items() if value is not None}


def list_options(*parts: str) -> Callable[[Command], Command]:
    """--format, --columns and --limit, handed on as one `view`. parts: choices for --part, if there are parts."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_view(*args: Any, **given: Any) -> Any:
            names = ("format", "columns", "limit", "part")
            view = View(**{name: given.pop(name) for name in names if name in given})
            return command(*args, view=view, **given)

        options = [
            click.option(
                "--format", type=click.Choice(FORMATS), default="table", show_default=True, help="How to print."
            ),
            click.option("--columns", callback=_names, metavar="A,B,...", help="Only these columns, in this order."),
            click.option("--limit", type=click.IntRange(min=0), metavar="N", help="At most N rows; 0: all."),
        ]
        if parts:
            one = click.option("--part", type=click.Choice(parts), help="One part of the answer, as a plain list.")
            options.insert(1, one)
        decorated: Any = with_view
        for option in reversed(options):
            decorated = option(decorated)
        done: Command = decorated
        return done

    return decorate


def _names(ctx: click.Context, param: click.Parameter, given: str | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
    if not names:
        raise click.BadParameter("name at least one column")
    return names


def text_argument(ctx: click.Context, param: click.Parameter, given: str | None) -> str | None:
    """Callback: refuses an argument with bytes that are not UTF-8; no value of a case has any."""
    return given if given is None else utf8(given)


def text_or_stdin(ctx: click.Context, param: click.Parameter, given: str | None) -> str | None:
    """Callback: as text_argument; `-` stands for the text on stdin."""
    return stdin_text() if given == "-" else text_argument(ctx, param, given)


def utf8(text: str) -> str:
    """`text`, if it was UTF-8 on the command line; wrong usage otherwise."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise click.BadParameter("not valid UTF-8") from None
    return text


def stdin_text() -> str:
    """All of stdin; wrong usage if it is not UTF-8."""
    try:
        with click.open_file("-", "rb") as stdin:
            text: str = stdin.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise click.BadParameter("what stands on stdin is not valid UTF-8") from None
    return text


def source_options(command: Command) -> Command:
    """SOURCE..., --mapping and the settings, handed on as `source`, `mapping` and `settings`."""

    @functools.wraps(command)
    def with_source(*args: Any, source: tuple[Path | str, ...], origin: Mapping[str, str], **given: Any) -> Any:
        if not source and given["mapping"] is None:  # a mapping file may name databases for everything
            raise click.MissingParameter(param_hint="'SOURCE...'", param_type="argument")
        return command(*args, source=source[0] if len(source) == 1 else source, **given)

    decorated: Any = with_source
    mapping = click.option("--mapping", type=FOLDER, help="TOML file that says which file and column means what.")
    argument = click.argument("source", type=PLACE, nargs=-1)
    done: Command = argument(mapping(settings_options(decorated)))
    return done


def settings_options(command: Command) -> Command:
    """--config and an option a setting, handed on as `settings` and `origin`: where the value of each came from."""
    knobs = fields(Settings)

    @functools.wraps(command)
    def with_settings(*args: Any, config: Path | None, **given: Any) -> Any:
        by_hand = {knob.name: given.pop(knob.name) for knob in knobs}
        settings, origin = trace_settings(config, **by_hand)
        return command(*args, settings=settings, origin=origin, **given)

    decorated: Any = with_settings
    for knob in reversed(knobs):
        whole = isinstance(knob.default, int)
        bounds = click.IntRange(knob.metadata["low"], knob.metadata["high"])
        decorated = click.option(
            f"--{knob.name.replace('_', '-')}",
            type=bounds if whole else str,
            callback=None if whole else share,
            metavar="N" if whole else "SHARE",
            help=f"{knob.metadata['meaning'][:1].upper()}{knob.metadata['meaning'][1:]}; default {knob.default}.",
        )(decorated)
    config = click.option("--config", type=FOLDER, help="TOML file of settings, `name = value` a line; see `config`.")
    done: Command = config(decorated)
    return done


def engine_options(command: Command) -> Command:
    """--engine and what goes with it, handed on as `engine`; None for the embedded one."""

    @functools.wraps(command)
    def with_engine(
        *args: Any,
        engine: str,
        master: str | None,
        remote: str | None,
        stages: Path | str | None,
        keep_stages: bool,
        **given: Any,
    ) -> Any:
        asked = {"--master": master, "--remote": remote, "--stages": stages, "--keep-stages": keep_stages or None}
        found = None
        if engine == "spark":
            import hydragraph as hg

            found = hg.Spark(master=master, remote=remote, stages=stages, keep=keep_stages)
        elif useless := [name for name, value in asked.items() if value is not None]:
            raise click.UsageError(f"{useless[0]} goes with --engine spark")
        return command(*args, engine=found, **given)

    decorated: Any = with_engine
    options = (
        click.option(
            "--engine", type=click.Choice(("embedded", "spark")), default="embedded", show_default=True,
            help="Where the heavy steps run: here, or on a Spark cluster.",
        ),
        click.option("--master", metavar="URL", help="Spark master: local[4], spark://host:7077, yarn."),
        click.option("--remote", metavar="URL", help="Spark Connect server: sc://host:15002."),
        click.option(
            "--stages", type=PLACE, metavar="FOLDER",
            help="Where Spark's steps keep what they hand on; every executor must reach it; default CASE.stages.",
        ),
        click.option("--keep-stages", is_flag=True, help="Leave that folder there when the case is written."),
    )  # fmt: skip
    for option in reversed(options):
        decorated = option(decorated)
    done: Command = decorated
    return done


def share(ctx: click.Context, param: click.Parameter, given: str | None) -> float | None:
    """A share as 0.01 or 1%."""
    if given is None:
        return None
    try:
        found = float(given.removesuffix("%")) / (100 if given.endswith("%") else 1)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise click.BadParameter("a share is needed: 0.01 or 1%")
    return found
