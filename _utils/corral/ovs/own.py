"""What is Corral's own in the database, and what is not to be told or named; pure."""

from __future__ import annotations

MARK = "corral"  # the key of external_ids that says who made a row
GROUPS = "corral-groups/"  # what the keys begin with that say who made which groups of a bridge
SECRETS = ("psk",)  # options that are neither declared nor shown
# Paths of changes to columns begin with a table's name, so no bridge may have it.
TABLES = (
    *("Open_vSwitch", "Bridge", "Port", "Interface", "Controller", "Manager", "Mirror", "NetFlow", "sFlow"),
    *("IPFIX", "QoS", "Queue", "SSL", "AutoAttach", "Flow_Table", "Flow_Sample_Collector_Set", "Datapath"),
)


def is_own(key: str) -> bool:
    """Whether a key of ``external_ids`` is Corral's own."""
    return key == MARK or key.startswith(GROUPS)
