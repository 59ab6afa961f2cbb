"""A lab whose disk is really full: it refuses what grows, takes deletes, keeps its guest, and recovers by itself."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.testing.running_lab import RunningLab, running_lab, wait_until
from tests.lab.asking import api, persistently

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]

SIZE_BYTES = 8 << 30
NETWORKS = "/network/v2.0/networks"
SERVERS = "/compute/v2.1/servers"
IMAGES = "/image/v2/images"


class SmallDisk:
    """A file system of its own; its file has holes where nothing was written."""

    def __init__(self, directory: Path) -> None:
        self.place = directory / "disk"
        self.place.mkdir()
        file = directory / "disk.img"
        with file.open("wb") as made:
            made.truncate(SIZE_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", file], check=True)
        mount = ["mount", "-o", "loop", file, self.place]
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("no loop device can be mounted here")

    def fill(self) -> None:
        """Take every block that is left, without writing it."""
        with (self.place / "filler").open("ab", buffering=0) as file:
            for size in (1 << 28, 1 << 20, 4096):
                with contextlib.suppress(OSError):
                    while True:
                        os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, size)

    def spare(self) -> None:
        """Give a little back: far less than growth needs, but what a killed store opens with is not left to chance."""
        os.truncate(self.place / "filler", (self.place / "filler").stat().st_size - (4 << 20))

    def empty(self) -> None:
        (self.place / "filler").unlink()

    def remove(self) -> None:
        subprocess.run(["umount", "-l", self.place], check=False)


@pytest.fixture(scope="module")
def disk() -> Iterator[SmallDisk]:
    directory = Path(tempfile.mkdtemp(prefix="hedgerow-small-", dir="/var/tmp"))
    made: SmallDisk | None = None
    try:
        made = SmallDisk(directory)
        yield made
    finally:
        if made is not None:
            made.remove()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def lab(disk: SmallDisk) -> Iterator[RunningLab]:
    with running_lab(disk.place / "lab") as running:
        yield running
        disk.fill()  # a lab can be destroyed on a full disk


def made(lab: RunningLab, path: str, body: object, status: int = 201) -> Any:
    got, answer = api(lab, "POST", path, body)
    assert got == status, answer
    return answer


def status_of(lab: RunningLab, server_id: str) -> str:
    return str(persistently(lab, "GET", f"{SERVERS}/{server_id}")[1]["server"]["status"])


def runs(lab: RunningLab, server_id: str) -> bool:
    server = persistently(lab, "GET", f"{SERVERS}/{server_id}")[1]["server"]
    return server["status"] == "ACTIVE" and server["OS-EXT-STS:power_state"] == 1


def takes_networks(lab: RunningLab) -> bool:
    status, answer = persistently(lab, "POST", NETWORKS, {"network": {"name": "again"}})
    assert status in (201, 507), answer
    return status == 201


def fill_until_refused(lab: RunningLab, disk: SmallDisk) -> None:
    """Take all the room there is, but not what the log then gives back of its reserve."""
    disk.fill()
    wait_until("growth is refused", lambda: not takes_networks(lab), timeout_s=60)


def test_a_full_disk_is_lived_through(lab: RunningLab, disk: SmallDisk) -> None:
    private = persistently(lab, "GET", f"{NETWORKS}?name={lab.facts['private_network']}")[1]
    image = persistently(lab, "GET", f"{IMAGES}?name={lab.facts['image']}")[1]["images"][0]["id"]
    small = {
        "imageRef": image,
        "flavorRef": "1",
        "networks": [{"uuid": private["networks"][0]["id"]}],
    }
    gone = made(lab, NETWORKS, {"network": {"name": "gone"}})["network"]["id"]
    user = made(lab, "/identity/v3/users", {"user": {"name": "gone"}})["user"]["id"]
    raw = {"name": "gone", "disk_format": "raw", "container_format": "bare"}
    empty_image = made(lab, IMAGES, raw)["id"]
    server = made(lab, SERVERS, {"server": {"name": "gone", **small}}, 202)["server"]["id"]
    wait_until("ACTIVE", lambda: status_of(lab, server) == "ACTIVE", timeout_s=240)
    guest = lab.facts["server"]["id"]

    fill_until_refused(lab, disk)
    grows = {
        "/identity/v3/users": {"user": {"name": "more"}},
        NETWORKS: {"network": {"name": "more"}},
        IMAGES: {**raw, "name": "more"},
        SERVERS: {"server": {"name": "more", **small}},
        "/compute/v2.1/os-keypairs": {"keypair": {"name": "more"}},
    }
    for path, body in grows.items():
        status, answer = api(lab, "POST", path, body)
        assert status == 507, (path, answer)
        assert "full" in str(answer), "the fault says why"
    status, answer = api(lab, "PUT", f"{IMAGES}/{empty_image}/file", upload_bytes=64 << 10)
    assert status in (413, 507), answer
    for path in (SERVERS, NETWORKS, IMAGES, "/identity/v3/users"):
        assert api(lab, "GET", path)[0] == 200
    told = lab.hedgerow("status", "--json")
    assert "only deletes" in told.stdout, told
    assert status_of(lab, guest) == "ACTIVE"

    for path in (f"{NETWORKS}/{gone}", f"/identity/v3/users/{user}", f"{IMAGES}/{empty_image}"):
        assert api(lab, "DELETE", path)[0] == 204, path
        assert api(lab, "GET", path)[0] == 404, path
    assert api(lab, "DELETE", f"{SERVERS}/{server}")[0] == 204
    wait_until(
        "the server is gone",
        lambda: api(lab, "GET", f"{SERVERS}/{server}")[0] == 404,
        timeout_s=120,
    )

    disk.fill()  # the log's reserve too: only reads are left
    disk.spare()
    for pid, line in lab.processes().items():
        if "node.daemon" in line:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    wait_until("reads go on", lambda: api(lab, "GET", SERVERS)[0] == 200, timeout_s=120)
    assert not takes_networks(lab)
    assert status_of(lab, guest) == "ACTIVE"

    disk.empty()
    wait_until("growth is taken again", lambda: takes_networks(lab), timeout_s=60)
    server = made(lab, SERVERS, {"server": {"name": "after", **small}}, 202)["server"]["id"]
    wait_until("ACTIVE", lambda: status_of(lab, server) == "ACTIVE", timeout_s=240)
    assert api(lab, "DELETE", f"{SERVERS}/{server}")[0] == 204
    wait_until("the first guest goes on", lambda: runs(lab, guest), timeout_s=60)
