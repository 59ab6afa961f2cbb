"""Configuration of domains.

Source: https://docs.openstack.org/api-ref/identity/v3/#domain-configuration
"""

from collections.abc import Callable, Sequence
from typing import Any

from node.plugins.identity import domain_config_rules as rules
from node.plugins.identity.domain_rules import must_be_domain
from node.plugins.identity.tables import DomainConfig
from node.sdk import (
    AnyOp,
    BadRequest,
    Context,
    Forbidden,
    Frozen,
    NotFound,
    Reply,
    Route,
    check,
    delete,
    patch,
    put,
)


class ConfigBody(Frozen):
    """`config`: groups of options, one group, or one option."""

    config: Any


def _missing(domain_id: str, group: str = "", option: str = "") -> NotFound:
    what = f"option {option} in group {group}" if option else f"group {group}" if group else "any group"
    return NotFound(f"Could not find {what} in domain configuration for domain {domain_id}.")


def _options(ctx: Context, domain_id: str) -> rules.Options:
    must_be_domain(ctx, domain_id)
    row = ctx.db.get(DomainConfig, domain_id)
    if row is None or not row.options:
        raise _missing(domain_id)
    return row.options


def create(ctx: Context, domain_id: str) -> Reply:
    """Configure a domain, in place of what was said before."""
    options = rules.parse(ctx.body.config)

    def plan() -> tuple[Sequence[AnyOp], int]:
        must_be_domain(ctx, domain_id)
        old, now = ctx.db.get(DomainConfig, domain_id), ctx.now()
        row = DomainConfig(id=domain_id, options=options, created_at=now, updated_at=now)
        return [put(row)], 201 if old is None else 200

    status = ctx.transact(plan)
    return Reply(status=status, body={"config": rules.shown(options)})


def show(ctx: Context, domain_id: str) -> dict[str, Any]:
    """Show what is configured for a domain."""
    return {"config": rules.shown(_options(ctx, domain_id))}


def show_group(ctx: Context, domain_id: str, group: str) -> dict[str, Any]:
    """Show one group."""
    rules.check_group(group)
    found = rules.shown(_options(ctx, domain_id))
    if group not in found:
        raise _missing(domain_id, group)
    return {"config": {group: found[group]}}


def show_option(ctx: Context, domain_id: str, group: str, option: str) -> dict[str, Any]:
    """Show one option."""
    rules.check_option(group, option)
    found = rules.shown(_options(ctx, domain_id)).get(group, {})
    if option not in found:
        raise _missing(domain_id, group, option)
    return {"config": {option: found[option]}}


def _change(
    ctx: Context, domain_id: str, change: Callable[[rules.Options], rules.Options]
) -> dict[str, Any]:
    def plan() -> tuple[Sequence[AnyOp], rules.Options]:
        row = ctx.db.get(DomainConfig, domain_id)
        options = change(_options(ctx, domain_id))
        assert row is not None
        if not options:
            return [check(row), delete(DomainConfig, domain_id)], options
        return [check(row), patch(DomainConfig, domain_id, options=options, updated_at=ctx.now())], options

    return {"config": rules.shown(ctx.transact(plan))}


def update(ctx: Context, domain_id: str) -> dict[str, Any]:
    """Change some options of a domain."""
    change = rules.parse(ctx.body.config)
    return _change(ctx, domain_id, lambda options: rules.merged(options, change))


def update_group(ctx: Context, domain_id: str, group: str) -> dict[str, Any]:
    """Change some options of a group that is there."""
    change = rules.parse(ctx.body.config)
    if list(change) != [group]:
        raise Forbidden(
            "Invalid domain specific configuration: the group in the body and in the path must be the same."
        )

    def apply(options: rules.Options) -> rules.Options:
        if group not in options:
            raise _missing(domain_id, group)
        return rules.merged(options, change)

    return _change(ctx, domain_id, apply)


def update_option(ctx: Context, domain_id: str, group: str, option: str) -> dict[str, Any]:
    """Change one option that is there."""
    rules.check_option(group, option)
    given = ctx.body.config
    if not isinstance(given, dict) or list(given) != [option]:
        raise BadRequest(
            "Invalid domain specific configuration: the option in the body and in the path must be the same."
        )

    def apply(options: rules.Options) -> rules.Options:
        if option not in options.get(group, {}):
            raise _missing(domain_id, group, option)
        return rules.merged(options, {group: given})

    return _change(ctx, domain_id, apply)


def remove(ctx: Context, domain_id: str) -> None:
    """Take back all that was configured for a domain."""
    _options(ctx, domain_id)
    ctx.transact(lambda: ([delete(DomainConfig, domain_id)], None), frees=True)


def remove_group(ctx: Context, domain_id: str, group: str) -> None:
    """Take back one group."""
    show_group(ctx, domain_id, group)
    _change(ctx, domain_id, lambda options: rules.without(options, group, None))


def remove_option(ctx: Context, domain_id: str, group: str, option: str) -> None:
    """Take back one option."""
    show_option(ctx, domain_id, group, option)
    _change(ctx, domain_id, lambda options: rules.without(options, group, option))


def defaults(_ctx: Context) -> dict[str, Any]:
    """Show what holds where nothing is configured."""
    return {"config": rules.DEFAULTS}


def default_group(_ctx: Context, group: str) -> dict[str, Any]:
    """Show what holds in one group where nothing is configured."""
    rules.check_group(group)
    return {"config": {group: rules.DEFAULTS[group]}}


def default_option(_ctx: Context, group: str, option: str) -> dict[str, Any]:
    """Show what one option is where nothing is configured."""
    rules.check_option(group, option)
    if option not in rules.DEFAULTS[group]:
        raise Forbidden(f"Reading the default for option {option} in group {group} is not supported")
    return {"config": {option: rules.DEFAULTS[group][option]}}


_ALL = "/v3/domains/{domain_id}/config"
_GROUP = f"{_ALL}/{{group}}"
_OPTION = f"{_GROUP}/{{option}}"
_DEFAULT = "/v3/domains/config"
_SEE, _SET = "identity:get_domain_config", "identity:update_domain_config"
_DROP = "identity:delete_domain_config"
_SEE_DEFAULT = "identity:get_domain_config_default"

ROUTES = (
    Route(method="PUT", path=_ALL, handler=create, policy="identity:create_domain_config", body=ConfigBody),
    *(Route(method=method, path=_ALL, handler=show, policy=_SEE) for method in ("GET", "HEAD")),
    *(Route(method=method, path=_GROUP, handler=show_group, policy=_SEE) for method in ("GET", "HEAD")),
    *(Route(method=method, path=_OPTION, handler=show_option, policy=_SEE) for method in ("GET", "HEAD")),
    Route(method="PATCH", path=_ALL, handler=update, policy=_SET, body=ConfigBody),
    Route(method="PATCH", path=_GROUP, handler=update_group, policy=_SET, body=ConfigBody),
    Route(method="PATCH", path=_OPTION, handler=update_option, policy=_SET, body=ConfigBody),
    Route(method="DELETE", path=_ALL, handler=remove, policy=_DROP, status=204),
    Route(method="DELETE", path=_GROUP, handler=remove_group, policy=_DROP, status=204),
    Route(method="DELETE", path=_OPTION, handler=remove_option, policy=_DROP, status=204),
    *(
        Route(method=method, path=f"{_DEFAULT}/{path}", handler=handler, policy=_SEE_DEFAULT)
        for method in ("GET", "HEAD")
        for path, handler in (
            ("default", defaults),
            ("{group}/default", default_group),
            ("{group}/{option}/default", default_option),
        )
    ),
)
