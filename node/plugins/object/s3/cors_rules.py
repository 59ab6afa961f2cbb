"""Which origins of browsers may read what.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/cors.html
"""

import re
from functools import lru_cache

from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.xml_input import Element, parse
from node.plugins.object.tables import Container
from node.sdk import Frozen

METHODS = ("GET", "PUT", "POST", "DELETE", "HEAD")
MAX_RULES = 100


class CorsRule(Frozen):
    """One rule."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    max_age_s: str = ""

    def fits(self, origin: str, method: str) -> bool:
        """Return whether it lets an origin use a method."""
        return method in self.methods and any(_like(origin, wanted) for wanted in self.origins)

    def admits(self, header: str) -> bool:
        """Return whether a request may carry a header."""
        return any(_like(header.lower(), wanted.lower()) for wanted in self.headers)


def _like(text: str, wanted: str) -> bool:
    head, star, tail = wanted.partition("*")
    if not star:
        return text == wanted
    return len(text) >= len(head) + len(tail) and text.startswith(head) and text.endswith(tail)


def read(root: Element) -> tuple[CorsRule, ...]:
    """Return the rules of a CORSConfiguration.

    Raises:
        S3Error: MalformedXML, InvalidRequest.
    """
    rules = tuple(_rule(element) for element in root.only("CORSRule"))
    if not rules or len(rules) > MAX_RULES:
        raise S3Error("MalformedXML")
    return rules


def _rule(element: Element) -> CorsRule:
    element.only(
        "ID", "AllowedOrigin", "AllowedMethod", "AllowedHeader", "ExposeHeader", "MaxAgeSeconds"
    )
    texts = {
        n: tuple(e.text for e in element.all(n))
        for n in ("AllowedOrigin", "AllowedMethod", "AllowedHeader", "ExposeHeader")
    }
    origins, methods = texts["AllowedOrigin"], texts["AllowedMethod"]
    if not origins or not methods:
        raise S3Error("MalformedXML")
    for method in methods:
        if method not in METHODS:
            raise S3Error(
                "InvalidRequest",
                f"Found unsupported HTTP method in CORS config. Unsupported method is {method}",
            )
    for text in (*origins, *texts["AllowedHeader"]):
        if text.count("*") > 1:
            raise S3Error(
                "InvalidRequest",
                f'AllowedOrigin or AllowedHeader "{text}" can not have more than one wildcard.',
            )
    age = element.value("MaxAgeSeconds")
    if age and not re.fullmatch(r"\d{1,9}", age):
        raise S3Error("MalformedXML")
    return CorsRule(
        origins=origins,
        methods=methods,
        headers=texts["AllowedHeader"],
        exposed=texts["ExposeHeader"],
        max_age_s=age,
    )


@lru_cache(maxsize=256)
def loaded(text: str) -> tuple[CorsRule, ...]:
    """Return the rules of a configuration that was accepted."""
    return read(parse(text))


def rules_of(container: Container) -> tuple[CorsRule, ...]:
    """Return a bucket's rules."""
    text = container.sys.get("s3-cors", "")
    return loaded(text) if text else ()


def _shared(rule: CorsRule, origin: str) -> dict[str, str]:
    any_origin = "*" in rule.origins
    headers = {
        "Access-Control-Allow-Origin": "*" if any_origin else origin,
        "Access-Control-Allow-Methods": ", ".join(rule.methods),
        "Vary": "Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
    }
    if not any_origin:
        headers["Access-Control-Allow-Credentials"] = "true"
    if rule.exposed:
        headers["Access-Control-Expose-Headers"] = ", ".join(rule.exposed)
    return headers


def response_headers(container: Container, origin: str, method: str) -> dict[str, str]:
    """Return what an answer to a browser says of its origin; empty where no rule fits."""
    for rule in rules_of(container):
        if rule.fits(origin, method):
            return _shared(rule, origin)
    return {}


def preflight(container: Container, origin: str, method: str, asked: str) -> dict[str, str] | None:
    """Return the headers that answer a preflight, or None where no rule fits."""
    names = [name.strip() for name in asked.split(",") if name.strip()]
    for rule in rules_of(container):
        if not rule.fits(origin, method) or not all(rule.admits(name) for name in names):
            continue
        headers = _shared(rule, origin)
        if names:
            headers["Access-Control-Allow-Headers"] = ", ".join(name.lower() for name in names)
        if rule.max_age_s:
            headers["Access-Control-Max-Age"] = rule.max_age_s
        return headers
    return None
