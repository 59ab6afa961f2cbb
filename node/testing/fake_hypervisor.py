"""A hypervisor in memory, for tests of whatever drives servers without running any.

It keeps the contract of `node.plugins.compute.drivers.hypervisor.Hypervisor`: the same verbs, idempotent in the same
way. `fail_next` makes a verb raise once, before or after it took effect: what a crash at that point looks like.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from node.plugins.compute.domain_xml import DiskPlan, DomainPlan, InterfacePlan
from node.plugins.compute.drivers.hypervisor import DomainState, MigrationWay
from node.plugins.compute.guest_usage import DiskUsage, GuestUsage, NicUsage


class FakeHypervisor:
    """Domains in a dict. `obeys_power_button` says whether guests switch themselves off when asked."""

    def __init__(self, *, obeys_power_button: bool = True) -> None:
        self.obeys_power_button = obeys_power_button
        self.lets_interfaces_go = True
        self.neighbours: dict[str, FakeHypervisor] = {}
        """Other hypervisors, by the state directories of their nodes."""
        self.plugged: dict[str, dict[str, str]] = {}
        """MAC by tap of each running guest."""
        self.volumes_in: dict[str, dict[str, int]] = {}
        """Size of each volume of each running guest, by serial."""
        self.lets_volumes_go = True
        self.plans: dict[str, DomainPlan] = {}
        self.states: dict[str, DomainState] = {}
        self.calls: list[tuple[str, str]] = []
        self._on_event: Callable[[str], None] = lambda _server_id: None
        self._failures: list[tuple[str, Exception, bool]] = []

    def fail_next(self, verb: str, error: Exception, *, after: bool = False) -> None:
        """Make the next call of a verb raise, before it takes effect or after."""
        self._failures.append((verb, error, after))

    def power_off(self, server_id: str, reason: str = "shutdown") -> None:
        """Let a guest end by itself."""
        self._set(server_id, DomainState(power="shutoff", reason=reason))

    def halt(self, server_id: str) -> None:
        """Stop a guest at a write that its disk has no room for."""
        self._set(server_id, DomainState(power="paused", reason="io_error"))

    def open(self, on_event: Callable[[str], None]) -> None:
        """Take the listener."""
        self._on_event = on_event

    def close(self) -> None:
        """Forget the listener."""
        self._on_event = lambda _server_id: None

    def server_ids(self) -> list[str]:
        """Return the servers of which there is a domain."""
        return sorted(self.plans)

    def state(self, server_id: str) -> DomainState | None:
        """Return what a domain does."""
        return self.states.get(server_id)

    def define(self, plan: DomainPlan) -> None:
        """Store a domain."""
        self._do("define", plan.server_id, lambda: self._define(plan))

    def start(self, server_id: str) -> None:
        """Start a domain."""
        if server_id not in self.plans:
            raise KeyError(server_id)
        self._do("start", server_id, lambda: self._start(server_id))

    def press_power(self, server_id: str) -> None:
        """Press the power button."""
        self._do("press_power", server_id, lambda: self._press(server_id))

    def destroy(self, server_id: str) -> None:
        """End a guest."""
        if server_id in self.states and self.states[server_id].power != "shutoff":
            self._do("destroy", server_id, lambda: self.power_off(server_id, "destroyed"))

    def pause(self, server_id: str) -> None:
        """Freeze a guest."""
        self._do("pause", server_id, lambda: self._set(server_id, DomainState(power="paused")))

    def unpause(self, server_id: str) -> None:
        """Thaw a guest."""
        self._do("unpause", server_id, lambda: self._set(server_id, DomainState(power="running")))

    def interrupt(self, server_id: str) -> None:
        """Take note of an NMI."""
        self._do("interrupt", server_id, lambda: None)

    def save(self, server_id: str) -> None:
        """Save a guest's memory."""
        self._do("save", server_id, lambda: self.power_off(server_id, "saved"))

    def interfaces(self, server_id: str) -> dict[str, str]:
        """Return MAC address by tap."""
        return dict(self.plugged.get(server_id, {}))

    def plug(self, server_id: str, interface: InterfacePlan) -> None:
        """Plug an interface in."""

        def effect() -> None:
            self.plugged.setdefault(server_id, {})[interface.tap] = interface.mac

        self._do("plug", server_id, effect)

    def unplug(self, server_id: str, mac: str) -> None:
        """Let an interface go, if the guest obeys."""
        self._do("unplug", server_id, lambda: self._unplug(server_id, mac))

    def usage(self, server_id: str) -> GuestUsage | None:
        """Return figures that hang on nothing but the guest's definition."""
        state, plan = self.states.get(server_id), self.plans.get(server_id)
        if state is None or plan is None or state.power != "running":
            return None
        memory_kib = plan.memory_mib * 1024
        return GuestUsage(
            cpu_times_ns=(1_000_000,) * plan.vcpus,
            memory_maximum_kib=memory_kib,
            memory_used_kib=memory_kib,
            disks=(DiskUsage(device="vda", read_bytes=4096, read_requests=1),),
            nics=tuple(
                NicUsage(tap=tap, mac=mac, rx_bytes=64, rx_packets=1)
                for tap, mac in self.interfaces(server_id).items()
            ),
        )

    def volumes(self, server_id: str) -> dict[str, int]:
        """Return size by serial."""
        return dict(self.volumes_in.get(server_id, {}))

    def plug_volume(self, server_id: str, disk: DiskPlan) -> None:
        """Plug a volume in."""

        def effect() -> None:
            self.volumes_in.setdefault(server_id, {})[disk.serial] = 0

        self._do("plug_volume", server_id, effect)

    def unplug_volume(self, server_id: str, serial: str) -> None:
        """Let a volume go, if the guest obeys."""

        def effect() -> None:
            if self.lets_volumes_go:
                self.volumes_in.get(server_id, {}).pop(serial, None)

        self._do("unplug_volume", server_id, effect)

    def resize_volume(self, server_id: str, serial: str, size_bytes: int) -> None:
        """Show a new size."""

        def effect() -> None:
            self.volumes_in[server_id][serial] = size_bytes

        self._do("resize_volume", server_id, effect)

    def migrate(self, server_id: str, way: MigrationWay) -> None:
        """Have the guest appear on the hypervisor that `neighbours` names by the directory of its disks."""

        def effect() -> None:
            other = self.neighbours[way.plan.disks[0].path.split("/instances/")[0]]
            state = self.states[server_id]
            for here, there in zip(self.plans[server_id].disks, way.plan.disks, strict=True):
                shutil.copyfile(here.path, there.path)
            other.arrive(way.plan, state)
            self.power_off(server_id, "migrated")

        self._do("migrate", server_id, effect)

    def arrive(self, plan: DomainPlan, state: DomainState) -> None:
        """Have a guest of another hypervisor here."""
        self._define(plan)
        self._start(plan.server_id)
        self._set(plan.server_id, state)

    def has_arrived(self, server_id: str, control_path: Path) -> bool:
        """Say whether a guest runs on any of the neighbours."""
        del control_path
        return any(
            (state := other.states.get(server_id)) is not None and state.alive
            for other in self.neighbours.values()
            if other is not self
        )

    def abort_migration(self, server_id: str) -> None:
        """Do nothing: a migration here takes no time."""

    def undefine(self, server_id: str) -> None:
        """Forget a domain."""
        if server_id in self.plans:
            self._do("undefine", server_id, lambda: self._undefine(server_id))

    def _unplug(self, server_id: str, mac: str) -> None:
        if self.lets_interfaces_go:
            kept = {tap: m for tap, m in self.plugged.get(server_id, {}).items() if m != mac}
            self.plugged[server_id] = kept

    def _press(self, server_id: str) -> None:
        if self.obeys_power_button:
            self.power_off(server_id)

    def _start(self, server_id: str) -> None:
        plan = self.plans[server_id]
        self.plugged[server_id] = {one.tap: one.mac for one in plan.interfaces}
        self.volumes_in[server_id] = {one.serial: 0 for one in plan.disks if one.export}
        self._set(server_id, DomainState(power="running"))

    def _define(self, plan: DomainPlan) -> None:
        self.plans[plan.server_id] = plan
        self.states.setdefault(plan.server_id, DomainState(power="shutoff", reason="unknown"))

    def _undefine(self, server_id: str) -> None:
        self.plans.pop(server_id, None)
        self.states.pop(server_id, None)

    def _set(self, server_id: str, state: DomainState) -> None:
        self.states[server_id] = state
        self._on_event(server_id)

    def _do(self, verb: str, server_id: str, effect: Callable[[], object]) -> None:
        failure = next((f for f in self._failures if f[0] == verb), None)
        if failure is not None:
            self._failures.remove(failure)
            if not failure[2]:
                raise failure[1]
        self.calls.append((verb, server_id))
        effect()
        if failure is not None:
            raise failure[1]
