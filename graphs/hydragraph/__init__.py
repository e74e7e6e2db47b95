"""hydragraph finds clusters of coordinated accounts and says why.

    import hydragraph as hg
    case = hg.analyze("data/", out="case/")
    case.clusters                      # polars frame, strongest lead first

Names are loaded at first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from hydragraph.bipartite import BipartiteGraph
    from hydragraph.case import Case, Cluster, open_case
    from hydragraph.engines.spark.engine import Spark
    from hydragraph.errors import (
        BeingWritten,
        CaseExists,
        EngineFailed,
        HydragraphError,
        InputRefused,
        NotACase,
        NotWritable,
        UnknownName,
    )
    from hydragraph.exports import export
    from hydragraph.loaders import Source, check, open_source
    from hydragraph.pipeline import analyze, demo
    from hydragraph.pseudonyms import make_key
    from hydragraph.quality import Evaluation, evaluate
    from hydragraph.report import report_text, write_report
    from hydragraph.report.reasons import statement_of_reasons
    from hydragraph.revealing import reveal
    from hydragraph.review import decide
    from hydragraph.settings import Settings
    from hydragraph.tracking import Difference, diff
    from hydragraph.watching import Watched, watch
    from hydragraph.worlds import simulate

_HOME = {
    "BeingWritten": "errors",
    "BipartiteGraph": "bipartite",
    "Case": "case",
    "CaseExists": "errors",
    "Cluster": "case",
    "Difference": "tracking",
    "EngineFailed": "errors",
    "Evaluation": "quality",
    "HydragraphError": "errors",
    "InputRefused": "errors",
    "NotACase": "errors",
    "NotWritable": "errors",
    "Settings": "settings",
    "Source": "loaders",
    "Spark": "engines.spark.engine",
    "UnknownName": "errors",
    "Watched": "watching",
    "analyze": "pipeline",
    "check": "loaders",
    "decide": "review",
    "demo": "pipeline",
    "diff": "tracking",
    "evaluate": "quality",
    "export": "exports",
    "make_key": "pseudonyms",
    "open_case": "case",
    "open_source": "loaders",
    "report_text": "report",
    "reveal": "revealing",
    "simulate": "worlds",
    "statement_of_reasons": "report.reasons",
    "watch": "watching",
    "write_report": "report",
}

__all__ = [
    "BeingWritten",
    "BipartiteGraph",
    "Case",
    "CaseExists",
    "Cluster",
    "Difference",
    "EngineFailed",
    "Evaluation",
    "HydragraphError",
    "InputRefused",
    "NotACase",
    "NotWritable",
    "Settings",
    "Source",
    "Spark",
    "UnknownName",
    "Watched",
    "__version__",
    "analyze",
    "check",
    "decide",
    "demo",
    "diff",
    "evaluate",
    "export",
    "make_key",
    "open_case",
    "open_source",
    "report_text",
    "reveal",
    "simulate",
    "statement_of_reasons",
    "watch",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
