"""libvirt's event loop, and calls that end.

libvirt has one event loop a process and no way to unregister it: so there is one thread for it, made on first use and
kept. Every call into libvirt may wait for a daemon, or a guest's monitor, that never answers; no argument limits that.
So each runs in a thread of its own and is left behind when it is late. Such a thread ends when the daemon does.
"""

import functools
import logging
import threading
from collections.abc import Callable
from typing import TypeVar

import libvirt

from node.plugins.compute.drivers.hypervisor import HypervisorGone

T = TypeVar("T")
log = logging.getLogger("hedgerow.compute")


@functools.cache
def event_loop() -> threading.Thread:
    """Return the thread of libvirt's event loop, started on the first call, before any connection."""
    libvirt.registerErrorHandler(_quiet, None)
    libvirt.virEventRegisterDefaultImpl()
    thread = threading.Thread(target=_run, name="libvirt-events", daemon=True)
    thread.start()
    return thread


def call_within(timeout_s: float, what: str, function: Callable[[], T]) -> T:
    """Return what the function returns, or raise what it raises.

    Raises:
        HypervisorGone: 503, it did not end in time.
    """
    box: list[T] = []
    failure: list[Exception] = []

    def run() -> None:
        try:
            box.append(function())
        except Exception as error:  # noqa: BLE001 - handed to the caller's thread
            failure.append(error)

    thread = threading.Thread(target=run, name=f"libvirt-{what}", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if failure:
        raise failure[0]
    if not box:
        raise HypervisorGone(f"libvirt did not answer within {timeout_s:g} s ({what})")
    return box[0]


def _run() -> None:
    while True:
        if libvirt.virEventRunDefaultImpl() < 0:
            log.error("libvirt's event loop failed a turn")


def _quiet(_context: object, _error: object) -> None:
    """Keep libvirt from printing errors that are raised as exceptions anyway."""
