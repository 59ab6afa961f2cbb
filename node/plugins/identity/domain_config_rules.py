"""What may be configured for one domain, and what holds where nothing is.

The options are those that Keystone lets a domain have by its API; a password is taken and never shown. Users of every
domain live in the row store here: the configuration is kept for who manages it by this API, no LDAP is asked.

Source: https://docs.openstack.org/api-ref/identity/v3/#domain-configuration
"""

from collections.abc import Mapping
from typing import Any

from node.sdk import BadRequest, Forbidden

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "identity": {"driver": "sql", "list_limit": None},
    "ldap": {
        "url": "ldap://localhost", "user": None, "suffix": "cn=example,cn=com", "query_scope": "one",
        "page_size": 0, "alias_dereferencing": "default", "debug_level": None, "chase_referrals": None,
        "user_tree_dn": None, "user_filter": None, "user_objectclass": "inetOrgPerson", "user_id_attribute": "cn",
        "user_name_attribute": "sn", "user_mail_attribute": "mail", "user_description_attribute": "description",
        "user_pass_attribute": "userPassword", "user_enabled_attribute": "enabled", "user_enabled_invert": False,
        "user_enabled_mask": 0, "user_enabled_default": "True", "user_attribute_ignore": ["default_project_id"],
        "user_default_project_id_attribute": None, "user_enabled_emulation": False,
        "user_enabled_emulation_dn": None, "user_enabled_emulation_use_group_config": False,
        "user_additional_attribute_mapping": [], "group_tree_dn": None, "group_filter": None,
        "group_objectclass": "groupOfNames", "group_id_attribute": "cn", "group_name_attribute": "ou",
        "group_members_are_ids": False, "group_member_attribute": "member", "group_desc_attribute": "description",
        "group_attribute_ignore": [], "group_additional_attribute_mapping": [], "tls_cacertfile": None,
        "tls_cacertdir": None, "use_tls": False, "tls_req_cert": "demand", "use_pool": True, "pool_size": 10,
        "pool_retry_max": 3, "pool_retry_delay": 0.1, "pool_connection_timeout": -1,
        "pool_connection_lifetime": 600, "use_auth_pool": True, "auth_pool_size": 100,
        "auth_pool_connection_lifetime": 60,
    },
}  # fmt: skip
_SECRET = {"ldap": frozenset({"password"})}
Options = dict[str, dict[str, Any]]


def check_group(group: str) -> None:
    """Refuse a group that a domain cannot have.

    Raises:
        Forbidden: 403.
    """
    if group not in DEFAULTS:
        raise Forbidden(
            f"Invalid domain specific configuration: Group {group} is not supported for domain specific "
            "configurations."
        )


def check_option(group: str, option: str) -> None:
    """Refuse an option that a domain cannot have.

    Raises:
        Forbidden: 403.
    """
    check_group(group)
    if option not in DEFAULTS[group] and option not in _SECRET.get(group, ()):
        raise Forbidden(
            f"Invalid domain specific configuration: Option {option} in group {group} is not supported for "
            "domain specific configurations."
        )


def parse(config: Any) -> Options:
    """Return the groups and options of a body.

    Raises:
        BadRequest: 400, it is no object of groups, or says nothing.
        Forbidden: 403, a group or an option that a domain cannot have.
    """
    if not isinstance(config, dict) or not config:
        raise BadRequest("Invalid domain specific configuration: no options specified.")
    for group, options in config.items():
        check_group(group)
        if not isinstance(options, dict) or not options:
            raise Forbidden(
                f"Invalid domain specific configuration: The value of group {group} specified in the config "
                "should be a dictionary of options."
            )
        for option in options:
            check_option(group, option)
    return config


def shown(options: Options) -> Options:
    """Return what everybody who may read the configuration sees of it."""
    visible = {
        group: {name: value for name, value in found.items() if name not in _SECRET.get(group, ())}
        for group, found in options.items()
    }
    return {group: found for group, found in visible.items() if found}


def merged(options: Options, change: Options) -> Options:
    """Return options after a change of some of them."""
    groups = dict.fromkeys([*options, *change])
    return {group: {**options.get(group, {}), **change.get(group, {})} for group in groups}


def without(options: Options, group: str, option: str | None) -> Options:
    """Return options without a group, or without one option of it."""
    if option is None:
        return {name: found for name, found in options.items() if name != group}
    left = {name: value for name, value in options[group].items() if name != option}
    return {**without(options, group, None), **({group: left} if left else {})}
