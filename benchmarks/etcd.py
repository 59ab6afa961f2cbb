"""Debian's etcd as a baseline: as many members, the same disk, the same size of writes, in the same run.

Load comes from `wrk` through etcd's JSON gateway, which costs etcd more than gRPC would; `wrk` itself costs next to
nothing, where a gRPC client in Python would be the thing measured.
"""

import contextlib
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("etcd", "wrk")
_SCRIPT = """
local value = "{value}"
local n = 0
local tag = "0"
function setup(thread)
  thread:set("tag", tostring(thread.addr) .. tostring(math.random(1e9)))
end
function request()
  n = n + 1
  local key = (tag .. "-" .. n):gsub("[^%w]", "")
  key = key .. string.rep("A", (4 - #key % 4) % 4)
  return wrk.format("POST", "/v3/kv/put", nil, '{{"key":"' .. key .. '","value":"' .. value .. '"}}')
end
"""
_LATENCY = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s)$", re.MULTILINE)
_RATE = re.compile(r"^Requests/sec:\s+([\d.]+)", re.MULTILINE)
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


def missing() -> list[str]:
    """Return the programs that this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


@contextlib.contextmanager
def members(directory: Path, count: int) -> Iterator[list[int]]:
    """Run a cluster on loopback; yield the client ports, the leader's first."""
    ports = [free_port() for _ in range(2 * count)]
    peers = ports[count:]
    together = ",".join(f"m{i}=http://127.0.0.1:{port}" for i, port in enumerate(peers))
    running = []
    with contextlib.ExitStack() as undo:
        for i in range(count):
            client, peer = (f"http://127.0.0.1:{port}" for port in (ports[i], peers[i]))
            argv = ["etcd", "--name", f"m{i}", "--data-dir", str(directory / f"m{i}"), "--log-level", "error",
                    "--listen-client-urls", client, "--advertise-client-urls", client,
                    "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                    "--initial-cluster", together, "--initial-cluster-state", "new"]  # fmt: skip
            running.append(
                subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
            undo.callback(_end, running[-1])
        for port in ports[:count]:
            _await_health(port)
        yield sorted(ports[:count], key=lambda port: not _leads(port))


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def free_port() -> int:
    """Return a TCP port of loopback that nobody uses."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
        return str(answer.read().decode())


def _await_health(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if '"true"' in _get(port, "/health"):
                return
        time.sleep(0.1)
    raise SystemExit("etcd did not come up")


def _leads(port: int) -> bool:
    return "etcd_server_is_leader 1" in _get(port, "/metrics")


def drive(port: int, concurrency: int, seconds: float, directory: Path) -> dict[str, float]:
    """Put new keys of 500 bytes; return rate, p50 and p99 (ms)."""
    script = directory / "put.lua"
    script.write_text(_SCRIPT.format(value="eHh4" * 165))
    threads = 1 if concurrency < 16 else 2
    argv = ["wrk", "--latency", "-t", str(threads), "-c", str(concurrency), "-d", f"{seconds:.0f}s",
            "-s", str(script), f"http://127.0.0.1:{port}"]  # fmt: skip
    text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text:
        raise SystemExit(f"etcd refused requests:\n{text}")
    rate = _RATE.search(text)
    assert rate is not None, text
    times = {f"p{which}": float(n) * _UNITS[unit] for which, n, unit in _LATENCY.findall(text)}
    return {"rate": float(rate.group(1)), **times}
