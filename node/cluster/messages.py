"""What nodes tell each other about the log: four length bytes, then a msgpack map with its type.

Each message has fixed fields and types; a message that is none of these ends the link. Unknown fields, of a later
version, are passed over. Field names are the library's own.
"""

from typing import Any

import msgspec

from node.cluster.wire import LENGTH, FrameError

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
Message = dict[str, Any]


class _Typed(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    term: int = 0
    """The sender's, unless the message says otherwise."""


class AppendEntries(_Typed, frozen=True, kw_only=True, tag="append_entries"):
    """Entries after a previous one, or, without one, a sign of life of the leader."""

    commit_index: int
    prevLogIdx: int | msgspec.UnsetType = msgspec.UNSET  # noqa: N815
    prevLogTerm: int | msgspec.UnsetType = msgspec.UNSET  # noqa: N815
    entries: list[tuple[bytes, int, int]] = []


class NextNodeIdx(_Typed, frozen=True, kw_only=True, tag="next_node_idx"):
    """The acknowledgement of an append."""

    next_node_idx: int
    reset: bool
    success: bool


class RequestVote(_Typed, frozen=True, kw_only=True, tag="request_vote"):
    """A candidate asks for a vote."""

    last_log_index: int
    last_log_term: int


class ResponseVote(_Typed, frozen=True, kw_only=True, tag="response_vote"):
    """A vote in the term."""


class TimeoutNow(_Typed, frozen=True, kw_only=True, tag="timeout_now"):
    """The leader hands over."""


class ApplyCommand(_Typed, frozen=True, kw_only=True, tag="apply_command"):
    """Asks the leader to append an entry."""

    command: bytes
    request_id: int


class ApplyCommandResponse(_Typed, frozen=True, kw_only=True, tag="apply_command_response"):
    """Where the leader put it, or why not."""

    request_id: int
    log_idx: int | msgspec.UnsetType = msgspec.UNSET
    log_term: int | msgspec.UnsetType = msgspec.UNSET
    error: int | msgspec.UnsetType = msgspec.UNSET


class StaleTerm(_Typed, frozen=True, kw_only=True, tag="stale_term"):
    """The answer to a message of an earlier term than `term`."""


class PreVote(_Typed, frozen=True, kw_only=True, tag="pre_vote"):
    """Asks whether an election in this term could be won."""

    round: int
    last_log_index: int
    last_log_term: int


class PreVoteReply(_Typed, frozen=True, kw_only=True, tag="pre_vote_reply"):
    """Whether it could, for this node."""

    round: int
    granted: bool


class LeaderCheck(_Typed, frozen=True, kw_only=True, tag="leader_check"):
    """A leader asks whether this is still the term."""

    round: int


class LeaderCheckReply(_Typed, frozen=True, kw_only=True, tag="leader_check_reply"):
    """It is."""

    round: int


class ReadIndex(_Typed, frozen=True, kw_only=True, tag="read_index"):
    """Asks the leader up to where a read must wait."""

    request_id: int


class ReadIndexReply(_Typed, frozen=True, kw_only=True, tag="read_index_reply"):
    """That far."""

    request_id: int
    index: int


class SnapshotOffer(_Typed, frozen=True, kw_only=True, tag="snapshot_offer"):
    """The leader's log does not go back far enough for the receiver."""

    offer: dict[str, Any]


class Mark(_Typed, frozen=True, kw_only=True, tag="mark"):
    """The leader tells a witness that its log holds an entry; index 0: only that it leads."""

    index: int
    log_term: int
    voters: list[str] = []
    """Who votes, the leader among them."""


class Redirect(_Typed, frozen=True, kw_only=True, tag="redirect"):
    """The leader names learners that feed others; see `feeding`."""

    feeders: list[str]


class FeedMe(_Typed, frozen=True, kw_only=True, tag="feed_me"):
    """A learner asks another one for entries, and says that it has all before."""

    next_index: int


class Fed(_Typed, frozen=True, kw_only=True, tag="fed"):
    """Committed entries from a learner, or, `behind`, that its log does not go back so far."""

    leader: str
    commit_index: int
    prevLogIdx: int  # noqa: N815
    prevLogTerm: int  # noqa: N815
    entries: list[tuple[bytes, int, int]] = []
    behind: bool = False


class FeedStatus(_Typed, frozen=True, kw_only=True, tag="feed_status"):
    """One that is fed tells the leader how far it is, and whether nobody's log helps it."""

    match_index: int
    behind: bool


class Ping(_Typed, frozen=True, kw_only=True, tag="ping"):
    """Nothing, to show that the link lives."""


_decoder = msgspec.msgpack.Decoder(
    AppendEntries
    | NextNodeIdx
    | RequestVote
    | ResponseVote
    | TimeoutNow
    | ApplyCommand
    | ApplyCommandResponse
    | StaleTerm
    | PreVote
    | PreVoteReply
    | LeaderCheck
    | LeaderCheckReply
    | ReadIndex
    | ReadIndexReply
    | SnapshotOffer
    | Mark
    | Redirect
    | FeedMe
    | Fed
    | FeedStatus
    | Ping
)
_encoder = msgspec.msgpack.Encoder()


def encode(message: Message) -> bytes:
    """Encode one frame."""
    data = _encoder.encode(message)
    return LENGTH.pack(len(data)) + data


def decode(body: bytes | memoryview) -> Message:
    """Decode the body of a frame.

    Raises:
        FrameError: it is none of the messages above.
    """
    try:
        found = _decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise FrameError(f"A peer sent what is no message: {error}") from error
    message: Message = {"type": type(found).__struct_config__.tag}
    for name in found.__struct_fields__:
        value = getattr(found, name)
        if value is not msgspec.UNSET:
            message[name] = value
    return message


def take_frames(buffer: bytearray) -> list[bytes]:
    """Take the bodies of the whole frames out of a buffer.

    Raises:
        FrameError: a frame claims more than any frame may have.
    """
    bodies: list[bytes] = []
    at, end = 0, len(buffer)
    while end - at >= LENGTH.size:
        (length,) = LENGTH.unpack_from(buffer, at)
        if length > MAX_MESSAGE_BYTES:
            raise FrameError(f"A peer's frame of {length} bytes is over the limit")
        if end - at - LENGTH.size < length:
            break
        at += LENGTH.size
        bodies.append(bytes(buffer[at : at + length]))
        at += length
    del buffer[:at]
    return bodies
