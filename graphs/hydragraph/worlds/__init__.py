"""Synthetic worlds with ground truth: innocent sharing as it is, rings that are hard for the right reasons."""

from hydragraph.worlds.scenarios import SCENARIOS, TACTICS, Scenario, Tactic
from hydragraph.worlds.world import World, simulate

__all__ = ["SCENARIOS", "TACTICS", "Scenario", "Tactic", "World", "simulate"]
