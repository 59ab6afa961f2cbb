"""What a form may upload: the signed policy that it carries.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec

from node.plugins.object.s3.faults import S3Error
from node.sdk import Frozen, parse_iso

_FREE = frozenset({"file", "policy", "signature", "awsaccesskeyid", "x-amz-signature"})


class Limits(Frozen):
    """How large the file may be."""

    least: int = 0
    most: int = 5 << 30


def _failed(what: str) -> S3Error:
    return S3Error("AccessDenied", f"Invalid according to Policy: {what}")


def _invalid(what: str) -> S3Error:
    return S3Error("InvalidPolicyDocument", f"Invalid Policy: {what}")


def check(policy: str, fields: Mapping[str, str], now_us: int) -> Limits:
    """Hold a form to its policy; return the limits that it sets for the file. `fields` has the bucket too.

    Raises:
        S3Error: InvalidPolicyDocument; AccessDenied, the form is not what the policy says.
    """
    try:
        document = msgspec.json.decode(base64.b64decode(policy, validate=True))
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError) as error:
        raise _invalid("Invalid JSON.") from error
    if not isinstance(document, dict) or not isinstance(document.get("expiration"), str):
        raise _invalid("Policy missing expiration.")
    conditions = document.get("conditions")
    if not isinstance(conditions, list):
        raise _invalid("Policy missing conditions.")
    try:
        ends = parse_iso(document["expiration"])
    except (ValueError, OverflowError) as error:
        raise _invalid("Invalid 'expiration' value.") from error
    if ends <= now_us:
        raise _failed("Policy expired.")
    limits = Limits()
    covered = set(_FREE)
    for condition in conditions:
        names, found = _condition(condition, fields)
        covered |= names
        limits = found or limits
    extra = [
        n for n in fields if n not in covered and not n.startswith("x-ignore-") and n != "bucket"
    ]
    if extra:
        raise _failed(f"Extra input fields: {', '.join(sorted(extra))}")
    return limits


def _condition(condition: Any, fields: Mapping[str, str]) -> tuple[set[str], Limits | None]:
    if isinstance(condition, dict) and condition:
        for name, wanted in condition.items():
            _equal(name.lower(), wanted, fields)
        return {name.lower() for name in condition}, None
    if not isinstance(condition, list) or len(condition) != 3:
        raise _invalid("Invalid Simple-Condition.")
    kind, name, wanted = condition
    kind = kind.lower() if isinstance(kind, str) else ""
    if kind == "content-length-range":
        try:
            least, most = int(name), int(wanted)
        except (TypeError, ValueError) as error:
            raise _invalid("Invalid content-length-range.") from error
        return set(), Limits(least=least, most=most)
    if (
        kind not in ("eq", "starts-with")
        or not isinstance(name, str)
        or not name.startswith("$")
        or not isinstance(wanted, str)
    ):
        raise _invalid("Invalid condition.")
    field = name[1:].lower()
    if kind == "eq":
        _equal(field, wanted, fields)
    elif not all(
        v.strip().startswith(wanted)
        for v in fields.get(field, "").split("," if field == "content-type" else "\0")
    ):
        raise _failed(f'Policy Condition failed: ["starts-with", "{name}", "{wanted}"]')
    return {field}, None


def _equal(name: str, wanted: Any, fields: Mapping[str, str]) -> None:
    if not isinstance(wanted, str):
        raise _invalid("Invalid Simple-Condition: value must be a string.")
    if fields.get(name) != wanted:
        raise _failed(f'Policy Condition failed: ["eq", "${name}", "{wanted}"]')
