"""Deleting an account with all that is in it.

Hard part: it may take longer than a request. The account is marked first, so that nothing more of it is shown; whoever
asks again goes on where the last one stopped.
"""

import msgspec

from node.plugins.object import container_rules
from node.plugins.object.store.contract import Entry, Query
from node.plugins.object.swift import removal_rules
from node.plugins.object.swift.call import Call
from node.plugins.object.tables import Container, ObjectAccount
from node.sdk import AnyOp, check, delete, insert, put


def account(call: Call) -> None:
    """Delete an account."""
    now = call.ctx.now()

    def mark() -> tuple[list[AnyOp], None]:
        row = call.ctx.db.get(ObjectAccount, call.project_id)
        if row is None:
            made = ObjectAccount(id=call.project_id, deleted=True, created_at=now, updated_at=now)
            return [insert(made)], None
        return [check(row), put(msgspec.structs.replace(row, deleted=True, updated_at=now))], None

    call.ctx.transact(mark, frees=True)
    for container in call.ctx.db.rows(Container, account=call.project_id):
        empty(call, container)
        container_rules.remove(call.ctx, container)
    call.ctx.transact(lambda: ([delete(ObjectAccount, call.project_id)], None), frees=True)


def empty(call: Call, container: Container) -> None:
    """Delete every version of every object of a container."""
    while True:
        listing = call.store.list(container.id, Query(versions=True))
        entries = [item for item in listing.items if isinstance(item, Entry)]
        for entry in entries:
            removal_rules.hold_lock(call, entry)
            call.store.delete(container.id, entry.name, entry.version_id)
        if not listing.truncated or not entries:
            return
