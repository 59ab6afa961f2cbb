"""`hedgerow lab`: start, describe, stop or destroy the lab."""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import msgspec

from node.errors import NodeError
from node.lab import process, provision
from node.lab.client import Rest
from node.lab.facts import closing_words, write_facts
from node.lab.image import guest_image
from node.lab.place import DEFAULT_DIRECTORY, Choice, Place


@click.command()
@click.option("--dir", "directory", type=click.Path(path_type=Path, file_okay=False), default=DEFAULT_DIRECTORY,
              show_default=True, help="Directory of the lab and all its data.")  # fmt: skip
@click.option(
    "--port", type=click.IntRange(1, 65535), help="HTTPS port (default: 7443, or any that is free)."
)
@click.option(
    "--plain-port",
    type=click.IntRange(1, 65535),
    help="Plain HTTP port on loopback (default: 7480, or any).",
)
@click.option(
    "--no-server", is_flag=True, help="Make the cloud and its networks, but boot no first server."
)
@click.option("--facts", "action", flag_value="facts", help="Print lab.json.")
@click.option(
    "--stop", "action", flag_value="stop", help="Stop the node; its VMs and networks stay."
)
@click.option(
    "--destroy",
    "action",
    flag_value="destroy",
    help="Stop the node and remove all that it ever made.",
)
@click.option("--start", "action", flag_value="start", default=True, hidden=True)
def lab(
    directory: Path, port: int | None, plain_port: int | None, no_server: bool, action: str
) -> None:
    """Run a whole cloud on this machine. Repeating it is harmless."""
    if os.geteuid() != 0 and action != "facts":
        raise click.ClickException("The lab makes networks and VMs: run it as root (sudo)")
    place = Place(directory)
    try:
        if action == "facts":
            _facts(place)
        elif action == "stop":
            _stop(place)
        elif action == "destroy":
            _destroy(place)
        else:
            _Start(place, port, plain_port, with_server=not no_server).run()
    except NodeError as error:
        raise click.ClickException(error.message) from error
    sys.exit(0)


def _facts(place: Place) -> None:
    if not place.facts.exists():
        raise click.ClickException(
            f"There is no running lab in {place.directory}: start one with scripts/lab"
        )
    click.echo(place.facts.read_text(), nl=False)


def _stop(place: Place) -> None:
    was = process.stop(place)
    outcome = "has stopped" if was else "was not running"
    click.echo(f"The node in {place.directory} {outcome}; VMs and networks stay as they are.")


def _destroy(place: Place) -> None:
    if not place.directory.exists():
        click.echo(f"There is no lab in {place.directory}.")
        return
    if not place.exists() and any(place.directory.iterdir()):
        raise click.ClickException(f"{place.directory} holds no lab, so nothing is removed")
    process.stop(place)
    if place.exists() and place.state.exists():
        process.teardown(place)
    process.remove(place)
    click.echo(f"The lab in {place.directory} is gone.")


class _Start:
    """One start, with progress all along."""

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


def _signs_in(rest: Rest) -> bool:
    try:
        rest.sign_in()
    except NodeError:
        return False
    return True
