"""A real API server with a data port: `python data_port_server.py DIRECTORY PORT DATA_PORT LISTEN`.

Its one service tells a peer who it is and serves it the file `blob`; its members are node-1 and node-2.
"""

import sys
from pathlib import Path
from typing import Any

from node.api.dispatch import Backend
from node.api.policy import collect
from node.api.server import ApiServer, TlsFiles
from node.clock import SystemClock
from node.cluster.trust import ensure
from node.config import load
from node.ids import RandomIds
from node.pluginhost import PluginHost
from node.sdk import Context, NodeError, Reply, Route, Service
from node.state.machine import Machine
from node.state.reader import Readers
from node.testing import DirectProposer


def who(ctx: Context) -> dict[str, str]:
    return {"peer": ctx.peer, "node": ctx.node_id}


def blob(ctx: Context) -> Reply:
    path = ctx.config.state_dir / "blob"
    size = path.stat().st_size
    first = int(ctx.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
    return Reply(
        status=206 if first else 200,
        length_bytes=size - first,
        content_type="application/octet-stream",
        file=(str(path), first, size - first),
    )


def echo(ctx: Context) -> Reply:
    return Reply(body=ctx.stream.read_all(1 << 26)[::-1], content_type="application/octet-stream")


def fault(_ctx: Context, error: NodeError) -> Reply:
    return Reply(status=error.status, body={"message": error.message})


SERVICE = Service(
    name="thing",
    type="thing",
    path="/thing",
    endpoint="/thing",
    fault=fault,
    routes=(
        Route(method="GET", path="/open", handler=lambda _ctx: {"open": True}, policy="public"),
        Route(method="GET", path="/who", handler=who, policy="public", peers_only=True),
        Route(
            method="POST", path="/echo", handler=echo, policy="public", peers_only=True, stream=True
        ),
        Route(method="GET", path="/blob", handler=blob, policy="public", peers_only=True),
    ),
)


def main(directory: Path, port: int, data_port: int, listen: str) -> None:
    state = directory / "state.db"
    settings = directory / "hedgerow.ini"
    settings.write_text(
        f"[node]\nstate_dir = {directory}\n[api]\nport = {port}\nworkers = 1\nthreads = 4\n"
        f"[cluster]\ndata_port = {data_port}\nlisten = {listen}\n"
    )
    files = ensure(directory / "api-tls", ["127.0.0.1"], SystemClock())
    hooks: Any = PluginHost().manager
    backend = Backend(
        readers=Readers(state),
        proposer=DirectProposer(Machine(state)),
        policies=collect([], ""),
        hooks=hooks,
        config=load(settings),
        clock=SystemClock(),
        ids=RandomIds(),
        node_id="node-1",
        is_member=lambda node_id: node_id in ("node-1", "node-2"),
    )
    ApiServer(backend, [SERVICE], TlsFiles(certificate=files.certificate, key=files.key)).run()


if __name__ == "__main__":
    place, *ports, address = sys.argv[1:]
    sys.argv[1:] = []  # gunicorn reads no command line of ours
    main(Path(place), *map(int, ports), address.removeprefix("-"))
