"""Connects to replicas of other nodes as a head does: NBD, encrypted with both nodes' certificates."""

import contextlib
import socket
import ssl
from collections.abc import Sequence

from node.plugins.block.drivers.replicated.nbd import Nbd, NbdError, tls_over
from node.sdk import NodeTls, common_name


def dial(
    node_id: str,
    host: str,
    port: int,
    export: str,
    *,
    contexts: Sequence[str] = (),
    tls: NodeTls | None = None,
    timeout_s: float = 10.0,
) -> Nbd:
    """Open an export of a node's replica.

    Raises:
        NbdError: it cannot be reached, is another node, or has no such export.
    """
    connected: socket.socket | None = None
    try:
        connected = socket.create_connection((host, port), timeout_s)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context: ssl.SSLContext | None = tls.context(server=False) if tls is not None else None
        if context is not None:
            encrypted = tls_over(connected, context)
            connected = encrypted
            if (found := common_name(encrypted)) != node_id:
                raise NbdError(f"{host}:{port} is node {found}, not {node_id}")
    except (OSError, NbdError) as error:
        if connected is not None:
            with contextlib.suppress(OSError):
                connected.close()
        raise NbdError(f"the replica of node {node_id} cannot be reached: {error}") from error
    return Nbd(connected, export, contexts)
