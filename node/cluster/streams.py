"""Plain streams between members for plugins, over the cluster's links: mutual TLS, members by their keys."""

from collections.abc import Callable

from node.cluster.peers import Link, PeerNetwork
from node.data_port import Stream

_PREFIX = "hedgerow-stream/"
_DIAL_S = 5.0


class PeerStreams:
    """Streams over a node's links."""

    def __init__(self, peers: PeerNetwork) -> None:
        self._peers = peers

    def serve(self, name: str, handler: Callable[[Stream], None]) -> None:
        """Have a handler called, in a thread of its own, for each stream of a name; it ends with the handler."""

        def handle(link: Link) -> None:
            link.socket.settimeout(None)
            handler(Stream(socket=link.socket, node_id=link.node_id))

        self._peers.serve(_PREFIX + name, handle)

    def open(self, node_id: str, name: str) -> Stream:
        """Connect to what a member serves under a name.

        Raises:
            Unavailable: 503, it cannot be reached, or does not serve that.
        """
        link = self._peers.dial(node_id, _PREFIX + name, _DIAL_S)
        link.socket.settimeout(None)
        return Stream(socket=link.socket, node_id=node_id)
