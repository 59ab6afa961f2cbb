"""Who belongs to the cluster, by its rows: nodes, and witnesses, which are none."""

from node.cluster.join_messages import Member
from node.cluster.tables import WitnessRow
from node.cluster.witness_vote import is_witness
from node.control.placement import NodeRow
from node.state.reader import Reader

MemberRow = NodeRow | WitnessRow


def member_row(db: Reader, node_id: str) -> MemberRow | None:
    """Return the row of a node or a witness, None when it is neither."""
    if is_witness(node_id):
        return db.get(WitnessRow, node_id)
    return db.get(NodeRow, node_id)


def member_rows(db: Reader) -> list[MemberRow]:
    """Return the rows of all nodes, then those of all witnesses."""
    return [*db.rows(NodeRow), *db.rows(WitnessRow)]


def members(db: Reader) -> tuple[Member, ...]:
    """Return the cluster's nodes whose address is known."""
    return tuple(
        Member(
            node_id=row.id,
            host=row.address,
            port=row.cluster_port,
            fingerprint=row.fingerprint,
            is_voter=row.role == "voter",
        )
        for row in db.rows(NodeRow)
        if row.address and row.cluster_port
    )
