"""The processes of a node: the core and the API server, children of the supervisor (node/supervisor.py).

They end when the supervisor does. VMs, networks and libvirt belong to none of them.
"""

import ctypes
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from node.supervisor import PARENT, StopSignal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.api.context import Teller
    from node.config import Config
    from node.pluginhost import PluginHost

log = logging.getLogger("hedgerow.daemon")

_REPORT_S = 60.0
_PR_SET_PDEATHSIG = 1


def run(config_path: Path | None) -> None:
    """Become the supervisor of a node.

    Raises:
        ConfigError: the configuration cannot be read.
    """
    from node.config import LogSection, load
    from node.observe.log import configure

    config = load(config_path, others_allowed=True)
    section = config.section(LogSection)
    configure(section.level, section.format)  # wrong ones are told now
    told = [str(config_path or ""), str(config.state_dir), section.level, section.format]
    # Another program, not a function: what read the configuration would stay in memory as long as the node runs.
    argv = [sys.executable, "-m", "node.supervisor", "run", *told]
    os.execv(sys.executable, argv)  # noqa: S606 - no shell is wanted


def end_with_parent() -> None:
    """Have the kernel end this process when its supervisor dies; does nothing without one."""
    supervisor = os.environ.pop(PARENT, "")
    if supervisor:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(supervisor):  # it died before
            sys.exit(1)


def core(config_path: Path | None) -> int:
    """Run the core process until SIGTERM."""
    from node.core import Node
    from node.errors import NodeError

    config, host = _prepare(config_path)
    stop = StopSignal(signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        node = Node(config, host)
        node.start()
    except NodeError as error:
        log.critical("%s", error.message)
        return 1
    log.info("the core is up", extra={"node_id": node.node_id})
    due_s = time.monotonic() + _REPORT_S
    while not stop.wait(1.0):
        if node.failure:
            log.critical("%s", node.failure)
            return 1
        if time.monotonic() >= due_s:
            node.report()
            due_s = time.monotonic() + _REPORT_S
    node.stop()
    return 0


def api(config_path: Path | None) -> int:
    """Run the API processes until SIGTERM."""
    from node.api.dispatch import Backend
    from node.api.server import ApiServer, TlsFiles, backend_policies
    from node.clock import SystemClock
    from node.cluster.client import SOCKET_FILE, ProposalClient
    from node.cluster.server_files import TLS_DIRECTORY, await_server_files
    from node.config import ApiSection, ClusterSection
    from node.control.data_place import Members, data_port
    from node.control.freshness import Freshness
    from node.ids import RandomIds
    from node.observe.notices import begin
    from node.state.proposer import LogProposer
    from node.state.reader import STATE_FILE, Readers

    config, host = _prepare(config_path)
    directory = config.state_dir
    section = config.section(ApiSection)
    _wait_for(directory / STATE_FILE)
    host.notice_to(begin(directory))
    services = host.services()
    files = await_server_files(directory / TLS_DIRECTORY)
    readers = Readers(directory / STATE_FILE)
    readers.learn(row_type for _plugin, some in host.gather("row_types") for row_type in some)
    members = Members(readers)
    log_client = ProposalClient(directory / SOCKET_FILE)
    is_alone = config.section(ClusterSection).port == 0
    backend = Backend(
        readers=readers,
        proposer=LogProposer(log_client.propose),
        policies=backend_policies(services, section.policy_file),
        hooks=host.manager,
        config=config,
        clock=SystemClock(),
        ids=RandomIds(),
        node_id=_node_id(directory),
        data_port=data_port(config, members),
        tell=_teller(directory),
        is_member=members.is_member,
        is_fresh=(lambda _db: True) if is_alone else Freshness(log_client.read_index).ensure,
    )
    ApiServer(backend, services, TlsFiles(certificate=files.certificate, key=files.key)).run()
    return 0


def _teller(directory: Path) -> "Teller":
    """Return the way to this node's core for `Context.tell`."""
    from node.errors import BadRequest, Unavailable
    from node.observe.admin import ask

    def tell(name: str, key: str) -> "Mapping[str, Any]":
        try:
            found: dict[str, Any] = ask(directory, "tell", name=name, key=key)
        except BadRequest as error:
            raise Unavailable(error.message) from error
        return found

    return tell


def teardown(config_path: Path | None) -> int:
    """Remove what this node made outside of its state directory. The node must not run."""
    from node.core import Node
    from node.errors import NodeError

    config, host = _prepare(config_path)
    try:
        node = Node(config, host)
    except NodeError as error:
        log.critical("%s", error.message)
        return 1
    if node.others is not None:
        node.others.forget()
    host.gather("teardown", control=node.control)
    failed = {
        report.name: report.error for report in host.reports if report.source == "hook teardown"
    }
    for name, reason in failed.items():
        log.critical("plugin %s could not undo its part: %s", name, reason)
    return 1 if failed else 0


def _prepare(config_path: Path | None) -> "tuple[Config, PluginHost]":
    """Load plugins and configuration, and begin to log."""
    from node.config import LogSection, NodeSection, load
    from node.observe.log import configure
    from node.pluginhost import PluginHost

    first = load(config_path, others_allowed=True)
    configure(first.section(LogSection).level, first.section(LogSection).format)
    section = first.section(NodeSection)
    host = PluginHost()
    directory = Path(section.plugin_dir) if section.plugin_dir else None
    host.load(
        directory=directory, blocked=[name.strip() for name in section.block_plugins.split(",")]
    )
    sections = host.sections()
    # A plugin that is broken leaves its section behind, which must not stop the node.
    return load(config_path, sections, others_allowed=bool(host.failures())), host


def _node_id(directory: Path) -> str:
    """Return this node's id, which the core made before its store."""
    import msgspec

    identity = msgspec.json.decode((directory / "identity.json").read_bytes(), type=dict[str, str])
    return identity["node_id"]


def _wait_for(path: Path) -> None:
    """Wait until the core has made a file."""
    while not path.exists():
        time.sleep(0.05)


if __name__ == "__main__":
    end_with_parent()
    given = Path(sys.argv[2]) if sys.argv[2] else None
    sys.exit({"core": core, "api": api, "teardown": teardown}[sys.argv[1]](given))
