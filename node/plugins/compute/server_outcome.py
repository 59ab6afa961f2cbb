"""What a look at a job comes to."""

from node.sdk import AnyOp, Frozen


class Ended(Frozen):
    """The job is done: what the server has now."""

    have: str
    power: int
    ops: tuple[AnyOp, ...] = ()
    """What is reported before it, in one transaction."""
    fault: str = ""
    """Why the job came to nothing, of a server that is as well as before."""


class Waiting(Frozen):
    """The job goes on; look again after that time or when the domain changes."""

    again_s: float
    step: str = ""


class Handed(Frozen):
    """The job goes on elsewhere, once these operations hold; without any it is looked at again."""

    ops: tuple[AnyOp, ...] = ()


Outcome = Ended | Waiting | Handed
RUNNING = Ended(have="active", power=1)
STOPPED = Ended(have="stopped", power=4)
