"""A real server process for the raw-socket tests: `python wire_server.py DIRECTORY PORT PLAIN_PORT`.

Gunicorn with our worker, TLS and plain, over a store of its own. One worker, which is the store's writer too.
"""

import sys
from pathlib import Path

from node.api.dispatch import Backend
from node.api.policy import collect
from node.api.server import ApiServer, TlsFiles
from node.clock import SystemClock
from node.cluster.trust import ensure
from node.config import load
from node.ids import RandomIds
from node.pluginhost import PluginHost
from node.sdk import Token, hookimpl
from node.state.machine import Machine
from node.state.reader import Readers
from node.state.txn import Define, Outcome, Txn, encode_entry, encode_txn
from node.testing import DirectProposer
from tests.unit.api import gadget


class Verifier:
    @hookimpl
    def token_verify(self, token: str) -> Token | None:
        if token not in ("member", "reader"):
            return None
        return Token(
            user_id="u", user_name="u", user_domain_id="d", user_domain_name="d", project_id="p", roles=(token,)
        )  # fmt: skip


class OwnProposer:
    """Opens the store in the worker, not in the arbiter that forks it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._direct: DirectProposer | None = None

    def propose(self, txn: Txn, timeout_s: float = 10.0) -> Outcome:
        if self._direct is None:
            self._direct = DirectProposer(Machine(self._path))
        return self._direct.propose(txn, timeout_s)


def main(directory: Path, port: int, plain_port: int) -> None:
    state = directory / "state.db"
    machine = Machine(state)
    defined = Txn(request_id="define", ops=(Define(gadget.Gadget.__table__),))
    machine.apply(1, encode_entry([encode_txn(defined)]))
    machine.close()
    settings = directory / "hedgerow.ini"
    settings.write_text(
        f"[node]\nstate_dir = {directory}\n"
        f"[api]\nport = {port}\nplain_port = {plain_port}\nworkers = 1\nthreads = 8\n"
    )
    config, host = load(settings), PluginHost()
    host.add(gadget)
    host.add(Verifier())
    files = ensure(directory / "tls", ["127.0.0.1"], SystemClock())
    backend = Backend(
        readers=Readers(state),
        proposer=OwnProposer(state),
        policies=collect([{**gadget.GADGETS.rules, **gadget.GADGETS.policies}], ""),
        hooks=host.manager,
        config=config,
        clock=SystemClock(),
        ids=RandomIds(),
    )
    tls = TlsFiles(certificate=files.certificate, key=files.key)
    ApiServer(backend, [gadget.GADGETS], tls).run()


if __name__ == "__main__":
    place, *ports = sys.argv[1:]
    sys.argv[1:] = []  # gunicorn reads no command line of ours
    main(Path(place), *map(int, ports))
