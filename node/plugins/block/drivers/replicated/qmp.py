"""Speaks QMP with one QEMU process: asks with deadlines, and keeps the events that come in between.

Source: https://qemu.readthedocs.io/en/latest/interop/qmp-spec.html
"""

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

_CHUNK = 65536

Event = Mapping[str, Any]


class QmpError(Exception):
    """The process refused a command."""


class QmpLost(Exception):
    """The process is gone, or did not answer in time: what it did is not known."""


def connect_unix(path: Path, timeout_s: float) -> socket.socket:
    """Connect to a unix socket, however long its path is.

    Raises:
        OSError: nobody listens there.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    made.settimeout(timeout_s)
    directory = -1
    try:
        directory = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
        made.connect(f"/proc/self/fd/{directory}/{path.name}")
    except OSError:
        made.close()
        raise
    finally:
        if directory >= 0:
            os.close(directory)
    return made


class Qmp:
    """One connection. Not for several threads at once."""

    def __init__(self, path: Path, timeout_s: float = 5.0) -> None:
        """Connect and negotiate.

        Raises:
            QmpLost: nobody answers there.
        """
        self._timeout_s = timeout_s
        self._buffer = b""
        self._events: list[Event] = []
        self._last_id = 0
        try:
            self._socket = connect_unix(path, timeout_s)
        except OSError as error:
            raise QmpLost(f"{path.name} of {path.parent.name}: {error}") from error
        try:
            deadline = time.monotonic() + timeout_s
            while "QMP" not in self._message(deadline):
                pass
            self.ask("qmp_capabilities")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        """Return the connection itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """End the connection; the process goes on."""
        self._socket.close()

    def detach(self) -> socket.socket:
        """Give the connection away: to who waits for events only."""
        return self._socket

    def ask(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """Return what a command answers.

        Raises:
            QmpError: it was refused.
            QmpLost: no answer in time.
        """
        self._last_id += 1
        request: dict[str, Any] = {"execute": command, "id": self._last_id}
        if arguments:
            request["arguments"] = arguments
        deadline = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        try:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise QmpLost(f"{command}: {error}") from error
        while True:
            message = self._message(deadline)
            if "event" in message:
                self._events.append(message)
            elif message.get("id") == self._last_id:
                if "error" in message:
                    raise QmpError(f"{command}: {message['error'].get('desc', message['error'])}")
                return message["return"]

    def wait_event(
        self,
        name: str,
        matches: Callable[[Mapping[str, Any]], bool],
        timeout_s: float | None = None,
    ) -> Event:
        """Return the next event of a name whose data matches; others are kept.

        Raises:
            QmpLost: it did not come in time.
        """
        deadline = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        seen = 0
        while True:
            for place in range(seen, len(self._events)):
                event = self._events[place]
                if event["event"] == name and matches(event.get("data", {})):
                    return self._events.pop(place)
            seen = len(self._events)
            message = self._message(deadline)
            if "event" in message:
                self._events.append(message)

    def _message(self, deadline: float) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            try:
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                data = self._socket.recv(_CHUNK)
            except OSError as error:
                raise QmpLost(f"no answer: {error}") from error
            if not data:
                raise QmpLost("the process ended the connection")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        found = json.loads(line)
        if not isinstance(found, dict):
            raise QmpLost("no QMP is spoken there")
        return found
