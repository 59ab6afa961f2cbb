"""An endpoint is data: method, path, policy, body type, microversions and handler in one literal."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from node.clock import Clock
from node.errors import NodeError
from node.ids import Ids
from node.types import Frozen

if TYPE_CHECKING:
    from node.api.context import Context


class Reply(Frozen):
    """What a handler gives back. `body` is JSON data, bytes, an iterator of bytes, or None for no body."""

    body: Any = None
    status: int | None = None
    """None: the route's."""
    headers: Mapping[str, str] = {}
    content_type: str = "application/json"
    length_bytes: int | None = None
    """Content-Length of an iterator's body; None: chunked."""
    file: tuple[str, int, int] | None = None
    """(path, offset, length) of a file to send by the kernel where that is possible."""


Handler = Callable[..., Reply | Mapping[str, Any] | None]
"""Called as handler(ctx, **path_params). A mapping is the JSON body; None is no body."""


class Route(Frozen):
    """One method on one path of one service.

    Several routes may share method and path when their microversions or actions differ.
    """

    method: str
    path: str
    """Below the service's path, for example `/v2.1/servers/{server_id}`. A last parameter `{name:path}` takes all that
    follows, slashes included, exactly as it was sent (percent-decoded once); `ctx.raw_path` has the undecoded bytes."""
    handler: Handler
    policy: str
    """Name of the rule that guards it, or `public` where no token is needed, or `any` for every valid token, or `own`:
    the handler decides by access lists or signatures of its own; a token that comes along must be valid."""
    status: int = 200
    target: Callable[..., Mapping[str, Any]] | None = None
    """Called as target(ctx, **path_params) after the body is decoded: what the policy is asked about, besides the
    path's parameters. None: the policy is asked before anything of the body is read."""
    body: type[Any] | None = None
    """msgspec type of the JSON body; None: no body is read (`ctx.stream` gives the raw one)."""
    query: type[Any] | None = None
    """msgspec Struct of the query parameters: unknown ones are refused when it forbids unknown fields;
    None: handlers read `ctx.params`."""
    since: str | None = None
    until: str | None = None
    action: str | None = None
    """The one key of the body that selects this route, as in Nova's `{"reboot": {...}}`. `body` is the type of the
    value below that key (None: the value is given as it is in `ctx.body`)."""
    summary: str = ""
    select: str | None = None
    """The query parameter whose presence selects this route among those of the same method and path, as in S3's
    `?acl`. The first that is there wins; one without `select` takes the rest."""
    response: type[Any] | None = None
    stream: bool = False
    """The handler reads the raw body itself from `ctx.stream`."""
    at_root: bool = False
    """Its path is the port's, not below the service's: where clients look for it whatever the catalog says."""
    peers_only: bool = False
    """Served to other nodes on the data port only, where `ctx.peer` says which; its policy is `public`."""


class Microversions(Frozen):
    """Range and headers of a service with microversions."""

    minimum: str
    maximum: str
    service_type: str
    """As in `OpenStack-API-Version: compute 2.1`."""
    legacy_header: str = ""
    """As `X-OpenStack-Nova-API-Version`."""


class Service(Frozen):
    """One OpenStack service: where it is, what it speaks, how it fails."""

    name: str
    """As in the catalog: keystone, nova, …"""
    type: str
    """As in the catalog: identity, compute, …"""
    path: str
    """Prefix on the port: `/identity`."""
    endpoint: str
    """Path of the catalog's URL below the port, for example `/compute/v2.1`; may hold `{project_id}`. Empty: it is in
    no catalog."""
    routes: tuple[Route, ...]
    fault: Callable[["Context", NodeError], Reply]
    """Turns an error into this service's body and headers."""
    invalid: Callable[["Context", msgspec.ValidationError], NodeError] | None = None
    """Turns a body error into this service's error; None: BadRequest with the plain text."""
    microversions: Microversions | None = None
    request_id_header: str = ""
    """One more header that names the request, which old clients of the service read."""
    request_id: Callable[[Ids, Clock], str] | None = None
    """Makes the name of a request, where it is not `req-` and a UUID."""
    aliases: tuple[str, ...] = ()
    """More catalog types of the same endpoint: `block-storage` beside `volumev3`."""
    unslashed: tuple[str, ...] = ()
    """Paths that are not there with a slash behind them, as an item without an id (everywhere else it is ignored)."""
    policies: Mapping[str, str] = {}
    """Rule by policy name, in oslo.policy's language; overridden by the policy file."""
    rules: Mapping[str, str] = {}
    """Shared rules that policies refer to by `rule:name`."""
    description: str = ""
    claim: Callable[[Mapping[str, Any], Any], tuple[str, Mapping[str, str]] | None] | None = None
    """Called as claim(environ, config) for every request: the percent-encoded path at which this service serves one
    that came in elsewhere (under a host name of its own, or at the root with a signature of its own), and what to add
    to its environment; None: it is no such request."""

    def iterate(self) -> Iterator[Route]:
        """Yield the routes."""
        yield from self.routes
