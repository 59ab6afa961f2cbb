"""Access control lists: canned ones, grants in headers and in XML, and what they allow.

A list is kept as lines `PERMISSION grantee`, where a grantee is a project's id, `*` (everybody) or `+` (everybody with
a key). A bucket without one has what Swift's lists say of it; an object without one is its owner's alone.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html
"""

import re
from collections.abc import Mapping, Sequence

from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.xml_input import Element
from node.plugins.object.tables import Container

PERMISSIONS = ("FULL_CONTROL", "READ", "WRITE", "READ_ACP", "WRITE_ACP")
EVERYBODY, KNOWN = "*", "+"
GROUPS = {
    EVERYBODY: "http://acs.amazonaws.com/groups/global/AllUsers",
    KNOWN: "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
}
_LOG_DELIVERY = "http://acs.amazonaws.com/groups/s3/LogDelivery"
_BY_URI = {uri: group for group, uri in GROUPS.items()}
_CANNED: Mapping[str, Sequence[tuple[str, str]]] = {
    "private": (),
    "public-read": (("READ", EVERYBODY),),
    "public-read-write": (("READ", EVERYBODY), ("WRITE", EVERYBODY)),
    "authenticated-read": (("READ", KNOWN),),
    "aws-exec-read": (),
    "log-delivery-write": (),
}
_HEADERS = {f"x-amz-grant-{p.lower().replace('_', '-')}": p for p in PERMISSIONS}
_HEADERS["x-amz-grant-full-control"] = "FULL_CONTROL"
_GRANT = re.compile(r'\s*(\w+)\s*=\s*"?([^",]*)"?\s*')
_MAX_GRANTS = 100

Grants = tuple[tuple[str, str], ...]


def text_of(grants: Grants) -> str:
    """Return grants as they are kept."""
    return "\n".join(f"{permission} {grantee}" for permission, grantee in grants)


def grants_of(text: str) -> Grants:
    """Return kept grants."""
    found = []
    for line in text.split("\n"):
        permission, _space, grantee = line.partition(" ")
        if grantee:
            found.append((permission, grantee))
    return tuple(found)


def canned(name: str, owner: str, bucket_owner: str) -> Grants:
    """Return the grants of a canned list.

    Raises:
        S3Error: InvalidArgument, there is none of that name.
    """
    mine = ("FULL_CONTROL", owner)
    if name in _CANNED:
        return (mine, *_CANNED[name])
    if name not in ("bucket-owner-read", "bucket-owner-full-control"):
        raise S3Error("InvalidArgument", ArgumentName="x-amz-acl", ArgumentValue=name)
    if owner == bucket_owner:
        return (mine,)
    return (mine, ("READ" if name.endswith("read") else "FULL_CONTROL", bucket_owner))


def of_headers(headers: Mapping[str, str], owner: str, bucket_owner: str) -> Grants | None:
    """Return the grants that the headers of a request name, or None where they name none.

    Raises:
        S3Error: InvalidRequest, a canned list and grants together; InvalidArgument, a grantee that is none.
    """
    name = headers.get("x-amz-acl")
    granted = [(header, p) for header, p in _HEADERS.items() if header in headers]
    if name and granted:
        raise S3Error(
            "InvalidRequest", "Specifying both Canned ACLs and Header Grants is not allowed"
        )
    if name is not None:
        return canned(name, owner, bucket_owner)
    if not granted:
        return None
    grants = []
    for header, permission in granted:
        for part in headers[header].split(","):
            found = _GRANT.fullmatch(part)
            if found is None:
                raise S3Error(
                    "InvalidArgument",
                    "Argument format not recognized",
                    ArgumentName=header,
                    ArgumentValue=headers[header],
                )
            grants.append((permission, _grantee(found.group(1), found.group(2))))
    return tuple(dict.fromkeys(grants))


def _grantee(kind: str, value: str) -> str:
    match kind:
        case "id" if value and re.fullmatch(r"[\w.:-]{1,128}", value):
            return value
        case "uri" if value in _BY_URI:
            return _BY_URI[value]
        case "uri" if value == _LOG_DELIVERY:
            return "log-delivery"
        case "uri":
            raise S3Error(
                "InvalidArgument", "Invalid group uri", ArgumentName="uri", ArgumentValue=value
            )
        case "emailAddress":
            raise S3Error(
                "UnresolvableGrantByEmailAddress",
                "The email address you provided does not match any account on record.",
            )
    raise S3Error(
        "InvalidArgument", "Invalid id", ArgumentName="CanonicalUser/ID", ArgumentValue=value
    )


def of_xml(root: Element, owner: str) -> Grants:
    """Return the grants of an AccessControlPolicy.

    Raises:
        S3Error: MalformedACLError; AccessDenied where it names another owner.
    """
    named = root.get("Owner")
    listed = root.get("AccessControlList")
    if named is None or listed is None or not named.value("ID"):
        raise S3Error("MalformedACLError")
    if named.value("ID") != owner:
        raise S3Error("AccessDenied")
    grants = []
    for grant in listed.all("Grant"):
        grantee, permission = grant.get("Grantee"), grant.value("Permission")
        if grantee is None or permission not in PERMISSIONS:
            raise S3Error("MalformedACLError")
        kind = grantee.attributes.get("type", "")
        match kind:
            case "CanonicalUser":
                grants.append((permission, _grantee("id", grantee.value("ID"))))
            case "Group":
                grants.append((permission, _grantee("uri", grantee.value("URI"))))
            case "AmazonCustomerByEmail":
                grants.append((permission, _grantee("emailAddress", grantee.value("EmailAddress"))))
            case _:
                raise S3Error("MalformedACLError")
    if len(grants) > _MAX_GRANTS:
        raise S3Error("MalformedACLError")
    return tuple(dict.fromkeys(grants))


def allows(grants: Grants, wanted: str, project_id: str) -> bool:
    """Return whether grants give a permission to somebody of a project; "" is nobody in particular."""
    holders = {EVERYBODY, KNOWN, project_id} if project_id else {EVERYBODY}
    return any(p in (wanted, "FULL_CONTROL") and g in holders for p, g in grants)


def is_public(grants: Grants) -> bool:
    """Return whether grants open something to strangers."""
    return any(grantee in GROUPS for _permission, grantee in grants)


def without_public(grants: Grants) -> Grants:
    """Return the grants to those who are named."""
    return tuple(grant for grant in grants if grant[1] not in GROUPS)


def of_bucket(container: Container) -> Grants:
    """Return a bucket's grants."""
    text = container.sys.get("s3-acl", "")
    return grants_of(text) if text else (("FULL_CONTROL", container.account),)


def of_object(sys: Mapping[str, str], container: Container) -> Grants:
    """Return an object's grants."""
    text = sys.get("s3-acl", "")
    return grants_of(text) if text else (("FULL_CONTROL", owner_of(sys, container)),)


def owner_of(sys: Mapping[str, str], container: Container) -> str:
    """Return the project that an object belongs to."""
    return sys.get("s3-owner") or container.account


def swift_allows(container: Container, wanted: str, project_id: str, user_id: str) -> bool:
    """Return whether Swift's lists of a container give READ or WRITE, by ids or to everybody."""
    words = {word.strip() for word in container.sys.get(wanted.lower(), "").split(",")}
    if wanted == "READ" and ".r:*" in words:
        return True
    if not project_id:
        return False
    return bool(words & {f"{project_id}:*", f"{project_id}:{user_id}", f"*:{user_id}", "*:*"})


def swift_write_list(old: str, before: Grants, after: Grants) -> str:
    """Return Swift's write list with the projects that may write now in place of those that might before.

    Only WRITE means the same in both: S3's READ of a bucket is the list of its names, Swift's is its objects too.
    """

    def projects(grants: Grants) -> set[str]:
        return {f"{g}:*" for p, g in grants if p == "WRITE" and g not in GROUPS}

    kept = [word for word in old.split(",") if word and word not in projects(before)]
    return ",".join((*kept, *sorted(projects(after) - set(kept))))
