"""A whole cloud in one process: the real store, the real app, the real plugins; no sockets, no log."""

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from node.api.app import build
from node.api.context import AccessKey, KeyToken, Token
from node.api.dispatch import Backend
from node.api.policy import collect
from node.config import Config, NodeSection, load
from node.control.reconciler import Control, Reconciler
from node.hookspecs import hookimpl
from node.ids import Ids, RandomIds
from node.pluginhost import PluginHost
from node.state.machine import Changes, Machine
from node.state.reader import Reader, Readers
from node.state.row import Row
from node.state.txn import (
    AnyOp,
    Applied,
    Define,
    Outcome,
    Txn,
    decode_outcome,
    encode_entry,
    encode_txn,
)
from node.testing.asker import Answer, Asker
from node.testing.clock import FakeClock
from node.types import NodeId

__all__ = ["Answer", "Cloud", "DirectProposer", "TestControl"]

_MAX_ROUNDS = 200


class DirectProposer:
    """Applies each transaction at once, as a log of one node without a log would."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._lock = threading.Lock()

    def propose(self, txn: Txn, timeout_s: float = 10.0) -> Outcome:
        """Return the outcome."""
        del timeout_s
        with self._lock:
            index = self._machine.applied_index + 1
            return decode_outcome(self._machine.apply(index, encode_entry([encode_txn(txn)]))[0])


class _Verifier:
    """Stands in for the identity plugin: knows the tokens that the test made."""

    def __init__(self) -> None:
        self.tokens: dict[str | AccessKey, Token] = {}

    @hookimpl
    def token_verify(self, token: str | AccessKey) -> Token | None:
        """Return the test's token."""
        return self.tokens.get(token)


class TestControl(Control):
    """The control of a test: wakes are remembered, commits go straight to the store."""

    __test__ = False

    def __init__(self, cloud: "Cloud", node_id: str, config: Config | None = None) -> None:
        self.node_id = NodeId(node_id)
        self.config = config or cloud.config
        self.clock = cloud.clock
        self.ids = cloud.ids
        self.hook = cloud.host.hook
        self.woken: list[tuple[str, str]] = []
        self.has_lease = True
        self._cloud = cloud

    @property
    def db(self) -> Reader:
        """Return the calling thread's reader."""
        return self._cloud.db

    def wake(self, reconciler: str, key: str) -> None:
        """Remember the wake."""
        self.woken.append((reconciler, key))

    def commit(self, ops: Sequence[AnyOp], *, frees: bool = False) -> bool:
        """Commit at once."""
        return isinstance(self._cloud.commit(*ops, frees=frees), Applied)

    def lease_valid(self) -> bool:
        """Return what the test says."""
        return self.has_lease

    def stopping(self) -> bool:
        """Return False."""
        return False


class Cloud(Asker):
    """Plugins over a store in a directory. See `get`, `token`, `commit`, `reconcile`."""

    def __init__(
        self,
        directory: Path,
        plugins: Iterable[Any] = (),
        *,
        node_id: str = "node-1",
        config_text: str = "",
        ids: Ids | None = None,
    ) -> None:
        self.directory = directory
        self.clock = FakeClock()
        self.ids: Ids = ids or RandomIds()
        self.host = PluginHost()
        for plugin in plugins:
            self.host.add(plugin)
        self._verifier = _Verifier()
        if not self.host.hook.token_verify.get_hookimpls():
            self.host.add(self._verifier)
        self.config = self._configure(config_text)
        self.changes: list[Changes] = []
        self.machine = Machine(directory / "state.db", self.changes.append)
        self.proposer = DirectProposer(self.machine)
        self._readers = Readers(directory / "state.db")
        self._define()
        self._seed()
        self.services = [
            service for _name, services in self.host.gather("services") for service in services
        ]
        self.backend = Backend(
            readers=self._readers,
            proposer=self.proposer,
            policies=collect([{**s.rules, **s.policies} for s in self.services], ""),
            hooks=self.host.manager,
            config=self.config,
            clock=self.clock,
            ids=self.ids,
            node_id=node_id,
        )
        self.app = build(self.backend, self.services)
        super().__init__(self.app)
        self.control = TestControl(self, node_id)

    def _configure(self, text: str) -> Config:
        path = self.directory / "hedgerow.ini"
        path.write_text(text or f"[node]\nname = testnode\nstate_dir = {self.directory}\n")
        config = load(path, self.host.sections())
        assert config.section(NodeSection).state_dir, "a test cloud needs a state directory"
        return config

    def _define(self) -> None:
        from node.control.placement import NodeRow

        types: list[type[Row]] = [NodeRow]
        for _name, row_types in self.host.gather("row_types"):
            types.extend(row_types)
        for row_type in types:
            self.commit(Define(row_type.__table__))

    def _seed(self) -> None:
        for _name, ops in self.host.gather(
            "seed_rows", db=self.db, now_us=self.clock.now_us(), config=self.config
        ):
            for op in ops:
                self.commit(op)

    @property
    def db(self) -> Reader:
        """Return the calling thread's reader."""
        return self._readers.reader()

    def commit(self, *ops: AnyOp, frees: bool = False) -> Outcome:
        """Apply operations as one transaction."""
        return self.proposer.propose(Txn(request_id=self.ids.uuid(), ops=ops, frees=frees))

    def token(
        self,
        *,
        roles: Sequence[str] = ("member", "reader"),
        project_id: str = "project-1",
        user_id: str = "user-1",
        **fields: Any,
    ) -> str:
        """Return a token with these rights; implied roles are added."""
        held = list(roles)
        for role, implied in (("admin", "manager"), ("manager", "member"), ("member", "reader")):
            if role in held and implied not in held:
                held.append(implied)
        text = self.ids.hex()
        self._verifier.tokens[text] = Token(
            user_id=user_id,
            user_name=fields.pop("user_name", user_id),
            user_domain_id="default",
            user_domain_name="Default",
            project_id=project_id,
            project_name=fields.pop("project_name", project_id),
            project_domain_id="default",
            project_domain_name="Default",
            roles=tuple(held),
            **fields,
        )
        return text

    def access_key(self, access: str, secret: str, **rights: Any) -> None:
        """Make an EC2 key of somebody with these rights, which are those that `token` takes."""
        token = self._verifier.tokens[self.token(**rights)]
        fields = {name: getattr(token, name) for name in token.__struct_fields__}
        self._verifier.tokens[AccessKey(access=access)] = KeyToken(**fields, secret=secret)

    def reconcile(self, reconciler: Reconciler) -> int:
        """Run a reconciler over all its keys until nothing changes any more; return the number of rounds.

        Raises:
            AssertionError: it never becomes quiet.
        """
        for rounds in range(_MAX_ROUNDS):
            changed = False
            for key in list(reconciler.keys()):
                done = reconciler.reconcile(key)
                if done.ops:
                    changed |= isinstance(self.commit(*done.ops, frees=done.frees), Applied)
            if not changed:
                return rounds
        raise AssertionError(f"{reconciler.name} is not quiet after {_MAX_ROUNDS} rounds")
