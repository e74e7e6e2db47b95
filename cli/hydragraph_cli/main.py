"""The entry point: which commands there are, and how every kind of failure ends."""

from __future__ import annotations

import importlib
import io
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import click

from hydragraph import __version__
from hydragraph.errors import HydragraphError, InputRefused
from hydragraph_cli.options import talk_options
from hydragraph_cli.talk import Talk, discard

FAILED, REFUSED, INTERRUPTED = 1, 3, 130

COMMANDS = {
    "demo": "hydragraph_cli.commands.demo",
    "analyze": "hydragraph_cli.commands.analyze",
    "check": "hydragraph_cli.commands.check",
    "config": "hydragraph_cli.commands.config",
    "clusters": "hydragraph_cli.commands.clusters",
    "show": "hydragraph_cli.commands.show",
    "account": "hydragraph_cli.commands.account",
    "path": "hydragraph_cli.commands.path",
    "expand": "hydragraph_cli.commands.expand",
    "lineage": "hydragraph_cli.commands.lineage",
    "takedown": "hydragraph_cli.commands.takedown",
    "decide": "hydragraph_cli.commands.decide",
    "diff": "hydragraph_cli.commands.diff",
    "watch": "hydragraph_cli.commands.watch",
    "export": "hydragraph_cli.commands.export",
    "report": "hydragraph_cli.commands.report",
    "reasons": "hydragraph_cli.commands.reasons",
    "simulate": "hydragraph_cli.commands.simulate",
    "evaluate": "hydragraph_cli.commands.evaluate",
    "keygen": "hydragraph_cli.commands.keygen",
    "reveal": "hydragraph_cli.commands.reveal",
}
"""Name of a command -> the module that holds it. In the order in which people meet them, which `--help` keeps."""


class Commands(click.Group):
    """A group that imports a command when it is asked for, and ends every failure in a sentence and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now; None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name]).command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an interrupt becomes an abort here, before click prints an empty line for it."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.Abort from None

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """As click's, with this tool's messages and exit codes: 0 done, 1 failed, 2 usage, 3 input refused."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode, **extra)
        talk = extra.setdefault("obj", Talk())
        try:
            code = super().main(args, prog_name, complete_var, False, **extra)
        except click.UsageError as error:
            shown = io.StringIO()
            error.show(file=shown)
            talk.always(shown.getvalue().rstrip("\n"))
            code = error.exit_code
        except click.ClickException as error:
            talk.always(f"hydragraph: {error.message}")
            code = error.exit_code
        except click.Abort:
            talk.always("hydragraph: interrupted")
            code = INTERRUPTED
        except HydragraphError as error:
            talk.always(f"hydragraph: {error}")
            code = REFUSED if isinstance(error, InputRefused) else FAILED
        except (SystemExit, GeneratorExit):
            raise
        except OSError as error:
            talk.always(f"hydragraph: a file cannot be read or written: {error.strerror or type(error).__name__}")
            _explain(error, talk)
            code = FAILED
        except MemoryError as error:
            talk.always(
                "hydragraph: out of memory; nothing was changed: close other programs, or give fewer tables or days"
            )
            _explain(error, talk)
            code = FAILED
        except BaseException as error:  # polars panics are no Exception
            talk.always(f"hydragraph: stopped by an unforeseen {type(error).__name__}{_hint(talk)}")
            _explain(error, talk)
            code = FAILED
        sys.exit(code or 0)


def _hint(talk: Talk) -> str:
    return "" if talk.verbose else "; --verbose says where"


def _explain(error: BaseException, talk: Talk) -> None:
    """With --verbose, the way the error came. Its own text is left out: it may quote the input."""
    link: BaseException | None = error
    while talk.verbose and link is not None:
        talk.always(f"{type(link).__name__}, raised at (most recent call last):")
        talk.always("".join(traceback.format_tb(link.__traceback__)).rstrip("\n"))
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


@click.group("hydragraph", cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hydragraph", message="%(prog)s %(version)s")
@talk_options
def cli() -> None:
    """Find clusters of coordinated accounts, and say why.

    \b
    Try it on made-up data:   hydragraph demo
    On your own tables:       hydragraph analyze data/ -o case
    Then:                     hydragraph clusters case

    Data goes to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 usage, 3 input refused.
    """


def main() -> None:
    """Run the command line. Warnings of libraries, and what they write past Python, are for developers: shown only with
    `python -W`."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        _keep_stderr()
    cli.main(prog_name="hydragraph")


def _keep_stderr() -> None:
    """Let nobody but Python write to stderr: polars says there where a damaged file stopped it, and perhaps what did."""
    with suppress(OSError, ValueError, AttributeError):  # closed
        own = os.dup(sys.stderr.fileno())
        discard(sys.stderr)
        sys.stderr = open(own, "w", 1, sys.stderr.encoding, "backslashreplace")  # noqa: PTH123, SIM115 -- as long as Python
