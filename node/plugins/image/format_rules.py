"""What the first bytes of an image say, read without trusting them.

A qcow2 that names another file (a backing file, or an external data file) would let its uploader read files of
the node: it is refused. Nothing here opens a file by a name found in data.

Source: https://www.qemu.org/docs/master/interop/qcow2.html
"""

import struct

from node.sdk import Frozen

HEADER_BYTES = 65536
"""How much of the data `inspect` wants to see."""

_QCOW2 = b"QFI\xfb"
_EXTERNAL_DATA = 1 << 2
_KNOWN_INCOMPATIBLE = (1 << 0) | (1 << 1) | _EXTERNAL_DATA | (1 << 3) | (1 << 4)
_DATA_FILE_NAME = 0x44415441
_BACKING_FORMAT = 0xE2792ACA
_MAX_VIRTUAL_BYTES = 1 << 50

_MAGICS = (
    (b"KDMV", "vmdk"),
    (b"# Disk DescriptorFile", "vmdk"),
    (b"vhdxfile", "vhdx"),
    (b"conectix", "vhd"),
    (b"LUKS\xba\xbe", "luks"),
)


class Inspection(Frozen):
    """What was found. `refusal` is a sentence where the data must not be taken."""

    disk_format: str
    virtual_size: int | None = None
    refusal: str = ""


def inspect(header: bytes) -> Inspection:
    """Return what the first bytes (up to `HEADER_BYTES`) of an image are; anything unknown is raw."""
    if header.startswith(_QCOW2):
        return _qcow2(header)
    for magic, disk_format in _MAGICS:
        if header.startswith(magic):
            return Inspection(disk_format=disk_format)
    if header[0x8001:0x8006] == b"CD001":
        return Inspection(disk_format="iso")
    if header[0x40:0x44] == b"\x7f\x10\xda\xbe":
        return Inspection(disk_format="vdi")
    return Inspection(disk_format="raw")


def _qcow2(header: bytes) -> Inspection:
    def refuse(reason: str) -> Inspection:
        return Inspection(disk_format="qcow2", refusal=f"The qcow2 image is not taken: {reason}")

    if len(header) < 72:
        return refuse("its header is cut off")
    version, backing_offset = struct.unpack_from(">IQ", header, 4)
    cluster_bits, virtual_size, crypt = struct.unpack_from(">IQI", header, 20)
    if version not in (2, 3):
        return refuse(f"its version {version} is not known")
    if backing_offset:
        return refuse("it names a backing file")
    if not 9 <= cluster_bits <= 21 or virtual_size > _MAX_VIRTUAL_BYTES:
        return refuse("its header makes no sense")
    if crypt:
        return refuse("it is encrypted")
    if version == 3:
        if len(header) < 104:
            return refuse("its header is cut off")
        (incompatible,) = struct.unpack_from(">Q", header, 72)
        if incompatible & _EXTERNAL_DATA:
            return refuse("its data lies in another file")
        if incompatible & ~_KNOWN_INCOMPATIBLE:
            return refuse("it uses features that are not known")
        (header_length,) = struct.unpack_from(">I", header, 100)
        problem = _extensions(header, header_length)
        if problem:
            return refuse(problem)
    return Inspection(disk_format="qcow2", virtual_size=virtual_size)


def _extensions(header: bytes, offset: int) -> str:
    """Return what is wrong with the header extensions, or an empty string."""
    while offset + 8 <= len(header):
        kind, length = struct.unpack_from(">II", header, offset)
        if kind == 0:
            return ""
        if kind == _DATA_FILE_NAME:
            return "its data lies in another file"
        if kind == _BACKING_FORMAT:
            return "it names a backing file"
        offset += 8 + (length + 7) // 8 * 8
    return "its header extensions have no end"
