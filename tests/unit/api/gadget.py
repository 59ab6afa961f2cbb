"""A service with one of each: what the tests of the framework call."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from node.sdk import (
    BadRequest,
    Context,
    Frozen,
    Microversions,
    NodeError,
    Reply,
    Resource,
    Route,
    Row,
    Service,
    Table,
    hookimpl,
    insert,
)

LIMIT_BYTES = 10 * 2**20


class Gadget(Resource):
    __table__ = Table(name="gadgets", unique=(("name",),))

    name: str = ""
    size_bytes: int = 0


class GadgetBody(Frozen, forbid_unknown_fields=True):
    name: str


class GadgetQuery(Frozen, forbid_unknown_fields=True):
    limit: int = 10
    tag: list[str] = []


class Push(Frozen, forbid_unknown_fields=True):
    hard: bool = False


def create(ctx: Context) -> Reply:
    row = Gadget(id=ctx.ids.uuid(), name=ctx.body.name, project_id=ctx.project_id)
    ctx.transact(lambda: ([insert(row)], None))
    return Reply(body={"id": row.id}, headers={"Location": ctx.url(f"/v1/gadgets/{row.id}")})


def unchecked(ctx: Context) -> None:
    row = Gadget(id=ctx.ids.uuid(), name="half\0checked")
    ctx.transact(lambda: ([insert(row)], None))


def show(ctx: Context, gadget_id: str) -> Mapping[str, Any]:
    row = ctx.find(Gadget, gadget_id, f"No gadget {gadget_id}")
    return {"id": row.id, "name": row.name, "size": row.size_bytes}


def show_more(ctx: Context, gadget_id: str) -> Mapping[str, Any]:
    return {**show(ctx, gadget_id), "more": True}


def listing(ctx: Context) -> Mapping[str, Any]:
    return {"limit": ctx.query.limit, "tags": ctx.query.tag, "version": list(ctx.microversion)}


def upload(ctx: Context, gadget_id: str) -> Reply:
    size = 0
    while data := ctx.stream.read(65536):
        size += len(data)
        if size > LIMIT_BYTES:
            raise BadRequest("too long")
    row = Gadget(id=gadget_id, name=gadget_id, size_bytes=size, project_id=ctx.project_id)
    ctx.transact(lambda: ([insert(row)], None))
    return Reply(body={"size": size})


def echo(ctx: Context, rest: str) -> Mapping[str, Any]:
    return {"raw": ctx.raw_path, "path": ctx.path, "rest": rest}


def tagged(_ctx: Context, rest: str) -> Mapping[str, Any]:
    return {"tags of": rest}


def door(ctx: Context) -> Mapping[str, Any]:
    return {"who": ctx.token_or_none.user_id if ctx.token_or_none else "nobody"}


def header(ctx: Context) -> Reply:
    wanted = ctx.param("value", "") or ""
    sent = {name: text for name, text in ctx.headers.items() if name.startswith("x-")}
    return Reply(body=sent, headers={"X-Echo": wanted, "Location": wanted})


def blob(_ctx: Context) -> Reply:
    return Reply(body=iter([b"a" * 1000, b"b" * 500]), length_bytes=1500, content_type="text/x")


def sent_file(ctx: Context) -> Reply:
    path = Path(ctx.config.state_dir) / "blob"
    size = path.stat().st_size
    offset, length = int(ctx.param("offset") or 0), int(ctx.param("length") or size)
    return Reply(file=(str(path), offset, length), content_type="application/octet-stream")


def torn(_ctx: Context) -> Reply:
    def parts() -> Iterator[bytes]:
        yield b"x" * 1000
        raise OSError("the disk went away")

    return Reply(body=parts(), length_bytes=5000)


def crash(_ctx: Context) -> None:
    raise RuntimeError("a secret that no client may see")


def push(ctx: Context, gadget_id: str) -> Mapping[str, Any]:
    return {"pushed": gadget_id, "hard": ctx.body.hard}


def pull(ctx: Context, gadget_id: str) -> Mapping[str, Any]:
    return {"pulled": gadget_id, "given": ctx.body}


def owned(ctx: Context) -> Mapping[str, Any]:
    return {"owner": ctx.body["owner"]}


def nothing(_ctx: Context, gadget_id: str) -> None:
    return None


def fault(_ctx: Context, error: NodeError) -> Reply:
    return Reply(status=error.status, body={"gadgetFault": {"message": error.message}})


def invalid(_ctx: Context, error: msgspec.ValidationError) -> NodeError:
    return BadRequest(f"Invalid input: {error}")


def owner(ctx: Context) -> Mapping[str, Any]:
    given = ctx.body.get("owner", "") if isinstance(ctx.body, dict) else ""
    return {"project_id": given}


ID = "/v1/gadgets/{gadget_id}"
ROUTES = (
    Route(method="GET", path="/", handler=lambda ctx: {"version": list(ctx.microversion)}, policy="public"),
    Route(method="GET", path="/v1/gadgets", handler=listing, policy="any", query=GadgetQuery),
    Route(method="POST", path="/v1/gadgets", handler=create, policy="gadget:create", body=GadgetBody, status=201),
    Route(method="POST", path="/v1/unchecked", handler=unchecked, policy="any"),
    Route(method="GET", path=ID, handler=show, policy="any", until="1.4"),
    Route(method="GET", path=ID, handler=show_more, policy="any", since="1.5"),
    Route(method="HEAD", path=ID, handler=show, policy="any"),
    Route(method="PUT", path=ID, handler=upload, policy="gadget:create", stream=True, status=201),
    Route(method="DELETE", path=ID, handler=nothing, policy="gadget:create", status=204),
    Route(method="POST", path=f"{ID}/action", handler=push, policy="gadget:push", action="push", body=Push),
    Route(method="POST", path=f"{ID}/action", handler=pull, policy="any", action="pull", since="1.3"),
    Route(method="POST", path="/v1/owned", handler=owned, policy="gadget:own", body=dict[str, Any], target=owner),
    Route(method="GET", path="/v1/echo/{rest:path}", handler=echo, policy="any"),
    Route(method="GET", path="/v1/echo/{rest:path}", handler=tagged, policy="any", select="tagging"),
    Route(method="OPTIONS", path="/v1/door", handler=door, policy="own"),
    Route(method="GET", path="/v1/header", handler=header, policy="any"),
    Route(method="GET", path="/v1/blob", handler=blob, policy="any"),
    Route(method="GET", path="/v1/file", handler=sent_file, policy="any"),
    Route(method="GET", path="/v1/torn", handler=torn, policy="any"),
    Route(method="GET", path="/v1/crash", handler=crash, policy="any"),
)  # fmt: skip

GADGETS = Service(
    name="gadget",
    type="gadget",
    path="/gadget",
    endpoint="/gadget/v1",
    routes=ROUTES,
    fault=fault,
    invalid=invalid,
    microversions=Microversions(
        minimum="1.1", maximum="1.12", service_type="gadget", legacy_header="X-Gadget-Version"
    ),
    rules={"mine": "project_id:%(project_id)s"},
    policies={
        "gadget:create": "role:member and rule:mine",
        "gadget:push": "role:admin",
        "gadget:own": "rule:mine",
    },
)


@hookimpl
def row_types() -> list[type[Row]]:
    return [Gadget]


@hookimpl
def services() -> list[Service]:
    return [GADGETS]
