"""Newer tables held against a case: which accounts attach to its clusters, and which closed ones have a successor."""

from hydragraph.watching.watched import Watched, watch

__all__ = ["Watched", "watch"]
