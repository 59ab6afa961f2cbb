"""Data from a URL, for an import.

Hard part: whoever names the URL is not to be trusted with the node's own place in the network. A name is resolved
once, its address is looked at, and it is that address that is connected to; a redirect is judged as the URL was.
"""

import contextlib
import http.client
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator
from urllib.parse import urljoin, urlsplit

from node.plugins.image import import_rules
from node.plugins.image.section import ImageSection
from node.sdk import BadRequest, NodeError, Unavailable

_TIMEOUT_S = 30.0
_REDIRECTS = 5
_MOVED = (301, 302, 303, 307, 308)


class ImportFailed(NodeError):
    """The data does not come, and would not come if it was tried again at once."""

    status = 502
    title = "Bad Gateway"


class WebSource:
    """The body of an answer, as uploads are read."""

    def __init__(self, answer: http.client.HTTPResponse, stopping: Callable[[], bool]) -> None:
        self._answer = answer
        self._stopping = stopping

    def readinto(self, buffer: memoryview) -> int:
        """Read what has come into a buffer; 0 is the true end.

        Raises:
            ImportFailed: it ended early.
            Unavailable: 503, this node goes down: begin again after it.
        """
        if self._stopping():
            raise Unavailable("This node goes down")
        try:
            got = self._answer.readinto(buffer)
        except (OSError, http.client.HTTPException) as error:
            raise ImportFailed(f"The source went away: {error}") from error
        if not got and self._answer.length:
            raise ImportFailed("The source ended before its announced length")
        return got


@contextlib.contextmanager
def opened(uri: str, section: ImageSection, stopping: Callable[[], bool]) -> Iterator[WebSource]:
    """Open a URL.

    Raises:
        ImportFailed: nobody is there, or the answer is no data.
    """
    for _hop in range(_REDIRECTS):
        connection = _connect(uri, section)
        try:
            answer = _ask(connection, uri)
            if answer.status in _MOVED and (target := answer.getheader("Location")):
                uri = _judged(urljoin(uri, target), section)
                continue
            if answer.status != 200:
                raise ImportFailed(f"{uri} answers {answer.status} {answer.reason}")
            yield WebSource(answer, stopping)
            return
        finally:
            connection.close()
    raise ImportFailed("The source redirects too often")


def _judged(uri: str, section: ImageSection) -> str:
    try:
        return import_rules.uri(uri, section)
    except BadRequest as error:
        raise ImportFailed(error.message) from error


def _ask(connection: http.client.HTTPConnection, uri: str) -> http.client.HTTPResponse:
    parts = urlsplit(uri)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("GET", path, headers={"User-Agent": "hedgerow", "Accept": "*/*"})
        return connection.getresponse()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ImportFailed(f"{uri} does not answer: {error}") from error


def _connect(uri: str, section: ImageSection) -> http.client.HTTPConnection:
    parts = urlsplit(uri)
    host, is_tls = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if is_tls else 80)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ImportFailed(f"The address of {host} cannot be found: {error}") from error
    last = ImportFailed(f"{host} has no address that images are imported from")
    for family, kind, protocol, _name, address in found:
        if not section.import_private and import_rules.is_private(ipaddress.ip_address(address[0])):
            continue
        sock = socket.socket(family, kind, protocol)
        sock.settimeout(_TIMEOUT_S)
        try:
            sock.connect(address)
            if is_tls:
                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
        except (OSError, ValueError) as error:
            sock.close()
            last = ImportFailed(f"{host} cannot be reached: {error}")
            continue
        connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
        connection.sock = sock
        return connection
    raise last
