"""What a process remembers of the identity rows: users, projects, roles and what they add up to.

Hard part: a token is checked on each request of each service, and must die at once. So everything that a check
needs is kept here, and none of it is used again as soon as any identity row changed: `data_version` says cheaply
whether anything was committed at all, `generation` whether it concerns these tables.

All threads share one directory. It is never emptied when rows change but left to those who look at it, and another
one takes its place: what a slow thread still adds to the old one, no one finds in the new one.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from node.plugins.identity import role_rules
from node.plugins.identity.tables import (
    REMEMBERED,
    SYSTEM,
    ApplicationCredential,
    Assignment,
    FernetKey,
    Group,
    Implication,
    Membership,
    Project,
    Role,
    Trust,
    User,
)
from node.plugins.identity.token_codec import TokenCodec
from node.sdk import Frozen, Reader, Row

R = TypeVar("R", bound=Row)
V = TypeVar("V")

_MEMO = "identity"
_MAX_REMEMBERED = 1000
_UNKNOWN: Any = object()


class Grant(Frozen):
    """A user in a scope: everything about a token that is not in the token itself."""

    user: User
    user_domain: Project
    project: Project | None = None
    project_domain: Project | None = None
    domain: Project | None = None
    system: bool = False
    roles: tuple[Role, ...] = ()
    valid_from: int = 0
    """Tokens issued before are dead."""
    expires_at: int = 0
    """End of the credential or trust behind it; 0: none."""
    application_credential: ApplicationCredential | None = None
    trust: Trust | None = None


class Directory:
    """Rows and grants as they were in one generation of the identity rows. Any thread may use it."""

    def __init__(self, db: Reader, generation: int = -1) -> None:
        self.db = db
        self.generation = generation
        self.version = -1
        """The last data version that was seen to be of this generation."""
        self._rows: dict[tuple[type[Row], str], Row | None] = {}
        self._grants: dict[tuple[str, ...], Grant | None] = {}
        self._roles: dict[str, Role] | None = None
        self._implied: dict[str, list[str]] | None = None
        self._codec: TokenCodec | None = None
        self.notes: dict[Any, Any] = {}
        """What others remember, for as long as no row changes."""

    def note(self, key: Any, make: Callable[[], V]) -> V:
        """Return what was remembered under a key, making it first when it is not there."""
        found = self.notes.get(key)
        if found is None:
            if len(self.notes) >= _MAX_REMEMBERED:
                self.notes.clear()
            found = self.notes[key] = make()
        result: V = found
        return result

    def get(self, row_type: type[R], ident: str) -> R | None:
        """Return a row."""
        key = (row_type, ident)
        row: Any = self._rows.get(key, _UNKNOWN)
        if row is _UNKNOWN:
            row = self.db.get(row_type, ident)
            if len(self._rows) >= _MAX_REMEMBERED:
                self._rows.clear()
            self._rows[key] = row
        found: R | None = row
        return found

    @property
    def codec(self) -> TokenCodec:
        """Return what seals and opens tokens. The highest key number seals."""
        if self._codec is None:
            keys = self.db.rows(FernetKey, order_by=(("number", "desc"),))
            self._codec = TokenCodec([row.key for row in keys])
        return self._codec

    @property
    def roles(self) -> dict[str, Role]:
        """Return all roles by id."""
        if self._roles is None:
            self._roles = {role.id: role for role in self.db.rows(Role)}
        return self._roles

    @property
    def implied(self) -> dict[str, list[str]]:
        """Return the implied roles of each prior role."""
        if self._implied is None:
            implied: dict[str, list[str]] = {}
            for rule in self.db.rows(Implication):
                implied.setdefault(rule.prior_role_id, []).append(rule.implied_role_id)
            self._implied = implied  # whole: other threads use it at once
        return self._implied

    def named(self, row_type: type[R], name: str, domain_id: str = "") -> R | None:
        """Return the row of that name in a domain; a domain is in none."""
        key = (row_type, domain_id, name)
        found: R | None = self.notes.get(key)
        if found is None:
            found = self.db.one(row_type, domain_id=domain_id, name=name)
            if found is not None:
                made = found
                self.note(key, lambda: made)
        return found

    def actor(self, kind: str, ident: str) -> User | Group | None:
        """Return a user or group."""
        return self.get(User, ident) if kind == "user" else self.get(Group, ident)

    def above(self, project: Project) -> list[str]:
        """Return the ids of a project's ancestors, nearest first; the domain is the last."""
        chain: list[str] = []
        parent: Project | None = project
        while parent is not None and parent.parent_id and parent.parent_id not in chain:
            chain.append(parent.parent_id)
            parent = self.get(Project, parent.parent_id)
        if project.domain_id and project.domain_id not in chain:
            chain.append(project.domain_id)
        return chain

    def assignments_of(self, user_id: str) -> list[Assignment]:
        """Return what a user and the user's groups were assigned."""
        groups = [row.group_id for row in self.db.rows(Membership, user_id=user_id, order_by=())]
        return self.db.rows(Assignment, actor_id=[user_id, *groups], order_by=())

    def role_ids(self, user_id: str, kind: str, target_id: str) -> set[str]:
        """Return the effective roles of a user on a target, implied ones and domain's own included."""
        above: Sequence[str] = ()
        if kind == "project":
            project = self.get(Project, target_id)
            above = self.above(project) if project else ()
        direct = role_rules.direct_roles(self.assignments_of(user_id), kind, target_id, above)
        return role_rules.expand(direct, self.implied)

    def token_roles(self, role_ids: set[str]) -> tuple[Role, ...]:
        """Return the roles that a token shows: a domain's own ones only stand for others."""
        found = [self.roles[ident] for ident in role_ids if ident in self.roles]
        return tuple(sorted((r for r in found if not r.domain_id), key=lambda role: role.name))

    def grant(
        self, user_id: str, scope: str, scope_id: str, credential_id: str = "", trust_id: str = ""
    ) -> Grant | None:
        """Return a user's rights in a scope; None where there are none, or something is disabled."""
        key = (user_id, scope, scope_id, credential_id, trust_id)
        found: Any = self._grants.get(key, _UNKNOWN)
        if found is _UNKNOWN:
            found = self._compute(user_id, scope, scope_id, credential_id, trust_id)
            if len(self._grants) >= _MAX_REMEMBERED:
                self._grants.clear()
            self._grants[key] = found
        grant: Grant | None = found
        return grant

    def _compute(
        self, user_id: str, scope: str, scope_id: str, credential_id: str, trust_id: str
    ) -> Grant | None:
        user = self.active_user(user_id)
        if user is None:
            return None
        user_domain = self.get(Project, user.domain_id)
        assert user_domain is not None
        parts: dict[str, Any] = {"user": user, "user_domain": user_domain}
        since = [user.tokens_valid_from, user_domain.tokens_valid_from]
        if scope:
            place = self._place(scope, scope_id)
            if place is None:
                return None
            parts.update(place)
            since += [row.tokens_valid_from for row in place.values() if isinstance(row, Project)]
            wanted = self._lent(parts, user_id, scope_id, credential_id, trust_id)
            if wanted is None:
                return None
            roles = self.token_roles(wanted)
            if not roles:
                return None
            parts["roles"] = roles
        elif credential_id or trust_id:
            return None
        return Grant(valid_from=max(since), **parts)

    def _place(self, scope: str, scope_id: str) -> dict[str, Any] | None:
        """Return the parts of a grant that name an enabled scope."""
        if scope == "system":
            return {"system": True}
        place = self.get(Project, scope_id)
        if place is None or not place.enabled:
            return None
        if scope == "domain":
            return {"domain": place} if place.is_domain else None
        domain = self.get(Project, place.domain_id or place.id)
        if domain is None or not domain.enabled:
            return None
        return {"project": place, "project_domain": domain}

    def _lent(
        self, parts: dict[str, Any], user_id: str, scope_id: str, credential_id: str, trust_id: str
    ) -> set[str] | None:
        """Return the role ids that count, adding the credential or trust behind them to the parts."""
        if credential_id:
            credential = self.get(ApplicationCredential, credential_id)
            if credential is None or (credential.user_id, credential.project_id) != (
                user_id,
                scope_id,
            ):
                return None
            parts.update(application_credential=credential, expires_at=credential.expires_at)
            lent = role_rules.expand(credential.role_ids, self.implied)
            return lent & self.role_ids(user_id, "project", scope_id)
        if trust_id:
            return self._trusted(parts, user_id, scope_id, trust_id)
        if parts.get("system"):
            return self.role_ids(user_id, "system", SYSTEM)
        return self.role_ids(user_id, "project" if "project" in parts else "domain", scope_id)

    def _trusted(
        self, parts: dict[str, Any], user_id: str, scope_id: str, trust_id: str
    ) -> set[str] | None:
        trust = self.get(Trust, trust_id)
        if trust is None or trust.project_id != scope_id:
            return None
        if user_id != (trust.trustor_user_id if trust.impersonation else trust.trustee_user_id):
            return None
        if not (
            self.active_user(trust.trustor_user_id) and self.active_user(trust.trustee_user_id)
        ):
            return None
        parts.update(trust=trust, expires_at=trust.expires_at)
        lent = role_rules.expand(trust.role_ids, self.implied)
        held = self.role_ids(trust.trustor_user_id, "project", scope_id)
        # a trust holds with all of its roles or not at all
        return lent & held if set(trust.role_ids) <= held else None

    def active_user(self, user_id: str) -> User | None:
        """Return a user that is enabled in an enabled domain."""
        user = self.get(User, user_id)
        if user is None or not user.enabled:
            return None
        domain = self.get(Project, user.domain_id)
        return user if domain is not None and domain.enabled else None


def directory(db: Reader) -> Directory:
    """Return the directory of what the calling thread sees now."""
    version = db.data_version()  # before the generation: so that a later one is never taken for it
    known: Directory | None = db.memo.get(_MEMO)
    if known is not None and known.version == version:
        return known
    generation = db.generation(*REMEMBERED)
    if known is None or known.generation != generation:
        known = Directory(db, generation)
        if db.in_snapshot:  # others may be further
            return known
        db.memo[_MEMO] = known
    known.version = version
    return known
