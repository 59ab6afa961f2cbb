"""Who may do what: Keystone's defaults, with its names.

A domain's readers see and its managers change what is in the domain; the system's readers see everything.
Source: https://docs.openstack.org/keystone/latest/admin/service-api-protection.html
"""

from collections.abc import Mapping

RULES: Mapping[str, str] = {
    "admin_required": "role:admin",
    "system_reader": "role:reader and system_scope:all",
    "admin_or_system_reader": "rule:admin_required or rule:system_reader",
    "owner": "user_id:%(user_id)s",
    "admin_or_owner": "rule:admin_required or rule:owner",
    "token_subject": "user_id:%(target.token.user_id)s",
    "domain_managed_role": (
        "'manager':%(target.role.name)s or 'member':%(target.role.name)s or 'reader':%(target.role.name)s"
    ),
}


def _domain(role: str, key: str) -> str:
    return f"(role:{role} and domain_id:%({key})s)"


def _crud(kind: str, plural: str, *, key: str = "", see: str = "") -> dict[str, str]:
    """Return the five rules of a resource; `key` is the target's domain, for readers and managers of it."""
    look = ["rule:admin_or_system_reader"]
    change = ["rule:admin_required"]
    browse = ["rule:admin_or_system_reader"]
    if key:
        look.append(_domain("reader", key))
        change.append(_domain("manager", key))
        browse.append(_domain("reader", "target.domain_id"))
    if see:
        look.append(see)
    return {
        f"identity:get_{kind}": " or ".join(look),
        f"identity:list_{plural}": " or ".join(browse),
        f"identity:create_{kind}": " or ".join(change),
        f"identity:update_{kind}": " or ".join(change),
        f"identity:delete_{kind}": " or ".join(change),
    }


_OPEN = {
    f"identity:{verb}": "@"
    for verb in (
        "get_region", "list_regions", "get_auth_catalog", "get_auth_projects", "get_auth_domains",
        "get_auth_system",
    )
}  # fmt: skip

_OWN_USER = "user_id:%(target.user.id)s"
_OWN_PATH = "rule:admin_or_system_reader or user_id:%(user_id)s"
_CHANGE_OWN_PATH = "rule:admin_required or user_id:%(user_id)s"
_READ_GRANTS = (
    "rule:admin_or_system_reader or "
    "(role:reader and domain_id:%(target.actor.domain_id)s and domain_id:%(target.scope.domain_id)s)"
)
_CHANGE_GRANTS = (
    "rule:admin_required or (role:manager and domain_id:%(target.actor.domain_id)s and "
    "domain_id:%(target.scope.domain_id)s and rule:domain_managed_role)"
)
_TRUSTOR = "user_id:%(target.trust.trustor_user_id)s"
_TRUSTEE = "user_id:%(target.trust.trustee_user_id)s"
_OWN_CREDENTIAL = "user_id:%(target.credential.user_id)s"

POLICIES: Mapping[str, str] = {
    **_OPEN,
    "identity:validate_token": "rule:admin_or_system_reader or rule:token_subject or role:service",
    "identity:check_token": "rule:admin_or_system_reader or rule:token_subject or role:service",
    "identity:revoke_token": "rule:admin_required or rule:token_subject",
    **_crud("user", "users", key="target.user.domain_id", see=_OWN_USER),
    "identity:list_user_projects": f"{_OWN_PATH} or {_domain('reader', 'target.user.domain_id')}",
    "identity:list_groups_for_user": f"{_OWN_PATH} or {_domain('reader', 'target.user.domain_id')}",
    **_crud("group", "groups", key="target.group.domain_id"),
    "identity:list_users_in_group": (
        f"rule:admin_or_system_reader or {_domain('reader', 'target.group.domain_id')}"
    ),
    "identity:check_user_in_group": (
        "rule:admin_or_system_reader or (role:reader and domain_id:%(target.group.domain_id)s and "
        "domain_id:%(target.user.domain_id)s)"
    ),
    "identity:add_user_to_group": (
        "rule:admin_required or (role:manager and domain_id:%(target.group.domain_id)s and "
        "domain_id:%(target.user.domain_id)s)"
    ),
    "identity:remove_user_from_group": (
        "rule:admin_required or (role:manager and domain_id:%(target.group.domain_id)s and "
        "domain_id:%(target.user.domain_id)s)"
    ),
    **_crud(
        "project",
        "projects",
        key="target.project.domain_id",
        see="project_id:%(target.project.id)s",
    ),
    "identity:list_project_tags": (
        f"rule:admin_or_system_reader or {_domain('reader', 'target.project.domain_id')} or "
        "project_id:%(target.project.id)s"
    ),
    "identity:update_project_tags": (
        f"rule:admin_required or {_domain('manager', 'target.project.domain_id')}"
    ),
    **_crud("domain", "domains"),
    "identity:get_domain": (
        "rule:admin_or_system_reader or domain_id:%(target.domain.id)s or "
        "project_domain_id:%(target.domain.id)s or user_domain_id:%(target.domain.id)s"
    ),
    "identity:list_domains": "rule:admin_or_system_reader or role:manager",
    "identity:get_domain_config": "rule:admin_or_system_reader",
    "identity:get_domain_config_default": "rule:admin_or_system_reader",
    "identity:create_domain_config": "rule:admin_required",
    "identity:update_domain_config": "rule:admin_required",
    "identity:delete_domain_config": "rule:admin_required",
    **_crud("role", "roles"),
    "identity:get_role": "rule:admin_or_system_reader or role:manager",
    "identity:list_roles": "rule:admin_or_system_reader or role:manager",
    "identity:get_implied_role": "rule:admin_or_system_reader",
    "identity:list_implied_roles": "rule:admin_or_system_reader",
    "identity:list_role_inference_rules": "rule:admin_or_system_reader",
    "identity:create_implied_role": "rule:admin_required",
    "identity:delete_implied_role": "rule:admin_required",
    "identity:check_grant": _READ_GRANTS,
    "identity:list_grants": _READ_GRANTS,
    "identity:create_grant": _CHANGE_GRANTS,
    "identity:revoke_grant": _CHANGE_GRANTS,
    "identity:list_system_grants": "rule:admin_or_system_reader",
    "identity:check_system_grant": "rule:admin_or_system_reader",
    "identity:create_system_grant": "rule:admin_required",
    "identity:revoke_system_grant": "rule:admin_required",
    "identity:list_role_assignments": (
        f"rule:admin_or_system_reader or {_domain('reader', 'target.domain_id')}"
    ),
    "identity:list_role_assignments_for_tree": (
        f"rule:admin_or_system_reader or {_domain('reader', 'target.project.domain_id')} or "
        "(role:admin and project_id:%(target.project.id)s)"
    ),
    "identity:create_region": "rule:admin_required",
    "identity:update_region": "rule:admin_required",
    "identity:delete_region": "rule:admin_required",
    **_crud("service", "services"),
    **_crud("endpoint", "endpoints"),
    **_crud("endpoint_group", "endpoint_groups"),
    "identity:list_endpoints_associated_with_endpoint_group": "rule:admin_or_system_reader",
    "identity:list_projects_associated_with_endpoint_group": "rule:admin_or_system_reader",
    "identity:get_endpoint_group_in_project": "rule:admin_or_system_reader",
    "identity:list_endpoint_groups_for_project": "rule:admin_or_system_reader",
    "identity:add_endpoint_group_to_project": "rule:admin_required",
    "identity:remove_endpoint_group_from_project": "rule:admin_required",
    "identity:list_projects_for_endpoint": "rule:admin_or_system_reader",
    "identity:list_endpoints_for_project": "rule:admin_or_system_reader",
    "identity:check_endpoint_in_project": "rule:admin_or_system_reader",
    "identity:add_endpoint_to_project": "rule:admin_required",
    "identity:remove_endpoint_from_project": "rule:admin_required",
    **_crud("policy", "policies"),
    **_crud("consumer", "consumers"),
    "identity:get_credential": f"rule:admin_or_system_reader or {_OWN_CREDENTIAL}",
    "identity:list_credentials": "@",
    "identity:create_credential": f"rule:admin_required or {_OWN_CREDENTIAL}",
    "identity:update_credential": f"rule:admin_required or {_OWN_CREDENTIAL}",
    "identity:delete_credential": f"rule:admin_required or {_OWN_CREDENTIAL}",
    "identity:ec2_get_credential": _OWN_PATH,
    "identity:ec2_list_credentials": _OWN_PATH,
    "identity:ec2_create_credential": _CHANGE_OWN_PATH,
    "identity:ec2_delete_credential": _CHANGE_OWN_PATH,
    "identity:ec2_validate": "rule:admin_required or role:service",
    "identity:s3_validate": "rule:admin_required or role:service",
    "identity:get_application_credential": _OWN_PATH,
    "identity:list_application_credentials": _OWN_PATH,
    "identity:create_application_credential": "rule:owner",
    "identity:delete_application_credential": _CHANGE_OWN_PATH,
    "identity:get_access_rule": _OWN_PATH,
    "identity:list_access_rules": _OWN_PATH,
    "identity:delete_access_rule": _CHANGE_OWN_PATH,
    "identity:list_trusts": "rule:admin_or_system_reader",
    "identity:list_trusts_for_trustor": f"rule:admin_or_system_reader or {_TRUSTOR}",
    "identity:list_trusts_for_trustee": f"rule:admin_or_system_reader or {_TRUSTEE}",
    "identity:create_trust": _TRUSTOR,
    "identity:get_trust": f"rule:admin_or_system_reader or {_TRUSTOR} or {_TRUSTEE}",
    "identity:list_roles_for_trust": f"rule:admin_or_system_reader or {_TRUSTOR} or {_TRUSTEE}",
    "identity:get_role_for_trust": f"rule:admin_or_system_reader or {_TRUSTOR} or {_TRUSTEE}",
    "identity:delete_trust": f"rule:admin_required or {_TRUSTOR}",
    "identity:get_limit_model": "@",
    "identity:get_limit": (
        "rule:admin_or_system_reader or project_id:%(target.limit.project_id)s or "
        "domain_id:%(target.limit.domain_id)s"
    ),
    "identity:list_limits": "@",
    "identity:create_limits": "rule:admin_required",
    "identity:update_limit": "rule:admin_required",
    "identity:delete_limit": "rule:admin_required",
    "identity:get_registered_limit": "@",
    "identity:list_registered_limits": "@",
    "identity:create_registered_limits": "rule:admin_required",
    "identity:update_registered_limit": "rule:admin_required",
    "identity:delete_registered_limit": "rule:admin_required",
}
