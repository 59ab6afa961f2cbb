"""Whether the parts that a client names make an object.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from node.plugins.object.s3 import checksums
from node.plugins.object.s3.crc_rules import combined
from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.object_rules import checksum_of, checksum_text
from node.plugins.object.s3.xml_input import Element
from node.plugins.object.store.contract import Entry
from node.sdk import Frozen

MIN_PART_BYTES = 5 << 20
MAX_OBJECT_BYTES = 5 << 40
_MAX_PARTS = 10_000


class Named(Frozen):
    """A part as the client names it."""

    number: int
    etag: str
    checksums: Mapping[str, str]


class Completion(Frozen):
    """The parts, in order, and the entries of `sys` that keep the checksum of the whole."""

    parts: Sequence[Entry]
    sys: Mapping[str, str]


def named_parts(root: Element) -> list[Named]:
    """Return the parts of a CompleteMultipartUpload.

    Raises:
        S3Error: MalformedXML, InvalidPartOrder.
    """
    found = []
    for part in root.all("Part"):
        number = part.value("PartNumber").strip()
        if not (number.isascii() and number.isdigit() and len(number) < 6 and part.get("ETag")):
            raise S3Error("MalformedXML")
        given = {a: part.value(f"Checksum{a.upper()}") for a in checksums.LENGTHS}
        etag = part.value("ETag").strip().strip('"')
        found.append(
            Named(number=int(number), etag=etag, checksums={a: v for a, v in given.items() if v})
        )
    if not found or len(found) > _MAX_PARTS:
        raise S3Error("MalformedXML")
    if any(a.number >= b.number for a, b in pairwise(found)):
        raise S3Error("InvalidPartOrder")
    return found


def check_parts(
    named: Sequence[Named], there: Mapping[int, Entry], wanted: str, headers: Mapping[str, str]
) -> Completion:
    """Return what the parts make.

    Raises:
        S3Error: InvalidPart, EntityTooSmall, EntityTooLarge, InvalidRequest, BadDigest.
    """
    parts = []
    for one in named:
        entry = there.get(one.number)
        if entry is None or entry.etag != one.etag:
            raise S3Error("InvalidPart", PartNumber=one.number, ETag=one.etag[:100])
        _check_checksum(one, entry, wanted)
        parts.append(entry)
    for one, entry in list(zip(named, parts, strict=True))[:-1]:
        if entry.size_bytes < MIN_PART_BYTES:
            raise S3Error(
                "EntityTooSmall",
                ProposedSize=entry.size_bytes,
                MinSizeAllowed=MIN_PART_BYTES,
                PartNumber=one.number,
                ETag=one.etag,
            )
    total = sum(entry.size_bytes for entry in parts)
    if total > MAX_OBJECT_BYTES:
        raise S3Error("EntityTooLarge", ProposedSize=total, MaxSizeAllowed=MAX_OBJECT_BYTES)
    said = headers.get("x-amz-mp-object-size")
    if said is not None and said != str(total):
        raise S3Error(
            "InvalidRequest",
            f"The provided 'x-amz-mp-object-size' header does not match what was computed: {total}",
        )
    return Completion(parts=parts, sys=_whole(parts, wanted, headers))


def _check_checksum(one: Named, entry: Entry, wanted: str) -> None:
    kept = checksum_of(entry.sys)
    for algorithm, value in one.checksums.items():
        if kept is None or kept[:2] != (algorithm, value):
            raise S3Error("InvalidPart", PartNumber=one.number, ETag=one.etag)
    algorithm, _colon, kind = wanted.partition(":")
    if kind == checksums.COMPOSITE and algorithm not in one.checksums:
        raise S3Error(
            "InvalidRequest",
            f"The upload was created using a {algorithm} checksum: the one of part {one.number} is missing.",
        )


def _whole(parts: Sequence[Entry], wanted: str, headers: Mapping[str, str]) -> dict[str, str]:
    """Return the checksum of the whole object: of the bytes, or of the checksums of its parts."""
    algorithm, _colon, kind = wanted.partition(":")
    kept = [checksum_of(part.sys) for part in parts]
    if not algorithm:
        return {}
    values = [
        (checksums.bytes_of(found[1], checksums.LENGTHS[algorithm]) or b"", part.size_bytes)
        for found, part in zip(kept, parts, strict=True)
        if found is not None
    ]
    if len(values) != len(parts):
        raise S3Error("InvalidPart")
    if kind == checksums.FULL_OBJECT:
        value = checksums.text_of(combined(algorithm, values))
    else:
        digest = checksums.new(algorithm)
        digest.update(b"".join(data for data, _size in values))
        value = f"{checksums.text_of(digest.digest())}-{len(parts)}"
    given = headers.get(checksums.PREFIX + algorithm)
    if given is not None and given not in (value, value.partition("-")[0]):
        raise S3Error(
            "BadDigest",
            f"The {algorithm.upper()} you specified did not match the calculated checksum.",
        )
    return checksum_text(algorithm, value, kind)
