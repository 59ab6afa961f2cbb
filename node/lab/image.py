"""The guest image of the lab: built by the project's own builder from Debian's packages, once."""

import os
import subprocess
from pathlib import Path

from node.errors import Unavailable
from node.types import Frozen

_CACHE = Path("/var/lib/hedgerow/cache/guest")
_BUILD_S = 600
_BUILDER = Path(__file__).parents[2] / "image" / "guest" / "build"


class GuestImage(Frozen):
    """The built image and what its maker says of it."""

    path: Path
    user: str


def guest_image() -> GuestImage:
    """Return the guest image; it is built when there is none of this builder's inputs.

    `HEDGEROW_GUEST_CACHE` names another directory for it and its packages.

    Raises:
        Unavailable: it cannot be built; carries the end of the builder's output.
    """
    cache = Path(os.environ.get("HEDGEROW_GUEST_CACHE", _CACHE))
    argv = [str(_BUILDER), "-o", str(cache), "--cache", str(cache / "packages")]
    cache.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_BUILD_S)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(
            f"The guest image was not built in {_BUILD_S} s: can this machine reach its Debian mirror? "
            f"Run {_BUILDER} to see"
        ) from error
    image = cache / "guest.qcow2"
    if not image.exists():
        tail = (done.stderr or done.stdout)[-1500:]
        raise Unavailable(f"The guest image cannot be built (run {_BUILDER} to see why): {tail}")
    facts = dict(
        line.split("=", 1) for line in (cache / "guest.env").read_text().splitlines() if "=" in line
    )
    return GuestImage(path=image, user=facts["GUEST_USER"].strip("\"'"))
