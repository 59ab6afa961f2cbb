"""The drivers of a node, made once and kept: `[block] driver` names the one of new volumes."""

import importlib
import threading
from collections.abc import Callable
from typing import Any

from node.plugins.block.backend import backend_name
from node.plugins.block.drivers.driver import Driver
from node.plugins.block.section import BlockSection
from node.plugins.block.tables import Volume
from node.sdk import Control

_BUILTIN = {
    "local": "node.plugins.block.drivers.local:LocalDriver",
    "replicated": "node.plugins.block.drivers.replicated.driver:make",
    "memory": "node.plugins.block.drivers.memory:shared",
}
_lock = threading.Lock()


def driver_named(control: Control, name: str) -> Driver:
    """Return a driver of this node by its name."""
    kept: dict[str, Driver] = _kept(control)
    with _lock:
        found = kept.get(name)
        if found is None:
            found = kept[name] = _make(control, name)
        return found


def driver_of(control: Control, volume: Volume) -> Driver:
    """Return the driver that has a volume's data."""
    return driver_named(control, volume.driver or chosen(control))


def chosen(control: Control) -> str:
    """Return the name of the driver of new volumes."""
    return backend_name(control.config)


def _kept(control: Control) -> dict[str, Driver]:
    """Return the drivers that were made with this control."""
    place: Any = control
    with _lock:
        if not hasattr(place, "block_drivers"):
            place.block_drivers = {}
        kept: dict[str, Driver] = place.block_drivers
        return kept


def _make(control: Control, name: str) -> Driver:
    text = _BUILTIN.get(name, "")
    if not text:
        text = control.config.section(BlockSection).driver
    module, _colon, function = text.partition(":")
    factory: Callable[[Control], Driver] = getattr(importlib.import_module(module), function)
    return factory(control)
