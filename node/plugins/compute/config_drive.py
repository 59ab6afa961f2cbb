"""The config drive: an ISO 9660 image labelled `config-2` with a server's metadata.

Source: OpenStack's "Config drive" page; cloud-init and cirros look for this label.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from node.plugins.compute.disk import DiskError

_MAKERS = ("xorrisofs", "genisoimage", "mkisofs")
_LABEL = "config-2"
_TIMEOUT_S = 60


def make_config_drive(image: Path, files: Mapping[str, bytes]) -> None:
    """Write the image; it holds those of the files that belong on a config drive.

    Raises:
        DiskError: no program that makes ISO images is installed, or it fails.
    """
    maker = next((name for name in _MAKERS if shutil.which(name)), None)
    if maker is None:
        raise DiskError("cannot make a config drive: install genisoimage or xorriso")
    part = image.with_name(image.name + ".part")
    with tempfile.TemporaryDirectory(dir=image.parent, prefix=".config-") as directory:
        root = Path(directory)
        for name, data in drive_files(files).items():
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        argv = [maker, "-quiet", "-J", "-r", "-V", _LABEL, "-o", str(part), str(root)]
        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
                umask=0o077,
            )
            if done.returncode:
                words = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
                raise DiskError(f"cannot make the config drive: {''.join(words)}")
            os.replace(part, image)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DiskError(f"cannot make the config drive: {error}") from error
        finally:
            with contextlib.suppress(FileNotFoundError):
                part.unlink()


def drive_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return what of the metadata tree belongs on a config drive: OpenStack's part, and EC2's as JSON."""
    chosen = {}
    for name, data in files.items():
        path = PurePosixPath(name)
        if name.endswith("/") or path.is_absolute() or ".." in path.parts:
            continue
        if path.parts[0] in {"openstack", "ec2"} and len(path.parts) > 1:
            chosen[name] = data
    return chosen
