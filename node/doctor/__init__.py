"""`hedgerow doctor`: looks at this machine and says, for each thing that is missing, how to mend it."""

from collections.abc import Sequence

from node.config import ApiSection, ClusterSection, Config
from node.doctor.check import Check, Needs
from node.doctor.kernel import kernel_checks
from node.doctor.machine import Machine
from node.doctor.programs import program_checks
from node.doctor.resources import resource_checks

__all__ = ["Check", "Machine", "Needs", "examine", "needs_of"]


def needs_of(config: Config, *, is_running: bool = False) -> Needs:
    """Return what a node with this configuration takes of its machine; the ports of a running one are its own."""
    if is_running:
        return Needs(state_dir=str(config.state_dir))
    api = config.section(ApiSection)
    ports = [(api.listen, api.port)]
    if api.plain_port:
        ports.append(("127.0.0.1", api.plain_port))
    cluster = config.section(ClusterSection)
    ports += [(cluster.listen, port) for port in (cluster.port, cluster.data_port) if port]
    return Needs(state_dir=str(config.state_dir), ports=tuple(ports))


def examine(machine: Machine, needs: Needs) -> Sequence[Check]:
    """Return every check, in the order in which they are worth mending. Changes nothing."""
    return [*kernel_checks(machine), *program_checks(machine), *resource_checks(machine, needs)]
