"""Who replaced whom: for closed accounts the account that took their place, and how clusters grow again."""

from hydragraph.lineage.find import Lineage, find_lineage, lineage_table

__all__ = ["Lineage", "find_lineage", "lineage_table"]
