"""Runs OpenStack's Tempest against a running lab and tells which tests passed.

Tempest lives in a virtual environment of its own; everything it needs to know comes from lab.json and the APIs.
"""

import configparser
import csv
import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterable
from pathlib import Path

from node.testing.running_lab import RunningLab

_COLLECTIONS = (
    ("/image/v2/images", "images"),
    ("/compute/v2.1/flavors", "flavors"),
    ("/network/v2.0/networks", "networks"),
)
DEFAULT_VENV = Path("/var/lib/hedgerow/venv-tempest")
_INSTALL_S = 600


class Tempest:
    """Tempest in its environment, with a workspace for one lab."""

    def __init__(self, lab: RunningLab, requirements: Path, workspace: Path) -> None:
        self._lab = lab
        self._workspace = workspace
        self._bin = Path(os.environ.get("HEDGEROW_TEMPEST_VENV", DEFAULT_VENV)) / "bin"
        self._install(requirements)
        self._prepare()

    def _install(self, requirements: Path) -> None:
        stamp = self._bin.parent / "installed"
        if stamp.exists() and stamp.read_text() == requirements.read_text():
            return
        venv.create(self._bin.parent, with_pip=True, clear=True)
        argv: list[str | Path] = [
            self._bin / "python",
            "-m",
            "pip",
            "install",
            "-q",
            "-r",
            requirements,
        ]
        subprocess.run(argv, check=True, timeout=_INSTALL_S, stdin=subprocess.DEVNULL)
        stamp.write_text(requirements.read_text())

    def _prepare(self) -> None:
        # Tempest keeps a list of workspaces by name in the home directory; ours is a list of its own
        registry = self._workspace.with_suffix(".yaml")
        argv: list[str | Path] = [
            self._bin / "tempest",
            "init",
            "--workspace-path",
            registry,
            self._workspace,
        ]
        done = subprocess.run(argv, check=False, capture_output=True, text=True, cwd="/")
        assert done.returncode == 0, f"tempest init failed: {done.stdout}{done.stderr}"
        config = configparser.ConfigParser(interpolation=None)
        config.read_dict(self._settings())
        with (self._workspace / "etc" / "tempest.conf").open("w") as file:
            config.write(file)

    def _settings(self) -> dict[str, dict[str, str]]:
        facts = self._lab.facts
        images, flavors, networks = (self._ids(*where) for where in _COLLECTIONS)
        return {
            "DEFAULT": {"log_file": "tempest.log"},
            "oslo_concurrency": {"lock_path": str(self._workspace / "locks")},
            "service_available": {"horizon": "false", "cinder": "true", "swift": "true"},
            "auth": {
                "use_dynamic_credentials": "true",
                "admin_username": "admin",
                "admin_password": facts["admin_password"],
                "admin_project_name": "admin",
                "admin_domain_name": "Default",
                "tempest_roles": "member",
            },
            "identity": {
                "uri_v3": facts["auth_url_http"],
                "region": facts["region"],
                "v3_endpoint_type": "public",
                "default_domain_id": "default",
            },
            "compute": {
                "image_ref": images[facts["image"]],
                "image_ref_alt": images[facts["image"]],
                "flavor_ref": flavors[facts["flavors"][0]],
                "flavor_ref_alt": flavors[facts["flavors"][1]],
                "hypervisor_type": "QEMU",
                "build_interval": "1",
                "min_microversion": "2.1",
                "max_microversion": self._newest("/compute/"),
            },
            "network": {
                "public_network_id": networks[facts["external_network"]],
                "project_network_cidr": "10.100.0.0/16",
            },
            "volume": {
                "catalog_type": "block-storage",
                "storage_protocol": "nbd",
                "min_microversion": "3.0",
                "max_microversion": self._newest("/volume/"),
            },
            "object-storage": {"operator_role": "member"},
            "validation": {
                "run_validation": "true",
                "connect_method": "floating",
                "image_ssh_user": "hedgerow",
                "ssh_key_type": "ecdsa",
                "network_for_ssh": facts["external_network"],
            },
            **self._features(),
        }

    def _features(self) -> dict[str, dict[str, str]]:
        """Return what the cloud says that it can do, and what it cannot say."""
        network = [one["alias"] for one in self._ask("/network/v2.0/extensions")["extensions"]]
        return {
            "compute-feature-enabled": {
                "console_output": "true",
                "config_drive": "true",
                "metadata_service": "true",
                "enable_instance_password": "true",
                "shelve": "true",
                "rescue": "true",
                "snapshot": "true",
                "resize": "true",
                "suspend": "true",
                "pause": "true",
                "interface_attach": "true",
                "vnc_console": "false",
            },
            "network-feature-enabled": {
                "api_extensions": ",".join(network),
                "floating_ips": "true",
                "ipv6": "true",
                "ipv6_subnet_attributes": "true",
                "port_security": "true",
            },
            "image-feature-enabled": {
                "import_image": "true",
                "os_glance_reserved": "true",
                "image_format_enforcement": "true",
            },
            "volume-feature-enabled": {
                "snapshot": "true",
                "clone": "true",
                "backup": "true",
                "extend_attached_volume": "true",
            },
            "object-storage-feature-enabled": {
                "container_sync": "false",
                "object_versioning": "true",
                "discoverable_apis": ",".join(self._ask("/object-store/info")),
            },
        }

    def _ids(self, path: str, collection: str) -> dict[str, str]:
        """Return the ids of what is listed there, by name."""
        return {item["name"]: item["id"] for item in self._ask(path)[collection]}

    def _newest(self, path: str) -> str:
        """Return the newest microversion that a service's version document offers."""
        offered = [one.get("version", "") for one in self._ask(path)["versions"]]
        return max((v for v in offered if v), key=lambda v: [int(part) for part in v.split(".")])

    def _ask(self, path: str) -> dict[str, list[dict[str, str]]]:
        code = (
            "import json,sys; from pathlib import Path; from node.lab.client import Rest;"
            "f=json.load(sys.stdin); r=Rest(f['port'], Path(f['ca']), password=f['password']); r.sign_in();"
            "print(json.dumps(r.get(f['path'])))"
        )
        facts = self._lab.facts
        port = int(facts["auth_url"].split(":")[2].partition("/")[0])
        given = {
            "port": port,
            "ca": facts["ca_file"],
            "password": facts["admin_password"],
            "path": path,
        }
        done = subprocess.run(
            ["ip", "netns", "exec", self._lab.netns, sys.executable, "-c", code],
            input=json.dumps(given), capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        answer: dict[str, list[dict[str, str]]] = json.loads(done.stdout)
        return answer

    def run(
        self, tests: Iterable[str], *, timeout_s: float, concurrency: int = 2
    ) -> dict[str, str]:
        """Run tests and return what became of each: success, fail or skip. One without a result is left out."""
        listed = self._workspace / "tests.txt"
        listed.write_text("".join(f"{test}\n" for test in tests))
        argv: list[str | Path] = ["ip", "netns", "exec", self._lab.netns, self._bin / "stestr", "run",
                "--load-list", listed, "--concurrency", str(concurrency)]  # fmt: skip
        with (self._workspace / "run.log").open("wb") as log:
            subprocess.run(
                argv, cwd=self._workspace, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                timeout=timeout_s, check=False, env={**os.environ, "PATH": f"{self._bin}:{os.environ['PATH']}"},
            )  # fmt: skip
        return self._results()

    def _results(self) -> dict[str, str]:
        raw = subprocess.run(
            [self._bin / "stestr", "last", "--subunit"],
            cwd=self._workspace,
            capture_output=True,
            check=False,
        ).stdout
        table = subprocess.run(
            [self._bin / "subunit2csv", "--no-passthrough"],
            input=raw,
            capture_output=True,
            check=False,
        ).stdout.decode()
        found: dict[str, str] = {}
        for row in csv.DictReader(table.splitlines()):
            found[row["test"]] = row["status"]
        return found

    def log(self) -> str:
        """Return what the last run printed."""
        return (self._workspace / "run.log").read_text(errors="replace")
