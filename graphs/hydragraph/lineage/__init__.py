"""Who replaced whom: for closed accounts the account that took their place, and how clusters grow again."""

from hydragraph.lineage.find import Lineage, find_lineage, lineage_table
from hydragraph.lineage.regrowth import Regrowth

__all__ = ["Lineage", "Regrowth", "find_lineage", "lineage_table"]
