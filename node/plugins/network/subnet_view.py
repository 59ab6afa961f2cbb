"""Subnets and subnet pools as clients see them."""

from typing import Any

from node.plugins.network.tables import AddressScope, Subnet, SubnetPool
from node.sdk import iso_utc


def view(subnet: Subnet) -> dict[str, Any]:
    """Return the JSON object of a subnet."""
    return {
        "id": subnet.id,
        "name": subnet.name,
        "tenant_id": subnet.project_id,
        "project_id": subnet.project_id,
        "network_id": subnet.network_id,
        "ip_version": subnet.ip_version,
        "cidr": subnet.cidr,
        "gateway_ip": subnet.gateway_ip or None,
        "allocation_pools": [
            {"start": pool.start, "end": pool.end} for pool in subnet.allocation_pools
        ],
        "enable_dhcp": subnet.enable_dhcp,
        "dns_nameservers": subnet.dns_nameservers,
        "host_routes": [
            {"destination": route.destination, "nexthop": route.nexthop}
            for route in subnet.host_routes
        ],
        "ipv6_ra_mode": subnet.ipv6_ra_mode or None,
        "ipv6_address_mode": subnet.ipv6_address_mode or None,
        "subnetpool_id": subnet.subnetpool_id or None,
        "service_types": subnet.service_types,
        "dns_publish_fixed_ip": subnet.dns_publish_fixed_ip,
        "description": subnet.description,
        "tags": subnet.tags,
        "created_at": iso_utc(subnet.created_at),
        "updated_at": iso_utc(subnet.updated_at),
        "revision_number": subnet.revision,
    }


def pool_view(pool: SubnetPool, *, shared: bool) -> dict[str, Any]:
    """Return the JSON object of a subnet pool; prefix lengths are text, as Neutron gives them."""
    return {
        "id": pool.id,
        "name": pool.name,
        "tenant_id": pool.project_id,
        "project_id": pool.project_id,
        "ip_version": pool.ip_version,
        "prefixes": pool.prefixes,
        "default_prefixlen": str(pool.default_prefixlen),
        "min_prefixlen": str(pool.min_prefixlen),
        "max_prefixlen": str(pool.max_prefixlen),
        "default_quota": None if pool.default_quota < 0 else pool.default_quota,
        "shared": shared,
        "is_default": pool.is_default,
        "address_scope_id": pool.address_scope_id or None,
        "description": pool.description,
        "tags": pool.tags,
        "created_at": iso_utc(pool.created_at),
        "updated_at": iso_utc(pool.updated_at),
        "revision_number": pool.revision,
    }


def scope_view(scope: AddressScope, *, shared: bool) -> dict[str, Any]:
    """Return the JSON object of an address scope."""
    return {
        "id": scope.id,
        "name": scope.name,
        "tenant_id": scope.project_id,
        "project_id": scope.project_id,
        "ip_version": scope.ip_version,
        "shared": shared,
    }
