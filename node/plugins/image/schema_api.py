"""The schemas and versions that clients read before they speak.

Source: https://docs.openstack.org/api-ref/image/v2/#image-schemas and #api-versions
"""

from typing import Any

from node.plugins.image.image_rules import CONTAINER_FORMATS, DISK_FORMATS, VISIBILITIES
from node.sdk import Context, NotFound, Reply

_UUID = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"
_CURRENT = "v2.9"
_OLDER = ("v2.7", "v2.6", "v2.5", "v2.4", "v2.3", "v2.2", "v2.1", "v2.0")


def versions(ctx: Context) -> Reply:
    """List the versions of the API, as Glance does with 300."""
    return Reply(status=300, body=_versions(ctx))


def versions_plain(ctx: Context) -> dict[str, Any]:
    """List the versions of the API."""
    return _versions(ctx)


def _versions(ctx: Context) -> dict[str, Any]:
    link = [{"rel": "self", "href": ctx.url("/v2/")}]
    entries = [(_CURRENT, "CURRENT"), *((version, "SUPPORTED") for version in _OLDER)]
    return {
        "versions": [
            {"id": version, "status": status, "links": link} for version, status in entries
        ]
    }


def _string(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **more}


def _nullable(description: str, **more: Any) -> dict[str, Any]:
    return {"type": ["null", "string"], "description": description, **more}


def _image_properties() -> dict[str, Any]:
    number = {"type": ["null", "integer"], "readOnly": True}
    return {
        "id": _string("An identifier for the image", pattern=_UUID),
        "name": _nullable("Descriptive name for the image", maxLength=255),
        "status": _string("Status of the image", readOnly=True),
        "visibility": _string("Scope of image accessibility", enum=list(VISIBILITIES)),
        "protected": {"type": "boolean", "description": "If true, image will not be deletable."},
        "os_hidden": {
            "type": "boolean",
            "description": "If true, image will not appear in default image list.",
        },
        "owner": _nullable("Owner of the image", maxLength=255),
        "disk_format": _nullable("Format of the disk", enum=[None, *DISK_FORMATS]),
        "container_format": _nullable("Format of the container", enum=[None, *CONTAINER_FORMATS]),
        "min_disk": {"type": "integer", "description": "GiB of disk space required to boot."},
        "min_ram": {"type": "integer", "description": "MiB of memory required to boot."},
        "size": {**number, "description": "Size of the image file in bytes"},
        "virtual_size": {**number, "description": "Virtual size of the image in bytes"},
        "checksum": _nullable("MD5 hash of the image contents.", readOnly=True, maxLength=32),
        "os_hash_algo": _nullable("Algorithm of os_hash_value", readOnly=True, maxLength=64),
        "os_hash_value": _nullable("Hexdigest of the image contents", readOnly=True, maxLength=128),
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 255}},
        "created_at": _string("Date and time of image registration", readOnly=True),
        "updated_at": _string("Date and time of the last image modification", readOnly=True),
        "self": _string("URL of the image", readOnly=True),
        "file": _string("URL of the image's data", readOnly=True),
        "schema": _string("URL of the schema", readOnly=True),
        "stores": _string("Stores of the image's data", readOnly=True),
        "direct_url": _string("URL to access the image file kept in external store", readOnly=True),
    }


def _member_properties() -> dict[str, Any]:
    return {
        "image_id": _string("An identifier for the image", pattern=_UUID),
        "member_id": _string("An identifier for the image member (projectid)"),
        "status": _string(
            "The status of this image member", enum=["pending", "accepted", "rejected"]
        ),
        "created_at": _string("Date and time of image member creation"),
        "updated_at": _string("Date and time of last modification of image member"),
        "schema": {"type": "string", "readOnly": True},
    }


def schema(ctx: Context, schema: str) -> dict[str, Any]:
    """Show the JSON schema of a resource or of its listing."""
    del ctx
    single: dict[str, dict[str, Any]] = {
        "image": {
            "name": "image",
            "properties": _image_properties(),
            "additionalProperties": {"type": "string"},
            "links": [
                {"rel": "self", "href": "{self}"},
                {"rel": "enclosure", "href": "{file}"},
                {"rel": "describedby", "href": "{schema}"},
            ],
        },
        "member": {"name": "member", "properties": _member_properties()},
    }
    if schema in single:
        return single[schema]
    if schema.removesuffix("s") in single and schema.endswith("s"):
        links = [{"rel": rel, "href": f"{{{rel}}}"} for rel in ("first", "next")]
        links.append({"rel": "describedby", "href": "{schema}"})
        properties = {
            schema: {"type": "array", "items": single[schema[:-1]]},
            "schema": {"type": "string"},
            "first": {"type": "string"},
            "next": {"type": "string"},
        }
        return {"name": schema, "properties": properties, "links": links}
    raise NotFound(f"There is no schema {schema}")
