"""What a look at a job comes to."""

from node.sdk import Frozen


class Ended(Frozen):
    """The job is done: what the server has now."""

    have: str
    power: int


class Waiting(Frozen):
    """The job goes on; look again after that time or when the domain changes."""

    again_s: float
    step: str = ""


Outcome = Ended | Waiting
RUNNING = Ended(have="active", power=1)
STOPPED = Ended(have="stopped", power=4)
