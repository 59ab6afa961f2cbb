"""Posts a document to a stranger's web server, and to nobody inside by mistake.

Hard part: the address comes from a user of the cloud. The name is resolved once, the address is judged, and the
connection goes to that very address, so that a name which changes its mind in between leads nowhere.
"""

import http.client
import ipaddress
import socket
import ssl
from urllib.parse import urlsplit

from node.sdk import NodeError


class Undeliverable(NodeError):
    """The receiver cannot be reached, may not be, or did not take it."""

    status = 502
    title = "Bad Gateway"


def post(url: str, body: bytes, *, timeout_s: float, allowed: str) -> None:
    """Post JSON. `allowed`: hosts that may be inside, separated by commas; `*`: any.

    Raises:
        Undeliverable: says why.
    """
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        sock: socket.socket = _connect(host, port, timeout_s, allowed)
        try:
            if secure:
                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
            connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
            connection.sock = sock
            headers = {
                "Content-Type": "application/json",
                "User-Agent": "hedgerow",
                "Connection": "close",
            }
            connection.request("POST", path, body, headers)
            status = connection.getresponse().status
        finally:
            sock.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Undeliverable(f"{host} does not take notifications: {error}") from error
    if not 200 <= status < 300:
        raise Undeliverable(f"{host} answered {status} to a notification")


def _connect(host: str, port: int, timeout_s: float, allowed: str) -> socket.socket:
    names = {name.strip().lower() for name in allowed.split(",")}
    free = "*" in names or host.lower() in names
    last: OSError = OSError("the name has no address")
    for family, kind, proto, _name, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    ):
        if not free and not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_global:
            last = OSError("its address is not a public one ([s3] webhook_hosts can allow it)")
            continue
        sock = socket.socket(family, kind, proto)
        sock.settimeout(timeout_s)
        try:
            sock.connect(address)
        except OSError as error:
            sock.close()
            last = error
            continue
        return sock
    raise last
