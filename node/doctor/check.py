"""What a check takes and what it says."""

from node.types import Frozen


class Check(Frozen):
    """One finding about this machine."""

    name: str
    ok: bool
    detail: str
    """What was found, in one sentence."""
    mend: str = ""
    """What to do about it; empty where `ok`."""
    is_needed: bool = True
    """False: the node runs without it, only worse."""


class Needs(Frozen):
    """What a node takes of its machine."""

    state_dir: str
    ports: tuple[tuple[str, int], ...] = ()
    """(address, TCP port) pairs to listen on."""
    free_gib: int = 5
    memory_gib: int = 1
