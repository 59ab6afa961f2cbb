"""Tags, the same on every resource that has them."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.api.network.conftest import Caller, refused

Make = Callable[[Caller, str], str]


def _network(member: Caller, _public: str) -> str:
    ident = member.make("/networks", "network")["id"]
    return f"/networks/{ident}/tags/{{tag}}"


def _subnet(member: Caller, _public: str) -> str:
    ident = member.net()[1]["id"]
    return f"/subnets/{ident}/tags/{{tag}}"


def _port(member: Caller, _public: str) -> str:
    ident = member.make("/ports", "port", network_id=member.net()[0]["id"])["id"]
    return f"/ports/{ident}/tags/{{tag}}"


def _router(member: Caller, _public: str) -> str:
    ident = member.make("/routers", "router")["id"]
    return f"/routers/{ident}/tags/{{tag}}"


def _floatingip(member: Caller, public: str) -> str:
    ident = member.make("/floatingips", "floatingip", floating_network_id=public)["id"]
    return f"/floatingips/{ident}/tags/{{tag}}"


def _security_group(member: Caller, _public: str) -> str:
    ident = member.make("/security-groups", "security_group", name="web")["id"]
    return f"/security-groups/{ident}/tags/{{tag}}"


def _subnetpool(member: Caller, _public: str) -> str:
    ident = member.make("/subnetpools", "subnetpool", prefixes=["10.0.0.0/8"])["id"]
    return f"/subnetpools/{ident}/tags/{{tag}}"


@pytest.mark.parametrize(
    "make", [_network, _subnet, _port, _router, _floatingip, _security_group, _subnetpool]
)
def test_tags(member: Caller, reader: Caller, public: dict[str, Any], make: Make) -> None:
    one = make(member, public["id"])
    many = one.removesuffix("/{tag}")
    assert member.put(one.format(tag="red"), None).status == 201
    assert member.put(many, {"tags": ["red", "blue"]}).json == {"tags": ["red", "blue"]}
    assert member.ask(one.format(tag="blue")).status == 204
    refused(member.ask(one.format(tag="green")), 404, "TagNotFound")
    refused(member.put(many, {"tags": ["x" * 256]}), 400, "HTTPBadRequest")
    assert reader.put(one.format(tag="no"), None).status == 403
    assert member.delete(one.format(tag="red")).status == 204
    assert member.get(many) == {"tags": ["blue"]}
    assert member.delete(many).status == 204
    assert member.get(many) == {"tags": []}


def test_tags_filter_lists(member: Caller) -> None:
    net = member.make("/networks", "network", tags=["red", "blue"])
    assert [n["id"] for n in member.get("/networks?tags=red,blue")["networks"]] == [net["id"]]
    assert member.get("/networks?not-tags-any=red")["networks"] == []
    assert member.get("/networks?tags=red,green")["networks"] == []
    assert [n["id"] for n in member.get("/networks?tags-any=red,green")["networks"]] == [net["id"]]
