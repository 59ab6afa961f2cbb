"""The only source of identifiers and randomness."""

import random
import secrets
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
        return _dashed(secrets.randbits(128))

    def hex(self) -> str:
        """Return 32 lower-case hex digits."""
        return _dashed(secrets.randbits(128)).replace("-", "")

    def request_id(self) -> str:
        """Return `req-` and a UUID."""
        return f"req-{_dashed(random.getrandbits(128))}"  # names a request, guards nothing

    def secret(self, length_bytes: int = 32) -> str:
        """Return a URL-safe secret made of that many random bytes."""
        return secrets.token_urlsafe(length_bytes)


def _dashed(bits: int) -> str:
    """Return 128 random bits as a UUID of version 4. Source: RFC 9562, section 5.4."""
    text = f"{bits & ~(0xF << 76) & ~(0x3 << 62) | 4 << 76 | 2 << 62:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
