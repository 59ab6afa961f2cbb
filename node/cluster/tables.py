"""What the cluster knows of itself: its authority, its tokens, and who asks to join."""

from node.state.row import Row, Table

CLUSTER = "cluster"
"""The id of the one row of its table."""

MAX_REQUESTS = 64
"""How many strangers may wait for approval at a time."""


class ClusterRow(Row):
    """The cluster. Holds the CA's private key: it is never logged and never in an answer."""

    __table__ = Table(name="cluster")

    cluster_id: str = ""
    ca_certificate: str = ""
    """PEM."""
    ca_key: str = ""
    """PEM, secret. Every member has all rows, and may admit and renew."""
    feature_level: int = 1
    """What all members have agreed to have; see `features`."""


class JoinToken(Row):
    """A token that admits nodes. What the token's bearer proves is its key, which cannot be turned back into it."""

    __table__ = Table(name="join_tokens")

    key: str = ""
    """Hex, secret: derived from the token's secret."""
    founders: int = 1
    expires_at: int = 0
    """0: never."""
    is_revoked: bool = False
    note: str = ""
    joined: int = 0
    """How many nodes it has admitted."""


class JoinRequest(Row):
    """A node without a token that asks to join; its id is the fingerprint of its key."""

    __table__ = Table(name="join_requests", indexes=(("node_id",),))

    node_id: str = ""
    name: str = ""
    address: str = ""
    cluster_port: int = 0
    version: str = ""
    is_approved: bool = False
    seen_at: int = 0


class DepartedNode(Row):
    """A node that was removed for good; its id is the node's, which never comes back."""

    __table__ = Table(name="departed_nodes")

    name: str = ""
    reason: str = ""


class WitnessRow(Row):
    """A vote without rows: a machine that is no node, and only helps to agree."""

    __table__ = Table(name="witnesses")
    since_level = 2

    name: str = ""
    address: str = ""
    cluster_port: int = 0
    """0: it listens nowhere, and links to the nodes itself."""
    fingerprint: str = ""
    failure_domain: str = ""
    version: str = ""
    role: str = "learner"
    """voter or learner, as the log has it; written by the membership controller, as is `state`."""
    want: str = "present"
    """present, or absent: to be removed."""
    state: str = "up"
    """up or down."""


ROW_TYPES: tuple[type[Row], ...] = (ClusterRow, JoinToken, JoinRequest, DepartedNode, WitnessRow)
