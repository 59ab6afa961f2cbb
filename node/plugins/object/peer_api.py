"""What nodes serve each other of the object store: index entries, and fragments."""

import msgspec

from node.plugins.object.store import peer_wire
from node.plugins.object.store.fragment import Rotten
from node.plugins.object.store.open import opened
from node.plugins.object.store.peer_wire import (
    Answers,
    ListQuestion,
    RecordsQuestion,
    UsageQuestion,
)
from node.plugins.object.store.record import pack
from node.plugins.object.store.wire import MAX_FRAME_BYTES, AskRequest, WriteRequest, request_of
from node.sdk import BadRequest, Context, NodeError, NotFound, Reply, Route, Service

_MSGPACK = "application/msgpack"
_BUFFER_BYTES = 1 << 18
_MOST_BYTES = 1 << 24


def _answer(answers: Answers) -> Reply:
    return Reply(body=pack(answers), content_type=_MSGPACK)


def _body(ctx: Context) -> bytes:
    data: bytes = ctx.stream.read_all(MAX_FRAME_BYTES)
    return data


def write(ctx: Context) -> Reply:
    """Write indexes of this node's disks."""
    request = _request(ctx)
    if not isinstance(request, WriteRequest):
        raise BadRequest("This is no write.")
    results = opened(ctx).local.write(request.disk_ids, request.ops, request.layout)
    return _answer(Answers(results=results))


def ask(ctx: Context) -> Reply:
    """Ask the store process of this node."""
    request = _request(ctx)
    if not isinstance(request, AskRequest):
        raise BadRequest("This is no question.")
    found = opened(ctx).local.ask(request.disk_id, request.question, request.argument)
    return _answer(Answers(answer=found))


def _request(ctx: Context) -> WriteRequest | AskRequest:
    try:
        return request_of(_body(ctx))
    except msgspec.MsgspecError as error:
        raise BadRequest(f"The request cannot be read: {error}") from error


def question(ctx: Context) -> Reply:
    """Answer from an index of this node's."""
    try:
        asked = peer_wire.questions.decode(_body(ctx))
    except msgspec.MsgspecError as error:
        raise BadRequest(f"The question cannot be read: {error}") from error
    local = opened(ctx).local
    if isinstance(asked, RecordsQuestion):
        if asked.latest:
            latest = local.latest(asked.disk_id, asked.container_id, asked.name)
            return _answer(Answers(records=[latest] if latest else []))
        found = local.records(asked.disk_id, asked.container_id, asked.name)
        return _answer(Answers(records=found))
    if isinstance(asked, ListQuestion):
        return _answer(
            Answers(listing=local.list(asked.disk_id, asked.container_id, asked.query))
        )
    assert isinstance(asked, UsageQuestion)
    return _answer(Answers(usage=local.usage(asked.disk_id, asked.container_ids)))


def blob(ctx: Context, disk_id: str, blob_id: str) -> Reply:
    """Send inline bytes."""
    found = opened(ctx).local.blob(disk_id, blob_id)
    if found is None:
        raise NotFound("This disk does not have them")
    return Reply(body=found, content_type="application/octet-stream")


def fragment(ctx: Context, disk_id: str, name: str) -> Reply:
    """Send a part of a fragment, checked."""
    offset, length = _number(ctx, "offset"), _number(ctx, "length")
    local = opened(ctx).local
    _refuse_path(name)
    try:
        with local.open_fragment(disk_id, name) as file:
            data = file.read(offset, min(length, _MOST_BYTES))
    except Rotten as error:
        local.ask(disk_id, "rotten", name)
        raise NotFound(f"The fragment {name} was rotten") from error
    return Reply(body=data, content_type="application/octet-stream")


def store_fragment(ctx: Context, disk_id: str, name: str) -> Reply:
    """Take a fragment."""
    _refuse_path(name)
    sink = opened(ctx).local.create_fragment(disk_id, name)
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    try:
        while got := ctx.stream.readinto(buffer):
            sink.write(buffer[:got])
        sink.commit()
    finally:
        sink.abort()
    return Reply(status=201)


def _refuse_path(name: str) -> None:
    """Refuse what is no fragment's name: it becomes part of a path."""
    id, _, number = name.partition(".")  # noqa: A001 - as everywhere here
    if not (id.isalnum() and id.isascii() and number.isascii() and number.isdigit()):
        raise BadRequest(f"{name} names no fragment")


def _number(ctx: Context, name: str) -> int:
    text = ctx.param(name) or ""
    if not (text.isascii() and text.isdigit()):
        raise BadRequest(f"{name} must be a number")
    return int(text)


def fault(_ctx: Context, error: NodeError) -> Reply:
    """Say what is wrong."""
    return Reply(status=error.status, body={"message": error.message})


def _peer(method: str, path: str, handler: object, *, stream: bool = False) -> Route:
    return Route(
        method=method, path=path, handler=handler, policy="public", peers_only=True, stream=stream  # type: ignore[arg-type]
    )  # fmt: skip


SERVICE = Service(
    name="object-peers",
    type="object-peers",
    path=peer_wire.PATH,
    endpoint="",
    description="Between nodes only.",
    fault=fault,
    routes=(
        _peer("POST", "/v1/write", write, stream=True),
        _peer("POST", "/v1/ask", ask, stream=True),
        _peer("POST", "/v1/question", question, stream=True),
        _peer("GET", "/v1/blobs/{disk_id}/{blob_id}", blob),
        _peer("GET", "/v1/fragments/{disk_id}/{name}", fragment),
        _peer("PUT", "/v1/fragments/{disk_id}/{name}", store_fragment, stream=True),
    ),
)
