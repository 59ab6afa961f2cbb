"""A guest posts its password once; its owner reads and clears it."""

from pathlib import Path

import pytest

from node.plugins.compute.guest_password import accept
from node.plugins.compute.tables import ServerExtra
from node.sdk import insert
from node.testing import Cloud


class _Rows:
    """A plugin with the one table that this needs."""

    from node.hookspecs import hookimpl

    @hookimpl
    def row_types(self) -> list[type[ServerExtra]]:
        return [ServerExtra]


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    cloud = Cloud(tmp_path, [_Rows()])
    cloud.commit(insert(ServerExtra(id="s1")))
    return cloud


def post(cloud: Cloud, data: bytes, path: str = "/openstack/2013-10-17/password") -> int:
    status, ops = accept(cloud.db, "s1", path, data)
    if ops:
        cloud.commit(*ops)
    return status


def test_the_first_post_is_kept_and_the_second_refused(cloud: Cloud) -> None:
    assert post(cloud, b"secret") == 200
    extra = cloud.db.get(ServerExtra, "s1")
    assert extra is not None
    assert extra.guest_password == "secret"
    assert post(cloud, b"other") == 409


@pytest.mark.parametrize(
    ("data", "path", "status"),
    [
        (b"", "/openstack/latest/password", 400),
        (b"x" * 1021, "/openstack/latest/password", 400),
        ("ä".encode(), "/openstack/latest/password", 400),
        (b"x", "/openstack/latest/meta_data.json", 405),
        (b"x", "/latest/meta-data/password", 405),
    ],
)
def test_what_is_no_password_is_refused(cloud: Cloud, data: bytes, path: str, status: int) -> None:
    assert post(cloud, data, path) == status


def test_an_unknown_server_posts_nothing(cloud: Cloud) -> None:
    assert accept(cloud.db, "nobody", "/openstack/latest/password", b"x")[0] == 404
