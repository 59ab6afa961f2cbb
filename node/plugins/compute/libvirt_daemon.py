"""Runs a libvirtd of our own, beside any that the system may have.

libvirt's directories are compiled in (/run/libvirt, /etc/libvirt, /var/lib/libvirt, …). So the daemon gets a mount
namespace of its own in which those five are directories below `root`; nothing outside sees it, and the machine's
libvirtd, if any, is not touched. Where one of the places does not exist its parent is covered, in that namespace
only, by a small tmpfs of symbolic links to what was there; that is kept reachable below a directory (`_STAGES`) which
is of no use to libvirt. The network namespace is the caller's: taps are found there.

It outlives the process that starts it, and its guests outlive it: a new libvirtd finds them by the files in
root/run, which name process ids and are therefore wiped when the machine has booted since. Whoever is behind the
socket is asked of the kernel (SO_PEERCRED), never of a pid file.
"""

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

from node.plugins.compute.host import boot_id, process_start
from node.sdk import Unavailable

PLACES = {
    "run": "/run/libvirt",
    "etc": "/etc/libvirt",
    "lib": "/var/lib/libvirt",
    "log": "/var/log/libvirt",
    "cache": "/var/cache/libvirt",
}
_SOCKET_PATH_MAX = 107
_STAGES = ("/mnt", "/media", "/srv", "/opt", "/home")
_NAMESPACE = """
set -eu
root=$1 stage=$2; shift 2
while [ "$1" != -- ]; do
  place=${1#*:}; mine=$root/${1%%:*}; shift
  if [ ! -d "$place" ]; then
    parent=${place%/*}; under=$stage/$(echo "$parent" | tr / _)
    if [ ! -d "$stage/.hedgerow" ]; then
      mount -t tmpfs -o mode=755,size=1m hedgerow "$stage"
      mkdir "$stage/.hedgerow"
    fi
    mkdir "$under"
    mount --rbind "$parent" "$under"
    mount -t tmpfs -o mode=755,size=1m hedgerow "$parent"
    for entry in "$under"/* "$under"/.[!.]*; do
      if [ -e "$entry" ] || [ -L "$entry" ]; then ln -s "$entry" "$parent/"; fi
    done
    mkdir -p "$place"
  fi
  mount --bind "$mine" "$place"
done
shift
exec "$@"
"""
_LIBVIRTD_CONF = """
host_uuid = "{host_uuid}"
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_ro_perms = "0700"
unix_sock_rw_perms = "0700"
min_workers = 2
max_workers = 16
prio_workers = 2
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""
_QEMU_CONF = """
security_driver = "none"
user = "root"
group = "root"
namespaces = []
cgroup_controllers = []
dynamic_ownership = 0
remember_owner = 0
stdio_handler = "file"
hugetlbfs_mount = []
"""
_LOG_LIMIT_BYTES = 4 * 2**20


class LibvirtDaemon:
    """The private libvirtd of one node, with all its files below `root`."""

    def __init__(self, root: Path, host_uuid: str) -> None:
        self.root = root.absolute()
        self._host_uuid = host_uuid
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def socket_path(self) -> Path:
        """Return the socket that clients connect to."""
        return self.root / "run" / "libvirt-sock"

    @property
    def uri(self) -> str:
        """Return libvirt's address of this daemon."""
        return f"qemu+unix:///system?socket={self.socket_path}"

    def pid(self) -> int:
        """Return the id of the process that listens on the socket, 0 when nobody does."""
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as client:
            client.settimeout(2.0)
            try:
                client.connect(str(self.socket_path))
            except OSError:
                return 0
            found = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", found)[0])

    def ensure(self, timeout_s: float = 30.0) -> int:
        """Start the daemon unless it runs; return its process id once it listens.

        Raises:
            Unavailable: 503, it did not start; the message carries its last words.
        """
        if running := self.pid():
            return running
        if len(str(self.socket_path)) > _SOCKET_PATH_MAX:
            raise Unavailable(
                f"{self.socket_path} is too long for a socket's name; choose a shorter state_dir"
            )
        self._prepare()
        self._spawn()
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if running := self.pid():
                return running
            if self._child is not None and self._child.poll() is not None:
                break
            time.sleep(0.05)
        self.kill()
        raise Unavailable(f"libvirtd does not start: {self._last_words()}")

    def kill(self) -> None:
        """Kill the daemon, hanging or not. Its guests go on."""
        pid = self.pid()
        if pid:
            _end(pid, signal.SIGKILL)

    def stop(self, timeout_s: float = 10.0) -> None:
        """Stop the daemon. Its guests go on."""
        pid = self.pid()
        started = process_start(pid) if pid else ""
        if started:
            _end(pid, signal.SIGTERM)
            deadline = time.monotonic() + timeout_s
            while process_start(pid) == started and time.monotonic() < deadline:
                time.sleep(0.05)
            if process_start(pid) == started:
                _end(pid, signal.SIGKILL)

    def erase(self) -> None:
        """Remove every file of the daemon; it must be stopped and have no guests."""
        if self.root.exists():
            shutil.rmtree(self.root)

    def end_guests(self, name: str = "*") -> int:
        """Kill the processes of guests that libvirt does not run (any more); return how many there were."""
        return end_guests(self.root, name)

    def disown(self, name: str) -> None:
        """End a guest that this daemon waits for in vain: with its process, and with what is known of its run.

        A daemon that was killed in the middle of a start leaves such a guest to the next one, which waits for its
        monitor for minutes. This daemon is killed, as only a fresh one forgets; other guests go on.
        """
        self.end_guests(name)
        self.kill()
        for leftover in (self.root / "run" / "qemu").glob(f"{name}.*"):
            leftover.unlink(missing_ok=True)

    def forget_log(self, domain: str) -> None:
        """Remove what QEMU said as a domain; libvirt never does."""
        (self.root / "log" / "qemu" / f"{domain}.log").unlink(missing_ok=True)

    def _prepare(self) -> None:
        stamp = self.root / "run" / "hedgerow-boot-id"
        with contextlib.suppress(OSError):
            if stamp.read_text() != boot_id():
                self._forget_boot()
        for name in PLACES:
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)
        stamp.write_text(boot_id())
        conf = _LIBVIRTD_CONF.format(host_uuid=self._host_uuid)
        (self.root / "etc" / "libvirtd.conf").write_text(conf)
        (self.root / "etc" / "qemu.conf").write_text(_QEMU_CONF)
        log = self.root / "log" / "libvirtd.log"
        with contextlib.suppress(OSError):
            if log.stat().st_size > _LOG_LIMIT_BYTES:
                log.replace(log.with_suffix(".log.1"))

    def _forget_boot(self) -> None:
        """Remove what names processes and sockets of the machine's last boot."""
        guests = self.root / "lib" / "qemu"
        for leftover in [*guests.glob("domain-*"), *guests.glob("channel/target/domain-*")]:
            shutil.rmtree(leftover, ignore_errors=True)
        shutil.rmtree(self.root / "run")

    def _spawn(self) -> None:
        places = [f"{name}:{place}" for name, place in PLACES.items()]
        argv = ["unshare", "--mount", "--propagation", "slave"]
        argv += ["sh", "-c", _NAMESPACE, "sh", str(self.root), self._stage(), *places, "--"]
        argv += ["libvirtd", "--config", "/etc/libvirt/libvirtd.conf"]
        argv += ["--pid-file", "/run/libvirt/libvirtd.pid"]
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C",
        }
        with (self.root / "out.log").open("wb") as out:
            self._child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd="/",
                env=environment,
                start_new_session=True,
            )
        # It may outlive this object: somebody has to wait for it.
        threading.Thread(target=self._child.wait, name="libvirtd-wait", daemon=True).start()

    def _stage(self) -> str:
        for stage in _STAGES:
            if Path(stage).is_dir() and not self.root.is_relative_to(stage):
                return stage
        raise Unavailable(f"libvirtd needs one of the directories {', '.join(_STAGES)}")

    def _last_words(self) -> str:
        words: list[str] = []
        for name in ("log/libvirtd.log", "out.log"):
            with contextlib.suppress(OSError):
                text = (self.root / name).read_text(errors="replace")
                words += [line for line in text.splitlines() if "error" in line.lower()]
        return words[-1] if words else "no message; is the package libvirt-daemon installed?"


def _end(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def end_guests(root: Path, name: str = "*", timeout_s: float = 15.0) -> int:
    """Kill the QEMU processes that pid files of a daemon name; return how many there were.

    A pid file may name a process of an earlier boot: only one whose files are the daemon's own domain is killed.
    """
    ended: dict[int, str] = {}
    for file in sorted((root / "run" / "qemu").glob(f"{name}.pid")):
        with contextlib.suppress(OSError, ValueError):
            pid = int(file.read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if any(word.startswith(f"guest={file.stem},".encode()) for word in words):
                ended[pid] = process_start(pid)
                _end(pid, signal.SIGKILL)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if not any(start and process_start(pid) == start for pid, start in ended.items()):
            break
        time.sleep(0.05)
    return len(ended)
