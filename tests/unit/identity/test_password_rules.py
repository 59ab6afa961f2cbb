"""Password hashing: right, strong enough, equally slow for everybody, bounded."""

import threading
import time

from node.plugins.identity.password_rules import Passwords


def test_only_the_password_fits() -> None:
    passwords = Passwords()
    stored = passwords.hash("correct horse")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert stored != passwords.hash("correct horse")
    assert passwords.check(stored, "correct horse")
    assert not passwords.check(stored, "Correct horse")
    assert not passwords.check(stored, "")


def test_nothing_fits_no_hash_and_a_broken_one() -> None:
    passwords = Passwords()
    assert not passwords.check("", "")
    assert not passwords.check("", "x")
    assert not passwords.check("$2b$12$broken", "x")


def test_an_unknown_user_takes_as_long() -> None:
    passwords = Passwords()
    stored = passwords.hash("x")

    def best_s(password_hash: str) -> float:
        times = []
        for _ in range(5):
            start = time.thread_time()
            passwords.check(password_hash, "y")
            times.append(time.thread_time() - start)
        return min(times)

    # CPU time of this thread, so that a busy machine does not matter
    assert 0.5 < best_s("") / best_s(stored) < 2


def test_no_more_at_once_than_allowed() -> None:
    passwords = Passwords(at_once=1)
    passwords._turns.acquire()
    done = threading.Event()
    thread = threading.Thread(target=lambda: (passwords.hash("x"), done.set()))
    thread.start()
    assert not done.wait(0.2)
    passwords._turns.release()
    assert done.wait(10)
    thread.join()
