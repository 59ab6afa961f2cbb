"""`GET /metrics`: what this node counted and measures, for Prometheus.

Prometheus has no Keystone token, so whoever asks from this machine itself needs none; from elsewhere an
administrator's token is needed.
"""

import ipaddress

import falcon
import msgspec

from node.api.dispatch import Backend
from node.errors import Forbidden, NodeError, Unauthorized
from node.observe.admin import ask
from node.observe.metrics import exposition
from node.observe.requests import RequestCounts

_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class MetricsPage:
    """Requests as the API processes counted them, and the gauges of the core process."""

    def __init__(self, backend: Backend, counts: RequestCounts) -> None:
        self._backend = backend
        self._counts = counts

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer; a core process that is away is a gauge of its own, not an error."""
        try:
            self._admit(req)
        except NodeError as error:
            resp.status = falcon.code_to_http_status(error.status)
            body = {"error": {"code": error.status, "message": error.message}}
            resp.data = msgspec.json.encode(body)
            return
        try:
            gauges = str(ask(self._backend.config.state_dir, "metrics"))
            is_up = 1
        except NodeError:
            gauges, is_up = "", 0
        up = exposition([("api", {"core_up": is_up})])
        resp.content_type = _TYPE
        resp.data = (up + gauges + self._counts.exposition()).encode()

    def _admit(self, req: falcon.Request) -> None:
        if _is_loopback(req.env.get("REMOTE_ADDR", "")):
            return
        backend = self._backend
        text = req.get_header("X-Auth-Token") or ""
        token = text and backend.hooks.hook.token_verify(
            db=backend.readers.reader(), token=text, now_us=backend.clock.now_us()
        )
        if not token:
            raise Unauthorized("From another machine this needs an administrator's token.")
        if not token.is_admin:
            raise Forbidden("Only an administrator may see this from another machine.")


def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback
