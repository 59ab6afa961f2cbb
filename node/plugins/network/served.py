"""What this node has to serve: a pure view of the rows.

A bridge, a DHCP service or a router costs a namespace and processes, so each exists only while a server's port on
this node can use it. External networks are the exception: the node is their gateway.
"""

from node.plugins.network.security_sync import local_ports
from node.plugins.network.tables import ROUTER_INTERFACE, Network, Port, Router
from node.sdk import Reader


def is_here(row_node_id: str, node_id: str) -> bool:
    """Return whether a router belongs to this node; one without a node is everybody's."""
    return row_node_id in ("", node_id)


def server_networks(db: Reader, node_id: str) -> set[str]:
    """Return the networks that servers of this node have ports on."""
    return {port.network_id for port in local_ports(db, node_id)}


def has_server_port(db: Reader, node_id: str, network_id: str) -> bool:
    """Return whether a server of this node has a port on the network."""
    ports = db.rows(Port, network_id=network_id, node_id=node_id)
    return any(port.device_owner.startswith("compute:") for port in ports)


def routers_of(db: Reader, network_id: str) -> set[str]:
    """Return the routers that have an interface on a network."""
    ports = db.rows(Port, network_id=network_id, device_owner=ROUTER_INTERFACE)
    return {port.device_id for port in ports}


def router_is_served(db: Reader, node_id: str, router: Router) -> bool:
    """Return whether the router has to exist here: a server of this node is on one of its networks."""
    if not is_here(router.node_id, node_id) or not router.admin_up:
        return False
    interfaces = db.rows(Port, device_id=router.id, device_owner=ROUTER_INTERFACE)
    return any(has_server_port(db, node_id, port.network_id) for port in interfaces)


def bridge_is_served(db: Reader, node_id: str, network: Network) -> bool:
    """Return whether this node needs a bridge for the network."""
    if network.external or has_server_port(db, node_id, network.id):
        return True
    routers = (db.get(Router, router_id) for router_id in routers_of(db, network.id))
    return any(router is not None and router_is_served(db, node_id, router) for router in routers)


def served_networks(db: Reader, node_id: str) -> set[str]:
    """Return the networks that this node needs a bridge for."""
    found = server_networks(db, node_id)
    routers = {router_id for network_id in found for router_id in routers_of(db, network_id)}
    found |= {network.id for network in db.rows(Network, external=True)}
    for router_id in routers:
        router = db.get(Router, router_id)
        if router is not None and router_is_served(db, node_id, router):
            ports = db.rows(Port, device_id=router.id, device_owner=ROUTER_INTERFACE)
            found |= {port.network_id for port in ports}
    return found
