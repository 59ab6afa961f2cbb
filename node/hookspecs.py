"""Every seam of the product on one page: what a plugin may implement, built-in or not.

A plugin is a module (or object) with functions of these names marked `@hookimpl`. Leave out arguments that
you do not need. `first result` hooks stop at the first plugin that does not return None.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import click

    from node.api.context import AccessKey, Context, Token
    from node.api.route import Service
    from node.config import Config
    from node.control.placement import NodeRow, PlacementRequest
    from node.control.reconciler import Control, Reconciler
    from node.state.reader import Reader
    from node.state.row import Row
    from node.state.txn import AnyOp
    from node.types import Frozen

PROJECT = "hedgerow"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def row_types() -> Sequence["type[Row]"]:  # type: ignore[empty-body]
    """Return the row types that the plugin stores; their tables are declared at start."""


@hookspec
def services() -> Sequence["Service"]:  # type: ignore[empty-body]
    """Return the services that the plugin serves: paths, routes, policies, faults, catalog entry."""


@hookspec
def reconcilers(control: "Control") -> Sequence["Reconciler"]:  # type: ignore[empty-body]
    """Return the reconcilers to run on this node. Called once, in the core process."""


@hookspec
def config_sections() -> Mapping[str, "type[Frozen]"]:  # type: ignore[empty-body]
    """Return configuration sections, name to type; documented in the type's docstrings."""


@hookspec
def seed_rows(db: "Reader", now_us: int, config: "Config") -> Sequence["AnyOp"]:  # type: ignore[empty-body]
    """Return operations that a new cluster begins with (default roles, keys, groups); must be Insert or Check.

    Called at every start; each operation is proposed on its own and one that exists already is no error.
    """


@hookspec
def node_facts(control: "Control") -> Mapping[str, str]:  # type: ignore[empty-body]
    """Return facts of this node for its row, for example `virt_type`. Called in the core at start and every minute.

    `vcpus`, `memory_mib` and `disk_gib` (decimal) become the row's columns. Must return at once.
    """


@hookspec
def cli(group: "click.Group") -> None:
    """Add commands to `hedgerow`."""


@hookspec
def health(control: "Control") -> Sequence[tuple[str, bool, str]]:  # type: ignore[empty-body]
    """Return (name, ok, sentence) for `hedgerow status`; the sentence says what happens next where not ok."""


@hookspec
def metrics(control: "Control") -> Mapping[str, float]:  # type: ignore[empty-body]
    """Return gauges by Prometheus name, which may carry labels: `jobs{kind="build"}`."""


@hookspec(firstresult=True)
def token_verify(db: "Reader", token: "str | AccessKey", now_us: int) -> "Token | None":
    """Return who a token stands for, or None when it is not valid. Called for each request (cached for seconds).

    Asked with an AccessKey by services that check signatures, it returns a KeyToken with the key's secret.
    """


@hookspec(firstresult=True)
def port_plan(ctx: "Context", request: Any) -> Any:
    """Plan the ports of a server: `request` is a PortRequest, the answer a PortPlan (see node.contracts).

    Reads rows only. The operations go into the caller's transaction.
    """


@hookspec(firstresult=True)
def port_bind(
    db: "Reader", server_id: str, node_id: str | None, now_us: int, port_ids: Sequence[str] | None
) -> "Sequence[AnyOp] | None":
    """Return operations that bind ports of a server (None: all of them) to another node, with "" to none for now.

    Without a node (None) they leave the server: those made for it are deleted, others are given back unbound.
    """


@hookspec(firstresult=True)
def port_states(db: "Reader", server_ids: Sequence[str]) -> Any:
    """Return the ports of servers: a mapping of each server id to its list of PortState (see node.contracts).

    Every id given is a key; a server without ports has an empty list. A handful of queries for all of them.
    """


@hookspec(firstresult=True)
def metadata_of(db: "Reader", hook: Any, server_id: str) -> Any:
    """Return the ServerMetadata of a server (see node.contracts), or None when the plugin does not know it.

    `hook` is the caller's `control.hook`.
    """


@hookspec(firstresult=True)
def images() -> Any:
    """Return the images of this cloud: an Images (see node.contracts)."""


@hookspec(firstresult=True)
def volumes() -> Any:
    """Return the volumes of this cloud: a Volumes (see node.volume_contract)."""


@hookspec
def placement_filter(request: "PlacementRequest", node: "NodeRow") -> bool | None:
    """Return False where the node cannot take the request."""


@hookspec
def placement_weigh(request: "PlacementRequest", node: "NodeRow") -> float | None:
    """Return a number, greater is better."""


@hookspec
def teardown(control: "Control") -> None:
    """Remove all that this node made outside of its state directory (domains, namespaces, bridges, processes).

    Called on `hedgerow lab --destroy` with the node stopped; must be harmless when repeated.
    """
