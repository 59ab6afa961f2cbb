"""Rows of compute, and who writes which column.

One writer a column. *Handlers* (API workers) write what is wished; the *node* named in `Server.node_id` writes
what is. A node that cannot build a server hands it to another one itself. A node that finds a domain of a server
that lives elsewhere by now (it was down, and the server was evacuated) ends the domain and sets its files aside.
A server without a node (`node_id == ""`: nothing could take it) belongs to the handlers alone.

How a server is driven, in one paragraph: `want` is the state that the server should be kept in (`active`,
`stopped`, `absent`). Everything that is an event rather than a state (build, start, stop, reboot, rebuild, …)
is a *job*: the handler sets `job_kind`, adds one to `job` and clears `override`; the node acts when
`job_done < job`, and reports by `server_ops.job_done_ops` (`job_done = job`, `have`, `power`, `fault`, the end of
the ServerAction). There is one outstanding job at most, as Nova has one task_state: handlers refuse others meanwhile
(409), except those that supersede it (delete; a hard reboot during a soft one): the node then drops the older job
and does the newest. A job that is interrupted (crash) is found again, `job_done < job`, and done again: jobs must
be idempotent. With `job_done == job` the node does not steer, it observes: a guest that switched itself off is
reported as `have="stopped"` and stays off until the next job. After the host was rebooted the node starts again
what has `want == "active"` and `have == "active"`.

Deletion: the handler sets `want="absent"` (from then on nothing else about the row matters); the node destroys the
domain and its files, then commits `server_ops.release_ops(db, hook, server, now_us)` with frees=True, which deletes the
row, gives back quota and the node's resources, and releases the ports. Servers without a node are released by the
handler at once. A missing row never deletes data.

Console log and files: paths are pure functions in `names.py`.
"""

import msgspec

from node.sdk import Frozen, Resource, Row, Table


class Flavor(Row, kw_only=True):
    """A size of server. `id` is Nova's flavorid. Written by handlers."""

    __table__ = Table(name="flavors", unique=(("name",),))

    name: str
    vcpus: int = 1
    memory_mib: int = 0
    disk_gib: int = 0
    """Root disk; 0: as large as the image."""
    ephemeral_gib: int = 0
    swap_mib: int = 0
    rxtx_factor: float = 1.0
    is_public: bool = True
    description: str | None = None
    extra_specs: dict[str, str] = msgspec.field(default_factory=dict)
    projects: list[str] = msgspec.field(default_factory=list)
    """Projects that may use a flavor that is not public."""


class FlavorFacts(Frozen):
    """What a server keeps of its flavor, as it was when it was made."""

    id: str
    name: str
    vcpus: int
    memory_mib: int
    disk_gib: int
    ephemeral_gib: int = 0
    swap_mib: int = 0
    extra_specs: dict[str, str] = msgspec.field(default_factory=dict)


class Keypair(Row, kw_only=True):
    """A public key of a user. `id` is `{user_id}/{name}`. Written by handlers."""

    __table__ = Table(name="keypairs", indexes=(("user_id",),))

    user_id: str
    name: str
    type: str = "ssh"
    public_key: str = ""
    fingerprint: str = ""


class Server(Resource, kw_only=True):
    """A virtual machine.

    `want` (handlers): active, stopped, absent. `have` (node): "" (not touched yet), building, active, paused,
    suspended, stopped, resized, rescued, shelved_offloaded, error. `fault` (node): one sentence, shown to the user;
    "" when there is none.
    """

    __table__ = Table(
        name="servers",
        indexes=(("project_id",), ("node_id",), ("reservation_id",), ("group_id",), ("image_id",)),
    )
    stays_with_node = True

    # --- written by handlers -------------------------------------------------------------------------------
    user_id: str = ""
    name: str = ""
    hostname: str = ""
    """Sanitised at creation: what the guest is called."""
    description: str | None = None
    image_id: str = ""
    """Empty: boots from a volume."""
    flavor: FlavorFacts | None = None
    """Never None for rows in the store; None only lets the field have a default."""
    old_flavor: FlavorFacts | None = None
    """While a resize waits to be confirmed or reverted: the flavor from before."""
    key_name: str = ""
    """Key text and user data are in the ServerExtra row of the same id: servers are listed by the hundred."""
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    tags: list[str] = msgspec.field(default_factory=list)
    config_drive: bool = False
    disk_config: str = "MANUAL"
    """MANUAL or AUTO, as OS-DCF:diskConfig."""
    access_ipv4: str = ""
    access_ipv6: str = ""
    requested_zone: str = ""
    """availability_zone as it was asked for; empty: any."""
    reservation_id: str = ""
    launch_index: int = 0
    hints: dict[str, list[str]] = msgspec.field(default_factory=dict)
    group_id: str = ""
    port_ids: list[str] = msgspec.field(default_factory=list)
    """Interfaces in their order; facts of them by the hook `port_states`."""
    locked: bool = False
    locked_by: str = ""
    """admin or owner."""
    locked_reason: str | None = None
    job: int = 0
    """Number of the newest job; 1 is the build."""
    job_kind: str = ""
    """build, start, stop, reboot_soft, reboot_hard, rebuild, evacuate, pause, unpause, suspend, resume,
    snapshot, resize, migrate, live_migrate, confirm_resize, revert_resize, rescue, unrescue, shelve,
    unshelve."""
    requested_node: str = ""
    """Node that was asked for by name: the server is built there or nowhere."""
    old_node_id: str = ""
    """While a server moves, or its move waits to be confirmed: the node that has its disks from before."""
    job_data: dict[str, str] = msgspec.field(default_factory=dict)
    """What the newest job needs to know besides the columns: `image_id` of a snapshot, a rescue or a shelved server."""
    override: str = ""
    """active or error: set by os-resetState, hides `have` until the next job."""

    # --- written by the node -------------------------------------------------------------------------------
    job_done: int = 0
    """Number of the last job that ended, well or not."""
    tried: list[str] = msgspec.field(default_factory=list)
    """Nodes that could not build it."""
    job_step: str = ""
    """Finer word of a running build: networking, block_device_mapping, spawning; may stay empty."""
    power: int = 0
    """0 no state, 1 running, 3 paused, 4 shut down, 6 crashed, 7 suspended (Nova's power_state)."""
    launched_at: int = 0
    """First time that it was active."""
    progress: int = 0
    """0-100, of what is going on."""
    fault_code: int = 500
    fault_details: str = ""
    """For administrators only."""
    fault_at: int = 0
    root_device: str = "/dev/vda"


class ServerGone(Server, kw_only=True):
    """What is remembered of a deleted server, for listings with `changes-since` or `deleted` and for usage."""

    __table__ = Table(name="servers_gone", indexes=(("project_id",), ("deleted_at",)))

    deleted_at: int = 0


class ServerVolume(Row, kw_only=True):
    """A volume of a server: `id` is that of the attachment. Handlers insert it and write `want`, the node `have`.

    The node plugs it into the guest, takes it out again when it is not wanted, and removes the row then.
    """

    __table__ = Table(name="server_volumes", indexes=(("server_id",), ("volume_id",)))

    server_id: str
    volume_id: str
    device: str = ""
    """As the guest sees it: /dev/vdb."""
    boot_index: int = -1
    """0: the server boots from it."""
    tag: str = ""
    delete_on_termination: bool = False
    want: str = "attached"
    """attached or absent."""
    have: str = ""
    """"" or attached."""


class ServerExtra(Row, kw_only=True):
    """The bulky and the secret part of a server: `id` is the server's. Written by handlers."""

    __table__ = Table(name="server_extras")

    user_data: str = ""
    """Base64, as it came in."""
    public_key: str = ""
    """Text of the key pair at creation: the pair may be deleted."""
    key_type: str = "ssh"
    admin_password: str = ""
    """Only kept for servers with a config drive: it is on it."""
    files: list[tuple[str, str]] = msgspec.field(default_factory=list)
    """Personality (microversions below 2.57): path, base64 of the contents."""
    guest_password: str = ""
    """What the guest posted once (encrypted by the guest); written by the node, cleared by a handler."""


class ActionEvent(Frozen):
    """One step of an action."""

    name: str
    """As Nova: compute__do_build_and_run_instance, compute_stop_instance, …"""
    start_at: int
    finish_at: int = 0
    result: str = ""
    """Success or Error."""
    traceback: str = ""
    node_id: str = ""


class ServerAction(Row, kw_only=True):
    """One thing that somebody did to a server.

    `id` is `{server_id}/{job}` for jobs (`server_ops.action_id`), else a UUID. Inserted by handlers, ended by the
    node.
    """

    __table__ = Table(name="server_actions", indexes=(("server_id",), ("request_id",)))

    server_id: str
    action: str
    """As Nova: create, start, stop, reboot, delete, lock, …"""
    request_id: str = ""
    user_id: str = ""
    project_id: str = ""
    message: str = ""
    """Empty or `Error`."""
    start_at: int = 0
    finish_at: int = 0
    events: list[ActionEvent] = msgspec.field(default_factory=list)


class Aggregate(Row, kw_only=True):
    """A group of nodes; `availability_zone` in its metadata makes it a zone. `id` is a number. Written by handlers."""

    __table__ = Table(name="aggregates", unique=(("name",),))

    uuid: str
    name: str
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    node_ids: list[str] = msgspec.field(default_factory=list)


class ComputeQuota(Row, kw_only=True):
    """Limits of a project (`id` is its id), of a class (`id` is `class/default`); those not named have the default."""

    __table__ = Table(name="compute_quotas")

    limits: dict[str, int] = msgspec.field(default_factory=dict)


class ComputeService(Row, kw_only=True):
    """What an administrator said of the compute service of a node: `id` is the node's. Written by handlers."""

    __table__ = Table(name="compute_services")

    disabled: bool = False
    reason: str | None = None
    forced_down: bool = False
    uuid: str = ""


class ServerGroup(Row, kw_only=True):
    """Servers to keep together or apart; members are the servers with this `group_id`. Written by handlers."""

    __table__ = Table(name="server_groups", indexes=(("project_id",),))

    project_id: str
    user_id: str
    name: str
    policy: str
    """affinity, anti-affinity, soft-affinity or soft-anti-affinity."""
    rules: dict[str, int] = msgspec.field(default_factory=dict)


class Migration(Row, kw_only=True):
    """A server's way from one node to another, or from one flavor to another; `id` is Nova's uuid of it.

    Inserted by whoever begins it (a handler, or a node that leaves the cluster). `status` of a move is written by
    whoever has the server at that moment, with the server's own row; that of a resize or an evacuation is what its
    actions say (`migration_rules.status_of`).
    """

    __table__ = Table(
        name="migrations",
        indexes=(("server_id",), ("source_node",), ("dest_node",)),
        unique=(("number",),),
    )

    number: int
    """Nova's integer id."""
    server_id: str
    job: int = 0
    """Job of the server that moves it."""
    source_node: str
    dest_node: str
    migration_type: str = "migration"
    """migration, resize, live-migration or evacuation."""
    status: str = ""
    """Empty: the actions say it. Else as Nova:
    queued, preparing, running, pre-migrating, migrating, finished, confirmed, reverted, completed, failed,
    error, cancelled. A live one is queued until the destination is ready, preparing until the guest begins to move."""
    dest_dir: str = ""
    """The destination's state directory, once that is ready for a guest that runs."""
    user_id: str = ""
    project_id: str = ""
    old_flavor_id: str = ""
    new_flavor_id: str = ""
    action_id: str = ""
    """The ServerAction of a resize or an evacuation."""
    end: str = ""
    """confirmResize or revertResize, once it was asked for."""
    end_id: str = ""
    """The ServerAction of that."""


ROW_TYPES: tuple[type[Row], ...] = (
    Flavor,
    Keypair,
    Server,
    ServerGone,
    ServerVolume,
    ServerExtra,
    ServerAction,
    Aggregate,
    ComputeQuota,
    ComputeService,
    ServerGroup,
    Migration,
)
