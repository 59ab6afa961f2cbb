"""Hold answers against the JSON schemas that Tempest holds clouds against."""

import importlib
from typing import Any

import jsonschema
from tempest.lib.common import jsonschema_validator

from node.testing.cloud import Answer

_PACKAGE = "tempest.lib.api_schema.response.compute"


def schema(module: str, name: str, version: tuple[int, int] = (2, 1)) -> dict[str, Any]:
    """Return the schema of that name which applies to a microversion: the newest that is not newer than it."""
    for minor in range(version[1], 0, -1):
        try:
            found = importlib.import_module(f"{_PACKAGE}.v2_{minor}.{module}")
        except ModuleNotFoundError:
            continue
        if hasattr(found, name):
            return getattr(found, name)  # type: ignore[no-any-return]
    raise LookupError(f"Tempest has no schema {module}.{name}")


def check(answer: Answer, module: str, name: str, version: tuple[int, int] = (2, 1)) -> Any:
    """Assert status and body of an answer, and return the decoded body."""
    wanted = schema(module, name, version)
    assert answer.status in wanted["status_code"], (answer.status, answer.body)
    if "response_body" not in wanted:
        return None
    body = answer.json
    jsonschema.validate(
        body,
        wanted["response_body"],
        cls=jsonschema_validator.JSONSCHEMA_VALIDATOR,
        format_checker=jsonschema_validator.FORMAT_CHECKER,
    )
    return body
