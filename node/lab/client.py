"""A small client of the cloud's own REST APIs: the lab makes its first resources as any user would."""

import http.client
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from node.errors import NodeError, Unavailable


class Refusal(NodeError):
    """The cloud refused a request of the lab."""


class Rest:
    """One signed-in connection."""

    def __init__(
        self,
        port: int,
        ca: Path,
        *,
        password: str,
        user: str = "admin",
        project: str = "admin",
        host: str = "127.0.0.1",
    ) -> None:
        self._context = ssl.create_default_context(cafile=str(ca))
        self._host = host
        self._port = port
        self._who = (user, password, project)
        self._token = ""

    def sign_in(self) -> None:
        """Get a token.

        Raises:
            Refusal: the cloud does not take the password.
        """
        user, password, project = self._who
        domain = {"id": "default"}
        body = {
            "auth": {
                "identity": {
                    "methods": ["password"],
                    "password": {"user": {"name": user, "domain": domain, "password": password}},
                },
                "scope": {"project": {"name": project, "domain": domain}},
            }
        }
        _data, headers = self.call("POST", "/identity/v3/auth/tokens", body)
        self._token = headers["x-subject-token"]

    def call(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[Any, Mapping[str, str]]:
        """Send a request; return the decoded body and the headers (names in lower case).

        Raises:
            Refusal: the answer is an error; names the request and the cloud's message.
            Unavailable: no answer.
        """
        sent = {"X-Auth-Token": self._token, "Content-Type": "application/json", **(headers or {})}
        data = (
            body if isinstance(body, bytes) or hasattr(body, "read") else msgspec.json.encode(body)
        )
        connection = http.client.HTTPSConnection(
            self._host, self._port, context=self._context, timeout=120
        )
        try:
            connection.request(method, path, None if body is None else data, sent)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"The API did not answer {method} {path}: {error}") from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise Refusal(
                f"{method} {path} was refused with {answer.status}: {text[:500].decode(errors='replace')}"
            )
        decoded = msgspec.json.decode(text) if text[:1] in (b"{", b"[") else None
        return decoded, {name.lower(): value for name, value in answer.getheaders()}

    def get(self, path: str, **query: str) -> Any:
        """Return a resource or a listing."""
        return self.call("GET", f"{path}?{urlencode(query)}" if query else path)[0]

    def post(self, path: str, body: object) -> Any:
        """Create something."""
        return self.call("POST", path, body)[0]

    def put(self, path: str, body: object = None) -> Any:
        """Replace or upload something."""
        headers = {"Content-Type": "application/octet-stream"} if hasattr(body, "read") else None
        return self.call("PUT", path, body, headers)[0]

    def find(self, path: str, collection: str, name: str, **query: str) -> Any:
        """Return the first listed resource of that name, or None."""
        for item in self.listed(path, collection, name=name, **query):
            if item.get("name") == name:
                return item
        return None

    def listed(self, path: str, collection: str, **query: str) -> Iterator[Any]:
        """Yield what a listing holds."""
        yield from self.get(path, **query)[collection]


def escape(text: str) -> str:
    """Return a text as one segment of a path."""
    return quote(text, safe="")
