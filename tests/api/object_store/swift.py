"""A cloud with a Swift in it, and short ways to ask it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from node.plugins import object as object_plugin
from node.testing import Answer, Cloud
from node.testing.memory_objects import MemoryObjects

OWN, OTHER = "project-1", "project-2"
BASE = "/object-store/v1"


class Swift:
    """A cloud whose objects are in memory. `ask` is a request of the account's owner."""

    def __init__(self, directory: Path, config: str = "") -> None:
        text = f"[node]\nname = testnode\nstate_dir = {directory}\n{config}"
        self.cloud = Cloud(directory, [object_plugin], config_text=text)
        self.objects = MemoryObjects(self.cloud.clock)
        self.cloud.backend.kept.put("object.store", self.objects)
        self.owner = self.cloud.token(roles=("member",))
        self.other = self.cloud.token(roles=("member",), project_id=OTHER, user_id="user-2")
        self.reader = self.cloud.token(roles=("reader",), user_id="user-3")
        self.reseller = self.cloud.token(roles=("ResellerAdmin",), project_id="project-3", user_id="user-4")

    def close(self) -> None:
        self.cloud.machine.close()

    def ask(
        self, method: str, path: str, *, token: str | None = None, body: bytes | None = None,
        headers: Mapping[str, str] | None = None, account: str = OWN, **more: str,
    ) -> Answer:
        """Send a request; `path` is below the account, not encoded, but for what stands behind a `?`.

        Keywords are headers: `x_delete_at="1"`.
        """
        name, mark, query = path.partition("?")
        sent = {**(headers or {}), **{key.replace("_", "-"): value for key, value in more.items()}}
        if not body and method == "PUT":
            sent.setdefault("Content-Length", "0")
        return self.cloud.request(
            method, f"{BASE}/AUTH_{account}{quote(name)}{mark}{query}", body=body,
            token=self.owner if token is None else token, headers=sent,
        )

    def put(self, path: str, body: bytes = b"", **more: Any) -> Answer:
        """Make a container or an object, and expect it to work."""
        answer = self.ask("PUT", path, body=body or None, **more)
        assert answer.status in (201, 202), (answer.status, answer.body)
        return answer

    def get(self, path: str, **more: Any) -> Answer:
        return self.ask("GET", path, **more)

    def head(self, path: str, **more: Any) -> Answer:
        return self.ask("HEAD", path, **more)

    def post(self, path: str, **more: Any) -> Answer:
        return self.ask("POST", path, **more)

    def delete(self, path: str, **more: Any) -> Answer:
        return self.ask("DELETE", path, **more)

    def names(self, path: str, **more: Any) -> list[str]:
        """List a container or an account in JSON: names and folded prefixes."""
        mark = "&" if "?" in path else "?"
        answer = self.get(f"{path}{mark}format=json", **more)
        assert answer.status == 200, answer.body
        return [item.get("name") or item["subdir"] for item in answer.json]

    def share(self, container: str, **acls: str) -> None:
        """Set access lists of a container: read, write."""
        headers = {f"X-Container-{name.title()}": value for name, value in acls.items()}
        assert self.post(f"/{container}", headers=headers).status == 204
