"""The contents of a volume or snapshot over NBD, as the driver's Protocol has them."""

from node.plugins.block.drivers.driver import DriverError
from node.plugins.block.drivers.replicated.copying import pieces
from node.plugins.block.drivers.replicated.nbd import ALLOCATION, Nbd, NbdError
from node.sdk import Unavailable

_ZERO = 2


class NbdData:
    """An open export; ends at the size that it is said to have."""

    def __init__(self, nbd: Nbd, size_bytes: int) -> None:
        self._nbd = nbd
        self.size_bytes = size_bytes

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes there."""
        self._within(offset, length)
        try:
            return b"".join(self._nbd.read(*piece) for piece in pieces([(offset, length)]))
        except NbdError as error:
            raise Unavailable(f"The volume cannot be read now: {error}") from error

    def write(self, offset: int, data: bytes) -> None:
        """Write the bytes there."""
        self._within(offset, len(data))
        view = memoryview(data)
        try:
            for begin, length in pieces([(0, len(data))]):
                self._nbd.write(offset + begin, bytes(view[begin : begin + length]))
        except NbdError as error:
            raise Unavailable(f"The volume cannot be written now: {error}") from error

    def flush(self) -> None:
        """Return once everything written is durable."""
        try:
            self._nbd.flush()
        except NbdError as error:
            raise Unavailable(f"The volume cannot be written now: {error}") from error

    def extents(self, offset: int, length: int) -> list[tuple[int, int, bool]]:
        """Return what the range consists of."""
        self._within(offset, length)
        try:
            return [
                (extent.offset, extent.length, not extent.flags & _ZERO)
                for extent in self._nbd.extents(ALLOCATION, offset, length)
            ]
        except NbdError as error:
            raise Unavailable(f"The volume cannot be read now: {error}") from error

    def _within(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size_bytes:
            raise DriverError(f"Bytes {offset} to {offset + length} are outside of the volume")
