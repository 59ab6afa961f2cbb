"""How the identity service fails: Keystone's fault bodies, headers and sentences.

Source: https://docs.openstack.org/api-ref/identity/v3/
"""

import re

import msgspec

from node.sdk import (
    BadRequest,
    Conflict,
    Context,
    Forbidden,
    NodeError,
    NotFound,
    Reply,
    Unauthorized,
)

_POLICY = re.compile(r"Policy doesn't allow (\S+) to be performed\.")
_FIELD = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>.*?)`)?$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")

UNAUTHENTICATED = "The request you have made requires authentication."


def fault(ctx: Context, error: NodeError) -> Reply:
    """Return Keystone's body of an error."""
    message = error.message
    if isinstance(error, Forbidden) and (found := _POLICY.fullmatch(message)):
        message = f"You are not authorized to perform the requested action: {found.group(1)}."
    headers = {"Vary": "X-Auth-Token"}
    if error.status == 401:
        headers["WWW-Authenticate"] = f'Keystone uri="{ctx.url("/v3")}"'
    body = {"error": {"code": error.status, "message": message, "title": error.title}}
    return Reply(body=body, status=error.status, headers=headers)


def invalid(_ctx: Context, error: msgspec.ValidationError) -> NodeError:
    """Turn a body that does not fit into Keystone's sentence about it."""
    return BadRequest(sentence(str(error)))


def sentence(text: str) -> str:
    """Turn msgspec's account of a mistake into one like JSON schema's."""
    found = _FIELD.match(text)
    what = found.group("what") if found else text
    path = ((found.group("path") if found else None) or "").lstrip(".").replace(".", "/")
    if missing := _MISSING.fullmatch(what):
        what = f"'{missing.group(1)}' is a required property"
    elif unknown := _UNKNOWN.fullmatch(what):
        what = f"Additional properties are not allowed ('{unknown.group(1)}' was unexpected)"
    return f"Invalid input for field '{path}': {what}" if path else what


def missing(kind: str, ident: str) -> NotFound:
    """Return the error of something that is not there."""
    return NotFound(f"Could not find {kind}: {ident}.")


def conflict(kind: str, details: str) -> Conflict:
    """Return the error of something that is there already."""
    return Conflict(f"Conflict occurred attempting to store {kind} - {details}.")


def duplicate(kind: str, name: str, domain_id: str) -> Conflict:
    """Return the error of a name that is taken in its domain."""
    where = f" at domain ID {domain_id}" if domain_id else ""
    return conflict(kind, f"Duplicate entry found with name {name}{where}")


def unauthenticated() -> Unauthorized:
    """Return the one answer to every failed login: it tells nothing."""
    return Unauthorized(UNAUTHENTICATED)
