"""A third-party plugin in one file: notes, which this cloud keeps as files on its nodes.

It shows each part that a plugin can have: a row type, a service with its routes and policies, a section of the
configuration, and a reconciler that makes the world match the rows. Handlers propose rows and touch no file; the
reconciler touches files and decides nothing. docs/write-a-plugin.md walks through it.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec

from node.sdk import (
    Conflict,
    Context,
    Control,
    Count,
    Done,
    Frozen,
    NodeError,
    NodeRow,
    NotFound,
    Reconciler,
    Refused,
    Reply,
    Resource,
    Route,
    Row,
    Service,
    Table,
    Unavailable,
    delete,
    hookimpl,
    insert,
    patch,
)

# --- rows ----------------------------------------------------------------------------------------


class Note(Resource):
    """A text with a name. `want` is present or absent; `have` is empty until the file is there."""

    __table__ = Table(
        name="notes", indexes=(("project_id",), ("node_id",)), unique=(("project_id", "name"),)
    )

    name: str = ""
    text: str = ""


class NotesSection(Frozen):
    """`[notes]`: where notes lie and how many there may be."""

    directory: str = ""
    """Directory of the files; empty: `notes` in the state directory."""
    limit: int = 100
    """Notes that one project may have."""


# --- API -----------------------------------------------------------------------------------------


class NewNote(Frozen, forbid_unknown_fields=True):
    """`note` of a create request."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    text: Annotated[str, msgspec.Meta(max_length=65_536)] = ""


class CreateBody(Frozen, forbid_unknown_fields=True):
    """Body of POST /v1/notes."""

    note: NewNote


def view(note: Note) -> dict[str, Any]:
    """Return a note as clients see it; the status follows from `want` and `have`."""
    status = "deleting" if note.want == "absent" else "active" if note.have else "building"
    return {"id": note.id, "name": note.name, "text": note.text, "status": status}


def find(ctx: Context, rule: str, note_id: str) -> Note:
    """Return a note that the caller may act on.

    Raises:
        NotFound: 404, also where the policy refuses: strangers do not learn what exists.
    """
    missing = NotFound(f"Note {note_id} could not be found.")
    note = ctx.db.get(Note, note_id)
    if note is None:
        raise missing
    ctx.require(rule, note, hidden=missing)
    return note


def index(ctx: Context) -> dict[str, Any]:
    """List the notes of the caller's project."""
    return {"notes": [view(note) for note in ctx.db.rows(Note, project_id=ctx.project_id)]}


def show(ctx: Context, note_id: str) -> dict[str, Any]:
    """Show a note."""
    return {"note": view(find(ctx, "notes:show", note_id))}


def create(ctx: Context) -> Reply:
    """Create a note: quota, row and home node in one transaction."""
    given: NewNote = ctx.body.note
    homes = ctx.db.rows(NodeRow, state="up")
    if not homes:
        raise Unavailable("No node is up: try again when one is")
    now = ctx.now()
    note = Note(
        id=ctx.ids.uuid(),
        project_id=ctx.project_id,
        node_id=homes[0].id,
        name=given.name,
        text=given.text,
        want="present",
        created_at=now,
        updated_at=now,
    )
    limit = ctx.config.section(NotesSection).limit

    def taken(refusal: Refused) -> NodeError | None:
        unique = refusal.reason == "unique"
        return Conflict(f"A note named {given.name} exists already.") if unique else None

    ctx.transact(lambda: ([Count(quota(note), 1, limit), insert(note)], None), refused=taken)
    return Reply(body={"note": view(note)})


def remove(ctx: Context, note_id: str) -> None:
    """Ask for a note's deletion; the reconciler removes the file, then the row."""

    def plan() -> tuple[list[Any], None]:
        note = find(ctx, "notes:delete", note_id)
        return [patch(Note, note.id, want="absent", updated_at=ctx.now())], None

    ctx.transact(plan, frees=True)


def quota(note: Note) -> str:
    """Return the name of the counter that bounds a project's notes."""
    return f"quota:{note.project_id}:notes"


def fault(_ctx: Context, error: NodeError) -> Reply:
    """Return an error as this service words it."""
    return Reply(
        status=error.status, body={"error": {"code": error.status, "message": error.message}}
    )


SERVICE = Service(
    name="notes",
    type="notes",
    path="/notes",
    endpoint="/notes/v1",
    fault=fault,
    rules={"owner": "project_id:%(project_id)s"},
    policies={
        "notes:list": "role:reader",
        "notes:show": "role:admin or (role:reader and rule:owner)",
        "notes:create": "role:member",
        "notes:delete": "role:admin or (role:member and rule:owner)",
    },
    routes=(
        Route(method="GET", path="/v1/notes", handler=index, policy="notes:list"),
        Route(
            method="POST",
            path="/v1/notes",
            handler=create,
            policy="notes:create",
            body=CreateBody,
            status=202,
        ),
        Route(method="GET", path="/v1/notes/{note_id}", handler=show, policy="any"),
        Route(
            method="DELETE", path="/v1/notes/{note_id}", handler=remove, policy="any", status=202
        ),
    ),
)

# --- reality -------------------------------------------------------------------------------------


class NoteFiles(Reconciler):
    """Keeps a file for each note whose home is this node."""

    name: ClassVar[str] = "notes"
    watches: ClassVar[tuple[type[Row], ...]] = (Note,)

    @property
    def directory(self) -> Path:
        """Return where the files lie."""
        given = self.control.config.section(NotesSection).directory
        return Path(given) if given else self.control.config.state_dir / "notes"

    def start(self) -> None:
        """Make the directory."""
        self.directory.mkdir(parents=True, exist_ok=True)

    def keys(self) -> Iterable[str]:
        """Return the notes of this node. A file without a row is left alone: a missing row deletes nothing."""
        return [note.id for note in self.control.db.rows(Note, node_id=self.control.node_id)]

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:  # noqa: ARG002
        """Return the note itself, when it lives here."""
        note = self.control.db.get(Note, id)
        return [id] if note is not None and note.node_id == self.control.node_id else []

    def reconcile(self, key: str) -> Done:
        """Write or remove one file. Doing it twice is harmless."""
        note = self.control.db.get(Note, key)
        if note is None:
            return Done()
        path = self.directory / note.id
        if note.want == "absent":
            path.unlink(missing_ok=True)
            return Done(
                ops=[delete(Note, note.id, must_exist=True), Count(quota(note), -1)], frees=True
            )
        if not path.exists() or path.read_text() != note.text:
            aside = path.with_suffix(".new")
            aside.write_text(note.text)
            aside.rename(path)
        if note.have != "present":
            return Done(
                ops=[patch(Note, note.id, have="present", updated_at=self.control.clock.now_us())]
            )
        return Done()


# --- hooks ---------------------------------------------------------------------------------------


@hookimpl
def row_types() -> Sequence[type[Row]]:
    """Return the row type."""
    return [Note]


@hookimpl
def services() -> Sequence[Service]:
    """Return the service."""
    return [SERVICE]


@hookimpl
def config_sections() -> Mapping[str, type[Frozen]]:
    """Return the section `[notes]`."""
    return {"notes": NotesSection}


@hookimpl
def reconcilers(control: Control) -> Sequence[Reconciler]:
    """Return the reconciler."""
    return [NoteFiles(control)]
