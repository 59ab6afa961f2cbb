"""What every request to Swift goes through: signatures, origins of browsers, rates, and the common headers."""

from collections.abc import Callable

import msgspec

from node.plugins.object.swift import cors_rules, rate_rules, staticweb_api, tempurl_rules
from node.plugins.object.swift.access import Scope
from node.plugins.object.swift.call import Call
from node.plugins.object.swift.faults import Refusal, fault
from node.sdk import Context, NodeError, Reply

Endpoint = Callable[[Call], Reply]


def served(endpoint: Endpoint, scope: Scope) -> Callable[..., Reply]:
    """Return the handler of a route to an account, a container or an object, which an endpoint answers."""

    def handler(ctx: Context, **_path: str) -> Reply:
        call = Call(ctx)
        if call.scope != scope or not call.account:  # an empty name in the middle
            raise Refusal(412, "Bad URL")
        origin = ctx.headers.get("origin", "")
        try:
            reply = _answer(call, endpoint)
        except NodeError as error:
            if not origin and error.status < 500:
                raise
            reply = fault(ctx, error)
        if origin and ctx.method != "OPTIONS":
            extra = cors_rules.response_headers(call, origin, reply.headers)
            reply = msgspec.structs.replace(reply, headers={**reply.headers, **extra})
        return reply

    handler.__doc__ = endpoint.__doc__
    return handler


def _answer(call: Call, endpoint: Endpoint) -> Reply:
    tempurl_rules.apply(call)
    rate_rules.wait(call)
    page = staticweb_api.page(call)
    if page is not None:
        return page
    reply = endpoint(call)
    if call.download_headers and reply.status in (200, 206, 304):
        reply = msgspec.structs.replace(reply, headers={**reply.headers, **call.download_headers})
    return reply
