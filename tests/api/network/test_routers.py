"""Routers, their interfaces and gateways, and floating IPs."""

from typing import Any

from node.plugins.network.tables import FloatingIp
from node.state.txn import patch
from tests.api.network.conftest import Caller, refused


def _attached(
    member: Caller, public: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    net, subnet = member.net()
    router = member.make("/routers", "router", external_gateway_info={"network_id": public["id"]})
    answer = member.put(
        f"/routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]}
    )
    assert answer.status == 200, answer.body
    return net, subnet, router


def test_interfaces(member: Caller) -> None:
    net, subnet = member.net()
    router = member.make("/routers", "router", name="r")
    assert router["external_gateway_info"] is None
    ident = router["id"]
    path = f"/routers/{ident}"
    added = member.put(f"/routers/{ident}/add_router_interface", {"subnet_id": subnet["id"]}).json
    assert added["subnet_ids"] == [subnet["id"]]
    assert added["id"] == router["id"]
    port = member.get(f"/ports/{added['port_id']}")["port"]
    assert port["device_owner"] == "network:router_interface"
    assert port["fixed_ips"] == [{"subnet_id": subnet["id"], "ip_address": "10.0.0.1"}]
    refused(member.delete(f"/ports/{port['id']}"), 409, "ServicePortInUse")
    refused(member.delete(path), 409, "RouterInUse")
    refused(member.delete(f"/networks/{net['id']}"), 409, "NetworkInUse")
    refused(
        member.put(f"/routers/{ident}/add_router_interface", {"subnet_id": subnet["id"]}),
        400,
        "BadRequest",
    )
    refused(member.put(f"/routers/{ident}/add_router_interface", {}), 400, "BadRequest")
    removed = member.put(
        f"/routers/{ident}/remove_router_interface", {"subnet_id": subnet["id"]}
    ).json
    assert removed["port_id"] == port["id"]
    refused(member.ask(f"/ports/{port['id']}"), 404, "PortNotFound")
    again = member.put(f"/routers/{ident}/remove_router_interface", {"subnet_id": subnet["id"]})
    refused(again, 404, "RouterInterfaceNotFoundForSubnet")
    assert member.delete(path).status == 204


def test_interface_by_port(member: Caller) -> None:
    net, subnet = member.net()
    port = member.make(
        "/ports", "port", network_id=net["id"], fixed_ips=[{"ip_address": "10.0.0.200"}]
    )
    router = member.make("/routers", "router")
    ident = router["id"]
    added = member.put(f"/routers/{ident}/add_router_interface", {"port_id": port["id"]}).json
    assert (added["port_id"], added["subnet_id"]) == (port["id"], subnet["id"])
    refused(
        member.put(f"/routers/{ident}/add_router_interface", {"port_id": port["id"]}),
        409,
        "PortInUse",
    )
    assert (
        member.put(f"/routers/{ident}/remove_router_interface", {"port_id": port["id"]}).status
        == 200
    )


def test_overlapping_subnets_do_not_meet(member: Caller) -> None:
    _, one = member.net("10.0.0.0/24")
    _, two = member.net("10.0.0.0/16")
    path = f"/routers/{member.make('/routers', 'router')['id']}/add_router_interface"
    assert member.put(path, {"subnet_id": one["id"]}).status == 200
    assert "overlaps" in refused(member.put(path, {"subnet_id": two["id"]}), 400, "BadRequest")


def test_gateway(member: Caller, admin: Caller, public: dict[str, Any]) -> None:
    router = member.make("/routers", "router", external_gateway_info={"network_id": public["id"]})
    info = router["external_gateway_info"]
    assert info["enable_snat"] is True
    assert info["external_fixed_ips"][0]["ip_address"].startswith("198.51.100.")
    ports = admin.get(f"/ports?device_id={router['id']}")["ports"]
    assert [p["device_owner"] for p in ports] == ["network:router_gateway"]
    ident = router["id"]
    path = f"/routers/{ident}"
    snat = {"router": {"external_gateway_info": {"network_id": public["id"], "enable_snat": False}}}
    refused(member.put(path, snat), 403, "PolicyNotAuthorized")
    changed = admin.put(path, snat).json["router"]["external_gateway_info"]
    assert (changed["enable_snat"], changed["external_fixed_ips"]) == (
        False,
        info["external_fixed_ips"],
    )
    cleared = member.put(path, {"router": {"external_gateway_info": None}}).json["router"]
    assert cleared["external_gateway_info"] is None
    assert admin.get(f"/ports?device_id={router['id']}")["ports"] == []
    net, _ = member.net()
    inner = {"router": {"external_gateway_info": {"network_id": net["id"]}}}
    refused(member.put(path, inner), 400, "BadRequest")


def test_extra_routes(member: Caller, public: dict[str, Any]) -> None:
    _, subnet, router = _attached(member, public)
    ident = router["id"]
    path = f"/routers/{ident}"
    route = {"destination": "192.0.2.0/24", "nexthop": "10.0.0.9"}
    assert member.put(path, {"router": {"routes": [route]}}).json["router"]["routes"] == [route]
    lost = {"destination": "192.0.2.0/24", "nexthop": "172.16.0.9"}
    refused(member.put(path, {"router": {"routes": [lost]}}), 400, "InvalidRoutes")
    remove = member.put(f"/routers/{ident}/remove_router_interface", {"subnet_id": subnet["id"]})
    refused(remove, 409, "RouterInterfaceInUseByRoute")
    more = {"router": {"routes": [{"destination": "192.0.3.0/24", "nexthop": "10.0.0.9"}]}}
    assert len(member.put(f"/routers/{ident}/add_extraroutes", more).json["router"]["routes"]) == 2
    assert member.put(f"/routers/{ident}/remove_extraroutes", more).json["router"]["routes"] == [
        route
    ]


def test_floating_ip(member: Caller, admin: Caller, public: dict[str, Any]) -> None:
    net, subnet, router = _attached(member, public)
    port = member.make("/ports", "port", network_id=net["id"], name="vm")
    floating = member.make("/floatingips", "floatingip", floating_network_id=public["id"])
    assert (floating["status"], floating["port_id"], floating["router_id"]) == ("DOWN", None, None)
    path = f"/floatingips/{floating['id']}"
    bound = member.put(path, {"floatingip": {"port_id": port["id"]}}).json["floatingip"]
    assert bound["router_id"] == router["id"]
    assert bound["fixed_ip_address"] == port["fixed_ips"][0]["ip_address"]
    assert bound["port_details"]["name"] == "vm"
    member.cloud.commit(patch(FloatingIp, floating["id"], have="active"))
    assert member.get(path)["floatingip"]["status"] == "ACTIVE"
    router_path = f"/routers/{router['id']}"
    removal = member.put(f"{router_path}/remove_router_interface", {"subnet_id": subnet["id"]})
    refused(removal, 409, "RouterInterfaceInUseByFloatingIP")
    clear = member.put(router_path, {"router": {"external_gateway_info": {}}})
    refused(clear, 409, "RouterExternalGatewayInUseByFloatingIp")
    second = {"floating_network_id": public["id"], "port_id": port["id"]}
    refused(
        member.post("/floatingips", {"floatingip": second}), 409, "FloatingIPPortAlreadyAssociated"
    )
    freed = member.put(path, {"floatingip": {"port_id": None}}).json["floatingip"]
    assert (freed["status"], freed["router_id"], freed["fixed_ip_address"]) == ("DOWN", None, None)
    member.put(path, {"floatingip": {"port_id": port["id"]}})
    member.put(f"/ports/{port['id']}", {"port": {"fixed_ips": [{"ip_address": "10.0.0.123"}]}})
    assert member.get(path)["floatingip"]["port_id"] is None
    member.put(path, {"floatingip": {"port_id": port["id"]}})
    assert member.delete(f"/ports/{port['id']}").status == 204
    assert member.get(path)["floatingip"]["port_id"] is None
    assert member.delete(path).status == 204
    owners = {p["device_owner"] for p in admin.get(f"/ports?network_id={public['id']}")["ports"]}
    assert owners == {"network:router_gateway"}


def test_floating_ip_refusals(member: Caller, other: Caller, public: dict[str, Any]) -> None:
    net, _ = member.net()
    port = member.make("/ports", "port", network_id=net["id"])
    lonely = {"floatingip": {"floating_network_id": public["id"], "port_id": port["id"]}}
    refused(member.post("/floatingips", lonely), 404, "ExternalGatewayForFloatingIPNotFound")
    inner = {"floatingip": {"floating_network_id": net["id"]}}
    refused(member.post("/floatingips", inner), 400, "BadRequest")
    refused(other.post("/floatingips", lonely), 404, "PortNotFound")
    chosen = {
        "floatingip": {"floating_network_id": public["id"], "floating_ip_address": "198.51.100.7"}
    }
    refused(member.post("/floatingips", chosen), 403, "PolicyNotAuthorized")
    body = {"floatingip": {"floating_network_id": public["id"], "fixed_ip_address": "10.0.0.5"}}
    refused(member.post("/floatingips", body), 400, "BadRequest")


def test_other_projects_see_no_router(member: Caller, other: Caller) -> None:
    router = member.make("/routers", "router")
    refused(other.ask(f"/routers/{router['id']}"), 404, "RouterNotFound")
    refused(other.delete(f"/routers/{router['id']}"), 404, "RouterNotFound")
    assert other.get("/routers")["routers"] == []


def test_idle_floating_ips_go_with_their_network(
    member: Caller, admin: Caller, public: dict[str, Any]
) -> None:
    floating = member.make("/floatingips", "floatingip", floating_network_id=public["id"])
    assert admin.delete(f"/networks/{public['id']}").status == 204
    refused(member.ask(f"/floatingips/{floating['id']}"), 404, "FloatingIPNotFound")
    assert member.get("/quotas/project-1/details")["quota"]["floatingip"]["used"] == 0
