"""What headers say of a container that is made or changed."""

from urllib.parse import unquote

import msgspec

from node.plugins.object import retention_rules
from node.plugins.object.swift import acl_rules, limit_rules, version_rules
from node.plugins.object.swift.call import Call, truth
from node.plugins.object.swift.faults import Refusal
from node.plugins.object.tables import Container

_ACLS = {"x-container-read": "read", "x-container-write": "write"}
_LEGACY = {
    "x-versions-location": version_rules.STACK,
    "x-history-location": version_rules.HISTORY,
}
_QUOTAS = {"quota-bytes": "Invalid bytes quota.", "quota-count": "Invalid count quota."}


class Change:
    """What a request says. `apply` makes a container so.

    Raises:
        Refusal: 400, it says something that cannot be.
    """

    def __init__(self, call: Call) -> None:
        self._section = call.section
        self.meta = limit_rules.user_metadata(call.headers, "container", call.section)
        for name, text in _QUOTAS.items():
            value = self.meta.get(name, "")
            if value and not (value.isascii() and value.isdigit()):
                raise Refusal(400, text, content_type="text/html; charset=UTF-8")
        self.sys: dict[str, str] = {}
        self.versioning: str | None = None
        self._legacy(call)
        if call.is_owner:
            self._access(call)
        if "x-versions-enabled" in call.headers:
            self.versioning = (
                "enabled" if truth(call.headers["x-versions-enabled"]) else "suspended"
            )

    def _access(self, call: Call) -> None:
        for header, name in _ACLS.items():
            if header in call.headers:
                self.sys[name] = acl_rules.clean(header, _decoded(call.headers[header]))
            elif f"x-remove-{header[2:]}" in call.headers:
                self.sys[name] = ""
        token = call.ctx.token_or_none
        if self.sys and token is not None and token.project_id == call.project_id:
            self.sys["domain"] = token.project_domain_id or "default"

    def _legacy(self, call: Call) -> None:
        given = {header: call.headers[header] for header in _LEGACY if header in call.headers}
        if sum(bool(value) for value in given.values()) > 1:
            raise Refusal(
                400, "Only one of X-Versions-Location or X-History-Location may be specified"
            )
        removed = any(f"x-remove-{header[2:]}" in call.headers for header in _LEGACY)
        if not given and not removed:
            return
        self.sys |= dict.fromkeys(_LEGACY.values(), "")
        for header, value in given.items():
            if value:
                self.sys[_LEGACY[header]] = _container_name(_decoded(value))

    def apply(self, container: Container) -> Container:
        """Return the changed row.

        Raises:
            Refusal: 400, it does not fit what the container is.
        """
        sys = {name: value for name, value in {**container.sys, **self.sys}.items() if value}
        legacy = any(sys.get(name) for name in _LEGACY.values())
        versioning = container.versioning
        if self.versioning is not None:
            if legacy:
                raise Refusal(
                    400,
                    "Cannot enable object versioning on a container that is already using the "
                    "legacy versioned writes feature.",
                )
            if self.versioning == "suspended" and retention_rules.has_lock(container):
                raise Refusal(409, "Versions of a container with an object lock cannot be stopped.")
            if self.versioning == "enabled" or versioning:
                versioning = self.versioning
        elif legacy and versioning:
            raise Refusal(
                400,
                "Cannot enable legacy versioned writes on a container that uses object versioning.",
            )
        return msgspec.structs.replace(
            container,
            meta=limit_rules.merged(container.meta, self.meta, self._section),
            sys=sys,
            versioning=versioning,
        )


def _decoded(value: str) -> str:
    try:
        return limit_rules.decoded(value)
    except UnicodeError:
        raise Refusal(400, "Metadata must be valid UTF-8") from None


def _container_name(value: str) -> str:
    """Return the container that a header names.

    Raises:
        Refusal: 412, it cannot be one.
    """
    name = unquote(value)
    if not name or "/" in name or "\0" in name:
        raise Refusal(
            412,
            "Container name cannot contain slashes" if name else "Container name cannot be empty",
        )
    limit_rules.hold_container_name(name)
    return name
