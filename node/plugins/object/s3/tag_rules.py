"""Tags of objects and buckets, kept as a query string.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html
"""

import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, urlencode

from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.object_rules import text_of
from node.plugins.object.s3.xml_input import Element
from node.plugins.object.s3.xml_text import document

MAX_OBJECT_TAGS = 10
MAX_BUCKET_TAGS = 50
_TEXT = re.compile(r"[\w\s+\-=._:/@]*")

Tags = Sequence[tuple[str, str]]


def _checked(tags: Tags, most: int) -> Tags:
    if len(tags) > most:
        message = (
            "Object tags cannot be greater than 10"
            if most == MAX_OBJECT_TAGS
            else f"Bucket tag count cannot be greater than {most}"
        )
        raise S3Error("InvalidTag", message)
    if len({name for name, _value in tags}) != len(tags):
        raise S3Error("InvalidTag", "Cannot provide multiple Tags with the same key")
    for name, value in tags:
        if not 1 <= len(name) <= 128 or not _TEXT.fullmatch(name) or name.startswith("aws:"):
            raise S3Error("InvalidTag", "The TagKey you have provided is invalid", TagKey=name)
        if len(value) > 256 or not _TEXT.fullmatch(value):
            raise S3Error(
                "InvalidTag",
                "The TagValue you have provided is invalid",
                TagKey=name,
                TagValue=value,
            )
    return tags


def of_header(text: str) -> Tags:
    """Return the tags of an x-amz-tagging header.

    Raises:
        S3Error: InvalidArgument, InvalidTag.
    """
    try:
        tags = parse_qsl(text_of(text), keep_blank_values=True, max_num_fields=MAX_OBJECT_TAGS + 1)
    except ValueError as error:
        raise S3Error(
            "InvalidArgument",
            "The header 'x-amz-tagging' shall be encoded as URL query parameters without duplicates.",
        ) from error
    return _checked(tags, MAX_OBJECT_TAGS)


def of_xml(root: Element, most: int) -> Tags:
    """Return the tags of a Tagging document.

    Raises:
        S3Error: MalformedXML, InvalidTag.
    """
    listed = root.get("TagSet")
    if listed is None or any(tag.get("Key") is None or tag.get("Value") is None for tag in listed):
        raise S3Error("MalformedXML")
    return _checked([(tag.value("Key"), tag.value("Value")) for tag in listed.all("Tag")], most)


def kept(tags: Tags) -> dict[str, str]:
    """Return the entry of `sys` that keeps tags; empty for none."""
    return {"s3-tags": urlencode(tags)} if tags else {}


def read(sys: Mapping[str, str]) -> Tags:
    """Return kept tags."""
    return parse_qsl(sys.get("s3-tags", ""), keep_blank_values=True)


def to_xml(tags: Tags) -> bytes:
    """Return a Tagging document."""
    return document(
        "Tagging",
        [("TagSet", [("Tag", [("Key", name), ("Value", value)]) for name, value in tags])],
    )
