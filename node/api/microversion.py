"""Microversion negotiation, both header forms.

Source: https://specs.openstack.org/openstack/api-sig/guidelines/api_interoperability.html
"""

import re
from collections.abc import Mapping

from node.api.route import Microversions
from node.errors import BadRequest, NotAcceptable

_VERSION = re.compile(r"([1-9]\d*)\.(0|[1-9]\d*)")

Version = tuple[int, int]


def parse(text: str) -> Version:
    """Return a microversion as a pair of numbers.

    Raises:
        BadRequest: 400, the text is no microversion.
    """
    found = _VERSION.fullmatch(text)
    if found is None:
        raise BadRequest(
            f"API Version String '{text}' is of invalid format. Must be of format MajorNum.MinorNum."
        )
    return int(found.group(1)), int(found.group(2))


def negotiate(offer: Microversions, headers: Mapping[str, str]) -> Version:
    """Return the microversion of a request: what it asks for, else the minimum.

    Raises:
        BadRequest: 400, unreadable.
        NotAcceptable: 406, out of the range that is offered.
    """
    asked = _asked(offer, headers)
    low, high = parse(offer.minimum), parse(offer.maximum)
    if not asked:
        return low
    if asked == "latest":
        return high
    version = parse(asked)
    if not low <= version <= high:
        raise NotAcceptable(
            f"Version {asked} is not supported by the API. Minimum is {offer.minimum} and maximum is {offer.maximum}.",
            min_version=offer.minimum,
            max_version=offer.maximum,
        )
    return version


def _asked(offer: Microversions, headers: Mapping[str, str]) -> str:
    for part in headers.get("openstack-api-version", "").split(","):
        service, _space, version = part.strip().partition(" ")
        if service.lower() == offer.service_type and version.strip():
            return version.strip().lower()
    if offer.legacy_header:
        return headers.get(offer.legacy_header.lower(), "").strip().lower()
    return ""


def response_headers(offer: Microversions, version: Version) -> dict[str, str]:
    """Return the headers that say which microversion was served."""
    text = f"{version[0]}.{version[1]}"
    headers = {
        "OpenStack-API-Version": f"{offer.service_type} {text}",
        "Vary": "OpenStack-API-Version",
    }
    if offer.legacy_header:
        headers[offer.legacy_header] = text
        headers["Vary"] += f", {offer.legacy_header}"
    return headers
