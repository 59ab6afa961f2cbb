"""The identity service: its routes, rules and faults in one literal."""

from functools import partial, update_wrapper
from typing import Any

import msgspec

from node.plugins.identity import (
    access_rule_api,
    application_credential_api,
    auth_api,
    consumer_api,
    credential_api,
    domain_api,
    domain_config_api,
    ec2_credential_api,
    ec2_token_api,
    endpoint_api,
    endpoint_grant_api,
    endpoint_group_api,
    grant_api,
    group_api,
    implied_role_api,
    limit_api,
    policy_api,
    project_api,
    project_tag_api,
    region_api,
    registered_limit_api,
    role_api,
    role_assignment_api,
    service_api,
    token_api,
    trust_api,
    user_api,
    version_api,
)
from node.plugins.identity.faults import fault, invalid
from node.plugins.identity.password_rules import Passwords
from node.plugins.identity.policies import POLICIES, RULES
from node.sdk import Context, Reply, Route, Service


def build(passwords: Passwords) -> Service:
    """Return the service; `passwords` bounds how many are hashed at once."""
    routes = (
        *version_api.ROUTES,
        *token_api.routes(passwords),
        *auth_api.ROUTES,
        *user_api.routes(passwords),
        *group_api.ROUTES,
        *project_api.ROUTES,
        *project_tag_api.ROUTES,
        *domain_api.ROUTES,
        *domain_config_api.ROUTES,
        *role_api.ROUTES,
        *implied_role_api.ROUTES,
        *grant_api.ROUTES,
        *role_assignment_api.ROUTES,
        *region_api.ROUTES,
        *service_api.ROUTES,
        *endpoint_api.ROUTES,
        *application_credential_api.routes(passwords),
        *access_rule_api.ROUTES,
        *credential_api.ROUTES,
        *ec2_credential_api.ROUTES,
        *ec2_token_api.ROUTES,
        *policy_api.ROUTES,
        *trust_api.ROUTES,
        *consumer_api.ROUTES,
        *registered_limit_api.ROUTES,
        *limit_api.ROUTES,
        *endpoint_group_api.ROUTES,
        *endpoint_grant_api.ROUTES,
    )
    return Service(
        name="keystone",
        type="identity",
        path="/identity",
        endpoint="/identity",
        routes=tuple(_varying(route) for route in routes),
        fault=fault,
        invalid=invalid,
        policies=POLICIES,
        rules=RULES,
        description="Hedgerow Identity",
    )


def _varying(route: Route) -> Route:
    """Return the route with the header that tells caches to tell callers apart."""
    handler = partial(_answer, route.handler)
    if not isinstance(route.handler, partial):
        update_wrapper(handler, route.handler)
    return msgspec.structs.replace(route, handler=handler)


def _answer(handler: Any, ctx: Context, **params: str) -> Any:
    ctx.response_headers["Vary"] = "X-Auth-Token"
    answer: Reply | dict[str, Any] | None = handler(ctx, **params)
    return answer
