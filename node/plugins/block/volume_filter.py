"""Which volumes a list shows: the filters of its query."""

from collections.abc import Callable, Mapping
from typing import Any

from node.plugins.block import listing, volume_rules
from node.plugins.block.lookup import host_name
from node.plugins.block.tables import Volume, VolumeType
from node.sdk import Context

_PLAIN: Mapping[str, Callable[[Volume], Any]] = {
    "name": lambda row: row.name or "",
    "display_name": lambda row: row.name or "",
    "description": lambda row: row.description or "",
    "id": lambda row: row.id,
    "status": volume_rules.status,
    "availability_zone": lambda row: row.zone,
    "size": lambda row: str(row.size_gib),
    "group_id": lambda row: row.group_id,
    "user_id": lambda row: row.user_id,
    "migration_status": lambda row: row.migration_status or "",
    "replication_status": lambda _row: "",
    "snapshot_id": lambda row: row.snapshot_id,
    "source_volid": lambda row: row.source_volume_id,
    "consistencygroup_id": lambda _row: "",
}
_BOOLEANS: Mapping[str, Callable[[Volume], bool]] = {
    "bootable": lambda row: row.bootable,
    "multiattach": lambda row: row.multiattach,
    "encrypted": lambda row: row.encrypted,
    "consumes_quota": lambda _row: True,
}


def matching(ctx: Context) -> list[Volume]:
    """Return the volumes that the query asks for.

    Raises:
        BadRequest: 400, a filter cannot be read.
    """
    tests = _tests(ctx)
    project_id = ctx.project_id
    if listing.all_tenants(ctx):
        wanted = ctx.param("project_id") or ctx.param("tenant_id")
        rows = ctx.db.rows(Volume, project_id=wanted) if wanted else ctx.db.rows(Volume)
    else:
        rows = ctx.db.rows(Volume, project_id=project_id)
    return [row for row in rows if all(test(row) for test in tests)]


def _tests(ctx: Context) -> list[Callable[[Volume], bool]]:
    tests: list[Callable[[Volume], bool]] = []
    for name, value in _PLAIN.items():
        wanted = ctx.params.get(name)
        if wanted:
            tests.append(_in(value, frozenset(wanted)))
        loose = ctx.param(f"{name}~")
        if loose is not None and ctx.microversion >= (3, 31):
            tests.append(_like(value, loose.lower()))
    for name, flag in _BOOLEANS.items():
        text = ctx.param(name)
        if text is not None:
            tests.append(_is(flag, listing.boolean(text, name)))
    for name in ("created_at", "updated_at"):
        fits = listing.time_filter(ctx, name)
        if fits is not None:
            tests.append(_at(name, fits))
    if text := ctx.param("metadata"):
        tests.append(_holds(lambda row: row.metadata, listing.mapping(text)))
    if (text := ctx.param("glance_metadata")) and ctx.microversion >= (3, 4):
        tests.append(_holds(lambda row: row.image_metadata, listing.mapping(text)))
    if text := ctx.param("volume_type_id") or ctx.param("volume_type"):
        kind = ctx.db.get(VolumeType, text) or ctx.db.one(VolumeType, name=text)
        tests.append(_in(lambda row: row.type_id, frozenset({kind.id if kind else text})))
    if (text := ctx.param("host")) and ctx.token.is_admin:
        tests.append(lambda row: host_name(ctx, row.node_id, row.driver).startswith(text))
    return tests


def _in(value: Callable[[Volume], Any], wanted: frozenset[str]) -> Callable[[Volume], bool]:
    return lambda row: str(value(row)) in wanted


def _like(value: Callable[[Volume], Any], wanted: str) -> Callable[[Volume], bool]:
    return lambda row: wanted in str(value(row)).lower()


def _is(value: Callable[[Volume], bool], wanted: bool) -> Callable[[Volume], bool]:  # noqa: FBT001
    return lambda row: value(row) is wanted


def _at(name: str, fits: Callable[[int], bool]) -> Callable[[Volume], bool]:
    return lambda row: fits(getattr(row, name))


def _holds(
    value: Callable[[Volume], Mapping[str, str]], wanted: Mapping[str, str]
) -> Callable[[Volume], bool]:
    return lambda row: all(value(row).get(name) == text for name, text in wanted.items())
