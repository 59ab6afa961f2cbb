"""What the object store of this node says of itself: for `hedgerow status`, `hedgerow object status` and metrics."""

from collections.abc import Mapping, Sequence
from typing import Any

from node.plugins.object.store.scheme import Scheme, fitting
from node.plugins.object.store_sync import ask_process
from node.plugins.object.tables import DataDisk, ObjectLayout, StoragePolicy
from node.sdk import Control, NodeError, Reader

_GIB = 2**30


def tolerance(scheme: Scheme, disks: int) -> int:
    """Return how many disks an object may lose at once and still be read."""
    if not scheme.is_coded:
        return max(0, min(scheme.fragments, disks) - 1)
    each = -(-scheme.fragments // max(1, disks))
    return scheme.parity // each


def policies_health(db: Reader) -> list[tuple[str, bool, str]]:
    """Say of each storage policy how redundant it is on the disks that there are."""
    layouts = sorted(db.rows(ObjectLayout), key=lambda layout: int(layout.id))
    disks = sum(1 for disk in layouts[-1].disks if float(disk["weight"]) > 0) if layouts else 0
    found = []
    for policy in sorted(db.rows(StoragePolicy), key=lambda policy: policy.id):
        if policy.deprecated:
            continue
        scheme = fitting(policy.kind, policy.data, policy.parity, disks)
        lose = tolerance(scheme, disks)
        how = (
            f"{scheme.data} of {scheme.fragments} fragments are enough"
            if scheme.is_coded
            else f"{min(scheme.fragments, disks)} copies"
        )
        count = "1 disk" if lose == 1 else f"{lose} disks"
        sentence = f"{policy.name} on {disks} disks: {how}; {count} may be lost at once"
        if disks == 1:
            sentence = f"{policy.name} on 1 disk: one copy; a second disk makes it redundant"
        found.append((f"object policy {policy.name}", True, sentence))
    return found


def store_health(control: Control) -> Sequence[tuple[str, bool, str]]:
    """Say how this node's part of the store is, and how redundant objects are."""
    found: list[tuple[str, bool, str]] = []
    try:
        hello = ask_process(control, "hello")
    except NodeError as error:
        return [("object store", False, f"{error.message}; it is started again within seconds")]
    repair = hello["tasks"]["repair"]
    lacking = repair["lacking"]
    if lacking:
        text = f"{lacking} objects lack up to {repair['worst']} fragments; they are made anew"
    else:
        text = f"runs (pid {hello['pid']}); all that it is responsible for is as redundant as it should be"
    found.append(("object store", not lacking, text))
    for disk in control.db.rows(DataDisk, node_id=control.node_id):
        if disk.have != "ok":
            what = disk.fault or "it takes no more objects"
            found.append((f"object disk {disk.path}", False, f"{disk.have}: {what}"))
    paused = [name for name, task in hello["tasks"].items() if task["paused"]]
    if paused:
        names = ", ".join(paused)
        found.append(("object healing", False, f"paused: {names}; `hedgerow object resume` goes on"))
    return [*found, *policies_health(control.db)]


def store_metrics(control: Control) -> Mapping[str, float]:
    """Return gauges of this node's part of the store."""
    try:
        hello = ask_process(control, "hello")
    except NodeError:
        return {"object_store_up": 0.0}
    gauges: dict[str, float] = {"object_store_up": 1.0}
    for disk in hello["disks"].values():
        label = f'{{disk="{disk["path"]}"}}'
        gauges[f"object_disk_commits{label}"] = disk["commits"]
        gauges[f"object_disk_operations{label}"] = disk["operations"]
    for name, task in hello["tasks"].items():
        for key, value in task.items():
            if isinstance(value, bool | int | float):
                gauges[f'object_healing_{key}{{task="{name}"}}'] = float(value)
    return gauges


def report(hello: Mapping[str, Any], db: Reader) -> list[str]:
    """Return the lines of `hedgerow object status`."""
    lines = [f"store process {hello['pid']}, layout {hello['newest']}", "", "disks"]
    layouts = sorted(db.rows(ObjectLayout), key=lambda layout: int(layout.id))
    if len(layouts) > 1:
        lines[0] += f" (entries move from layout {layouts[0].id})"
    for disk in sorted(db.rows(DataDisk), key=lambda disk: (disk.node_id, disk.path)):
        size = f"{disk.size_bytes // _GIB} GiB"
        fault = f" ({disk.fault})" if disk.fault else ""
        lines.append(f"  {disk.id}  {disk.node_id}  {disk.path}  {size}  {disk.have}{fault}")
    lines += ["", "policies"]
    lines += [f"  {text}" for _name, _ok, text in policies_health(db)]
    lines += ["", "healing"]
    for name, task in hello["tasks"].items():
        state = "paused" if task["paused"] else "running" if task["running"] else "waiting"
        numbers = "  ".join(
            f"{key} {value}"
            for key, value in task.items()
            if key not in ("paused", "running", "failure")
        )
        failure = f"  failed: {task['failure']}" if task["failure"] else ""
        lines.append(f"  {name:8}  {state:8}  {numbers}{failure}")
    return lines


