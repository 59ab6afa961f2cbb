"""A cloud with the identity service alone, and short ways to log in and ask it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.plugins import identity
from node.testing.cloud import Answer, Cloud

V3 = "/identity/v3"


class Caller:
    """Somebody with a token."""

    def __init__(self, cloud: Cloud, token: str) -> None:
        self.cloud = cloud
        self.token = token

    def get(self, path: str) -> Any:
        """Return the body of a GET that succeeds."""
        return self.ask("GET", path, expect=200).json

    def make(self, path: str, name: str, /, **attributes: Any) -> dict[str, Any]:
        """Create something and return it."""
        made: dict[str, Any] = self.ask("POST", path, {name: attributes}, expect=201).json[name]
        return made

    def change(self, path: str, name: str, /, **attributes: Any) -> dict[str, Any]:
        """Update something and return it."""
        made: dict[str, Any] = self.ask("PATCH", path, {name: attributes}, expect=200).json[name]
        return made

    def ask(
        self, method: str, path: str, body: Any = None, *, expect: int, **headers: str
    ) -> Answer:
        """Send a request that must have this status."""
        answer = self.cloud.request(
            method,
            V3 + path,
            json=body,
            token=self.token,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )
        assert answer.status == expect, (method, path, answer.status, answer.body)
        return answer


class World:
    """The cloud and its people."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.password = (cloud.directory / "secrets" / "admin-password").read_text().strip()
        self.admin = self.login("admin", self.password, project="admin")
        self.roles = {role["name"]: role["id"] for role in self.admin.get("/roles")["roles"]}

    def auth(self, identity: dict[str, Any], scope: Any = None, query: str = "") -> Answer:
        """Ask for a token."""
        body: dict[str, Any] = {"auth": {"identity": identity}}
        if scope is not None:
            body["auth"]["scope"] = scope
        return self.cloud.post(f"{V3}/auth/tokens{query}", json=body)

    def by_password(
        self, name: str, password: str, scope: Any = None, domain: str = "default"
    ) -> Answer:
        """Log in by password."""
        user = {"name": name, "domain": {"id": domain}, "password": password}
        return self.auth({"methods": ["password"], "password": {"user": user}}, scope)

    def by_token(self, token: str, scope: Any = None) -> Answer:
        """Log in by a token."""
        return self.auth({"methods": ["token"], "token": {"id": token}}, scope)

    def login(self, name: str, password: str, *, project: str = "", scope: Any = None) -> Caller:
        """Log in and return the caller."""
        if project:
            scope = {"project": {"name": project, "domain": {"id": "default"}}}
        answer = self.by_password(name, password, scope)
        assert answer.status == 201, answer.body
        return Caller(self.cloud, answer.headers["x-subject-token"])

    def member(self, name: str, *, role: str = "member") -> Caller:
        """Make a user with a project and a role on it, and log in."""
        project = self.admin.make("/projects", "project", name=f"{name}-project")
        user = self.admin.make("/users", "user", name=name, password="secret-1")
        self.grant(f"/projects/{project['id']}/users/{user['id']}", role)
        caller = self.login(name, "secret-1", project=f"{name}-project")
        caller.user_id, caller.project_id = user["id"], project["id"]  # type: ignore[attr-defined]
        return caller

    def grant(self, place: str, role: str) -> None:
        """Grant a role by name."""
        self.admin.ask("PUT", f"{place}/roles/{self.roles[role]}", expect=204)

    def alive(self, token: str) -> bool:
        """Say whether a token is accepted."""
        return self.cloud.get(f"{V3}/auth/projects", token=token).status == 200


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    cloud = Cloud(tmp_path, [identity])
    yield World(cloud)
    cloud.machine.close()


@pytest.fixture
def admin(world: World) -> Caller:
    return world.admin
