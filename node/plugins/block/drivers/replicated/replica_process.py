"""The process of one replica on this node: a file behind NBD, under one epoch's name at a time, with a log.

The *log* is what makes replicas equal again after head and guest died together (copying.py): dirty bitmaps of short
intervals, of which the last two are kept. A new one is begun only once the current one holds something: where no head
writes any more, nothing is forgotten, however long it takes until somebody looks.
"""

import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from node.plugins.block.drivers.replicated.layers import Layers
from node.plugins.block.drivers.replicated.process import StorageDaemon
from node.plugins.block.drivers.replicated.qmp import Qmp
from node.sdk import Frozen

NODE = "d"
_LOG = "log-"
_GRANULARITY = 65536
_BACKLOG = 128


class Place(Frozen):
    """Where this node's replicas listen, and with which certificates."""

    host: str = "127.0.0.1"
    tls: Path | None = None
    """A directory as `tls-creds-x509` wants it; None: plain, which is for loopback only."""


class ReplicaProcess:
    """The qemu-storage-daemon of one replica."""

    def __init__(self, directory: Path, layers: Layers) -> None:
        self.daemon = StorageDaemon(directory, "replica")
        self._layers = layers

    def start(self, chain: Sequence[str], place: Place, *, writable: bool = True) -> int:
        """Start it over a chain of layers, with nothing exported yet; return the port it listens on.

        Raises:
            StorageDaemonError: it did not start.
        """
        family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
        with socket.create_server((place.host, 0), family=family, backlog=_BACKLOG) as listener:
            port = int(listener.getsockname()[1])
            os.set_inheritable(listener.fileno(), True)
            server = f"addr.type=fd,addr.str={listener.fileno()},max-connections=0"
            arguments: list[str] = []
            if place.tls is not None:
                arguments += ["--object", tls_object(place.tls, "server")]
                server += ",tls-creds=tls"
            node = self._layers.node(chain, NODE, writable=writable)
            arguments += ["--blockdev", json.dumps(node)]
            arguments += ["--nbd-server", server]
            self.daemon.start(arguments, fds=[listener.fileno()])
        return port

    def shut(self, qmp: Qmp) -> None:
        """End all exports; what was accepted has landed when this returns.

        Raises:
            QmpLost: the process hangs.
        """
        for export in qmp.ask("query-block-exports"):
            if not export["shutting-down"]:
                qmp.ask("block-export-del", {"id": export["id"], "mode": "hard"})
            wait_gone(qmp, export["id"])

    def export(
        self, qmp: Qmp, name: str, *, writable: bool = True, bitmaps: Sequence[str] = ()
    ) -> None:
        """Export the replica under a name that was never used before.

        Raises:
            QmpError: the name is in use, or it cannot be written.
        """
        arguments: dict[str, Any] = {
            "type": "nbd",
            "id": name,
            "name": name,
            "node-name": NODE,
            "writable": writable,
            "writethrough": writable,
        }
        if bitmaps:
            arguments["bitmaps"] = list(bitmaps)
        qmp.ask("block-export-add", arguments)

    def resize(self, qmp: Qmp, size_bytes: int) -> None:
        """Make the disk as large as wished; nothing may be exported."""
        if _node(qmp)["image"]["virtual-size"] < size_bytes:
            qmp.ask("block_resize", {"node-name": NODE, "size": size_bytes})

    def logs(self, qmp: Qmp) -> dict[str, int]:
        """Return the bytes that each bitmap of the log holds, oldest first."""
        found = {
            bitmap["name"]: int(bitmap["count"])
            for bitmap in _node(qmp).get("dirty-bitmaps", [])
            if bitmap.get("name", "").startswith(_LOG)
        }
        return dict(sorted(found.items(), key=lambda item: _number(item[0])))

    def rotate(self, qmp: Qmp) -> None:
        """Begin a new interval of the log where the current one holds anything; forget all but two."""
        logs = self.logs(qmp)
        names = list(logs)
        if names and not logs[names[-1]]:
            return
        fresh = f"{_LOG}{_number(names[-1]) + 1 if names else 1}"
        actions: list[dict[str, Any]] = [
            {"type": "block-dirty-bitmap-add", "data": _bitmap(fresh, granularity=_GRANULARITY)}
        ]
        if names:
            actions.append({"type": "block-dirty-bitmap-disable", "data": _bitmap(names[-1])})
        qmp.ask("transaction", {"actions": actions})
        for old in names[:-1]:
            qmp.ask("block-dirty-bitmap-remove", _bitmap(old))

    def freeze(self, qmp: Qmp) -> list[str]:
        """Stop the log, so that it can be read; return its bitmaps."""
        names = list(self.logs(qmp))
        for name in names:
            qmp.ask("block-dirty-bitmap-disable", _bitmap(name))
        return names

    def forget(self, qmp: Qmp) -> None:
        """Begin the log anew: all replicas are equal."""
        for name in self.logs(qmp):
            qmp.ask("block-dirty-bitmap-remove", _bitmap(name))
        self.rotate(qmp)


def wait_gone(qmp: Qmp, export: str, timeout_s: float | None = None) -> None:
    """Wait for the end of an export: nothing that came through it is still to be done.

    Raises:
        QmpLost: it did not end in time.
    """
    qmp.wait_event("BLOCK_EXPORT_DELETED", lambda data: bool(data["id"] == export), timeout_s)


def tls_object(directory: Path, side: str) -> str:
    """Return the `--object` with this node's certificates for a side: server or client."""
    return f"tls-creds-x509,id=tls,dir={directory},endpoint={side},verify-peer=on"


def _node(qmp: Qmp) -> dict[str, Any]:
    for node in qmp.ask("query-named-block-nodes", {"flat": True}):
        if node.get("node-name") == NODE:
            return dict(node)
    return {"image": {"virtual-size": 0}}


def _bitmap(name: str, **more: Any) -> dict[str, Any]:
    return {"node": NODE, "name": name, **more}


def _number(name: str) -> int:
    return int(name.removeprefix(_LOG))
