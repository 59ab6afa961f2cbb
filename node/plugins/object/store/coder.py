"""Erasure codes: ISA-L's Cauchy Reed-Solomon by pyeclib, one segment at a time.

Source: https://opendev.org/openstack/pyeclib (README), https://github.com/intel/isa-l
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from pyeclib.ec_iface import ECDriver, ECDriverError

from node.plugins.object.store.scheme import SEGMENT_BYTES, Scheme
from node.sdk import Unavailable


class Coder:
    """Codes segments of one scheme. Thread-safe."""

    def __init__(self, data: int, parity: int) -> None:
        self._driver: Any = ECDriver(k=data, m=parity, ec_type="isa_l_rs_cauchy")
        self.full_bytes = len(self.encode(bytes(SEGMENT_BYTES))[0])
        """Of a whole segment, how long each fragment is."""

    def encode(self, segment: bytes) -> Sequence[bytes]:
        """Return the fragments of a segment."""
        found: Sequence[bytes] = self._driver.encode(segment)
        return found

    def decode(self, fragments: Sequence[bytes]) -> bytes:
        """Return the segment that enough fragments stand for.

        Raises:
            Unavailable: 503, they do not fit together.
        """
        try:
            found: bytes = self._driver.decode(fragments)
        except ECDriverError as error:
            raise Unavailable(f"Fragments do not fit together: {error}") from error
        return found

    def rebuild(self, fragments: Sequence[bytes], number: int) -> bytes:
        """Return one lost fragment of a segment.

        Raises:
            Unavailable: 503, they do not fit together.
        """
        try:
            found: bytes = self._driver.reconstruct(fragments, [number])[0]
        except ECDriverError as error:
            raise Unavailable(f"Fragments do not fit together: {error}") from error
        return found


@lru_cache(maxsize=16)
def _coder(data: int, parity: int) -> Coder:
    return Coder(data, parity)


def coder(scheme: Scheme) -> Coder:
    """Return the coder of a scheme; made once in a process."""
    return _coder(scheme.data, scheme.parity)
