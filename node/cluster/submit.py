"""Proposals from inside the core process: callback and blocking form, and what an error code becomes."""

import logging
import threading
from collections.abc import Callable

import msgspec

from node.cluster.wire import Code
from node.errors import BadRequest, DiskFull, NodeError, TooLarge, Unavailable

_log = logging.getLogger(__name__)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An outcome, or the code and message of the error."""

    outcome: bytes | None = None
    code: Code | None = None
    message: str = ""


class CallbackSink:
    """Hands the one answer of one proposal to a callback."""

    def __init__(self, callback: Callable[[Answer], None]) -> None:
        self._callback = callback

    def resolve(self, _: int, outcome: bytes) -> None:
        """Take the outcome."""
        self._call(Answer(outcome=outcome))

    def reject(self, _: int, code: Code, message: str) -> None:
        """Take the error."""
        self._call(Answer(code=code, message=message))

    def _call(self, answer: Answer) -> None:
        try:
            self._callback(answer)
        except Exception:  # noqa: BLE001 - it must not stop the log
            _log.exception("The callback of a proposal failed")


def error_of(code: str, message: str) -> NodeError:
    """Return the error that a code stands for."""
    match code:
        case "disk_full":
            return DiskFull(message)
        case "too_large":
            return TooLarge(message)
        case "malformed":
            return BadRequest(message)
        case _:
            return Unavailable(message)


def answered(
    submit: Callable[[bytes, Callable[[Answer], None]], None], txn: bytes, timeout_s: float
) -> bytes:
    """Submit, wait for the answer and return the outcome.

    Raises:
        NodeError: as `error_of` says; Unavailable after the time is over.
    """
    done = threading.Event()
    answers: list[Answer] = []

    def take(answer: Answer) -> None:
        answers.append(answer)
        done.set()

    submit(txn, take)
    if not done.wait(timeout_s):
        raise Unavailable(
            f"No answer from the log in {timeout_s:.1f} s; the request may have been applied"
        )
    answer = answers[0]
    if answer.outcome is None:
        raise error_of(answer.code or "", answer.message)
    return answer.outcome
