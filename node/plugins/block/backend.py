"""Which node and driver take a new volume: pure decisions from rows."""

import importlib
from collections.abc import Mapping

from node.plugins.block.section import BlockSection
from node.plugins.block.tables import BlockService, VolumeType
from node.sdk import Config, Frozen, NodeRow, Reader

VENDOR = "Open Source"
PROTOCOL = "nbd"
_OWN_SPECS = frozenset({"multiattach", "RESKEY", "key_specs"})


class Pool(Frozen):
    """One node's place for volumes."""

    node_id: str
    node_name: str
    driver: str
    zone: str = "nova"
    total_gib: float = 0.0
    free_gib: float = 0.0
    allocated_gib: float = 0.0
    shared: bool = False
    up: bool = True
    disabled: bool = False
    frozen: bool = False
    known: bool = False
    """Whether the node has told its figures."""

    @property
    def host(self) -> str:
        """Return its name in Cinder's form without the pool."""
        return f"{self.node_name}@{self.driver}"

    @property
    def name(self) -> str:
        """Return its name in Cinder's form: host@backend#pool."""
        return f"{self.host}#{self.driver}"


def backend_name(config: Config) -> str:
    """Return the name under which the configured driver is known: what its class calls itself."""
    text = config.section(BlockSection).driver
    module, colon, function = text.partition(":")
    if not colon:
        return text
    made = getattr(importlib.import_module(module), function)
    return str(getattr(made, "name", function))


def pools(db: Reader, config: Config) -> list[Pool]:
    """Return the places for volumes, one for each node."""
    services = {row.node_id: row for row in db.rows(BlockService, binary="cinder-volume")}
    fallback = backend_name(config)
    found = []
    for node in db.rows(NodeRow):
        row = services.get(node.id) or BlockService(id="", node_id=node.id)
        found.append(
            Pool(
                node_id=node.id,
                node_name=node.name,
                driver=row.driver or fallback,
                total_gib=row.total_gib,
                free_gib=row.free_gib,
                allocated_gib=row.allocated_gib,
                shared=row.shared,
                up=node.state == "up",
                disabled=row.disabled,
                frozen=row.frozen,
                known=bool(row.driver),
            )
        )
    return found


def choose(
    found: list[Pool],
    section: BlockSection,
    size_gib: int,
    *,
    kind: VolumeType | None = None,
    node_id: str = "",
    not_on: frozenset[str] = frozenset(),
) -> Pool | None:
    """Return the pool that takes a volume: the one with the most room; `node_id` is the only one where given."""
    fitting = [
        pool
        for pool in found
        if pool.up
        and not pool.disabled
        and not pool.frozen
        and pool.node_id not in not_on
        and (not node_id or pool.node_id == node_id)
        and has_room(pool, section, size_gib)
        and (kind is None or suits(pool, kind.extra_specs))
    ]
    return max(
        fitting, key=lambda pool: (pool.free_gib - pool.allocated_gib, pool.node_id), default=None
    )


def has_room(pool: Pool, section: BlockSection, size_gib: int) -> bool:
    """Return whether a pool takes a volume of a size: thin volumes may be together larger than the disk."""
    if not pool.known:
        return True
    room = pool.total_gib * section.oversubscription - pool.allocated_gib
    return pool.free_gib > 0 and size_gib <= room


def suits(pool: Pool, specs: Mapping[str, str]) -> bool:
    """Return whether a pool has what the extra specs of a volume type ask for."""
    has = {
        "volume_backend_name": pool.driver,
        "storage_protocol": PROTOCOL,
        "vendor_name": VENDOR,
        "multiattach": "True",
        "thin_provisioning_support": "True",
        "QoS_support": "True",
    }
    for name, wanted in specs.items():
        scope, colon, rest = name.partition(":")
        if colon and scope != "capabilities":
            continue
        key = rest if colon else name
        if key in _OWN_SPECS and key != "multiattach":
            continue
        text = wanted.strip()
        if text.startswith("<is>"):
            text = text[4:].strip()
        if has.get(key, "").lower() != text.lower():
            return False
    return True
