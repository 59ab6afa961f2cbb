"""Where a lab keeps its things, and the settings that it chose at its first start."""

import ipaddress
import os
import socket
import subprocess
from pathlib import Path

import msgspec

from node.errors import Unavailable
from node.lab.disk import Disk
from node.types import Frozen

DEFAULT_DIRECTORY = Path("/var/lib/hedgerow/lab")
_PORTS = (7443, 7480)
_PUBLIC = "172.24.4.0/24"
_UNDER = "10.87.0.0/24"


class Member(Frozen):
    """One node of a lab that has several: its number is the last part of its address."""

    name: str
    number: int


class Choice(Frozen):
    """What a lab chose at its first start and keeps: tools have its addresses in their files."""

    port: int
    plain_port: int
    public_cidr: str
    name: str = "lab"
    under_cidr: str = ""
    """What connects the nodes of a lab that has several; empty: it has one node, in the caller's own namespaces."""
    members: tuple[Member, ...] = ()
    last_number: int = 0
    """The highest number that a node of this lab ever had: none is given twice."""
    disk_mib: int = 0
    """Size of the disk that each node has of its own; 0: all are on that of the machine, and share its clocks."""


class Place:
    """The directory of one lab."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.config = self.directory / "hedgerow.ini"
        self.log = self.directory / "hedgerow.log"
        self.pid = self.directory / "hedgerow.pid"
        self.state = self.directory / "state"
        self.disk = Disk(self.directory / "disk.img", self.state)
        self.clock_shift = self.directory / "clock-shift"
        self.facts = self.directory / "lab.json"
        self.clouds = self.directory / "clouds.yaml"
        self.ssh_key = self.directory / "id_ed25519"
        self.ca = self.directory / "ca.pem"
        self._choice = self.directory / "choice.json"

    def exists(self) -> bool:
        """Return whether a lab was ever started here."""
        return self.config.exists() or self._choice.exists()

    def node(self, name: str) -> "Place":
        """Return the directory of one node of a lab that has several."""
        return Place(self.directory / "nodes" / name)

    def chosen(self) -> Choice | None:
        """Return the settings of this lab, if it was ever started."""
        if not self._choice.exists():
            return None
        return msgspec.json.decode(self._choice.read_bytes(), type=Choice)

    def keep(self, choice: Choice) -> None:
        """Write the settings of this lab."""
        self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        write(self._choice, msgspec.json.encode(choice))

    def choose(self, port: int | None, plain_port: int | None) -> Choice:
        """Return the settings of this lab; made at its first start, with free ports and a free public network."""
        chosen = self.chosen()
        if chosen is not None:
            return chosen
        choice = Choice(
            port=_free(port, _PORTS[0]),
            plain_port=_free(plain_port, _PORTS[1]),
            public_cidr=_free_network(_PUBLIC, step=256),
        )
        self.keep(choice)
        return choice

    def choose_several(
        self, port: int | None, plain_port: int | None, disk_mib: int = 0
    ) -> Choice:
        """Return the settings of this lab of several nodes; those of a first start are kept with the first node."""
        chosen = self.chosen()
        if chosen is not None:
            return chosen
        return Choice(
            port=port or _PORTS[0],
            plain_port=plain_port or _PORTS[1],
            public_cidr=_free_network(_PUBLIC, step=256),
            under_cidr=_free_network(_UNDER, step=65536),
            disk_mib=disk_mib,
        )

    def configure(self, choice: Choice) -> None:
        """Write the node's configuration, unless someone has written one."""
        if not self.config.exists():
            text = (
                "# Made by `hedgerow lab`; change it as you like, it is not written again.\n"
                f"[node]\nname = {socket.gethostname()}\nstate_dir = {self.state}\n\n"
                f"[api]\nlisten = 127.0.0.1\nport = {choice.port}\nplain_port = {choice.plain_port}\n\n"
                "# The lab is for whoever is on this machine: images come from its own web servers too.\n"
                "[image]\nimport_private = true\nimport_ports =\n"
            )
            write(self.config, text.encode())

    def admin_password(self) -> str:
        """Return the administrator's password, which the node made at its first start."""
        return (self.state / "secrets" / "admin-password").read_text().strip()


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a whole file or nothing."""
    aside = path.with_name(path.name + ".new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)


def _free(wanted: int | None, default: int) -> int:
    """Return the wanted port, the default one, or any that is free when nobody asked for one."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", wanted or default))
        except OSError as error:
            if wanted:
                raise Unavailable(
                    f"Port {wanted} is taken ({error}): choose another one"
                ) from error
            with socket.socket() as other:
                other.bind(("127.0.0.1", 0))
                return int(other.getsockname()[1])
        return wanted or default


def _free_network(first: str, *, step: int) -> str:
    """Return a /24 that no route of this machine leads to already: the first one, or one some steps further."""
    listed = subprocess.run(["ip", "-j", "route", "show"], capture_output=True, check=False).stdout
    routes = msgspec.json.decode(listed or b"[]", type=list[dict[str, object]])
    taken = []
    for route in routes:
        try:
            taken.append(ipaddress.ip_network(str(route.get("dst")), strict=False))
        except ValueError:
            continue  # default, or of a kind that holds no network
    network = ipaddress.ip_network(first)
    while any(network.overlaps(other) for other in taken if other.version == 4):
        network = ipaddress.ip_network((int(network.network_address) + step, 24))
    return str(network)
