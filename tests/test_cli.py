"""The command line as a process: help, start-up cost, streams, failures and exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

import hydragraph as hg
from cli_case import make_empty_case
from hydragraph_cli import main
from hydragraph_cli.main import COMMANDS, cli

HEAVY = ("polars", "networkx", "matplotlib", "rich", "scipy", "numpy", "pydantic", "jinja2")


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **more}


def run(*args: str | bytes, **options: Any) -> subprocess.CompletedProcess[bytes]:
    options.setdefault("env", environment())
    return subprocess.run([sys.executable, "-m", "hydragraph_cli", *args], capture_output=True, timeout=60, **options)


def invoke(*args: str) -> Result:
    return CliRunner().invoke(cli, args)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make every command that opens a case fail in a given way."""

    def fail_with(error: BaseException) -> None:
        def open_case(path: Path) -> None:
            raise error

        monkeypatch.setattr(hg, "open_case", open_case)

    return fail_with


@pytest.fixture(scope="module")
def empty_case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_empty_case(tmp_path_factory.mktemp("cases") / "empty").path


# --- help and start-up


def test_version_and_help() -> None:
    assert run("--version").stdout.decode() == f"hydragraph {hg.__version__}\n"
    for flag in ("-h", "--help"):
        done = run(flag)
        assert done.returncode == 0
        assert all(name in done.stdout.decode() for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    for flag in ("-h", "--help"):
        result = invoke(name, flag)
        assert result.exit_code == 0
        assert f"hydragraph {name} " in result.stdout.split("Example")[1]
        assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_does_in_full(name: str) -> None:
    line = next(line for line in invoke("--help").stdout.splitlines() if line.startswith(f"  {name} "))
    assert line.endswith(".")
    assert not line.endswith("...")


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["analyze", "--help"], ["show", "--help"], ["nope"]])
def test_help_imports_nothing_heavy(args: list[str]) -> None:
    code = (
        "import sys\n"
        "from hydragraph_cli.main import main\n"
        f"sys.argv = ['hydragraph', *{args!r}]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print(*sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment(), timeout=60)
    assert done.stderr.decode().splitlines()[-1] == ""
    assert done.returncode == 0


def test_a_command_is_imported_when_it_is_asked_for() -> None:
    code = (
        "import sys, click\n"
        "from hydragraph_cli.main import cli\n"
        "cli.get_command(click.Context(cli), 'report')\n"
        "print(*(m for m in sys.modules if m.startswith('hydragraph_cli.commands.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment(), timeout=60)
    assert done.stdout.decode().split() == ["hydragraph_cli.commands.report"]


def test_every_module_of_commands_is_a_command() -> None:
    folder = Path(main.__file__).parent / "commands"
    modules = {f"hydragraph_cli.commands.{path.stem}" for path in folder.glob("*.py") if path.stem != "__init__"}
    assert modules == set(COMMANDS.values())
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        assert command.name == name


def test_shell_completion_names_the_commands() -> None:
    env = environment(_HYDRAGRAPH_COMPLETE="bash_complete", COMP_WORDS="hydragraph c", COMP_CWORD="1")
    assert run(env=env).stdout.decode().split() == ["plain,check", "plain,config", "plain,clusters"]


# --- exit codes


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["nope"],
        ["--nope"],
        ["clusters"],
        ["clusters", "case", "--format", "xml"],
        ["clusters", "case", "--min-score", "2"],
        ["clusters", "case", "--assessment", "fine"],
        ["clusters", "case", "--columns", ","],
        ["analyze", "-o", "case"],
        ["analyze", "data"],
        ["analyze", "data", "-o", "case", "--ipv4-prefix", "99"],
        ["analyze", "data", "-o", "case", "--max-rejects", "many"],
        ["analyze", "data", "-o", "case", "--max-rejects", "101%"],
        ["export", "case", "--format", "vhs", "-o", "x"],
        ["export", "case", "--format", "csv"],
        ["simulate", "world", "--accounts", "many"],
    ],
)
def test_wrong_usage_is_2(args: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Usage: " in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (hg.InputRefused("table events: column ip is missing"), 3, "table events: column ip is missing"),
        (hg.NotACase("not a case"), 1, "not a case"),
        (hg.UnknownName("no cluster has this id"), 1, "no cluster has this id"),
        (hg.CaseExists("a case is there already"), 1, "a case is there already"),
        (hg.HydragraphError("anything else"), 1, "anything else"),
        (PermissionError(13, "Permission denied", "/x"), 1, "a file cannot be read or written: Permission denied"),
        (KeyError("acct-secret"), 1, "stopped by an unforeseen KeyError; --verbose says where"),
        (MemoryError(), 1, "out of memory; nothing was changed: close other programs, or give fewer tables or days"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_a_failure_is_one_sentence(
    error: BaseException, code: int, sentence: str, failing: Callable[[BaseException], None]
) -> None:
    failing(error)
    result = invoke("clusters", "case")
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr == f"hydragraph: {sentence}\n"


def test_errors_are_said_in_spite_of_quiet(failing: Callable[[BaseException], None]) -> None:
    failing(hg.NotACase("not a case"))
    assert invoke("clusters", "case", "--quiet").stderr == "hydragraph: not a case\n"


@pytest.mark.parametrize("args", [["--verbose", "clusters", "case"], ["clusters", "case", "--verbose"]])
def test_verbose_says_where_but_never_what(args: list[str], failing: Callable[[BaseException], None]) -> None:
    try:
        try:
            raise KeyError("acct-secret")
        except KeyError as cause:
            raise ValueError("4111111111111111") from cause
    except ValueError as error:
        failing(error)
    result = invoke(*args)
    assert result.exit_code == 1
    assert result.stderr.startswith("hydragraph: stopped by an unforeseen ValueError\nValueError, raised at")
    assert "KeyError, raised at" in result.stderr
    assert 'main.py", line' in result.stderr
    shown = [line for line in result.stderr.splitlines() if not line.startswith("    ")]  # the rest is source code
    assert not any("secret" in line or "4111" in line for line in shown)


def test_errors_outside_exception_are_caught_too(failing: Callable[[BaseException], None]) -> None:
    class PanicException(BaseException):
        """As polars raises when its engine panics."""

    failing(PanicException("acct-secret"))
    result = invoke("clusters", "case")
    assert (result.exit_code, result.stderr) == (
        1,
        "hydragraph: stopped by an unforeseen PanicException; --verbose says where\n",
    )


def test_not_standalone_leaves_errors_to_the_caller(failing: Callable[[BaseException], None]) -> None:
    failing(hg.NotACase("not a case"))
    with pytest.raises(hg.NotACase):
        cli.main(["clusters", "case"], standalone_mode=False)


def test_a_missing_case_and_a_missing_source(tmp_path: Path) -> None:
    done = run("clusters", str(tmp_path / "none"))
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().startswith("hydragraph: not a case: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("evil", ["\x1b]52;c;ZXZpbA==\x07", "\x9b31m", "\u202eevil", "-\x1b[2J", "--\x9b=\u202e"])
@pytest.mark.parametrize("before", [[], ["clusters"], ["show", "nowhere"], ["clusters", "x", "--format"]])
def test_hostile_arguments_do_not_reach_the_terminal(before: list[str], evil: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, [*before, evil])
    assert result.exit_code in (1, 2)
    assert not set(result.output) & {"\x1b", "\x9b", "\x07", "\u202e"}


def test_arguments_that_are_not_text(empty_case: Path) -> None:
    done = run("show", str(empty_case), b"c-\xff\xfe")
    assert done.returncode == 2
    assert b"not valid UTF-8" in done.stderr
    assert b"\xff" not in done.stderr


# --- streams


def test_a_reader_that_goes_away_is_no_error(empty_case: Path) -> None:
    for args in (["clusters", str(empty_case)], ["clusters", str(empty_case), "--format", "json"], ["--help"]):
        reader, writer = os.pipe()
        os.close(reader)
        try:
            done = subprocess.run(
                [sys.executable, "-m", "hydragraph_cli", *args],
                stdout=writer, stderr=subprocess.PIPE, env=environment(), timeout=60,
            )  # fmt: skip
        finally:
            os.close(writer)
        assert b"Traceback" not in done.stderr
        assert b"Broken" not in done.stderr
        assert done.returncode == (1 if args == ["--help"] else 0)


def test_a_stderr_nobody_reads_is_no_error(empty_case: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "hydragraph_cli", "clusters", str(empty_case)],
            stdout=subprocess.PIPE, stderr=writer, env=environment(), timeout=60,
        )  # fmt: skip
    finally:
        os.close(writer)
    assert (done.returncode, done.stdout) == (0, b"No clusters: nothing was found.\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_one_sentence(empty_case: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "hydragraph_cli", "clusters", str(empty_case)],
            stdout=full, stderr=subprocess.PIPE, env=environment(), timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.decode() == "hydragraph: stdout cannot be written: No space left on device\n"


def test_a_closed_stdout_is_one_sentence(empty_case: Path) -> None:
    script = f'"{sys.executable}" -m hydragraph_cli clusters "$0" >&-'
    done = subprocess.run(["sh", "-c", script, str(empty_case)], capture_output=True, env=environment(), timeout=60)
    assert (done.returncode, done.stderr.decode()) == (1, "hydragraph: stdout is closed\n")


def test_interrupt_ends_with_130_and_one_line(tmp_path: Path) -> None:
    code = (
        "import time, hydragraph, hydragraph_cli.main as m\n"
        "def slow(path):\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
        "hydragraph.open_case = slow\n"
        "m.cli.main(['clusters', 'case'])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"hydragraph: interrupted\n")


def test_warnings_of_libraries_are_not_shown_to_users(empty_case: Path) -> None:
    code = (
        "import sys, warnings, hydragraph, hydragraph_cli.main as m\n"
        "real = hydragraph.open_case\n"
        "def noisy(path):\n"
        "    warnings.warn('acct-secret')\n"
        "    return real(path)\n"
        "hydragraph.open_case = noisy\n"
        f"sys.argv = ['hydragraph', 'clusters', {str(empty_case)!r}]\n"
        "m.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment(), timeout=60)
    assert (done.returncode, done.stderr.decode()) == (0, "no clusters\n")


def test_what_libraries_write_past_python_is_not_shown_to_users(empty_case: Path) -> None:
    """polars tells on stderr where it stopped, in lines of its own, and may quote what it stopped at."""
    code = (
        "import os, sys, hydragraph, hydragraph_cli.main as m\n"
        "real = hydragraph.open_case\n"
        "def noisy(path):\n"
        "    os.write(2, b'panicked at acct-secret')\n"
        "    return real(path)\n"
        "hydragraph.open_case = noisy\n"
        f"sys.argv = ['hydragraph', 'clusters', {str(empty_case)!r}]\n"
        "m.main()"
    )
    for options, said in ((), "no clusters\n"), (("-W", "default"), "panicked at acct-secretno clusters\n"):
        done = subprocess.run(
            [sys.executable, *options, "-c", code], capture_output=True, env=environment(), timeout=60
        )
        assert (done.returncode, done.stderr.decode()) == (0, said)
