"""The checksum of a whole from those of its parts: CRCs are linear, so no byte is read again.

A CRC's state after n more zero bytes is a linear map of the state before; the map of 2n bytes is that of n applied
twice. So one of any length takes a few squarings of a matrix of as many bits as the CRC has.
"""

from collections.abc import Sequence
from functools import lru_cache

_POLYNOMIALS = {"crc32": 0xEDB88320, "crc32c": 0x82F63B78, "crc64nvme": 0x9A6C9329AC4BC9B5}
"""Reflected."""
_BITS = {"crc32": 32, "crc32c": 32, "crc64nvme": 64}

Matrix = tuple[int, ...]


def _times(matrix: Matrix, vector: int) -> int:
    total, index = 0, 0
    while vector:
        if vector & 1:
            total ^= matrix[index]
        vector >>= 1
        index += 1
    return total


@lru_cache(maxsize=256)
def _zeros(algorithm: str, exponent: int) -> Matrix:
    """Return the map of 2**exponent zero bits."""
    if exponent == 0:
        return (_POLYNOMIALS[algorithm], *(1 << bit for bit in range(_BITS[algorithm] - 1)))
    half = _zeros(algorithm, exponent - 1)
    return tuple(_times(half, column) for column in half)


def _shifted(algorithm: str, crc: int, length: int) -> int:
    bits, exponent = length * 8, 0
    while bits:
        if bits & 1:
            crc = _times(_zeros(algorithm, exponent), crc)
        bits >>= 1
        exponent += 1
    return crc


def combined(algorithm: str, parts: Sequence[tuple[bytes, int]]) -> bytes:
    """Return the CRC of parts that follow each other, each given by its CRC and its length in bytes."""
    total = 0
    for crc, length in parts:
        total = _shifted(algorithm, total, length) ^ int.from_bytes(crc, "big")
    return total.to_bytes(_BITS[algorithm] // 8, "big")
