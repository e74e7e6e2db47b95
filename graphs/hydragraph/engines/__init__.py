"""Where the tables of a source are read, weighed and tied: in this process with polars, or on a Spark cluster."""

from hydragraph.engines.embedded import Embedded
from hydragraph.engines.engine import Conclude, Engine, Job, Progress, Tied, Timing

__all__ = ["Conclude", "Embedded", "Engine", "Job", "Progress", "Tied", "Timing"]
