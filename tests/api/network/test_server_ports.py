"""The hooks that compute calls."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from node.api.context import Context, Kept
from node.api.policy import collect
from node.data_port import NoDataPort
from node.errors import BadRequest, Conflict, NodeError, NotFound
from node.plugins import network
from node.plugins.network.tables import FloatingIp, IpAllocation, Port
from node.sdk import PortPlan, PortRequest, PortState, PortWish
from node.state.txn import Applied, patch
from node.testing.cloud import Cloud
from tests.api.network.conftest import Caller

Plan = Callable[..., PortPlan]


@pytest.fixture
def ctx(cloud: Cloud) -> Context:
    """Return the context of a member's request."""
    text = cloud.token()
    made = Context(
        db=cloud.db,
        proposer=cloud.proposer,
        enforcer=collect([{**s.rules, **s.policies} for s in cloud.services], ""),
        hooks=cloud.host.manager,
        config=cloud.config,
        clock=cloud.clock,
        ids=cloud.ids,
        request_id="req-1",
        base_url="https://cloud.test",
        plain=False,
        node_id="node-1",
        data_port=NoDataPort(),
        kept=Kept(),
    )
    made.token_or_none = cloud.host.hook.token_verify(db=cloud.db, token=text, now_us=0)
    return made


def _plan(ctx: Context, *wishes: PortWish, auto: bool = False, **more: Any) -> PortPlan:
    request = PortRequest(
        server_id=more.pop("server_id", "server-1"),
        node_id="node-1",
        project_id="project-1",
        wishes=None if auto else wishes,
        hostname="vm",
        **more,
    )
    return network.port_plan(ctx, request)


def _commit(ctx: Context, plan: PortPlan) -> None:
    assert isinstance(ctx.commit(plan.ops), Applied)


def _states(ctx: Context, *servers: str) -> Mapping[str, list[PortState]]:
    return network.port_states(ctx.db, servers)


def test_ports_are_made_bound_and_go_with_the_server(ctx: Context, member: Caller) -> None:
    net, subnet = member.net()
    plan = _plan(
        ctx, PortWish(network_id=net["id"]), PortWish(network_id=net["id"], fixed_ip="10.0.0.70")
    )
    _commit(ctx, plan)
    assert plan.created == (True, True)
    first, second = _states(ctx, "server-1", "server-2")["server-1"]
    assert (first.id, second.id) == plan.port_ids
    assert second.fixed_ips[0].address == "10.0.0.70"
    assert second.fixed_ips[0].cidr == subnet["cidr"]
    assert first.security_groups == ("default",)
    assert (first.tap, first.plugged, first.node_id) == (f"tap{first.id[:11]}", False, "node-1")
    assert _states(ctx, "server-2") == {"server-2": []}
    ctx.commit([patch(Port, first.id, have="active")])
    assert _states(ctx, "server-1")["server-1"][0].plugged
    ctx.commit(network.port_bind(ctx.db, "server-1", None, ctx.now(), None), frees=True)
    assert ctx.db.rows(IpAllocation, port_id=list(plan.port_ids)) == []
    assert ctx.db.counter("quota:project-1:port") == 0


def test_an_own_port_is_bound_and_given_back(ctx: Context, member: Caller) -> None:
    net, _ = member.net()
    port = member.make("/ports", "port", network_id=net["id"])
    plan = _plan(ctx, PortWish(port_id=port["id"]))
    assert plan.created == (False,)
    _commit(ctx, plan)
    row = ctx.db.must(Port, port["id"])
    assert (row.device_id, row.device_owner, row.binding_host) == (
        "server-1",
        "compute:nova",
        "alpha",
    )
    with pytest.raises(Conflict):
        _plan(ctx, PortWish(port_id=port["id"]), server_id="server-2")
    ctx.commit(network.port_bind(ctx.db, "server-1", None, ctx.now(), None), frees=True)
    row = ctx.db.must(Port, port["id"])
    assert (row.device_id, row.node_id, row.binding_host) == ("", "", "")


def test_automatic(ctx: Context, member: Caller) -> None:
    assert _plan(ctx, auto=True).port_ids == ()
    member.net()
    plan = _plan(ctx, auto=True)
    assert len(plan.port_ids) == 1
    member.net("10.1.0.0/24")
    with pytest.raises(Conflict, match="Multiple possible networks found"):
        _plan(ctx, auto=True)


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        (PortWish(network_id="11111111-1111-1111-1111-111111111111"), NotFound),
        (PortWish(port_id="11111111-1111-1111-1111-111111111111"), NotFound),
    ],
)
def test_what_is_not_there(ctx: Context, wish: PortWish, error: type[NodeError]) -> None:
    with pytest.raises(error):
        _plan(ctx, wish)


def test_groups_by_name(ctx: Context, member: Caller) -> None:
    net, _ = member.net()
    group = member.make("/security-groups", "security_group", name="web")
    plan = _plan(ctx, PortWish(network_id=net["id"]), security_groups=("web", "default"))
    _commit(ctx, plan)
    assert set(_states(ctx, "server-1")["server-1"][0].security_groups) == {"web", "default"}
    assert ctx.db.must(Port, plan.port_ids[0]).security_group_ids[0] == group["id"]
    with pytest.raises(NotFound, match="nothing"):
        _plan(ctx, PortWish(network_id=net["id"]), security_groups=("nothing",))


def test_a_network_without_subnet(ctx: Context, member: Caller) -> None:
    net = member.make("/networks", "network")
    with pytest.raises(BadRequest, match="requires a subnet"):
        _plan(ctx, PortWish(network_id=net["id"]))


def test_floating_ips_are_told(ctx: Context, member: Caller, public: dict[str, Any]) -> None:
    net, subnet = member.net()
    router = member.make("/routers", "router", external_gateway_info={"network_id": public["id"]})
    member.put(f"/routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]})
    plan = _plan(ctx, PortWish(network_id=net["id"]))
    _commit(ctx, plan)
    floating = member.make(
        "/floatingips", "floatingip", floating_network_id=public["id"], port_id=plan.port_ids[0]
    )
    state = _states(ctx, "server-1")["server-1"][0]
    assert state.floating_ips == (floating["floating_ip_address"],)
    assert state.floating_of == (state.fixed_ips[0].address,)
    ctx.commit(network.port_bind(ctx.db, "server-1", None, ctx.now(), None), frees=True)
    assert ctx.db.must(FloatingIp, floating["id"]).port_id == ""
