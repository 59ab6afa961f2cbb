"""Checking the segments that a manifest of a static large object names.

Hard part: a manifest must not become a way to learn of other people's objects. Each segment is looked for with the
rights of the one who writes the manifest.
"""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from node.plugins.object.swift import manifest_rules, object_view, range_rules
from node.plugins.object.swift.call import Call
from node.plugins.object.swift.content import content_of, manifest
from node.plugins.object.swift.faults import Refusal, code_of, status_line
from node.plugins.object.swift.object_find import Found, Spot, locate
from node.sdk import NodeError

Problem = tuple[str, str]


class Checked:
    """What became of the segments that a client named."""

    def __init__(self) -> None:
        self.segments: list[dict[str, Any]] = []
        """As they are kept."""
        self.problems: list[Problem] = []
        """Names, percent-encoded, and what is wrong with them."""
        self.size = 0


def check(call: Call, given: list[manifest_rules.Segment], project_id: str) -> Checked:
    """Look for each segment and compare it with what was said of it."""
    checked = Checked()
    known: dict[str, tuple[Found, str, int] | NodeError] = {}
    for index, segment in enumerate(given):
        if "data" in segment:
            checked.segments.append(segment)
            checked.size += manifest_rules.length(segment)
            continue
        path = segment["path"].lstrip("/")
        if path not in known:
            known[path] = _look(call, project_id, path)
        found = known[path]
        shown = quote(segment["path"])
        if isinstance(found, NodeError):
            checked.problems.append((shown, status_line(code_of(found))))
            continue
        kept = _compare(segment, found, checked.problems, is_last=index == len(given) - 1)
        checked.segments.append(kept)
        checked.size += manifest_rules.length(kept)
    return checked


def _look(call: Call, project_id: str, path: str) -> tuple[Found, str, int] | NodeError:
    container, _slash, name = path.partition("/")
    try:
        found = locate(call, Spot(project_id=project_id, container=container, name=name))
        content = content_of(call, found)
    except NodeError as error:
        return error
    return found, content.etag.strip('"'), content.size


def _compare(
    segment: manifest_rules.Segment,
    known: tuple[Found, str, int],
    problems: list[Problem],
    *,
    is_last: bool,
) -> dict[str, Any]:
    found, etag, size = known
    shown = quote(segment["path"])
    kept: dict[str, Any] = {
        "name": "/" + segment["path"].lstrip("/"),
        "bytes": size,
        "hash": etag,
        "content_type": found.entry.content_type,
        "last_modified": datetime.fromtimestamp(found.entry.modified_at / 1_000_000, UTC).strftime(
            "%Y-%m-%dT%H:%M:%S.%f"
        ),
    }
    if segment.get("range"):
        spans = range_rules.spans(range_rules.parse(f"bytes={segment['range']}") or [], size)
        if not spans:
            problems.append((shown, "Unsatisfiable Range"))
        elif spans[0].length != size:
            kept["range"] = f"{spans[0].offset}-{spans[0].offset + spans[0].length - 1}"
    if object_view.is_slo(found.entry):
        kept["sub_slo"] = True
    if manifest_rules.length(kept) < 1 and not is_last:
        problems.append((shown, "Too small; each segment must be at least 1 byte."))
    if segment.get("size_bytes") is not None and segment["size_bytes"] != size:
        problems.append((shown, "Size Mismatch"))
    if segment.get("etag") is not None and segment["etag"].strip('"') != etag:
        problems.append((shown, "Etag Mismatch"))
    return kept


def hold_segments(call: Call, found: Found, target: Spot) -> None:
    """Refuse a copy of a manifest whose segments are not to be had where the copy will be.

    Raises:
        Refusal: 400.
    """
    segments = manifest(call, found.entry)
    checked = check(call, manifest_rules.raw(segments), target.project_id)
    if checked.problems:
        lines = "".join(f"{name}, {text}\n" for name, text in checked.problems)
        raise Refusal(400, f"Errors:\n{lines}")
