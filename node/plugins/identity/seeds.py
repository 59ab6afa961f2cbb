"""What a new cloud begins with: a domain, two projects, the default roles, an administrator, keys.

The administrator's password is never in the code or the log: it is a file that only root can read, made with
random content unless it is there already. `hedgerow lab` reads the same file.
"""

import os
import secrets
from pathlib import Path
from typing import Any

from node.plugins.identity.catalog_tables import Region
from node.plugins.identity.password_rules import Passwords
from node.plugins.identity.tables import (
    DEFAULT_DOMAIN,
    SYSTEM,
    Assignment,
    FernetKey,
    Implication,
    Project,
    Role,
    User,
    assignment_id,
)
from node.plugins.identity.token_codec import new_key
from node.sdk import AnyOp, Config, NodeSection, Reader, insert

ADMIN_PASSWORD_FILE = "secrets/admin-password"  # noqa: S105 - the place, not the password
_PASSWORD_BYTES = 18

_ROLES = {
    "admin": "6ad11a5e0c1f4f53a40e51c3b0a5d001",
    "manager": "6ad11a5e0c1f4f53a40e51c3b0a5d002",
    "member": "6ad11a5e0c1f4f53a40e51c3b0a5d003",
    "reader": "6ad11a5e0c1f4f53a40e51c3b0a5d004",
    "service": "6ad11a5e0c1f4f53a40e51c3b0a5d005",
    "swiftoperator": "6ad11a5e0c1f4f53a40e51c3b0a5d006",
    "ResellerAdmin": "6ad11a5e0c1f4f53a40e51c3b0a5d007",
}
_IMPLIED = (("admin", "manager"), ("manager", "member"), ("member", "reader"))
_PROJECTS = {
    "admin": "6ad11a5e0c1f4f53a40e51c3b0a5d101",
    "service": "6ad11a5e0c1f4f53a40e51c3b0a5d102",
}
ADMIN_USER_ID = "6ad11a5e0c1f4f53a40e51c3b0a5d201"


def seeds(db: Reader, now_us: int, config: Config) -> list[AnyOp]:
    """Return the operations; the administrator and the keys are made only where there are none."""
    times: dict[str, Any] = {"created_at": now_us, "updated_at": now_us}
    domain = Project(
        id=DEFAULT_DOMAIN, name="Default", is_domain=True, description="The default domain", **times
    )
    ops: list[AnyOp] = [insert(domain)]
    ops += [
        insert(
            Project(
                id=ident, name=name, domain_id=DEFAULT_DOMAIN, parent_id=DEFAULT_DOMAIN, **times
            )
        )
        for name, ident in _PROJECTS.items()
    ]
    ops += [insert(Role(id=ident, name=name, **times)) for name, ident in _ROLES.items()]
    ops += [_implication(prior, implied, times) for prior, implied in _IMPLIED]
    ops.append(insert(Region(id=config.section(NodeSection).region, **times)))
    if not db.count(FernetKey):
        ops += [insert(FernetKey(id=str(n), number=n, key=new_key(), **times)) for n in (0, 1)]
    if db.get(User, ADMIN_USER_ID) is None:
        ops += _administrator(config.state_dir, times)
    return ops


def _implication(prior: str, implied: str, times: dict[str, Any]) -> AnyOp:
    row = Implication(
        id=f"{_ROLES[prior]}:{_ROLES[implied]}",
        prior_role_id=_ROLES[prior],
        implied_role_id=_ROLES[implied],
        **times,
    )
    return insert(row)


def _administrator(state_dir: Path, times: dict[str, Any]) -> list[AnyOp]:
    password_hash = Passwords(at_once=1).hash(admin_password(state_dir))
    user = User(
        id=ADMIN_USER_ID,
        name="admin",
        domain_id=DEFAULT_DOMAIN,
        default_project_id=_PROJECTS["admin"],
        password_hash=password_hash,
        **times,
    )
    places = (("project", _PROJECTS["admin"]), ("domain", DEFAULT_DOMAIN), ("system", SYSTEM))
    return [
        insert(user),
        *(
            insert(
                Assignment(
                    id=assignment_id(user.id, target_id, _ROLES["admin"]),
                    actor_kind="user",
                    actor_id=user.id,
                    target_kind=kind,
                    target_id=target_id,
                    role_id=_ROLES["admin"],
                    **times,
                )
            )
            for kind, target_id in places
        ),
    ]


def admin_password(state_dir: Path) -> str:
    """Return the administrator's first password from its file, which is made when it is missing."""
    path = state_dir / ADMIN_PASSWORD_FILE
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(descriptor, "w") as file:
        password = secrets.token_urlsafe(_PASSWORD_BYTES)
        file.write(password + "\n")
    return password
