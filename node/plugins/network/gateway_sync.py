"""Moves routers away from nodes that are down, and closes the gateways of a node that lost its lease."""

import logging
from collections.abc import Iterable

from node.plugins.network.drivers.links import Links
from node.plugins.network.gateway_rules import decider, moves, must_move
from node.plugins.network.names import is_ours
from node.plugins.network.tables import ROUTER_GATEWAY, ROUTER_INTERFACE, Port, Router
from node.sdk import AnyOp, Control, Done, NodeRow, Reader, Reconciler, Row, check, patch

log = logging.getLogger("hedgerow.network")

_NOW, _LATER, _FENCE = "now", "later", "fence"
_WATCH_S = 1.0
_SETTLE_S = 3.0
"""How long after a lease came back rows may still be those from before it went."""
_BATCH = 25


class Fence:
    """Whether this node may be a gateway: not without a lease, and not before it knows what happened meanwhile."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._closed_until_s = 0.0

    def closed(self) -> bool:
        """Return whether gateways have to be closed."""
        now_s = self._control.clock.monotonic_s()
        if not self._control.lease_valid():
            self._closed_until_s = now_s + _SETTLE_S
            return True
        return now_s < self._closed_until_s


class GatewaySync(Reconciler):
    """Gives routers a node that is up. The first such node does so at once, the others when it has not for a while."""

    name = "network.gateways"
    watches = (NodeRow, Router)
    resync_s = 10.0
    workers = 2

    def __init__(self, control: Control, links: Links, fence: Fence) -> None:
        super().__init__(control)
        self._links = links
        self._fence = fence
        self._seen: dict[str, bool] = {}
        self._was_closed = False

    def keys(self) -> Iterable[str]:
        """Return the keys of the routers as a whole and of the fence."""
        return [_LATER, _FENCE]

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return the key of the routers where a node came or went, or a router has none."""
        db = self.control.db
        if row_type is Router:
            router = db.get(Router, id)
            node = db.get(NodeRow, router.node_id) if router is not None else None
            return [_NOW] if router is not None and must_move(node) else []
        away = must_move(db.get(NodeRow, id))
        known = self._seen.get(id)
        self._seen[id] = away
        return [_NOW] if away != known else []

    def reconcile(self, key: str) -> Done:
        """Move what has to move, or look whether this node still has its lease."""
        if key == _FENCE:
            return self._look_at_fence()
        db = self.control.db
        with db.snapshot():
            nodes = db.rows(NodeRow, order_by=())
            if key == _NOW and decider(nodes) != self.control.node_id:
                return Done()
            wanted = moves(db.rows(Router, order_by=()), nodes)
            by_id = {node.id: node for node in nodes}
            steps = [move_ops(db, router, by_id, target, self._now()) for router, target in wanted]
        for start in range(0, len(steps), _BATCH):
            batch = steps[start : start + _BATCH]
            if not self.control.commit([op for ops in batch for op in ops]):
                for ops in batch:  # one of them is not any more what it was
                    self.control.commit(ops)
        for router, target in wanted:
            log.warning(
                "router %s moves from node %s to node %s", router.id, router.node_id, target
            )
        return Done()

    def _now(self) -> int:
        return self.control.clock.now_us()

    def _look_at_fence(self) -> Done:
        closed = self._fence.closed()
        if closed:
            for name in self._links.names():
                if name.startswith("hg") and is_ours(name) and self._links.remove(name):
                    log.warning("this node has no lease: the gateway %s is closed", name)
        elif self._was_closed:
            for router in self.control.db.rows(Router, node_id=self.control.node_id):
                self.control.wake("network.routers", router.id)
        self._was_closed = closed
        return Done(again_s=_WATCH_S)


def move_ops(
    db: Reader, router: Router, nodes: dict[str, NodeRow], target: str, now_us: int
) -> list[AnyOp]:
    """Return the operations that give a router another node, if it and the nodes are still what they were."""
    checked = [node for node in (nodes.get(router.node_id), nodes[target]) if node is not None]
    ops: list[AnyOp] = [check(router), *(check(node) for node in checked)]
    ops.append(patch(Router, router.id, node_id=target, have="", updated_at=now_us))
    owners = [ROUTER_INTERFACE, ROUTER_GATEWAY]
    host = nodes[target].name
    return ops + [
        patch(Port, port.id, node_id=target, binding_host=host, updated_at=now_us)
        for port in db.rows(Port, device_id=router.id, device_owner=owners)
    ]
