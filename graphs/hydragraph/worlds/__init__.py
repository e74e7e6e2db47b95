"""Synthetic worlds with ground truth: innocent sharing as it is, rings that are hard for the right reasons."""

from hydragraph.worlds.camouflage import add_camouflage
from hydragraph.worlds.scenarios import INNOCENTS, SCENARIOS, TACTICS, Scenario, Tactic
from hydragraph.worlds.world import World, simulate

__all__ = ["INNOCENTS", "SCENARIOS", "TACTICS", "Scenario", "Tactic", "World", "add_camouflage", "simulate"]
