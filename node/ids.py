"""The only source of identifiers and randomness."""

import secrets
import uuid
from typing import Protocol


class Ids(Protocol):
    """Makes identifiers."""

    def uuid(self) -> str:
        """Return a random UUID with dashes, as Nova, Neutron, Glance and Cinder print ids."""

    def hex(self) -> str:
        """Return 32 lower-case hex digits, as Keystone prints ids."""

    def request_id(self) -> str:
        """Return a request id: `req-` and a UUID."""

    def secret(self, length_bytes: int = 32) -> str:
        """Return a URL-safe secret made of that many random bytes."""


class RandomIds:
    """Identifiers from the system's random source."""

    def uuid(self) -> str:
        """Return a random UUID with dashes."""
        return str(uuid.uuid4())

    def hex(self) -> str:
        """Return 32 lower-case hex digits."""
        return uuid.uuid4().hex

    def request_id(self) -> str:
        """Return `req-` and a UUID."""
        return f"req-{uuid.uuid4()}"

    def secret(self, length_bytes: int = 32) -> str:
        """Return a URL-safe secret made of that many random bytes."""
        return secrets.token_urlsafe(length_bytes)
