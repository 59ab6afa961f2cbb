"""What a cloud begins with, and the administrator's password."""

import stat
from pathlib import Path

from node.plugins import identity
from node.plugins.identity.seeds import ADMIN_PASSWORD_FILE, admin_password, seeds
from node.plugins.identity.tables import Assignment, FernetKey, Project, Role, User
from node.testing.cloud import Cloud


def test_the_password_is_made_once_and_kept_private(tmp_path: Path) -> None:
    password = admin_password(tmp_path)
    path = tmp_path / ADMIN_PASSWORD_FILE
    assert len(password) >= 20
    assert admin_password(tmp_path) == password
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_password_of_the_operators_is_taken(tmp_path: Path) -> None:
    path = tmp_path / ADMIN_PASSWORD_FILE
    path.parent.mkdir()
    path.write_text("chosen\n")
    assert admin_password(tmp_path) == "chosen"


def test_seeding_again_changes_nothing(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path, [identity])
    try:
        before = [cloud.db.rows(kind) for kind in (Project, Role, User, Assignment, FernetKey)]
        assert [len(rows) for rows in before] == [3, 7, 1, 3, 2]
        ops = seeds(cloud.db, cloud.clock.now_us(), cloud.config)
        assert not any("password" in op.doc or '"key"' in op.doc for op in ops)
        for op in ops:
            cloud.commit(op)
        after = [cloud.db.rows(kind) for kind in (Project, Role, User, Assignment, FernetKey)]
        assert after == before
    finally:
        cloud.machine.close()
