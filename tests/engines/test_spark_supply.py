"""What the extra for Spark brings along is as free as the rest."""

from __future__ import annotations

import re
from importlib import metadata

import pytest

from make_sbom import licence, needs
from test_supply import MAY


@pytest.mark.essential
def test_every_licence_of_the_extra_for_spark_is_permissive() -> None:
    client = next(name for name in ("pyspark", "pyspark-client") if _is_installed(name))
    found: dict[str, str] = {}
    left = [client, "pyarrow", *needs(client, ("connect",))]
    while left:
        name = left.pop()
        if name not in found:
            found[name] = licence(name)
            left += needs(name)

    assert {"grpcio", "pandas", "pyarrow"} <= set(found)
    asked = {name: set(re.split(r" (?:AND|OR) |[()]", words)) - {""} for name, words in found.items()}
    assert {name: words for name, words in asked.items() if not words <= MAY} == {}


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True
