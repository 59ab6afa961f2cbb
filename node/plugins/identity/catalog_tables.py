"""Rows of the catalog: regions, services, endpoints, what projects see of them, and limits."""

from typing import Any

from node.sdk import Row, Table


class Region(Row, kw_only=True):
    """A region of the catalog."""

    __table__ = Table(name="identity_regions", indexes=(("parent_region_id",),))

    description: str = ""
    parent_region_id: str = ""
    extra: dict[str, Any] = {}


class CatalogService(Row, kw_only=True):
    """A service that somebody added to the catalog; the built-in ones are computed."""

    __table__ = Table(name="identity_services", indexes=(("type",),))

    type: str
    name: str = ""
    description: str | None = None
    enabled: bool = True
    extra: dict[str, Any] = {}


class Endpoint(Row, kw_only=True):
    """An address of a service of the catalog."""

    __table__ = Table(name="identity_endpoints", indexes=(("service_id",), ("region_id",)))

    service_id: str
    interface: str
    url: str
    region_id: str = ""
    enabled: bool = True
    name: str = ""
    extra: dict[str, Any] = {}


class EndpointGroup(Row, kw_only=True):
    """Endpoints by a rule, to be shown to projects."""

    __table__ = Table(name="identity_endpoint_groups", unique=(("name",),))

    name: str
    filters: dict[str, str]
    """service_id, region_id, interface: an endpoint must fit all that are given."""
    description: str | None = None


class EndpointGrant(Row, kw_only=True):
    """An endpoint, or a group of them, that a project's catalog shows. The id is `project_id:subject_id`."""

    __table__ = Table(name="identity_endpoint_grants", indexes=(("project_id",), ("subject_id",)))

    project_id: str
    subject_id: str
    kind: str
    """endpoint or group."""


class RegisteredLimit(Row, kw_only=True):
    """The default of a limit of a service's resource."""

    __table__ = Table(
        name="identity_registered_limits",
        version=2,
        indexes=(("service_id",),),
        unique=(("service_id", "region_id", "resource_name"),),
    )

    service_id: str
    resource_name: str
    default_limit: int
    region_id: str = ""
    description: str | None = None


class Limit(Row, kw_only=True):
    """A limit of one project or domain."""

    __table__ = Table(
        name="identity_limits",
        version=2,
        indexes=(("project_id",), ("domain_id",), ("service_id",)),
        unique=(("project_id", "domain_id", "service_id", "region_id", "resource_name"),),
    )

    service_id: str
    resource_name: str
    resource_limit: int
    region_id: str = ""
    project_id: str = ""
    domain_id: str = ""
    description: str | None = None
