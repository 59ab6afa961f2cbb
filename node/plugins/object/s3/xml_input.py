"""XML in: small documents of strangers, without document types, read as a tree of plain elements."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

from node.plugins.object.s3.faults import S3Error

MAX_XML_BYTES = 1 << 20
_DOCTYPE = re.compile(rb"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_MAX_DEPTH = 32


class Element:
    """One element: its name without namespace, its text and its children."""

    __slots__ = ("_children", "attributes", "name", "text")

    def __init__(self, node: "ET.Element[str]", depth: int = 0) -> None:
        if depth > _MAX_DEPTH:
            raise S3Error("MalformedXML")
        self.name = node.tag.rpartition("}")[2]
        text = node.text or ""
        self.text = text.strip() if len(node) else text
        self.attributes = {key.rpartition("}")[2]: value for key, value in node.attrib.items()}
        self._children = [Element(child, depth + 1) for child in node]

    def __iter__(self) -> Iterator["Element"]:
        return iter(self._children)

    def all(self, name: str) -> list["Element"]:
        """Return the children of a name."""
        return [child for child in self._children if child.name == name]

    def get(self, name: str) -> "Element | None":
        """Return the first child of a name."""
        return next((child for child in self._children if child.name == name), None)

    def value(self, name: str, default: str = "") -> str:
        """Return the text of a child, or the default where there is none."""
        found = self.get(name)
        return found.text if found is not None else default

    def only(self, *names: str) -> "Element":
        """Return itself.

        Raises:
            S3Error: MalformedXML, a child has another name.
        """
        if any(child.name not in names for child in self._children):
            raise S3Error("MalformedXML")
        return self

    def tree(self) -> list[tuple[str, Any]]:
        """Return the children as `xml_text` writes them."""
        return [(child.name, child.tree() if child._children else child.text) for child in self]  # noqa: SLF001


def parse(data: bytes | str, *names: str, code: str = "MalformedXML") -> Element:
    """Return a document whose root has one of these names.

    Raises:
        S3Error: `code`, it is none, is too large, or has a document type.
    """
    if isinstance(data, str):
        data = data.encode()
    if len(data) > MAX_XML_BYTES or _DOCTYPE.search(data) or b"\0" in data:
        raise S3Error(code)
    try:
        root = Element(ET.fromstring(data))  # noqa: S314 - without document types nothing expands
    except (ET.ParseError, ValueError, LookupError) as error:
        raise S3Error(code) from error
    if names and root.name not in names:
        raise S3Error(code)
    return root
