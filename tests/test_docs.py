"""The documentation says what is: transcripts run again, parts made from the code, links, commands and names exist."""

from __future__ import annotations

import importlib
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import make_docs
from docs_made import COMMANDS, LIBRARY, ROOT, every_command, understand
from hydragraph.identifiers import KINDS
from hydragraph.signals import SIGNALS
from hydragraph.worlds.scenarios import INNOCENTS, SCENARIOS
from make_docs import DOCUMENTS, UNWRITTEN, rendered, with_parts, with_runs, workspace

pytestmark = pytest.mark.xdist_group("docs")  # one worker: one demo

LARGEST_PICTURE = 300_000
ALL = (*DOCUMENTS, "CHANGELOG.md")


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder after `make demo`, which every document gets a copy of."""
    with workspace(tmp_path_factory.mktemp("made")) as folder:
        yield folder


# The documents as they are


@pytest.mark.parametrize("name", DOCUMENTS)
def test_parts_and_transcripts_are_as_the_code_makes_them(name: str, made: Path, tmp_path: Path) -> None:
    """Fails after a change that shows: `make docs` brings the documents up to date."""
    assert text_of(name) == rendered(name, made, tmp_path / "run")


def test_the_demo_of_the_documents_is_that_of_make_demo() -> None:
    assert f"hydragraph {shlex.join(make_docs.DEMO)}" in text_of("Makefile")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_transcript_says_how_it_is_made(name: str) -> None:
    unmarked = [
        f["text"] for f in make_docs.FENCED.finditer(text_of(name)) if f["language"] == "console" and not f["run"]
    ]

    assert unmarked == []


def test_every_signal_has_an_example() -> None:
    text = text_of("docs/reading-a-report.md")
    notes = dict(make_docs.NOTE.findall(text))

    assert list(notes) == list(SIGNALS)
    assert [name for name, note in notes.items() if UNWRITTEN in note or "Example:" not in note] == []


def test_what_people_stumble_over_is_said_so() -> None:
    table = text_of("docs/getting-started.md").partition("What people stumble over:")[2]
    said = re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)
    code = " ".join(path.read_text("utf-8") for path in LIBRARY.rglob("*.py"))

    assert len(said) == table.count("\n| ") - 1  # the head has none
    assert [words for words in said if words not in code] == []


def test_every_kind_scenario_and_group_is_named() -> None:
    """The tables come from the registries; this holds them against the registries once more, by another way."""
    kinds, worlds = text_of("docs/preparing-data.md"), text_of("docs/worlds.md")

    assert [name for name in KINDS if f"| `{name}` |" not in kinds] == []
    assert [name for name in (*SCENARIOS, *INNOCENTS) if f"| `{name}` |" not in worlds] == []


def test_every_module_is_in_the_architecture_and_the_other_way_round() -> None:
    named = set(re.findall(r"^ *- `([\w/]+\.py|\w+/)`", text_of("docs/architecture.md"), re.MULTILINE))
    there = {
        path.relative_to(folder).as_posix()
        for folder in (LIBRARY, COMMANDS)
        for path in folder.rglob("*.py")
        if path.name != "__init__.py" or path.parent == folder
    }
    packages = {f"{p.parent.name}/" for f in (LIBRARY, COMMANDS) for p in f.glob("*/__init__.py")}

    assert len(there) > 50
    assert named == there | packages


def test_pictures_are_there_and_small() -> None:
    shown = {path for name in ALL for path in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text_of(name))}
    figures = sorted((ROOT / "docs" / "figures").iterdir())

    assert {Path(path).name for path in shown} == {path.name for path in figures}
    for path in figures:
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert path.stat().st_size < LARGEST_PICTURE


# Links, commands and names


def anchors(text: str) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def prose(text: str) -> str:
    """`text` without fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", ALL)
def test_links_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", prose(text_of(name)))
    lost = []
    for link in links:
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        if not target.is_file() or (anchor and anchor not in anchors(target.read_text("utf-8"))):
            lost.append(link)

    assert lost == []


def test_every_page_is_reached_from_the_readme() -> None:
    readme = text_of("README.md")

    assert [name for name in ALL if name != "README.md" and f"({name})" not in readme] == []


@pytest.mark.parametrize("name", ALL)
def test_files_that_are_named_exist(name: str) -> None:
    folders = "graphs|cli|tests|docs|fixtures|benchmarks|notebooks"
    named = re.findall(rf"`((?:{folders})/[\w./-]*)`", prose(text_of(name)))

    assert [path for path in named if not (ROOT / path).exists()] == []


def command_lines(text: str) -> list[str]:
    """Lines of code that call the command, and calls in the middle of a sentence."""
    lines = re.findall(r"^(?: {4}|\$ )(hydragraph \S.*)$", text, re.MULTILINE)
    return [*lines, *re.findall(r"`(hydragraph \S[^`]*)`", prose(text).replace("\n", " "))]


@pytest.mark.parametrize("name", ALL)
def test_commands_and_their_options_exist(name: str) -> None:
    wrong = []
    for line in command_lines(text_of(name)):
        words = list(
            itertools.takewhile(lambda word: word not in ("<", ">", "|"), shlex.split(line, comments=True)[1:])
        )
        if words[0] in ("...", "COMMAND", "--help"):
            continue
        known = dict(every_command())
        try:
            name = " ".join(words[:2]) if " ".join(words[:2]) in known else words[0]
            rest = words[len(name.split()) :]
            with CliRunner().isolation(input="acct-1\n"):  # `-` is read at once
                if rest:
                    understand(name, rest)
        except (KeyError, click.UsageError) as error:
            wrong.append(f"{line}: {error}")

    assert wrong == []


@pytest.mark.parametrize("name", ALL)
def test_options_in_sentences_exist(name: str) -> None:
    options = {"--help"}
    for _, command in every_command():
        options |= {o for p in command.params for o in p.opts}
    named = re.findall(r"`(--[a-z][a-z0-9-]+)", prose(text_of(name)))

    assert sorted(set(named) - options) == []


@pytest.mark.parametrize("name", ALL)
def test_names_of_the_library_exist(name: str) -> None:
    """`module.name` in a sentence, where there is such a module, and `hg.name` and `case.name` anywhere in code."""
    import hydragraph
    from hydragraph.case import Case

    text = text_of(name)
    modules = {p.stem for p in LIBRARY.iterdir()} - {"case", "__init__", "__pycache__"}
    lost = [
        f"{module}.{attribute}"
        for module, attribute in re.findall(r"`([a-z_]+)\.(\w+)(?:\([^`]*)?`", text)
        if module in modules
        and attribute not in ("py", "html", "parquet", "ndjson", "txt")
        and not hasattr(importlib.import_module(f"hydragraph.{module}"), attribute)
    ]
    lost += [f"hg.{a}" for a in re.findall(r"\bhg\.(\w+)", text) if a not in hydragraph.__all__]
    lost += [
        f"case.{a}" for a in re.findall(r"\bcase\.(\w+)\b", text) if a not in ("md", "py") and not hasattr(Case, a)
    ]

    assert lost == []


@pytest.mark.parametrize("name", ALL)
def test_no_path_of_one_machine(name: str) -> None:
    assert re.findall(r"(?<![\w.])/(?:home|root|work|usr|Users)/\S+", text_of(name)) == []


# The maker itself, on texts that a reader can hold in the head


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    return tmp_path


def test_a_part_is_replaced_and_the_rest_stays() -> None:
    stale = "before\n<!-- made: refused -->\nold\n<!-- /made -->\nafter\n"
    fresh = with_parts(stale)

    assert fresh.startswith("before\n<!-- made: refused -->\n`age`, ")
    assert fresh.endswith(".\n<!-- /made -->\nafter\n")
    assert with_parts(fresh) == fresh


def test_an_unknown_part_is_an_error() -> None:
    with pytest.raises(SystemExit, match="no such part"):
        with_parts("<!-- made: nothing -->\n<!-- /made -->")


def test_a_constant_gets_its_value() -> None:
    from hydragraph.assess import SMALLEST_LEAD

    assert with_parts("at least `assess.SMALLEST_LEAD` (0) accounts") == (
        f"at least `assess.SMALLEST_LEAD` ({SMALLEST_LEAD}) accounts"
    )


def test_a_constant_that_is_gone_is_an_error() -> None:
    with pytest.raises(SystemExit, match="no such constant"):
        with_parts("`assess.NOTHING` (0)")


def test_notes_stay_with_their_signal_and_new_signals_ask_for_one() -> None:
    first, second, *_ = SIGNALS
    old = (
        "<!-- signals -->\n"
        "<!-- made: signal gone -->\n<!-- /made -->\n\nExample: of a signal that is no more.\n\n"
        f"<!-- made: signal {second} -->\n<!-- /made -->\n\nExample: two of two.\n\n"
        "<!-- /signals -->\n"
    )
    new = with_parts(old)
    notes = dict(make_docs.NOTE.findall(new))

    assert list(notes) == list(SIGNALS)
    assert "no more" not in new
    assert "Example: two of two." in notes[second]
    assert UNWRITTEN in notes[first]


def test_a_transcript_is_what_the_command_prints(empty: Path) -> None:
    text = "<!-- run\nhydragraph --version\n-->\n```console\nold\n```\n"
    version = importlib.import_module("hydragraph").__version__

    assert with_runs(text, empty) == (
        f"<!-- run\nhydragraph --version\n-->\n```console\n$ hydragraph --version\nhydragraph {version}\n```\n"
    )


def test_a_transcript_shows_refusals_as_on_a_terminal(empty: Path) -> None:
    text = "<!-- run\nhydragraph check nowhere\n-->\n```console\n```\n"

    assert "$ hydragraph check nowhere\nhydragraph: source nowhere: no such file or folder\n" in with_runs(text, empty)


def test_a_pipe_hands_stdout_on_and_keeps_what_is_said(empty: Path) -> None:
    text = "<!-- run\nprintf 'b\\na\\n' | sort | head -n 1\nhydragraph check nowhere | wc -l\n-->\n```console\n```\n"
    made = with_runs(text, empty)

    assert "| head -n 1\na\n" in made
    assert "| wc -l\nhydragraph: source nowhere: no such file or folder\n0\n" in made


def test_python_keeps_its_lines_and_gets_its_output(empty: Path) -> None:
    text = "```pycon\n>>> n = 20\n>>> for i in (1, 2):\n...     print(i + n)\nold\n>>> n\n```\n"

    assert with_runs(text, empty) == (
        "```pycon\n>>> n = 20\n>>> for i in (1, 2):\n...     print(i + n)\n21\n22\n>>> n\n20\n```\n"
    )


def test_python_that_fails_is_an_error(empty: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        with_runs("```python\n1 / 0\n```\n", empty)


def test_a_cluster_that_is_asked_for_needs_a_case(empty: Path) -> None:
    with pytest.raises(SystemExit, match="no case is named"):
        with_runs("<!-- run\nhydragraph show nowhere {lead}\n-->\n```console\n```\n", empty)
