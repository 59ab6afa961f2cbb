"""The log of a serial console: QEMU appends for ever, so somebody has to cut it.

QEMU opens the file for appending, so after a cut it goes on at the new end. What a guest writes between reading the
tail and cutting is lost: at a megabyte of log nobody misses it.
"""

import os
from pathlib import Path


def cut(log: Path, limit_bytes: int) -> bool:
    """Keep the newest half of the limit when the log is longer than the limit; say whether it was cut."""
    try:
        if log.stat().st_size <= limit_bytes:
            return False
    except OSError:
        return False
    keep = tail_bytes(log, limit_bytes // 2)
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    try:
        os.ftruncate(file, 0)
        os.write(file, keep.partition(b"\n")[2] or keep)
    finally:
        os.close(file)
    return True


def tail_bytes(log: Path, length: int) -> bytes:
    """Return at most that many of the newest bytes; nothing when there is no log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - length))
            return file.read(length)
    except FileNotFoundError:
        return b""


def tail_lines(log: Path, count: int | None, *, limit_bytes: int = 100 * 1024) -> str:
    """Return the newest lines (None: all) within a number of bytes, as text."""
    text = tail_bytes(log, limit_bytes).decode(errors="replace")
    if count is None:
        return text
    lines = text.split("\n")
    # A last line without its newline counts, the nothing after a newline does not.
    ended = lines[-1] == ""
    kept = lines[:-1] if ended else lines
    return "\n".join(kept[max(0, len(kept) - count) :]) + ("\n" if ended and kept and count else "")
