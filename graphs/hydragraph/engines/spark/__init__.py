"""The steps up to the ties on Apache Spark, through the part of its DataFrame API that Spark Connect has."""
