"""What this node has to serve: a pure view of the rows.

A bridge, a DHCP service or a router costs a namespace and processes, so each exists only where a server can use it:
bridge and DHCP where the server is, the router on the one node that its row names. External networks are the
exception: every node has a bridge for them.
"""

from node.plugins.network.security_sync import local_ports
from node.plugins.network.tables import COMPUTE_PREFIX, ROUTER_INTERFACE, Network, Port, Router
from node.sdk import Reader

_SERVERS = ("device_owner", "GLOB", f"{COMPUTE_PREFIX}*")


def server_networks(db: Reader, node_id: str) -> set[str]:
    """Return the networks that servers of this node have ports on."""
    return {port.network_id for port in local_ports(db, node_id)}


def has_server_port(db: Reader, node_id: str, network_id: str) -> bool:
    """Return whether a server of this node has a port on the network."""
    return bool(db.count(Port, where=(_SERVERS,), network_id=network_id, node_id=node_id))


def has_bound_port(db: Reader, network_id: str) -> bool:
    """Return whether a server of any node has a port on the network."""
    where = (_SERVERS, ("node_id", "!=", ""))
    return bool(db.count(Port, where=where, network_id=network_id))


def routers_of(db: Reader, network_id: str) -> set[str]:
    """Return the routers that have an interface on a network."""
    ports = db.rows(Port, network_id=network_id, device_owner=ROUTER_INTERFACE)
    return {port.device_id for port in ports}


def router_is_served(db: Reader, node_id: str, router: Router) -> bool:
    """Return whether the router has to exist here: it is placed here, and a server is on one of its networks."""
    if router.node_id != node_id or not router.admin_up:
        return False
    interfaces = db.rows(Port, device_id=router.id, device_owner=ROUTER_INTERFACE)
    return any(has_bound_port(db, port.network_id) for port in interfaces)


def bridge_is_served(db: Reader, node_id: str, network: Network) -> bool:
    """Return whether this node needs a bridge for the network."""
    if network.external or has_server_port(db, node_id, network.id):
        return True
    routers = (db.get(Router, router_id) for router_id in routers_of(db, network.id))
    return any(router is not None and router_is_served(db, node_id, router) for router in routers)


def served_networks(db: Reader, node_id: str) -> set[str]:
    """Return the networks that this node needs a bridge for."""
    found = server_networks(db, node_id)
    found |= {network.id for network in db.rows(Network, external=True)}
    routers = {row.id for row in db.rows(Router, node_id=node_id, order_by=()) if row.admin_up}
    behind: dict[str, set[str]] = {}
    for port in db.rows(Port, device_owner=ROUTER_INTERFACE, order_by=()) if routers else ():
        if port.device_id in routers:
            behind.setdefault(port.device_id, set()).add(port.network_id)
    for networks in behind.values():
        if any(has_bound_port(db, network_id) for network_id in networks):
            found |= networks
    return found
