"""What an analyst knows beforehand: pairs of accounts that belong together or apart, and what is no evidence."""

from hydragraph.constraints.allowed import set_aside
from hydragraph.constraints.pairs import Pairs, belonging, coded_pairs, left_out, settled, untied
from hydragraph.constraints.tables import (
    PAIRS,
    Constraints,
    held_constraints,
    keep_constraints,
    read_constraints,
    refuse_to_lose_constraints,
)

__all__ = [
    "PAIRS",
    "Constraints",
    "Pairs",
    "belonging",
    "coded_pairs",
    "held_constraints",
    "keep_constraints",
    "left_out",
    "read_constraints",
    "refuse_to_lose_constraints",
    "set_aside",
    "settled",
    "untied",
]
