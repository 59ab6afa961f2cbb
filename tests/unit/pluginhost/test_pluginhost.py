"""What the host makes of plugins that misbehave, hook by hook."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from node.hookspecs import hookimpl
from node.pluginhost import PluginHost
from node.sdk import Frozen, NotFound, Reply, Route, Row, Service, Table
from node.testing import Cloud
from tests.unit.api import gadget


class Leaf(Row):
    __table__ = Table(name="leaves")


class LeafSection(Frozen):
    size: int = 1


@pytest.fixture
def host() -> PluginHost:
    return PluginHost()


def plugin(**hooks: Any) -> SimpleNamespace:
    def marked(function: Any) -> Any:
        return hookimpl(function)

    return SimpleNamespace(**{name: marked(function) for name, function in hooks.items()})


GARBAGE = {
    "row_types": [None, 5, [str], [Leaf(id="x")], [Row]],
    "services": [None, [1], ["x"]],
    "reconcilers": [[object()], None],
    "config_sections": [5, None],
    "node_facts": [None, 7],
    "health": [[("a", True)], 3],
    "metrics": [None],
    "seed_rows": [None, 1],
}


@pytest.mark.parametrize(("hook", "given"), [(h, g) for h, some in GARBAGE.items() for g in some])
def test_garbage_is_reported_and_left_out(host: PluginHost, hook: str, given: Any) -> None:
    host.add(plugin(**{hook: lambda: given}), "odd")
    assert host.gather(hook) == []
    (report,) = host.reports
    assert (report.name, report.source) == ("odd", f"hook {hook}")
    assert report.error


def test_a_failure_that_passes_is_forgotten(host: PluginHost) -> None:
    answers: Iterator[Any] = iter([None, None, {"virt_type": "kvm"}])
    host.add(plugin(node_facts=lambda: next(answers)), "moody")
    for _twice in range(2):
        host.gather("node_facts")
        assert len(host.reports) == 1
    assert host.gather("node_facts") == [("moody", {"virt_type": "kvm"})]
    assert host.reports == []


def test_an_unknown_hook_is_refused(host: PluginHost) -> None:
    with pytest.raises(Exception, match="brew_tea"):
        host.add(plugin(brew_tea=lambda: None), "odd")
    assert host.gather("row_types") == []


def test_files_are_loaded_in_order_and_blocked_by_name(host: PluginHost, tmp_path: Path) -> None:
    text = "from node.sdk import hookimpl\n@hookimpl\ndef node_facts():\n    return {}\n"
    for name in ("b", "a", "c"):
        (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / "notes.txt").write_text("no plugin")
    host.load(directory=tmp_path, blocked=["identity", "image", "network", "compute", "c"])
    assert [(r.name, r.hooks, r.error) for r in host.reports if r.source.endswith(".py")] == [
        ("a", ("node_facts",), ""),
        ("b", ("node_facts",), ""),
    ]
    assert host.failures() == {}


def test_a_strangers_first_result_hook_that_fails_is_as_if_it_knew_nothing(
    host: PluginHost, tmp_path: Path
) -> None:
    (tmp_path / "bad.py").write_text(
        "from node.sdk import *\n"
        "@hookimpl\ndef token_verify(token):\n    raise RuntimeError('broken')\n"
        "@hookimpl\ndef metadata_of(server_id):\n    raise NotFound('no such server')\n"
    )
    host.load(directory=tmp_path, blocked=["identity", "image", "network", "compute"])
    host.add(plugin(token_verify=lambda token: f"verified {token}"), "good")
    assert host.hook.token_verify(db=None, token="t", now_us=0) == "verified t"
    host.manager.unregister(name="good")
    assert host.hook.token_verify(db=None, token="t", now_us=0) is None
    assert host.failures() == {"bad": "RuntimeError: broken"}
    with pytest.raises(NotFound):  # what a hook may say is passed on
        host.hook.metadata_of(db=None, hook=None, server_id="i")


def service(**fields: Any) -> Service:
    def fault(_ctx: Any, error: Any) -> Reply:
        return Reply(status=error.status)

    return Service(
        **{
            "name": "s",
            "type": "s",
            "path": "/s",
            "endpoint": "/s",
            "fault": fault,
            "routes": (),
            **fields,
        }
    )


def route(method: str = "GET", path: str = "/v1/x", **fields: Any) -> Route:
    return Route(method=method, path=path, handler=lambda _ctx: None, policy="any", **fields)


UNSERVABLE = [
    service(path="/gadget"),
    service(path="gadgets"),
    service(routes=(route(method="BREW"),)),
    service(routes=(route(path="/v1/{a:nonsense}"),)),
    service(routes=(route(method="POST"), route(method="POST", action="x"))),
    service(policies={"p": "role:a and"}),
    service(policies={"p": "nonsense"}),
    service(policies={"gadget:push": "@"}),
    service(rules={"mine": "@"}),
]


@pytest.mark.parametrize("bad", UNSERVABLE, ids=range(len(UNSERVABLE)))
def test_services_that_cannot_be_served_are_left_out(host: PluginHost, bad: Service) -> None:
    host.add(gadget, "gadget")
    host.add(plugin(services=lambda: [bad]), "bad")
    host.add(plugin(services=lambda: [service(path="/fine", routes=(route(),))]), "fine")
    assert [one.path for one in host.services()] == ["/gadget", "/fine"]
    assert set(host.failures()) == {"bad"}


@pytest.mark.parametrize("name", ["node", "api", "log", "leaf"])
def test_a_section_that_is_taken_is_not_given_twice(host: PluginHost, name: str) -> None:
    host.add(plugin(config_sections=lambda: {"leaf": LeafSection}), "first")
    host.add(plugin(config_sections=lambda: {name: LeafSection}), "second")
    assert host.sections() == {"leaf": LeafSection}
    assert set(host.failures()) == {"second"}


def test_a_cloud_with_a_broken_plugin_serves_the_others(tmp_path: Path) -> None:
    broken = plugin(row_types=lambda: None, seed_rows=lambda: 1 / 0)
    cloud = Cloud(tmp_path, [gadget, broken])
    assert cloud.post("/gadget/v1/gadgets", json={"name": "x"}, token=cloud.token()).status == 201
    cloud.machine.close()
