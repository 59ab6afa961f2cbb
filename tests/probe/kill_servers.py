"""Drives servers through their lives on a running lab and kills its processes meanwhile.

`kill_servers.py DIR CYCLES SEED`

Runs in the lab's network namespace. Ends with status 0 when every server converged and the world is as it was.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from node.errors import Unavailable
from node.lab import process
from node.lab.client import Refusal, Rest
from node.lab.place import Place
from node.plugins.compute.planes import libvirt_daemon

VICTIMS = ("nobody", "core", "worker", "libvirtd", "all")
MOMENTS = ("build", "action", "delete")
ACTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "soft reboot": ({"reboot": {"type": "SOFT"}}, "ACTIVE"),
    "hard reboot": ({"reboot": {"type": "HARD"}}, "ACTIVE"),
    "stop": ({"os-stop": None}, "SHUTOFF"),
    "pause": ({"pause": None}, "PAUSED"),
}


def eventually(what: str, look: Callable[[], Any], timeout_s: float = 120.0) -> Any:
    """Return the first true answer; the API may be away meanwhile."""
    deadline = time.monotonic() + timeout_s
    last: Exception | None = None
    while True:
        try:
            if answer := look():
                return answer
        except (Unavailable, Refusal) as error:
            last = error
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what} ({last})"
        time.sleep(0.1)


class Lab:
    """A running lab, seen from outside: its API, its processes, what it made of the machine."""

    def __init__(self, directory: Path) -> None:
        self.place = Place(directory)
        facts = msgspec.json.decode((directory / "lab.json").read_bytes())
        port = int(facts["auth_url"].split(":")[2].split("/")[0])
        self.rest = Rest(port, Path(facts["ca_file"]), password=facts["admin_password"])
        eventually("sign-in", lambda: self.rest.sign_in() or True)
        flavors = self.get("/compute/v2.1/flavors")["flavors"]
        networks = self.get("/network/v2.0/networks")["networks"]
        self.body = {
            "flavorRef": next(f["id"] for f in flavors if f["name"] == facts["flavors"][0]),
            "imageRef": self.get("/image/v2/images")["images"][0]["id"],
            "networks": [
                {"uuid": next(n["id"] for n in networks if n["name"] == facts["private_network"])}
            ],
        }

    def get(self, path: str) -> Any:
        """Return a document of the API."""
        return self.rest.call("GET", path)[0]

    def find(self, name: str) -> list[str]:
        """Return the servers of a name."""
        return [s["id"] for s in self.get(f"/compute/v2.1/servers?name={name}")["servers"]]

    def create(self, name: str) -> str:
        """Create a server; an answer that got lost is looked for."""
        body = {"server": {"name": name, **self.body}}
        try:
            return str(self.rest.call("POST", "/compute/v2.1/servers", body)[0]["server"]["id"])
        except Unavailable:
            return str(eventually(f"{name} exists", lambda: self.find(name))[0])

    def status(self, server_id: str, what: str) -> str:
        """Return a server's status once nothing is going on with it."""

        def look() -> str:
            server = self.get(f"/compute/v2.1/servers/{server_id}")["server"]
            busy = server["OS-EXT-STS:task_state"] or server["status"] == "BUILD"
            return "" if busy else f"{server['status']} {server.get('fault', '')}".strip()

        return str(eventually(what, look))

    def act(self, server_id: str, body: dict[str, Any]) -> None:
        """Do something to a server."""
        path = f"/compute/v2.1/servers/{server_id}/action"
        eventually(f"{body} is taken", lambda: self.rest.call("POST", path, body))

    def delete(self, server_id: str) -> None:
        """Delete a server; one that is gone already is fine."""

        def look() -> bool:
            try:
                self.rest.call("DELETE", f"/compute/v2.1/servers/{server_id}")
            except Refusal as error:
                return "404" in str(error)
            return True

        eventually("delete is taken", look)

    def kill(self, who: str) -> None:
        """Kill processes of the node; the supervisor is started again where it was among them."""
        supervisor = process.running_pid(self.place)
        assert supervisor is not None
        children = process.children(supervisor)
        core = [pid for pid in children if b"core" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        masters = [pid for pid in children if pid not in core]
        workers = [pid for master in masters for pid in process.children(master)]
        libvirtd = [libvirt_daemon(self.place.state).pid()]
        victims = {"nobody": [], "core": core, "worker": workers[:1], "libvirtd": libvirtd}
        victims["all"] = [supervisor, *core, *masters, *workers, *libvirtd]
        for pid in filter(None, victims[who]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if who == "all":
            eventually("the supervisor is dead", lambda: process.running_pid(self.place) is None)
            process.start(self.place)

    def world(self) -> dict[str, list[str]]:
        """Return what there is: on the machine, in the rows, in the quota."""
        limits = self.get("/compute/v2.1/limits")["limits"]["absolute"]
        rules = _output("nft", "list", "ruleset").splitlines()
        return {
            "guests": qemus(self.place.directory),
            "links": [line.split()[0] for line in _output("ip", "-br", "link").splitlines()],
            "rules": sorted({line.strip().partition("counter")[0] for line in rules}),
            "files": sorted(str(path) for path in (self.place.state / "instances").rglob("*")),
            "traces": sorted(
                str(path) for path in (self.place.state / "libvirt").rglob("*instance-*")
            ),
            "servers": [s["id"] for s in self.get("/compute/v2.1/servers")["servers"]],
            "ports": sorted(p["id"] for p in self.get("/network/v2.0/ports")["ports"]),
            "quota": [f"{name} {limits[name]}" for name in sorted(limits) if "Used" in name],
        }


def qemus(directory: Path) -> list[str]:
    """Return the QEMU processes whose files are below a directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if b"qemu-system" in line[:40] and str(directory).encode() in line and state != "Z":
                    found.append(entry.name)
    return sorted(found)


def _output(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def cycle(lab: Lab, number: int, dice: random.Random) -> None:
    """One server's life, with one kill in it."""
    who, moment, action = dice.choice(VICTIMS), dice.choice(MOMENTS), dice.choice(sorted(ACTIONS))
    wait_s = dice.uniform(0, 1.5)
    began = time.monotonic()

    def hit(now: str) -> None:
        if now == moment:
            time.sleep(wait_s)
            lab.kill(who)

    server_id = lab.create(f"life{number}")
    hit("build")
    status = lab.status(server_id, "build ends")
    assert status == "ACTIVE", f"{who} killed at {moment}: build ended {status}"
    body, wanted = ACTIONS[action]
    lab.act(server_id, body)
    hit("action")
    status = lab.status(server_id, f"{action} ends")
    assert status == wanted, f"{who} killed at {moment}: {action} ended {status}"
    lab.delete(server_id)
    hit("delete")
    eventually("server is gone", lambda: not lab.find(f"life{number}"))
    took_s = time.monotonic() - began
    print(
        f"{number}: {action}, {who} killed at {moment} after {wait_s:.2f} s; {took_s:.1f} s",
        flush=True,
    )


def main(directory: Path, cycles: int, seed: int) -> None:
    """Run the cycles, then compare the world with what it was."""
    lab = Lab(directory)
    dice = random.Random(seed)
    before = lab.world()
    print(
        f"seed {seed}; before: " + ", ".join(f"{len(v)} {k}" for k, v in before.items()), flush=True
    )
    for number in range(cycles):
        cycle(lab, number, dice)
    deadline = time.monotonic() + 60
    while (after := lab.world()) != before and time.monotonic() < deadline:
        time.sleep(0.5)
    for kind, things in after.items():
        new, gone = set(things) - set(before[kind]), set(before[kind]) - set(things)
        assert not new, f"{kind} leaked: {sorted(new)}"
        assert not gone, f"{kind} lost: {sorted(gone)}"
    print("the world is as it was", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
