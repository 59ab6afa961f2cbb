"""Who may do what: Keystone roles, access lists, referrers and signatures.

Hard part: one request may touch several accounts (copies, manifests, symlinks), so each step asks again, for the
account and container that it touches, with nothing but what the caller brought.

Source: https://docs.openstack.org/swift/latest/overview_auth.html#keystone-auth
"""

from functools import cached_property
from typing import Literal

from node.plugins.object.swift import acl_rules
from node.plugins.object.swift.faults import Refusal
from node.plugins.object.swift.section import SwiftSection
from node.plugins.object.tables import Container, ObjectAccount
from node.sdk import Context, Frozen

_READS = frozenset({"GET", "HEAD"})
Scope = Literal["account", "container", "object"]


class Grant(Frozen):
    """What a signature opens: everything of an account, or of one of its containers."""

    project_id: str
    container: str = ""


class Access:
    """The rights of one request."""

    def __init__(self, ctx: Context) -> None:
        section = ctx.config.section(SwiftSection)
        self._ctx = ctx
        self._token = ctx.token_or_none
        self._operators = _words(section.operator_roles)
        self._readers = _words(section.reader_roles)
        self._reseller = section.reseller_admin_role.lower()
        self.grants: tuple[Grant, ...] | None = None
        """Of a signature, which stands in place of the caller's own rights; None: there is no signature."""

    @cached_property
    def roles(self) -> frozenset[str]:
        """Return the caller's roles, in lower case."""
        return frozenset(role.lower() for role in self._token.roles) if self._token else frozenset()

    @property
    def anonymous(self) -> bool:
        """Return whether the caller has neither a token nor a signature."""
        return self._token is None and self.grants is None

    @property
    def is_reseller(self) -> bool:
        """Return whether the caller owns every account."""
        return self.grants is None and self._reseller in self.roles

    def owns(self, project_id: str) -> bool:
        """Return whether the caller owns an account."""
        if self.grants is not None or self._token is None:
            return False
        if self.is_reseller:
            return True
        if self._token.project_id == project_id and self.roles & self._operators:
            return True
        return self._account_level(project_id) == "admin"

    def allows(
        self, method: str, project_id: str, container: Container | None, scope: Scope
    ) -> bool:
        """Return whether the caller may do something with an account, or a container, or an object in it."""
        is_object = scope == "object"
        reads = method in _READS
        if self.grants is not None:
            name = container.name if container else ""
            return any(
                grant.project_id == project_id and grant.container in ("", name)
                for grant in self.grants
            )
        if self.owns(project_id):
            return True
        acl = self._acl(method, container, is_object=is_object)
        if self._token is not None:
            if acl.groups and container and self._named_in(acl, container):
                return True
            if self._token.project_id == project_id and (
                (reads and self.roles & self._readers)
                or self.roles & {group.lower() for group in acl.groups}
            ):
                return True
            level = self._account_level(project_id)
            if (level == "read-write" and (scope != "account" or reads)) or (
                level == "read-only" and reads
            ):
                return True
        if acl.welcomes(self._ctx.headers.get("referer", "")):
            return is_object or acl_rules.LISTINGS in acl.groups
        return False

    def require(
        self, method: str, project_id: str, container: Container | None, scope: Scope
    ) -> None:
        """Refuse what the caller may not do.

        Raises:
            Refusal: 401 to a stranger, 403 to somebody.
        """
        if not self.allows(method, project_id, container, scope):
            raise self.refusal()

    def refusal(self) -> Refusal:
        """Return the error for what is not allowed."""
        return Refusal(401 if self._token is None else 403)

    def _acl(self, method: str, container: Container | None, *, is_object: bool) -> acl_rules.Acl:
        if container is None:
            return acl_rules.Acl()
        if method in _READS:
            return acl_rules.parse(container.sys.get("read", ""))
        return acl_rules.parse(container.sys.get("write", "") if is_object else "")

    def _named_in(self, acl: acl_rules.Acl, container: Container) -> bool:
        token = self._ctx.token
        projects, users = [token.project_id or "*", "*"], [token.user_id, "*"]
        # Names are unique only within a domain: outside of the default one, ids alone count.
        domains = {token.user_domain_id, token.project_domain_id or "default"}
        if domains == {"default"} and container.sys.get("domain", "default") == "default":
            projects.append(token.project_name or "*")
            users.append(token.user_name)
        return any(f"{project}:{user}" in acl.groups for project in projects for user in users)

    def _account_level(self, project_id: str) -> str:
        if self._token is None:
            return ""
        account = self._ctx.db.get(ObjectAccount, project_id)
        text = account.sys.get("access-control", "") if account else ""
        if not text:
            return ""
        token = self._token
        names = [token.user_id, f"{token.project_id}:{token.user_id}", f"{token.project_id}:*", "*"]
        if token.user_domain_id == "default":
            names += [token.user_name, f"{token.project_name}:{token.user_name}"]
            names.append(f"{token.project_name}:*")
        return acl_rules.account_level(text, names)


def _words(text: str) -> frozenset[str]:
    return frozenset(word.strip().lower() for word in text.split(",") if word.strip())
