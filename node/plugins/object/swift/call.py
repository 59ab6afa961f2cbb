"""One request to Swift: what its path names, what its caller may do, and the rows that it is about.

Source: https://docs.openstack.org/api-ref/object-store/
"""

from functools import cached_property
from urllib.parse import unquote_to_bytes

from node.plugins.object import container_rules
from node.plugins.object.store.contract import Store
from node.plugins.object.store.open import store_of
from node.plugins.object.swift import limit_rules
from node.plugins.object.swift.access import Access, Scope
from node.plugins.object.swift.faults import Refusal
from node.plugins.object.swift.section import SwiftSection
from node.plugins.object.tables import Container, ObjectAccount
from node.sdk import Context

PREFIX = "AUTH_"
"""What an account's name has in front of its project's id."""


class Call:
    """A request. `account` is `AUTH_…` as it was sent; `project_id` is empty for an account that nobody can have."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.method = ctx.method
        self.headers = ctx.headers
        self.section = ctx.config.section(SwiftSection)
        self.account, self.container_name, self.object_name = self._path()
        self.project_id = project_of(self.account)
        self.access = Access(ctx)
        self.download_headers: dict[str, str] = {}
        """Of a temporary URL: what is said of the file."""
        self.hides_meta = False
        """Whether metadata that is not public must not be shown (temporary URLs)."""

    def _path(self) -> tuple[str, str, str]:
        """Take the path apart, exactly as it was sent.

        Raises:
            Refusal: 412, it is no UTF-8 or holds a NUL.
        """
        sent = self.ctx.raw_path.partition("?")[0]
        try:
            path = unquote_to_bytes(sent).decode()
        except UnicodeError:
            raise Refusal(412, "Invalid UTF8 or contains NULL") from None
        if "\0" in path:
            raise Refusal(412, "Invalid UTF8 or contains NULL")
        parts = path.removeprefix(self.ctx.service_path).lstrip("/").split("/", 3)
        parts += [""] * (4 - len(parts))
        return parts[1], parts[2], parts[3]

    @property
    def scope(self) -> Scope:
        """Return what the path names."""
        if self.object_name:
            return "object"
        return "container" if self.container_name else "account"

    @property
    def store(self) -> Store:
        """Return the object store."""
        return store_of(self.ctx)

    @property
    def is_owner(self) -> bool:
        """Return whether the caller owns the account that is named."""
        return self.access.owns(self.project_id)

    @cached_property
    def account_row(self) -> ObjectAccount | None:
        """Return what is kept of the account."""
        return self.ctx.db.get(ObjectAccount, self.project_id) if self.project_id else None

    @cached_property
    def container_row(self) -> Container | None:
        """Return the container that the path names."""
        return self.find(self.project_id, self.container_name)

    @property
    def container(self) -> Container:
        """Return the container that the path names.

        Raises:
            Refusal: 404, there is none.
        """
        if self.container_row is None:
            raise Refusal(404)
        return self.container_row

    def find(self, project_id: str, name: str) -> Container | None:
        """Return any container."""
        if not project_id or not name:
            return None
        return container_rules.find(self.ctx.db, project_id, name)

    def require(self, method: str | None = None) -> None:
        """Refuse unless the caller may do this with what the path names.

        Raises:
            Refusal: 401 or 403; 410 when the account was deleted.
        """
        row = self.container_row if self.container_name else None
        self.access.require(method or self.method, self.project_id, row, self.scope)
        if self.account_row is not None and self.account_row.deleted:
            raise Refusal(410)

    def param(self, name: str) -> str | None:
        """Return a parameter of the query."""
        return self.ctx.param(name)

    def flag(self, header: str) -> bool:
        """Return whether a header says yes."""
        return truth(self.headers.get(header, ""))

    def hold_names(self) -> None:
        """Refuse names that are too long.

        Raises:
            Refusal: 400.
        """
        if self.container_name:
            limit_rules.hold_container_name(self.container_name)
        if self.object_name:
            limit_rules.hold_object_name(self.object_name)


def project_of(account: str) -> str:
    """Return the project whose account this is, or an empty string."""
    return account.removeprefix(PREFIX) if account.startswith(PREFIX) else ""


def truth(text: str) -> bool:
    """Return whether a text means yes."""
    return text.strip().lower() in ("true", "1", "yes", "on", "t", "y")
