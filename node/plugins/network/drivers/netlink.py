"""Of pyroute2, the socket that this service uses. Nothing else here imports pyroute2.

Hard part: memory. The package's own module imports each of its thirty kinds of sockets, 5 MiB that the core would keep
for good. So that module stays empty until somebody (a stranger's plugin) asks it for a name.
"""

import importlib.util
import sys
from typing import Any


def _light_package() -> None:
    """Put a package in place whose submodules can be imported, and which fills itself when it is used as a whole."""
    spec = importlib.util.find_spec("pyroute2")
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError("pyroute2 is not installed")
    loader, package = spec.loader, importlib.util.module_from_spec(spec)

    def fill(name: str) -> Any:
        if name.startswith("__") or importlib.util.find_spec(f"pyroute2.{name}"):
            raise AttributeError(name)  # a submodule is imported by who asks for it
        vars(package).pop("__getattr__", None)
        loader.exec_module(package)
        return getattr(package, name)

    vars(package)["__getattr__"] = fill
    sys.modules["pyroute2"] = package


if "pyroute2" not in sys.modules:
    _light_package()

from pyroute2.iproute.linux import IPRoute as _IPRoute  # noqa: E402
from pyroute2.netlink.exceptions import NetlinkError  # noqa: E402

__all__ = ["NetlinkError", "Socket", "open_socket"]

Socket = Any
"""A pyroute2 IPRoute, whose types say little."""


def open_socket() -> Socket:
    """Return a socket of the calling thread, in the namespace where it is."""
    return _IPRoute()  # type: ignore[no-untyped-call]
