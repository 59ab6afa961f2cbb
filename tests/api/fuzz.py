# ruff: noqa: E501 - tables of odd values read better in long lines
"""Requests that nobody would send: what to draw them from, and a cloud that takes them.

A cloud remembers the ids that it gave out, so that paths and bodies soon name things that exist. A finding is kept as
the request that made it; nothing is shrunk, as a request is small enough to be sent again by hand.
"""

import ast
import hashlib
import importlib
import inspect
import json
import os
import random
import re
import time
from base64 import urlsafe_b64encode
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, quote_from_bytes
from uuid import UUID

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from node.api.route import Route, Service
from node.ids import RandomIds
from node.pluginhost import BUILTIN
from node.sdk import NodeRow, insert
from node.testing import Answer, Cloud
from node.testing.memory_objects import MemoryObjects

PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
BUDGET_S = float(os.environ.get("HEDGEROW_FUZZ_S", "0"))
"""How long each of the tests draws requests; 0: REQUESTS of them, however long that takes."""
REQUESTS = 4000
_GIVEN_SEED = os.environ.get("HEDGEROW_FUZZ_SEED", "1")
SEED = random.SystemRandom().randrange(1, 1 << 32) if _GIVEN_SEED == "random" else int(_GIVEN_SEED)
EXPLORING = settings(
    max_examples=40,
    database=None,
    phases=[Phase.generate],
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
"""Draw and go on: nothing is shrunk, nothing is remembered."""
_WORD = re.compile(r"[A-Za-z][\w:.-]{1,40}")
_KEPT_IDS = 40
_FURNISH_EVERY = 400


PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKHxReGuWkBYjcg/eSCHZAwUoStUA6VU653PkW4sU5tm"
TEMPLATES: dict[str, Any] = {
    "/network/v2.0/networks": {"network": {"name": "n", "admin_state_up": True, "shared": False, "router:external": True, "mtu": 1400}},
    "/network/v2.0/subnetpools": {"subnetpool": {"name": "p", "prefixes": ["10.9.0.0/16"], "default_prefixlen": 24}},
    "/network/v2.0/address-scopes": {"address_scope": {"name": "a", "ip_version": 4}},
    "/network/v2.0/subnets": {"subnet": {"network_id": "@networks", "ip_version": 4, "cidr": "10.0.0.0/24", "gateway_ip": "10.0.0.1",
        "enable_dhcp": True, "dns_nameservers": ["9.9.9.9"], "allocation_pools": [{"start": "10.0.0.9", "end": "10.0.0.99"}],
        "host_routes": [{"destination": "10.1.0.0/24", "nexthop": "10.0.0.2"}]}},
    "/network/v2.0/security-groups": {"security_group": {"name": "s", "description": "d"}},
    "/network/v2.0/security-group-rules": {"security_group_rule": {"security_group_id": "@security-groups", "direction": "ingress",
        "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 1, "port_range_max": 99, "remote_ip_prefix": "10.0.0.0/8"}},
    "/network/v2.0/ports": {"port": {"network_id": "@networks", "name": "p", "fixed_ips": [{"subnet_id": "@subnets"}], "device_id": "",
        "mac_address": "fa:16:3e:00:00:09", "security_groups": ["@security-groups"], "port_security_enabled": True,
        "allowed_address_pairs": [{"ip_address": "10.0.0.70"}], "extra_dhcp_opts": [{"opt_name": "a", "opt_value": "b"}]}},
    "/network/v2.0/routers": {"router": {"name": "r", "external_gateway_info": {"network_id": "@networks"}, "routes": []}},
    "/network/v2.0/floatingips": {"floatingip": {"floating_network_id": "@networks"}},
    "/network/v2.0/rbac-policies": {"rbac_policy": {"object_type": "network", "object_id": "@networks", "action": "access_as_shared", "target_tenant": "*"}},
    "/compute/v2.1/flavors": {"flavor": {"name": "f", "ram": 64, "vcpus": 1, "disk": 1, "id": "f1", "swap": 0, "rxtx_factor": 1.0}},
    "/compute/v2.1/os-keypairs": {"keypair": {"name": "k", "type": "ssh", "public_key": PUBLIC_KEY}},
    "/compute/v2.1/os-server-groups": {"server_group": {"name": "g", "policy": "affinity"}},
    "/image/v2/images": {"name": "i", "disk_format": "raw", "container_format": "bare", "visibility": "private", "min_ram": 0, "tags": ["t"]},
    "/compute/v2.1/servers": {"server": {"name": "s", "imageRef": "@images", "flavorRef": "f1", "networks": "none", "metadata": {"a": "b"},
        "user_data": "YQ==", "key_name": None, "min_count": 1, "max_count": 1, "OS-DCF:diskConfig": "AUTO", "availability_zone": "nova"}},
    "/identity/v3/domains": {"domain": {"name": "d", "enabled": True, "description": "x"}},
    "/identity/v3/projects": {"project": {"name": "p", "domain_id": "@domains", "tags": ["t"], "options": {}}},
    "/identity/v3/users": {"user": {"name": "u", "domain_id": "@domains", "password": "secret-Pass1", "default_project_id": "@projects"}},
    "/identity/v3/groups": {"group": {"name": "g", "domain_id": "@domains"}},
    "/identity/v3/roles": {"role": {"name": "r"}},
    "/identity/v3/services": {"service": {"name": "s", "type": "t"}},
    "/identity/v3/regions": {"region": {"id": "R", "parent_region_id": None}},
    "/identity/v3/endpoints": {"endpoint": {"service_id": "@services", "interface": "public", "url": "http://h/$(project_id)s", "region_id": "R"}},
    "/identity/v3/credentials": {"credential": {"type": "ec2", "blob": "{\"access\":\"a\",\"secret\":\"b\"}", "user_id": "@users", "project_id": "@projects"}},
    "/identity/v3/auth/tokens": {"auth": {"identity": {"methods": ["password"], "password": {"user": {"id": "@users", "password": "secret-Pass1"}}},
        "scope": {"project": {"id": "@projects"}}}},
    "/identity/v3/limits": {"limits": [{"service_id": "@services", "region_id": "R", "resource_name": "x", "resource_limit": 5, "project_id": "@projects"}]},
    "/identity/v3/registered_limits": {"registered_limits": [{"service_id": "@services", "resource_name": "x", "default_limit": 5}]},
    "/identity/v3/policies": {"policy": {"blob": "{}", "type": "application/json"}},
    "/identity/v3/OS-TRUST/trusts": {"trust": {"trustor_user_id": "b", "trustee_user_id": "@users", "impersonation": True, "project_id": "@projects", "roles": [{"name": "r"}]}},
}  # fmt: skip
"""Bodies that fit, by path; `@x` is an id of the collection x. Fuzzing changes a thing or two in them."""


class DrawnIds(RandomIds):
    """Ids that a seed fixes: what is sent depends on what was answered."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)

    def uuid(self) -> str:
        return str(UUID(int=self._dice.getrandbits(128), version=4))

    def hex(self) -> str:
        return self.uuid().replace("-", "")

    def secret(self, length_bytes: int = 32) -> str:
        return urlsafe_b64encode(self._dice.randbytes(length_bytes)).decode().rstrip("=")


class World:
    """A cloud with all built-in plugins, its ids, and the requests that it answered wrongly."""

    def __init__(self, directory: Path) -> None:
        plugins = []
        for name in BUILTIN:
            hooks = {
                k: v for k, v in vars(importlib.import_module(name)).items() if k != "token_verify"
            }
            plugins.append(SimpleNamespace(**hooks))
        self.cloud = Cloud(directory, plugins, ids=DrawnIds(SEED))
        self.cloud.backend.kept.put("object.store", MemoryObjects(self.cloud.clock))
        self.calls = [(s, r) for s in self.cloud.services for r in s.routes]
        self.token = self.cloud.token(roles=("admin",), project_id="a" * 32, user_id="b" * 32)
        self.ids: dict[str, list[str]] = defaultdict(list)
        self.findings: dict[str, str] = {}
        self.sent = 0
        self.all_sent = hashlib.sha256()
        room = {"vcpus": 64, "memory_mib": 65536, "disk_gib": 1000}
        self.cloud.commit(insert(NodeRow(id="node-1", name="testnode", **room)))
        self.furnish()

    def furnish(self) -> None:
        """Make a few things to be found."""
        for path, body in TEMPLATES.items():
            self.make(path, self.filled(body))
            if path == "/image/v2/images":
                data = {"Content-Type": "application/octet-stream"}
                self.send(
                    "PUT", f"{path}/{self.ids['images'][-1]}/file", body=b"x" * 512, headers=data
                )

    def filled(self, value: Any) -> Any:
        """Return a template with the ids of things that exist."""
        match value:
            case dict():
                return {
                    key: f"{inner}{self.sent}" if key == "name" else self.filled(inner)
                    for key, inner in value.items()
                }
            case list():
                return [self.filled(inner) for inner in value]
            case str() if value.startswith("@"):
                return (self.ids[value[1:]] or ["x"])[-1]
        return value

    def make(self, path: str, body: Any) -> str:
        answer = self.send("POST", path, body=json.dumps(body).encode())
        assert answer is not None
        found = re.search(rb'"id": ?"([^"]+)"', answer.body)
        return found.group(1).decode() if found else ""

    def send(
        self, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None, token: str | None = None
    ) -> Answer | None:  # fmt: skip
        """Send a request; keep it when it fails in a way that no request may."""
        sent = {
            "Content-Type": "application/json",
            "OpenStack-API-Version": "compute latest",
            **(headers or {}),
        }
        self.sent += 1
        if self.sent % _FURNISH_EVERY == 0:  # what was deleted is there again
            self.furnish()
        self.all_sent.update(repr((method, path, sent, body)).encode())
        what = f"{method} {path[:600]} {sent} {body[:300].rstrip()!r}"
        try:
            answer = self.cloud.request(
                method, path, body=body, token=self.token if token is None else token, headers=sent
            )
        except Exception as error:  # noqa: BLE001 - the finding says which
            self.note(method, path, f"{what}: raised {type(error).__name__}: {error}")
            return None
        if answer.status >= 500 and answer.status != 501:
            self.note(method, path, f"{what}: {answer.status} {answer.body[:200]!r}")
        elif answer.status in (200, 201, 202):
            self.remember(path, answer.body)
        return answer

    def note(self, method: str, path: str, what: str) -> None:
        key = f"{method} {re.sub(r'[0-9a-f-]{8,}|%..', '*', path.partition('?')[0])[:60]}"
        self.findings.setdefault(key, what)

    def remember(self, path: str, body: bytes) -> None:
        """Keep ids by the service, and by the collection that the path names."""
        parts = path.partition("?")[0].strip("/").split("/")
        found = re.search(rb'"id": ?"([\w-]{1,64})"', body[:20000])
        names = [f.decode() for f in re.findall(rb'"name": ?"([\w-]{1,64})"', body[:20000])[:2]]
        for kind, ids in ((parts[0], names), (parts[-1], [])):
            kept = self.ids[kind]
            for one in ([found.group(1).decode()] if found else []) + ids:
                if one not in kept:
                    kept.append(one)
            del kept[:-_KEPT_IDS]

    def report(self) -> str:
        """Return every finding with its request."""
        return f"HEDGEROW_FUZZ_SEED={SEED}, {self.sent} requests\n" + "\n".join(
            self.findings.values()
        )


TEXTS = st.one_of(
    st.sampled_from((
        "", " ", "x", "default", "admin", "0", "-1", "1.5", "true", "null", "None", "*", "%", "'", '"', "..", "/", "a" * 256,
        "é" * 90, "\x00", "\x7f", "\ud7ff\U0010ffff", "10.0.0.0/24", "10.0.0.0/33", "0.0.0.0/0", "::/0", "fe80::1%eth0", "10.0.0.7",
        "9999-99-99T99:99:99Z", "2026-01-01T00:00:00Z", "00:00:00:00:00:00", "http://[", "https://h:99999999/", "gt:x", "in:", "neq:",
        "00000000-0000-4000-8000-000000000000", "a" * 32, "b" * 32, "bmFtZQ==", "latest", "2.1",
    )),
    st.text(max_size=12),
)  # fmt: skip
NUMBERS = st.sampled_from((0, 1, -1, 2, 4, 6, 80, 65535, 65536, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30, 1.5, 1e300))  # fmt: skip
PLAIN = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
RAW_BODIES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from((
        b"", b"{}", b"[]", b"null", b"{", b'"\\ud800"', b'{"a":1,"a":2}', b'{"a":1e999}', b'{"a":' + b"9" * 5000 + b"}",
        b"[" * 4000, b'{"a":' * 80 + b"1" + b"}" * 80, b'{"server":' * 60 + b"null" + b"}" * 60, b"\xef\xbb\xbf{}",
    )),
    st.just(2**20).map(lambda size: b"{}" + b" " * size),
)  # fmt: skip


def module_of(route: Route) -> str:
    """Return the name of the module that a route's handler was written in."""
    handler: Any = route.handler
    while isinstance(handler, partial):
        handler = handler.func
    return str(inspect.unwrap(handler).__module__)


@cache
def words_of(module_name: str) -> tuple[str, ...]:
    """Return the short texts that a handler's module, and those of its plugin, are written with."""
    found: list[str] = []
    package = module_name.rpartition(".")[0]
    for name in (module_name, f"{package}.tables", f"{package}.attributes", f"{package}.bodies"):
        try:
            tree = ast.parse(inspect.getsource(importlib.import_module(name)))
        except (ImportError, OSError):
            continue
        for item in ast.walk(tree):
            match item:
                case ast.Constant(value=str(text)) if _WORD.fullmatch(text):
                    found.append(text)
                case ast.AnnAssign(target=ast.Name(id=text)):
                    found.append(text)
    return tuple(dict.fromkeys(found)) or ("name",)


def names_of(kind: Any, depth: int = 0) -> list[str]:
    """Return the field names of a body type, nested ones too."""
    fields = getattr(kind, "__struct_fields__", ())
    found = [name.lstrip("_") for name in fields]
    if depth < 3:
        for hint in getattr(kind, "__annotations__", {}).values():
            for part in (hint, *getattr(hint, "__args__", ())):
                found += names_of(part, depth + 1)
    return found


def values(world: World, service: Service, words: tuple[str, ...]) -> st.SearchStrategy[Any]:
    """Return a strategy of JSON values with the names, and the ids, that the service knows."""
    known = world.ids[service.path[1:]]
    ids = st.integers(0, _KEPT_IDS).map(lambda n: known[n % len(known)] if known else "x")
    leaf = st.one_of(PLAIN, ids, ids)
    keys = st.one_of(st.sampled_from(words), st.sampled_from(words), TEXTS)
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=5)
        ),
        max_leaves=6,
    )


@st.composite
def spoilt(draw: st.DrawFn, value: Any, odd: st.SearchStrategy[Any], words: tuple[str, ...]) -> Any:
    """Return a body that fits, with one or two changes somewhere in it."""
    body = json.loads(json.dumps(value))
    for _change in range(draw(st.integers(0, 2))):
        place = body
        while isinstance(place, dict | list) and place:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = keys[draw(st.integers(0, len(keys) - 1))]
            deeper = place[key]
            if isinstance(deeper, dict | list) and deeper and draw(st.integers(0, 5)):
                place = deeper
                continue
            kind = draw(st.integers(0, 5))
            if kind == 0:
                del place[key]
            elif kind == 1 and isinstance(place, dict):
                place[draw(st.sampled_from(words))] = draw(odd)
            else:
                place[key] = draw(odd)
            break
    return body


@st.composite
def bodies(draw: st.DrawFn, world: World, service: Service, route: Route) -> bytes:
    """Return a body that looks like the route's."""
    if draw(st.integers(0, 7)) == 0:
        return draw(RAW_BODIES)
    typed = names_of(route.body)
    words = (*typed, *typed, *words_of(module_of(route)))
    value = values(world, service, words)
    fits = template_of(service, route)
    if fits is not None and draw(st.integers(0, 9)):
        return json.dumps(draw(spoilt(world.filled(fits), st.one_of(PLAIN, value), words))).encode()
    fields = st.dictionaries(st.sampled_from(words), value, max_size=6)
    inner = draw(st.one_of(fields, fields, fields, value))
    outer = (
        [route.action] if route.action else [*getattr(route.body, "__struct_encode_fields__", ())]
    )
    last = [part for part in route.path.split("/") if part and not part.startswith("{")][-1:]
    guesses = [*outer, *outer, *(name.removeprefix("os-").replace("-", "_") for name in last)]
    guesses += [name[:-1] for name in guesses if name.endswith("s")]
    wrapped = (
        {draw(st.sampled_from(guesses)): inner} if guesses and draw(st.integers(0, 4)) else inner
    )
    # JSON text may hold what no Python text can be encoded to: lone surrogates and NULs are escaped.
    return json.dumps(wrapped).encode()


@st.composite
def paths(draw: st.DrawFn, world: World, service: Service, route: Route) -> str:
    """Return a path of the route, with a query."""

    def fill(match: re.Match[str]) -> str:
        collection = route.path[: match.start()].rstrip("/").rpartition("/")[2]
        some = world.ids.get(collection) or world.ids[service.path[1:]]
        if some and draw(st.integers(0, 9)):
            return quote(some[draw(st.integers(0, _KEPT_IDS)) % len(some)])
        return quote(draw(TEXTS), safe="") or "x"

    path = service.path + PARAMETER.sub(fill, route.path)
    if draw(st.integers(0, 2)) == 0:
        words = words_of(module_of(route))
        usual = (
            "limit",
            "marker",
            "sort_key",
            "sort_dir",
            "page_reverse",
            "fields",
            "name",
            "id",
            "sort",
            "changes-since",
        )
        names = st.one_of(st.sampled_from(usual), st.sampled_from(words), TEXTS)
        pairs = draw(st.lists(st.tuples(names, TEXTS), max_size=4))
        path += "?" + "&".join(f"{quote(n)}={quote(v)}" for n, v in pairs)
    return path


HEADER_VALUES = st.one_of(
    TEXTS.map(lambda text: text.encode("utf-8", "replace").decode("latin-1")),
    st.sampled_from(("compute 2.1", "compute 2.999", "compute latest", "image 2.0, compute 2.7", "bytes=0-", "bytes=9-1", "chunked", "*/*", "W/\"x\"", "-5", "9" * 30)),
)  # fmt: skip
HEADERS = st.dictionaries(
    st.sampled_from((
        "X-Auth-Token", "X-Subject-Token", "OpenStack-API-Version", "X-OpenStack-Nova-API-Version", "Content-Type", "Accept", "Range",
        "If-Match", "If-None-Match", "Host", "X-Forwarded-For", "X-Forwarded-Proto", "Accept-Encoding", "Accept-Language", "Cookie",
        "X-Image-Meta-Size", "X-Openstack-Request-Id", "Content-Encoding", "Expect", "Forwarded", "Authorization", "Origin",
    )),
    HEADER_VALUES,
    max_size=5,
)  # fmt: skip
WILD_PATHS = st.one_of(
    st.binary(max_size=30).map(lambda raw: "/" + quote_from_bytes(raw)),
    st.sampled_from(("/", "//", "/%00", "/identity//v3", "/identity/v3/%2e%2e/", "/compute/v2.1/servers/" + "x" * 8000, "/" + "a/" * 2000, "/image/v2/images/%ff", "/network/v2.0/ports.json", "/identity/v3/users/%E2%82%AC/%0a")),
)  # fmt: skip


def template_of(service: Service, route: Route) -> Any:
    """Return a body that fits the route, or one that fits its collection; None where there is none."""
    if route.method not in ("POST", "PUT", "PATCH") or route.action:
        return None
    return TEMPLATES.get(service.path + PARAMETER.sub("", route.path).rstrip("/"))


def calls(world: World) -> st.SearchStrategy[tuple[Service, Route]]:
    """Return a strategy of endpoints; half of them are those that make and change things."""
    fitting = [call for call in world.calls if template_of(*call) is not None]
    every = st.integers(0, len(world.calls) - 1).map(lambda number: world.calls[number])
    return st.one_of(every, st.integers(0, len(fitting) - 1).map(lambda number: fitting[number]))


def budget() -> Iterator[int]:
    """Count turns until the time is over, or until there were enough requests."""
    end = time.monotonic() + BUDGET_S
    turn = 0
    while time.monotonic() < end if BUDGET_S else turn < REQUESTS:
        yield turn
        turn += 1


def draw(kind: st.SearchStrategy[Any], take: Callable[[Any], object], turns: Iterator[int]) -> int:
    """Give what a strategy draws to a function while there are turns; return how many there were."""
    turn = next(turns, None)
    count = 0
    while turn is not None:

        @seed(SEED + turn)
        @settings(EXPLORING)
        @given(drawn=kind)
        def some(drawn: Any) -> None:
            nonlocal count, turn
            if turn is not None:
                take(drawn)
                count += 1
                turn = next(turns, None)

        some()
    return count
