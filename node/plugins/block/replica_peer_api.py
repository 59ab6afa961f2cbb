"""What the nodes ask each other of their replicas, on the data port: one verb a request, and frozen layers as files."""

import msgspec

from node.plugins.block.drivers.replicated.peer_client import LAYERS, REPLICAS, layer_fetch
from node.plugins.block.drivers.replicated.peers import Request, answer
from node.plugins.block.drivers.replicated.placing import place_of
from node.plugins.block.drivers.replicated.replica_site import ReplicaSite
from node.sdk import BadRequest, Context, NodeRow, NotFound, Reply, Route


def site_of(ctx: Context) -> ReplicaSite:
    """Return the replicas of this node."""
    own = ctx.db.get(NodeRow, ctx.node_id)
    return ReplicaSite(ctx.config.state_dir / "block", place_of(own, ctx.config.state_dir))


def replica(ctx: Context, volume_id: str, verb: str) -> Reply:
    """Do what another node's head asks of a replica here."""
    _plain(volume_id)
    for layer in ctx.body.layers:
        _plain(layer)
    found = answer(site_of(ctx), verb, volume_id, ctx.body, layer_fetch(ctx.data_port))
    return Reply(body=msgspec.to_builtins(found))


def layer(ctx: Context, layer: str) -> Reply:
    """Send the file of a layer that nobody writes any more."""
    _plain(layer)
    path = site_of(ctx).layers.path(layer)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise NotFound(f"Layer {layer} is not on this node") from error
    return Reply(
        file=(str(path), 0, size), length_bytes=size, content_type="application/octet-stream"
    )


def _plain(name: str) -> None:
    """Refuse what is not the name of one of our files."""
    if not name or name.startswith(".") or "/" in name or len(name) > 100:
        raise BadRequest(f"{name!r} is no name of a volume or layer")


ROUTES = (
    Route(
        method="POST",
        path=f"/v3{REPLICAS}",
        handler=replica,
        policy="public",
        body=Request,
        peers_only=True,
    ),
    Route(method="GET", path=f"/v3{LAYERS}", handler=layer, policy="public", peers_only=True),
)
