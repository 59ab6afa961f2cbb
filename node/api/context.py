"""What a handler sees of its request, and the only way for it to change anything."""

import io
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import pluggy

from node.api import inner
from node.api.inner import InnerAnswer
from node.clock import Clock
from node.config import Config
from node.data_port import DataPort
from node.errors import BadRequest, Conflict, NodeError, NotFound, OverQuota, Unavailable
from node.ids import Ids
from node.state.reader import Reader
from node.state.row import Row
from node.state.txn import AnyOp, Applied, Outcome, Refused, Txn
from node.types import Frozen, Micros

P = TypeVar("P")

log = logging.getLogger("hedgerow.api")

_ATTEMPTS = 8


class Token(Frozen):
    """Who asks, with which rights: the outcome of a token's verification."""

    user_id: str
    user_name: str
    user_domain_id: str
    user_domain_name: str
    roles: tuple[str, ...] = ()
    """Role names, implied ones included."""
    project_id: str = ""
    project_name: str = ""
    project_domain_id: str = ""
    project_domain_name: str = ""
    domain_id: str = ""
    domain_name: str = ""
    system: bool = False
    """System scope (all)."""
    expires_at: int = 0
    issued_at: int = 0
    methods: tuple[str, ...] = ()
    audit_ids: tuple[str, ...] = ()
    application_credential_id: str = ""
    access_rules: tuple[Mapping[str, str], ...] | None = None
    """Of an application credential: (service, method, path) triples that it is limited to; None: no limit."""

    @property
    def is_admin(self) -> bool:
        """Return whether the admin role is held in the token's scope."""
        return "admin" in self.roles


class AccessKey(Frozen):
    """The public half of an EC2 key: what `token_verify` is asked in place of a token by who checks signatures.

    No header can be one, so nobody passes by showing it.
    """

    access: str


class KeyToken(Token):
    """Who an access key stands for, and what its requests are signed with."""

    secret: str = ""


class Proposer(Protocol):
    """Way to the replicated log."""

    def propose(self, txn: Txn, timeout_s: float = 10.0) -> Outcome:
        """Return the outcome once this node has applied the transaction.

        Raises:
            Unavailable: 503, no quorum or no answer in time; it may yet happen.
            DiskFull: 507.
            TooLarge: 413.
        """


class Enforcer(Protocol):
    """Evaluates policy rules."""

    def allows(self, rule: str, token: Token, target: Mapping[str, Any]) -> bool:
        """Return whether the rule holds for this token and target."""


class Kept:
    """What a service keeps for as long as its API process lives: pools, open files. Thread-safe."""

    def __init__(self) -> None:
        self._things: dict[str, Any] = {}
        self._lock = threading.RLock()

    def get(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what is kept under a name; made by the first who asks, in the process that serves him."""
        found = self._things.get(name)
        if found is None:
            with self._lock:
                found = self._things.get(name)
                if found is None:
                    found = self._things[name] = make()
        return found

    def put(self, name: str, thing: Any) -> None:
        """Keep something under a name, in place of what would be made (in tests)."""
        self._things[name] = thing


Teller = Callable[[str, str], Mapping[str, Any]]
"""(name of a reconciler, key) to what it knows; see `Reconciler.tell`."""


def untold(name: str, key: str) -> Mapping[str, Any]:
    """Refuse: where no core is reached.

    Raises:
        Unavailable: 503.
    """
    raise Unavailable(f"Nobody can be asked about {key} of {name}")


class Context:
    """One request. Handlers read rows through `db` and change them through `transact`."""

    peer = ""
    """The node that asks, on a route that is `peers_only`."""
    tell: Teller = staticmethod(untold)
    """Ask a reconciler of this node what it knows of a key's thing now: `ctx.tell("servers", server_id)`.

    Raises Unavailable (503) where the core does not answer.
    """
    raw_body = b""
    """The JSON body as it was sent, for error messages."""
    token_or_none: Token | None = None
    auth_token = ""
    content_length: int | None = None

    def __init__(  # noqa: PLR0913
        self,
        *,
        db: Reader,
        proposer: Proposer,
        enforcer: Enforcer,
        hooks: pluggy.PluginManager,
        config: Config,
        clock: Clock,
        ids: Ids,
        request_id: str,
        base_url: str,
        plain: bool,
        node_id: str,
        data_port: DataPort,
        kept: Kept,
    ) -> None:
        self.db = db
        self.proposer = proposer
        self.enforcer = enforcer
        self.hook: Any = hooks.hook
        """Call other plugins: `ctx.hook.port_plan(...)`."""
        self.config = config
        self.clock = clock
        self.ids = ids
        self.request_id = request_id
        self.base_url = base_url
        """`https://host:port`, no slash at the end, as the client addressed it."""
        self.plain = plain
        """Whether the request came over plain HTTP."""
        self.node_id = node_id
        """This node."""
        self.data_port = data_port
        """The way to bulk data of other nodes."""
        self.kept = kept
        self.method = "GET"
        self.path = "/"
        """Path below the service, decoded."""
        self.raw_path = "/"
        """Whole path as sent, percent-encoded."""
        self.sent_uri = "/"
        """Path and query as the client addressed it: other than `raw_path` where the service claimed it."""
        self.service_path = ""
        """The service's prefix, for links: base_url + service_path + '/v2.1/…'."""
        self.headers: Mapping[str, str] = {}
        """Request headers, names in lower case."""
        self.params: dict[str, list[str]] = {}
        """Query parameters: every value, in order, also empty ones."""
        self.body: Any = None
        """The decoded, validated body."""
        self.query: Any = None
        """The decoded query Struct, when the route declares one."""
        self.microversion: tuple[int, int] = (0, 0)
        self.stream: Any = io.BytesIO()
        """Raw body. `read(n)` raises ClientGone when it ends before its announced length."""
        self.response_headers: dict[str, str] = {}
        """Headers to add to whatever the handler returns."""
        self.environ: Mapping[str, Any] = {}
        self.app: Any = None

    @property
    def token(self) -> Token:
        """Return the verified token.

        Raises:
            Unauthorized: 401, on a public route called without one.
        """
        if self.token_or_none is None:
            from node.errors import Unauthorized

            raise Unauthorized("The request you have made requires authentication.")
        return self.token_or_none

    @property
    def project_id(self) -> str:
        """Return the project of the token's scope, or an empty string."""
        return self.token.project_id

    def now(self) -> Micros:
        """Return the time for `created_at` and `updated_at`."""
        return Micros(self.clock.now_us())

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        content_type: str = "application/json",
    ) -> InnerAnswer:
        """Ask another service of this cloud with the caller's token; `path` is whole, `/network/v2.0/ports`."""
        base, token = self.base_url, self.auth_token
        return inner.ask(self.app, base, token, method, path, params, json, content_type)

    def param(self, name: str, default: str | None = None) -> str | None:
        """Return the first value of a query parameter."""
        values = self.params.get(name)
        return values[0] if values else default

    def url(self, path: str) -> str:
        """Return the absolute URL of a path below this service."""
        return f"{self.base_url}{self.service_path}{path}"

    def allows(self, rule: str, target: Row | Mapping[str, Any] | None = None) -> bool:
        """Return whether a policy rule holds for the caller on a target."""
        return self.enforcer.allows(rule, self.token, _target(target))

    def require(
        self,
        rule: str,
        target: Row | Mapping[str, Any] | None = None,
        *,
        hidden: NodeError | None = None,
    ) -> None:
        """Refuse unless a policy rule holds.

        Raises:
            Forbidden: 403, or `hidden` where the caller must not learn that the target exists.
        """
        from node.errors import Forbidden

        if not self.allows(rule, target):
            raise hidden or Forbidden(f"Policy doesn't allow {rule} to be performed.")

    def commit(self, ops: Sequence[AnyOp], *, frees: bool = False) -> Applied | Refused:
        """Propose operations once and return what became of them.

        Raises:
            BadRequest: 400, a value is in them that no row can hold, and no rule had refused it before.
        """
        txn = Txn(request_id=self.ids.uuid(), ops=tuple(ops), frees=frees)
        outcome = self.proposer.propose(txn)
        if isinstance(outcome, Refused) and outcome.reason == "malformed":
            log.warning("operation %d on %s is malformed", outcome.op, outcome.table or "no table")
            raise BadRequest("The request holds a value that cannot be stored.")
        return outcome

    def transact(
        self,
        plan: Callable[[], tuple[Sequence[AnyOp], P]],
        *,
        frees: bool = False,
        refused: Callable[[Refused], NodeError | None] | None = None,
    ) -> P:
        """Plan from rows and commit; plan again when another request was faster.

        `plan` reads rows, checks rules (raising errors), and returns (operations, result). `refused` may turn a
        refusal into an error; None from it means: plan again. An empty list of operations is a success.

        Raises:
            OverQuota: a counter is at its limit.
            Conflict: 409, still refused after several attempts.
        """
        last = Refused(op=-1, reason="rev")
        for _attempt in range(_ATTEMPTS):
            ops, result = plan()
            if not ops:
                return result
            outcome = self.commit(ops, frees=frees)
            if isinstance(outcome, Applied):
                return result
            last = outcome
            error = refused(outcome) if refused else None
            if error is not None:
                raise error
            if outcome.reason == "limit":
                raise OverQuota(
                    f"Quota exceeded for {outcome.id}",
                    counter=outcome.id,
                    used=outcome.value,
                    limit=outcome.limit,
                )
            if outcome.reason == "incompatible":
                raise Unavailable(f"The row store refused the request: {outcome.table}")
        raise Conflict(f"{last.table} {last.id} is being changed by other requests: try again")

    def find(self, row_type: type[Row], id: str, message: str) -> Any:
        """Return a row.

        Raises:
            NotFound: 404 with the message.
        """
        row = self.db.get(row_type, id)
        if row is None:
            raise NotFound(message)
        return row


def _target(target: Row | Mapping[str, Any] | None) -> Mapping[str, Any]:
    if target is None:
        return {}
    if isinstance(target, Row):
        return {name: getattr(target, name) for name in target.__struct_fields__}
    return target
