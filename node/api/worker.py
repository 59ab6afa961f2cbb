"""Gunicorn's threaded worker with three differences.

`100 Continue` is sent when the handler first reads the body, so a refused upload is refused before it is sent.
A second, plain listener may stand beside the TLS one (lab only, loopback). File bodies go out by sendfile there.

Leans on gunicorn 27's `_expected_100_continue` and `TConn`; the raw-socket tests in tests/api/test_wire.py hold it.
"""

import threading
from typing import Any

from gunicorn.workers.gthread import ThreadWorker


class LazyContinue:
    """The body of a request that waits for `100 Continue`: asks for it when it is first read."""

    def __init__(self, request: Any, sock: Any) -> None:
        self._request = request
        self._body = request.body
        self._sock = sock
        self._asked = False
        request.force_close()

    def _ask(self) -> None:
        if not self._asked:
            self._asked = True
            self._request.must_close = False
            self._sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def read(self, size: int | None = None) -> bytes:
        """Read from the client, who is told to begin."""
        self._ask()
        data: bytes = self._body.read(size) if size is not None else self._body.read()
        return data

    def __getattr__(self, name: str) -> Any:
        """Reach everything else of the body unchanged."""
        return getattr(self._body, name)


class PlainSettings:
    """Gunicorn's settings as a connection without TLS sees them."""

    is_ssl = False

    def __init__(self, settings: Any) -> None:
        self._settings = settings

    def __getattr__(self, name: str) -> Any:
        """Reach everything else unchanged."""
        return getattr(self._settings, name)


class ApiWorker(ThreadWorker):
    """Serves TLS connections, and plain ones on the plain port."""

    plain_port = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._connection = threading.local()
        super().__init__(*args, **kwargs)
        self._plain = PlainSettings(self._settings)

    @property
    def cfg(self) -> Any:
        """Return the settings of the connection that this thread serves."""
        return getattr(self._connection, "settings", self._settings)

    @cfg.setter
    def cfg(self, settings: Any) -> None:
        self._settings = settings

    def handle(self, conn: Any) -> Any:
        """Serve what has arrived on a connection."""
        is_plain = self.plain_port and conn.server[1] == self.plain_port
        conn.cfg = self._connection.settings = self._plain if is_plain else self._settings
        try:
            return super().handle(conn)
        finally:
            del self._connection.settings

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Serve one request."""
        if req._expected_100_continue:  # noqa: SLF001 - see the module
            req._expected_100_continue = False  # noqa: SLF001
            req.body = LazyContinue(req, conn.sock)
        return super().handle_request(req, conn)
