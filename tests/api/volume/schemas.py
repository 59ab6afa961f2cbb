"""Hold answers against the JSON schemas that Tempest holds clouds against."""

import importlib
from typing import Any

import jsonschema
from tempest.lib.common import jsonschema_validator

from node.testing.cloud import Answer

_PACKAGE = "tempest.lib.api_schema.response.volume"


def check(answer: Answer, module: str, name: str, minor: int = 0) -> Any:
    """Assert status and body of an answer by the newest schema up to a microversion, and return the body."""
    wanted = _schema(module, name, minor)
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


def _schema(module: str, name: str, minor: int) -> dict[str, Any]:
    places = [f"v3_{number}.{module}" for number in range(minor, 0, -1)] + [module]
    for place in places:
        try:
            found = importlib.import_module(f"{_PACKAGE}.{place}")
        except ModuleNotFoundError:
            continue
        if hasattr(found, name):
            return getattr(found, name)  # type: ignore[no-any-return]
    raise LookupError(f"Tempest has no schema {module}.{name}")
