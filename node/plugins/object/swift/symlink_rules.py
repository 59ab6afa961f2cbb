"""Symlinks: objects that stand for another one.

Source: https://docs.openstack.org/swift/latest/middleware.html#symlink
"""

import hashlib
from collections.abc import Mapping
from urllib.parse import quote

from node.plugins.object.swift import object_facts, object_view, version_rules, write_rules
from node.plugins.object.swift.call import PREFIX, Call, project_of
from node.plugins.object.swift.faults import Refusal
from node.plugins.object.swift.object_find import Spot, locate, split_account, split_header, spot_of
from node.plugins.object.tables import Container
from node.sdk import NotFound, Reply

_FORM = "X-Symlink-Target header must be of the form <container name>/<object name>"
_EMPTY = hashlib.md5(usedforsecurity=False).hexdigest()


def put(call: Call, container: Container, meta: Mapping[str, str], sys: dict[str, str]) -> Reply:
    """Store a symlink; a static one only to what is there and as it is said to be."""
    if call.ctx.content_length is None or call.ctx.content_length:
        raise Refusal(400, "Symlink requests require a zero byte body")
    target = _target(call)
    if target == spot_of(call):
        raise Refusal(400, "Symlink cannot target itself")
    etag = call.headers.get("x-symlink-target-etag", "").strip().strip('"').lower()
    if any(mark in etag for mark in ';"\\'):
        raise Refusal(400, "Bad X-Symlink-Target-Etag format")
    sys[object_view.LINK] = quote(f"{target.container}/{target.name}")
    more = {}
    if "x-symlink-target-account" in call.headers:
        sys[object_view.LINK_ACCOUNT] = quote(f"{PREFIX}{target.project_id}")
    kind = object_facts.content_type(call, "application/symlink" if not etag else "")
    if etag:
        size, type_ = _check_target(call, target, etag)
        sys |= {object_view.LINK_ETAG: etag, object_view.LINK_BYTES: str(size)}
        more["Content-Location"] = target.path
        kind = kind if call.headers.get("content-type") else type_
    condition = write_rules.condition_of(call, container)
    write_rules.hold_quota(call, container, 0)
    version_rules.archive(call, container, call.object_name)
    facts = object_facts.facts(call, _EMPTY, kind=kind, meta=meta, sys=sys)
    with call.store.writer(
        container.id, call.object_name, policy=container.policy, size_bytes=0
    ) as writer:
        entry = writer.commit(facts, condition, version=version_rules.keeps_versions(container))
    return write_rules.created(container, entry, more=more)


def _target(call: Call) -> Spot:
    value = call.headers["x-symlink-target"]
    if value.startswith(("/", "%2F", "%2f")):
        raise Refusal(412, _FORM)
    container, name = split_header(value, _FORM)
    project_id = call.project_id
    if "x-symlink-target-account" in call.headers:
        account = split_account(call.headers["x-symlink-target-account"], "Account name")
        project_id = project_of(account)
        if not project_id:
            raise Refusal(412, "Account name cannot be that of no project")
    return Spot(project_id=project_id, container=container, name=name)


def _check_target(call: Call, target: Spot, etag: str) -> tuple[int, str]:
    """Return size and media type of what a static link points to.

    Raises:
        Refusal: 409, it is not there, or not as it is said to be.
    """
    headers = {"Content-Location": target.path}
    try:
        found = locate(call, target, follow=False)
    except (Refusal, NotFound) as error:
        if isinstance(error, Refusal) and error.code != 404:
            raise
        raise Refusal(409, "X-Symlink-Target does not exist", headers=headers) from None
    entry = found.entry
    actual = entry.sys.get(object_view.SLO) or entry.sys.get(object_view.LINK_ETAG) or entry.etag
    if actual != etag:
        text = f"Object Etag {actual!r} does not match X-Symlink-Target-Etag header {etag!r}"
        raise Refusal(409, text, headers=headers)
    size = int(entry.sys.get(object_view.LINK_BYTES, object_view.listed_size(entry)))
    return size, entry.content_type
