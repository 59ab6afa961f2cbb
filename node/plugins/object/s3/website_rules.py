"""Websites: which object a path shows, and which path leads elsewhere.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/WebsiteHosting.html
"""

from functools import lru_cache

from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.xml_input import Element, parse
from node.sdk import Frozen

_MAX_RULES = 50


class RoutingRule(Frozen):
    """A redirect, by the beginning of a key, by an error, or both."""

    prefix: str = ""
    error: str = ""
    protocol: str = ""
    host: str = ""
    replace_prefix: str | None = None
    replace_key: str | None = None
    status: int = 301

    def fits(self, key: str, error: str) -> bool:
        """Return whether it concerns a key that was answered so; an empty error: before it was looked for."""
        return key.startswith(self.prefix) and self.error == error

    def location(self, scheme: str, host: str, key: str) -> str:
        """Return where it leads."""
        target = key
        if self.replace_key is not None:
            target = self.replace_key
        elif self.replace_prefix is not None:
            target = self.replace_prefix + key[len(self.prefix) :]
        return f"{self.protocol or scheme}://{self.host or host}/{target}"


class Website(Frozen):
    """A bucket's website."""

    index: str = ""
    error: str = ""
    everything: RoutingRule | None = None
    """Where all requests are led."""
    rules: tuple[RoutingRule, ...] = ()


def read(root: Element) -> Website:
    """Return the website of a WebsiteConfiguration.

    Raises:
        S3Error: MalformedXML, InvalidArgument, InvalidRequest.
    """
    root.only("IndexDocument", "ErrorDocument", "RedirectAllRequestsTo", "RoutingRules")
    everything = root.get("RedirectAllRequestsTo")
    if everything is not None:
        if len(list(root)) > 1:
            raise S3Error("MalformedXML")
        host = everything.value("HostName").strip()
        if not host:
            raise S3Error("MalformedXML")
        return Website(everything=RoutingRule(host=host, protocol=_protocol(everything)))
    index = root.get("IndexDocument")
    suffix = index.value("Suffix") if index is not None else ""
    if not suffix:
        raise S3Error(
            "InvalidArgument",
            "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty",
            ArgumentName="IndexDocument",
        )
    if "/" in suffix:
        raise S3Error(
            "InvalidArgument",
            "The IndexDocument Suffix is not well formed",
            ArgumentName="IndexDocument",
        )
    error = root.get("ErrorDocument")
    listed = root.get("RoutingRules")
    rules = tuple(_rule(rule) for rule in listed.all("RoutingRule")) if listed is not None else ()
    if len(rules) > _MAX_RULES:
        raise S3Error(
            "InvalidRequest",
            f"{len(rules)} routing rules provided, the limit is {_MAX_RULES}.",
        )
    return Website(index=suffix, error=error.value("Key") if error is not None else "", rules=rules)


def _protocol(element: Element) -> str:
    found = element.value("Protocol").strip().lower()
    if found not in ("", "http", "https"):
        raise S3Error(
            "InvalidRequest",
            "Invalid protocol, protocol can be http or https.",
        )
    return found


def _rule(element: Element) -> RoutingRule:
    condition, redirect = element.get("Condition"), element.get("Redirect")
    if redirect is None or not list(redirect):
        raise S3Error("MalformedXML")
    prefix = condition.value("KeyPrefixEquals") if condition is not None else ""
    error = condition.value("HttpErrorCodeReturnedEquals").strip() if condition is not None else ""
    code = redirect.value("HttpRedirectCode", "301").strip()
    if not (code.isdigit() and 300 < int(code[:4]) < 400):
        raise S3Error(
            "InvalidRequest",
            f"The provided HTTP redirect code ({code}) is not valid. Valid codes are 3XX except 300.",
        )
    if error and not (error.isdigit() and 400 <= int(error[:4]) < 600):
        raise S3Error(
            "InvalidRequest",
            f"The provided HTTP error code ({error}) is not valid. Valid codes are 4XX or 5XX.",
        )
    key, begin = redirect.get("ReplaceKeyWith"), redirect.get("ReplaceKeyPrefixWith")
    if key is not None and begin is not None:
        raise S3Error(
            "InvalidRequest", "You can only define ReplaceKeyPrefix or ReplaceKey but not both."
        )
    return RoutingRule(
        prefix=prefix,
        error=error,
        protocol=_protocol(redirect),
        status=int(code),
        host=redirect.value("HostName").strip(),
        replace_key=key.text if key is not None else None,
        replace_prefix=begin.text if begin is not None else None,
    )


@lru_cache(maxsize=256)
def loaded(text: str) -> Website:
    """Return the website of a configuration that was accepted."""
    return read(parse(text))


def index_key(website: Website, key: str) -> str:
    """Return the key that a path shows."""
    return key + website.index if not key or key.endswith("/") else key
