"""An OpenAPI 3.1 document made from the route tables.

Routes that differ only in microversion or action share one operation; their bodies are alternatives.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from node import __version__
from node.api.route import Route, Service

_PARAMETER = re.compile(r"\{([^}:]+)(?::[^}]*)?\}")


def document(services: Sequence[Service]) -> dict[str, Any]:
    """Return the document as JSON data."""
    types = [
        kind
        for service in services
        for route in service.routes
        if not route.peers_only
        for kind in (route.body, route.query, route.response)
    ]
    known = [kind for kind in dict.fromkeys(types) if kind is not None]
    schemas, components = msgspec.json.schema_components(
        known, ref_template="#/components/schemas/{name}"
    )
    schema_of = dict(zip(known, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for service in services:
        for route in service.routes:
            if route.peers_only or route.method == "COPY":  # OpenAPI knows no COPY
                continue
            front = "" if route.at_root else service.path
            path = _PARAMETER.sub(r"{\1}", front + route.path)
            operations = paths.setdefault(path, {})
            _merge(operations, route, service, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Hedgerow", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}
            },
        },
    }


def _merge(
    operations: dict[str, Any], route: Route, service: Service, schema_of: dict[Any, Any]
) -> None:
    operation = operations.setdefault(
        route.method.lower(),
        {
            "tags": [service.type],
            "operationId": f"{service.type}:{route.method}:{route.path}",
            "summary": route.summary or _first_line(route.handler),
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in _PARAMETER.findall(route.path)
            ],
            "responses": {"default": {"description": f"A fault as {service.name} words it"}},
        },
    )
    operation["responses"][str(route.status)] = {"description": "Success"}
    if route.policy not in ("public", "own"):
        operation["security"] = [{"token": []}]
    if route.body is None and route.action is None:
        return
    schema = schema_of.get(route.body, {})
    if route.action:
        schema = {
            "type": "object",
            "required": [route.action],
            "properties": {route.action: schema},
        }
    content = operation.setdefault("requestBody", {"required": True, "content": {}})["content"]
    known = content.get("application/json", {}).get("schema")
    alternatives = [] if known is None else known.get("anyOf", [known])
    if schema not in alternatives:
        alternatives.append(schema)
    content["application/json"] = {
        "schema": alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives}
    }


def _first_line(handler: Any) -> str:
    return (handler.__doc__ or "").strip().partition("\n")[0]
