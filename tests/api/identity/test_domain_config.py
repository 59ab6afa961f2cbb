"""Configuration of domains: whole, by group and by option."""

from typing import Any

import pytest

from node.plugins.identity.tables import DomainConfig
from tests.api.identity.conftest import Caller, World

CONFIG = {"identity": {"driver": "ldap"}, "ldap": {"url": "ldap://x:389", "user_tree_dn": "ou=U"}}


@pytest.fixture
def url(admin: Caller) -> str:
    made = admin.make("/domains", "domain", name="configured", enabled=False)
    return f"/domains/{made['id']}/config"


def put(admin: Caller, url: str, config: Any, expect: int = 200, method: str = "PUT") -> Any:
    answer = admin.ask(method, url, {"config": config}, expect=expect)
    return answer.json.get("config")


def refused(admin: Caller, status: int, method: str, *urls: str) -> None:
    for url in urls:
        admin.ask(method, url, expect=status)


def test_whole(admin: Caller, url: str) -> None:
    refused(admin, 404, "GET", url)
    assert put(admin, url, CONFIG, 201) == CONFIG
    secret = {"ldap": {"url": "ldap://y", "password": "secret"}}
    assert put(admin, url, secret) == {"ldap": {"url": "ldap://y"}}
    assert b"secret" not in admin.ask("GET", url, expect=200).body
    refused(admin, 404, "GET", f"{url}/ldap/password")
    changed = put(admin, url, {"identity": {"list_limit": 5}}, method="PATCH")
    assert changed == {"ldap": {"url": "ldap://y"}, "identity": {"list_limit": 5}}
    admin.ask("DELETE", url, expect=204)
    refused(admin, 404, "GET", url)
    refused(admin, 404, "DELETE", url)


def test_groups_and_options(admin: Caller, url: str) -> None:
    put(admin, url, CONFIG, 201)
    assert admin.get(f"{url}/ldap")["config"] == {"ldap": CONFIG["ldap"]}
    assert admin.get(f"{url}/ldap/url")["config"] == {"url": "ldap://x:389"}
    admin.ask("HEAD", f"{url}/ldap/url", expect=200)
    changed = put(admin, f"{url}/ldap/url", {"url": "ldap://new"}, method="PATCH")
    assert changed["ldap"]["url"] == "ldap://new"
    put(admin, f"{url}/ldap/suffix", {"suffix": "x"}, 404, method="PATCH")
    put(admin, f"{url}/ldap/url", {"suffix": "x"}, 400, method="PATCH")
    both = {"identity": {"driver": "other", "list_limit": 1}}
    assert put(admin, f"{url}/identity", both, method="PATCH")["identity"] == both["identity"]
    put(admin, f"{url}/ldap", both, 403, method="PATCH")
    admin.ask("DELETE", f"{url}/identity/driver", expect=204)
    refused(admin, 404, "GET", f"{url}/identity/driver")
    admin.ask("DELETE", f"{url}/identity", expect=204)
    refused(admin, 404, "GET", f"{url}/identity")
    admin.ask("DELETE", f"{url}/ldap/url", expect=204)
    admin.ask("DELETE", f"{url}/ldap/user_tree_dn", expect=204)
    refused(admin, 404, "GET", url)


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 400), ([], 400), ({"token": {"x": 1}}, 403), ({"ldap": {"colour": 1}}, 403), ({"ldap": 5}, 403)],
)
def test_what_a_domain_cannot_have(admin: Caller, url: str, body: Any, status: int) -> None:
    put(admin, url, body, status)


def test_defaults(admin: Caller) -> None:
    whole = admin.get("/domains/config/default")["config"]
    assert admin.get("/domains/config/ldap/default")["config"] == {"ldap": whole["ldap"]}
    assert admin.get("/domains/config/ldap/use_tls/default")["config"] == {"use_tls": False}
    refused(admin, 403, "GET", "/domains/config/token/default", "/domains/config/ldap/password/default")


def test_it_goes_with_its_domain(world: World, admin: Caller, url: str) -> None:
    put(admin, url, CONFIG, 201)
    admin.ask("DELETE", url.removesuffix("/config"), expect=204)
    assert list(world.cloud.db.rows(DomainConfig)) == []
