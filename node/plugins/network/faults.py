"""Neutron's faults: the body of an error, and errors by Neutron's own class names and sentences.

Source: https://docs.openstack.org/api-ref/network/v2/#faults
"""

from typing import Any

import msgspec

from node.sdk import (
    BadRequest,
    Conflict,
    Context,
    Forbidden,
    NodeError,
    NotFound,
    OverQuota,
    Reply,
    Unauthorized,
)

_GENERIC = {
    400: "HTTPBadRequest",
    401: "HTTPUnauthorized",
    403: "PolicyNotAuthorized",
    404: "HTTPNotFound",
    405: "HTTPMethodNotAllowed",
    409: "Conflict",
    413: "HTTPRequestEntityTooLarge",
    500: "HTTPInternalServerError",
    503: "HTTPServiceUnavailable",
    507: "HTTPInsufficientStorage",
}

_NOT_FOUND = {
    "network": ("NetworkNotFound", "Network {} could not be found."),
    "subnet": ("SubnetNotFound", "Subnet {} could not be found."),
    "port": ("PortNotFound", "Port {} could not be found."),
    "router": ("RouterNotFound", "Router {} could not be found"),
    "floatingip": ("FloatingIPNotFound", "Floating IP {} could not be found"),
    "security_group": ("SecurityGroupNotFound", "Security group {} does not exist"),
    "security_group_rule": ("SecurityGroupRuleNotFound", "Security group rule {} does not exist"),
    "subnetpool": ("SubnetPoolNotFound", "Subnet pool {} could not be found."),
    "address_scope": ("AddressScopeNotFound", "Address scope {} could not be found."),
    "rbac_policy": ("RbacPolicyNotFound", "RBAC policy of type network with ID {} not found"),
    "agent": ("AgentNotFound", "Agent {} could not be found."),
}


def fault(_ctx: Context, error: NodeError) -> Reply:
    """Return the body of an error: `{"NeutronError": {"type", "message", "detail"}}`."""
    status, message, kind = error.status, error.message, str(error.detail.get("type", ""))
    if isinstance(error, OverQuota):
        resource = str(error.detail.get("counter", "")).rpartition(":")[2]
        status, kind, message = 409, "OverQuota", f"Quota exceeded for resources: {[resource]}."
    elif isinstance(error, Unauthorized):
        return Reply(
            status=401,
            body={"error": {"code": 401, "title": "Unauthorized", "message": message}},
            headers={"WWW-Authenticate": "Keystone uri='/identity'"},
        )
    kind = kind or _GENERIC.get(status, "NeutronException")
    return Reply(
        status=status, body={"NeutronError": {"type": kind, "message": message, "detail": ""}}
    )


def malformed(_ctx: Context, error: msgspec.ValidationError) -> NodeError:
    """Return what a body that is no JSON object is answered with."""
    return BadRequest(f"Request body is not a JSON object: {error}")


def bad(kind: str, message: str) -> NodeError:
    """Return a 400 with Neutron's exception class as its type."""
    return BadRequest(message, type=kind)


def conflict(kind: str, message: str) -> NodeError:
    """Return a 409 with Neutron's exception class as its type."""
    return Conflict(message, type=kind)


def not_found(kind: str, message: str) -> NodeError:
    """Return a 404 with Neutron's exception class as its type."""
    return NotFound(message, type=kind)


def missing(resource: str, ident: Any) -> NodeError:
    """Return the 404 of a resource (`network`, `port`, ...) that is not there or not to be seen."""
    kind, text = _NOT_FOUND.get(resource, ("NotFound", f"{resource} {{}} could not be found."))
    return NotFound(text.format(ident), type=kind)


def invalid_input(message: str) -> NodeError:
    """Return Neutron's InvalidInput, 400."""
    return BadRequest(f"Invalid input for operation: {message}.", type="InvalidInput")


def bad_request(resource: str, message: str) -> NodeError:
    """Return Neutron's BadRequest, 400: `Bad router request: ...`."""
    return BadRequest(f"Bad {resource} request: {message}.", type="BadRequest")


def disallowed(*rules: str) -> NodeError:
    """Return the 403 that names the rules that do not hold."""
    text = " and ".join(f"rule:{rule}" for rule in rules)
    return Forbidden(f"({text}) is disallowed by policy", type="PolicyNotAuthorized")


def no_more_addresses(network_id: str) -> NodeError:
    """Return the 409 of a network whose pools are used up."""
    return conflict(
        "IpAddressGenerationFailure", f"No more IP addresses available on network {network_id}."
    )


def address_in_use(network_id: str, address: str) -> NodeError:
    """Return the 409 of an address that another port has."""
    return conflict(
        "IpAddressInUse",
        f"Unable to complete operation for network {network_id}. The IP address {address} is in use.",
    )
