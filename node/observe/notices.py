"""What API processes have to say in `hedgerow status`, which the core process prints.

They share a file of one JSON object a line, made anew when the API starts. It outlives a core that is restarted, and
what does not fit any more is dropped: it is in the log as well.
"""

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

log = logging.getLogger("hedgerow.notices")

S = TypeVar("S", bound=msgspec.Struct)

_NAME = "api-notices.jsonl"
_MAX_BYTES = 64 * 1024


def begin(directory: Path) -> Callable[[msgspec.Struct], None]:
    """Forget the notices of earlier processes; return what takes new ones, in this process and those forked off it."""
    path = directory / _NAME
    with contextlib.suppress(OSError):
        path.write_bytes(b"")

    def note(notice: msgspec.Struct) -> None:
        line = msgspec.json.encode(notice) + b"\n"
        try:
            if path.stat().st_size + len(line) <= _MAX_BYTES:
                with path.open("ab", buffering=0) as file:
                    file.write(line)
        except OSError as error:
            log.info("a notice cannot be kept: %s", error)

    return note


def heard(directory: Path, kind: type[S]) -> list[S]:
    """Return the notices in order."""
    try:
        lines = (directory / _NAME).read_bytes().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        with contextlib.suppress(msgspec.MsgspecError):  # cut off by a full disk
            found.append(msgspec.json.decode(line, type=kind))
    return found
