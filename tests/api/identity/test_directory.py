"""What all threads of a process remember of identity rows, and when it is not used any more."""

import threading

from node.plugins.identity.directory import directory
from node.plugins.identity.tables import User
from node.sdk import patch
from tests.api.identity.conftest import World


def _admin(world: World) -> User:
    user = world.cloud.db.one(User, name="admin")
    assert user is not None
    return user


def test_threads_share_it(world: World) -> None:
    found = []
    thread = threading.Thread(target=lambda: found.append(directory(world.cloud.db)))
    thread.start()
    thread.join()
    assert found == [directory(world.cloud.db)]


def test_what_a_slow_thread_remembers_is_not_found_after_a_change(world: World) -> None:
    db, user = world.cloud.db, _admin(world)
    with db.snapshot():  # a request that began before the change
        slow = directory(db)

        def meanwhile() -> None:
            world.cloud.commit(patch(User, user.id, enabled=False))
            assert directory(db).active_user(user.id) is None

        thread = threading.Thread(target=meanwhile)
        thread.start()
        thread.join()
        assert directory(db).active_user(user.id) is not None  # its own moment
        slow.get(User, user.id)
    assert directory(db).active_user(user.id) is None
    assert directory(db) is not slow


def test_a_change_elsewhere_forgets_nothing(world: World) -> None:
    before = directory(world.cloud.db)
    world.admin.ask("GET", "/users", expect=200)
    assert directory(world.cloud.db) is before
    world.admin.make("/users", "user", name="new")
    assert directory(world.cloud.db) is not before
