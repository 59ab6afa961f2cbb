"""Ask another service of this cloud inside the process, with the caller's own token.

Nova's API has proxies for networks, security groups and images. They go through the whole front door of the other
service (token, policy, validation) without a socket, so that a right that is missing there is missing here too.
"""

import io
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from node.types import Frozen

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class InnerAnswer(Frozen):
    """What the other service answered."""

    status: int
    body: Any = None
    """Decoded JSON, or None where there was none."""

    @property
    def message(self) -> str:
        """Return the message of a fault body, in whatever form the service has it."""
        body = self.body
        for _depth in range(2):
            if isinstance(body, Mapping) and "message" in body:
                return str(body["message"])
            if isinstance(body, Mapping) and len(body) == 1:
                body = next(iter(body.values()))
        return str(body or "")


def ask(
    app: WsgiApp,
    base_url: str,
    token: str,
    method: str,
    path: str,
    params: Mapping[str, Any] | None = None,
    json: Any = None,
    content_type: str = "application/json",
) -> InnerAnswer:
    """Send one request into the application and return its answer."""
    scheme, _sep, host = base_url.partition("://")
    body = b"" if json is None else msgspec.json.encode(json)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path.encode().decode("latin-1"),
        "QUERY_STRING": urlencode(params or {}, doseq=True),
        "SERVER_NAME": host.partition(":")[0],
        "SERVER_PORT": host.partition(":")[2] or "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": host,
        "HTTP_X_AUTH_TOKEN": token,
        "HTTP_ACCEPT": "application/json",
        "CONTENT_TYPE": content_type,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    status: list[int] = []

    def start_response(line: str, _headers: Any, _exc_info: Any = None) -> None:
        status.append(int(line.split(" ", 1)[0]))

    data = b"".join(app(environ, start_response))
    try:
        decoded = msgspec.json.decode(data) if data else None
    except msgspec.DecodeError:
        decoded = data.decode("utf-8", "replace")
    return InnerAnswer(status=status[0], body=decoded)
