"""The configuration of block storage."""

from node.sdk import Frozen


class BlockSection(Frozen):
    """Block storage: where the data of volumes are, and how much of a disk they may fill."""

    driver: str = "replicated"
    """What keeps the data of new volumes: `replicated` (on several nodes), `local` (a file of one node), `memory` (for
    tests), or `module:function`."""
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
    replicas: int = 3
    """On how many nodes the replicated driver keeps a volume, where there are as many."""
    replace_after_s: int = 900
    """A replica whose node is down for so long is made anew on another node."""
    scrub_hours: int = 168
    """How often the replicas of a volume are compared; 0: never."""
    scrub_mib_per_s: int = 32
    """Most that a comparison reads, MiB a second; 0: no limit."""
    resync_mib_per_s: int = 0
    """Most that the copy of one replica takes, MiB a second; 0: no limit."""
