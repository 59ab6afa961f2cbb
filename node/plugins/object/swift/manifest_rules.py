"""Manifests of static large objects: what clients send, and what is kept.

Kept is a JSON list. A segment is `{"name", "hash", "bytes", "content_type", "last_modified"}`, with `range` where only
part of it counts and `sub_slo` where it is a large object itself; or `{"data": base64}`.

Source: https://docs.openstack.org/swift/latest/overview_large_objects.html#static-large-objects
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from node.plugins.object.swift import range_rules
from node.plugins.object.swift.faults import Refusal

_KEYS = {"path": {"path", "etag", "size_bytes", "range"}, "data": {"data"}}
Segment = dict[str, Any]


def parse(body: bytes, own_path: str) -> list[Segment]:
    """Return the segments that a client names; `own_path` is `container/object` of the manifest itself.

    Raises:
        Refusal: 400, with a line for each mistake.
    """
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(400, "Manifest must be valid JSON.\n") from None
    if not isinstance(given, list):
        raise Refusal(400, "Manifest must be a list.\n")
    errors = []
    for index, segment in enumerate(given):
        if error := _mistake(segment, own_path, is_last=index == len(given) - 1):
            errors.append(f"Index {index}: {error}")
    if given and not errors and all("data" in segment for segment in given):
        errors.append("Inline data segments require at least one object-backed segment.")
    if errors:
        raise Refusal(400, "".join(f"{error}\n" for error in errors))
    return given


def _mistake(segment: Any, own_path: str, *, is_last: bool) -> str:
    if not isinstance(segment, dict):
        return "not a JSON object"
    kind = next((key for key in _KEYS if key in segment), "")
    if not kind:
        return "expected keys to include one of 'path' or 'data'"
    extra = sorted(set(segment) - _KEYS[kind])
    if extra:
        return f"extraneous keys {', '.join(json.dumps(key) for key in extra)}"
    if kind == "data":
        return _data_mistake(segment)
    return _path_mistake(segment, own_path, is_last=is_last)


def _data_mistake(segment: Segment) -> str:
    try:
        data = base64.b64decode(segment["data"], validate=True)
    except (TypeError, ValueError, binascii.Error):
        return "data must be valid base64"
    segment["data"] = base64.b64encode(data).decode()
    return "" if data else "too small; each segment must be at least 1 byte."


def _path_mistake(segment: Segment, own_path: str, *, is_last: bool) -> str:
    path, etag, size = segment["path"], segment.get("etag"), segment.get("size_bytes")
    if not isinstance(path, str):
        return '"path" must be a string'
    if etag is not None and not isinstance(etag, str):
        return '"etag" must be a string or null (if provided)'
    if "/" not in path.strip("/"):
        return "path does not refer to an object. Path must be of the form /container/object."
    if size is not None:
        try:
            size = segment["size_bytes"] = int(size)
        except (TypeError, ValueError, OverflowError):
            return "invalid size_bytes"
        if size < 1 and not is_last:
            return "too small; each segment must be at least 1 byte."
    if path.lstrip("/") == own_path:
        return "manifest must not include itself as a segment"
    if segment.get("range"):
        return _range_mistake(segment, size)
    return ""


def _range_mistake(segment: Segment, size: int | None) -> str:
    pairs = range_rules.parse(f"bytes={segment['range']}")
    if pairs is None:
        return "invalid range"
    if len(pairs) > 1:
        return "multiple ranges (only one allowed)"
    if size is not None and not range_rules.spans(pairs, size):
        return "unsatisfiable range"
    return ""


def length(segment: Mapping[str, Any]) -> int:
    """Return how many bytes a kept segment adds."""
    if "data" in segment:
        return len(base64.b64decode(segment["data"]))
    if "range" in segment:
        first, last = segment["range"].split("-")
        return int(last) - int(first) + 1
    return int(segment["bytes"])


def etag(segments: Sequence[Mapping[str, Any]]) -> str:
    """Return the ETag of the whole: the MD5 of its segments' ETags."""
    digest = hashlib.md5(usedforsecurity=False)
    for segment in segments:
        if "data" in segment:
            data = base64.b64decode(segment["data"])
            text = hashlib.md5(data, usedforsecurity=False).hexdigest()
        elif "range" in segment:
            text = f"{segment['hash']}:{segment['range']};"
        else:
            text = segment["hash"]
        digest.update(text.encode())
    return digest.hexdigest()


def raw(segments: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return kept segments in the form in which a client may send them again."""
    found = []
    for segment in segments:
        if "data" in segment:
            found.append({"data": segment["data"]})
            continue
        one = {"path": segment["name"], "etag": segment["hash"], "size_bytes": segment["bytes"]}
        if "range" in segment:
            one["range"] = segment["range"]
        found.append(one)
    return found
