"""The falcon application: every service's routes on one port, one path per service."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import unquote

import falcon
import msgspec

from node.api.dispatch import PEER, RAW_URI, Backend, Dispatcher
from node.api.metrics import MetricsPage
from node.api.openapi import document
from node.api.policy import collect
from node.api.route import Route, Service
from node.errors import BadRequest, MethodNotAllowed, NodeError, NotFound
from node.observe.requests import RequestCounts

log = logging.getLogger("hedgerow.api")

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "COPY", "OPTIONS")

Responder = Callable[..., None]
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def build_both(backend: Backend, services: Iterable[Service]) -> Wsgi:
    """Return the application of these services with, on the data port, what they serve to other nodes."""
    services = list(services)
    public, peers = build(backend, services), build(backend, services, peers=True)

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return (peers if PEER in environ else public)(environ, start_response)

    return serve


def build(
    backend: Backend, services: Iterable[Service], *, peers: bool = False
) -> falcon.App[falcon.Request, falcon.Response]:
    """Return the WSGI application of these services; `peers`: of what only other nodes may ask.

    Raises:
        ValueError: two routes cannot be told apart.
    """
    services = list(services)
    app = falcon.App(cors_enable=False)
    app.req_options.strip_url_path_trailing_slash = True
    app.resp_options.default_media_type = "application/json"
    claiming = [service for service in services if service.claim is not None]
    if claiming and not peers:
        app.add_middleware(_Elsewhere(backend, claiming))
    dispatchers = sorted(
        (Dispatcher(backend, service) for service in services),
        key=lambda dispatcher: -len(dispatcher.service.path),
    )
    counts = RequestCounts(sorted(service.name for service in services))
    for dispatcher in dispatchers:
        dispatcher.app = app
        if not peers:
            dispatcher.counts = counts
            _prepare(dispatcher.service)
        _add_service(app, dispatcher, peers=peers)

    def translate(
        req: falcon.Request, resp: falcon.Response, error: Exception, _params: Any
    ) -> None:
        """Answer what falcon itself refuses with the fault of the service that was asked."""
        wanted = _translated(error)
        if wanted.status >= 500:
            log.error("request failed before its endpoint", exc_info=error)
        for dispatcher in dispatchers:
            if req.path == dispatcher.service.path or req.path.startswith(
                dispatcher.service.path + "/"
            ):
                dispatcher.refuse(req, resp, wanted)
                if isinstance(error, falcon.HTTPMethodNotAllowed):
                    resp.set_headers(error.headers or {})
                return
        resp.status = falcon.code_to_http_status(wanted.status)
        resp.data = msgspec.json.encode(
            {"error": {"code": wanted.status, "message": wanted.message}}
        )
        resp.content_type = "application/json"
        resp.set_header("X-Openstack-Request-Id", backend.ids.request_id())

    app.add_error_handler(falcon.HTTPError, translate)
    app.add_error_handler(Exception, translate)
    if not peers:
        app.add_route("/", _Index(services))
        app.add_route("/openapi.json", _OpenApi(services))
        app.add_route("/metrics", MetricsPage(backend, counts))
    return app


def try_out(services: Sequence[Service]) -> None:
    """Compile routes and policies of services as `build` would.

    Raises:
        ValueError: two routes cannot be told apart, one has a method that is not served, or a name is taken.
        ConfigError: a policy cannot be read.
    """
    app = falcon.App()
    paths: set[str] = set()
    rules: dict[str, str] = {}
    for service in services:
        if service.path in paths or not service.path.startswith("/"):
            raise ValueError(f"The path {service.path} of {service.name} is taken or is none")
        paths.add(service.path)
        for peers in (False, True):
            _add_service(app, cast("Any", SimpleNamespace(service=service)), peers=peers)
        for name, text in {**service.rules, **service.policies}.items():
            if rules.setdefault(name, text) != text:
                raise ValueError(f"The policy {name} of {service.name} is another service's")
    collect([rules], "")


def _prepare(service: Service) -> None:
    """Have msgspec know every type that requests bring: to learn one in two threads at once would end the process."""
    for route in service.routes:
        for kind in (route.body, route.query):
            if kind is not None:
                msgspec.json.Decoder(kind)


def _add_service(app: Any, dispatcher: Dispatcher, *, peers: bool) -> None:
    paths: dict[str, dict[str, list[Route]]] = defaultdict(lambda: defaultdict(list))
    for route in dispatcher.service.routes:
        if route.peers_only != peers:
            continue
        front = "" if route.at_root else dispatcher.service.path
        paths[_numbered(front + route.path.rstrip("/"))][route.method].append(route)
    for path, methods in paths.items():
        for method, routes in methods.items():
            if method not in _METHODS:
                raise ValueError(f"{method} {path} has a method that is not served")
            if len({route.action is None for route in routes}) > 1:
                raise ValueError(f"{method} {path} has routes with and without action")
        responders = {
            f"on_{method.lower()}": _responder(dispatcher, routes)
            for method, routes in methods.items()
        }
        app.add_route(path, type("Endpoint", (), responders)())


def _responder(dispatcher: Dispatcher, routes: Sequence[Route]) -> Responder:
    def respond(_self: object, req: falcon.Request, resp: falcon.Response, **values: str) -> None:
        dispatcher.serve(routes, req, resp, list(values.values()))

    return respond


def _numbered(path: str) -> str:
    """Name the path's parameters by position, as routes of one service may name the same one differently."""
    parts = path.split("/")
    for index, part in enumerate(parts):
        if part.startswith("{"):
            converter = part[1:-1].partition(":")[2]
            parts[index] = f"{{p{index:02}{':' + converter if converter else ''}}}"
    return "/".join(parts) or "/"


def _translated(error: Exception) -> NodeError:
    if isinstance(error, falcon.HTTPMethodNotAllowed):
        return MethodNotAllowed("The method is not allowed for this resource.")
    if isinstance(error, falcon.HTTPNotFound):
        return NotFound("The resource could not be found.")
    if isinstance(error, falcon.HTTPError):
        return BadRequest(error.description or error.title or "Bad Request")
    return NodeError("Unexpected API Error.")


class _Elsewhere:
    """Leads requests that a service claims to the service's own path, before anything is looked up."""

    def __init__(self, backend: Backend, services: Sequence[Service]) -> None:
        self._config = backend.config
        self._claims = [service.claim for service in services if service.claim is not None]

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        for claim in self._claims:
            found = claim(req.env, self._config)
            if found is None:
                continue
            path, more = found
            environ = req.env
            raw = environ.get("RAW_URI") or req.path
            query = raw.partition("?")[2]
            environ[RAW_URI] = raw
            environ["RAW_URI"] = path + (f"?{query}" if query else "")
            environ.update(more)
            decoded = unquote(path, errors="replace")
            req.path = decoded.removesuffix("/") or "/"
            return


class _Index:
    """`GET /`: what is served where."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._services = services

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        base = f"{req.scheme}://{req.netloc}"
        resp.data = msgspec.json.encode(
            {
                "services": [
                    {
                        "name": s.name,
                        "type": s.type,
                        "description": s.description,
                        "url": base + s.path,
                    }
                    for s in self._services
                ],
                "openapi": f"{base}/openapi.json",
            }
        )


class _OpenApi:
    """`GET /openapi.json`: the document made from the route tables."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._services = services

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.data = msgspec.json.encode(document(self._services))
