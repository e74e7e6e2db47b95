"""What an installation brings along: few distributions, none under the GPL, and a bill of materials that names them all; and
that nothing of it talks to anybody."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from make_sbom import EXTRAS, bill, installed, licence, named

ROOT = Path(__file__).parents[1]

MAY = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "HPND", "ISC", "MIT", "MIT-CMU", "PSF-2.0", "Unlicense",
    "Zlib",
}  # fmt: skip
"""Licences that ask for no more than to be named."""

MOST = 30
"""Distributions that the core brings along, itself among them."""


def test_every_licence_of_the_core_and_of_the_extras_is_permissive() -> None:
    stated = {name: licence(name) for name in installed(EXTRAS)}
    assert stated["hydragraph"] == "Apache-2.0"
    asked = {name: set(re.split(r" (?:AND|OR) |[()]", words)) - {""} for name, words in stated.items()}
    assert {name: words for name, words in asked.items() if not words <= MAY} == {}


def test_no_classifier_says_otherwise() -> None:
    from importlib import metadata

    said = {name: " ".join(metadata.metadata(name).get_all("Classifier") or []) for name in installed(EXTRAS)}
    assert [name for name, words in said.items() if re.search(r"\bL?A?GPL|General Public", words)] == []


def test_there_are_few() -> None:
    core = installed()
    assert len(core) <= MOST
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    assert sorted({re.split(r"[<>=]", one)[0] for one in declared}) == core["hydragraph"]


def test_every_one_is_pinned_to_a_tested_version() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {named(line.partition("==")[0]) for line in lines if "==" in line and not line.startswith("#")}
    assert set(installed(EXTRAS)) - {"hydragraph"} <= pinned


def test_the_bill_of_materials(tmp_path: Path) -> None:
    out = tmp_path / "sbom.json"
    subprocess.run([sys.executable, ROOT / "tests" / "make_sbom.py", out], check=True, capture_output=True)
    made = json.loads(out.read_text("utf-8"))
    assert made == bill(EXTRAS)
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", made["serialNumber"])
    assert [c["name"] for c in made["components"]] == list(installed(EXTRAS))[1:]
    refs = {c["bom-ref"] for c in [made["metadata"]["component"], *made["components"]]}
    assert {d["ref"] for d in made["dependencies"]} == refs
    assert all(set(d["dependsOn"]) <= refs for d in made["dependencies"])
    polars = next(c for c in made["components"] if c["name"] == "polars")
    assert polars["purl"] == f"pkg:pypi/polars@{polars['version']}"
    assert polars["licenses"] == [{"license": {"id": "MIT"}}]


# --- nobody is talked to

ALONE = """
import os, sys
from pathlib import Path

def hook(event, found):
    if event.startswith("socket.") and event != "socket.gethostname":
        raise SystemExit(f"asked for {event}")

def sockets(stage=""):
    for descriptor in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []:
        try:
            if os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:") and int(descriptor) > 2:
                raise SystemExit(f"holds a socket during {stage}")
        except FileNotFoundError:
            pass

sys.addaudithook(hook)
import hydragraph as hg
from hydragraph.exports import FORMATS
from hydragraph_cli.main import cli
from click.testing import CliRunner

folder = Path(sys.argv[1])
hg.simulate(folder / "world", accounts=300, seed=3, scenario="small")
case = hg.analyze(folder / "world", folder / "case", progress=sockets)
for form in FORMATS:
    hg.export(case, form, folder / form)
hg.report_text(case)
case.cluster(case.clusters["cluster_id"][0]).plot()
hg.watch(case, folder / "world", progress=sockets)
done = CliRunner().invoke(cli, ["clusters", str(folder / "case")])
sockets("the end")
print("alone", done.exit_code)
"""


def test_an_analysis_and_all_that_follows_opens_no_connection(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ALONE, tmp_path], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("alone 0", 0), done.stderr[-500:]


@pytest.mark.parametrize(
    "ask", ["socket.create_connection(('192.0.2.1', 80), 0.01)", "socket.getaddrinfo('example.org', 80)"]
)
def test_that_would_be_seen(tmp_path: Path, ask: str) -> None:
    code = ALONE.replace("import hydragraph as hg\n", f"import socket; {ask}\n")
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert "asked for socket." in done.stderr
    assert done.returncode == 1


def test_no_test_may_talk_to_other_machines() -> None:
    """conftest.py holds all tests to it."""
    with pytest.raises(PermissionError, match="no test talks to other machines"):
        socket.getaddrinfo("example.org", 80)
    with socket.socket() as one, pytest.raises(PermissionError):
        one.connect(("192.0.2.1", 80))
