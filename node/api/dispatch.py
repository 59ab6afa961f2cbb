"""One request through one endpoint: microversion, action, token, policy, body, handler, reply.

The order matters: nothing of the body is read before the caller is known to be allowed, so that a refused upload
is refused before its bytes are sent.
"""

import logging
import os
import re
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, cast
from urllib.parse import parse_qsl, unquote

import falcon
import msgspec

from node.api import body as bodies
from node.api import microversion
from node.api.context import Context, Kept, Proposer, Teller, untold
from node.api.policy import Policies
from node.api.route import Reply, Route, Service
from node.clock import Clock
from node.config import ApiSection, Config
from node.data_port import DataPort, NoDataPort
from node.errors import (
    BadRequest,
    Forbidden,
    MethodNotAllowed,
    NodeError,
    NotFound,
    Unauthorized,
    Unavailable,
)
from node.ids import Ids
from node.observe.log import bound
from node.observe.requests import RequestCounts
from node.state.reader import Reader, Readers
from node.types import Frozen

log = logging.getLogger("hedgerow.api")

_STALE = '110 hedgerow "Response is Stale: the cluster has no leader or quorum"'
"""Source: RFC 7234, 5.5.1."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BODYLESS = frozenset({204, 304})
OPEN = frozenset({"public", "own"})
"""Policies that ask for no token before the handler runs."""


class Backend(Frozen):
    """Everything that requests need and that lives as long as the process."""

    readers: Readers
    proposer: Proposer
    policies: Policies
    hooks: Any
    config: Config
    clock: Clock
    ids: Ids
    node_id: str = ""
    data_port: DataPort = NoDataPort()
    kept: Kept = msgspec.field(default_factory=Kept)
    tell: Teller = untold
    """Asks this node's core; see `Context.tell`."""
    is_member: Callable[[str], bool] = lambda _node_id: False
    """Says whether a certificate's name is one of a node of this cluster."""
    is_fresh: Callable[[Reader], bool] = lambda _db: True
    """Waits until this node's rows hold all that was acknowledged anywhere; no: they may be old."""


PEER = "hedgerow.peer"
"""Key of the WSGI environment: the node whose certificate was shown on the data port. No header makes one."""

RAW_URI = "hedgerow.raw_uri"
"""Key of the WSGI environment: path and query as sent, where a service claimed a request that came in elsewhere."""


class Dispatcher:
    """Serves the routes of one service."""

    def __init__(self, backend: Backend, service: Service) -> None:
        self.backend = backend
        self.service = service
        self.app: Any = None
        """The whole application, once it is built: services ask each other through it."""
        self.counts: RequestCounts | None = None
        self._public_host = backend.config.section(ApiSection).public_host

    def serve(
        self,
        routes: Sequence[Route],
        req: falcon.Request,
        resp: falcon.Response,
        values: Sequence[str],
    ) -> None:
        """Answer one request with the fitting one of several routes of the same method and path."""
        started = time.perf_counter()
        ctx = self.context(req)
        with bound(request_id=ctx.request_id):
            try:
                self._refuse_slash(ctx)
                reply = self._answer(ctx, routes, values)
            except NodeError as error:
                reply = self.failed(ctx, error)
            except Exception:
                log.exception("request failed", extra={"method": ctx.method, "path": ctx.path})
                reply = self.failed(ctx, _unexpected())
            self._send(ctx, reply, resp)
            self._count(ctx, reply, started)

    def _count(self, ctx: Context, reply: Reply, started: float) -> None:
        took_s, status = time.perf_counter() - started, reply.status or 200
        if self.counts is not None:
            self.counts.note(self.service.name, ctx.method, status, took_s)
        more = {"method": ctx.method, "path": ctx.path, "status": status}
        log.debug("request", extra={**more, "ms": round(took_s * 1000, 2)})

    def refuse(self, req: falcon.Request, resp: falcon.Response, error: NodeError) -> None:
        """Answer with an error: no route fits. Without a valid token the answer is 401, as nothing is told."""
        started = time.perf_counter()
        ctx = self.context(req)
        try:
            self._refuse_slash(ctx)
            if not isinstance(error, MethodNotAllowed):
                self._authenticate(ctx, required=False)
                if ctx.auth_token and ctx.token_or_none is None:
                    error = Unauthorized("The request you have made requires authentication.")
        except NodeError as other:
            error = other
        reply = self.failed(ctx, error)
        self._send(ctx, reply, resp)
        self._count(ctx, reply, started)

    def failed(self, ctx: Context, error: NodeError) -> Reply:
        """Return the service's fault for an error."""
        if error.status >= 500:
            log.warning(
                "request refused: %s",
                error.message,
                extra={"path": ctx.path, "status": error.status},
            )
        return self.service.fault(ctx, error)

    def context(self, req: falcon.Request) -> Context:
        """Return the context of a request, before anything of it was checked."""
        backend = self.backend
        ctx = Context(
            db=self._reader(),
            proposer=backend.proposer,
            enforcer=backend.policies,
            hooks=backend.hooks,
            config=backend.config,
            clock=backend.clock,
            ids=backend.ids,
            request_id=self.service.request_id(backend.ids, backend.clock)
            if self.service.request_id
            else backend.ids.request_id(),
            base_url=f"{req.scheme}://{self._public_host or req.netloc}",
            plain=req.scheme == "http",
            node_id=backend.node_id,
            data_port=backend.data_port,
            kept=backend.kept,
        )
        environ = req.env
        ctx.peer = environ.get(PEER, "")
        ctx.tell = backend.tell
        ctx.method = req.method
        ctx.path = req.path.removeprefix(self.service.path) or "/"
        ctx.raw_path = environ.get("RAW_URI") or req.path
        ctx.sent_uri = environ.get(RAW_URI) or ctx.raw_path
        ctx.service_path = self.service.path
        ctx.headers = _headers(environ)
        ctx.environ = environ
        ctx.app = self.app
        for name, value in parse_qsl(req.query_string, keep_blank_values=True, errors="replace"):
            ctx.params.setdefault(name, []).append(value)
        ctx.auth_token = ctx.headers.get("x-auth-token", "")
        chunked = ctx.headers.get("transfer-encoding", "").lower() == "chunked"
        length = environ.get("CONTENT_LENGTH", "")
        ctx.content_length = (
            None if chunked else int(length) if length.isascii() and length.isdigit() else 0
        )
        ctx.stream = bodies.BodyStream(environ["wsgi.input"], ctx.content_length)
        return ctx

    def _refuse_slash(self, ctx: Context) -> None:
        """Refuse a path with a slash behind it where that is another path.

        Raises:
            NotFound: 404.
        """
        sent = ctx.raw_path.partition("?")[0]
        if sent.endswith("/") and ctx.path.rstrip("/") in self.service.unslashed:
            raise NotFound("The resource could not be found.")

    def _reader(self) -> Reader:
        """Return the thread's reader; where the store cannot be opened, one that says so when it is asked."""
        try:
            return self.backend.readers.reader()
        except sqlite3.Error as error:
            log.error("the row store cannot be opened: %s", error)
            return cast("Reader", _Unreadable())

    def _answer(self, ctx: Context, routes: Sequence[Route], values: Sequence[str]) -> Reply:
        if not ctx.peer and not self.backend.is_fresh(ctx.db):
            ctx.response_headers["Warning"] = _STALE
        if ctx.peer and not self.backend.is_member(ctx.peer):
            raise Forbidden(f"Node {ctx.peer} is no member of this cluster.")
        self._negotiate(ctx, routes)
        fitting = [route for route in routes if _in_range(route, ctx.microversion)]
        if not fitting:
            raise NotFound("The resource could not be found.")
        if all(route.policy in OPEN for route in fitting):
            self._authenticate(ctx, required=False)
            if ctx.auth_token and ctx.token_or_none is None and fitting[0].policy == "own":
                raise Unauthorized("The request you have made requires authentication.")
        else:
            self._authenticate(ctx, required=True)
        _refuse_nul(ctx, () if fitting[0].policy == "own" else values)
        route, raw = self._select(ctx, fitting)
        params = dict(zip(_parameters(route.path), values, strict=True))
        if route.path.endswith(":path}"):
            params[_parameters(route.path)[-1]] = _tail(ctx, route.path)
        if route.target is None:
            self._enforce(ctx, route, params, {})
            self._decode(ctx, route, raw)
        else:
            self._decode(ctx, route, raw)
            self._enforce(ctx, route, params, route.target(ctx, **params))
        result = route.handler(ctx, **params)
        if not isinstance(result, Reply):
            result = Reply(body=result)
        if result.status is None:
            result = msgspec.structs.replace(result, status=route.status)
        return result

    def _enforce(
        self, ctx: Context, route: Route, params: Mapping[str, str], target: Mapping[str, Any]
    ) -> None:
        if route.policy in OPEN or route.policy == "any":
            return
        asked = {
            "project_id": ctx.token.project_id,
            "user_id": ctx.token.user_id,
            **params,
            **target,
        }
        if not ctx.enforcer.allows(route.policy, ctx.token, asked):
            raise Forbidden(f"Policy doesn't allow {route.policy} to be performed.")

    def _negotiate(self, ctx: Context, routes: Sequence[Route]) -> None:
        offer = self.service.microversions
        if offer is None:
            return
        version_document = all(route.policy == "public" for route in routes)
        try:
            ctx.microversion = microversion.negotiate(offer, ctx.headers)
        except NodeError:
            if not version_document:
                raise
            ctx.microversion = microversion.parse(offer.minimum)
        ctx.response_headers.update(microversion.response_headers(offer, ctx.microversion))

    def _authenticate(self, ctx: Context, *, required: bool) -> None:
        if ctx.auth_token:
            ctx.token_or_none = ctx.hook.token_verify(
                db=ctx.db, token=ctx.auth_token, now_us=ctx.clock.now_us()
            )
        if ctx.token_or_none is None:
            if required:
                raise Unauthorized("The request you have made requires authentication.")
            return
        rules = ctx.token_or_none.access_rules
        if rules is not None and not _rule_matches(rules, ctx, self.service.type):
            raise Unauthorized("The application credential does not allow this request.")

    def _select(self, ctx: Context, routes: Sequence[Route]) -> tuple[Route, bytes | None]:
        """Return the route, and the undecoded body when it had to be read to find the route."""
        if routes[0].action is None:
            for route in routes:
                if route.select is not None and route.select in ctx.params:
                    return route, None
            for route in routes:
                if route.select is None:
                    return route, None
            raise NotFound("The resource could not be found.")
        name, value = bodies.decode_action(ctx.stream.read_all(bodies.MAX_JSON_BYTES))
        for route in routes:
            if route.action == name:
                return route, bytes(value)
        raise BadRequest(f"There is no such action: {name}")

    def _decode(self, ctx: Context, route: Route, raw: bytes | None) -> None:
        if route.query is not None:
            try:
                ctx.query = bodies.decode_query(ctx.params, route.query)
            except msgspec.ValidationError as error:
                raise self._invalid(ctx, error) from error
        if route.stream or (route.body is None and raw is None):
            return
        if raw is None:
            raw = ctx.stream.read_all(bodies.MAX_JSON_BYTES)
        ctx.raw_body = raw
        try:
            ctx.body = bodies.decode_json(raw, Any if route.body is None else route.body)
        except msgspec.ValidationError as error:
            raise self._invalid(ctx, error) from error

    def _invalid(self, ctx: Context, error: msgspec.ValidationError) -> NodeError:
        return self.service.invalid(ctx, error) if self.service.invalid else BadRequest(str(error))

    def _send(self, ctx: Context, reply: Reply, resp: falcon.Response) -> None:
        status = reply.status or 200
        resp.status = falcon.code_to_http_status(status)
        for headers in (ctx.response_headers, reply.headers):
            for name, value in headers.items():
                resp.set_header(name, _header_text(value))
        resp.set_header("X-Openstack-Request-Id", ctx.request_id)
        if self.service.request_id_header:
            resp.set_header(self.service.request_id_header, ctx.request_id)
        if reply.file is not None:
            path, offset, length = reply.file
            source = open(path, "rb")  # noqa: SIM115 - the server closes it after sending
            source.seek(offset)
            resp.content_type = reply.content_type
            whole = offset == 0 and length == os.fstat(source.fileno()).st_size
            resp.set_stream(cast("Any", source if whole else _Slice(source, length)), length)
        elif reply.body is None:
            if status not in _BODYLESS:
                resp.data = b""
                resp.content_type = reply.content_type if ctx.method == "HEAD" else "text/plain"
        elif isinstance(reply.body, bytes):
            resp.content_type = reply.content_type
            resp.data = reply.body
        elif isinstance(reply.body, Mapping | list | tuple | msgspec.Struct):
            resp.content_type = reply.content_type
            resp.data = msgspec.json.encode(reply.body)
        else:
            resp.content_type = reply.content_type
            resp.stream = reply.body
            if reply.length_bytes is not None:
                resp.content_length = reply.length_bytes


class _Unreadable:
    """Stands where a reader should be."""

    def __getattr__(self, name: str) -> NoReturn:
        raise Unavailable("The row store of this node cannot be read now: repeat the request")


class _Slice:
    """Part of an open file, for the server to read and close."""

    def __init__(self, source: Any, length: int) -> None:
        self._source = source
        self._left = length

    def read(self, size: int = 1 << 16) -> bytes:
        data: bytes = self._source.read(min(size, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._source.close()


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    headers = {
        key[5:].replace("_", "-").lower(): value
        for key, value in environ.items()
        if key.startswith("HTTP_")
    }
    headers["content-type"] = environ.get("CONTENT_TYPE", "")
    return headers


def _refuse_nul(ctx: Context, values: Sequence[str]) -> None:
    """Refuse what no row can hold, before it becomes an id, a field or a question. Bodies: `decode_json`.

    Raises:
        NotFound: 404, a parameter of the path holds a NUL character.
        BadRequest: 400, the query or a header does.
    """
    for value in values:
        if "\0" in value:
            raise NotFound("The resource could not be found.")
    for name, some in ctx.params.items():
        if "\0" in name or any("\0" in value for value in some):
            raise BadRequest("The query holds a NUL character.")
    for name, text in ctx.headers.items():
        if "\0" in text:
            raise BadRequest(f"The header {name} holds a NUL character.")


def _header_text(value: object) -> str:
    """Return a header value that cannot split the response; what latin-1 lacks is sent as UTF-8 bytes."""
    text = _CONTROL.sub(" ", str(value))
    return text if text.isascii() else text.encode().decode("latin-1")


def _parameters(path: str) -> list[str]:
    return [part[1:-1].partition(":")[0] for part in path.split("/") if part.startswith("{")]


def _tail(ctx: Context, path: str) -> str:
    """Return what the last parameter of a path took, as it was sent: falcon drops a slash at its end."""
    sent = unquote(ctx.raw_path.partition("?")[0], errors="surrogateescape")
    below = sent.removeprefix(ctx.service_path).lstrip("/")
    return below.split("/", path.strip("/").count("/"))[-1]


def _in_range(route: Route, version: tuple[int, int]) -> bool:
    if route.since is not None and version < microversion.parse(route.since):
        return False
    return route.until is None or version <= microversion.parse(route.until)


def _rule_matches(rules: Sequence[Mapping[str, str]], ctx: Context, service_type: str) -> bool:
    """Return whether one of an application credential's access rules names this request."""
    wanted = ctx.path.rstrip("/").split("/")
    for rule in rules:
        if rule.get("service") != service_type or rule.get("method") != ctx.method:
            continue
        pattern = rule.get("path", "").rstrip("/").split("/")
        if "**" in pattern:
            pattern = pattern[: pattern.index("**")]
            if pattern == wanted[: len(pattern)]:
                return True
        elif len(pattern) == len(wanted) and all(
            p in (w, "*") or (p.startswith("{") and p.endswith("}"))
            for p, w in zip(pattern, wanted, strict=True)
        ):
            return True
    return False


def _unexpected() -> NodeError:
    return NodeError(
        "Unexpected API Error. Please report this with the request id and the log of the node."
    )
