"""The baseline: a trivial falcon application behind the same server with the same settings.

    python benchmarks/hello.py STATE_DIR PLAIN_PORT PORT

What it reaches is what the machine gives just then: a figure of ours beside it says what we cost.
"""

import sys
from pathlib import Path
from typing import Any

import falcon

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from node.api.dispatch import Backend  # noqa: E402
from node.api.server import ApiServer, TlsFiles  # noqa: E402
from node.clock import SystemClock  # noqa: E402
from node.cluster.client import SOCKET_FILE, ProposalClient  # noqa: E402
from node.config import ApiSection, Config  # noqa: E402
from node.ids import RandomIds  # noqa: E402
from node.state.proposer import LogProposer  # noqa: E402
from node.state.reader import STATE_FILE, Readers  # noqa: E402


class Hello:
    """`GET /`."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.data = b'{"hello":"world"}'


class HelloServer(ApiServer):
    """Our server with another application."""

    def load(self) -> Any:
        app = falcon.App()
        app.add_route("/", Hello())
        return app


def main() -> None:
    state, plain_port, port = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    config = Config({"api": ApiSection(port=port, plain_port=plain_port)})
    backend = Backend(
        readers=Readers(state / STATE_FILE),
        proposer=LogProposer(ProposalClient(state / SOCKET_FILE).propose),
        policies=None,  # type: ignore[arg-type]
        hooks=None,
        config=config,
        clock=SystemClock(),
        ids=RandomIds(),
    )
    tls = state / "tls"
    files = TlsFiles(certificate=tls / "server.pem", key=tls / "server.key")
    HelloServer(backend, (), files).run()


if __name__ == "__main__":
    main()
