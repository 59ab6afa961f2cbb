"""Asks replicas of other nodes over the data port, and brings frozen layers from there."""

import fcntl
import os
from pathlib import Path
from urllib.parse import quote

import msgspec

from node.plugins.block.drivers.replicated.peers import Answer, Peers, Request, answer
from node.plugins.block.drivers.replicated.replica_site import ReplicaSite
from node.sdk import Control, DataPort, NodeRow, Unavailable

REPLICAS = "/peer/replicas/{volume_id}/{verb}"
LAYERS = "/peer/layers/{layer}"
SERVICE = "/volume/v3"
_CHUNK = 1 << 20


class DataPortPeers:
    """Replicas of this node and of others."""

    def __init__(self, control: Control, site: ReplicaSite) -> None:
        self._control = control
        self._site = site

    def ask(self, node_id: str, verb: str, volume_id: str, request: Request) -> Answer:
        """Ask here, or there."""
        port = self._control.data_port
        if node_id == self._control.node_id:
            return answer(self._site, verb, volume_id, request, layer_fetch(port))
        path = SERVICE + REPLICAS.format(volume_id=quote(volume_id), verb=verb)
        body = msgspec.json.encode(request)
        data = port.send(node_id, "POST", path, body)
        try:
            return msgspec.json.decode(data, type=Answer)
        except msgspec.MsgspecError as error:
            raise Unavailable(f"Node {node_id} does not answer sensibly: {error}") from error

    def address(self, node_id: str) -> str:
        """Return where a node's replicas listen."""
        row = self._control.db.get(NodeRow, node_id)
        return row.address if row is not None and row.address else "127.0.0.1"


def layer_fetch(port: DataPort) -> "_Fetch":
    """Return what brings layers from other nodes."""
    return _Fetch(port)


class _Fetch:
    def __init__(self, port: DataPort) -> None:
        self._port = port

    def __call__(self, node_id: str, layer: str, site: ReplicaSite) -> None:
        path = site.layers.path(layer)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # who asked may have lost patience and ask again
            if not site.layers.trusted(layer):
                self._bring(node_id, layer, path)

    def _bring(self, node_id: str, layer: str, path: Path) -> None:
        aside = path.with_suffix(".fetch")
        with (
            self._port.get(node_id, SERVICE + LAYERS.format(layer=quote(layer))) as found,
            aside.open("wb") as file,
        ):
            while data := found.read(_CHUNK):
                if data.count(0) == len(data):
                    file.seek(len(data), os.SEEK_CUR)
                else:
                    file.write(data)
            file.truncate(file.tell())
            file.flush()
            os.fsync(file.fileno())
        aside.chmod(0o400)
        aside.rename(path)


def peers_of(control: Control, site: ReplicaSite) -> Peers:
    """Return the replicas of all nodes as this one reaches them."""
    return DataPortPeers(control, site)
