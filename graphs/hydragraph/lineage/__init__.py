"""Who replaced whom: for closed accounts the account that took their place, and how clusters grow again."""

from hydragraph.lineage.find import Lineage, find_lineage, lineage_table
from hydragraph.lineage.regrowth import Regrowth, hours_in_words, last_known

__all__ = ["Lineage", "Regrowth", "find_lineage", "hours_in_words", "last_known", "lineage_table"]
