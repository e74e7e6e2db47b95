"""The ruler: a case against labels, with intervals.

    evaluation = hg.evaluate(case, "truth.parquet")
    evaluation.headline                # polars frame: measure, of, value, low, high, hits, out_of
    evaluation.value("recall")         # of coordinated clusters

`truth` reads labels, `labelled` joins them with the case, `rings` holds clusters against rings, `measures` and `tables`
make the figures, `bootstrap` their intervals, `figures` the pictures.
"""

from hydragraph.quality.evaluation import RESAMPLES, TABLES, Evaluation, evaluate

__all__ = ["RESAMPLES", "TABLES", "Evaluation", "evaluate"]
