"""What a joiner asks once both sides have proved themselves, and the answers."""

from typing import Literal

from node.cluster.ballot import Accept, Prepare, Reply, Tell
from node.types import Frozen

Code = Literal[
    "token_unknown", "token_ended", "fresh", "busy", "removed", "taken", "lost", "full", "refused"
]
"""Why not. After busy, fresh and full the same request may succeed later."""


class Member(Frozen):
    """A node of the cluster and where its cluster port is."""

    node_id: str
    host: str
    port: int
    fingerprint: str = ""
    is_voter: bool = False


class Welcome(Frozen, tag="welcome"):
    """Both have proved themselves: ask."""


class Join(Frozen, tag="join"):
    """Ask to become a member."""


class JoinWitness(Frozen, tag="join_witness"):
    """Ask to become a witness, which votes and holds no rows."""


class Ask(Frozen, tag="ask"):
    """Ask what this node is to the cluster."""


class Admitted(Frozen, tag="admitted"):
    """Become a member. Certificates are PEM."""

    cluster_id: str
    ca: bytes
    certificate: bytes
    members: tuple[Member, ...]


class Waiting(Frozen, tag="waiting"):
    """Wait for `hedgerow node approve`."""


class Is(Frozen, tag="is"):
    """Say what a node is: a member, pending, or unknown (never was one, or was removed)."""

    standing: Literal["member", "pending", "unknown"]


class Refusal(Frozen, tag="refusal"):
    """Say no, and why."""

    code: Code
    message: str


JoinerSays = Join | JoinWitness | Ask | Prepare | Accept | Tell
MemberSays = Admitted | Waiting | Is | Reply | Refusal
