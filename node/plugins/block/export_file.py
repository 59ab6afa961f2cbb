"""Write the contents of a volume into a file of any format that images have."""

import subprocess
from pathlib import Path

from node.plugins.block.drivers.driver import Data, DriverError

_PIECE_BYTES = 4 << 20
_CONVERT_S = 3600.0


def write_file(data: Data, path: Path, disk_format: str) -> None:
    """Write it; holes stay holes.

    Raises:
        DriverError: there is no room, or the format cannot be made.
    """
    raw = path if disk_format == "raw" else path.with_suffix(".raw")
    try:
        with raw.open("wb") as file:
            file.truncate(data.size_bytes)
            for offset, length, has_data in data.extents(0, data.size_bytes):
                if not has_data:
                    continue
                for start in range(offset, offset + length, _PIECE_BYTES):
                    piece = data.read(start, min(_PIECE_BYTES, offset + length - start))
                    if piece.count(0) != len(piece):
                        file.seek(start)
                        file.write(piece)
    except OSError as error:
        raise DriverError(f"The volume cannot be copied: {error.strerror}") from error
    if raw == path:
        return
    argv = ["qemu-img", "convert", "-q", "-f", "raw", "-O", disk_format, str(raw), str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_CONVERT_S, check=False)
    raw.unlink()
    if done.returncode:
        raise DriverError(f"No {disk_format} can be made: {done.stderr.strip()[-200:]}")
