"""The object store behind our API server, with the least that an object API does: MD5, headers, no rules of Swift's.

    python benchmarks/object_server.py DIRECTORY PLAIN_PORT PORT

The container's name is that of its storage policy. There is no token: that costs a cached look-up in the real API.
"""

import hashlib
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from node.api.dispatch import Backend  # noqa: E402
from node.api.policy import collect  # noqa: E402
from node.api.server import ApiServer, TlsFiles  # noqa: E402
from node.clock import SystemClock  # noqa: E402
from node.cluster.trust import ensure  # noqa: E402
from node.config import ApiSection, Config, NodeSection  # noqa: E402
from node.ids import RandomIds  # noqa: E402
from node.pluginhost import PluginHost  # noqa: E402
from node.plugins.object.store.contract import Entry, Facts, Query  # noqa: E402
from node.plugins.object.store.open import store_of  # noqa: E402
from node.sdk import Context, NodeError, NotFound, Reply, Route, Service  # noqa: E402
from node.state.machine import Machine  # noqa: E402
from node.state.reader import Readers  # noqa: E402
from node.testing import DirectProposer  # noqa: E402


def write(ctx: Context, container: str, name: str) -> Reply:
    md5 = hashlib.md5(usedforsecurity=False)
    with store_of(ctx).writer(container, name, policy=container, size_bytes=ctx.content_length) as out:
        buffer = memoryview(bytearray(min(ctx.content_length or 1, 1 << 20)))
        while got := ctx.stream.readinto(buffer):
            md5.update(buffer[:got])
            out.write(buffer[:got])
        entry = out.commit(Facts(etag=md5.hexdigest(), meta={"colour": "green"}))
    return Reply(status=201, headers={"ETag": entry.etag})


def read(ctx: Context, container: str, name: str) -> Reply:
    store = store_of(ctx)
    entry = store.head(container, name)
    if entry is None:
        raise NotFound("no such object")
    headers = {"ETag": entry.etag, "X-Object-Meta-Colour": entry.meta["colour"]}
    more = {"headers": headers, "content_type": entry.content_type, "length_bytes": entry.size_bytes}
    file = store.local_file(entry)
    if file is not None:
        return Reply(file=(str(file[0]), file[1], entry.size_bytes), **more)  # type: ignore[arg-type]
    if entry.size_bytes <= 65536:
        return Reply(body=b"".join(store.read(entry)), **more)  # type: ignore[arg-type]
    return Reply(body=store.read(entry), **more)  # type: ignore[arg-type]


def remove(ctx: Context, container: str, name: str) -> Reply:
    if store_of(ctx).delete(container, name) is None:
        raise NotFound("no such object")
    return Reply(status=204)


def listing(ctx: Context, container: str) -> Reply:
    query = Query(marker=ctx.param("marker") or "", limit=int(ctx.param("limit") or 10_000))
    items = [
        {
            "name": entry.name,
            "bytes": entry.size_bytes,
            "hash": entry.etag,
            "content_type": entry.content_type,
            "last_modified": entry.modified_at,
        }
        for entry in store_of(ctx).list(container, query).items
        if isinstance(entry, Entry)
    ]
    return Reply(body=items)


def fault(_ctx: Context, error: NodeError) -> Reply:
    return Reply(status=error.status, body={"message": error.message})


SERVICE = Service(
    name="bench", type="bench", path="/bench", endpoint="/bench", fault=fault,
    routes=(
        Route(method="PUT", path="/{container}/{name}", handler=write, policy="public", stream=True),
        Route(method="GET", path="/{container}/{name}", handler=read, policy="public"),
        Route(method="DELETE", path="/{container}/{name}", handler=remove, policy="public"),
        Route(method="GET", path="/{container}", handler=listing, policy="public"),
    ),
)  # fmt: skip


def main() -> None:
    directory, plain_port, port = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    sys.argv[1:] = []
    sections: dict[str, Any] = {
        "api": ApiSection(port=port, plain_port=plain_port),
        "node": NodeSection(state_dir=str(directory)),
    }
    files = ensure(directory / "api-tls", ["127.0.0.1"], SystemClock())
    backend = Backend(
        readers=Readers(directory / "state.db"),
        proposer=DirectProposer(Machine(directory / "state.db")),
        policies=collect([], ""),
        hooks=PluginHost().manager,
        config=Config(sections),
        clock=SystemClock(),
        ids=RandomIds(),
        node_id="node-1",
    )
    ApiServer(backend, [SERVICE], TlsFiles(certificate=files.certificate, key=files.key)).run()


if __name__ == "__main__":
    main()
