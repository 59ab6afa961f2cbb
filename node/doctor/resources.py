"""Ports, clock, memory and disk."""

from collections.abc import Iterable, Sequence

from node.doctor.check import Check, Needs
from node.doctor.machine import Machine

_GIB = 1 << 30
_NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "9p", "fuse.sshfs", "smb3"}
_VOLATILE_FILE_SYSTEMS = {"tmpfs", "ramfs"}
_SLOW_FSYNC_S = 0.05
_NOT_BEFORE_S = 1_750_000_000
"""Mid 2025: no machine that runs this product has an earlier time of day."""


def resource_checks(machine: Machine, needs: Needs) -> Sequence[Check]:
    """Check what the node takes: ports, time, memory, space."""
    return [
        *(_port(machine, address, port) for address, port in needs.ports),
        *_clock(machine),
        _memory(machine, needs),
        *_disk(machine, needs),
    ]


def _port(machine: Machine, address: str, port: int) -> Check:
    reason = machine.port_user(address, port)
    name = f"port {port}"
    if reason is None:
        return Check(name=name, ok=True, detail=f"{address}:{port} is free")
    return Check(
        name=name,
        ok=False,
        detail=f"Cannot listen on {address}:{port}: {reason}",
        mend=f"See who has it: ss -ltnp 'sport = :{port}'; or choose another port in [api] or [cluster]",
    )


def _clock(machine: Machine) -> Iterable[Check]:
    now_s = machine.now_s()
    if now_s < _NOT_BEFORE_S:
        yield Check(
            name="clock",
            ok=False,
            detail="The time of day lies in the past: certificates and tokens would not be valid",
            mend="Set it: date --set '...', then keep it in step with chrony or systemd-timesyncd",
        )
    synced = machine.is_clock_synced()
    yield Check(
        name="clock sync",
        ok=synced,
        detail="The clock follows a time server" if synced else "The clock follows no time server",
        mend=""
        if synced
        else "Run: apt-get install chrony. Nodes of one cluster may differ by seconds only",
        is_needed=False,
    )


def _memory(machine: Machine, needs: Needs) -> Check:
    fields = dict(
        line.split(":", 1)
        for line in (machine.read("/proc/meminfo") or "").splitlines()
        if ":" in line
    )
    available_kib = int(fields.get("MemAvailable", "0 kB").split()[0])
    ok = available_kib * 1024 >= needs.memory_gib * _GIB
    return Check(
        name="memory",
        ok=ok,
        detail=f"{available_kib / (1 << 20):.1f} GiB are available",
        mend=""
        if ok
        else f"Free {needs.memory_gib} GiB: one small guest and the node need about that",
    )


def _disk(machine: Machine, needs: Needs) -> Iterable[Check]:
    free_bytes, kind = machine.space(needs.state_dir)
    roomy = free_bytes >= needs.free_gib * _GIB
    yield Check(
        name="disk space",
        ok=roomy,
        detail=f"{free_bytes / _GIB:.1f} GiB are free for {needs.state_dir}",
        mend="" if roomy else f"Free {needs.free_gib} GiB, or put [node] state_dir on another disk",
    )
    if kind in _NETWORK_FILE_SYSTEMS:
        mend = (
            "Put [node] state_dir on a local file system (ext4, xfs): the row store locks and syncs"
        )
        yield Check(
            name="file system", ok=False, detail=f"{needs.state_dir} is on {kind}", mend=mend
        )
    elif kind in _VOLATILE_FILE_SYSTEMS:
        mend = "Put [node] state_dir on a disk: everything in memory is gone after a reboot"
        yield Check(
            name="file system",
            ok=False,
            detail=f"{needs.state_dir} is on {kind}",
            mend=mend,
            is_needed=False,
        )
    else:
        yield Check(name="file system", ok=True, detail=f"{needs.state_dir} is on {kind}")
    fsync_s = machine.fsync_s(needs.state_dir)
    if fsync_s is None:
        mend = f"Run as root, or see to it that {needs.state_dir} can be written"
        yield Check(
            name="durable writes", ok=False, detail="No file can be written there", mend=mend
        )
        return
    fast = fsync_s <= _SLOW_FSYNC_S
    yield Check(
        name="durable writes",
        ok=fast,
        detail=f"A durable write takes {fsync_s * 1000:.1f} ms",
        mend="" if fast else "Put [node] state_dir on an SSD: each change waits for such a write",
        is_needed=False,
    )
