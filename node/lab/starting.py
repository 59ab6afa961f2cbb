"""One start of a lab, with progress all along."""

import time
from concurrent.futures import ThreadPoolExecutor

import click
import msgspec

from node.errors import NodeError
from node.lab import process, provision
from node.lab.client import Rest
from node.lab.cluster import ClusterLab
from node.lab.facts import closing_words, write_cluster_facts, write_facts
from node.lab.image import guest_image
from node.lab.place import Choice, Place


class Start:
    """Brings a lab of one node up."""

    def __init__(
        self, place: Place, port: int | None, plain_port: int | None, *, with_server: bool
    ) -> None:
        self._place = place
        self._ports = (port, plain_port)
        self._with_server = with_server
        self._began_s = time.monotonic()

    def run(self) -> None:
        """Bring everything up."""
        place = self._place
        choice = place.choose(*self._ports)
        place.configure(choice)
        with ThreadPoolExecutor(1) as aside:
            building = aside.submit(guest_image)
            self._say(f"starting the node in {place.directory}")
            pid = process.start(place)
            password_file = place.state / "secrets" / "admin-password"
            process.wait_until(
                "the node's start", lambda: password_file.exists() and self._answers(choice), place
            )
            rest = Rest(
                choice.port, place.state / "tls" / "ca.pem", password=place.admin_password()
            )
            process.wait_until("the first sign-in", lambda: _signs_in(rest), place)
            self._say(
                f"API ready at https://127.0.0.1:{choice.port} (and http://127.0.0.1:{choice.plain_port})"
            )
            demo_password = provision.demo_project(rest, place)
            provision.flavors(rest)
            public_id, private_id = provision.networks(rest, choice)
            provision.access(rest, place)
            self._say("flavors, networks, router and key pair are made")
            guest = building.result()
        image_id = provision.image(rest, guest)
        self._say(
            f"guest image {provision.IMAGE} is uploaded ({guest.path.stat().st_size / 2**20:.1f} MiB)"
        )
        made = provision.Made(image_id=image_id, demo_password=demo_password)
        write_facts(place, choice, made, pid)
        if self._with_server:
            server_id, floating, fixed = provision.server(
                rest, image_id, public_id, private_id, self._say
            )
            made = msgspec.structs.replace(
                made, server_id=server_id, floating_ip=floating, fixed_ip=fixed
            )
            write_facts(place, choice, made, pid)
            self._say(f"waiting for ssh at {floating}")
            provision.wait_for_ssh(floating, guest.user, place.ssh_key)
            self._say("the guest answers ssh")
        click.echo(closing_words(place, made, guest.user))

    def _answers(self, choice: Choice) -> bool:
        """Return whether the API port serves the identity service."""
        try:
            Rest(choice.port, self._place.state / "tls" / "ca.pem", password="").get("/identity/v3")
        except (NodeError, OSError):
            return False
        return True

    def _say(self, text: str) -> None:
        click.echo(f"[{time.monotonic() - self._began_s:5.1f} s] {text}")


class ClusterStart:
    """Brings a lab of several nodes up."""

    def __init__(self, lab: ClusterLab, *, with_server: bool) -> None:
        self._lab = lab
        self._with_server = with_server
        self._began_s = time.monotonic()

    def run(self) -> None:
        """Bring everything up."""
        lab, place = self._lab, self._lab.place
        with ThreadPoolExecutor(1) as aside:
            building = aside.submit(guest_image)
            self._say(f"starting {len(lab.names)} nodes in {place.directory}")
            lab.start(())
            lab.wait((), self._say)
            rest = lab.rest(lab.names[0])
            rest.sign_in()
            demo_password = provision.demo_project(rest, place)
            provision.flavors(rest)
            public_id, private_id = provision.networks(rest, lab.choice)
            provision.access(rest, place)
            self._say("flavors, networks, router and key pair are made")
            guest = building.result()
        image_id = provision.image(rest, guest)
        self._say(
            f"guest image {provision.IMAGE} is uploaded ({guest.path.stat().st_size / 2**20:.1f} MiB)"
        )
        made = provision.Made(image_id=image_id, demo_password=demo_password)
        write_cluster_facts(lab, made)
        if self._with_server:
            server_id, floating, fixed = provision.server(
                rest, image_id, public_id, private_id, self._say
            )
            made = msgspec.structs.replace(
                made, server_id=server_id, floating_ip=floating, fixed_ip=fixed
            )
            write_cluster_facts(lab, made)
            self._say(f"waiting for ssh at {floating}")
            provision.wait_for_ssh(floating, guest.user, place.ssh_key)
            self._say("the guest answers ssh")
        click.echo(closing_words(place, made, guest.user, lab))

    def _say(self, text: str) -> None:
        click.echo(f"[{time.monotonic() - self._began_s:5.1f} s] {text}")


def _signs_in(rest: Rest) -> bool:
    try:
        rest.sign_in()
    except NodeError:
        return False
    return True
