"""The end of a server's console log, read from its file on this node.

Bulk data: it never goes through rows. Other nodes ask the server's node for it (server_peer_api).
"""

import os
from pathlib import Path

from node.plugins.compute.names import console_log_path

MAX_BYTES = 1 << 20
"""Most that is shown of a log: its end."""


def tail(state_dir: Path, server_id: str, lines: int | None) -> str:
    """Return the last lines of a console log (None: all of what is kept); a log that does not exist yet is empty."""
    try:
        with console_log_path(state_dir, server_id).open("rb") as source:
            size = source.seek(0, os.SEEK_END)
            source.seek(max(0, size - MAX_BYTES))
            data = source.read(MAX_BYTES)
    except FileNotFoundError:
        return ""
    if lines is not None:
        data = b"".join(data.splitlines(keepends=True)[-lines:]) if lines else b""
    return data.decode("utf-8", "replace")
