"""The software bill of materials: `make sbom`. CycloneDX 1.6 JSON of what an installation of hydragraph brings along.

It holds what is installed here: the package, its dependencies and theirs, with versions, licences as they state them, and
who needs whom. The same installation gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import re
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any

EXTRAS = ("duckdb", "postgresql", "delta")
"""Extras for users; `dev` is none of them."""

_CLASSIFIED = {
    "MIT License": "MIT", "BSD License": "BSD-3-Clause", "Apache Software License": "Apache-2.0",
    "Python Software Foundation License": "PSF-2.0", "3-Clause BSD License": "BSD-3-Clause",
}  # fmt: skip


def named(name: str) -> str:
    """The one spelling of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needs(name: str, extras: tuple[str, ...] = ()) -> list[str]:
    """What a distribution needs on this machine, sorted: its dependencies and those of some extras, if installed."""
    found = set()
    for line in metadata.distribution(name).requires or []:
        requirement, _, marker = line.partition(";")
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker)
        if extra and extra[1] not in extras:
            continue
        other = named(re.split(r"[<>=!~\[( ]", requirement.strip())[0])
        try:
            metadata.distribution(other)
        except metadata.PackageNotFoundError:
            continue  # for another machine
        found.add(other)
    return sorted(found)


def installed(extras: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """Every distribution that hydragraph brings along, and what each needs; hydragraph first, the others sorted."""
    found: dict[str, list[str]] = {}
    left = ["hydragraph"]
    while left:
        name = left.pop()
        if name not in found:
            found[name] = needs(name, extras if name == "hydragraph" else ())
            left += found[name]
    return {name: found[name] for name in ["hydragraph", *sorted(set(found) - {"hydragraph"})]}


def licence(name: str) -> str:
    """The licence a distribution states: an SPDX expression if it has one, else by its classifiers, else a short text of its
    own; 'unknown' without any."""
    stated = metadata.metadata(name)
    if expression := stated.get("License-Expression"):
        return str(expression)
    for classifier in stated.get_all("Classifier") or []:
        if classifier.startswith("License :: "):
            words = classifier.rpartition(" :: ")[2]
            return _CLASSIFIED.get(words, words)
    own = str(stated.get("License") or "").strip()
    return _CLASSIFIED.get(own, own) if own and "\n" not in own and len(own) < 60 else "unknown"


def bill(extras: tuple[str, ...] = ()) -> dict[str, Any]:
    """The bill of materials as CycloneDX 1.6 has it."""
    found = installed(extras)
    versions = {name: metadata.version(name) for name in found}
    refs = {name: f"pkg:pypi/{name}@{versions[name]}" for name in found}
    components = [
        {
            "type": "application" if name == "hydragraph" else "library", "bom-ref": refs[name], "name": name,
            "version": versions[name], "purl": refs[name], "licenses": [_licence(licence(name))],
        }
        for name in found
    ]  # fmt: skip
    serial = uuid.uuid5(uuid.NAMESPACE_URL, " ".join(refs.values()))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": components[0]},
        "components": components[1:],
        "dependencies": [{"ref": refs[name], "dependsOn": [refs[n] for n in needed]} for name, needed in found.items()],
    }


def _licence(stated: str) -> dict[str, Any]:
    if re.search(r" (?:AND|OR|WITH) ", stated):
        return {"expression": stated}
    plain = re.fullmatch(r"[A-Za-z0-9.+-]+", stated) and stated != "unknown"
    return {"license": {"id": stated} if plain else {"name": stated}}


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    made = bill(EXTRAS)
    out.write_text(json.dumps(made, indent=2) + "\n", "utf-8")
    print(f"{out}: hydragraph {metadata.version('hydragraph')} and {len(made['components'])} components")


if __name__ == "__main__":
    main()
