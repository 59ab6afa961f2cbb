"""What stops a drill."""

from node.errors import NodeError


class DrillFault(NodeError):
    """The drill itself cannot go on: it says nothing about the cluster's answers."""
