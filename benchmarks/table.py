"""Measure a lab of this machine and print each figure beside its goal. Run it by `benchmarks/run`."""

import argparse
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import measure_compute  # noqa: E402
import measure_identity  # noqa: E402
import measure_image  # noqa: E402
import measure_network  # noqa: E402
from cloud import Cloud, load_average  # noqa: E402
from load import drive, request  # noqa: E402
from report import Report  # noqa: E402

Measurement = Callable[[Cloud, Report, float], None]


def baseline(cloud: Cloud, report: Report, seconds: float) -> None:
    """What the machine gives a trivial application behind the same server."""
    ports = []
    for _ in range(2):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            ports.append(sock.getsockname()[1])
    argv = [
        sys.executable,
        str(ROOT / "benchmarks" / "hello.py"),
        str(cloud.state),
        *map(str, ports),
    ]
    with subprocess.Popen(argv) as process:
        try:
            _await_port(ports[0])
            data = request("GET", "/", {})
            drive(ports[0], [data] * 500, concurrency=8)
            done = drive(ports[0], iter(lambda: data, None), concurrency=8, seconds=seconds)
            report.plain(
                "baseline: hello, concurrency 8",
                done.rate,
                None,
                done.client_cpu_s / done.count * 1e3,
            )
        finally:
            process.terminate()


def _await_port(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


def idle(cloud: Cloud, report: Report, seconds: float) -> None:
    """Memory and CPU of all processes when nothing is asked."""
    cloud.settle()
    time.sleep(2)
    watched = 30.0 if seconds >= 3 else 10.0
    before = cloud.processes.cpu_s()
    time.sleep(watched)
    used = cloud.processes.cpu_s() - before
    memory = cloud.processes.memory()
    ours = [one for one in memory if one.name != "guest"]
    guests = [one for one in memory if one.name == "guest"]
    report.plain("idle memory, RSS summed", sum(one.rss_mib for one in ours))
    report.plain("idle memory, PSS summed", sum(one.pss_mib for one in ours))
    report.plain("idle CPU", used / watched * 100, note=f"over {watched:.0f} s")
    for one in [*ours, *guests]:
        report.note(f"{one.count} {one.name}: RSS {one.rss_mib:.0f} MiB, PSS {one.pss_mib:.0f} MiB")


def commits(_cloud: Cloud, _report: Report, seconds: float) -> None:
    """Commits per second of the row store, in its own table."""
    print()
    argv = [sys.executable, str(ROOT / "benchmarks" / "commits.py"), "--seconds", str(seconds)]
    subprocess.run(argv, check=True)


MEASUREMENTS: dict[str, Measurement] = {
    "baseline": baseline,
    "idle": idle,
    "tokens": measure_identity.tokens,
    "ports": measure_network.ports,
    "triples": measure_network.triples,
    "servers": measure_compute.servers,
    "projects": measure_identity.projects,
    "rules": measure_network.rules,
    "images": measure_image.images,
    "idle-after": idle,
    "commits": commits,
}


class Lab:
    """A lab that is made for the measurements, timed while it starts, and removed."""

    def __init__(self, program: list[str], directory: Path) -> None:
        self._argv = [*program, "--dir", str(directory)]
        self.directory = directory

    def start(self, report: Report) -> None:
        """Start it and print how long that took."""
        began = time.monotonic()
        with subprocess.Popen(self._argv, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if "API ready" in line:
                    report.plain("start to API ready", time.monotonic() - began)
                if "answers ssh" in line:
                    report.plain("start to first VM reachable", time.monotonic() - began)
        if process.returncode:
            raise SystemExit(f"the lab does not start: {' '.join(self._argv)}")

    def destroy(self) -> None:
        """Remove it with all that it made."""
        subprocess.run([*self._argv, "--destroy"], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure each thing for a second only")
    parser.add_argument("--only", action="append", choices=["start", *MEASUREMENTS], metavar="NAME",
                        help=f"only this, may be repeated: start, {', '.join(MEASUREMENTS)}")  # fmt: skip
    parser.add_argument("--lab", type=Path, help="measure the lab that runs in this directory")
    parser.add_argument("--program", default=str(ROOT / "scripts" / "lab"),
                        help="what starts a lab (default: scripts/lab)")  # fmt: skip
    args = parser.parse_args()
    print(f"{platform.node()}, {os.cpu_count()} cores, Linux {platform.release()}, Python "
          f"{platform.python_version()}, load {load_average():.1f}, {time.strftime('%F %T %Z')}")  # fmt: skip
    report = Report()
    report.head()
    seconds = 1.0 if args.quick else 4.0
    chosen = args.only or list(MEASUREMENTS)
    if args.lab:
        _measure(Cloud(args.lab), report, chosen, seconds)
    else:
        directory = Path(tempfile.mkdtemp(prefix="hb-", dir="/var/tmp"))
        lab = Lab(args.program.split(), directory)
        try:
            lab.start(report)
            _measure(Cloud(directory), report, chosen, seconds)
        finally:
            lab.destroy()
    print("\nall goals are met" if not report.missed else f"\nmissed: {', '.join(report.missed)}")


def _measure(cloud: Cloud, report: Report, chosen: list[str], seconds: float) -> None:
    for name in chosen:
        if name in MEASUREMENTS:
            if name == "idle-after":
                report.note("idle again, after all that")
            MEASUREMENTS[name](cloud, report, seconds)


if __name__ == "__main__":
    main()
