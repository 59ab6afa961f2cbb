"""The cluster's own address: whoever leads, with a lease, holds it for the API.

Hard part: a holder that dies or hangs without a word must not go on answering for it. So the kernel is given the
address for a few seconds only, and again every second: it takes it away when nobody does so any more.
"""

import contextlib
import ipaddress
import logging
import threading
import time
from collections.abc import Callable

from node.cluster import vip_link
from node.cluster.vip_link import IPInterface
from node.errors import Unavailable

log = logging.getLogger("hedgerow.vip")

_LOOK_EVERY_S = 0.25
_REFRESH_EVERY_S = 1.0
_LIFETIME_S = 4
_ANNOUNCE_AFTER_S = (0.0, 0.3, 1.0, 2.0)
_ANNOUNCE_EVERY_S = 5.0


class VirtualAddress:
    """This node's part in holding one address."""

    def __init__(self, address: str, own_address: str, is_due: Callable[[], bool]) -> None:
        """Take the address with its prefix length, this node's own one, and who says that this node is to hold it.

        Raises:
            ValueError: it is no address.
        """
        self._virtual: IPInterface = ipaddress.ip_interface(address)
        self._own_address = own_address
        self._is_due = is_due
        self._index = 0
        self._since_s = 0.0
        self._refreshed_s = 0.0
        self._announced = 0
        self._fault = ""
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="virtual-address", daemon=True)

    def start(self) -> None:
        """Begin; what an earlier process of this node left behind is taken away first."""
        self.forget()
        self._thread.start()

    def stop(self) -> None:
        """Give the address up at once."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def wake(self) -> None:
        """Look now: this node's lease or leadership has changed."""
        self._wake.set()

    @property
    def is_held(self) -> bool:
        """Return whether this node holds the address."""
        return self._index > 0

    def health(self) -> tuple[str, bool, str]:
        """Return the entry of `hedgerow status`."""
        name = f"virtual address {self._virtual.ip}"
        if self._fault:
            return (name, False, f"{self._fault}; tried again every second")
        return (
            name,
            True,
            "held by this node" if self.is_held else "held by the leader, not this node",
        )

    def forget(self) -> None:
        """Take the address from every interface of this machine; harmless when repeated."""
        with contextlib.suppress(Unavailable):
            for held in vip_link.addresses():
                if held.address == str(self._virtual.ip) and held.address != self._own_address:
                    vip_link.release(held.index, self._virtual.ip)
        self._index = 0

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._look()
                self._fault = ""
            except Unavailable as error:
                if not self._fault:
                    log.warning("the virtual address: %s", error.message)
                self._fault = error.message
                self._wake.wait(_REFRESH_EVERY_S)
            self._wake.wait(_LOOK_EVERY_S)
            self._wake.clear()
        self.forget()

    def _look(self) -> None:
        if not self._is_due():
            if self.is_held:
                log.info("this node gives %s up", self._virtual.ip)
                self.forget()
            return
        now_s = time.monotonic()
        if not self.is_held:
            self._take(now_s)
        elif now_s - self._refreshed_s >= _REFRESH_EVERY_S:
            if now_s - self._refreshed_s >= _LIFETIME_S:  # it hung: the address was away meanwhile
                self._announced = 0
                self._since_s = now_s
            vip_link.hold(self._index, self._virtual.ip, _LIFETIME_S)
            self._refreshed_s = now_s
        if now_s - self._since_s >= self._next_announcement_s():
            vip_link.announce(self._index, self._virtual.ip)
            self._announced += 1

    def _take(self, now_s: float) -> None:
        index = self._interface()
        vip_link.hold(index, self._virtual.ip, _LIFETIME_S)
        self._index = index
        self._since_s = self._refreshed_s = now_s
        self._announced = 0
        log.info("this node holds %s now", self._virtual.ip)

    def _next_announcement_s(self) -> float:
        """Return when, after taking it, the next announcement is due."""
        if self._announced < len(_ANNOUNCE_AFTER_S):
            return _ANNOUNCE_AFTER_S[self._announced]
        return _ANNOUNCE_EVERY_S * (self._announced - len(_ANNOUNCE_AFTER_S) + 1)

    def _interface(self) -> int:
        """Return the interface with this node's own address, or else one in the same network."""
        held = vip_link.addresses()
        for one in held:
            if one.address == self._own_address:
                return one.index
        for one in held:
            if ipaddress.ip_address(one.address) in self._virtual.network:
                return one.index
        raise Unavailable(
            f"No interface has {self._own_address or 'this node'} or another address in {self._virtual.network}"
        )
