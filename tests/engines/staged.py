"""The stages of the Spark engine as the embedded engine makes them: what a step starts from, and what it is held against."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from hydragraph.bipartite import BipartiteGraph
from hydragraph.engines.spark.stages import files_of
from hydragraph.evidence import Evidence
from hydragraph.links import read_links
from hydragraph.loaders import open_source
from hydragraph.settings import Settings
from hydragraph.ties import Ties

SETTINGS = Settings()


def read(source: Path) -> tuple[BipartiteGraph, pl.DataFrame, pl.DataFrame]:
    """Graph, requests and limits of a source, by the embedded engine."""
    return read_links(open_source(source, settings=SETTINGS), SETTINGS)


def frames(graph: BipartiteGraph, requests: pl.DataFrame, limits: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The stages accounts, identifiers, links, requests and limits."""
    numbered = {"accounts": ("account", graph.accounts), "identifiers": ("identifier", graph.identifiers)}
    found = {name: frame.with_row_index(code) for name, (code, frame) in numbered.items()}
    found |= {"links": graph.links, "requests": requests, "limits": limits}
    return {name: whole(frame) for name, frame in found.items()}


def whole(frame: pl.DataFrame) -> pl.DataFrame:
    """Times as microseconds, and every integer with 64 bits."""
    return frame.with_columns(pl.col(pl.Datetime).dt.epoch("us")).with_columns(
        pl.col(pl.UInt8, pl.UInt16, pl.UInt32, pl.Int32).cast(pl.Int64)
    )


def evidence_frames(graph: BipartiteGraph, evidence: Evidence) -> dict[str, pl.DataFrame]:
    """The stages weights, several, gaps and classes."""
    weights = pl.DataFrame(
        {
            "identifier": pl.int_range(graph.identifiers.height, eager=True),
            "degree": graph.degree,
            "logit": evidence.logit,
            "bits": evidence.bits,
            "further": evidence.further,
            "woven": evidence.woven,
        }
    )
    gaps = [pl.DataFrame({"kind": graph.kinds[k], "gap": gap}) for k, gap in evidence.gaps.items()]
    several = pl.DataFrame({"account": pl.Series(evidence.several).arg_true()})
    return {
        "weights": weights,
        "several": whole(several),
        "gaps": pl.concat([pl.DataFrame(schema={"kind": pl.String, "gap": pl.Int64}), *gaps]),
        "classes": evidence.classes,
    }


def tie_frame(ties: Ties) -> pl.DataFrame:
    """The stage ties."""
    return pl.DataFrame({name: getattr(ties, name) for name in ("a", "b", "net", "shared", "kinds", "synchrony")})


def put(root: Path, stages: dict[str, pl.DataFrame], digest: str = "test") -> None:
    """Write complete stages."""
    for name, frame in stages.items():
        (root / name).mkdir(parents=True)
        frame.write_parquet(root / name / "0.parquet")
        written = {"folder": name, "files": files_of(str(root / name))}
        (root / f"{name}.done").write_text(json.dumps({"digest": digest, **written}))
