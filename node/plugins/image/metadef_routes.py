"""The endpoints of metadata definitions, as data."""

from node.plugins.image import metadef_content_api as content
from node.plugins.image import metadef_namespace_api as namespaces
from node.plugins.image import metadef_schema
from node.plugins.image.metadef_rules import (
    AssociationBody,
    NamespaceBody,
    ObjectBody,
    PropertyBody,
    TagBody,
    TagsBody,
)
from node.sdk import Route

_ROOT = "/v2/metadefs/namespaces"
_ONE = f"{_ROOT}/{{namespace}}"
_SEE, _CHANGE = "metadef:get", "metadef:modify"

ROUTES = (
    Route(method="GET", path="/v2/schemas/metadefs/{schema}", handler=metadef_schema.schema, policy="any"),
    Route(method="GET", path=_ROOT, handler=namespaces.index, policy=_SEE),
    Route(method="POST", path=_ROOT, handler=namespaces.create, policy=_CHANGE, body=NamespaceBody, status=201),
    Route(method="GET", path=_ONE, handler=namespaces.show, policy=_SEE),
    Route(method="PUT", path=_ONE, handler=namespaces.update, policy=_CHANGE, body=NamespaceBody),
    Route(method="DELETE", path=_ONE, handler=namespaces.remove, policy=_CHANGE, status=204),
    Route(method="GET", path="/v2/metadefs/resource_types", handler=namespaces.resource_types, policy=_SEE),
    Route(method="GET", path=f"{_ONE}/resource_types", handler=namespaces.associations, policy=_SEE),
    Route(
        method="POST", path=f"{_ONE}/resource_types", handler=namespaces.associate, policy=_CHANGE,
        body=AssociationBody, status=201,
    ),
    Route(
        method="DELETE", path=f"{_ONE}/resource_types/{{name}}", handler=namespaces.dissociate, policy=_CHANGE,
        status=204,
    ),
    Route(method="GET", path=f"{_ONE}/properties", handler=content.properties, policy=_SEE),
    Route(
        method="POST", path=f"{_ONE}/properties", handler=content.property_create, policy=_CHANGE,
        body=PropertyBody, status=201,
    ),
    Route(method="DELETE", path=f"{_ONE}/properties", handler=content.properties_delete, policy=_CHANGE, status=204),
    Route(method="GET", path=f"{_ONE}/properties/{{name}}", handler=content.property_show, policy=_SEE),
    Route(
        method="PUT", path=f"{_ONE}/properties/{{name}}", handler=content.property_update, policy=_CHANGE,
        body=PropertyBody,
    ),
    Route(
        method="DELETE", path=f"{_ONE}/properties/{{name}}", handler=content.property_delete, policy=_CHANGE,
        status=204,
    ),
    Route(method="GET", path=f"{_ONE}/objects", handler=content.objects, policy=_SEE),
    Route(
        method="POST", path=f"{_ONE}/objects", handler=content.object_create, policy=_CHANGE, body=ObjectBody,
        status=201,
    ),
    Route(method="DELETE", path=f"{_ONE}/objects", handler=content.objects_delete, policy=_CHANGE, status=204),
    Route(method="GET", path=f"{_ONE}/objects/{{name}}", handler=content.object_show, policy=_SEE),
    Route(
        method="PUT", path=f"{_ONE}/objects/{{name}}", handler=content.object_update, policy=_CHANGE, body=ObjectBody,
    ),
    Route(method="DELETE", path=f"{_ONE}/objects/{{name}}", handler=content.object_delete, policy=_CHANGE, status=204),
    Route(method="GET", path=f"{_ONE}/tags", handler=content.tags, policy=_SEE),
    Route(method="POST", path=f"{_ONE}/tags", handler=content.tags_create, policy=_CHANGE, body=TagsBody, status=201),
    Route(method="DELETE", path=f"{_ONE}/tags", handler=content.tags_delete, policy=_CHANGE, status=204),
    Route(method="POST", path=f"{_ONE}/tags/{{name}}", handler=content.tag_create, policy=_CHANGE, status=201),
    Route(method="GET", path=f"{_ONE}/tags/{{name}}", handler=content.tag_show, policy=_SEE),
    Route(method="PUT", path=f"{_ONE}/tags/{{name}}", handler=content.tag_update, policy=_CHANGE, body=TagBody),
    Route(method="DELETE", path=f"{_ONE}/tags/{{name}}", handler=content.tag_delete, policy=_CHANGE, status=204),
)  # fmt: skip
