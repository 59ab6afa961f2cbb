"""Asks a lab's API as the administrator, through its plain port."""

import json
import time
from pathlib import Path
from typing import Any

from node.testing.running_lab import RunningLab


def api(
    lab: RunningLab, method: str, path: str, body: object = None, *, upload_bytes: int = 0
) -> tuple[int, Any]:
    """Send a request through the plain port, signed in as the administrator; 0 means no answer.

    With `upload_bytes` the body is that many random bytes.
    """
    facts = lab.facts
    script = Path(__file__).with_name("one_request.py")
    call = json.dumps({"url": facts["auth_url_http"], "password": facts["admin_password"],
                       "method": method, "path": path, "body": body, "upload_bytes": upload_bytes})  # fmt: skip
    done = lab.attempt(["python3", script, call])
    if done.returncode:
        return 0, done.stderr
    status, answer = json.loads(done.stdout)
    return int(status), answer


def persistently(lab: RunningLab, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """Repeat a request until something answers with other than a failure of the service."""
    deadline = time.monotonic() + 240
    while True:
        status, answer = api(lab, method, path, body)
        if status not in (0, 500, 502, 503, 504):
            return status, answer
        assert time.monotonic() < deadline, f"{method} {path} is not answered: {status} {answer}"
        time.sleep(0.3)
