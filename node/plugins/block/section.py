"""The configuration of block storage."""

from node.sdk import Frozen


class BlockSection(Frozen):
    """Block storage: where the data of volumes are, and how much of a disk they may fill."""

    driver: str = "local"
    """What keeps the data of new volumes: `local` (a file of one node), `memory` (tests), or `module:function`."""
    reserve_percent: int = 5
    """Part of the disk that new volumes never get: those that are there may fill it."""
    oversubscription: float = 20.0
    """How many times the disk's size all volumes of a node may have together: they take only what was written."""
    quota_gigabytes: int = 1000
    """Gigabytes of volumes and snapshots that a project may have, where its quota does not say otherwise."""
    backup_chunk_kib: int = 1024
    """Size of the pieces in which backups are stored: equal ones are stored once."""
    message_days: int = 30
    """How long messages about failed requests are kept."""
