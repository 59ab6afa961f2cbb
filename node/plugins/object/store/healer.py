"""Runs what heals the store, each task in a thread of its own: now and then, or when something happened."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from node.plugins.object.store import follow, repair, scrub, sweep
from node.plugins.object.store.disk_answers import DiskAnswers
from node.plugins.object.store.follow import Follower
from node.plugins.object.store.host import DiskHost
from node.plugins.object.store.nodes import Nodes
from node.plugins.object.store.pace import Pace, Stopped
from node.plugins.object.store.repair import Repairer
from node.plugins.object.store.scrub import Scrubber
from node.plugins.object.store.section import ObjectSection
from node.plugins.object.store.sweep import Grace, Sweeper
from node.sdk import BadRequest, Clock, NodeError

log = logging.getLogger("hedgerow.object")

_POLL_S = 2.0
"""How soon a changed map, or rot, is noticed."""
_PAUSED_S = 0.5


class Task:
    """Something that is done again and again."""

    def __init__(self, name: str, run: Callable[[], None], every_s: float) -> None:
        self.name = name
        self.run = run
        self.every_s = every_s
        self.is_running = False
        self.runs = 0
        self.failure = ""
        self.wanted = threading.Event()


class Healer:
    """All tasks of one node."""

    def __init__(
        self, nodes: Nodes, host: DiskHost, answers: DiskAnswers, clock: Clock, section: ObjectSection,
        directory: Path, grace: Grace | None = None,
    ) -> None:  # fmt: skip
        self._nodes = nodes
        self._answers = answers
        self._scrubbed = directory / "scrubbed"
        self.pace = Pace(clock, section.heal_mib_per_s)
        self.follower = Follower(nodes, host, answers, self.pace)
        self.repairer = Repairer(nodes, host, answers, self.pace)
        self.scrubber = Scrubber(nodes, host, answers, self.pace)
        self.sweeper = Sweeper(nodes, host, answers, self.pace, clock, grace or Grace())
        self.tasks = {
            follow.TASK: Task(follow.TASK, self.follower.run, 2.0),
            sweep.TASK: Task(sweep.TASK, self.sweeper.run, 15.0),
            "litter": Task("litter", self.sweeper.look_through, 1800.0),
            repair.TASK: Task(repair.TASK, self.repairer.run, 60.0),
            scrub.TASK: Task(scrub.TASK, self.scrubber.run, section.scrub_days * 86400.0),
        }
        self._threads = [
            threading.Thread(target=self._keep, args=(task,), name=task.name, daemon=True)
            for task in self.tasks.values()
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End all tasks."""
        self.pace.stopping.set()
        for task in self.tasks.values():
            task.wanted.set()
        for thread in self._threads:
            thread.join()

    def want(self, name: str) -> None:
        """Have a task run now.

        Raises:
            BadRequest: 400, there is none of that name.
        """
        self._task(name).wanted.set()

    def pause(self, name: str, *, paused: bool) -> None:
        """Pause a task, or let it go on.

        Raises:
            BadRequest: 400, there is none of that name.
        """
        task = self._task(name)
        if paused:
            self.pace.paused.add(task.name)
        else:
            self.pace.paused.discard(task.name)

    def _task(self, name: str) -> Task:
        found = self.tasks.get(name)
        if found is None:
            raise BadRequest(f"There is no task {name}; there are: {', '.join(self.tasks)}")
        return found

    def state(self) -> Mapping[str, Any]:
        """Return what each task does and has done."""
        numbers: dict[str, dict[str, float]] = {
            follow.TASK: {"fetched": self.follower.fetched},
            sweep.TASK: {"removed": self.sweeper.removed},
            "litter": {},
            repair.TASK: {
                "looked_at": self.repairer.looked_at,
                "mended": self.repairer.mended,
                "lacking": self.repairer.lacking,
                "worst": self.repairer.worst,
            },
            scrub.TASK: {
                "read_bytes": self.scrubber.read_bytes,
                "rotten": self.scrubber.rotten,
                "share": round(self.scrubber.share, 3),
            },
        }
        return {
            name: {
                "running": task.is_running,
                "paused": name in self.pace.paused,
                "runs": task.runs,
                "failure": task.failure,
                **numbers[name],
            }
            for name, task in self.tasks.items()
        }

    def _keep(self, task: Task) -> None:
        due = time.monotonic() + self._first_after_s(task)
        seen: object = None
        while not self.pace.stopping.is_set():
            task.wanted.wait(min(max(0.0, due - time.monotonic()), _POLL_S))
            if task.name == repair.TASK:
                seen = self._notice(task, seen)
            if task.name in self.pace.paused:
                self.pace.stopping.wait(_PAUSED_S)
                continue
            if not task.wanted.is_set() and time.monotonic() < due:
                continue
            task.wanted.clear()
            due = time.monotonic() + task.every_s
            self._once(task)

    def _first_after_s(self, task: Task) -> float:
        """Return when to run a task first; a process that is started again does not read all disks again."""
        if task.name != scrub.TASK:
            return min(task.every_s, 5.0)
        try:
            age_s = time.time() - self._scrubbed.stat().st_mtime
        except OSError:
            return min(task.every_s, 3600.0)
        return max(0.0, task.every_s - age_s)

    def _notice(self, task: Task, seen: object) -> object:
        """Have the repairer look when the map changed, or rot was found."""
        try:
            places: object = self._nodes.map_file.places()
        except NodeError:
            return seen
        if self._answers.rotten_found.is_set() or (seen is not None and places is not seen):
            self._answers.rotten_found.clear()
            task.wanted.set()
        return places

    def _once(self, task: Task) -> None:
        task.is_running = True
        try:
            task.run()
            task.failure = ""
            if task.name == scrub.TASK:
                self._scrubbed.touch()
        except Stopped:
            log.info("%s goes on later", task.name)
        except Exception as error:
            if not self.pace.stopping.is_set():
                log.exception("%s failed", task.name)
            task.failure = f"{type(error).__name__}: {error}"
        finally:
            task.is_running = False
            task.runs += 1
