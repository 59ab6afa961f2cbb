"""What goes with a user, group, project, domain or role when it is deleted."""

from collections.abc import Iterable

from node.plugins.identity.catalog_tables import EndpointGrant, Limit
from node.plugins.identity.tables import (
    ApplicationCredential,
    Assignment,
    Credential,
    DomainConfig,
    Group,
    Implication,
    LoginFailures,
    Membership,
    Project,
    Role,
    StoredAccessRule,
    Trust,
    User,
)
from node.sdk import AnyOp, Micros, Reader, Row, delete, patch


def user_ops(db: Reader, user: User) -> list[AnyOp]:
    """Return the operations that delete a user and everything of the user's own."""
    return [
        delete(User, user.id, must_exist=True),
        *_all(db.rows(Assignment, actor_id=user.id)),
        *_all(db.rows(Membership, user_id=user.id)),
        *_all(db.rows(Credential, user_id=user.id)),
        *_all(db.rows(ApplicationCredential, user_id=user.id)),
        *_all(db.rows(StoredAccessRule, user_id=user.id)),
        delete(LoginFailures, user.id),
        *_all(db.rows(Trust, trustor_user_id=user.id)),
        *_all(db.rows(Trust, trustee_user_id=user.id)),
    ]


def group_ops(db: Reader, group: Group) -> list[AnyOp]:
    """Return the operations that delete a group."""
    return [
        delete(Group, group.id, must_exist=True),
        *_all(db.rows(Assignment, actor_id=group.id)),
        *_all(db.rows(Membership, group_id=group.id)),
    ]


def project_ops(db: Reader, project: Project, now_us: Micros) -> list[AnyOp]:
    """Return the operations that delete a project; users whose default it was lose that."""
    return [
        delete(Project, project.id, must_exist=True),
        *_all(db.rows(Assignment, target_id=project.id)),
        *_all(db.rows(Credential, project_id=project.id)),
        *_all(db.rows(ApplicationCredential, project_id=project.id)),
        *_all(db.rows(Trust, project_id=project.id)),
        *_all(db.rows(Limit, project_id=project.id)),
        *_all(db.rows(EndpointGrant, project_id=project.id)),
        *(
            patch(User, user.id, default_project_id="", updated_at=now_us)
            for user in db.rows(User, default_project_id=project.id)
        ),
    ]


def domain_ops(db: Reader, domain: Project, now_us: Micros) -> list[AnyOp]:
    """Return the operations that delete a domain with its users, groups, projects and roles."""
    users = db.rows(User, domain_id=domain.id)
    inside = {user.id for user in users}
    ops: list[AnyOp] = [
        delete(Project, domain.id, must_exist=True),
        *_all(db.rows(Assignment, target_id=domain.id)),
        *_all(db.rows(Limit, domain_id=domain.id)),
        delete(DomainConfig, domain.id),
    ]
    for user in users:
        ops += user_ops(db, user)
    for group in db.rows(Group, domain_id=domain.id):
        ops += group_ops(db, group)
    for project in db.rows(Project, domain_id=domain.id):
        ops += [
            op for op in project_ops(db, project, now_us) if getattr(op, "id", "") not in inside
        ]
    for role in db.rows(Role, domain_id=domain.id):
        ops += role_ops(db, role)
    # a row may be reached on two ways; it can be deleted only once
    return list(dict.fromkeys(ops))


def role_ops(db: Reader, role: Role) -> list[AnyOp]:
    """Return the operations that delete a role wherever it is held."""
    return [
        delete(Role, role.id, must_exist=True),
        *_all(db.rows(Assignment, role_id=role.id)),
        *_all(db.rows(Implication, prior_role_id=role.id)),
        *_all(db.rows(Implication, implied_role_id=role.id)),
    ]


def lost_grant_ops(db: Reader, user_ids: Iterable[str], project_id: str) -> list[AnyOp]:
    """Return the operations that delete application credentials of users who lose a role on a project."""
    return [
        delete(ApplicationCredential, row.id)
        for user_id in user_ids
        for row in db.rows(ApplicationCredential, user_id=user_id)
        if row.project_id == project_id
    ]


def _all(rows: Iterable[Row]) -> list[AnyOp]:
    return [delete(type(row), row.id) for row in rows]
