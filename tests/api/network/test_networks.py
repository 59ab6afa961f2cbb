"""Networks and subnets."""

from typing import Any

import pytest

from node.sdk import NodeRow, insert
from node.testing.cloud import Cloud
from tests.api.network.conftest import Caller, refused


def test_create_show_list_update_delete(member: Caller) -> None:
    made = member.make("/networks", "network", name="one", description="first")
    assert made["status"] == "ACTIVE"
    assert made["mtu"] == 1450
    assert made["revision_number"] == 1
    assert "provider:network_type" not in made
    assert member.get(f"/networks/{made['id']}")["network"] == made
    changed = member.put(f"/networks/{made['id']}", {"network": {"name": "two"}}).json["network"]
    assert (changed["name"], changed["revision_number"]) == ("two", 2)
    assert [n["name"] for n in member.get("/networks")["networks"]] == ["two"]
    assert member.delete(f"/networks/{made['id']}").status == 204
    refused(member.ask(f"/networks/{made['id']}"), 404, "NetworkNotFound")


def test_an_admin_sees_how_a_network_is_carried(admin: Caller, member: Caller) -> None:
    made = member.make("/networks", "network", name="one")
    seen = admin.get(f"/networks/{made['id']}")["network"]
    assert seen["provider:network_type"] == "vxlan"
    assert seen["provider:segmentation_id"] >= 1000
    flat = {"provider:network_type": "flat", "provider:physical_network": "physnet1"}
    admin.make("/networks", "network", **flat)
    refused(admin.post("/networks", {"network": flat}), 409, "FlatNetworkInUse")
    vni = {"provider:network_type": "vxlan", "provider:segmentation_id": 4242}
    admin.make("/networks", "network", **vni)
    refused(admin.post("/networks", {"network": vni}), 409, "TunnelIdInUse")


@pytest.mark.parametrize(
    "attribute", [{"shared": True}, {"router:external": True}, {"provider:network_type": "vxlan"}]
)
def test_only_an_admin_may_share_and_choose(member: Caller, attribute: dict[str, Any]) -> None:
    text = refused(member.post("/networks", {"network": attribute}), 403, "PolicyNotAuthorized")
    assert f"rule:create_network:{next(iter(attribute))}" in text


def test_the_mtu_is_what_the_wire_leaves(
    admin: Caller, public: dict[str, Any], cloud: Cloud
) -> None:
    assert public["mtu"] == 1500, "nothing is put around what goes outside"
    narrow = NodeRow(id="n2", name="beta", facts={"underlay_mtu_bytes": "1400"})
    cloud.commit(insert(narrow))
    made = admin.make("/networks", "network", name="one")
    assert made["mtu"] == 1350
    refused(admin.put(f"/networks/{made['id']}", {"network": {"mtu": 1351}}), 400, "InvalidInput")


def test_a_default_value_needs_no_right(member: Caller) -> None:
    member.make("/networks", "network", shared=False)


def test_other_projects_see_shared_and_external_ones_only(
    admin: Caller, member: Caller, other: Caller, public: dict[str, Any]
) -> None:
    private = member.make("/networks", "network", name="private")
    shared = admin.make("/networks", "network", name="shared", shared=True)
    assert {n["id"] for n in other.get("/networks")["networks"]} == {public["id"], shared["id"]}
    refused(other.ask(f"/networks/{private['id']}"), 404, "NetworkNotFound")
    refused(other.delete(f"/networks/{shared['id']}"), 403, "PolicyNotAuthorized")
    external = other.get("/networks?router:external=True")["networks"]
    assert [n["id"] for n in external] == [public["id"]]


def test_a_reader_changes_nothing(member: Caller, reader: Caller) -> None:
    made = member.make("/networks", "network")
    assert reader.get(f"/networks/{made['id']}")["network"]["id"] == made["id"]
    assert reader.post("/networks", {"network": {}}).status == 403
    assert reader.delete(f"/networks/{made['id']}").status == 403


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"network": {"nmae": "x"}}, "Unrecognized attribute(s) 'nmae'"),
        ({"net": {}}, "Unable to find 'network' in request body"),
        ({"network": {"status": "ACTIVE"}}, "Attribute 'status' not allowed in POST"),
        (
            {"network": {"admin_state_up": "maybe"}},
            "Invalid input for admin_state_up. Reason: 'maybe' cannot be converted to boolean.",
        ),
        (
            {"network": {"name": "x" * 256}},
            f"Invalid input for name. Reason: '{'x' * 256}' exceeds maximum length of 255.",
        ),
    ],
)
def test_bad_bodies(member: Caller, body: Any, message: str) -> None:
    assert refused(member.post("/networks", body), 400, "HTTPBadRequest") == message


def test_bulk_is_all_or_nothing(member: Caller) -> None:
    body = {"networks": [{"name": "a"}, {"name": "b"}]}
    assert len(member.post("/networks", body).json["networks"]) == 2
    bad = {"networks": [{"name": "c"}, {"name": 5}]}
    assert member.post("/networks", bad).status == 400
    assert len(member.get("/networks")["networks"]) == 2


def test_quota(admin: Caller, member: Caller) -> None:
    assert admin.put("/quotas/project-1", {"quota": {"network": 1}}).status == 200
    made = member.make("/networks", "network")
    text = refused(member.post("/networks", {"network": {}}), 409, "OverQuota")
    assert text == "Quota exceeded for resources: ['network']."
    details = member.get("/quotas/project-1/details.json")["quota"]
    assert member.get("/quotas/project-1/default")["quota"]["network"] == 100
    assert member.get("/quotas/project-1/defaults")["quota"]["network"] == 100
    assert details["network"] == {"limit": 1, "used": 1, "reserved": 0}
    low = {"quota": {"network": 0, "check_limit": True}}
    refused(admin.put("/quotas/project-1", low), 409, "InvalidQuotaValue")
    member.delete(f"/networks/{made['id']}")
    member.make("/networks", "network")


def test_a_network_with_ports_stays(member: Caller) -> None:
    net, _ = member.net()
    port = member.make("/ports", "port", network_id=net["id"])
    assert port["id"] in refused(member.delete(f"/networks/{net['id']}"), 409, "NetworkInUse")
    member.delete(f"/ports/{port['id']}")
    assert member.delete(f"/networks/{net['id']}").status == 204
    assert member.get("/subnets")["subnets"] == []
    assert member.get("/ports")["ports"] == []


def test_lists_filter_sort_and_page(member: Caller) -> None:
    for name in ("b", "a", "c"):
        member.make("/networks", "network", name=name)
    names = [n["name"] for n in member.get("/networks?sort_key=name&sort_dir=desc")["networks"]]
    assert names == ["c", "b", "a"]
    page = member.get("/networks?sort_key=name&sort_dir=asc&limit=2")
    assert [n["name"] for n in page["networks"]] == ["a", "b"]
    link = next(item["href"] for item in page["networks_links"] if item["rel"] == "next")
    rest = member.get(link.partition("/v2.0")[2])
    assert [n["name"] for n in rest["networks"]] == ["c"]
    back = next(item["href"] for item in rest["networks_links"] if item["rel"] == "previous")
    assert [n["name"] for n in member.get(back.partition("/v2.0")[2])["networks"]] == ["a", "b"]
    assert [n["name"] for n in member.get("/networks?name=a&name=c&fields=name")["networks"]] == [
        "a",
        "c",
    ]
    assert list(member.get("/networks?name=a&fields=id")["networks"][0]) == ["id"]
    refused(member.ask("/networks?colour=red"), 400, "HTTPBadRequest")
    refused(member.ask("/networks?sort_key=colour&sort_dir=asc"), 400, "HTTPBadRequest")
    refused(member.ask("/networks?limit=-1"), 400, "HTTPBadRequest")


def test_subnet_defaults(member: Caller) -> None:
    net, subnet = member.net("10.1.0.0/24")
    assert subnet["gateway_ip"] == "10.1.0.1"
    assert subnet["allocation_pools"] == [{"start": "10.1.0.2", "end": "10.1.0.254"}]
    assert member.get(f"/networks/{net['id']}")["network"]["subnets"] == [subnet["id"]]
    dhcp = member.get(f"/ports?network_id={net['id']}")["ports"]
    assert [p["device_owner"] for p in dhcp] == ["network:dhcp"]
    assert dhcp[0]["fixed_ips"] == [{"subnet_id": subnet["id"], "ip_address": "10.1.0.2"}]
    member.put(f"/subnets/{subnet['id']}", {"subnet": {"enable_dhcp": False}})
    assert member.get(f"/ports?network_id={net['id']}")["ports"] == []
    assert member.delete(f"/subnets/{subnet['id']}").status == 204
    assert member.get(f"/networks/{net['id']}")["network"]["subnets"] == []


@pytest.mark.parametrize(
    ("more", "status", "kind"),
    [
        ({"cidr": "10.0.0.0/33"}, 400, "HTTPBadRequest"),
        ({"cidr": "10.0.0.128/25"}, 400, "InvalidInput"),
        ({"cidr": "10.2.0.0/24", "gateway_ip": "10.2.0.255"}, 400, "InvalidInput"),
        ({"cidr": "10.2.0.0/24", "gateway_ip": "fd00::1"}, 400, "InvalidInput"),
        (
            {"cidr": "10.2.0.0/24", "allocation_pools": [{"start": "10.2.0.1", "end": "10.2.0.9"}]},
            409,
            "GatewayConflictWithAllocationPools",
        ),
        (
            {"cidr": "10.2.0.0/24", "allocation_pools": [{"start": "10.3.0.2", "end": "10.3.0.9"}]},
            400,
            "OutOfBoundsAllocationPool",
        ),
        (
            {
                "cidr": "10.2.0.0/24",
                "allocation_pools": [
                    {"start": "10.2.0.2", "end": "10.2.0.9"},
                    {"start": "10.2.0.9", "end": "10.2.0.12"},
                ],
            },
            409,
            "OverlappingAllocationPools",
        ),
        ({"cidr": "10.2.0.0/24", "ip_version": 6}, 400, "InvalidInput"),
        ({"cidr": "10.2.0.0/24", "ipv6_ra_mode": "slaac"}, 400, "InvalidInput"),
        ({"cidr": "10.2.0.0/24", "dns_nameservers": ["fd00::1"]}, 400, "InvalidInput"),
        ({}, 400, "BadRequest"),
    ],
)
def test_bad_subnets(member: Caller, more: dict[str, Any], status: int, kind: str) -> None:
    net, _ = member.net()
    body = {"network_id": net["id"], "ip_version": 4, **more}
    refused(member.post("/subnets", {"subnet": body}), status, kind)


def test_slaac_addresses_come_from_the_mac(member: Caller) -> None:
    net = member.make("/networks", "network")
    early = member.make("/ports", "port", network_id=net["id"], mac_address="fa:16:3e:00:00:01")
    subnet = member.make(
        "/subnets",
        "subnet",
        network_id=net["id"],
        cidr="fd00:1::/64",
        ip_version=6,
        ipv6_ra_mode="slaac",
        ipv6_address_mode="slaac",
    )
    made = [{"subnet_id": subnet["id"], "ip_address": "fd00:1::f816:3eff:fe00:1"}]
    assert member.get(f"/ports/{early['id']}")["port"]["fixed_ips"] == made
    late = member.make("/ports", "port", network_id=net["id"], mac_address="fa:16:3e:00:00:02")
    assert late["fixed_ips"][0]["ip_address"] == "fd00:1::f816:3eff:fe00:2"
    assert member.delete(f"/subnets/{subnet['id']}").status == 204
    assert member.get(f"/ports/{late['id']}")["port"]["fixed_ips"] == []


def test_a_subnet_in_use_stays(member: Caller) -> None:
    net, subnet = member.net()
    port = member.make("/ports", "port", network_id=net["id"])
    refused(member.delete(f"/subnets/{subnet['id']}"), 409, "SubnetInUse")
    member.delete(f"/ports/{port['id']}")
    assert member.delete(f"/subnets/{subnet['id']}").status == 204


def test_pools_cut_subnets(member: Caller, admin: Caller) -> None:
    pool = member.make(
        "/subnetpools", "subnetpool", name="p", prefixes=["10.10.0.0/16"], default_prefixlen=26
    )
    assert (pool["ip_version"], pool["min_prefixlen"], pool["shared"]) == (4, "8", False)
    net = member.make("/networks", "network")
    cidrs = [
        member.make(
            "/subnets", "subnet", network_id=net["id"], ip_version=4, subnetpool_id=pool["id"]
        )["cidr"]
        for _ in range(2)
    ]
    assert cidrs == ["10.10.0.0/26", "10.10.0.64/26"]
    wide = {"network_id": net["id"], "ip_version": 4, "subnetpool_id": pool["id"], "prefixlen": 24}
    assert member.post("/subnets", {"subnet": wide}).json["subnet"]["cidr"] == "10.10.1.0/24"
    refused(member.delete(f"/subnetpools/{pool['id']}"), 400, "SubnetPoolDeleteError")
    body = {"subnetpool": {"name": "q", "prefixes": ["10.0.0.0/8"], "shared": True}}
    refused(member.post("/subnetpools", body), 403, "PolicyNotAuthorized")
    assert admin.post("/subnetpools", body).status == 201


def test_rbac_offers_a_network(member: Caller, other: Caller) -> None:
    net, _ = member.net()
    offer = {"object_type": "network", "object_id": net["id"], "action": "access_as_shared"}
    rule = member.make("/rbac-policies", "rbac_policy", target_tenant="project-2", **offer)
    assert other.get(f"/networks/{net['id']}")["network"]["shared"] is True
    port = other.make("/ports", "port", network_id=net["id"])
    assert port["id"] in {p["id"] for p in member.get("/ports")["ports"]}
    assert [p["id"] for p in other.get("/ports")["ports"]] == [port["id"]]
    assert member.get("/ports?project_id=project-2")["ports"][0]["id"] == port["id"]
    refused(member.delete(f"/rbac-policies/{rule['id']}"), 409, "RbacPolicyInUse")
    other.delete(f"/ports/{port['id']}")
    assert member.delete(f"/rbac-policies/{rule['id']}").status == 204
    refused(other.ask(f"/networks/{net['id']}"), 404, "NetworkNotFound")
    all_of_them = {"rbac_policy": {**offer, "target_tenant": "*"}}
    refused(member.post("/rbac-policies", all_of_them), 403, "PolicyNotAuthorized")


def test_documents(member: Caller, admin: Caller) -> None:
    versions = member.cloud.get("/network/").json["versions"]
    assert versions[0]["id"] == "v2.0"
    assert member.cloud.get("/network/v2.0/").json["resources"]
    aliases = {item["alias"] for item in member.get("/extensions")["extensions"]}
    assert {"router", "security-group", "standard-attr-tag"} <= aliases
    assert member.get("/extensions/router")["extension"]["alias"] == "router"
    refused(member.ask("/extensions/nothing"), 404, "ExtensionNotFound")
    agents = admin.get("/agents?agent_type=L3 agent".replace(" ", "%20"))["agents"]
    assert [(a["host"], a["alive"]) for a in agents] == [("alpha", True)]
    ident = agents[0]["id"]
    assert admin.get(f"/agents/{ident}")["agent"]["binary"] == "hedgerow-l3"
    refused(admin.ask("/agents/none"), 404, "AgentNotFound")
    assert member.get("/service-providers") == {"service_providers": []}
    assert member.get("/agents") == {"agents": []}
    refused(member.ask(f"/agents/{ident}"), 404, "AgentNotFound")
    assert member.cloud.get("/network/v2.0/networks").status == 401
    assert member.get("/availability_zones")["availability_zones"][0]["state"] == "available"
    net, _ = member.net()
    free = admin.get(f"/network-ip-availabilities/{net['id']}")["network_ip_availability"]
    assert (free["total_ips"], free["used_ips"]) == (253, 1)


def test_address_scopes(member: Caller, other: Caller, admin: Caller) -> None:
    scope = member.make("/address-scopes", "address_scope", name="s", ip_version=4)
    ident = scope["id"]
    assert member.get("/address-scopes")["address_scopes"] == [scope]
    refused(other.ask(f"/address-scopes/{ident}"), 404, "AddressScopeNotFound")
    pool = member.make(
        "/subnetpools", "subnetpool", prefixes=["10.0.0.0/8"], address_scope_id=ident
    )
    refused(member.delete(f"/address-scopes/{ident}"), 409, "AddressScopeInUse")
    member.delete(f"/subnetpools/{pool['id']}")
    share = {"address_scope": {"shared": True}}
    refused(member.put(f"/address-scopes/{ident}", share), 403, "PolicyNotAuthorized")
    assert admin.put(f"/address-scopes/{ident}", share).json["address_scope"]["shared"] is True
    assert other.get(f"/address-scopes/{ident}")["address_scope"]["name"] == "s"
    assert member.delete(f"/address-scopes/{ident}").status == 204
