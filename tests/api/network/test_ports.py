"""Ports, their addresses and security groups."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from node.plugins.network.tables import IpAllocation, Port, SecurityGroupMember
from node.state.txn import patch
from tests.api.network.conftest import Caller, refused


def test_create_gives_mac_address_and_default_group(member: Caller) -> None:
    net, subnet = member.net()
    port = member.make("/ports", "port", network_id=net["id"], name="p")
    assert port["mac_address"].startswith("fa:16:3e:")
    assert port["fixed_ips"][0]["subnet_id"] == subnet["id"]
    assert port["status"] == "DOWN"
    groups = member.get("/security-groups")["security_groups"]
    assert port["security_groups"] == [groups[0]["id"]]
    assert "binding:host_id" not in port
    assert port["dns_assignment"][0]["fqdn"].startswith("host-10-0-0-")


def test_wished_addresses(member: Caller) -> None:
    net, subnet = member.net()
    fixed = [{"ip_address": "10.0.0.77"}]
    port = member.make("/ports", "port", network_id=net["id"], fixed_ips=fixed)
    assert port["fixed_ips"] == [{"subnet_id": subnet["id"], "ip_address": "10.0.0.77"}]
    body = {"port": {"network_id": net["id"], "fixed_ips": fixed}}
    refused(member.post("/ports", body), 409, "IpAddressAlreadyAllocated")
    body["port"]["fixed_ips"] = [{"ip_address": "192.0.2.1"}]
    refused(member.post("/ports", body), 400, "InvalidIpForNetwork")
    body["port"]["fixed_ips"] = [{"subnet_id": subnet["id"], "ip_address": "192.0.2.1"}]
    refused(member.post("/ports", body), 400, "InvalidIpForSubnet")
    two = [{"subnet_id": subnet["id"]}, {"subnet_id": subnet["id"]}]
    assert len(member.make("/ports", "port", network_id=net["id"], fixed_ips=two)["fixed_ips"]) == 2
    assert member.make("/ports", "port", network_id=net["id"], fixed_ips=[])["fixed_ips"] == []


def test_update_moves_addresses_and_groups(member: Caller) -> None:
    net, subnet = member.net()
    port = member.make("/ports", "port", network_id=net["id"])
    group = member.make("/security-groups", "security_group", name="web")
    change = {
        "fixed_ips": [{"ip_address": "10.0.0.99"}],
        "security_groups": [group["id"]],
        "allowed_address_pairs": [{"ip_address": "10.9.0.0/24"}],
    }
    new = member.put(f"/ports/{port['id']}", {"port": change}).json["port"]
    assert new["fixed_ips"] == [{"subnet_id": subnet["id"], "ip_address": "10.0.0.99"}]
    assert new["allowed_address_pairs"][0]["mac_address"] == port["mac_address"]
    db = member.cloud.db
    assert {row.ip_address for row in db.rows(IpAllocation, port_id=port["id"])} == {"10.0.0.99"}
    members = db.rows(SecurityGroupMember, port_id=port["id"])
    assert [(m.security_group_id, m.addresses) for m in members] == [
        (group["id"], ("10.0.0.99", "10.9.0.0/24"))
    ]
    refused(member.delete(f"/security-groups/{group['id']}"), 409, "SecurityGroupInUse")
    assert member.delete(f"/ports/{port['id']}").status == 204
    assert db.rows(SecurityGroupMember) == []
    assert member.delete(f"/security-groups/{group['id']}").status == 204


def test_port_security(member: Caller) -> None:
    net, _ = member.net()
    port = member.make("/ports", "port", network_id=net["id"])
    off = {"port": {"port_security_enabled": False}}
    refused(member.put(f"/ports/{port['id']}", off), 409, "PortSecurityPortHasSecurityGroup")
    off["port"]["security_groups"] = []  # type: ignore[assignment]
    assert member.put(f"/ports/{port['id']}", off).json["port"]["port_security_enabled"] is False
    pairs = {"port": {"allowed_address_pairs": [{"ip_address": "10.0.0.5"}]}}
    refused(member.put(f"/ports/{port['id']}", pairs), 409, "AddressPairAndPortSecurityRequired")


def test_a_full_pool(member: Caller) -> None:
    net = member.make("/networks", "network")
    member.make(
        "/subnets",
        "subnet",
        network_id=net["id"],
        cidr="10.0.0.0/29",
        ip_version=4,
        enable_dhcp=False,
    )
    found = {
        member.make("/ports", "port", network_id=net["id"])["fixed_ips"][0]["ip_address"]
        for _ in range(5)
    }
    assert len(found) == 5
    refused(
        member.post("/ports", {"port": {"network_id": net["id"]}}),
        409,
        "IpAddressGenerationFailure",
    )


def test_concurrent_creates_share_a_small_pool(admin: Caller, member: Caller) -> None:
    net = member.make("/networks", "network")
    member.make(
        "/subnets",
        "subnet",
        network_id=net["id"],
        cidr="10.0.0.0/26",
        ip_version=4,
        enable_dhcp=False,
    )

    def create(_number: int) -> str:
        made = member.make("/ports", "port", network_id=net["id"])
        address: str = made["fixed_ips"][0]["ip_address"]
        return address

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(create, range(61)))
    assert len(set(found)) == 61
    assert admin.get("/quotas/project-1/details.json")["quota"]["port"]["used"] == 61


def test_other_projects_see_nothing(member: Caller, other: Caller) -> None:
    net, _ = member.net()
    port = member.make("/ports", "port", network_id=net["id"])
    refused(other.ask(f"/ports/{port['id']}"), 404, "PortNotFound")
    refused(other.post("/ports", {"port": {"network_id": net["id"]}}), 404, "NetworkNotFound")
    assert other.get("/ports")["ports"] == []


def test_on_a_shared_network_one_chooses_no_address(admin: Caller, member: Caller) -> None:
    net, subnet = admin.net(shared=True)
    body: dict[str, Any] = {"network_id": net["id"], "fixed_ips": [{"ip_address": "10.0.0.9"}]}
    refused(member.post("/ports", {"port": body}), 403, "PolicyNotAuthorized")
    body["fixed_ips"] = [{"subnet_id": subnet["id"]}]
    assert member.post("/ports", {"port": body}).status == 201
    body = {"network_id": net["id"], "device_owner": "network:dhcp"}
    refused(member.post("/ports", {"port": body}), 403, "PolicyNotAuthorized")


def test_binding_is_the_admins(admin: Caller, member: Caller) -> None:
    net, _ = member.net()
    body = {"network_id": net["id"], "binding:host_id": "alpha"}
    refused(member.post("/ports", {"port": body}), 403, "PolicyNotAuthorized")
    port = admin.make("/ports", "port", **body)
    assert port["binding:vif_type"] == "tap"
    row = admin.cloud.db.must(Port, port["id"])
    assert row.node_id == "node-1"
    admin.cloud.commit(patch(Port, row.id, have="active"))
    assert admin.get(f"/ports/{port['id']}")["port"]["status"] == "ACTIVE"
    moved = admin.put(f"/ports/{port['id']}", {"port": {"binding:host_id": "elsewhere"}}).json[
        "port"
    ]
    assert (moved["binding:vif_type"], moved["status"]) == ("binding_failed", "DOWN")


def test_filters(member: Caller) -> None:
    net, subnet = member.net()
    port = member.make(
        "/ports",
        "port",
        network_id=net["id"],
        fixed_ips=[{"ip_address": "10.0.0.50"}],
        device_id="d1",
    )
    member.make("/ports", "port", network_id=net["id"], fixed_ips=[{"ip_address": "10.0.0.60"}])
    for query in (
        "fixed_ips=ip_address=10.0.0.50",
        f"fixed_ips=ip_address=10.0.0.50&fixed_ips=subnet_id={subnet['id']}",
        "fixed_ips=ip_address_substr=0.50",
        "device_id=d1",
        f"mac_address={port['mac_address']}",
        f"id={port['id']}",
    ):
        assert [p["id"] for p in member.get(f"/ports?{query}")["ports"]] == [port["id"]], query


def test_mac_is_unique_on_a_network(member: Caller) -> None:
    net, _ = member.net()
    body = {"port": {"network_id": net["id"], "mac_address": "fa:16:3e:11:22:33"}}
    assert member.post("/ports", body).status == 201
    refused(member.post("/ports", body), 409, "MacAddressInUse")


def test_dhcp_options_merge(member: Caller) -> None:
    net, _ = member.net()
    options = [{"opt_name": "tftp-server", "opt_value": "10.0.0.3"}]
    port = member.make("/ports", "port", network_id=net["id"], extra_dhcp_opts=options)
    assert port["extra_dhcp_opts"] == [{**options[0], "ip_version": 4}]
    more = [
        {"opt_name": "bootfile-name", "opt_value": "x", "ip_version": 4},
        {"opt_name": "tftp-server", "opt_value": None},
    ]
    new = member.put(f"/ports/{port['id']}", {"port": {"extra_dhcp_opts": more}}).json["port"]
    assert new["extra_dhcp_opts"] == [more[0]]


class TestSecurityGroups:
    def test_default_group(self, member: Caller, admin: Caller) -> None:
        groups = member.get("/security-groups")["security_groups"]
        assert [g["name"] for g in groups] == ["default"]
        rules = groups[0]["security_group_rules"]
        assert sorted((r["direction"], r["ethertype"], r["remote_group_id"]) for r in rules) == [
            ("egress", "IPv4", None),
            ("egress", "IPv6", None),
            ("ingress", "IPv4", groups[0]["id"]),
            ("ingress", "IPv6", groups[0]["id"]),
        ]
        path = f"/security-groups/{groups[0]['id']}"
        refused(member.delete(path), 409, "SecurityGroupCannotRemoveDefault")
        body = {"security_group": {"name": "default"}}
        refused(member.post("/security-groups", body), 409, "SecurityGroupDefaultAlreadyExists")

    def test_rules(self, member: Caller) -> None:
        group = member.make("/security-groups", "security_group", name="web")
        assert len(group["security_group_rules"]) == 2
        rule = {
            "security_group_id": group["id"],
            "direction": "ingress",
            "protocol": "tcp",
            "port_range_min": 80,
            "port_range_max": 80,
        }
        made = member.make("/security-group-rules", "security_group_rule", **rule)
        assert (made["ethertype"], made["remote_ip_prefix"], made["protocol"]) == (
            "IPv4",
            None,
            "tcp",
        )
        text = refused(
            member.post("/security-group-rules", {"security_group_rule": rule}),
            409,
            "SecurityGroupRuleExists",
        )
        assert made["id"] in text
        path = f"/security-groups/{group['id']}"
        renamed = member.put(path, {"security_group": {"name": "default"}})
        refused(renamed, 409, "SecurityGroupDefaultAlreadyExists")
        strange = {**rule, "remote_group_id": "no-such-group"}
        answer = member.post("/security-group-rules", {"security_group_rule": strange})
        refused(answer, 404, "SecurityGroupNotFound")
        assert member.delete(f"/security-group-rules/{made['id']}").status == 204
        refused(member.ask(f"/security-group-rules/{made['id']}"), 404, "SecurityGroupRuleNotFound")
        assert member.delete(f"/security-groups/{group['id']}").status == 204
        assert member.get(f"/security-group-rules?security_group_id={group['id']}") == {
            "security_group_rules": []
        }

    @pytest.mark.parametrize(
        ("more", "kind"),
        [
            ({"protocol": "nonsense"}, "SecurityGroupRuleInvalidProtocol"),
            ({"port_range_min": 1, "port_range_max": 2}, "SecurityGroupProtocolRequiredWithPorts"),
            (
                {"protocol": "tcp", "port_range_min": 9, "port_range_max": 2},
                "SecurityGroupInvalidPortRange",
            ),
            (
                {"protocol": "tcp", "port_range_min": 0, "port_range_max": 2},
                "SecurityGroupInvalidPortValue",
            ),
            (
                {"protocol": "tcp", "port_range_min": -16, "port_range_max": 80},
                "SecurityGroupInvalidPortValue",
            ),
            ({"protocol": "icmp", "port_range_min": 300}, "SecurityGroupInvalidIcmpValue"),
            ({"protocol": "icmp", "port_range_max": 3}, "SecurityGroupMissingIcmpType"),
            ({"remote_ip_prefix": "fd00::/64"}, "SecurityGroupRuleParameterConflict"),
            ({"ethertype": "IPX"}, "SecurityGroupRuleInvalidEtherType"),
            ({"direction": "sideways"}, "HTTPBadRequest"),
            ({"remote_ip_prefix": "10.0.0.0/99"}, "HTTPBadRequest"),
        ],
    )
    def test_bad_rules(self, member: Caller, more: dict[str, Any], kind: str) -> None:
        group = member.make("/security-groups", "security_group", name="web")
        rule = {"security_group_id": group["id"], "direction": "ingress", **more}
        refused(member.post("/security-group-rules", {"security_group_rule": rule}), 400, kind)

    def test_other_projects(self, member: Caller, other: Caller) -> None:
        group = member.make("/security-groups", "security_group", name="web")
        refused(other.ask(f"/security-groups/{group['id']}"), 404, "SecurityGroupNotFound")
        rule = {"security_group_id": group["id"], "direction": "ingress"}
        refused(
            other.post("/security-group-rules", {"security_group_rule": rule}),
            404,
            "SecurityGroupNotFound",
        )
