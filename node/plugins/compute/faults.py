"""How compute fails: Nova's fault bodies and the words of its schema errors.

Source: https://docs.openstack.org/api-guide/compute/faults.html
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from node.sdk import BadRequest, Context, NodeError, Reply

_NAMES: Mapping[int, str] = MappingProxyType(
    {
        400: "badRequest",
        401: "unauthorized",
        403: "forbidden",
        404: "itemNotFound",
        405: "badMethod",
        409: "conflictingRequest",
        413: "overLimit",
        415: "badMediaType",
        429: "overLimit",
        501: "notImplemented",
        503: "serviceUnavailable",
    }
)
_PATH = re.compile(r" - at (?:`key` in )?`\$([^`]*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[([^\]]*)\]")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]*)`")
_MISSING = re.compile(r"Object missing required field `([^`]*)`")


def fault(ctx: Context, error: NodeError) -> Reply:
    """Return Nova's answer to an error."""
    body: dict[str, Any]
    if error.status == 401:  # keystonemiddleware's form, not Nova's
        body = {"error": {"code": 401, "title": "Unauthorized", "message": error.message}}
        headers = {"WWW-Authenticate": f'Keystone uri="{ctx.base_url}/identity"'}
        return Reply(status=401, body=body, headers=headers)
    name = _NAMES.get(error.status, "computeFault")
    return Reply(status=error.status, body={name: {"code": error.status, "message": error.message}})


def invalid(ctx: Context, error: msgspec.ValidationError) -> NodeError:
    """Return the error of a body or query that does not fit its type, in the words of Nova's schema validation."""
    return BadRequest(schema_message(str(error), ctx.raw_body))


def schema_message(text: str, raw: bytes = b"") -> str:
    """Reword a msgspec error; `raw` is the body that it is about, where there is one."""
    found = _PATH.search(text)
    path = found.group(1) if found else ""
    problem = text[: found.start()] if found else text
    steps = [name or index for name, index in _STEP.findall(path)]
    value = _value_at(raw, steps)
    if unknown := _UNKNOWN.search(problem):
        problem = f"Additional properties are not allowed ('{unknown.group(1)}' was unexpected)"
    elif missing := _MISSING.search(problem):
        problem = f"'{missing.group(1)}' is a required property"
    field = next((step for step in reversed(steps) if not step.isdigit() and step != "..."), "")
    if not field:
        return problem
    shown = f" Value: {value}." if value is not None else ""
    return f"Invalid input for field/attribute {field}.{shown} {problem}"


def field_error(field: str, value: object, problem: str) -> BadRequest:
    """Return the error of one field, as Nova's schema validation words it."""
    return BadRequest(f"Invalid input for field/attribute {field}. Value: {value}. {problem}")


def unexpected(field: str) -> BadRequest:
    """Return the error of a field that this microversion does not have."""
    return BadRequest(f"Additional properties are not allowed ('{field}' was unexpected)")


def _value_at(raw: bytes, steps: list[str]) -> Any:
    if not raw or not steps:
        return None
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    for step in steps:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value
