"""What the loop thread waits on: pysyncobj's Poller interface over epoll.

The library's own poller fails when a callback closes another descriptor of the same batch.
"""

import contextlib
import select
from collections.abc import Callable

from pysyncobj.poller import POLL_EVENT_TYPE, Poller

import node.cluster.undamaged  # noqa: F401 - see there

OnEvent = Callable[[int, int], None]

_MOST_EVENTS = 256


class EpollPoller(Poller):  # type: ignore[misc]
    """Calls back when descriptors are ready. Used from one thread at a time."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, OnEvent] = {}

    def subscribe(self, descr: int, callback: OnEvent, eventMask: int) -> None:  # noqa: N803
        """Watch a descriptor, or change what it is watched for."""
        mask = select.EPOLLRDHUP if eventMask & POLL_EVENT_TYPE.READ else 0
        if eventMask & POLL_EVENT_TYPE.READ:
            mask |= select.EPOLLIN
        if eventMask & POLL_EVENT_TYPE.WRITE:
            mask |= select.EPOLLOUT
        if descr in self._callbacks:
            self._epoll.modify(descr, mask)
        else:
            self._epoll.register(descr, mask)
        self._callbacks[descr] = callback

    def unsubscribe(self, descr: int) -> None:
        """Watch a descriptor no more; to be called before it is closed."""
        if self._callbacks.pop(descr, None) is not None:
            with contextlib.suppress(OSError, ValueError):
                self._epoll.unregister(descr)

    def poll(self, timeout: float) -> None:
        """Wait for events and call back."""
        for descr, event in self._epoll.poll(timeout, _MOST_EVENTS):
            callback = self._callbacks.get(descr)
            if callback is None:
                continue
            mask = 0
            if event & select.EPOLLIN:
                mask |= POLL_EVENT_TYPE.READ
            if event & select.EPOLLOUT:
                mask |= POLL_EVENT_TYPE.WRITE
            if event & (select.EPOLLERR | select.EPOLLHUP | select.EPOLLRDHUP):
                mask |= POLL_EVENT_TYPE.ERROR
            callback(descr, mask)

    def close(self) -> None:
        """Give the descriptor back."""
        self._callbacks.clear()
        self._epoll.close()
