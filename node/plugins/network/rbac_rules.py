"""Decisions about offers: what they make of a network, and who would lose what when one is withdrawn.

A network's `shared` and `external` say in its own row what the offers to all (`*`) say: both are written together.
"""

from msgspec.structs import replace

from node.plugins.network.faults import conflict, invalid_input, missing
from node.plugins.network.revise import quota_counter, stamps
from node.plugins.network.sharing_rules import OBJECT_TYPES, is_admin, offered
from node.plugins.network.tables import (
    AddressScope,
    FloatingIp,
    Network,
    Port,
    RbacPolicy,
    Router,
    SecurityGroupMember,
    Subnet,
    SubnetPool,
)
from node.sdk import AnyOp, Context, Count, Reader, Resource, check, delete, insert, patch

SHARED, EXTERNAL = "access_as_shared", "access_as_external"
ALL = "*"


def offered_object(ctx: Context, object_type: str, ident: str) -> Resource:
    """Return the object that is to be offered: an own one; an admin offers any.

    Raises:
        NetworkNotFound and its like: 404.
        InvalidInput: 400, it is somebody else's.
    """
    row = ctx.db.get(OBJECT_TYPES[object_type], ident)
    if not isinstance(row, Resource):
        raise missing(object_type, ident)
    if row.project_id != ctx.project_id and not is_admin(ctx):
        raise invalid_input("Only admins can manipulate policies on objects they do not own")
    return row


def check_new(ctx: Context, row: RbacPolicy, offered_row: Resource) -> None:
    """Refuse an offer that makes no sense or that exists.

    Raises:
        InvalidInput, PolicyNotAuthorized, DuplicateRbacPolicy: 400, 403, 409.
    """
    if row.action == EXTERNAL and row.object_type != "network":
        raise invalid_input(f"Invalid action '{row.action}' for object type '{row.object_type}'")
    refuse_twin(ctx, row)
    if isinstance(offered_row, SubnetPool) and offered_row.address_scope_id:
        scope = ctx.db.get(AddressScope, offered_row.address_scope_id)
        seen = offered(ctx.db, "address_scope", row.target_project)
        if scope is not None and not (
            scope.shared or scope.project_id == row.target_project or scope.id in seen
        ):
            raise invalid_input(
                f"Project {row.target_project} has no access to address scope {scope.id} of the subnet pool"
            )


def refuse_twin(ctx: Context, row: RbacPolicy) -> None:
    """Refuse a second offer of the same.

    Raises:
        DuplicateRbacPolicy: 409.
    """
    twin = ctx.db.one(
        RbacPolicy, object_id=row.object_id, action=row.action, target_project=row.target_project
    )
    if twin is not None and twin.id != row.id:
        raise conflict("DuplicateRbacPolicy", "An RBAC policy already exists with those values.")


def refuse_used(ctx: Context, row: RbacPolicy, kept: list[RbacPolicy]) -> None:
    """Refuse to withdraw an offer that a project lives on. `kept` are the object's offers that remain.

    Raises:
        RbacPolicyInUse: 409.
    """
    targets = {other.target_project for other in kept if other.action == row.action}
    if ALL in targets:
        return
    losers = _users(ctx.db, row) - targets
    if row.target_project != ALL:
        losers &= {row.target_project}
    network = ctx.db.get(Network, row.object_id) if row.action == EXTERNAL else None
    if losers or (network is not None and network.is_default and row.target_project == ALL):
        raise conflict(
            "RbacPolicyInUse",
            f"RBAC policy on object {row.object_id} cannot be removed because other objects depend on it.\n"
            f"Details: {', '.join(sorted(losers)) or 'it is the default external network'}",
        )


def network_ops(ctx: Context, row: RbacPolicy, policies: list[RbacPolicy]) -> list[AnyOp]:
    """Return the operations that make a network's row say what its offers say; `policies` are those it will have."""
    network = ctx.db.get(Network, row.object_id) if row.object_type == "network" else None
    if network is None:
        return []
    return [
        check(network),
        patch(
            Network,
            network.id,
            shared=any(p.action == SHARED and p.target_project == ALL for p in policies),
            external=any(p.action == EXTERNAL for p in policies),
            revision=network.revision + 1,
            updated_at=ctx.now(),
        ),
    ]


def flag_ops(ctx: Context, old: Network | None, new: Network) -> list[AnyOp]:
    """Return the operations that make the offers to all say what a network's row says."""
    ops: list[AnyOp] = []
    present = ctx.db.rows(RbacPolicy, object_id=new.id) if old is not None else []
    for action, before, after in (
        (SHARED, old is not None and old.shared, new.shared),
        (EXTERNAL, old is not None and old.external, new.external),
    ):
        if after and not before:
            ops += _to_all(ctx, new, action)
        elif before and not after:
            gone = [
                p
                for p in present
                if p.action == action and (action == EXTERNAL or p.target_project == ALL)
            ]
            ops += withdraw_ops(gone)
    return ops


def withdraw_ops(policies: list[RbacPolicy]) -> list[AnyOp]:
    """Return the operations that remove offers."""
    ops: list[AnyOp] = []
    for row in policies:
        ops += [delete(RbacPolicy, row.id), Count(quota_counter(row.project_id, "rbac_policy"), -1)]
    return ops


def object_ops(db: Reader, ident: str) -> list[AnyOp]:
    """Return the operations that remove all offers of an object that is being deleted."""
    return withdraw_ops(db.rows(RbacPolicy, object_id=ident))


def moved(row: RbacPolicy, target: str, now_us: int) -> RbacPolicy:
    """Return an offer that is made to another project."""
    return replace(row, target_project=target, updated_at=now_us)


def _to_all(ctx: Context, network: Network, action: str) -> list[AnyOp]:
    row = RbacPolicy(
        id=ctx.ids.uuid(),
        project_id=network.project_id,
        object_type="network",
        object_id=network.id,
        action=action,
        target_project=ALL,
        **stamps(ctx),
    )
    return [Count(quota_counter(network.project_id, "rbac_policy"), 1), insert(row)]


def _users(db: Reader, row: RbacPolicy) -> set[str]:
    """Return the projects, the owner's aside, that use what an offer offers."""
    ident = row.object_id
    found: list[Resource] = []
    if row.action == EXTERNAL:
        found += db.rows(Router, external_network_id=ident)
        found += db.rows(FloatingIp, floating_network_id=ident)
    elif row.object_type == "network":
        found += db.rows(Port, network_id=ident)
    elif row.object_type == "security_group":
        members = {
            member.port_id for member in db.rows(SecurityGroupMember, security_group_id=ident)
        }
        found += db.rows(Port, id=members) if members else []
    elif row.object_type == "subnetpool":
        found += db.rows(Subnet, subnetpool_id=ident)
    else:
        found += db.rows(SubnetPool, address_scope_id=ident)
    owner = db.get(OBJECT_TYPES[row.object_type], ident)
    owner_id = owner.project_id if isinstance(owner, Resource) else ""
    return {user.project_id for user in found} - {owner_id, ""}
