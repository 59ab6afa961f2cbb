"""Asks replicas of this node and of others in one way: `ReplicaSite` here, the data port elsewhere (peer_api.py)."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import msgspec

from node.plugins.block.drivers.replicated.process import StorageDaemonError
from node.plugins.block.drivers.replicated.replica_site import ReplicaSite
from node.sdk import Frozen, NodeError, Unavailable

T = TypeVar("T")


class Request(Frozen):
    """What is asked of a replica; which fields matter depends on the verb."""

    epoch: int = 0
    layers: tuple[str, ...] = ()
    size_bytes: int = 0
    joins: bool = False
    opened: int = 0
    source: str = ""
    """Node to fetch layers from."""


class Answer(Frozen):
    """What a replica answers."""

    port: int = 0
    export: str = ""
    bitmaps: tuple[str, ...] = ()
    has_log: bool = False


class Peers(Protocol):
    """The replicas of all nodes."""

    def ask(self, node_id: str, verb: str, volume_id: str, request: Request) -> Answer:
        """Have a node do something with its replica.

        The verbs are those of `answer`: fence, prepare, serve, yield, gap, receive, read, close, delete.

        Raises:
            NotFound: 404, it has no such replica.
            Conflict: 409, the epoch is over.
            Unavailable: 503, the node does not answer, or its replica does not.
        """

    def address(self, node_id: str) -> str:
        """Return where a node's replicas listen."""


Fetch = Callable[[str, str, ReplicaSite], None]
"""Called as fetch(node id, layer, site): bring a frozen layer here."""


def answer(site: ReplicaSite, verb: str, volume_id: str, request: Request, fetch: Fetch) -> Answer:
    """Do what was asked of a replica of this node.

    Raises:
        as `Peers.ask`.
    """
    try:
        return _answer(site, verb, volume_id, request, fetch)
    except (OSError, StorageDaemonError) as error:
        raise Unavailable(f"Replica of {volume_id}, {verb}: {error}") from error


def _answer(site: ReplicaSite, verb: str, volume_id: str, request: Request, fetch: Fetch) -> Answer:
    match verb:
        case "fence":
            site.fence(volume_id, request.epoch)
        case "prepare":
            site.prepare(volume_id, request.layers, request.size_bytes)
        case "serve":
            port = site.serve(
                volume_id, request.epoch, request.layers, request.size_bytes, joins=request.joins
            )
            return Answer(port=port, export=f"e{request.epoch}")
        case "gap":
            gap = site.gap(volume_id, request.epoch, request.layers, request.opened)
            return msgspec.convert(msgspec.to_builtins(gap), Answer)
        case "yield":
            site.yield_to_head(volume_id, request.epoch, request.layers, request.size_bytes)
        case "receive":
            for layer in request.layers[:-1]:
                if not site.layers.trusted(layer):
                    fetch(request.source, layer, site)
            port, export = site.receive(
                volume_id, request.epoch, request.layers, request.size_bytes
            )
            return Answer(port=port, export=export)
        case "read":
            port, export = site.read(volume_id, request.layers)
            return Answer(port=port, export=export)
        case "close":
            site.close(volume_id, request.epoch)
        case "delete":
            site.delete(volume_id, request.layers)
        case _:
            raise NodeError(f"Replicas have no verb {verb}")
    return Answer()


def ask_all(
    nodes: Sequence[str], call: Callable[[str], T]
) -> tuple[dict[str, T], dict[str, NodeError]]:
    """Call for each node, at the same time; return what came back, and what failed, by node."""
    done: dict[str, T] = {}
    failed: dict[str, NodeError] = {}
    if len(nodes) == 1:
        _one(nodes[0], call, done, failed)
    elif nodes:
        with ThreadPoolExecutor(len(nodes), "replica") as pool:
            for future in [pool.submit(_one, node, call, done, failed) for node in nodes]:
                future.result()
    return done, failed


def _one(
    node: str, call: Callable[[str], T], done: dict[str, T], failed: dict[str, NodeError]
) -> None:
    try:
        done[node] = call(node)
    except NodeError as error:
        failed[node] = error


def in_order(nodes: Iterable[str], order: Iterable[str]) -> tuple[str, ...]:
    """Return those nodes, in that order."""
    held = set(nodes)
    return tuple(node for node in order if node in held)
