"""Where other nodes' data ports are, by their rows."""

from node.config import Config
from node.control.placement import NodeRow
from node.data_port import DataPort, NodeTls, Place, TlsDataPort
from node.state.reader import Readers


class Members:
    """What the rows say of the members of the cluster. Each thread reads with a reader of its own."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    def is_member(self, node_id: str) -> bool:
        """Return whether a node belongs to the cluster."""
        return self._readers.reader().has(NodeRow.__table__.name, node_id)

    def place(self, node_id: str) -> Place | None:
        """Return where a member's data port is; None for a stranger."""
        row = self._readers.reader().get(NodeRow, node_id)
        return Place(address=row.address, port=row.data_port, name=row.name) if row else None


def data_port(config: Config, members: Members) -> DataPort:
    """Return this node's way to the data of others."""
    return TlsDataPort(NodeTls(config.state_dir / "tls"), members.place)
