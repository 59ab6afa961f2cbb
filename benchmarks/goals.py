"""The figures: what each is, its goal, and what the newest OpenStack reaches on such a machine.

OpenStack's figures: two processes a service, a quiet machine of the same size (issue 2 of the project).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """One line of the table."""

    name: str
    unit: str
    goal: float | None = None
    higher: bool = False
    """Whether more is better."""
    openstack: float | None = None


GOALS = {
    goal.name: goal
    for goal in (
        Goal("baseline: hello, concurrency 8", "/s"),
        Goal("start to API ready", "s", 10),
        Goal("start to first VM reachable", "s", 60),
        Goal("idle memory, RSS summed", "MiB", 300, openstack=4168),
        Goal("idle memory, PSS summed", "MiB"),
        Goal("idle CPU", "% core", 2, openstack=2.9),
        Goal("token by token, concurrency 8", "/s", 6 * 253, higher=True, openstack=253),
        Goal("token by token, p50 alone", "ms", 3, openstack=6.4),
        Goal("token validation, concurrency 8", "/s", 6 * 397, higher=True, openstack=397),
        Goal("token validation, p50 alone", "ms", 3, openstack=4.9),
        Goal("token by password, concurrency 8", "/s"),
        Goal("list of 1000 projects, p50", "ms", 15, openstack=115),
        Goal("port creates, concurrency 8", "/s", 150, higher=True, openstack=15),
        Goal("network + subnet + port, p50", "ms", 30, openstack=262),
        Goal("list of 1000 ports, p50", "ms", 60, openstack=682),
        Goal("100 security group rules", "s", 1, openstack=8.5),
        Goal("133 servers in detail, p50", "ms", 50, openstack=554),
        Goal("image upload, 64 MiB", "MiB/s", 300, higher=True, openstack=183),
        Goal("image download, 64 MiB", "MiB/s", 2000, higher=True, openstack=2489),
    )
}
