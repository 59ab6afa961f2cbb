"""Configuration of compute's records."""

from node.sdk import Frozen


class HistorySection(Frozen):
    """`[history]`: how long deleted servers are remembered."""

    keep_deleted_servers_days: int = 30
    """Days for which a deleted server is still listed (`changes-since`, `deleted`) and counted in usage reports."""
