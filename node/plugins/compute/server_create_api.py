"""Create servers: everything is checked first, then each server is one transaction of its own.

A server's row, its quota, its claim on the node and its ports hold together or not at all. Several servers of one
request are several transactions, because addresses of one must be seen by the next.

Source: https://docs.openstack.org/api-ref/compute/#create-server
"""

from typing import Any

import msgspec
from msgspec import UNSET

from node.plugins.compute import flavor_api, flavor_view, quota_rules, server_create_volumes
from node.plugins.compute import server_create_rules as rules
from node.plugins.compute.checks import boolean, integer, is_uuid, printable, printable_name
from node.plugins.compute.faults import field_error
from node.plugins.compute.link_view import self_links
from node.plugins.compute.server_body import CreateBody, NewServer, check_networks, check_version
from node.plugins.compute.server_mapping import Wanted, of_image, root, wanted
from node.plugins.compute.server_ops import action_id, claim_ops, quota_ops
from node.plugins.compute.server_placement import Place, Placer, place, zones
from node.plugins.compute.tables import (
    Flavor,
    Keypair,
    Server,
    ServerAction,
    ServerExtra,
    ServerGroup,
)
from node.sdk import (
    AnyOp,
    BadRequest,
    Context,
    Forbidden,
    Frozen,
    NodeRow,
    NotFound,
    OverQuota,
    PortPlan,
    PortRequest,
    PortWish,
    Reply,
    Route,
    check,
    images_of,
    insert,
    patch,
)

_POLICY = "os_compute_api:servers:create"
_NO_HOST = "No valid host was found. There are not enough hosts available."


class Order(Frozen):
    """What was asked for, checked and resolved; one order makes one or more servers."""

    template: Server
    extra: ServerExtra
    wishes: tuple[PortWish, ...] | None
    security_groups: tuple[str, ...]
    zone: str
    hints: dict[str, list[str]]
    limits: dict[str, int]
    auto: bool = False
    volumes: tuple[Wanted, ...] = ()


def create(ctx: Context) -> Reply:
    """Create one or more servers."""
    body: CreateBody = ctx.body
    new = body.server
    check_version(new, ctx.microversion)
    check_networks(new, ctx.microversion)
    least, most = _counts(new)
    password = new.adminPass if isinstance(new.adminPass, str) else rules.new_password()
    order = _order(ctx, new, rules.hints_of(body.hints or body.old_hints), password)
    if most > 1 and (isinstance(new.hostname, str) or _fixed(order.wishes)):
        raise BadRequest(
            "A host name, a port or a fixed address cannot be given to more than one server"
        )
    if most > 1 and any(one.source == "volume" for one in order.volumes):
        raise BadRequest("Cannot attach one or more volumes to multiple instances")
    flavor = order.template.flavor
    assert flavor is not None
    most = quota_rules.affordable(ctx.db, ctx.project_id, ctx.token.user_id, flavor, least, most)
    try:
        servers = [_create_one(ctx, order, 0, most)]
    except _Unallocated:
        _allocate(ctx)
        servers = [_create_one(ctx, order, 0, most)]
    servers += [_create_one(ctx, order, index, most) for index in range(1, most)]
    headers = {"Location": ctx.url(f"/v2.1/servers/{servers[0].id}")}
    if boolean(new.return_reservation_id, "return_reservation_id"):
        return Reply(status=202, body={"reservation_id": order.template.reservation_id})
    shown: dict[str, Any] = {
        "id": servers[0].id,
        "links": self_links(ctx, "servers", servers[0].id),
        "OS-DCF:diskConfig": servers[0].disk_config,
        "security_groups": [{"name": name} for name in order.security_groups or ("default",)],
        "adminPass": password,
    }
    return Reply(status=202, body={"server": shown}, headers=headers)


class _Unallocated(BadRequest):
    """The project has no network that a server could get by itself."""


def _allocate(ctx: Context) -> None:
    """Have the network service make the project a network."""
    answer = ctx.ask("GET", f"/network/v2.0/auto-allocated-topology/{ctx.project_id}")
    if answer.status >= 400:
        raise BadRequest(f"Unable to automatically allocate a network: {answer.message}")


def _counts(new: NewServer) -> tuple[int, int]:
    least = integer(new.min_count, "min_count", 1)
    most = least if new.max_count is UNSET else integer(new.max_count, "max_count", 1)
    if least > most:
        raise BadRequest("min_count must be <= max_count")
    return least, most


def _fixed(wishes: tuple[PortWish, ...] | None) -> bool:
    return any(wish.port_id or wish.fixed_ip for wish in wishes or ())


def _order(ctx: Context, new: NewServer, hints: dict[str, list[str]], password: str) -> Order:
    limits = quota_rules.limits_of(ctx.db, ctx.project_id)
    rules.check_metadata_quota(new.metadata, limits)
    flavor = _flavor(ctx, new)
    image_id, volumes = _sources(ctx, new, flavor)
    zone, host = _zone(ctx, new)
    if host:
        hints["force_host"] = [host]
    group_id = _group(ctx, hints, limits)
    config_drive = new.config_drive not in {None, ""} and boolean(new.config_drive, "config_drive")
    template = Server(
        id="",
        created_at=ctx.now(),
        updated_at=ctx.now(),
        project_id=ctx.project_id,
        user_id=ctx.token.user_id,
        want="active",
        name=printable_name(new.name),
        hostname=rules.check_hostname(new.hostname, ctx.microversion)
        if isinstance(new.hostname, str)
        else "",
        description=_description(ctx, new),
        image_id=image_id,
        flavor=flavor_view.facts_of(flavor),
        key_name=new.key_name or "" if isinstance(new.key_name, str) else "",
        metadata=new.metadata,
        tags=list(dict.fromkeys(new.tags)) if isinstance(new.tags, list) else [],
        config_drive=config_drive,
        disk_config=new.disk_config,
        access_ipv4=rules.address(new.accessIPv4, "accessIPv4", 4),
        access_ipv6=rules.address(new.accessIPv6, "accessIPv6", 6),
        requested_zone=zone,
        reservation_id=f"r-{ctx.ids.hex()[:8]}",
        hints={name: value for name, value in hints.items() if name != "force_host"},
        group_id=group_id,
        job=1,
        job_kind="build",
    )
    groups = new.security_groups if isinstance(new.security_groups, list) else []
    return Order(
        template=template,
        extra=_extra(ctx, new, password if config_drive else "", limits),
        wishes=rules.wishes(new.networks),
        security_groups=tuple(dict.fromkeys(group.name for group in groups)),
        zone=zone,
        hints=hints,
        limits=limits,
        auto=new.networks == "auto",
        volumes=tuple(volumes),
    )


def _description(ctx: Context, new: NewServer) -> str | None:
    """Return the description; before 2.19 it was the name."""
    if ctx.microversion < (2, 19):
        return new.name
    return printable(new.description if isinstance(new.description, str) else None, "description")


def _flavor(ctx: Context, new: NewServer) -> Flavor:
    try:
        flavor = flavor_api.find(ctx, str(new.flavorRef).rpartition("/")[2])
    except NotFound as error:
        raise BadRequest(error.message) from None
    return flavor


def _sources(ctx: Context, new: NewServer, flavor: Flavor) -> tuple[str, list[Wanted]]:
    """Return the image of a server, "" where it boots from a volume, and its volumes."""
    image_ref = new.imageRef if isinstance(new.imageRef, str) else ""
    found = wanted(new, image_ref.rpartition("/")[2], ctx.microversion)
    if found:
        ctx.require("os_compute_api:servers:create:attach_volume", {"project_id": ctx.project_id})
    image_id = _image(ctx, new, flavor) if image_ref else ""
    if image_id:
        facts = images_of(ctx.hook).facts(ctx.db, image_id)
        named = of_image(facts.properties) if facts else []
        if root(named) is not None:
            image_id, found = "", [*named, *found]
    server_create_volumes.checked(ctx, found, flavor)
    source = server_create_volumes.image_of(ctx, found)
    if source and not image_id and root(found).source == "image":  # type: ignore[union-attr]
        facts = images_of(ctx.hook).facts(ctx.db, source)
        size = msgspec.structs.replace(flavor, disk_gib=0)
        rules.check_image(
            source, facts, size, project_id=ctx.project_id, is_admin=ctx.token.is_admin
        )
    zero = flavor.disk_gib == 0 and image_id
    if zero and not ctx.allows(
        f"{_POLICY}:zero_disk_flavor", {"project_id": ctx.project_id}
    ):
        raise Forbidden("Only volume-backed servers are allowed for flavors with zero disk.")
    return image_id, found


def _image(ctx: Context, new: NewServer, flavor: Flavor) -> str:
    if isinstance(new.trusted_image_certificates, list):
        raise BadRequest(
            "trusted_image_certificates: image signatures are not checked by this cloud"
        )
    if not isinstance(new.imageRef, str) or not new.imageRef:
        raise BadRequest(
            "Block Device Mapping is Invalid: You must specify an image: imageRef is empty"
        )
    image_id = new.imageRef.rpartition("/")[2]
    if not is_uuid(image_id):
        raise field_error("imageRef", new.imageRef, f"'{new.imageRef}' is not a 'uuid'")
    facts = images_of(ctx.hook).facts(ctx.db, image_id)
    rules.check_image(
        image_id, facts, flavor, project_id=ctx.project_id, is_admin=ctx.token.is_admin
    )
    return image_id


def _zone(ctx: Context, new: NewServer) -> tuple[str, str]:
    """Return the zone and the host that were asked for, each "" where none was."""
    text = new.availability_zone if isinstance(new.availability_zone, str) else ""
    zone, _colon, rest = text.partition(":")
    host = rest.partition(":")[0]
    if rest.count(":") > 1:
        raise BadRequest("Unable to parse availability_zone")
    if host:
        ctx.require(f"{_POLICY}:forced_host", {"project_id": ctx.project_id})
    if zone and zone not in zones(ctx):
        raise BadRequest("The requested availability zone is not available")
    for asked in (new.host, new.hypervisor_hostname):
        if isinstance(asked, str):
            ctx.require(f"{_POLICY}:requested_destination", {"project_id": ctx.project_id})
            if host:
                raise BadRequest("A host was given twice: by availability_zone and by host")
            if ctx.db.one(NodeRow, name=asked) is None:
                raise BadRequest(f"Compute host {asked} could not be found.")
            return zone, asked
    return zone, host


def _group(ctx: Context, hints: dict[str, list[str]], limits: dict[str, int]) -> str:
    """Return the server group that a hint names, "" where none does."""
    wanted = next(iter(hints.get("group", [])), "")
    if not wanted:
        return ""
    group = ctx.db.get(ServerGroup, wanted)
    if group is None or (group.project_id != ctx.project_id and not ctx.token.is_admin):
        raise BadRequest(f"Instance group {wanted} could not be found.")
    limit = limits["server_group_members"]
    if 0 <= limit <= ctx.db.count(Server, group_id=group.id, user_id=ctx.token.user_id):
        raise Forbidden("Quota exceeded, too many servers in group")
    return group.id


def _extra(ctx: Context, new: NewServer, password: str, limits: dict[str, int]) -> ServerExtra:
    public_key, key_type = "", "ssh"
    if isinstance(new.key_name, str):
        pair = ctx.db.get(Keypair, f"{ctx.token.user_id}/{new.key_name}")
        if pair is None:
            raise BadRequest("Invalid key_name provided.")
        public_key, key_type = pair.public_key, pair.type
    return ServerExtra(
        id="",
        created_at=ctx.now(),
        user_data=rules.user_data(new.user_data) if isinstance(new.user_data, str) else "",
        public_key=public_key,
        key_type=key_type,
        admin_password=password,
        files=rules.files(new.personality, limits) if isinstance(new.personality, list) else [],
    )


def _create_one(ctx: Context, order: Order, index: int, count: int) -> Server:
    server_id = ctx.ids.uuid()
    template = order.template
    name = f"{template.name}-{index + 1}" if count > 1 else template.name
    server = msgspec.structs.replace(
        template,
        id=server_id,
        name=name,
        hostname=template.hostname or rules.hostname_of(name, server_id),
        launch_index=index,
    )
    flavor = server.flavor
    assert flavor is not None
    full: set[str] = set()
    while True:
        try:
            return ctx.transact(lambda: _plan(ctx, order, server, full))
        except OverQuota as error:
            counter = str(error.detail.get("counter", ""))
            if not counter.startswith("node:"):
                raise quota_rules.exceeded(
                    error, {"instances": 1, "cores": flavor.vcpus, "ram": flavor.memory_mib}
                ) from error
            full.add(counter.split(":")[1])  # another request took the room: the next best node


def _plan(ctx: Context, order: Order, server: Server, full: set[str]) -> tuple[list[AnyOp], Server]:
    flavor = server.flavor
    assert flavor is not None
    group = ctx.db.get(ServerGroup, server.group_id) if server.group_id else None
    found = place(Placer.of(ctx), flavor, order.zone, order.hints, group, full)
    ops = quota_ops(server.project_id, flavor, 1, order.limits)
    if found is None:
        server = msgspec.structs.replace(
            server, have="error", job_done=1, fault=_NO_HOST, fault_at=ctx.now()
        )
        _ports(ctx, order, server, None)
    else:
        plan = _ports(ctx, order, server, found)
        server = msgspec.structs.replace(
            server,
            node_id=found.node.id,
            requested_node=found.node.id if "force_host" in order.hints else "",
            port_ids=list(plan.port_ids if plan else ()),
        )
        ops += claim_ops(found.node.id, flavor, 1, found.limits)
        ops += plan.ops if plan else ()
        ops += server_create_volumes.plan(ctx, server, order.volumes)
    ops += [insert(server), insert(msgspec.structs.replace(order.extra, id=server.id))]
    ops.append(insert(_action(ctx, server)))
    if group is not None:  # servers of a group are placed one after the other
        ops += [check(group), patch(ServerGroup, group.id, updated_at=ctx.now())]
    return ops, server


def _ports(ctx: Context, order: Order, server: Server, found: Place | None) -> PortPlan | None:
    if order.wishes == ():
        return None
    request = PortRequest(
        server_id=server.id,
        node_id=found.node.id if found else "",
        project_id=server.project_id,
        wishes=order.wishes,
        security_groups=order.security_groups,
        availability_zone=order.zone or "nova",
        hostname=server.hostname,
    )
    try:
        plan: PortPlan | None = ctx.hook.port_plan(ctx=ctx, request=request)
    except NotFound as error:
        raise BadRequest(error.message) from error
    if order.auto and not (plan and plan.port_ids):
        raise _Unallocated(
            "Unable to automatically allocate a network for project " + server.project_id
        )
    return plan


def _action(ctx: Context, server: Server) -> ServerAction:
    failed = server.have == "error"
    return ServerAction(
        id=action_id(server.id, 1),
        server_id=server.id,
        action="create",
        request_id=ctx.request_id,
        user_id=ctx.token.user_id,
        project_id=server.project_id,
        message="Error" if failed else "",
        start_at=ctx.now(),
        finish_at=ctx.now() if failed else 0,
        created_at=ctx.now(),
        updated_at=ctx.now(),
    )


ROUTES = (
    Route(
        method="POST",
        path="/v2.1/servers",
        handler=create,
        policy=_POLICY,
        body=CreateBody,
        status=202,
    ),
)
