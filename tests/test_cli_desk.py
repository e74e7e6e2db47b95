"""What all commands have in common: examples that work, completion in shells, - for stdin, and what --quiet leaves."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

import hydragraph as hg
from cli_case import make_case, make_empty_case
from docs_made import every_command, understand
from hydragraph.schema import EVENTS
from hydragraph_cli.main import COMMANDS, cli
from hydragraph_cli.options import ClusterId
from hydragraph_cli.talk import Talk

EVERY = dict(every_command())


def invoke(*args: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(cli, args, input=stdin)


def ok(*args: str, stdin: str | bytes | None = None) -> Result:
    result = invoke(*args, stdin=stdin)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def case(tmp_path: Path) -> str:
    return str(make_case(tmp_path / "case").path)


# Examples


def examples(name: str) -> list[str]:
    """The lines below Example in the help of a command."""
    _, _, below = invoke(*name.split(), "--help").stdout.partition("  Example:\n")
    return [line.strip() for line in itertools.takewhile(str.strip, below.splitlines())]


@pytest.mark.parametrize("name", EVERY)
def test_every_example_is_a_command_that_is_understood(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = examples(name)
    whole = [line for line in lines if line.startswith(f"hydragraph {name} ") or line == f"hydragraph {name}"]

    assert whole
    for line in lines:
        words = list(itertools.takewhile(lambda word: word not in ("<", ">", "|"), shlex.split(line)))[1:]
        of = " ".join(words[:2]) if " ".join(words[:2]) in EVERY else words[0]
        with CliRunner().isolation(input="acct-1\n"):
            understand(of, words[len(of.split()) :])  # raises for what it does not know


def test_the_examples_show_the_options_that_a_command_is_for() -> None:
    """An example without a single option or argument shows nothing; demo is for that."""
    bare = [name for name in EVERY if not any(len(line.split()) > len(name.split()) + 1 for line in examples(name))]

    assert bare == []


# Completion


@pytest.mark.parametrize(("shell", "registers"), [("bash", "complete "), ("zsh", "compdef "), ("fish", "complete ")])
def test_every_shell_gets_a_script(shell: str, registers: str) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "_HYDRAGRAPH_COMPLETE": f"{shell}_source"}
    done = subprocess.run([sys.executable, "-m", "hydragraph_cli"], capture_output=True, env=env, text=True, timeout=60)

    assert done.returncode == 0
    assert re.search(rf"^ *{registers}.*\bhydragraph\b", done.stdout, re.MULTILINE)
    assert f"_HYDRAGRAPH_COMPLETE={shell}_complete" in done.stdout


def completed(*words: str) -> list[str]:
    """What a shell offers for the last of `words`."""
    found = ShellComplete(cli, {}, "hydragraph", "_HYDRAGRAPH_COMPLETE").get_completions(list(words[:-1]), words[-1])
    return [item.value for item in found]


def test_words_out_of_lists_are_completed() -> None:
    assert completed("clusters", "case", "--assessment", "") == ["coordinated", "review", "explained"]
    assert completed("diff", "a", "b", "--event", "s") == [event for event in EVENTS if event in ("shrank", "split")]
    assert "graphml" in completed("export", "case", "--format", "gr")
    assert completed("simulate", "world", "--scenario", "ha") == ["hard"]
    assert completed("config", "s") == ["schema", "show"]
    assert completed("clusters", "case", "--form") == ["--format"]


def test_clusters_are_completed_from_the_case(case: str) -> None:
    for command in (["show", case], ["takedown", case], ["decide", case], ["lineage", case]):
        assert completed(*command, "c-") == ["c-one", "c-two"]
        assert completed(*command, "c-t") == ["c-two"]
        assert completed(*command, "x") == []
    for command in (["export", case], ["export", "--format", "gexf", case], ["report", case], ["watch", case, "new"]):
        assert completed(*command, "--cluster", "c-") == ["c-one", "c-two"]
        assert completed(*command, "--cluster", "c-t") == ["c-two"]


def test_no_case_no_clusters(tmp_path: Path) -> None:
    assert completed("show", str(tmp_path / "nowhere"), "c") == []
    assert completed("export", "--cluster", "c") == []
    context = click.Context(click.Command("x"))
    assert ClusterId().shell_complete(context, click.Option(["--cluster"]), "") == []


def test_a_hostile_id_is_not_offered_to_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_case(tmp_path / "case")
    evil = made.clusters.with_columns(cluster_id=made.clusters["cluster_id"] + "\x1b]52;c;x\x07")
    monkeypatch.setattr(hg, "open_case", lambda path: SimpleNamespace(clusters=evil))

    assert completed("show", str(made.path), "c") == []


# stdin


def test_a_note_from_stdin(case: str) -> None:
    ok("decide", case, "c-one", "--as", "confirmed", "--by", "ann", "--note", "-", stdin="the same card\nas in May\n")
    ok("decide", case, "c-two", "--as", "innocent", "--by", "ann", "--note", "given here", stdin="not this")

    assert hg.open_case(case).decisions["note"].to_list() == ["the same card\nas in May", "given here"]


def test_a_note_that_is_no_text_is_wrong_usage(case: str) -> None:
    result = invoke("decide", case, "c-one", "--as", "confirmed", "--note", "-", stdin=b"\xff\xfe")

    assert (result.exit_code, hg.open_case(case).decisions.height) == (2, 0)


LABELS = {
    "csv": "account_id,label\nann,1\nbob,1\ncy,0\ndee,0\n",
    "with a mark": "\ufeffaccount_id,label\r\nann,1\r\nbob,1\r\ncy,0\r\ndee,0\r\n",
    "ndjson": '\ufeff\n{"account_id": "ann", "label": 1}\n{"account_id": "bob", "label": 1}\n'
    '{"account_id": "cy", "label": 0}\n{"account_id": "dee", "label": 0}\n',
}


@pytest.mark.parametrize("form", LABELS)
def test_labels_from_stdin_are_labels_from_a_file(form: str, case: str, tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text(LABELS["csv"], "utf-8")
    options = ("--resamples", "0", "--format", "csv", "--columns", "measure,of,value")

    from_stdin = ok("evaluate", case, "-", *options, stdin=LABELS[form]).stdout
    assert from_stdin == ok("evaluate", case, str(file), *options).stdout
    assert "precision,coordinated,1.0\n" in from_stdin  # ann and bob are the only ones accused, and rightly


@pytest.mark.parametrize("stdin", ["", "nothing,known\n1,2\n"])
def test_labels_from_stdin_that_are_none_are_refused(stdin: str, case: str) -> None:
    result = invoke("evaluate", case, "-", stdin=stdin)

    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (3, "", 1)


# --quiet


@pytest.mark.parametrize("args", [("analyze", "data", "-o", "out"), ("demo",)])
def test_quiet_means_nothing_at_all_where_a_case_is_made(
    args: tuple[str, ...], case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for made in (hg.open_case(case), make_empty_case(tmp_path / "empty")):
        monkeypatch.setitem(vars(hg), args[0], lambda *given, made=made, **options: made)
        assert ok(*args).stdout
        for quiet in ((*args, "--quiet"), ("--quiet", *args)):
            assert ok(*quiet).output == ""


def test_quiet_means_nothing_at_all_where_something_is_kept_or_written(case: str, tmp_path: Path) -> None:
    for args in (
        ("decide", case, "c-one", "--as", "confirmed", "--by", "ann"),
        ("export", case, "--format", "csv", "-o", str(tmp_path / "csv")),
        ("report", case),
    ):
        assert ok(*args).output
        if args[0] == "export":
            args = (*args, "--force")
        assert ok(*args, "--quiet").output == ""


def test_quiet_leaves_what_was_asked_for(case: str) -> None:
    """A list is the answer itself: --quiet takes away what is said about it on stderr, and nothing else."""
    for args in (
        ("clusters", case), ("show", case, "c-one"), ("account", case, "ann"), ("path", case, "ann", "bob"),
        ("expand", case, "ann"), ("lineage", case), ("takedown", case, "c-one"), ("diff", case, case),
        ("config", "show"), ("config", "template"), ("config", "schema"),
    ):  # fmt: skip
        loud, quiet = ok(*args), ok(*args, "--quiet")
        assert quiet.stdout == loud.stdout != ""
        assert quiet.stderr == ""


def test_every_command_can_be_quiet_and_verbose() -> None:
    for name, command in EVERY.items():
        if not isinstance(command, click.Group):
            flags = {flag for parameter in command.params for flag in parameter.opts}
            assert {"--quiet", "--verbose"} <= flags, name
    assert set(COMMANDS) <= set(EVERY)


# Colours


@pytest.mark.parametrize("no_color", ["", "1"])
def test_the_line_of_progress_has_no_colour_with_no_color(
    no_color: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Talk().progress() as started:
        started("evidence")
    shown = capsys.readouterr().err

    assert "evidence" in shown
    assert bool(re.search(r"\x1b\[(?:\d+;)*[34]\d(?:;\d+)*m", shown)) == (not no_color)
