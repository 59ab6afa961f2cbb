"""From Neutron's API to the wire, with the real control runtime in between."""

import threading
import time
from collections.abc import Iterator

import pytest

from node.clock import SystemClock
from node.control.runtime import NodeControl, Runtime
from node.plugins import network as network_plugin
from node.plugins.network import planes
from node.plugins.network.names import bridge_name, dhcp_link, dhcp_namespace
from node.plugins.network.tables import Port, tap_name
from node.sdk import NodeId, NodeRow, ServerMetadata, hookimpl, insert
from node.state.reader import Readers
from node.state.txn import decode_txn, encode_outcome
from node.testing.cloud import Cloud
from tests.netns.rows import NODE
from tests.netns.site import Guest, Site, eventually, run

pytestmark = [pytest.mark.netns, pytest.mark.timeout(120)]


class _Compute:
    """Stands for the compute plugin."""

    @hookimpl
    def metadata_of(self, server_id: str) -> ServerMetadata:
        """Return metadata that names the server."""
        return ServerMetadata(files={"latest/meta-data/instance-id": server_id.encode()})


class Live:
    """The API and the runtime over one store."""

    def __init__(self, site: Site) -> None:
        directory = site.directory / "live"
        directory.mkdir()
        self.cloud = Cloud(directory, [network_plugin, _Compute()], node_id=NODE)
        self.cloud.commit(insert(NodeRow(id=NODE, name="host-1", state="up")))
        self.token = self.cloud.token(roles=("admin",), project_id="p1")
        self.control = NodeControl(
            node_id=NodeId(NODE),
            config=self.cloud.config,
            clock=SystemClock(),
            ids=self.cloud.ids,
            hook=self.cloud.host.hook,
            readers=Readers(directory / "state.db"),
            propose=lambda data, _timeout_s: encode_outcome(
                self.cloud.proposer.propose(decode_txn(data))
            ),
        )
        self.runtime = Runtime(self.control, network_plugin.reconcilers(self.control))
        self._ended = threading.Event()
        self._feeder = threading.Thread(target=self._feed)

    def __enter__(self) -> "Live":  # noqa: PYI034 - used once
        self._feeder.start()
        self.runtime.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._feeder.join()
        self.runtime.stop()
        network_plugin.teardown(self.control)

    def _feed(self) -> None:
        done = 0
        while not self._ended.wait(0.002):
            for changes in self.cloud.changes[done:]:
                done += 1
                self.runtime.changed(changes)

    def post(self, path: str, kind: str, **fields: object) -> dict[str, str]:
        """Create something and return it."""
        answer = self.cloud.post(f"/network/v2.0/{path}", json={kind: fields}, token=self.token)
        assert answer.status == 201, answer.body
        found: dict[str, str] = answer.json[kind]
        return found

    def server_port(self, network_id: str, **fields: object) -> Port:
        """Create a port as a server's and wait until it is plugged."""
        found = self.post(
            "ports",
            "port",
            network_id=network_id,
            device_owner="compute:nova",
            device_id=self.cloud.ids.uuid(),
            **{"binding:host_id": "host-1"},
            **fields,
        )
        eventually(lambda: self.port(found["id"]).have == "active", "the port was not plugged")
        return self.port(found["id"])

    def port(self, port_id: str) -> Port:
        """Return a port's row."""
        return self.cloud.db.must(Port, port_id)


@pytest.fixture
def live(site: Site) -> Iterator[Live]:
    """Run API and reconcilers in the test's node."""
    with Live(site) as live:
        yield live


def test_from_the_api_to_the_wire(site: Site, live: Live) -> None:
    outer = live.post("networks", "network", name="public", **{"router:external": True})
    live.post(
        "subnets",
        "subnet",
        network_id=outer["id"],
        ip_version=4,
        cidr="203.0.113.0/24",
        enable_dhcp=False,
    )
    inner = live.post("networks", "network", name="private")
    subnet = live.post(
        "subnets", "subnet", network_id=inner["id"], ip_version=4, cidr="10.0.0.0/24"
    )
    router = live.post("routers", "router", external_gateway_info={"network_id": outer["id"]})
    joined = live.cloud.put(
        f"/network/v2.0/routers/{router['id']}/add_router_interface",
        json={"subnet_id": subnet["id"]},
        token=live.token,
    )
    assert joined.status == 200, joined.body
    port = live.server_port(inner["id"])
    fip = live.post("floatingips", "floatingip", floating_network_id=outer["id"], port_id=port.id)

    guest = Guest.__new__(Guest)
    guest.site, guest.port, guest.node = site, port, ()
    guest.namespace = f"hgt-{site.tag}-live"
    run("ip", "netns", "add", guest.namespace)
    live.runtime.pause("network.ports", paused=True)

    def exchange() -> bool:
        """Put a veth that a namespace holds in the tap's place; the node heals the tap meanwhile, so try again."""
        run("ip", "link", "del", tap_name(port.id), ok=False)
        try:
            guest.wire()
        except AssertionError:
            return False
        return True

    eventually(exchange, "the node's tap always came back first")
    live.runtime.pause("network.ports", paused=False)
    live.control.wake("network.ports", port.id)
    eventually(lambda: "master" in run("ip", "link", "show", tap_name(port.id)), "not adopted")
    assert guest.dhcp()["ip"] == port.fixed_ips[0].ip_address
    assert guest.pings("198.18.0.1", wait_s=3)
    assert guest.fetch("http://169.254.169.254/latest/meta-data/instance-id") == port.device_id
    address = fip["floating_ip_address"]
    host_ping = ("ping", "-c1", "-W1", address)
    assert " 0% packet loss" not in run(*host_ping, ok=False), "the default group lets nobody in"
    rule = {
        "direction": "ingress",
        "protocol": "icmp",
        "security_group_id": port.security_group_ids[0],
    }
    live.post("security-group-rules", "security_group_rule", **rule)
    eventually(lambda: " 0% packet loss" in run(*host_ping, ok=False), "the rule came into force")
    shown = live.cloud.get(f"/network/v2.0/floatingips/{fip['id']}", token=live.token).json
    assert shown["floatingip"]["status"] == "ACTIVE"

    assert (
        live.cloud.delete(f"/network/v2.0/floatingips/{fip['id']}", token=live.token).status == 204
    )
    eventually(
        lambda: " 0% packet loss" not in run(*host_ping, ok=False), "the floating IP is gone"
    )
    assert live.cloud.delete(f"/network/v2.0/ports/{port.id}", token=live.token).status == 204
    eventually(lambda: tap_name(port.id) not in run("ip", "link"), "the tap is gone")
    planes_left = planes.inventory(live.control)
    eventually(
        lambda: planes.inventory(live.control)["namespaces"] == [],
        f"namespaces are left: {planes_left}",
    )


def test_plugging_is_quick(live: Live) -> None:
    inner = live.post("networks", "network", name="private")
    live.post("subnets", "subnet", network_id=inner["id"], ip_version=4, cidr="10.0.0.0/24")
    live.server_port(inner["id"])
    took_s = []
    for _number in range(10):
        begun_s = time.perf_counter()
        live.server_port(inner["id"])
        took_s.append(time.perf_counter() - begun_s)
    print("API to active, ms:", [round(took * 1000) for took in took_s])
    assert sorted(took_s)[5] < 1.0


def test_healing_does_not_wait_for_a_resync(live: Live) -> None:
    inner = live.post("networks", "network", name="private")
    live.post("subnets", "subnet", network_id=inner["id"], ip_version=4, cidr="10.0.0.0/24")
    port = live.server_port(inner["id"])
    tap, bridge = tap_name(port.id), bridge_name(inner["id"])
    eventually(lambda: dhcp_link(inner["id"]) in run("ip", "link"), "no DHCP")
    for broken in (
        ("link", "del", tap),
        ("link", "del", bridge),
        ("netns", "del", dhcp_namespace(inner["id"])),
    ):
        run("ip", *broken)
        eventually(
            lambda: (
                f"master {bridge}" in run("ip", "link", "show", tap, ok=False)
                and f"master {bridge}"
                in run("ip", "link", "show", dhcp_link(inner["id"]), ok=False)
            ),
            f"not healed after: ip {' '.join(broken)}",
        )
