"""What this node has promised about the founding, on its disk."""

import os
from pathlib import Path

import msgspec

from node.cluster.ballot import Vow
from node.errors import Conflict

VOW_FILE = "formation.json"


class VowFile:
    """One vow: the one of the last token."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / VOW_FILE

    def read(self, token_id: str) -> Vow:
        """Return the vow for a token; a fresh one when the last was for another.

        Raises:
            Conflict: 409, the file cannot be read, and promises must not be forgotten.
        """
        try:
            held = msgspec.json.decode(self._path.read_bytes(), type=Vow)
        except FileNotFoundError:
            return Vow(token_id=token_id)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Conflict(
                f"{self._path} cannot be read ({error}), and it holds whom this node has voted for: "
                "empty the state directory, so that it comes back as another node"
            ) from error
        return held if held.token_id == token_id else Vow(token_id=token_id)

    def keep(self, vow: Vow) -> None:
        """Store a vow; when this returns it survives a loss of power."""
        aside = self._path.with_suffix(".new")
        with aside.open("wb") as file:
            file.write(msgspec.json.encode(vow))
            file.flush()
            os.fsync(file.fileno())
        aside.rename(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
