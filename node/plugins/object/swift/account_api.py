"""Accounts.

Source: https://docs.openstack.org/api-ref/object-store/#accounts
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from node.plugins.object.store.contract import Usage
from node.plugins.object.swift import (
    acl_rules,
    bulk_delete_api,
    bulk_extract_api,
    limit_rules,
    listing_query,
    listing_view,
    object_view,
    purge,
)
from node.plugins.object.swift.account_listing import listed
from node.plugins.object.swift.call import Call
from node.plugins.object.swift.container_api import HTML
from node.plugins.object.swift.faults import Refusal, done
from node.plugins.object.tables import Container, ObjectAccount, StoragePolicy
from node.sdk import AnyOp, Reply, check, insert
from node.sdk import put as put_row

_SECRETS = ("temp-url-key", "temp-url-key-2")
_QUOTAS = ("quota-bytes", "quota-count")


def _headers(call: Call, containers: Sequence[Container]) -> dict[str, str]:
    """Return what is told of an account: to its owners, more of it."""
    usages = call.store.usage([container.id for container in containers])
    by_policy: dict[str, list[Usage]] = defaultdict(list)
    for container in containers:
        by_policy[container.policy].append(usages.get(container.id, Usage()))
    row = call.account_row
    found = {
        "X-Account-Container-Count": str(len(containers)),
        **_sums("X-Account", usages.values()),
    }
    for name, some in by_policy.items():
        if name:
            front = f"X-Account-Storage-Policy-{name.title()}"
            found |= {f"{front}-Container-Count": str(len(some)), **_sums(front, some)}
    made_at = row.created_at if row else min((c.created_at for c in containers), default=0)
    found |= {
        "X-Timestamp": object_view.timestamp(made_at or call.ctx.now()),
        "Accept-Ranges": "bytes",
    }
    if row is None:
        return found
    owner = call.is_owner
    meta = {name: value for name, value in row.meta.items() if owner or name not in _SECRETS}
    found |= object_view.shown_meta(meta, "Account")
    found |= {f"X-Account-{n.title()}": v for n, v in row.sys.items() if n.startswith("quota-")}
    if owner and (text := row.sys.get("access-control")):
        found["X-Account-Access-Control"] = text
    return found


def _sums(front: str, usages: Any) -> dict[str, str]:
    usages = list(usages)
    return {
        f"{front}-Object-Count": str(sum(usage.objects for usage in usages)),
        f"{front}-Bytes-Used": str(sum(usage.size_bytes for usage in usages)),
    }


def _containers(call: Call) -> list[Container]:
    return call.ctx.db.rows(Container, account=call.project_id, order_by=())


def head(call: Call) -> Reply:
    """Tell of an account."""
    _require(call)
    told = _headers(call, _containers(call))
    told["Content-Type"] = f"{listing_query.media_type(call)}; charset=utf-8"
    return Reply(status=204, headers={**told, "Content-Length": "0"})


def get(call: Call) -> Reply:
    """List the containers of an account."""
    _require(call)
    kind = listing_query.media_type(call)
    wanted = listing_query.query(call)
    told = _headers(call, _containers(call))
    if "format" not in call.ctx.params:
        told["Vary"] = "Accept"
    page = listed(call.ctx.db, call.project_id, wanted)
    rows = [item for item in page if isinstance(item, Container)]
    usages = call.store.usage([row.id for row in rows])
    items = [
        {"subdir": item} if isinstance(item, str) else _item(item, usages.get(item.id, Usage()))
        for item in page
    ]
    return listing_view.reply(kind, items, told, owner=call.account, tag="account")


def _item(container: Container, usage: Usage) -> listing_view.Item:
    item: listing_view.Item = {
        "name": container.name,
        "count": usage.objects,
        "bytes": usage.size_bytes,
        "last_modified": listing_view.iso(container.created_at),
    }
    if container.policy:
        item["storage_policy"] = container.policy
    return item


def _require(call: Call) -> None:
    """Refuse what the caller may not do, and an account that cannot be.

    Raises:
        Refusal: 401, 403, 404, 410; 400, its name is too long.
    """
    length = len(call.account.encode())
    if length > limit_rules.MAX_ACCOUNT_NAME:
        most = limit_rules.MAX_ACCOUNT_NAME
        raise Refusal(400, f"Account name length of {length} longer than {most}")
    call.require()


def post(call: Call) -> Reply:
    """Change an account's metadata, or delete many of its objects."""
    if "bulk-delete" in call.ctx.params:
        return bulk_delete_api.post(call)
    _require(call)
    _change(call)
    return done()


def put(call: Call) -> Reply:
    """Make an account, which only administrators do; or take an archive."""
    if "extract-archive" in call.ctx.params:
        return bulk_extract_api.put(call)
    _require(call)
    if not call.access.is_reseller:
        raise Refusal(403)
    return Reply(status=201 if _change(call) else 202, body=b"", content_type=HTML)


def _change(call: Call) -> bool:
    """Keep what the headers say of an account; return whether nothing was kept of it before."""
    meta = limit_rules.user_metadata(call.headers, "account", call.section)
    sys = _quotas(call)
    if "x-account-access-control" in call.headers:
        if not call.is_owner:
            raise Refusal(403)
        try:
            text = limit_rules.decoded(call.headers["x-account-access-control"])
        except UnicodeError:
            raise Refusal(400, "Metadata must be valid UTF-8") from None
        sys["access-control"] = acl_rules.clean_account(text)
    now = call.ctx.now()

    def plan() -> tuple[Sequence[AnyOp], bool]:
        row = call.ctx.db.get(ObjectAccount, call.project_id)
        if row is None:
            made = ObjectAccount(
                id=call.project_id,
                meta=limit_rules.merged({}, meta, call.section),
                sys={name: value for name, value in sys.items() if value},
                created_at=now,
                updated_at=now,
            )
            return [insert(made)], True
        changed = msgspec.structs.replace(
            row,
            meta=limit_rules.merged(row.meta, meta, call.section),
            sys={name: value for name, value in {**row.sys, **sys}.items() if value},
            updated_at=now,
        )
        return [check(row), put_row(changed)], False

    return call.ctx.transact(plan)


def _quotas(call: Call) -> dict[str, str]:
    """Return the quotas that are set.

    Raises:
        Refusal: 403, the caller is no administrator; 400, they are no numbers.
    """
    names = {name: name for name in _QUOTAS}
    for policy in call.ctx.db.rows(StoragePolicy):
        names |= {f"{name}-policy-{policy.name.lower()}": name for name in _QUOTAS}
    found: dict[str, str] = {}
    for name in names:
        for front in ("x-account-meta-", "x-account-"):
            if (value := call.headers.get(f"{front}{name}")) is not None:
                found[name] = value
            if f"x-remove-{front[2:]}{name}" in call.headers:
                found[name] = ""
    if found and not call.access.is_reseller:
        raise Refusal(403)
    if any(value and not (value.isascii() and value.isdigit()) for value in found.values()):
        raise Refusal(400)
    return found


def delete(call: Call) -> Reply:
    """Delete many objects of an account; or, as an administrator, the account with all that is in it."""
    if "bulk-delete" in call.ctx.params:
        return bulk_delete_api.post(call)
    if not call.access.is_reseller:
        raise call.access.refusal()
    if call.ctx.params:
        raise Refusal(400)
    _require(call)
    purge.account(call)
    return done()
