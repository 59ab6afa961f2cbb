"""Rules about passwords that an operator may switch on: locking out, expiry, no reuse.

Source: https://docs.openstack.org/keystone/latest/admin/configuration.html#security-compliance-and-pci-dss
"""

import contextlib
from collections.abc import Sequence

from node.plugins.identity.directory import directory
from node.plugins.identity.faults import unauthenticated
from node.plugins.identity.password_rules import Passwords
from node.plugins.identity.section import IdentitySection
from node.plugins.identity.tables import LoginFailures, User
from node.sdk import AnyOp, BadRequest, Check, Conflict, Context, Unauthorized, check, delete, put

_SECOND_US = 1_000_000
_DAY_US = 86_400 * _SECOND_US


def prove(passwords: Passwords, ctx: Context, user: User | None, password: str) -> User:
    """Return the user if the password is right and the user may log in; takes as long for an unknown one.

    Raises:
        Unauthorized: 401, in every other case.
    """
    if user is not None:
        _refuse_locked(ctx, user)
    fits = passwords.check(user.password_hash if user else "", password)
    if user is not None and not fits:
        _note_failure(ctx, user)
    if user is None or not fits or directory(ctx.db).active_user(user.id) is None:
        raise unauthenticated()
    _note_success(ctx, user)
    return user


def _refuse_locked(ctx: Context, user: User) -> None:
    """Refuse a user after too many wrong passwords in a row, for some time.

    Raises:
        Unauthorized: 401.
    """
    section = ctx.config.section(IdentitySection)
    row = ctx.db.get(LoginFailures, user.id) if _counts(section, user) else None
    if row is None or row.failures < section.lockout_failures:
        return
    if ctx.now() < row.updated_at + section.lockout_s * _SECOND_US:
        raise Unauthorized(f"The account is locked for user: {user.id}.")


def _counts(section: IdentitySection, user: User) -> bool:
    return section.lockout_failures > 0 and not user.options.get("ignore_lockout_failure_attempts")


def _note_failure(ctx: Context, user: User) -> None:
    """Count a wrong password; the count begins anew once a lock has ended."""
    section = ctx.config.section(IdentitySection)
    if not _counts(section, user):
        return

    def plan() -> tuple[Sequence[AnyOp], None]:
        row = ctx.db.get(LoginFailures, user.id)
        stale = row is not None and row.failures >= section.lockout_failures
        failures = 1 if row is None or stale else row.failures + 1
        unchanged = check(row) if row else Check(LoginFailures.__table__.name, user.id, 0)
        counted = LoginFailures(id=user.id, failures=failures, updated_at=ctx.now())
        return [unchanged, put(counted)], None

    with contextlib.suppress(Conflict):  # so many at once that the lock is near anyway
        ctx.transact(plan)


def _note_success(ctx: Context, user: User) -> None:
    """Forget wrong passwords."""
    if _counts(ctx.config.section(IdentitySection), user) and ctx.db.get(LoginFailures, user.id):
        ctx.commit([delete(LoginFailures, user.id)], frees=True)


def expiry(ctx: Context, options: dict[str, object]) -> int:
    """Return the end of a password that is set now; 0: none."""
    days = ctx.config.section(IdentitySection).password_expires_days
    return ctx.now() + days * _DAY_US if days and not options.get("ignore_password_expiry") else 0


def history(ctx: Context, user: User) -> tuple[str, ...]:
    """Return the earlier hashes to keep once the present password is replaced."""
    kept = max(ctx.config.section(IdentitySection).unique_last_passwords - 1, 0)
    return (user.password_hash, *user.password_history)[:kept] if user.password_hash else ()


def refuse_reuse(passwords: Passwords, ctx: Context, user: User, password: str) -> None:
    """Refuse a password that is one of the last ones.

    Raises:
        BadRequest: 400.
    """
    count = ctx.config.section(IdentitySection).unique_last_passwords
    for held in (user.password_hash, *user.password_history)[:count]:
        if passwords.check(held, password):
            raise BadRequest(
                "Password validation error: The new password cannot be identical to a previous password. The "
                f"total number which includes the new password must be unique is {count}."
            )
