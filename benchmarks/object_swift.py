"""OpenStack Swift from PyPI as an all-in-one: what the object store is measured against.

Proxy 2 workers, object 2, container 1, account 1, both updaters, memcached; 8 device directories on one disk; policies
`rep3` (three copies) and `ec42` (4+2, isa_l_rs_cauchy, segments of 1 MiB). tempauth, no encryption, no rate limit.
"""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

_DEVICES = 8
_PIPELINE = "catch_errors gatekeeper healthcheck cache listing_formats tempauth copy slo dlo versioned_writes"


_SERVER = """
import sys
import swift.common.utils as utils
utils.SWIFT_CONF_FILE = "{place}/swift.conf"
from swift.common.wsgi import run_wsgi
sys.exit(run_wsgi("{place}/{name}.conf", "{name}-server"))
"""
_UPDATER = """
import sys
import swift.common.utils as utils
utils.SWIFT_CONF_FILE = "{place}/swift.conf"
from swift.common.daemon import run_daemon
from swift.{package}.updater import {title}Updater
run_daemon({title}Updater, "{place}/{name}.conf", section="{name}-updater")
"""


def free_port() -> int:
    """Return a port that nobody has now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Swift:
    """One Swift below a directory. `venv` has swift and pyeclib; `memcached` is the program."""

    def __init__(self, directory: Path, venv: Path, memcached: str, library_path: str = "") -> None:
        self._directory = directory
        self._bin = venv / "bin"
        self._memcached = memcached
        self._library_path = library_path
        self._ports = {name: free_port() for name in ("proxy", "object", "container", "account", "cache")}
        self.port = self._ports["proxy"]
        self._processes: list[subprocess.Popen[bytes]] = []
        self.token = ""
        self.path = "/v1/AUTH_test"

    def start(self) -> None:
        """Build the rings, start everything, sign in, make two containers."""
        self._configure()
        self._rings()
        environment = {**os.environ, "LD_LIBRARY_PATH": self._library_path}
        cache = [self._memcached, "-u", "root", "-l", "127.0.0.1", "-p", str(self._ports["cache"])]
        self._spawn(cache, environment)
        for name in ("account", "container", "object", "proxy"):
            program = _SERVER.format(place=self._directory, name=name)
            self._spawn([str(self._bin / "python"), "-c", program])
        for name in ("object", "container"):
            package = {"object": "obj"}.get(name, name)
            program = _UPDATER.format(
                place=self._directory, name=name, title=name.title(), package=package
            )
            self._spawn([str(self._bin / "python"), "-c", program])
        self._sign_in()
        for name in ("rep3", "ec42"):
            self.ask("PUT", f"{self.path}/{name}", {"X-Storage-Policy": name})

    def _spawn(self, argv: list[str], environment: dict[str, str] | None = None) -> None:
        with (self._directory / "log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(
                    argv, stdout=log, stderr=log, start_new_session=True,
                    env=environment or {**os.environ, "SWIFT_TEST_IN_PROCESS": ""},
                )
            )  # fmt: skip

    def _configure(self) -> None:
        place = self._directory
        (place / "swift.conf").write_text(
            "[swift-hash]\nswift_hash_path_suffix = benchmark\n"
            "[storage-policy:0]\nname = rep3\ndefault = yes\n"
            "[storage-policy:1]\nname = ec42\npolicy_type = erasure_coding\nec_type = isa_l_rs_cauchy\n"
            "ec_num_data_fragments = 4\nec_num_parity_fragments = 2\nec_object_segment_size = 1048576\n"
        )
        common = f"swift_dir = {place}\nuser = root\nlog_level = WARNING\nbind_ip = 127.0.0.1\n"
        common += "log_address = /nonexistent\n"
        (place / "proxy.conf").write_text(
            f"[DEFAULT]\n{common}bind_port = {self.port}\nworkers = 2\n"
            f"[pipeline:main]\npipeline = {_PIPELINE} proxy-server\n"
            "[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n"
            "object_chunk_size = 262144\nclient_chunk_size = 262144\n"
            "[filter:tempauth]\nuse = egg:swift#tempauth\nuser_test_tester = testing .admin\n"
            f"[filter:cache]\nuse = egg:swift#memcache\nmemcache_servers = 127.0.0.1:{self._ports['cache']}\n"
            + "".join(
                f"[filter:{name}]\nuse = egg:swift#{name}\n"
                for name in _PIPELINE.split()
                if name not in ("tempauth", "cache")
            )
        )
        for name, workers in (("object", 2), ("container", 1), ("account", 1)):
            (place / f"{name}.conf").write_text(
                f"[DEFAULT]\n{common}bind_port = {self._ports[name]}\nworkers = {workers}\n"
                f"devices = {place}/devices\nmount_check = false\n"
                f"[pipeline:main]\npipeline = {name}-server\n"
                f"[app:{name}-server]\nuse = egg:swift#{name}\n"
                + ("disk_chunk_size = 262144\nnetwork_chunk_size = 262144\n" if name == "object" else "")
                + (f"[{name}-updater]\ninterval = 30\n" if name != "account" else "")
            )
        for number in range(_DEVICES):
            (place / "devices" / f"d{number}").mkdir(parents=True)

    def _rings(self) -> None:
        rings = {"account": 3, "container": 3, "object": 3, "object-1": 6}
        builder = str(self._bin / "swift-ring-builder")
        for name, replicas in rings.items():
            port = self._ports[name.partition("-")[0]]
            file = str(self._directory / f"{name}.builder")
            subprocess.run([builder, file, "create", "6", str(replicas), "0"], check=True, stdout=subprocess.DEVNULL)
            devices = []
            for number in range(_DEVICES):
                devices += [f"r1z{number + 1}-127.0.0.1:{port}/d{number}", "1"]
            subprocess.run([builder, file, "add", *devices], check=True, stdout=subprocess.DEVNULL)
            subprocess.run([builder, file, "rebalance"], check=True, stdout=subprocess.DEVNULL)

    def _sign_in(self) -> None:
        deadline = time.monotonic() + 240
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                headers = {"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}
                connection.request("GET", "/auth/v1.0", headers=headers)
                answer = connection.getresponse()
                if answer.status == 200:
                    self.token = answer.getheader("X-Auth-Token") or ""
                    return
                print("swift:", answer.status, answer.read()[:200])
            except OSError:
                pass  # it does not listen yet
            if time.monotonic() > deadline:
                raise SystemExit((self._directory / "log").read_text()[-3000:])
            time.sleep(0.3)

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None) -> bytes:
        """Send one request that must succeed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {"X-Auth-Token": self.token, "Content-Length": "0", **(headers or {})}
        connection.request(method, path, headers=sent)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"swift: {method} {path}: {answer.status} {body[:300]!r}")
        return body

    def roots(self) -> list[int]:
        """Return the processes that were started; theirs are their children."""
        return [process.pid for process in self._processes]

    def stop(self) -> None:
        """End everything."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
