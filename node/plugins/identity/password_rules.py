"""Password hashing: argon2id at OWASP's minimum, never more at once than there are cores.

Source: https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
"""

import os
import threading

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

_MEMORY_KIB = 19 * 1024
_PASSES = 2
_UNKNOWN = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
"""What nothing hashes to: checked for users that do not exist, so that they take as long."""

MAX_PASSWORD_LENGTH = 4096


class Passwords:
    """Hashes and checks passwords. One a worker; each hash takes 19 MiB and some 25 ms of a core."""

    def __init__(self, at_once: int = 0) -> None:
        self._hasher = PasswordHasher(time_cost=_PASSES, memory_cost=_MEMORY_KIB, parallelism=1)
        self._turns = threading.BoundedSemaphore(at_once or os.cpu_count() or 1)

    def hash(self, password: str) -> str:
        """Return the hash in its PHC form."""
        with self._turns:
            return self._hasher.hash(password)

    def check(self, password_hash: str, password: str) -> bool:
        """Say whether the password fits. An empty hash fits none, and takes as long."""
        with self._turns:
            try:
                self._hasher.verify(password_hash or _UNKNOWN, password)
            except (Argon2Error, InvalidHashError):
                return False
        return password_hash != ""
