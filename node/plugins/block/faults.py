"""How block storage fails: Cinder's fault bodies and the words of its schema errors.

Source: https://docs.openstack.org/api-ref/block-storage/v3/
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from node.sdk import BadRequest, Context, NodeError, OverQuota, Reply, TooLarge

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
    """Return Cinder's answer to an error."""
    body: dict[str, Any]
    if error.status == 401:  # keystonemiddleware's form, not Cinder's
        body = {"error": {"code": 401, "title": "Unauthorized", "message": error.message}}
        headers = {"WWW-Authenticate": f'Keystone uri="{ctx.base_url}/identity"'}
        return Reply(status=401, body=body, headers=headers)
    if error.status == 406:  # the form of the microversion guideline
        problem = {
            "status": 406,
            "code": "",
            "title": "Not Acceptable",
            "detail": error.message,
            "links": [],
            **error.detail,
        }
        return Reply(status=406, body={"errors": [problem]})
    name = _NAMES.get(error.status, "computeFault")
    body = {name: {"code": error.status, "message": error.message}}
    if error.status == 413:
        body[name]["retryAfter"] = "0"
        return Reply(status=413, body=body, headers={"Retry-After": "0"})
    return Reply(status=error.status, body=body)


def invalid(ctx: Context, error: msgspec.ValidationError) -> NodeError:
    """Return the error of a body or query that does not fit its type, in the words of Cinder's schemas."""
    del ctx
    text = str(error)
    found = _PATH.search(text)
    steps = [name or index for name, index in _STEP.findall(found.group(1))] if found else []
    problem = text[: found.start()] if found else text
    if unknown := _UNKNOWN.search(problem):
        problem = f"Additional properties are not allowed ('{unknown.group(1)}' was unexpected)"
    elif missing := _MISSING.search(problem):
        problem = f"'{missing.group(1)}' is a required property"
    field = next((step for step in reversed(steps) if not step.isdigit() and step != "..."), "")
    if not field:
        return BadRequest(problem)
    return BadRequest(f"Invalid input for field/attribute {field}. {problem}")


def field_error(field: str, value: object, problem: str) -> BadRequest:
    """Return the error of one field, as Cinder's schema validation words it."""
    return BadRequest(f"Invalid input for field/attribute {field}. Value: {value}. {problem}")


_COUNTED: Mapping[str, str] = MappingProxyType(
    {"volumes": "volumes", "snapshots": "snapshots", "backups": "backups", "groups": "groups"}
)


def over_quota(error: OverQuota, requested: Mapping[str, int]) -> TooLarge:
    """Return Cinder's words for a counter that is at its limit."""
    name = str(error.detail.get("counter", "")).rpartition(":")[2]
    used, limit = error.detail.get("used", 0), error.detail.get("limit", 0)
    kind = name.partition("_")[0] if name != "backup_gigabytes" else name
    if kind in _COUNTED:
        title = {"volumes": "VolumeLimitExceeded", "snapshots": "SnapshotLimitExceeded"}
        label = title.get(kind, f"{kind.capitalize().removesuffix('s')}LimitExceeded")
        return TooLarge(
            f"{label}: Maximum number of {kind} allowed ({limit}) exceeded for quota '{name}'."
        )
    label = (
        "VolumeBackupSizeExceedsAvailableQuota: Requested backup"
        if kind == "backup_gigabytes"
        else "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot"
    )
    return TooLarge(
        f"{label} exceeds allowed {name} quota. Requested {requested.get(kind, 0)}G,"
        f" quota is {limit}G and {used}G has been consumed."
    )
