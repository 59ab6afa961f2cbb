"""The error tree: each class carries the HTTP status and the title that a client sees.

A message is one sentence that names the thing and, where there is one, the next step. It is shown to
clients, so it never carries a secret. `detail` holds fields that a service's fault body may print.
"""

from typing import ClassVar


class NodeError(Exception):
    """Anything that goes wrong in a way the product knows."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal Server Error"

    def __init__(self, message: str = "", **detail: object) -> None:
        super().__init__(message or self.title)
        self.message = message or self.title
        self.detail = detail


class BadRequest(NodeError):
    """The request cannot be understood or breaks a rule of the resource."""

    status = 400
    title = "Bad Request"


class Unauthorized(NodeError):
    """No valid token."""

    status = 401
    title = "Unauthorized"


class Forbidden(NodeError):
    """The policy refuses."""

    status = 403
    title = "Forbidden"


class NotFound(NodeError):
    """No such thing, or none that the caller may know of."""

    status = 404
    title = "Not Found"


class MethodNotAllowed(NodeError):
    """The path exists without this method."""

    status = 405
    title = "Method Not Allowed"


class NotAcceptable(NodeError):
    """A microversion or media type that is not offered."""

    status = 406
    title = "Not Acceptable"


class Conflict(NodeError):
    """The state of the resource, or another request, is in the way."""

    status = 409
    title = "Conflict"


class Gone(NodeError):
    """The feature or resource has ended for good."""

    status = 410
    title = "Gone"


class LengthRequired(NodeError):
    """A body without a length."""

    status = 411
    title = "Length Required"


class PreconditionFailed(NodeError):
    """A conditional header does not hold."""

    status = 412
    title = "Precondition Failed"


class TooLarge(NodeError):
    """A body or a transaction over its limit."""

    status = 413
    title = "Request Entity Too Large"


class OverQuota(NodeError):
    """A quota would be exceeded; services choose the status of their own."""

    status = 403
    title = "Forbidden"


class UnsupportedMediaType(NodeError):
    """A content type that the route does not take."""

    status = 415
    title = "Unsupported Media Type"


class RangeNotSatisfiable(NodeError):
    """No byte of the asked range exists."""

    status = 416
    title = "Requested Range Not Satisfiable"


class ClientGone(NodeError):
    """The body ended before its announced length."""

    status = 400
    title = "Bad Request"


class NotImplementedHere(NodeError):
    """A feature that this cloud does not offer."""

    status = 501
    title = "Not Implemented"


class Unavailable(NodeError):
    """The cluster cannot take writes now; the request may be repeated."""

    status = 503
    title = "Service Unavailable"


class DiskFull(NodeError):
    """No room to store the request; deletes still work."""

    status = 507
    title = "Insufficient Storage"


class MachineFault(NodeError):
    """The state machine's own storage failed: the process must stop."""


class Incompatible(NodeError):
    """The stored state was written by a version that this one must not touch."""


class ConfigError(NodeError):
    """A configuration file with a mistake in it."""
