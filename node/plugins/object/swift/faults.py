"""Faults as Swift words them: a page of HTML for each status, or one line that says what is wrong.

Source: https://docs.openstack.org/api-ref/object-store/
"""

from collections.abc import Mapping
from typing import Final

from node.sdk import ClientGone, Context, NodeError, OverQuota, Reply

_STANDARD: Final = {
    202: ("Accepted", "The request is accepted for processing."),
    301: ("Moved Permanently", "The resource has moved permanently."),
    303: ("See Other", "The response to the request can be found under a different URI."),
    307: ("Temporary Redirect", "The resource has moved temporarily."),
    400: (
        "Bad Request",
        "The server could not comply with the request since it is either malformed or otherwise incorrect.",
    ),
    401: (
        "Unauthorized",
        "This server could not verify that you are authorized to access the document you requested.",
    ),
    403: ("Forbidden", "Access was denied to this resource."),
    404: ("Not Found", "The resource could not be found."),
    405: ("Method Not Allowed", "The method is not allowed for this resource."),
    406: (
        "Not Acceptable",
        "The resource is not available in a format acceptable to your browser.",
    ),
    409: ("Conflict", "There was a conflict when trying to complete your request."),
    410: ("Gone", "This resource is no longer available."),
    411: ("Length Required", "Content-Length header required."),
    412: ("Precondition Failed", "A precondition for this request was not met."),
    413: ("Request Entity Too Large", "The body of your request was too large for this server."),
    414: ("Request URI Too Long", "The request URI was too long for this server."),
    416: ("Requested Range Not Satisfiable", "The Range requested is not available."),
    422: ("Unprocessable Entity", "Unable to process the contained instructions"),
    498: ("Rate Limited", "Slow down"),
    499: ("Client Disconnect", "The client was disconnected during request."),
    500: (
        "Internal Error",
        "The server has either erred or is incapable of performing the requested operation.",
    ),
    501: ("Not Implemented", "The requested method is not implemented by this server."),
    503: (
        "Service Unavailable",
        "The server is currently unavailable. Please try again at a later time.",
    ),
    507: ("Insufficient Storage", "There was not enough space to save the resource."),
}
_HTML = "text/html; charset=UTF-8"
_TEXT = "text/plain"


class Refusal(NodeError):
    """A request that Swift refuses with a status and, where `text` is given, words of its own."""

    def __init__(
        self,
        code: int,
        text: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        content_type: str = _TEXT,
    ) -> None:
        super().__init__(text or title(code))
        self.status = self.code = code  # type: ignore[misc]  # each refusal has its own
        self.text = text
        self.headers = dict(headers or {})
        self.content_type = content_type


def title(code: int) -> str:
    """Return what a status is called."""
    return _STANDARD.get(code, ("Error", ""))[0]


def status_line(code: int) -> str:
    """Return a status as the answers of bulk operations print it: `404 Not Found`."""
    return f"{code} {'OK' if code == 200 else 'Created' if code == 201 else title(code)}"


def page(code: int) -> bytes:
    """Return Swift's page of HTML for a status."""
    name, text = _STANDARD.get(code, ("Error", ""))
    return f"<html><h1>{name}</h1><p>{text}</p></html>".encode()


def standard(code: int, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a reply with Swift's own page."""
    return Reply(status=code, body=page(code), content_type=_HTML, headers=headers or {})


def done(headers: Mapping[str, str] | None = None) -> Reply:
    """Return the answer to what was done and has nothing to say."""
    told = {"Content-Type": _HTML, "Content-Length": "0", **(headers or {})}
    return Reply(status=204, headers=told)


def fault(ctx: Context, error: NodeError) -> Reply:
    """Return the reply for an error."""
    code = code_of(error)
    headers = dict(error.headers) if isinstance(error, Refusal) else {}
    if code == 401:
        headers.setdefault("WWW-Authenticate", f'Swift realm="{_realm(ctx)}"')
    if isinstance(error, Refusal) and error.text:
        return Reply(
            status=code, body=error.text.encode(), content_type=error.content_type, headers=headers
        )
    return standard(code, headers)


def code_of(error: NodeError) -> int:
    """Return the status that an error gets here."""
    if isinstance(error, Refusal):
        return error.code
    if isinstance(error, ClientGone):
        return 499
    return 413 if isinstance(error, OverQuota) else error.status


def _realm(ctx: Context) -> str:
    account = ctx.path.removeprefix("/v1/").partition("/")[0]
    return account if account and '"' not in account and account.isascii() else "unknown"
