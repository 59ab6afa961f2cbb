"""Asks an application inside the process, as a client would over the wire."""

from collections.abc import Mapping
from typing import Any

import falcon.testing
import msgspec

from node.api.dispatch import PEER
from node.types import Frozen


class Answer(Frozen):
    """What the app answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Return the decoded body."""
        return msgspec.json.decode(self.body)


class _Untyped:
    """Shows an application to Python's validator, which forbids a 204 to name the type of what it stands for."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Leave the type out of a 204; `X-Untyped` holds it."""

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            if status.startswith("204"):
                headers = [
                    ("X-Untyped" if name.lower() == "content-type" else name, value)
                    for name, value in headers
                ]
            return start_response(status, headers, *more)

        return self._app(environ, start)


class Asker:
    """Sends requests to one WSGI application."""

    def __init__(self, app: Any) -> None:
        self._client = falcon.testing.TestClient(_Untyped(app))

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        body: bytes | None = None,
        token: str = "",
        headers: Mapping[str, str] | None = None,
        peer: str = "",
    ) -> Answer:
        """Send one request; `peer` is the node whose certificate it comes with."""
        sent = dict(headers or {})
        if token:
            sent["X-Auth-Token"] = token
        if json is not None:
            body = msgspec.json.encode(json)
            sent.setdefault("Content-Type", "application/json")
        path, _mark, query = path.partition("?")
        result = self._client.simulate_request(
            method,
            path,
            body=body,
            headers=sent,
            query_string=query,
            host="cloud.test",
            protocol="https",
            extras={"REMOTE_ADDR": "127.0.0.1"} | ({PEER: peer} if peer else {}),
        )
        return Answer(status=result.status_code, headers=result.headers, body=result.content)

    def get(self, path: str, **more: Any) -> Answer:
        """Send GET."""
        return self.request("GET", path, **more)

    def head(self, path: str, **more: Any) -> Answer:
        """Send HEAD."""
        return self.request("HEAD", path, **more)

    def post(self, path: str, **more: Any) -> Answer:
        """Send POST."""
        return self.request("POST", path, **more)

    def put(self, path: str, **more: Any) -> Answer:
        """Send PUT."""
        return self.request("PUT", path, **more)

    def patch(self, path: str, **more: Any) -> Answer:
        """Send PATCH."""
        return self.request("PATCH", path, **more)

    def delete(self, path: str, **more: Any) -> Answer:
        """Send DELETE."""
        return self.request("DELETE", path, **more)
