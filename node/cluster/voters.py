"""Who has a vote, as the log says it.

Hard part: the library keeps changes ("add b") on top of a list that it does not keep, so a start with a wrong list
elects a wrong leader. Here each change carries the whole list that it leads to.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec
import pysyncobj.pickle as library_pickle
from pysyncobj.node import Node

import node.cluster.undamaged  # noqa: F401 - see there
from node.cluster.pickle_guard import guarded_loads

Verb = Literal["add", "rem"]
MEMBERSHIP = b"\x02"
"""First byte of a log entry that changes the voters."""


class VoterChange(msgspec.Struct, frozen=True, kw_only=True):
    """One change; `voters` is the whole list after it, empty in entries of the library's own making."""

    verb: Verb
    node_id: str
    voters: tuple[str, ...] = ()

    def after(self, voters: Iterable[str]) -> tuple[str, ...]:
        """Return the voters once the change is in the log."""
        if self.voters:
            return self.voters
        rest = [voter for voter in voters if voter != self.node_id]
        return tuple(sorted([*rest, self.node_id] if self.verb == "add" else rest))

    def before(self, voters: Iterable[str]) -> tuple[str, ...]:
        """Return the voters once the change is taken out of the log."""
        rest = [voter for voter in voters if voter != self.node_id]
        return tuple(sorted(rest if self.verb == "add" else [*rest, self.node_id]))


def encode_change(verb: Verb, node_id: str, voters: Iterable[str]) -> bytes:
    """Return the library's form of a change of these voters, without its first byte."""
    change = VoterChange(verb=verb, node_id=node_id)
    request = [verb, node_id, Node(node_id), list(change.after(voters))]
    data: bytes = library_pickle.dumps(request)
    return data


def change_of(request: object) -> VoterChange | None:
    """Return what a decoded request of the library asks, None for anything else."""
    match request:
        case ["add" | "rem" as verb, str(node_id), *rest]:
            voters = rest[1] if len(rest) > 1 and isinstance(rest[1], list) else []
            return VoterChange(verb=verb, node_id=node_id, voters=tuple(map(str, voters)))
        case _:
            return None


def decode_change(command: bytes) -> VoterChange | None:
    """Return the change that a log entry makes, None when it makes none."""
    if command[:1] != MEMBERSHIP:
        return None
    return change_of(guarded_loads(command[1:]))
