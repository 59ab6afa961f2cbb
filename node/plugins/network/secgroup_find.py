"""Looking security groups up for a caller."""

from node.plugins.network.faults import missing
from node.plugins.network.sharing_rules import is_admin, offered
from node.plugins.network.tables import SecurityGroup
from node.sdk import Context


class Sight:
    """The groups that one caller sees."""

    def __init__(self, ctx: Context) -> None:
        self.admin = is_admin(ctx)
        self.project_id = ctx.project_id
        self.offered = offered(ctx.db, "security_group", ctx.project_id)

    def sees(self, group: SecurityGroup) -> bool:
        """Return whether the caller may know of the group."""
        return self.admin or group.project_id == self.project_id or group.id in self.offered

    def shared(self, group: SecurityGroup) -> bool:
        """Return whether the group is shown as shared."""
        return group.shared or group.id in self.offered


def find(ctx: Context, group_id: str, sight: Sight) -> SecurityGroup:
    """Return a group that the caller sees.

    Raises:
        SecurityGroupNotFound: 404.
    """
    row = ctx.db.get(SecurityGroup, group_id)
    if row is None or not sight.sees(row):
        raise missing("security_group", group_id)
    return row
