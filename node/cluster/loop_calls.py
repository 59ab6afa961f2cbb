"""The way from other threads into the loop thread."""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from pysyncobj.poller import POLL_EVENT_TYPE

import node.cluster.undamaged  # noqa: F401 - see there
from node.cluster.poller import EpollPoller
from node.errors import NodeError, Unavailable

_ANSWER_TIMEOUT_S = 10.0

T = TypeVar("T")


class LoopCalls:
    """Calls that wait for the loop thread. Closed at first."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._bell = -1
        self._door = threading.Lock()  # guards the descriptor against its end

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def open(self, poller: EpollPoller) -> None:
        """Take calls from now on."""
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        poller.subscribe(self._bell, self._on_bell, POLL_EVENT_TYPE.READ)

    def close(self) -> None:
        """Take no more calls; those that wait can still be run."""
        with self._door:
            if self._bell >= 0:
                os.close(self._bell)
                self._bell = -1

    def wake(self) -> None:
        """Have the loop take a turn."""
        with self._door:
            if self._bell >= 0:
                os.eventfd_write(self._bell, 1)

    def post(self, call: Callable[[], None]) -> bool:
        """Have the loop thread call something; False when it takes no calls."""
        with self._door:
            if self._bell < 0:
                return False
            self._waiting.append(call)
            os.eventfd_write(self._bell, 1)
        return True

    def ask(self, call: Callable[[], T]) -> T:
        """Have the loop thread call something and wait for what it returns or raises.

        Raises:
            Unavailable: 503, the loop has ended or does not answer.
        """
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(call())
            except NodeError as error:
                done.set_exception(error)

        if not self.post(run):
            raise Unavailable("The log is closed")
        try:
            return done.result(_ANSWER_TIMEOUT_S)
        except TimeoutError as error:
            raise Unavailable(f"The log did not answer in {_ANSWER_TIMEOUT_S:.0f} s") from error

    def run(self) -> None:
        """Run what waits. In the loop thread."""
        while self._waiting:
            self._waiting.popleft()()

    def _on_bell(self, _: int, __: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._bell)
