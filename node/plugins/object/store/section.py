"""Configuration of the object store."""

from node.sdk import Frozen


class ObjectSection(Frozen):
    """`[object]`: the object store of this node."""

    data_dirs: str = ""
    """Directories that hold objects, one on each disk, separated by commas; empty: one in the state directory."""
    zone: str = ""
    """What this node's disks fail together with, for example a rack; empty: `[cluster] failure_domain`."""
    rebuild_after_s: int = 600
    """A disk or node that is away for so long is given up: what it held is made anew elsewhere."""
    heal_mib_per_s: int = 50
    """How much healing may read and write in a second, MiB."""
    scrub_days: int = 14
    """In so many days every byte is read once, and compared with its hash."""
