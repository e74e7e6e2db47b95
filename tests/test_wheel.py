"""The wheel as a user gets it: built, looked into, installed without development tools, and run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

import pytest

import hydragraph

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]  # one worker: build and install once

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DEVELOPMENT = ("pytest", "hypothesis", "mypy", "ruff", "build", "hatchling")


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command that must succeed, away from this source tree."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV_", "HYDRAGRAPH"))}
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command[1:4]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built with the back end of this environment, so without any download."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Scripts folder of a new environment that holds the wheel and what it needs, in the tested versions."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", home, cwd=home.parent)
    pip = (home / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "--constraint", ROOT / "constraints.txt", wheel, cwd=home.parent)
    return home / "bin"


def test_the_wheel_holds_every_source_file_and_nothing_else(wheel: Path) -> None:
    written = {
        path.relative_to(ROOT / root).as_posix()
        for root in ("graphs", "cli")
        for path in (ROOT / root).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = set(zipfile.ZipFile(wheel).namelist())
    about = f"hydragraph-{hydragraph.__version__}.dist-info"

    assert {name for name in held if not name.startswith(about)} == written
    assert {"hydragraph/py.typed", "hydragraph_cli/py.typed"} <= held
    assert any(name.startswith("hydragraph/report/templates/") and name.endswith(".html") for name in held)
    assert f"{about}/licenses/LICENSE" in held


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    about = f"hydragraph-{hydragraph.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as files:
        metadata = message_from_bytes(files.read(f"{about}/METADATA"))
        scripts = files.read(f"{about}/entry_points.txt").decode()
        licence = files.read(f"{about}/licenses/LICENSE").decode()

    assert metadata["Name"] == "hydragraph"
    assert metadata["Version"] == hydragraph.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert len(needed) == len(PROJECT["dependencies"])
    assert "hydragraph = hydragraph_cli.main:main" in scripts
    assert "Apache License" in licence
    assert "Version 2.0, January 2004" in licence


def test_the_installed_command_line_works_without_development_tools(installed: Path, tmp_path: Path) -> None:
    packages = {p["name"].lower() for p in json.loads(run(installed / "pip", "list", "--format=json", cwd=tmp_path))}

    assert "hydragraph" in packages
    assert not packages & set(DEVELOPMENT)
    run(installed / "pip", "check", cwd=tmp_path)
    assert hydragraph.__version__ in run(installed / "hydragraph", "--version", cwd=tmp_path)
    assert "analyze" in run(installed / "hydragraph", "--help", cwd=tmp_path)


def test_the_installed_demo_finds_leads_and_writes_a_report(installed: Path, tmp_path: Path) -> None:
    said = run(installed / "hydragraph", "demo", "demo", cwd=tmp_path)

    assert "coordinated" in said
    (report,) = (tmp_path / "demo").rglob("report.html")
    (manifest,) = (tmp_path / "demo").rglob("manifest.json")
    assert report.read_text("utf-8").lstrip().lower().startswith("<!doctype html>")
    assert json.loads(manifest.read_text("utf-8"))["version"] == hydragraph.__version__
