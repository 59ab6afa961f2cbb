"""What the two nodes of a migration do for it: the source hands over a guest that is off, the destination boots it."""

import msgspec

from node.plugins.compute import migration_ops
from node.plugins.compute.disk import DiskError
from node.plugins.compute.migration_fetch import Fetch
from node.plugins.compute.server_change_jobs import Power
from node.plugins.compute.server_files import ServerFiles
from node.plugins.compute.server_outcome import RUNNING, Ended, Handed, Outcome
from node.plugins.compute.tables import Server
from node.sdk import Control, check


class MigrateJobs:
    """Cold migration."""

    def __init__(self, power: Power, control: Control, files: ServerFiles) -> None:
        self._power = power
        self._control = control
        self._files = files
        self._fetch = Fetch(control.data_port, files, control.config.state_dir, control.stopping)

    def migrate(self, server: Server) -> Outcome:
        """Take the next step on this node's side.

        Raises:
            DiskError: the disks cannot be brought here for good.
        """
        if server.node_id != server.job_data.get("dest"):
            return self._leave(server)
        if self._files.record(server.id).disk_job != server.job:
            try:
                self._fetch.bring(server)
            except DiskError as error:
                return self._give_back(server, error)
            record = self._files.record(server.id)
            self._files.remember(server.id, msgspec.structs.replace(record, disk_job=server.job))
        return self._arrive(server)

    def _leave(self, server: Server) -> Outcome:
        if waiting := self._power.shut_down(server):
            return waiting
        self._power.take_down(server)
        db, now = self._control.db, self._control.clock.now_us()
        dest = server.job_data["dest"]
        fresh = db.get(Server, server.id)
        if fresh is None or fresh.want == "absent" or fresh.job != server.job:
            return Handed()
        return Handed(ops=tuple(migration_ops.hand_over_ops(db, self._control.hook, fresh, dest, now)))

    def _arrive(self, server: Server) -> Outcome:
        db, now = self._control.db, self._control.clock.now_us()
        if server.want == "stopped":
            outcome: Outcome = Ended(have="stopped", power=4)
        else:
            outcome = self._power.boot(server)
        if not isinstance(outcome, Ended):
            return outcome
        if server.job_data.get("by") == "drain":  # nobody asked, so nobody is asked
            fresh = db.must(Server, server.id)
            left = migration_ops.leave_source_ops(db, fresh, "completed", now)
            return msgspec.structs.replace(outcome, ops=(check(fresh), *left))
        power = 1 if outcome == RUNNING else 4
        ops = migration_ops.finished_ops(db, server, now)
        return Ended(have="resized", power=power, ops=tuple(ops))

    def _give_back(self, server: Server, error: DiskError) -> Outcome:
        """Have the source run the server again: what it left there is whole."""
        db, now = self._control.db, self._control.clock.now_us()
        fresh = db.get(Server, server.id)
        if fresh is None or fresh.want == "absent" or fresh.job != server.job:
            return Handed()
        back = {
            "job_kind": "revert_resize",
            "job_data": {"fault": error.message},
            "old_flavor": None,
        }
        ops = migration_ops.hand_back_ops(db, self._control.hook, fresh, now, "error", **back)
        return Handed(ops=tuple(ops))

    def give_back(self, server: Server) -> Outcome:
        """Revert on the destination: end the guest here, and give the server back."""
        self._power.take_down(server)
        db, now = self._control.db, self._control.clock.now_us()
        fresh = db.get(Server, server.id)
        if fresh is None or fresh.want == "absent" or fresh.job != server.job:
            return Handed()
        ops = migration_ops.hand_back_ops(db, self._control.hook, fresh, now, "reverted")
        return Handed(ops=tuple(ops))
