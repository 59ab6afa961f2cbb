"""Making and deleting containers: one way for Swift and S3.

Hard part: a container is a row and an index. The index is closed first, which says for good that it is empty, and the
row goes after it; whoever dies between the two leaves a row that the next DELETE removes.
"""

from collections.abc import Callable, Mapping, Sequence

from node.plugins.object import hidden_containers
from node.plugins.object.store.open import store_of
from node.plugins.object.tables import Container, StoragePolicy
from node.sdk import (
    AnyOp,
    BadRequest,
    Conflict,
    Context,
    NotFound,
    Reader,
    check,
    delete,
    insert,
    put,
)


def find(db: Reader, account: str, name: str) -> Container | None:
    """Return a container by name."""
    return db.one(Container, account=account, name=name)


def policy_named(db: Reader, name: str) -> StoragePolicy:
    """Return the storage policy with a name or alias, in any case, for a container that is made now.

    Raises:
        BadRequest: 400, there is none, or it is not to be used any more.
    """
    wanted = name.strip().lower()
    for policy in db.rows(StoragePolicy):
        if wanted in (policy.name.lower(), *(alias.lower() for alias in policy.aliases)):
            if policy.deprecated:
                raise BadRequest(f"Storage Policy '{policy.name}' is deprecated")
            return policy
    raise BadRequest(f"Invalid X-Storage-Policy '{name}'")


def default_policy(db: Reader) -> StoragePolicy | None:
    """Return the policy of containers that name none."""
    return db.one(StoragePolicy, is_default=True) or db.one(StoragePolicy)


def make(  # noqa: PLR0913
    ctx: Context,
    account: str,
    name: str,
    *,
    policy: str = "",
    via: str = "swift",
    versioning: str = "",
    meta: Mapping[str, str] | None = None,
    sys: Mapping[str, str] | None = None,
    exists: Callable[[Container], Container | None] = lambda _found: None,
    also: Callable[[Container], Sequence[AnyOp]] = lambda _made: (),
) -> tuple[Container, bool]:
    """Return the container of that name and whether it was made now.

    `exists` says what becomes of one that is there already: the changed row, or None to leave it; it may raise.
    `also` gives more operations for one that is made, and may refuse. `policy`: name of a storage policy, "" for
    the default.

    Raises:
        BadRequest: 400, no such policy.
    """
    now = ctx.now()

    def plan() -> tuple[Sequence[AnyOp], tuple[Container, bool]]:
        found = find(ctx.db, account, name)
        if found is not None:
            changed = exists(found)
            return (
                ([], (found, False))
                if changed is None
                else (
                    [check(found), put(changed)],
                    (changed, False),
                )
            )
        chosen = policy_named(ctx.db, policy) if policy else default_policy(ctx.db)
        made = Container(
            id=ctx.ids.uuid(),
            account=account,
            name=name,
            policy=chosen.name if chosen else "",
            versioning=versioning,
            meta=dict(meta or {}),
            sys=dict(sys or {}),
            owner_id=ctx.token_or_none.user_id if ctx.token_or_none else "",
            via=via,
            created_at=now,
            updated_at=now,
        )
        return [insert(made), *also(made)], (made, True)

    return ctx.transact(plan)


def change(ctx: Context, id: str, edit: Callable[[Container], Container]) -> Container:
    """Replace a container's row by what `edit` makes of it; called again when another request was faster.

    Raises:
        NotFound: 404, it is gone.
    """

    def plan() -> tuple[Sequence[AnyOp], Container]:
        found = ctx.db.get(Container, id)
        if found is None:
            raise NotFound("The container was deleted")
        changed = edit(found)
        return ([], found) if changed == found else ([check(found), put(changed)], changed)

    return ctx.transact(plan)


def remove(
    ctx: Context, container: Container, *, also: Callable[[], Sequence[AnyOp]] = lambda: ()
) -> None:
    """Delete an empty container, with what is kept for it besides objects. `also` gives more operations.

    Raises:
        Conflict: 409, there are objects, or versions of them, in it.
    """
    store = store_of(ctx)
    if not store.close(container.id):
        raise Conflict("There was a conflict when trying to complete your request.")
    hidden_containers.drop_all(store, container.id)
    ctx.transact(lambda: ([*also(), delete(Container, container.id)], None), frees=True)
