"""The object store's endpoints, as data."""

from node.plugins.object.swift import (
    account_api,
    container_api,
    cors_rules,
    info_api,
    object_change_api,
    object_copy_api,
    object_read_api,
    object_write_api,
)
from node.plugins.object.swift.access import Scope
from node.plugins.object.swift.faults import fault
from node.plugins.object.swift.served import Endpoint, served
from node.sdk import Clock, Ids, Route, Service

_ACCOUNT = "/v1/{account}"
_CONTAINER = "/v1/{account}/{container}"
_OBJECT = "/v1/{account}/{container}/{object:path}"
_SCOPES: dict[str, Scope] = {_ACCOUNT: "account", _CONTAINER: "container", _OBJECT: "object"}


def _own(method: str, path: str, endpoint: Endpoint) -> Route:
    """Return a route whose endpoint decides by access lists, and reads its body itself."""
    handler = served(endpoint, _SCOPES[path])
    return Route(method=method, path=path, handler=handler, policy="own", stream=True)


ROUTES = (
    Route(method="GET", path="/info", handler=info_api.info, policy="public", at_root=True),
    Route(method="HEAD", path="/info", handler=info_api.info, policy="public", at_root=True),
    Route(method="OPTIONS", path="/info", handler=info_api.options, policy="public", at_root=True),
    Route(
        method="GET",
        path="/healthcheck",
        handler=info_api.healthcheck,
        policy="public",
        at_root=True,
    ),
    Route(
        method="GET",
        path="/crossdomain.xml",
        handler=info_api.crossdomain,
        policy="public",
    ),
    Route(
        method="GET",
        path="/crossdomain.xml",
        handler=info_api.crossdomain,
        policy="public",
        at_root=True,
    ),
    Route(method="GET", path="/healthcheck", handler=info_api.healthcheck, policy="public"),
    Route(method="GET", path="/info", handler=info_api.info, policy="public"),
    _own("HEAD", _ACCOUNT, account_api.head),
    _own("GET", _ACCOUNT, account_api.get),
    _own("PUT", _ACCOUNT, account_api.put),
    _own("POST", _ACCOUNT, account_api.post),
    _own("DELETE", _ACCOUNT, account_api.delete),
    _own("OPTIONS", _ACCOUNT, cors_rules.options),
    _own("HEAD", _CONTAINER, container_api.head),
    _own("GET", _CONTAINER, container_api.get),
    _own("PUT", _CONTAINER, container_api.put),
    _own("POST", _CONTAINER, container_api.post),
    _own("DELETE", _CONTAINER, container_api.delete),
    _own("OPTIONS", _CONTAINER, cors_rules.options),
    _own("HEAD", _OBJECT, object_read_api.head),
    _own("GET", _OBJECT, object_read_api.get),
    _own("PUT", _OBJECT, object_write_api.put),
    _own("POST", _OBJECT, object_change_api.post),
    _own("DELETE", _OBJECT, object_change_api.delete),
    _own("COPY", _OBJECT, object_copy_api.copy),
    _own("OPTIONS", _OBJECT, cors_rules.options),
)


def transaction_id(ids: Ids, clock: Clock) -> str:
    """Return a request's name as Swift makes them: random, and the second of its arrival."""
    return f"tx{ids.hex()[:21]}-{clock.now_us() // 1_000_000:010x}"


SERVICE = Service(
    name="swift",
    type="object-store",
    path="/object-store",
    endpoint="/object-store/v1/AUTH_{project_id}",
    routes=ROUTES,
    fault=fault,
    request_id=transaction_id,
    request_id_header="X-Trans-Id",
    description="Object store",
)
