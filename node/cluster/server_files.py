"""Where the certificate of the API server is: all that the API process needs of node.cluster.trust."""

import time
from pathlib import Path

from node.errors import Unavailable
from node.types import Frozen

TLS_DIRECTORY = "tls"
"""Name of the directory of keys and certificates in a node's state directory."""


class ServerFiles(Frozen):
    """Where the API server finds its certificate."""

    ca: Path
    certificate: Path
    key: Path


def server_files(directory: Path) -> ServerFiles:
    """Return where the API's certificate and its CA are, or will be, below the directory of certificates."""
    return ServerFiles(
        ca=directory / "ca.pem", certificate=directory / "server.pem", key=directory / "server.key"
    )


def await_server_files(directory: Path, timeout_s: float | None = None) -> ServerFiles:
    """Wait until the core has stored the API's certificate, and say where it is.

    Raises:
        Unavailable: 503, it has not in this time.
    """
    files = server_files(directory)
    until_s = None if timeout_s is None else time.monotonic() + timeout_s
    while not (files.certificate.exists() and files.key.exists() and files.ca.exists()):
        if until_s is not None and time.monotonic() > until_s:
            raise Unavailable(f"There is no API certificate in {directory}: is the core running?")
        time.sleep(0.05)
    return files
