"""Rows: frozen Structs that know their table.

A row is stored as one JSON document beside its id and revision. The columns that a table declares are
generated from the document by SQLite, so a new field needs no migration and a new index needs no backfill.
"""

from typing import ClassVar

from node.types import Frozen


class Table(Frozen):
    """Declaration of a table: its name, what is indexed, and which code may touch it."""

    name: str
    indexes: tuple[tuple[str, ...], ...] = ()
    """Groups of fields that are looked up together."""
    unique: tuple[tuple[str, ...], ...] = ()
    """Groups of fields of which no two rows may share all values (rows with a null field are exempt)."""
    version: int = 1
    compat: int = 1
    """The lowest version of this declaration whose code may still read and write the table."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the fields that get a generated column, sorted."""
        return tuple(
            sorted({c for group in (*self.indexes, *self.unique) for c in group} - {"id", "rev"})
        )


class Row(Frozen):
    """One stored thing. `rev` is the sequence number of the transaction that last wrote it."""

    __table__: ClassVar[Table]
    stays_with_node: ClassVar[bool] = False
    """Whether what a row stands for is on the node in its `node_id`: that node is not removed before the row is."""
    since_level: ClassVar[int] = 1
    """From which of the cluster's feature levels on this declaration is used: not before all members know it."""

    id: str
    rev: int = 0
    created_at: int = 0
    updated_at: int = 0


class Resource(Row):
    """A row with an owner, a wish and a reality.

    `want` is written by API handlers; `have` and `fault` by the one node named in `node_id`.
    """

    project_id: str = ""
    node_id: str = ""
    want: str = ""
    have: str = ""
    fault: str = ""
