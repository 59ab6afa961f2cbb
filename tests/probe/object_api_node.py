"""The API process of one node: `python object_api_node.py DIRECTORY NODE PORT DATA_PORT MEMBERS`.

It serves what nodes serve each other, on a real data port with real certificates; rows play no part in that.
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
from node.plugins.object.peer_api import SERVICE
from node.state.machine import Machine
from node.state.reader import Readers
from node.testing import DirectProposer


def main(directory: Path, node_id: str, port: int, data_port: int, members: list[str]) -> None:
    state = directory / "state.db"
    settings = directory / "api.ini"
    settings.write_text(
        f"[node]\nstate_dir = {directory}\n[api]\nport = {port}\nworkers = 1\nthreads = 4\n"
        f"[cluster]\ndata_port = {data_port}\nlisten = 127.0.0.1\n"
    )
    files = ensure(directory / "api-tls", ["127.0.0.1"], SystemClock())
    backend = Backend(
        readers=Readers(state),
        proposer=DirectProposer(Machine(state)),
        policies=collect([], ""),
        hooks=PluginHost().manager,
        config=load(settings),
        clock=SystemClock(),
        ids=RandomIds(),
        node_id=node_id,
        is_member=lambda node_id: node_id in members,
    )
    ApiServer(backend, [SERVICE], TlsFiles(certificate=files.certificate, key=files.key)).run()


if __name__ == "__main__":
    place, name, own, data, all_nodes = sys.argv[1:]
    sys.argv[1:] = []  # gunicorn reads no command line of ours
    main(Path(place), name, int(own), int(data), all_nodes.split(","))
