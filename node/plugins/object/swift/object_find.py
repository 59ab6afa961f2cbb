"""Finding an object: through access lists, versions and symlinks.

Hard part: a symlink names something that its reader may not see. Each step is allowed or refused by itself, for the
one who asks, so a link opens nothing.

Source: https://docs.openstack.org/swift/latest/middleware.html#symlink
"""

from urllib.parse import quote, unquote

from node.plugins.object.store.contract import Entry
from node.plugins.object.swift import object_view
from node.plugins.object.swift.call import PREFIX, Call, project_of
from node.plugins.object.swift.faults import Refusal
from node.plugins.object.tables import Container
from node.sdk import Frozen

_LOOPS = 2


class Spot(Frozen):
    """Where an object is: a name, that nothing need be behind."""

    project_id: str
    container: str
    name: str

    @property
    def path(self) -> str:
        """Return it as a path from the version on, percent-encoded."""
        return quote(f"/v1/{PREFIX}{self.project_id}/{self.container}/{self.name}")


class Found(Frozen):
    """An object that the caller may read."""

    spot: Spot
    container: Container
    entry: Entry
    location: str = ""
    """Path of what a symlink led to; empty: none was followed."""


def spot_of(call: Call) -> Spot:
    """Return what the path of a request names."""
    return Spot(project_id=call.project_id, container=call.container_name, name=call.object_name)


def split_header(value: str, error: str) -> tuple[str, str]:
    """Return container and object of a header that names an object, percent-decoded.

    Raises:
        Refusal: 412, it is not of that form.
    """
    path = unquote(value, errors="surrogateescape").removeprefix("/")
    container, slash, name = path.partition("/")
    if not (container and slash and name) or _unsound(path):
        raise Refusal(412, error)
    return container, name


def split_account(value: str, header: str) -> str:
    """Return the account that a header names, percent-decoded.

    Raises:
        Refusal: 412, it cannot be one.
    """
    name = unquote(value, errors="surrogateescape")
    if not name or "/" in name or _unsound(name):
        raise Refusal(
            412, f"{header} cannot contain slashes" if name else "Account name cannot be empty"
        )
    return name


def _unsound(text: str) -> bool:
    if "\0" in text:
        return True
    try:
        text.encode()
    except UnicodeError:
        return True
    return False


def locate(call: Call, spot: Spot, *, version_id: str | None = None, follow: bool = True) -> Found:
    """Return an object that the caller may read, behind all symlinks.

    Raises:
        Refusal: 401 or 403; 404; 409, a loop of links, or a static one whose target has changed.
    """
    location, wanted, loops = "", "", 0
    while True:
        container = call.find(spot.project_id, spot.container)
        call.access.require("GET", spot.project_id, container, "object")
        entry = _entry(call, container, spot, version_id, location)
        if wanted and wanted not in (
            entry.sys.get(object_view.SLO, ""),
            entry.sys.get(object_view.LINK_ETAG, ""),
            entry.etag,
        ):
            raise _changed(entry.etag, wanted, location)
        if not follow or not object_view.is_link(entry):
            return Found(
                spot=spot,
                container=_there(container),
                entry=entry,
                location=location,
            )
        loops += 1
        if loops > _LOOPS:
            raise Refusal(409, f"Too many levels of symbolic links, maximum allowed is {_LOOPS}")
        wanted = entry.sys.get(object_view.LINK_ETAG, "")
        spot, version_id = target_of(entry, spot.project_id), None
        location = spot.path


def target_of(entry: Entry, project_id: str) -> Spot:
    """Return what a symlink points to."""
    container, _slash, name = unquote(entry.sys[object_view.LINK]).partition("/")
    account = entry.sys.get(object_view.LINK_ACCOUNT)
    return Spot(
        project_id=project_of(unquote(account)) if account else project_id,
        container=container,
        name=name,
    )


def _there(container: Container | None) -> Container:
    if container is None:
        raise Refusal(404)
    return container


def _changed(etag: str, wanted: str, location: str) -> Refusal:
    text = f"Object Etag {etag!r} does not match X-Symlink-Target-Etag header {wanted!r}"
    return Refusal(409, text, headers={"Content-Location": location})


def _entry(
    call: Call, container: Container | None, spot: Spot, version_id: str | None, location: str
) -> Entry:
    headers = {"Content-Location": location} if location else {}
    if container is None:
        raise Refusal(404, headers=headers)
    if version_id is not None and not container.versioning and version_id != "null":
        raise Refusal(400, "version-aware operations require that the container is versioned")
    entry = call.store.head(container.id, spot.name, version_id)
    if entry is None:
        raise Refusal(404, headers=headers)
    if entry.is_marker:
        headers |= {"X-Object-Version-Id": object_view.version_id(entry)}
        raise Refusal(404, headers=headers, content_type=object_view.DELETED_TYPE)
    return entry
