"""Kernel parameters of the machine itself that we change, and give back when the node is taken away.

What a parameter was before the first change is kept in a file, so that a restart does not take our own value for
the machine's.
"""

import contextlib
from pathlib import Path

import msgspec

from node.plugins.network.drivers.namespaces import write_sysctls


class Parameters:
    """Parameters of the namespace that the node runs in (`net/ipv4/ip_forward`)."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def set(self, name: str, value: str) -> None:
        """Give a parameter a value; remember what it was."""
        before = self._before()
        now = _read(name)
        if now != value and name not in before:
            self._keep({**before, name: now})
        write_sysctls({name: value})

    def give_back(self) -> None:
        """Give every parameter the value that it had; harmless when repeated."""
        for name, value in self._before().items():
            with contextlib.suppress(FileNotFoundError):  # IPv6 may be gone meanwhile
                write_sysctls({name: value})
        self._file.unlink(missing_ok=True)

    def _before(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, str])
        except (FileNotFoundError, msgspec.MsgspecError):
            return {}

    def _keep(self, values: dict[str, str]) -> None:
        self._file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        aside = self._file.with_suffix(".new")
        aside.write_bytes(msgspec.json.encode(values))
        aside.rename(self._file)


def _read(name: str) -> str:
    return (Path("/proc/sys") / name).read_text().strip()
