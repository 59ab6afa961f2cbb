"""Which nodes a lab has, what it tells them, and what it keeps."""

import configparser
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from node.cli import main
from node.cluster import token
from node.errors import Unavailable
from node.lab.cluster import ClusterLab, cluster_lab
from node.lab.place import Choice, Member, Place


def lab_in(directory: Path, *members: Member, last_number: int = 0) -> ClusterLab:
    choice = Choice(
        port=7443, plain_port=7480, public_cidr="172.24.4.0/24", under_cidr="10.87.0.0/24",
        members=members, last_number=last_number,
    )  # fmt: skip
    place = Place(directory)
    place.keep(choice)
    return ClusterLab(place, choice)


def test_numbers_are_never_given_twice(tmp_path: Path) -> None:
    lab = lab_in(tmp_path)
    assert lab.grow(3) == ["node1", "node2", "node3"]
    lab.remove("node3")
    assert lab.grow(1) == ["node4"]
    assert cluster_lab(Place(tmp_path)).names == ["node1", "node2", "node4"]
    assert lab.address("node4") == "10.87.0.4"


def test_no_node_has_an_address_that_means_something_else(tmp_path: Path) -> None:
    lab = lab_in(tmp_path, last_number=99)
    assert lab.grow(1) == ["node101"]
    assert lab.virtual_address == "10.87.0.100"
    last = lab_in(tmp_path / "other", last_number=253)
    with pytest.raises(Unavailable, match="at most"):
        last.grow(1)


@pytest.mark.parametrize(("count", "founders"), [(2, 3), (3, 3), (4, 3), (5, 5), (9, 5)])
def test_nodes_get_one_token_of_as_many_founders_as_they_can_be(
    tmp_path: Path, count: int, founders: int
) -> None:
    lab = lab_in(tmp_path)
    lab.grow(count)
    lab.configure(lab.names)
    parsers = {}
    for name in lab.names:
        parsers[name] = configparser.ConfigParser()
        parsers[name].read(lab.place.node(name).config)
    files = [Path(parser["cluster"]["token_file"]) for parser in parsers.values()]
    assert len({file.read_text() for file in files}) == 1
    assert token.read(files[0]).founders == founders
    assert {oct(file.stat().st_mode & 0o777) for file in files} == {"0o600"}
    assert parsers["node2"]["node"]["name"] == "node2"
    assert parsers["node2"]["cluster"]["address"] == "10.87.0.2"
    assert parsers["node2"]["cluster"]["virtual_address"] == "10.87.0.100/24"
    passwords = {
        (lab.place.node(n).state / "secrets" / "admin-password").read_text() for n in lab.names
    }
    assert len(passwords) == 1


def test_what_a_person_wrote_stays(tmp_path: Path) -> None:
    lab = lab_in(tmp_path, Member(name="node1", number=1))
    lab.configure(["node1"])
    config = lab.place.node("node1").config
    config.write_text("# mine\n")
    lab.configure(["node1"])
    assert config.read_text() == "# mine\n"


def test_a_lab_of_one_node_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="There is no lab"):
        cluster_lab(Place(tmp_path / "none"))
    # What the first version of the lab wrote.
    data = msgspec.json.encode(
        {"port": 1, "plain_port": 2, "public_cidr": "172.24.4.0/24", "name": "lab"}
    )
    (tmp_path / "choice.json").write_bytes(data)
    with pytest.raises(Unavailable, match="has one node"):
        cluster_lab(Place(tmp_path))


@pytest.mark.root
def test_a_lab_does_not_shrink_by_itself(tmp_path: Path) -> None:
    lab_in(tmp_path, Member(name="node1", number=1), Member(name="node2", number=2), last_number=2)
    done = CliRunner().invoke(main, ["lab", "--dir", str(tmp_path), "--nodes", "1"])
    assert done.exit_code == 1
    assert "The lab has 2 nodes" in done.output
