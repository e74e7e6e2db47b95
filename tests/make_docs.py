"""Makes the generated parts, transcripts and pictures of the documentation again: `make docs`.

    <!-- made: kinds -->          a part made from the code, up to <!-- /made -->: see docs_made.PARTS
    <!-- run                      commands, one a line, up to -->; the ```console block below is what they print.
    hydragraph show demo/case {lead} --limit 3
    -->
    ```pycon                      the lines after >>> and ... stay, what they print is made
    `ties.PAIR_BUDGET` (40)       the value of a constant

{lead} is the first cluster of the case named before it, {member} the strongest account of its core, {other} the weakest,
{outside} the first account in no cluster. {confirmed} is the first cluster that somebody confirmed, {closed} and {successor}
are the latest replacement in it. Commands and Python run in a folder that holds fixtures/ and demo/, as after
`make demo` at the top of a clone. Every document starts with such a folder of its own, and its blocks run one after the
other.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from docs_made import PARTS, ROOT, number
from hydragraph import open_case
from hydragraph.signals import SIGNALS
from hydragraph_cli.main import cli

DOCUMENTS = ("README.md", "CONTRIBUTING.md", *sorted(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")))
DEMO = ("demo", "demo", "--force")
"""Arguments of the demo as `make demo` runs it."""
UNWRITTEN = "Example: to be written."

MADE = re.compile(r"<!-- made: (?P<name>[a-z-]+)(?: (?P<argument>[^ ]+))? -->\n.*?<!-- /made -->", re.DOTALL)
SIGNAL_LIST = re.compile(r"(?<=<!-- signals -->\n).*?(?=<!-- /signals -->)", re.DOTALL)
NOTE = re.compile(r"<!-- made: signal (\w+) -->.*?<!-- /made -->\n(.*?)(?=<!-- made|\Z)", re.DOTALL)
FENCED = re.compile(
    r"(?:<!-- run\n(?P<run>.*?)\n-->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
CONSTANT = re.compile(r"`(?P<module>[a-z_]+)\.(?P<name>_?[A-Z][A-Z0-9_]*)` \((?P<value>[0-9.,e-]+)\)")


# What needs no run


def with_parts(text: str) -> str:
    """`text` with every made part as the code has it now."""
    text = SIGNAL_LIST.sub(lambda old: _signals(old[0]), text)
    text = MADE.sub(_part, text)
    return CONSTANT.sub(_constant, text)


def _signals(old: str) -> str:
    """One part a signal in the order of SIGNALS; what was written below a part stays below it."""
    notes = dict(NOTE.findall(old))
    return "".join(
        f"<!-- made: signal {name} -->\n<!-- /made -->\n{notes.get(name, f'{chr(10)}{UNWRITTEN}{chr(10)}{chr(10)}')}"
        for name in SIGNALS
    )


def _part(found: re.Match[str]) -> str:
    head = found[0].split("\n", 1)[0]
    if found["name"] not in PARTS:
        raise SystemExit(f"{head}: no such part; known are {', '.join(PARTS)}")
    made = PARTS[found["name"]](*([found["argument"]] if found["argument"] else []))
    return f"{head}\n{made}\n<!-- /made -->"


def _constant(found: re.Match[str]) -> str:
    module = importlib.import_module(f"hydragraph.{found['module']}")
    if not hasattr(module, found["name"]):
        raise SystemExit(f"{found[0]}: {found['module']} has no such constant any more; mend the sentence")
    return f"`{found['module']}.{found['name']}` ({number(getattr(module, found['name']))})"


# What is run


@contextlib.contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """A folder with fixtures/ and demo/, made once; `at` gives each document its own copy."""
    shutil.copytree(ROOT / "fixtures" / "foreign", folder / "fixtures" / "foreign")
    with inside(folder):
        printed = command(shlex.join(("hydragraph", *DEMO)))
        if not (folder / "demo" / "case").is_dir():
            raise SystemExit(f"the demo failed: {printed}")
    yield folder


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in `folder`, in a terminal of 80 columns without colours."""
    held = {name: os.environ.get(name) for name in ("COLUMNS", "NO_COLOR")}
    before = Path.cwd()
    os.environ.update(COLUMNS="80", NO_COLOR="1")
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        for name, value in held.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def command(line: str) -> str:
    """What a command, or several with a pipe between them, prints: stdout and stderr as on a terminal."""
    said, printed, piped = "", "", None
    for stage in line.split(" | "):
        words = shlex.split(stage)
        if words[0] == "hydragraph":
            done = CliRunner().invoke(cli, words[1:], input=piped, prog_name="hydragraph")
            if done.exception is not None and not isinstance(done.exception, SystemExit):
                raise done.exception
            printed, piped, aside = said + done.output, done.stdout, done.stderr
        else:
            piped = subprocess.run(stage, shell=True, check=True, input=piped, capture_output=True, text=True).stdout
            printed, aside = said + piped, ""
        said += aside
    return printed


def filled(line: str) -> str:
    """`line` with {lead}, {member} and the other names in place."""
    if "{" not in line:
        return line
    words = shlex.split(line)
    cases = [w for w in words if (Path(w) / "manifest.json").is_file()]
    if not cases:
        raise SystemExit(f"{line}: no case is named before the cluster")
    case = open_case(cases[0])
    if case.clusters.is_empty():
        raise SystemExit(f"{line}: the case has no cluster")
    lead = case.cluster(case.clusters["cluster_id"][0])
    core_first = (lead.accounts["membership"] != "core", "bits", "account_id")
    members = lead.accounts.sort(*core_first, descending=[False, True, False], nulls_last=True)["account_id"]
    alone = case.accounts.filter(case.accounts["cluster_id"].is_null())["account_id"].sort()
    names = {"lead": lead.id, "member": members[0], "other": members[-1], "outside": next(iter(alone), "nobody")}
    for confirmed in case.clusters.filter(review_state="confirmed")["cluster_id"].head(1):
        names["confirmed"] = confirmed
        closed = case.accounts.select(parent="account_id", closed="closed_at")
        latest = case.cluster(confirmed).lineage.join(closed, on="parent").sort("closed", "parent").tail(1)
        names |= {"closed": latest["parent"].item(), "successor": latest["child"].item()} if latest.height else {}
    return line.format(**names)


def with_runs(text: str, folder: Path) -> str:
    """`text` with every transcript as it is now; plain ```python blocks are run as well. Works in `folder`."""
    names: dict[str, Any] = {"__name__": "__main__"}

    def made(found: re.Match[str]) -> str:
        if found["run"]:
            lines = [filled(line) for line in found["run"].split("\n")]
            new = "\n".join(f"$ {line}\n{command(line).rstrip()}".rstrip() + "\n" for line in lines)
            return f"<!-- run\n{found['run']}\n-->\n```console\n{new}```"
        if found["language"] == "pycon":
            return f"```pycon\n{_python(found['text'], names)}```"
        if found["language"] == "python":
            exec(compile(found["text"], "documentation", "exec"), names)
        return found[0]

    with inside(folder):
        return FENCED.sub(made, text)


def _python(text: str, names: dict[str, Any]) -> str:
    out = []
    for example in doctest.DocTestParser().get_examples(text):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(example.source, "documentation", "single"), names)
        first, *more = example.source.rstrip("\n").split("\n")
        out.append("\n".join([f">>> {first}", *(f"... {line}" for line in more)]) + "\n" + printed.getvalue())
    return "".join(out)


def rendered(name: str, made: Path, folder: Path) -> str:
    """One document as it should be. made: the folder of `workspace`; folder: where this document's blocks run."""
    shutil.copytree(made, folder, dirs_exist_ok=True)
    return with_runs(with_parts((ROOT / name).read_text("utf-8")), folder)


# Pictures


def pictures(made: Path, into: Path) -> None:
    """cluster.png: the strongest lead of the demo; lives.png: the one with most replacements; report.png: the head of the
    report, if Chromium is here."""
    case = open_case(made / "demo" / "case")
    lead = case.cluster(case.clusters["cluster_id"][0])
    lead.plot().savefig(into / "cluster.png", dpi=100)
    regrown = case.regrowth().clusters.sort("replaced", "cluster_id", descending=[True, False])
    case.cluster(regrown["cluster_id"][0]).plot_lives().savefig(into / "lives.png")
    browser = shutil.which("chromium")
    if browser is None:
        print("no chromium: docs/figures/report.png stays as it is", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as profile:
        words: Mapping[str, str] = {
            "user-data-dir": profile, "window-size": "1100,1180", "screenshot": str(into / "report.png")
        }  # fmt: skip
        options = [f"--{name}={value}" for name, value in words.items()]
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        report = (case.path / "report.html").resolve().as_uri()
        subprocess.run([browser, *flags, *options, report], check=True, capture_output=True)


def main() -> None:
    """Bring every document and picture up to date; say which changed."""
    with tempfile.TemporaryDirectory() as scratch, workspace(Path(scratch) / "made") as made:
        for name in DOCUMENTS:
            old = (ROOT / name).read_text("utf-8")
            new = rendered(name, made, Path(scratch) / name.replace("/", "-"))
            if new != old:
                (ROOT / name).write_text(new, "utf-8")
                print(f"written: {name}")
        pictures(made, ROOT / "docs" / "figures")


if __name__ == "__main__":
    main()
